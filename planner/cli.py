"""The command line: the only place that prints, exits and asks for files to be written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from planner.engines.versions import DEFAULT_VERSION, VERSIONS
from planner.engines.vllm import KV_CACHE_DTYPES
from planner.errors import PlannerError
from planner.hardware import Host
from planner.plan import make_plan
from planner.units import parse_context, parse_count


class _Count(click.ParamType[int]):
    """A number with vLLM's suffixes; `context` reads 128k as 131072."""

    name = "number"

    def __init__(self, *, context: bool = False) -> None:
        self.read = parse_context if context else parse_count

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = self.read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if number < 1:
            self.fail(f"{value} is below 1", param, ctx)
        return number


_COUNT, _CONTEXT = _Count(), _Count(context=True)


_LATER = {"check": "planner.cli_check", "explain": "planner.cli_explain", "emit": "planner.cli_emit", "compare": "planner.cli_compare"}


class _Group(click.Group):
    """Imports the modules of further commands only when they are called, or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _LATER:
            from importlib import import_module

            command: click.Command = getattr(import_module(_LATER[cmd_name]), f"{cmd_name}_command")
            return command
        return super().get_command(ctx, cmd_name)


_QUESTION = (
    click.option("--gpu", help="The GPU: rtx4090, a100-80, h100, ... (`plan list gpus`)."),
    click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1024), help="How many of them."),
    click.option("--model", help="A catalogue name (`plan list models`), owner/name on the Hub, or a folder with a config.json."),
    click.option("--context", type=_CONTEXT, help="The context wanted, e.g. 128k; else the longest that surely starts."),
    click.option("--users", type=click.IntRange(1, 100_000), help="How many people at once, each at full context."),
    click.option(
        "--host",
        "host_kind",
        type=click.Choice([str(h) for h in Host]),
        default="server",
        show_default=True,
        help="The kind of machine: decides what is free at start.",
    ),
    click.option("--tensor-parallel-size", "-tp", type=click.IntRange(1, 1024), help="Pin it, as every option below."),
    click.option("--pipeline-parallel-size", "-pp", type=click.IntRange(1, 1024)),
    click.option("--max-model-len", type=_COUNT),
    click.option("--gpu-memory-utilization", type=click.FloatRange(0, 1, min_open=True)),
    click.option("--kv-cache-dtype", help=f"vLLM: {', '.join(KV_CACHE_DTYPES)}; llama.cpp and Ollama: f16, q8_0, q4_0; MLX: bf16, q8, q4."),
    click.option("--kv-cache-memory-bytes", type=_COUNT),
    click.option("--max-num-seqs", type=click.IntRange(1, 100_000)),
    click.option("--max-num-batched-tokens", type=click.IntRange(1, 10_000_000)),
    click.option("--enforce-eager/--no-enforce-eager", default=None),
    click.option("--enable-expert-parallel", is_flag=True),
    click.option("--skip-mm-profiling", is_flag=True, help="Leave the vision tower's profiling peak out of the budget, as vLLM's flag does."),
    click.option("--dtype", type=click.Choice(["auto", "bfloat16", "float16", "half", "float32"]), default="auto"),
    click.option("--quantization", help="vLLM: fp8, fp8_per_block or fp8_per_channel, while loading; GGUF: Q4_K_M, Q8_0, …; MLX: 8bit, 4bit, mxfp4."),
    click.option("--vllm-version", type=click.Choice(list(VERSIONS)), default=DEFAULT_VERSION, show_default=True, metavar="0.11..0.33"),
)


def _question(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the question: which GPUs, which model, what is wished and pinned."""
    for option in reversed(_QUESTION):
        command = option(command)
    return command


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@_question
@click.option("--with", "beside", multiple=True, metavar="NAME[:key=value,…]", help="Another server on the same GPUs (repeatable), its settings pinned.")
@click.option("-f", "--file", "stack_file", type=click.Path(path_type=Path), help="The question as a file: GPUs and services (`plan schema stack`).")
@click.option("--engine", type=click.Choice(["vllm", "llama.cpp", "ollama", "mlx"]), help="The runtime; without it vLLM, or MLX on a Mac.")
@click.option("--gpu-layers", type=click.IntRange(0, 10_000), help="llama.cpp and Ollama: layers on the GPU, the output counted as one; else as many as fit.")
@click.option("--wired-limit-mb", type=click.IntRange(1, 10_000_000), help="On a Mac: iogpu.wired_limit_mb, where it was raised.")
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1, 128), help="Machines with --count GPUs each: tp inside, pp across.")
@click.option("--to", multiple=True, metavar="FORMAT", help="Also write these formats, e.g. compose,k8s (`plan emit --help` lists them).")
@click.option("--proxy-port", default=8080, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address the server listens on.")
@click.option("--port", type=click.IntRange(1, 65_535), help="Port of the main server: 8000, Ollama's 11434; those beside it get the next ones.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the files (default: outputs/<model>-<gpu>x<count>).")
@click.option("--dry-run", is_flag=True, help="Write no files.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.version_option(package_name="serve-plan", prog_name="plan")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Plan how vLLM serves a model on your GPUs, before you download it.

    Exit codes: 0 it starts; 1 it does not, or the wish cannot be met (the ledger is printed); 2 the question was wrong; 3 the world failed.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_run(options))


@cli.command("list")
@click.argument("what", type=click.Choice(["gpus", "models", "architectures"]))
def list_catalogue(what: str) -> None:
    """List the GPUs or models of the catalogue, or the architectures that any config.json may have."""
    from planner import catalog
    from planner.architecture.families import FAMILIES

    if what == "architectures":
        click.echo("\n".join(sorted(FAMILIES)))
        return
    if what == "gpus":
        for gpu in catalog.gpu_rows():
            click.echo(f"{gpu.name:18} {gpu.memory_mib:>7} MiB  {gpu.title}")
        return
    for model in catalog.model_rows():
        names = ", ".join(catalog.Entry(model, variant).name for variant in model.variants)
        click.echo(f"{model.family:18} {names}")


@cli.command("schema")
@click.argument("what", type=click.Choice(["gpus", "models", "stack", "plan", "local", "check", "explain"]))
def print_schema(what: str) -> None:
    """Print the JSON Schema of gpus.yaml, models.yaml, a stack file or a JSON output."""
    from planner.schema import json_schema

    click.echo(json.dumps(json_schema(what), indent=2))


@cli.command("verify")
@_question
@click.option("--python", help="The Python of a vLLM installation; else this one's.")
@click.pass_context
def verify_plan(ctx: click.Context, /, python: str | None, **options: Any) -> None:
    """Ask vLLM itself about the plan: parser, engine config, weights, KV planner; agreement line by line. Exit 1 where they differ."""
    from planner.cli_stack import request_of
    from planner.verify import verify

    request, source = request_of(options)
    plan = make_plan(request, repo=source.repo, served_name=source.served_name)
    agreements = verify(plan, source.config, source.hf_quant, python)
    for line in agreements:
        click.echo(f"agrees   {line.what}: {line.ours}" if line.agrees else f"DIFFERS  {line.what}: {line.ours} here, vLLM says {line.theirs}")
    ctx.exit(0 if all(line.agrees for line in agreements) else 1)


def _run(options: dict[str, Any]) -> int:
    from planner.cli_stack import answer
    from planner.output import write_files

    found = answer(options)
    folder = options["output"] or Path("outputs") / found.folder
    files: list[str] = []
    if found.verdict != "does_not_start" and not options["dry_run"]:
        texts = found.texts(tuple(options["to"]))
        names = [str(folder / name) for name in (*texts, "plan.json")]
        texts["plan.json"] = json.dumps(found.json(names), indent=2) + "\n"
        files = write_files(folder, texts, force=options["force"])
    if options["style"] == "json":
        click.echo(json.dumps(found.json(files), indent=2))
    else:
        from rich.console import Console

        found.show(files, Console(width=None if sys.stdout.isatty() else 160, highlight=False))
    return 0 if found.meets_wish else 1


def main() -> NoReturn:
    """Run the command line; every error is one line on standard error and an exit code."""
    try:
        code = cli.main(standalone_mode=False, prog_name="plan")
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        _fail(error.format_message(), "plan --help lists the options")
        code = 2
    except click.Abort:
        code = 130
    except PlannerError as error:
        _fail(error.message, error.hint)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, hint: str) -> None:
    line = " ".join(f"{message}; {hint}".split()) if hint else " ".join(message.split())
    click.echo(f"plan: {line}", err=True)

"""The command line: the only place that prints, exits and asks for files to be written."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from planner.cli_options import STYLE, question, read_machine
from planner.errors import PlannerError
from planner.plan import make_plan

_LATER = {
    "check": "planner.cli_check",
    "explain": "planner.cli_explain",
    "emit": "planner.cli_emit",
    "compare": "planner.cli_compare",
    "capacity": "planner.cli_capacity",
    "sweep": "planner.cli_sweep",
    "web": "planner.cli_web",
    "front": "planner.cli_front",
    "bench": "planner.cli_bench",
}


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


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@question
@click.option("--with", "beside", multiple=True, metavar="NAME[:key=value,…]", help="Another server on the same GPUs (repeatable), its settings pinned.")
@click.option("-f", "--file", "stack_file", type=click.Path(path_type=Path), help="The question as a file: GPUs and services (`plan schema stack`).")
@click.option("--engine", type=click.Choice(["vllm", "llama.cpp", "ollama", "mlx"]), help="The runtime; without it vLLM, or MLX on a Mac.")
@click.option("--gpu-layers", type=click.IntRange(0, 10_000), help="llama.cpp and Ollama: layers on the GPU, the output counted as one; else as many as fit.")
@click.option("--wired-limit-mb", type=click.IntRange(1, 10_000_000), help="On a Mac: iogpu.wired_limit_mb, where it was raised.")
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1, 128), help="Machines with --count GPUs each: tp inside, pp across.")
@click.option("--to", multiple=True, metavar="FORMAT", help="Also write these formats, e.g. compose,k8s (`plan emit --help` lists them).")
@click.option("--proxy-port", default=8080, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--for", "purpose", type=click.Choice(["agent", "chat", "code", "vision", "embedding"]), help="Without --model: choose one for this.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(0, 1000), help="Without --model or --gpu: how many to show; 0 shows all.")
@click.option("--prices", type=click.Path(path_type=Path, dir_okay=False), help="Without --gpu: your own prices (`plan schema prices`).")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address the server listens on.")
@click.option("--port", type=click.IntRange(1, 65_535), help="Port of the main server: 8000, Ollama's 11434; those beside it get the next ones.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the files (default: outputs/<model>-<gpu>x<count>).")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write the answer as one page, with pictures.")
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the pictures (pip install 'serve-plan[pictures]').")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="The same as SVG.")
@click.option("--dry-run", is_flag=True, help="Write no files but --html, --png and --svg.")
@click.option("--force", is_flag=True, help="Overwrite files that were edited.")
@STYLE
@click.version_option(package_name="serve-plan", prog_name="plan")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Plan how vLLM serves a model on your GPUs, before you download it. Without --model: which models; without --gpu: which machines.

    Exit codes: 0 it starts; 1 it does not, or the wish cannot be met (the ledger is printed); 2 the question was wrong; 3 the world failed.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_run(read_machine(ctx, options)))


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
@click.argument(
    "what", type=click.Choice(["gpus", "models", "prices", "stack", "plan", "local", "check", "explain", "capacity", "chosen-models", "chosen-machines"])
)
def print_schema(what: str) -> None:
    """Print the JSON Schema of gpus.yaml, models.yaml, a stack file or a JSON output."""
    from planner.schema import json_schema

    click.echo(json.dumps(json_schema(what), indent=2))


@cli.command("verify")
@question
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
    from planner.cli_choose import is_choice, run_choice
    from planner.cli_stack import answer

    if is_choice(options):
        return run_choice(options)
    from planner.output import write_files

    found = answer(options)
    folder = options["output"] or Path("outputs") / found.folder
    files: list[str] = []
    if found.verdict != "does_not_start" and not options["dry_run"]:
        texts = found.texts(tuple(options["to"]))
        names = [str(folder / name) for name in (*texts, "plan.json")]
        texts["plan.json"] = json.dumps(found.json(names), indent=2) + "\n"
        files = write_files(folder, texts, force=options["force"])
    if options["html"]:
        page: Path = options["html"]
        files += write_files(page.parent, {page.name: found.page(shlex.join(["plan", *sys.argv[1:]]))}, force=options["force"])
    for kind in ("png", "svg"):
        if options[kind]:
            files += write_files(options[kind].parent, {options[kind].name: found.figure(kind)}, force=options["force"])
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

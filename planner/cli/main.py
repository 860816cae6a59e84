"""The command line: the only place that prints, exits and asks for files to be written."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TextIO

import click

from planner.cli.command import Command, Option, missing, option, typed, words
from planner.cli.names import EngineName, Name
from planner.cli.options import PURPOSES, QUESTION, STYLE, own_settings, question, read_machine, type_of
from planner.cli.own_rows import own_rows
from planner.cli.printing import tell
from planner.cli.values import PlanValues, values_of
from planner.engines import ENGINES, titles_with, usual_words
from planner.errors import PlannerError, PlanWarning, WorldError, one_line, our_fault
from planner.facts.command_line import flag_of
from planner.questions.fields import FIELDS, OF_SOME
from planner.text import redact

_LATER = {  # module and short help: the help of all is printed without importing them
    "bench": ("planner.cli.bench", "Measure a running server beside what was predicted."),
    "capacity": ("planner.cli.capacity", "How many people a machine serves within limits of time."),
    "check": ("planner.cli.check", "Say whether a server's command starts."),
    "compare": ("planner.cli.compare", "Put the runtimes side by side, for every GPU and model named."),
    "completion": ("planner.cli.completion", "The script by which a shell completes names."),
    "cost": ("planner.cli.cost", "What a million tokens cost, beside an API's price."),
    "config": ("planner.cli.config", "The defaults of this user: my GPU, host, prices."),
    "diff": ("planner.cli.diff", "What moved between two plans, and whether it got worse."),
    "emit": ("planner.cli.emit", "Write a plan's files again, in other formats too."),
    "explain": ("planner.cli.explain", "Say what happened in a server's log."),
    "front": ("planner.cli.front", "What cannot be had cheaper, faster, longer or for more people."),
    "gpus": ("planner.cli.gpus", "Add a GPU that is not in the catalogue to your own ones."),
    "list": ("planner.cli.list", "The GPUs, models (with sizes) and architectures that are known."),
    "mcp": ("planner.cli.mcp", "Answer an agent's questions (MCP)."),
    "models": ("planner.cli.models", "Add a model of the Hub to your own ones, for use offline."),
    "schema": ("planner.cli.schema", "The JSON Schema of a file or an answer."),
    "serve": ("planner.cli.serve", "Answer questions as HTTP with OpenAPI."),
    "sweep": ("planner.cli.sweep", "Compute every server of a grid to a file."),
    "verify": ("planner.cli.verify", "Ask the engine itself about the plan, line by line."),
    "web": ("planner.cli.web", "Open the calculator in a browser."),
    "webhook": ("planner.cli.webhook", "Warn of Deployments that would not start (Kubernetes)."),
}
_LOAD, _OTHERS, _MACHINE, _SEVERAL, _OPEN, _FILES = (
    "What the speed is for",
    "Other runtimes",
    "A GPU that is described, and what is free",
    "Several servers and machines",
    "Where the model or the GPU is left open",
    "Files and addresses",
)


class _Group(Command, click.Group):
    """Imports the modules of further commands only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _LATER:
            from importlib import import_module

            module_command: click.Command = getattr(import_module(_LATER[cmd_name][0]), f"{cmd_name}_command")
            return module_command
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args or ctx.resilient_parsing else ["--help"])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.resilient_parsing or self.get_command(ctx, args[0]) is not None:
            return super().resolve_command(ctx, args)
        from planner.cli.hints import no_command

        raise no_command(args, self.list_commands(ctx))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        helps = {name: subcommand.get_short_help_str(60) for name, subcommand in self.commands.items()} | {name: text for name, (_, text) in _LATER.items()}
        with formatter.section("Commands (`plan COMMAND --help`)"):
            formatter.write_dl(sorted(helps.items()))


@click.group(cls=_Group, invoke_without_command=True, options_metavar="[OPTIONS]")
@question()
@own_rows(group="Question")
@option("--input", type=type_of(FIELDS["input"]), group=_LOAD, common=False, help="Tokens of a prompt: 2000, or what the context holds.")
@option("--output-tokens", type=type_of(FIELDS["output_tokens"]), group=_LOAD, common=False, help="Tokens of an answer: 500, or a fifth of the context.")
@option("--concurrency", type=type_of(FIELDS["concurrency"]), group=_LOAD, common=False, help="Requests at once; else --users, or as many as fit, at most 16.")
@option("--for", "purpose", type=click.Choice(PURPOSES), group=_OPEN, help="Without --model: choose one for this.")
@option(
    "--min-speed",
    type=click.FloatRange(0, 1e6),
    metavar="TOKENS/S",
    group=_OPEN,
    help="Nothing slower: else 15, for code, agents 30.",
)
@option("--top", default=10, show_default=True, type=click.IntRange(0, 1000), group=_OPEN, help="How many to show; 0 shows all.")
@option("--prices", type=click.Path(path_type=Path, dir_okay=False), group=_OPEN, common=False, help="Without --gpu: your own prices (`plan schema prices`).")
@option(
    "--with",
    "beside",
    multiple=True,
    type=Name("model"),
    metavar="NAME[:key=value,…]",
    group=_SEVERAL,
    help="Another server on the same GPUs, repeatable.",
)
@option(
    "--nodes",
    default=1,
    show_default=True,
    type=type_of(FIELDS["nodes"]),
    group=_SEVERAL,
    common=False,
    help="Machines with --count GPUs each: tp inside, pp across.",
)
@option(
    "-f",
    "--file",
    "stack_file",
    type=click.Path(path_type=Path),
    group=_SEVERAL,
    common=False,
    help="The question as a file: GPUs and services (`plan schema stack`).",
)
@option(
    "--engine",
    type=EngineName(),
    group=_OTHERS,
    says=lambda: f"{', '.join(ENGINES)}; else {usual_words()}.",
)
@option(
    "--gpu-layers",
    type=type_of(FIELDS["gpu_layers"]),
    group=_OTHERS,
    common=False,
    says=lambda: f"{titles_with('gpu_layers')}: layers on the GPU, the output counted as one; else as many as fit.",
)
@own_settings(_OTHERS, [setting.name for setting in OF_SOME])
@option("--ram", type=type_of(FIELDS["ram"]), group=_OTHERS, common=False, help="Main memory of the machine, e.g. 256GiB: what lies there is held against it.")
@option("--vram", type=type_of(FIELDS["vram"]), group=_MACHINE, common=False, help="With --gpu custom: its memory, e.g. 16GiB.")
@option("--bandwidth", type=type_of(FIELDS["bandwidth"]), group=_MACHINE, common=False, metavar="GB/S", help="With --gpu custom: of its memory, e.g. 672.")
@option("--compute-capability", group=_MACHINE, common=False, help="With --gpu custom: NVIDIA's, e.g. 8.9.")
@option("--vendor", type=click.Choice(["nvidia", "amd", "intel"]), group=_MACHINE, common=False, help="With --gpu custom: its maker; else nvidia.")
@option("--total-gib", type=type_of(FIELDS["total_gib"]), group=_MACHINE, common=False, help="What CUDA sees of each GPU in all, as a server's log tells.")
@option("--free-gib", type=type_of(FIELDS["free_gib"]), group=_MACHINE, common=False, help="What is free of each GPU when the server starts.")
@option("--wired-limit-mb", type=type_of(FIELDS["wired_limit_mb"]), group=_OTHERS, common=False, help="On a Mac: iogpu.wired_limit_mb, where it was raised.")
@option("--output", type=click.Path(path_type=Path), group=_FILES, help="Folder for the files; else one below outputs/.")
@option("--to", multiple=True, metavar="FORMAT", group=_FILES, help="Also write formats: compose,k8s (`plan emit --help`).")
@option("--html", type=click.Path(path_type=Path, dir_okay=False), group=_FILES, help="Also write the answer as one page, with pictures.")
@option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False), group=_FILES, common=False, help="Also draw the ledger and the curves as one SVG picture here."
)
@option("--dry-run", is_flag=True, group=_FILES, help="Write no files but --html and --svg.")
@option("--force", is_flag=True, group=_FILES, common=False, help="Overwrite files that were edited, or written for another question.")
@option("--bind", default="127.0.0.1", show_default=True, group=_FILES, common=False, help="Address the server listens on.")
@option(
    "--port",
    type=type_of(FIELDS["port"]),
    group=_FILES,
    common=False,
    help="Port of the main server, else its engine's usual one; those beside it get the next ones.",
)
@option(
    "--proxy-port",
    default=8080,
    show_default=True,
    type=type_of(FIELDS["proxy_port"]),
    group=_FILES,
    common=False,
    help="Port of the proxy before several servers.",
)
@STYLE
@click.version_option(None, "-V", "--version", package_name="serve-plan", prog_name="plan", cls=Option, group="Output")
@click.pass_context
def cli(ctx: click.Context, /, **options: object) -> None:
    """Plan how vLLM serves a model on your GPUs, before you download it. Without --model: which models; without --gpu: which machines.

    Defaults such as your own GPU: `plan config set gpu rtx4090`; then --gpu any leaves it open.

    Exit codes: 0 it starts; 1 it does not, or the wish cannot be met (the ledger is printed); 2 the question was wrong; 3 the world failed, or plan itself;
    4 it cannot be said.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_run(read_machine(ctx, values_of(PlanValues, options))))
    if before := typed():
        raise PlannerError(
            f"{flag_of(next(iter(before)))} stands before {ctx.invoked_subcommand}, which would not see it",
            "the command's name goes first: " + words(command=ctx.invoked_subcommand) + " …",
        )


def _run(values: PlanValues) -> int:
    from planner.cli.choose import is_choice, run_choice
    from planner.cli.hints import refuse_unused
    from planner.cli.question import question_row
    from planner.emit import read_formats
    from planner.questions.plan import answer_for

    refuse_unused(values, QUESTION)
    if is_choice(values):
        return run_choice(values)
    from planner.cli.files import finish

    return finish(answer_for(question_row(values), values.port, read_formats(values.to)), values)


def main() -> NoReturn:
    """Run the command line; every error is one line on standard error and an exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
    warnings.showwarning = _say_warning
    try:
        code = cli.main(standalone_mode=False, prog_name="plan")
        sys.stdout.flush()
    except BrokenPipeError:
        code = 0  # who reads only the head of it has closed it
    except SystemExit as ended:
        code = 0 if ended.code == 1 else ended.code  # so click and Rich end then
    except OSError as error:
        what = str(error.filename)[:200] if error.filename else "the answer cannot be written to standard output"
        _fail(f"{what} ({error.strerror or error})", "")
        code = WorldError.exit_code
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.MissingParameter as error:
        code = _refuse(missing(error))
    except click.NoSuchOption as error:
        from planner.cli.hints import no_option

        code = _refuse(no_option(error))
    except click.ClickException as error:
        _fail(
            error.format_message().rstrip("."),
            f"{error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else 'plan'} --help lists the options",
        )
        code = 2
    except click.Abort:
        code = 130
    except PlannerError as error:
        code = _refuse(error)
    except Exception as error:
        code = _unexpected(error)
    _let_go()
    sys.exit(code if isinstance(code, int) else 0)


def _let_go() -> None:
    """Write what is left; where that fails, Python shall not try once more when it ends."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _refuse(error: PlannerError) -> int:
    _fail(error.message, error.hint)
    return error.exit_code


def _say_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None) -> None:  # noqa: PLR0917 - Python's own
    """One line for what an answer passed over; what libraries warn their programmers of is not for a user."""
    if issubclass(category, PlanWarning):
        _fail(str(message), "")


def _unexpected(error: Exception) -> int:
    """A fault of ours, in one line; the whole trace only where it is asked for."""
    if "--debug" in sys.argv[1:]:
        import traceback

        with suppress(OSError):
            tell(redact("".join(traceback.format_exception(error)).rstrip()), err=True)
    return _refuse(our_fault(error))


def _fail(message: str, hint: str) -> None:
    with suppress(OSError):
        tell(one_line(message, hint), err=True)

"""What every command of `plan` shares: options in groups, help in two lengths, `--json`, `--quiet`, and nothing that was typed is passed over."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from click.core import ParameterSource
from click.types import OptionHelpExtra

from planner.catalogue.user_file import config_file
from planner.cli.printing import tell
from planner.errors import PlannerError
from planner.facts.command_line import flag_of
from planner.questions.command_line import command_line

_TYPED = "planner.typed"  # in the meta of click's context: what was typed, by the name of the option
_LONG = 100  # characters of an argument that a hint repeats
_EXAMPLES = {"gpu": "rtx4090", "model": "qwen3-8b", "output": "grid.csv"}
_FEW = 3  # rare options that the short help shows all the same
_GPUS = "say --count for several equal ones; cards that differ are for a plan and a check: plan --gpu rtx3090 --gpu rtx4090 --model NAME"
_TWICE = {  # by whether it is the main command, and the option
    (True, "gpu"): _GPUS,
    (False, "gpu"): _GPUS,
    (True, "model"): "a second model on the same GPUs is --with NAME",
    (False, "model"): "one model at a time",
}


_QUIET = "planner.quiet"
_ARGUMENTS = "planner.arguments"
_OPTIONS_OF = {  # what a key of config.toml is the default of
    "gpu": ("gpu", "gpus"),
    "count": ("count",),
    "host": ("host_kind",),
    "prices": ("prices",),
    "vllm-version": ("vllm_version",),
    "gpus": ("own_gpus",),
    "models": ("own_models",),
}
OWN_FILES = ("own_gpus", "own_models")
"""The options that name files of a person's own rows."""
_NO_MACHINE = ("explain", "sweep")  # a log says what it ran on; a grid is about all machines


Run = TypeVar("Run", bound=Callable[..., object] | click.Command)


class Adds(Protocol):
    """Adds options to a command."""

    def __call__(self, run: Run, /) -> Run:
        """The command with them."""


class Option(click.Option):
    """An option that stands under a heading of the help, in its short form where people need it often (`common`)."""

    def __init__(
        self, names: Sequence[str], *, group: str = "Options", common: bool = True, says: Callable[[], str] | None = None, joined: bool = False, **settings: Any
    ) -> None:
        super().__init__(names, **settings | ({"multiple": True} if joined else {}))
        self.group, self.common, self.says, self.joined = group, common, says, joined

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The line of the help; `says` tells it where it depends on the engines, which only the help asks."""
        self.help = self.says() if self.says else self.help
        return super().get_help_record(ctx)

    def make_metavar(self, ctx: click.Context) -> str:
        """A short word for a number: N."""
        return "N" if self.metavar is None and isinstance(self.type, click.IntRange | click.FloatRange) else super().make_metavar(ctx)

    def type_cast_value(self, ctx: click.Context, value: object) -> object:
        """The value; an empty path, such as of a variable that is not set, would mean the folder one stands in."""
        if value == "" and isinstance(self.type, click.Path):
            raise click.BadParameter("it is empty; is a variable of the shell not set?", ctx, self)
        if self.joined and isinstance(value, str):
            return value  # a default of the user's
        return super().type_cast_value(ctx, value)

    def process_value(self, ctx: click.Context, value: object) -> object:
        """The value; of an option that is repeated one text, with commas, or None where it is not given."""
        read = super().process_value(ctx, value)
        if not self.joined or isinstance(read, str):
            return read
        return ",".join(read) if read and isinstance(read, tuple) else None

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """The default; a range is said by the error."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


def option(*names: str, group: str = "Options", common: bool = True, says: Callable[[], str] | None = None, **settings: Any) -> Adds:
    """An option under the heading `group`, in the short help where it is `common`; `says` tells its help when that is asked."""
    return click.option(*names, cls=Option, group=group, common=common, says=says, **settings)


def _joined(param: click.Option, value: object) -> object:
    """What was typed for an option; of one that is repeated, with commas."""
    return ",".join(map(str, value)) if getattr(param, "joined", False) and isinstance(value, list | tuple) else value


def _help_all(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        ctx.meta["planner.help_all"] = True
        tell(ctx.get_help())
        ctx.exit()


class Command(click.Command):
    """A command whose options stand in groups and are refused where they are given twice."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        settings["context_settings"] = {"help_option_names": ["-h", "--help"], "max_content_width": 110} | (settings.get("context_settings") or {})
        super().__init__(name, **settings)
        self.params.append(
            Option(
                ["--debug"], group="Output", common=False, help="Print the whole trace of an unexpected error.", is_flag=True, is_eager=True, expose_value=False
            )
        )
        if sum(not getattr(param, "common", True) for param in self.params) > _FEW:
            text = "Show all options and exit."
            self.params.append(Option(["--help-all"], group="Output", help=text, is_flag=True, is_eager=True, expose_value=False, callback=_help_all))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options, once all of what was typed is known to count."""
        fault: PlannerError | None = None
        if not ctx.resilient_parsing:
            ctx.meta[_TYPED], is_whole = self._typed(ctx, list(args))
            try:
                ctx.default_map = self._own_defaults(ctx.meta[_TYPED]) if is_whole else {}
            except PlannerError as error:
                fault = error
        rest = super().parse_args(ctx, args)  # --help ends here, whatever the file of defaults holds
        if fault:
            raise fault
        if ctx.params.pop("as_json", False):
            if ctx.params["style"] != "json" and ctx.get_parameter_source("style") is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--json and --format {ctx.params['style']} contradict each other", ctx)
            ctx.params["style"] = "json"
        return rest

    def _own_defaults(self, typed: dict[str, object]) -> dict[str, object]:
        """What the user's config.toml says of this command's options. Another GPU that is typed is another machine."""
        left = {"gpu", "gpus", "count", "host_kind"} if "gpu" in typed else set()
        names = {param.name for param in self.params} - left - ({"vllm_version"} if self.name == "check" else set())
        if self.name in _NO_MACHINE or "stack_file" in typed:
            names &= set(OWN_FILES)
        if not names & {name for names_of in _OPTIONS_OF.values() for name in names_of}:
            return {}
        if not config_file().exists():
            return {}
        from planner.cli.defaults import read_defaults

        defaults = read_defaults()
        return {name: default.value for key, default in defaults.items() for name in _OPTIONS_OF[key] if name in names}

    def _typed(self, ctx: click.Context, args: list[str]) -> tuple[dict[str, object], bool]:
        """The options as they were typed, in their order; and whether no further command follows."""
        words, rest, order = self.make_parser(ctx).parse_args(list(args))
        values = [words.get(str(param.name)) for param in self.params if isinstance(param, click.Argument)]
        ctx.meta[_ARGUMENTS] = [word for value in values for word in (value if isinstance(value, tuple) else (value,)) if isinstance(word, str)]
        for param in order:
            if isinstance(param, click.Option) and not (param.multiple or param.is_eager) and order.count(param) > 1:
                flag = "/".join([flag_of(_key(param)), *param.secondary_opts])
                raise PlannerError(f"{flag} is given twice; it counts once", self._why_once(_key(param)))
        given = dict.fromkeys(param for param in order if isinstance(param, click.Option) and not param.is_eager)
        return {_key(param): _joined(param, words[str(param.name)]) for param in given if param.name in words}, not (rest and isinstance(self, click.Group))

    def _why_once(self, name: str) -> str:
        many = any(str(param.name) in ("gpus", "models") for param in self.params)  # compare takes lists
        return "put commas between them" if many and name in ("gpu", "gpus", "model", "models") else _TWICE.get((self.name == "cli", name), "leave one out")

    def invoke(self, ctx: click.Context) -> object:
        """Run it; --quiet keeps its report back."""
        ctx.meta[_QUIET] = ctx.params.pop("quiet", False)
        if ctx.default_map and not is_quiet(ctx):
            _say_defaults(ctx)
        gpus, models = (ctx.params.pop(name, None) for name in OWN_FILES)
        if gpus or models:
            from planner.cli.own_rows import use_own

            use_own(ctx, gpus, models)
        if not is_quiet(ctx) or ctx.params.get("style", "text") != "text":
            return super().invoke(ctx)
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings: the common ones, or all."""
        rare = [param for param in self.get_params(ctx) if not getattr(param, "common", True)]
        show_all = ctx.meta.get("planner.help_all", False) or len(rare) <= _FEW
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or isinstance(param, click.Argument):
                continue
            if param in rare and not show_all:
                continue
            groups.setdefault(getattr(param, "group", "Output"), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=28)
        if not show_all:
            formatter.write_paragraph()
            formatter.write_text(f"{len(rare)} further options: {ctx.command_path} --help-all")


def _say_defaults(ctx: click.Context) -> None:
    """One line on standard error: what the file of defaults added to what was typed."""
    ours = [param for param in ctx.command.params if isinstance(param, click.Option) and param.name in (ctx.default_map or {})]
    used = {_key(param): ctx.params[str(param.name)] for param in ours if ctx.get_parameter_source(str(param.name)) is ParameterSource.DEFAULT_MAP}
    if "gpu" in ctx.params and ctx.params["gpu"] != "any":
        used.pop("prices", None)  # are read where machines are listed
    if used:
        note(f"{command_line(used).removeprefix('plan ')} from {config_file()}")


def note(text: str) -> None:
    """One line beside the answer, on standard error."""
    line = f"plan: {text}"
    tell(line, err=True, dim=not os.environ.get("NO_COLOR"))


def _key(param: click.Option) -> str:
    """The name by which an option's flag is written again (`flag_of`)."""
    name = str(param.name)
    return name if flag_of(name) in (*param.opts, *param.secondary_opts) else max(param.opts, key=len).lstrip("-").replace("-", "_")


def is_quiet(ctx: click.Context) -> bool:
    """Whether --quiet was typed."""
    return bool(ctx.meta.get(_QUIET))


def typed(ctx: click.Context | None = None) -> dict[str, object]:
    """What was typed to the command that runs (or ran), by the names of its options; nothing outside of one."""
    ctx = ctx or click.get_current_context(silent=True)
    return dict(ctx.meta.get(_TYPED, {})) if ctx else {}


def words(changed: Mapping[str, object] | None = None, command: str | None = None, ctx: click.Context | None = None) -> str:
    """The command that was typed, with what is changed; of another command where one is named ("" is the main one)."""
    ctx = ctx or click.get_current_context(silent=True)
    if ctx is None or command is not None:
        return command_line(typed(ctx), changed, command=command or "")
    arguments = [f"{word[:_LONG]}…" if len(word) > _LONG else word for word in ctx.meta.get(_ARGUMENTS, ())]
    return command_line(typed(ctx), changed, command=str(ctx.info_name) if ctx.parent else "", arguments=arguments)


def missing(error: click.MissingParameter) -> PlannerError:
    """What to type where an option or an argument is missing."""
    param, ctx = error.param, error.ctx
    if not isinstance(param, click.Option) or ctx is None:
        return PlannerError(error.format_message(), f"{ctx.command_path} --help says more" if ctx else "")
    keys = [_key(other) for other in ctx.command.params if other.required and isinstance(other, click.Option)]
    lacking = {key: _EXAMPLES[key] for key in keys if key in _EXAMPLES and key not in typed(ctx)}
    return PlannerError(f"{flag_of(_key(param))} is missing", f"try: {words(lacking, ctx=ctx)}")


def command(name: str, **settings: object) -> Callable[[Callable[..., object]], click.Command]:
    """A further command."""
    return click.command(name, cls=Command, **settings)


def output_options(run: Run) -> Run:
    """--format, --json and --quiet."""
    return output_formats()(run)


def output_formats(*further: str) -> Adds:
    """--format with further formats, --json and --quiet."""

    def add(run: Run) -> Run:
        for add_to in reversed(
            (
                option("--format", "style", type=click.Choice(["text", "json", *further]), default="text", show_default=True, group="Output", common=False),
                *_OUTPUT,
            )
        ):
            run = add_to(run)
        return run

    return add


_OUTPUT = (
    option("--json", "as_json", is_flag=True, group="Output", help="The answer as JSON (docs/json.md): --format json."),
    option("-q", "--quiet", is_flag=True, group="Output", help="Print errors only; the exit code says the rest."),
)

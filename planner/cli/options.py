"""Options that several commands share: the question about GPUs, a model, wishes and pins; types that read what people write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import assert_never

import click

from planner.cli.command import Adds, Run, is_quiet, option, output_options, words
from planner.cli.names import Name
from planner.cli.printing import tell
from planner.cli.values import Values
from planner.engines import ENGINES, first_engine, titles_with
from planner.engines.vllm.settings import BY_NAME, PINS
from planner.engines.vllm.versions import DEFAULT_VERSION, OLDEST_VERSION, VERSIONS
from planner.errors import PlannerError
from planner.facts.command_line import ANY, AUTO
from planner.facts.hardware import Host
from planner.facts.settings import Kind, Setting
from planner.facts.speed import MOST_DRAFTED
from planner.questions.fields import FIELDS, MOST_LINK_GB_PER_S, MOST_POWER_W
from planner.units import parse_seconds


class Number(click.ParamType[int]):
    """Tokens or bytes; people write 128k and mean 131072, so k and K are both 1024."""

    def __init__(self, setting: Setting) -> None:
        self.name, self.setting = ("context" if setting.kind is Kind.TOKENS else "size"), setting

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows."""
        return "N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        least, most = self.setting.least, self.setting.most
        try:
            number = self.setting.parsed(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if least is not None and number < least:
            self.fail(self.setting.too_little(number), param, ctx)
        if most is not None and number > most:
            self.fail(f"{value} is above {most:,}", param, ctx)
        return number


class Short(click.ParamType[str]):
    """A text that people write shorter than the engine does."""

    name = "text"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The engine's own text."""
        try:
            return str(self.setting.asked(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


LEAST = 1e-12  # what a number is that is not 0, as at the other doors: money divided by less overflows


class Finite(click.FloatRange):
    """A number in a range; NaN compares with nothing, so that click would let it pass."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        if not isfinite(number := super().convert(value, param, ctx)):
            self.fail(f"{value} is not a number", param, ctx)
        if number and abs(number) < LEAST:
            self.fail(f"{value} is as good as nothing: at least {LEAST:g}", param, ctx)
        return number


class Seconds(click.ParamType[float]):
    """A time such as 2s or 50ms."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        try:
            return parse_seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


STYLE = output_options
PURPOSES = ("agent", "chat", "code", "vision", "embedding")
_gpu = partial(option, "--gpu", type=Name("gpu"), group="Question", joined=True)
_host = partial(
    option, "--host", "--machine", "host_kind", group="Question", type=click.Choice([str(host) for host in Host]), default="server", show_default=True
)
_HEADINGS = {"Pins": f"Pins: settings of the server, named as {first_engine().title}'s flags"}


def type_of(setting: Setting) -> click.ParamType[object]:
    """What click reads a setting by."""
    match setting.kind:
        case Kind.COUNT:
            return click.IntRange(setting.least, setting.most)
        case Kind.TOKENS | Kind.BYTES:
            return Number(setting)
        case Kind.GIB:
            return Finite(0, setting.most)
        case Kind.SHARE:
            return Finite(0, 1, min_open=True)
        case Kind.SWITCH:
            return click.BOOL
        case Kind.TEXT:
            if setting.parse:
                return Short(setting)
            return click.Choice(setting.choices) if setting.unpinned is not None else click.STRING
        case _:
            assert_never(setting.kind)


def pin(setting: Setting, says: Callable[[], str] | None = None) -> Adds:
    """The option that fixes a setting; `says` tells what is said of it instead of its own help."""
    add = partial(option, help=setting.help, says=says, group=_HEADINGS.get(setting.group, setting.group), common=setting.group not in _HEADINGS)
    if setting.kind is Kind.SWITCH and setting.unpinned is None:
        return add("/".join((setting.flag, setting.off[0])), default=None)
    if setting.kind is Kind.SWITCH:
        return add(setting.flag, is_flag=True)
    long = (f"-{alias}" for alias in setting.aliases)  # -tp is --tp too
    names = [*filter(None, (setting.asked_as,)), setting.flag, *(name for pair in zip(setting.aliases, long, strict=True) for name in pair)]
    metavar = "NAME" if setting.kind is Kind.TEXT and setting.unpinned is None else None
    return add(*names, setting.name, type=type_of(setting), default=setting.unpinned, metavar=metavar)


_OF_ALL = ("quantization", "kv_cache_dtype")  # what every engine has, each with values of its own


def _forms(name: str) -> str:
    """What a setting may be for each engine."""
    titles: dict[str, list[str]] = {}
    for engine in ENGINES.values():
        if form := engine.forms.get(name):
            titles.setdefault(form, []).append(engine.title)
    return "; ".join(f"{' and '.join(named)}: {form}" for form, named in titles.items()) + "."


def pins(group: str) -> dict[str, Adds]:
    """The options that fix settings, of one heading, by name."""
    return {setting.name: pin(setting, partial(_forms, setting.name) if setting.name in _OF_ALL else None) for setting in PINS if setting.group == group}


QUESTION: dict[str, Adds] = {
    "gpu": _gpu(help="The GPU: rtx4090, a100-80, m4-max-64gb … (`plan list gpus`); auto reads this machine, any leaves it open."),
    "count": option("--count", default=1, show_default=True, type=type_of(FIELDS["count"]), group="Question", help="How many of them."),
    "model": option(
        "--model", type=Name("model"), group="Question", help="A catalogue name (`plan list models`), owner/name on the Hub, or a folder with a config.json."
    ),
    "context": option("--context", type=type_of(FIELDS["context"]), group="Question", help="E.g. 128k (131,072); else what surely starts."),
    "users": option("--users", type=type_of(FIELDS["users"]), group="Question", help="How many people at once, each at full context."),
    "host_kind": _host(help="The kind of machine (no address): what is free at start."),
    "link_gb_per_s": option(
        "--link-gb-per-s",
        type=Finite(0, MOST_LINK_GB_PER_S, min_open=True),
        group="Question",
        common=False,
        help="What an all-reduce reaches here: nccl-tests' bus bandwidth, where measured.",
    ),
    "power_limit_w": option(
        "--power-limit-w",
        type=Finite(0, MOST_POWER_W, min_open=True),
        group="Question",
        common=False,
        help="What each GPU is held to (nvidia-smi -pl).",
    ),
    **pins("Question"),
    **pins("Pins"),
    "acceptance_length": option(
        "--acceptance-length",
        type=Finite(1, MOST_DRAFTED + 1),
        metavar="TOKENS",
        group=_HEADINGS["Pins"],
        common=False,
        help="With --speculate, for the speed: what a step gives on average, its own token counted (a server logs the mean acceptance length).",
    ),
    "vllm_version": option(
        "--vllm-version",
        type=click.Choice(list(VERSIONS)),
        default=DEFAULT_VERSION,
        show_default=True,
        metavar=f"{OLDEST_VERSION}..{DEFAULT_VERSION}",
        group=_HEADINGS["Pins"],
        common=False,
        help="The release.",
    ),
}
_OF_VLLM = {
    "gpu": _gpu(help="The GPU: rtx4090, a100-80 … (`plan list gpus`); auto reads this machine."),
    "host_kind": _host(help="The kind of machine, not an address: what is free at start."),
    **{name: pin(BY_NAME[name]) for name in _OF_ALL},
}


def read_machine(ctx: click.Context, values: Values) -> Values:
    """The values of a command with the GPUs that are meant (`meant_gpus`)."""
    gpu, count = meant_gpus(ctx, values.gpu, values.count)
    return replace(values, gpu=gpu, count=count)


def meant_gpus(ctx: click.Context, gpu: str | None, count: int) -> tuple[str | None, int]:
    """The GPUs of this machine in place of `--gpu auto`: all of them, unless a count is given.

    `--gpu any` leaves the GPU open: none is in its place. Raises PlannerError for it where a further command needs one.
    """
    if gpu == ANY:
        if ctx.parent is not None:
            raise PlannerError(f"--gpu any leaves the GPU open, and plan {ctx.info_name} is about one", f"try: {words({'gpu': 'rtx4090'})}")
        return None, count
    if gpu != AUTO:
        return gpu, count
    from planner.catalogue.load import current, using
    from planner.machine.detect import this_machine

    here = this_machine()
    ctx.with_resource(using(replace(current(), here=here.gpu)))
    if not is_quiet(ctx):
        tell(f"plan: this machine has {here.note}", err=True)
    given = ctx.get_parameter_source("count") is not click.core.ParameterSource.DEFAULT
    return gpu, count if given else here.count


def question(*, vllm_only: bool = False, without: Sequence[str] = ()) -> Adds:
    """The options of the question: which GPUs, which model, what is wished and pinned; `without` those that mean nothing to the command."""
    wanted = {name: add_option for name, add_option in (QUESTION | (_OF_VLLM if vllm_only else {})).items() if name not in without}

    def add(run: Run) -> Run:
        for add_option in reversed(wanted.values()):
            run = add_option(run)
        return run

    return add


def own_settings(group: str, names: Sequence[str]) -> Adds:
    """The options of settings that not every engine has: their help names those that do."""

    def add(run: Run) -> Run:
        for name in reversed(names):
            run = _own(FIELDS[name], group)(run)
        return run

    return add


def _own(setting: Setting, group: str) -> Adds:
    add = partial(option, group=group, common=False, says=lambda: f"{titles_with(setting.name)}: {setting.help}")
    if setting.kind is Kind.SWITCH:
        return add("/".join((setting.flag, setting.off[0])), setting.name, default=None)
    if setting.choices:
        return add(setting.flag, setting.name, type=click.Choice(setting.choices))
    return add(setting.flag, setting.name, type=type_of(setting), metavar="NAME" if setting.kind is Kind.TEXT else None)

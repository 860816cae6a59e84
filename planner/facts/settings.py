"""A setting of an engine's server: one row says all that commands, questions, logs and answers need to know of it. The tables are the engines'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from math import inf
from typing import assert_never

from planner.errors import BadValueError
from planner.facts.record import dataclass
from planner.text import is_line
from planner.units import GIB, MIB, gib, parse_context, parse_size

Value = int | float | bool | str | None
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


class Kind(Enum):
    """What a setting's value is, its unit with it."""

    COUNT = "count"
    """A whole number: GPUs, requests, layers, tokens of a step."""
    TOKENS = "tokens"
    """A length; people write 128k."""
    BYTES = "bytes"
    """A size; people write 8GiB."""
    GIB = "gib"
    """A size in GiB, parts of one too."""
    SHARE = "share"
    """Above 0 and at most 1."""
    SWITCH = "switch"
    """A flag without a value."""
    TEXT = "text"
    """A word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: how the engine spells it, what it may be, and where `plan` takes and shows it.

    `least` is the engine's own bound, `most` what a question may ask for: a command of somebody else's may say more.
    """

    name: str
    """The engine's name of it: a key of stack files and answers, a field of the engine's settings."""
    flag: str
    """The engine's flag, in the spelling that commands are written with."""
    kind: Kind
    aliases: tuple[str, ...] = ()
    """Other spellings of the flag."""
    off: tuple[str, ...] = ()
    """Spellings that switch it off."""
    default: Value = None
    """What counts where nothing is said; None is the engine's to choose."""
    earlier: tuple[tuple[str, Value], ...] = ()
    """Defaults of older releases, each with the first release that no longer has it, oldest first."""
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    automatic: tuple[str, ...] = ()
    """Values that leave it to the engine."""
    always_said: bool = False
    """Whether a command says it even where it is the default: where the engine's own depends on the GPU or the model."""
    is_pin: bool = True
    """Whether a question may fix it, by its flag or by its name in a stack file."""
    unpinned: Value = None
    """What a question holds that does not fix it."""
    is_shared: bool = False
    """Whether a question means it for every engine."""
    group: str = "Pins"
    """The heading of the help that it stands under."""
    help: str = ""
    place: int = 0
    """Its place among the settings of an answer; 0 is not shown there."""
    asked_as: str = ""
    """The flag of `plan` for it, where that is shorter than the engine's."""
    parse: Callable[[str], str] | None = None
    """What a question's text means, where people write it shorter than the engine. It raises ValueError."""
    only_where_said: bool = False
    """Whether answers leave it out where it is the default."""
    short: str = ""
    """The word for it in the name of a folder, where that says it."""

    def default_in(self, release: str) -> Value:
        """The default of a release ("0.19")."""
        return next((value for until, value in self.earlier if _parts(release) < _parts(until)), self.default)

    def words(self, value: Value) -> list[str]:
        """The words of a command that say a value; none where it goes without saying."""
        if value is None or (value == self.default and not self.always_said):
            return []
        if self.kind is Kind.SWITCH:
            return [self.flag] if value else list(self.off[:1])
        return [self.flag, f"{value:g}" if self.kind in (Kind.SHARE, Kind.GIB) else str(value)]

    def read(self, value: str | bool, number: Callable[[str], int] = int) -> Value:
        """The value in a command of the engine's, whose numbers `number` reads. Raises BadValueError for what the engine refuses."""
        match self.kind:
            case Kind.SWITCH:
                return bool(value)
            case Kind.TEXT:
                return str(value)
            case Kind.SHARE:
                share = number_in(str(value), float)
                if not 0 < share <= 1:
                    raise BadValueError("expected a share above 0 and at most 1")
                return share
            case Kind.GIB:
                size = number_in(str(value), float)
                if not 0 <= size < inf:
                    raise BadValueError("expected a number of GiB, 0 or more")
                return size
            case Kind.COUNT | Kind.TOKENS | Kind.BYTES:
                whole = int(number_in(str(value), number))
                if self.least is not None and whole < self.least:
                    raise BadValueError(f"expected a number above {self.least - 1}")
                return whole
            case _:
                assert_never(self.kind)

    def asked(self, value: object) -> Value:
        """The value that somebody asks for in a file: 128k is 131072, yes is true. Raises ValueError for what cannot be asked."""
        match self.kind:
            case Kind.SWITCH:
                return _truth(value)
            case Kind.TEXT:
                text = asked_text(value)
                return self.parse(text) if self.parse else text
            case Kind.SHARE:
                share = float(value) if isinstance(value, str | int | float) else 0.0
                if not 0 < share <= 1:
                    raise ValueError("expected a share above 0 and at most 1")
                return share
            case Kind.GIB:
                return self._gib(value)
            case Kind.COUNT | Kind.TOKENS | Kind.BYTES:
                return self.bounded(self.parsed(value) if isinstance(value, str) else value)
            case _:
                assert_never(self.kind)

    def _gib(self, value: object) -> float:
        size = value if isinstance(value, int | float) and not isinstance(value, bool) else float(value) if isinstance(value, str) else -1.0
        if not 0 <= size <= (self.most or inf):
            raise ValueError(f"expected a number of GiB from 0 to {self.most}")
        return float(size)

    def parsed(self, number: str) -> int:
        """A number as people write it: 128k is 131072. Raises ValueError."""
        return parse_size(number) if self.kind is Kind.BYTES else parse_context(number)

    def bounded(self, number: object) -> int:
        """A whole number that may be asked for. Raises ValueError for one outside the bounds, or none."""
        if isinstance(number, bool) or not isinstance(number, int) or not self.is_within(number):
            if type(number) is int and self.least is not None and 0 < number < self.least:
                raise ValueError(self.too_little(number))
            raise ValueError(f"expected a whole number from {self.least} to {self.most}")
        return number

    def too_little(self, number: int) -> str:
        """Why a number below the least one is none: a size without its unit is a number of bytes, which nobody means by 64."""
        if self.kind is Kind.BYTES and self.least:
            return f"{number:,} bytes is less than {gib(self.least)}: a size has its unit, as in {number if number < GIB // MIB else 64}GiB"
        return f"{number} is below {self.least}"

    def is_within(self, number: int) -> bool:
        """Whether a number keeps the bounds; what has none is open."""
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)


def asked_text(value: object) -> str:
    """A text of one line that somebody gave in a file. Raises ValueError for anything else."""
    if not isinstance(value, str) or not value.strip() or not is_line(value):
        raise ValueError("expected a text")
    return value


def by_name(table: Iterable[Setting]) -> dict[str, Setting]:
    """A table's settings by their names."""
    return {setting.name: setting for setting in table}


def by_flag(table: Iterable[Setting]) -> dict[str, Setting]:
    """A table's settings by every spelling of their flags."""
    return {spelling: setting for setting in table for spelling in (setting.flag, *setting.aliases, *setting.off)}


def command_words(table: Iterable[Setting], values: object) -> list[str]:
    """The words of a command for the fields of `values` that are named as the table's settings."""
    return [word for setting in table for word in setting.words(getattr(values, setting.name))]


def nothing(_flag: str, _value: str | bool) -> Mapping[str, Value]:
    """No setting is meant."""
    return {}


def read_flags(
    table: Iterable[Setting],
    values: Mapping[str, str | bool],
    number: Callable[[str], int] = int,
    indirect: Callable[[str, str | bool], Mapping[str, Value]] = nothing,
) -> tuple[dict[str, Value], dict[str, str]]:
    """Settings by name among a command's values by flag, and why a value is refused, by flag. What is left to the engine is not among them.

    `indirect` says what a flag means that is no setting's own; it may raise BadValueError too.
    """
    known = by_flag(table)
    settings: dict[str, Value] = {}
    faults: dict[str, str] = {}
    for flag, value in values.items():
        setting = known.get(flag)
        try:
            if setting is None:
                settings |= indirect(flag, value)
            elif str(value) not in setting.automatic:
                settings[setting.name] = setting.read(not value if flag in setting.off else value, number)
        except BadValueError as error:
            faults[flag] = f"{flag} is {value!r}: {error}"
    return settings, faults


def number_in(text: str, read: Callable[[str], float]) -> float:
    """A number in a command. Raises BadValueError for what is none."""
    try:
        return read(text)
    except ValueError:
        raise BadValueError("expected a number") from None


def _truth(value: object) -> bool:
    if isinstance(value, str) and value.lower() in _TRUTH:
        return _TRUTH[value.lower()]
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _parts(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))

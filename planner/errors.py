"""What can go wrong, as one tree. The command line prints any of them as one line and leaves with its exit code.

PlannerError                 the question was wrong                                            exit 2
├── UnsupportedModelError    an architecture or quantization that is not known: refused by name, never guessed
│   └── UnknownArchitectureError    an architecture; where a checkpoint's tensors are at hand their bytes are told
├── UnsupportedError         what an engine refuses on this GPU or of this model (also a ValueError)
├── NotDivisibleError        a tensor-parallel size that does not divide what must be divided
├── BadValueError            a value that an engine refuses for a setting or a flag (also a ValueError)
├── MisuseError              words that an engine's argument parser does not take together
├── FileError                a file that says something wrong: which, in which line where that is known
├── CatalogError             a row of the catalogue that is malformed
├── MissingLibraryError      a library that only this question needs is not installed; how to install it
├── UnmetError               the question was fine, and what it asks for cannot be had                exit 1
└── WorldError               the question was fine, the world failed (Hub, disk, a server)      exit 3
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from os import PathLike
from typing import Self

from planner.text import shown


class PlannerError(Exception):
    """A question that cannot be answered, with what was expected or what to do next."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __copy__(self) -> Self:
        """The same once more, without the frames that it passed."""
        made = type(self).__new__(type(self), *self.args)
        vars(made).update(vars(self))
        return made


class UnsupportedModelError(PlannerError):
    """A model whose memory we cannot compute exactly; saying so beats guessing."""


class UnknownArchitectureError(UnsupportedModelError):
    """An architecture that is not on the list: its layers are not known, whatever its tensors may tell."""


class UnsupportedError(PlannerError, ValueError):
    """A combination that an engine refuses to start with; the message is the reason."""


class NotDivisibleError(PlannerError):
    """A tensor-parallel size that does not divide what must be divided."""


class BadValueError(PlannerError, ValueError):
    """A value that an engine refuses for one of its settings; the message says what it expects."""


class MisuseError(PlannerError):
    """Words that an engine's argument parser refuses, in its own words; `flag` is empty where they are of none."""

    def __init__(self, message: str, flag: str = "") -> None:
        super().__init__(message)
        self.flag = flag


class FileError(PlannerError):
    """A file that cannot be read or says something wrong, with the line where it is known."""

    def __init__(self, path: str | PathLike[str], what: str, hint: str = "", *, line: int | None = None) -> None:
        super().__init__(f"{path}: {what}" if line is None else f"{path}:{line}: {what}", hint)
        self.path = path
        self.line = line


class CatalogError(PlannerError):
    """A row of models.yaml or gpus.yaml that is malformed."""


class MissingLibraryError(PlannerError):
    """A library that one of the extras of pyproject.toml brings is not installed."""


class UnmetError(PlannerError):
    """A question whose answer is no, and that has nothing else to say: what a model costs that does not start."""

    exit_code = 1


class WorldError(PlannerError):
    """The network or the disk failed."""

    exit_code = 3


MOST_OF_A_FAULT = 120  # letters of its message


class PlanWarning(UserWarning):
    """Something that an answer passed over; the command line tells it in one line."""


def one_line(message: str, hint: str = "") -> str:
    """An error as the command line prints it: one line, whatever a name in it holds, without keys and tokens."""
    from planner.text import redact

    words = " ".join((f"{message}; {hint}" if hint else message).split())
    return redact(f"plan: {shown(words, len(words))}")


def our_fault(error: Exception) -> WorldError:
    """What is told of an exception that nobody expected: where it was raised, and what to do; the trace may hold what is nobody's business."""
    import traceback
    from pathlib import Path

    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "planner" in Path(frame.filename).parts]
    place = f" in {'/'.join(Path(ours[-1].filename).parts[-2:])}:{ours[-1].lineno}" if ours else ""
    what = " ".join(str(error).split())[:MOST_OF_A_FAULT]
    return WorldError(
        f"a fault of plan itself: {type(error).__name__}{place}{what and f': {what}'}",
        "please report it as an issue of its repository, with what was asked; --debug prints the whole trace",
    )


def require(what: str, *libraries: str, otherwise: str = "") -> None:
    """Raise MissingLibraryError where one of the libraries that `what` needs is missing: with the command that installs it for the Python which runs."""
    from importlib.util import find_spec

    if missing := [name for name in libraries if find_spec(name) is None]:
        from shlex import join

        # by their own names, not as an extra: the name serve-plan is not on the package index
        command = join([sys.executable, "-m", "pip", "install", *missing])
        raise MissingLibraryError(f"{what} needs {', '.join(missing)}", f"{command}{otherwise and f', or {otherwise}'}")


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the known names most like `name`, best first: those that go on as it begins, that hold it, or that look like it (by `cutoff`, 0 to 1)."""
    import difflib

    known = list(dict.fromkeys(known))
    if begun := sorted((choice for choice in known if len(name) > 2 and choice.startswith(name)), key=len)[:count]:
        return begun
    if held := sorted((choice for choice in known if len(name) > 3 and name in choice), key=len)[:count]:
        return held
    return difflib.get_close_matches(name, known, n=count, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known names, or an empty string."""
    names = nearest(name, known)
    return f"did you mean {', '.join(names)}?" if names else ""

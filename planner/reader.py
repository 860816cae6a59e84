"""The one door for what comes from outside: files and texts of strangers, read within bounds of size, depth, time and memory.

Only regular files are read: a pipe, a device or a socket may never end, and tells no size. What is wrong is a FileError: which file, which line.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from planner.errors import FileError

if TYPE_CHECKING:
    import yaml

_POINTER = b"version https://git-lfs."
MOST_DIGITS = 400  # of a number in JSON; Python itself stops at 4,300
MOST_NODES, MOST_DEPTH = 200_000, 100  # of a YAML document, each alias counted as what it stands for


_ONLY_TEXTS: ContextVar[bool] = ContextVar("planner.only_texts", default=False)


@contextmanager
def only_texts(only: bool = True) -> Iterator[None]:
    """As long as somebody else asks, no file that a question names is read."""
    before = _ONLY_TEXTS.set(only)
    try:
        yield
    finally:
        _ONLY_TEXTS.reset(before)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file. Raises FileError for anything else, OSError where the system refuses."""
    if _ONLY_TEXTS.get():
        raise FileError(path, "is not read: who asks from elsewhere gives texts and names, not files")
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileError(path, "is not a regular file", "a pipe, device, socket or folder is not read")
    return os.fdopen(number, "rb")


def read_bytes(path: Path, most: int, what: str = "") -> bytes:
    """A regular file of at most so many bytes. Raises FileError, also where it cannot be read."""
    try:
        with open_file(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            content = stream.read(most + 1) if size <= most else b""
    except (OSError, ValueError) as error:  # a name that holds a zero byte
        raise FileError(path, f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if (size := max(size, len(content))) > most:
        raise FileError(path, f"{size:,} bytes{f' is too large for {what}' if what else f'; at most {most:,} are read'}")
    return content


def read_text(path: Path, most: int, what: str = "") -> str:
    """A regular file's text. Raises FileError, also for what is no UTF-8, with its line."""
    content = read_bytes(path, most, what)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        hint = "it is UTF-16, as Windows PowerShell writes it: save it as UTF-8" if is_utf16(content) else ""
        raise FileError(path, "is not text (UTF-8)", hint, line=content.count(b"\n", 0, error.start) + 1) from None


def is_utf16(content: bytes) -> bool:
    """Whether bytes begin with the mark of UTF-16."""
    return content.startswith((b"\xff\xfe", b"\xfe\xff"))


def parse_json(text: str | bytes, path: str | Path) -> object:
    """The value that a JSON text holds. Raises FileError with the line: what is no UTF-8 or no JSON, nested too deeply, has a number of too many digits."""
    try:
        whole = text if isinstance(text, str) else text.decode()
        return json.loads(whole.removeprefix("\ufeff"), parse_int=_integer)
    except UnicodeDecodeError:
        raise FileError(path, "not valid JSON (its text is not UTF-8)") from None
    except json.JSONDecodeError as error:
        pointer = "; a pointer of Git LFS, not the file: `git lfs pull` fetches it" if is_pointer(whole) else ""
        raise FileError(path, f"not valid JSON ({error}){pointer}", "is the file truncated?") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileError(path, f"not valid JSON ({reason})", "is the file truncated?") from None


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS + 1:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def is_pointer(text: str | bytes) -> bool:
    """Whether a text is a pointer of Git LFS, which stands where a clone without LFS has a large file."""
    return text[:32].startswith(_POINTER) if isinstance(text, bytes) else text.startswith(_POINTER.decode())


def safe_loader() -> type[yaml.SafeLoader]:
    """PyYAML's loader of plain values: libyaml's, ten times as fast, where PyYAML was built with it."""
    import yaml

    found: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return found


def parse_yaml(text: str, place: str | Path, *, loader: type[yaml.SafeLoader] | None = None, anchors: bool = True) -> list[object]:
    """The documents of a YAML text, which is bounded by who reads it. Raises FileError with the line.

    An alias counts as what it stands for: a few lines of them expand to gigabytes once somebody walks through them. Without `anchors` there may be none.
    """
    import yaml

    try:
        if "&" in text or "*" in text:
            _refuse_explosion(yaml.parse(text, Loader=safe_loader()), place, anchors=anchors)
        return list(yaml.load_all(text, Loader=loader or safe_loader()))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        ours = isinstance(error, yaml.constructor.ConstructorError) and loader is not None  # what a loader of ours does not take is YAML
        raise FileError(place, error.problem or "" if ours else f"not YAML ({error.problem or 'it is broken'})", line=line) from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, OverflowError) as error:  # dates and numbers that cannot be
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:100]
        raise FileError(place, f"not YAML ({reason})") from None


def _refuse_explosion(events: Iterator[yaml.Event], place: str | Path, *, anchors: bool) -> None:
    """Count what a document holds once its aliases are walked through. Raises FileError."""
    import yaml

    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor and size of each collection around
    for event in events:
        anchor = getattr(event, "anchor", None)
        line = event.start_mark.line + 1 if event.start_mark else 1
        if anchor and not anchors:
            raise FileError(place, "anchors and aliases are not read", "write the values out", line=line)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, 1))
            if len(open_nodes) > MOST_DEPTH:
                raise FileError(place, f"nested deeper than {MOST_DEPTH}", line=line)
            continue
        if isinstance(event, yaml.AliasEvent):
            if anchor not in sizes:
                raise FileError(place, f"the alias {str(anchor)[:40]} stands inside what it names, or for nothing", line=line)
            size = sizes[anchor]
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            sizes |= {anchor: 1} if anchor else {}
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
            sizes |= {anchor: size} if anchor else {}
        else:
            continue
        if open_nodes:
            around, before = open_nodes[-1]
            size += before
            open_nodes[-1] = around, size
        if size > MOST_NODES:
            raise FileError(place, f"more than {MOST_NODES:,} values once its aliases are written out", line=line)


USUAL_LINE, LONG_LETTERS = 600, 500_000  # of a log: what a message has, and what lines may have beyond that together (dumped configurations)


def lines_of(read: Callable[[int], str], most: int) -> Iterator[str]:
    """Lines of a stream, each cut to so many letters: `read` is its readline. A text of nothing but long lines is cut more: each pattern goes through all of it."""
    whole, spare = True, LONG_LETTERS
    while piece := read(most):
        if whole:
            yield piece[: USUAL_LINE + spare]
            spare = max(0, spare - max(0, len(piece) - USUAL_LINE))
        whole = piece.endswith("\n")

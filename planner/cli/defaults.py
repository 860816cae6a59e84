"""The user's own files: ~/.config/plan/ (or $XDG_CONFIG_HOME/plan/) holds config.toml with defaults, prices.yaml and what was measured here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from planner.catalogue.user_file import config_file
from planner.errors import FileError, WorldError, did_you_mean
from planner.facts.hardware import Host
from planner.facts.record import dataclass
from planner.questions.fields import FIELDS
from planner.writing import locked, made, write_whole

MAX_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Default:
    """A default of the user's, and the line of config.toml that it stands in."""

    value: object
    line: int


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or any(ord(character) < 32 for character in value):
        raise ValueError("expected a text")
    return value


def _host(value: object) -> str:
    if value not in [str(host) for host in Host]:
        raise ValueError(f"expected {', '.join(Host)}" + (f"; {hint}" if (hint := did_you_mean(str(value), list(Host))) else ""))
    return str(value)


def _version(value: object) -> str:
    from planner.engines.vllm.versions import VERSIONS

    if value not in VERSIONS:
        raise ValueError(f"expected a text, one of {', '.join(VERSIONS)}")
    return str(value)


KEYS: dict[str, tuple[Callable[[object], object], str]] = {
    "gpu": (_text, "the GPU of my machine, as --gpu names it; auto reads the machine"),
    "count": (FIELDS["count"].bounded, "how many of them"),
    "host": (_host, f"the kind of machine: {', '.join(Host)}"),
    "prices": (_text, "my own prices, where --prices takes some"),
    "gpus": (_text, "GPUs of my own, as --gpus names a file of them"),
    "models": (_text, "models of my own, as --models names a file of them"),
    "vllm-version": (_version, "the release of the engine"),
}


def read_defaults() -> dict[str, Default]:
    """What config.toml says, checked; nothing where there is none. Raises PlannerError with its line."""
    path = config_file()
    if not path.exists():
        return {}
    return _parsed(_read(path), path)


def _read(path: Path) -> str:
    from planner.reader import read_text

    return read_text(path, MAX_FILE_BYTES)


def own_files() -> dict[str, str]:
    """The files of a person's own rows that config.toml names, by the names of their options."""
    return {f"own_{key}": str(known.value) for key, known in read_defaults().items() if key in ("gpus", "models")}


def _parsed(text: str, path: Path) -> dict[str, Default]:
    import tomllib

    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        where = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(where[1]) if where else text.rstrip().count("\n") + 1
        raise FileError(path, f"not TOML: {str(error).partition(' (at ')[0][:100]}", "a line is key = value, a text stands in quotes", line=line) from None
    return {key: _default(key, value, text, path) for key, value in data.items()}


def _default(key: str, value: object, text: str, path: Path) -> Default:
    line = next((number for number, words in enumerate(text.splitlines(), 1) if _is_of(words, key)), 1)
    try:
        return Default(read_value(key, value), line)
    except ValueError as error:
        raise FileError(path, f"{error}", f"plan config set {key} VALUE" if key in KEYS else f"known: {', '.join(KEYS)}", line=line) from None


def _is_of(line: str, key: str) -> bool:
    return re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]", line) is not None


def read_value(key: str, value: object) -> object:
    """A default's value. Raises ValueError for an unknown key and for a value that is none."""
    if key not in KEYS:
        raise ValueError(f"unknown key {key[:60]!r}" + (f"; {hint}" if (hint := did_you_mean(key, KEYS)) else ""))
    try:
        return KEYS[key][0](value)
    except ValueError as error:
        raise ValueError(f"{key} is {str(value)[:60]!r}: {error}") from None


def write_default(key: str, value: object) -> Path:
    """Set a default, or take it away where the value is None; other lines stay as they are. Raises PlannerError."""
    path = config_file()
    try:
        with made(path.parent), locked(path.parent):
            known = read_defaults()
            lines = _read(path).splitlines() if path.exists() else []
            kept = [line for line in lines if not _is_of(line, key)]
            if value is not None:
                at = known[key].line - 1 if key in known else len(kept)
                kept.insert(at, f"{key} = {json.dumps(value, ensure_ascii=False)}")
            text = "".join(f"{line}\n" for line in kept)
            wanted = {name: default.value for name, default in known.items() if name != key} | ({} if value is None else {key: value})
            if {name: default.value for name, default in _parsed(text, path).items()} != wanted:
                raise FileError(path, f"{key} stands there in a way that is not changed from here", "change the file")
            write_whole(path.resolve(), text)  # what a person linked elsewhere stays there
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror or error}") from None
    return path

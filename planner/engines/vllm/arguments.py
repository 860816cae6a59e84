"""vLLM's command line as vLLM reads it: its own rewriting of words, a configuration file, then an argparse parser built from flags.json.

Mirrors FlexibleArgumentParser of vLLM 0.33 (utils/argparse_utils.py; lines beside each rule), whose base class and rules are argparse's:
unique prefixes of flags, `--flag=value`, `--`, values that begin with a dash.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, cast

from planner.engines.vllm.flag_values import FlagEntry, human_readable_int, read_value
from planner.errors import BadValueError, FileError, MisuseError
from planner.facts.document import JsonObject, JsonValue, json_object
from planner.reader import parse_yaml, read_text

MAX_CONFIG_BYTES = 1024**2
MAX_WORDS = 2000  # argparse takes their square
HELP = "--help"
NOTHING = "None"


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of ending the process."""

    def __init__(self) -> None:
        super().__init__(prog="vllm serve", add_help=False, exit_on_error=False)
        self._meant: dict[str, list[tuple[argparse.Action, str, str | None]]] = {}

    @property
    def spellings(self) -> dict[str, argparse.Action]:
        """Every way to write a flag."""
        return self._option_string_actions

    def _get_option_tuples(self, option_string: str) -> list[tuple[argparse.Action, str, str | None]]:
        """Argparse goes through every spelling for each word that is none: once a word, however often it is read."""
        if option_string not in self._meant:
            if len(self._meant) > MAX_WORDS:
                self._meant.clear()
            self._meant[option_string] = super()._get_option_tuples(option_string)
        return self._meant[option_string]

    def error(self, message: str) -> NoReturn:
        """Raise MisuseError."""
        raise MisuseError(message)

    def read(self, words: Sequence[str], unresolved: Sequence[str] = ()) -> Taken:
        """Read words; values with an unresolved part are not judged. Raises MisuseError where argparse would end."""
        taken = Taken(unresolved)
        try:
            _, rest = self.parse_known_args(list(words), taken)
        except argparse.ArgumentError as error:
            flag = (error.argument_name or "").partition("/")[0]
            raise MisuseError(f"argument {flag}: {error.message}" if flag else error.message, flag) from None
        taken.rest = rest
        return taken


class Taken(argparse.Namespace):
    """What was read: values by flag, the model, refused values with their reasons, and words that belong to nothing."""

    def __init__(self, unresolved: Sequence[str]) -> None:
        super().__init__()
        self.unresolved = unresolved
        self.values: dict[str, str | bool] = {}
        self.model: str | None = None
        self.refused: list[tuple[str, str]] = []
        self.rest: list[str] = []


class _Value(argparse.Action):
    """A flag with values: they are read as vLLM reads them; the last one counts, as in argparse."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, *, entry: FlagEntry, newest: bool, nargs: int | str | None = None, const: bool | None = None
    ) -> None:
        super().__init__(option_strings, dest, nargs=nargs, const=const)
        self.entry, self.newest = entry, newest

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None) -> None:
        namespace = cast("Taken", namespace)
        if values is True:  # nargs="?" without a value
            namespace.values[self.dest] = True
            return
        read: list[str | None] = []
        for text in values if isinstance(values, list) else [str(values)]:
            try:
                known = not any(part in text for part in namespace.unresolved)
                read.append(read_value(self.entry, text, newest=self.newest) if known else text)
            except BadValueError as error:
                namespace.refused.append((self.dest, str(error)))
        if isinstance(values, list) and self.entry.get("reads") != "adapters":
            read = [NOTHING if value is None else value for value in read]  # the parser's list holds it, which its class then refuses
        kept = [value for value in read if value is not None]
        if self.entry.get("append") and self.dest in namespace.values:
            kept.insert(0, str(namespace.values[self.dest]))
        if kept:
            namespace.values[self.dest] = " ".join(kept)
        else:
            namespace.values.pop(self.dest, None)


class _Switch(argparse.Action):
    """A flag without a value; some spellings switch it off."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, nargs: int, off: Iterable[str] = ()) -> None:
        super().__init__(option_strings, dest, nargs=nargs)
        self.off = frozenset(off)

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None) -> None:
        namespace = cast("Taken", namespace)
        namespace.values[self.dest] = option_string not in self.off


class _Model(argparse.Action):
    """The model, as a word without a flag."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None) -> None:
        namespace = cast("Taken", namespace)
        namespace.model = str(values) if values is not None else namespace.model


def build(flags: Mapping[str, FlagEntry], *, newest: bool) -> Parser:
    """The parser of one release: its flags, also those that later ones dropped."""
    parser = Parser()
    parser.add_argument(HELP, "-h", dest=HELP, nargs=0, action=_Switch)
    parser.add_argument("model", nargs="?", action=_Model)
    for flag, entry in flags.items():
        spellings = (flag, *entry.get("also", ()))
        if entry["takes"] == 0:
            parser.add_argument(*spellings, dest=flag, nargs=0, action=_Switch, off=entry.get("off", ()))
        else:
            nargs, const = (None if entry["takes"] == 1 else entry["takes"]), (True if entry["takes"] == "?" else None)
            parser.add_argument(*spellings, dest=flag, nargs=nargs, const=const, action=_Value, entry=entry, newest=newest)
    return parser


def model_first(words: Sequence[str]) -> list[str]:
    """`--model X` among the words after `vllm serve` goes to their front (argparse_utils.py:366)."""
    for index, word in enumerate(words):
        if re.match(r"--model(=.+|$)", word):
            after = index + 1 if "=" in word else index + 2
            if after > len(words):
                raise MisuseError("argument --model: expected one argument", "--model")
            return [word.removeprefix("--model=") if "=" in word else words[index + 1], *words[:index], *words[after:]]
    return list(words)


def with_config(words: list[str]) -> list[str]:
    """What a file after `--config` says, put behind the model, so that the command line beats it (argparse_utils.py:620).

    `--config=FILE` is taken and never read, by vLLM too.
    """
    if "--config" not in words:
        return words
    index = words.index("--config")
    if words.count("--config") > 1 or index == len(words) - 1:
        raise MisuseError("argument --config: expected one file, once", "--config")
    read = config_words(words[index + 1])
    rest = [*words[:index], *words[index + 2 :]]
    front = 1 if words[0][:1] != "-" else 0
    if not front and "--model" not in read:
        raise MisuseError("No model specified: neither as the first word nor in the --config file", "--config")
    return [*rest[:front], *read, *rest[front:]]


def config_words(name: str) -> list[str]:
    """The words that a YAML file stands for (argparse_utils.py:693 load_config_file); a false switch is left out, as vLLM does.

    Raises MisuseError for a file that vLLM cannot read.
    """
    if name.rpartition(".")[2] not in ("yaml", "yml"):
        raise MisuseError("argument --config: expected a file named .yaml or .yml", "--config")
    path = Path(name)
    try:
        if not path.is_file():
            raise MisuseError(f"argument --config: there is no file {name[:200]!r} here", "--config")
        (data, *more) = parse_yaml(read_text(path, MAX_CONFIG_BYTES), name[:200], anchors=False) or [None]
    except (FileError, OSError, ValueError) as error:
        raise MisuseError(f"argument --config: {error}", "--config") from None
    if more or not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise MisuseError(f"argument --config: {name[:200]!r} is not a list of names with values", "--config")
    return [word for key, value in data.items() for word in _config_entry(key, value)]


def _config_entry(key: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{key}"] if value else []
    if isinstance(value, list):
        return [f"--{key}", *map(str, value)] if value else []
    return [f"--{key}", json.dumps(value, default=str) if isinstance(value, dict) else str(value)]


def rewritten(words: Sequence[str], level: str) -> list[str]:
    """Underscores of flag names as dashes, -O3 as its long form `level`, `--flag.key value` as JSON (argparse_utils.py:429-580)."""
    return _joined(list(_spelled(words, level)))


def _spelled(words: Sequence[str], level: str) -> Iterable[str]:
    for index, word in enumerate(words):
        if word.startswith("--help="):
            yield HELP
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            head, dot, tail = name[2:].partition(".")
            yield f"--{head.replace('_', '-')}{dot}{tail}{equals}{value}"
        elif word.startswith("-O.") and "." in level:  # where -O is short for an object
            yield level.partition(".")[0] + word[2:]
        elif word.startswith("-O") and word != "-O":
            yield level
            yield word[3:] if word[2] == "=" else word[2:]
        elif word == "-O" and words[index + 1 : index + 2] and words[index + 1] in ("0", "1", "2", "3"):
            yield level
        else:
            yield word


def _joined(words: list[str]) -> list[str]:
    kept: list[str] = []
    objects: dict[str, JsonObject] = {}
    index = 0
    while index < len(words):
        name, equals, value = words[index].partition("=")
        index += 1
        if not name.startswith("-") or "." not in name:
            kept.append(name + equals + value)
            continue
        if not equals:
            if index == len(words):
                raise MisuseError(f"argument {name}: expected a value", name)
            value = words[index]
            index += 1
        if name.endswith("+"):  # elements of a list
            name, value = name[:-1], json.dumps(value.split(","))
        flag, *keys = name.split(".")
        if len(keys) > 50:
            raise MisuseError(f"argument {flag}: its keys are nested too deeply", flag)
        nested: JsonValue = _loaded(value)
        for key in reversed(keys):
            nested = {key: nested}
        _update(objects.setdefault(flag, {}), json_object(nested))
    return kept + [word for flag, data in objects.items() for word in (flag, json.dumps(data))]


def _loaded(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except RecursionError:
        raise MisuseError("a JSON value is nested too deeply") from None
    except ValueError:
        try:
            return human_readable_int(text)
        except (ValueError, OverflowError):
            return text
    return value


def _update(original: JsonObject, update: JsonObject) -> None:
    for key, value in update.items():
        before = original.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            _update(before, value)
        elif isinstance(value, list) and isinstance(before, list):
            before += value
        else:
            original[key] = value

"""Ollama's Modelfile: the model that it starts from, the parameters that decide what the model takes, adapters.

Sources: ollama @fb307609 parser/parser.go (instructions, quoting), api/types.go (Options, FormatParams).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import PurePath

from planner.errors import PlannerError, did_you_mean
from planner.facts.command import Command
from planner.facts.plan import Problem
from planner.facts.record import dataclass
from planner.text import shown

MAX_BYTES = 1024**2
_INSTRUCTIONS = ("from", "parameter", "template", "system", "adapter", "license", "message", "renderer", "parser", "draft", "requires")
_WHOLE = (
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "draft_num_predict",
)  # fmt: skip
_REAL = ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty")
_TRUTH = ("use_mmap",)
_KNOWN = (*_WHOLE, *_REAL, *_TRUTH, "stop")
# Read and passed over, with a warning.
DEPRECATED = ("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "mirostat", "mirostat_tau", "mirostat_eta")
_TRUE = ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")  # strconv.ParseBool
_QUOTES = ('"""', '"')
_OF_DOCKER = re.compile(r"(?m)^(?:RUN|CMD|ENTRYPOINT|COPY|ADD|ENV|WORKDIR|EXPOSE|ARG|USER|LABEL|VOLUME|HEALTHCHECK)\s")
_FIRST = re.compile(r"(?:\s++|#[^\n]*+\n)*+([A-Z]+)\s+\S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Modelfile:
    """What a Modelfile says; of a parameter that is said twice the last counts."""

    sources: tuple[str, ...]
    """FROM: a tag, or files."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()
    faults: tuple[Problem, ...] = ()

    @property
    def model(self) -> str:
        """The tag or the file of the model."""
        return next((name for name in self.sources if not _is_projector(name)), self.sources[0])

    @property
    def projector(self) -> str:
        """The file of the vision projector; empty where there is none."""
        return next((name for name in self.sources if _is_projector(name) and name != self.model), "")

    @property
    def is_file(self) -> bool:
        """Whether it starts from a file: Ollama takes what lies there for one, else for a tag."""
        return self.model.lower().endswith((".gguf", ".bin")) or self.model.startswith(("./", "../", "/", "~"))

    def number(self, name: str) -> int | None:
        """A whole number of its parameters; None where it is not said, or refused."""
        value = self.parameters.get(name, "")
        return int(value) if re.fullmatch(r"[-+]?\d{1,18}", value) else None


def _is_projector(name: str) -> bool:
    return "mmproj" in PurePath(name).name.lower()


def command_of(text: str) -> Command | None:
    """What `ollama create` does with a Modelfile; None for another text."""
    first = _FIRST.match(text)
    if first is None or first[1].lower() not in _INSTRUCTIONS or _OF_DOCKER.search(text):
        return None
    if first[1] != "FROM" and not re.search(r"(?m)^[ \t]*(?:FROM|PARAMETER)\s", text):
        return None
    return Command(engine="ollama", program=("ollama",), words=("create", "planned", "-f", "Modelfile"), files={"Modelfile": text})


def read_modelfile(text: str, name: str = "Modelfile") -> Modelfile:
    """Read a Modelfile as Ollama does. Raises PlannerError, with the line, for what is none, is cut, or starts from nothing."""
    said: dict[str, list[str]] = {instruction: [] for instruction in _INSTRUCTIONS}
    for number, instruction, value in _instructions(text, shown(name)):
        if instruction == "parameter" and not re.match(r"\w+\s+\S", value):
            raise PlannerError(f"{shown(name)}, line {number}: PARAMETER {shown(value)} has no value", "PARAMETER num_ctx 32768")
        said[instruction].append(value)
    if not said["from"]:
        raise PlannerError(f"{shown(name)} has no FROM line", "FROM TAG, or FROM ./FILE.gguf")
    parameters = {key: _unquoted(value.strip()) for key, value in (entry.split(None, 1) for entry in said["parameter"])}
    return Modelfile(
        sources=tuple(said["from"]),
        parameters=parameters,
        adapters=tuple(said["adapter"]),
        drafts=tuple(said["draft"]),
        faults=tuple(_faults(parameters)),
    )


def _instructions(text: str, name: str) -> Iterator[tuple[int, str, str]]:
    """Each instruction with its line and its value, which may be quoted over several lines."""
    lines = enumerate(text.removeprefix("\ufeff").splitlines(), 1)
    for number, line in lines:
        head, _, value = line.strip().partition(" ") if " " in line.strip() else line.strip().partition("\t")
        if not head or head.startswith("#"):
            continue
        instruction = head.lower()
        if instruction not in _INSTRUCTIONS:
            hint = did_you_mean(instruction, _INSTRUCTIONS) or f"one of {', '.join(_INSTRUCTIONS).upper()}"
            raise PlannerError(f"{name}, line {number}: {shown(head)} is no instruction of a Modelfile", hint)
        parts = [value.strip()]
        begun = re.match(r"\w+\s+(.*)", parts[0]) if instruction in ("parameter", "message") else None
        quoted = begun[1] if begun else parts[0]
        quote = next((mark for mark in _QUOTES if quoted.startswith(mark)), "")
        is_open = quote and not quoted[len(quote) :].rstrip().endswith(quote)
        while is_open:
            following = next(lines, None)
            if following is None:
                raise PlannerError(f"{name} ends inside the quotes that line {number} opens", "give the whole file")
            parts.append(following[1])
            is_open = not following[1].rstrip().endswith(quote)
        value = "\n".join(parts)
        if not value:
            raise PlannerError(f"{name}, line {number}: {shown(head)} says nothing", "give the whole file")
        yield number, instruction, _unquoted(value) if instruction != "parameter" else value


def _unquoted(value: str) -> str:
    for quote in _QUOTES:
        if len(value) >= 2 * len(quote) and value.startswith(quote) and value.endswith(quote):
            return value[len(quote) : -len(quote)]
    return value


def _faults(parameters: Mapping[str, str]) -> Iterator[Problem]:
    """Parameters that `ollama create` refuses."""
    for name, value in parameters.items():
        if name in DEPRECATED:
            continue
        if name not in _KNOWN:
            yield Problem(
                code="unknown-flag", message=f"unknown parameter '{shown(name)}'", fix=did_you_mean(name, _KNOWN) or f"leave PARAMETER {shown(name)} out"
            )
        elif (
            (name in _WHOLE and not re.fullmatch(r"[-+]?\d{1,18}", value)) or (name in _REAL and not _is_real(value)) or (name in _TRUTH and value not in _TRUE)
        ):
            kind = "int" if name in _WHOLE else "float" if name in _REAL else "bool"
            yield Problem(code="bad-value", message=f"PARAMETER {name}: invalid {kind} value [{shown(value)}]", fix=f"PARAMETER {name} {_example(name)}")


def _is_real(value: str) -> bool:
    return re.fullmatch(r"[-+]?(?:\d++\.?+\d*+|\.\d++)(?:[eE][-+]?\d++)?", value) is not None


def _example(name: str) -> str:
    return "32768" if name == "num_ctx" else "true" if name in _TRUTH else "1"

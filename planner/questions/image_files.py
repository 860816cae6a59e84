"""The server that an image runs, by its Dockerfile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from planner.facts.command import Command
from planner.facts.record import dataclass
from planner.questions.container_files import from_container
from planner.questions.shell_scripts import split_words

_INSTRUCTION = re.compile(r"(?im)^[ \t]*(FROM|ENV|ARG|ENTRYPOINT|CMD)[ \t]+(.+?)[ \t\r]*$")
_MADE_OF = re.compile(r"(?m)^[ \t]*(?:CMD|ENTRYPOINT|RUN|COPY|ADD|WORKDIR|EXPOSE|USER|ENV|ARG)[ \t]+\S")
_MODELFILE = re.compile(r"(?m)^[ \t]*(?:PARAMETER|TEMPLATE|SYSTEM|ADAPTER|MESSAGE)\b")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")


@dataclass(frozen=True, slots=True)
class _Stage:
    """What a stage has said so far: an image by itself, or what it adds to another stage."""

    image: str = ""
    env: tuple[tuple[str, str], ...] = ()
    entrypoint: str = ""
    command: str = ""


def looks_like_dockerfile(text: str) -> bool:
    """Whether a text is a Dockerfile, and not the Modelfile that begins with the same word."""
    return re.search(r"(?im)^[ \t]*FROM[ \t]+\S", text) is not None and _MADE_OF.search(text) is not None and _MODELFILE.search(text) is None


def from_dockerfile(text: str) -> Iterator[Command]:
    """The server that the last stage runs. One that leaves its words to who starts it, an ENTRYPOINT alone, says no model and is passed over."""
    stage, named, arguments, alias = _Stage(), dict[str, _Stage](), dict[str, str](), ""
    for name, rest in _INSTRUCTION.findall(re.sub(r"(?m)\\[ \t]*\r?\n(?:[ \t]*#.*\n)*", " ", text)):
        env = arguments | dict(stage.env)
        match name.upper():
            case "FROM":
                words = _expanded(re.sub(r"--\S+", "", rest), arguments).split()
                stage = named.get(words[0].lower(), _Stage(image=words[0])) if words else _Stage()
                alias = words[2].lower() if len(words) == 3 and words[1].lower() == "as" else ""
            case "ARG":
                key, _, value = rest.partition("=")
                arguments[key.strip()] = value.strip().strip("\"'")
            case "ENV":
                stage = replace(stage, env=tuple((dict(stage.env) | _pairs(rest, env)).items()))
            case "ENTRYPOINT":
                stage = replace(stage, entrypoint=rest, command="")
            case _:
                stage = replace(stage, command=rest)
        if alias:
            named[alias] = stage
    if not stage.command and not re.search(r"\s\S+\s", stage.entrypoint):
        return
    yield from _servers(stage)


def _servers(stage: _Stage) -> Iterator[Command]:
    env = dict(stage.env)
    entrypoint, command = (_words(said, env) for said in (stage.entrypoint, stage.command))
    yield from from_container({"image": stage.image, "entrypoint": entrypoint, "command": command, "environment": env}, "entrypoint", "command")


def _words(said: str, env: dict[str, str]) -> list[str]:
    """The words of an instruction; those of a shell with what the image sets, which no shell here could know."""
    if not said:
        return []
    if (words := _exec(said)) is not None:
        return words
    return ["/bin/sh", "-c", _VARIABLE.sub(lambda match: env.get(match[1] or match[3], match[0]), said)]


def _exec(rest: str) -> list[str] | None:
    """The words of the form that no shell reads; None for the other form."""
    try:
        words = json.loads(rest) if rest.startswith("[") else None
    except (ValueError, RecursionError):
        return None
    return [str(word) for word in words] if isinstance(words, list) else None


def _pairs(rest: str, known: dict[str, str]) -> dict[str, str]:
    """ENV a=b c="d e", and the old ENV a b."""
    if "=" not in rest.split(maxsplit=1)[0]:
        name, _, value = rest.partition(" ")
        return {name: _expanded(value.strip(), known)}
    pairs = (word.partition("=") for word in split_words(rest))
    return {name: _expanded(value, known) for name, _, value in pairs if name}


def _expanded(value: str, known: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: known.get(match[1] or match[3], match[2] or ""), value)

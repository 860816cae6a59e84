"""Finding servers' commands in text: a command line, a shell script or unit, a compose file, Kubernetes manifests. Text is read, never run.

Which words start a server, its engine knows.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from planner.engines import ENGINES, Engine
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.text import redact

MAX_TEXT_BYTES = 4 * 1024**2
_SHELLS = ("sh", "bash", "ash", "dash", "zsh", "busybox")
_ENDS = frozenset([";", "&", "&&", "|", "||", "(", ")", "<", ">", ">>", ">&", "&>", ";;", "\n"])
_ASSIGNMENT = re.compile(r"(?:export\s+|local\s+|declare\s+(?:-\w+\s+)?|readonly\s+)?([A-Za-z_]\w*)=(.*)", re.DOTALL)
_ARRAY = re.compile(r"(?m)^[ \t]*([A-Za-z_]\w*)=\(\s*((?:[^()\"']|\"[^\"]*\"|'[^']*')*)\)")
_EXPANSION = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^}]*))?\}|\{([A-Za-z_]\w*)\[@\]\})")
_TAG = re.compile(r":v?([\w.-]+)$")


def find_commands(text: str) -> list[Command]:
    """Every server that the text starts, of any engine. Raises PlannerError for text that cannot be read."""
    if "\0" in text or len(text) > MAX_TEXT_BYTES:
        raise PlannerError("this is not a command or a script", "give a server's command, a shell script or a compose file")
    if re.search(r"(?m)^services:\s*(#.*)?$", text):
        return list(_from_compose(text))
    if re.search(r"(?m)^apiVersion:", text) and re.search(r"(?m)^kind:", text):
        return list(_from_manifests(text))
    return list(_from_shell(text))


def _from_shell(text: str) -> Iterator[Command]:
    text = re.sub(r"\\\r?\n", " ", text)
    arrays = {name: _words(body) for name, body in _ARRAY.findall(text)}
    text = _ARRAY.sub("", text)
    variables: dict[str, str] = {}
    exported: set[str] = set()
    for line in text.splitlines():
        for words in _simple_commands(line):
            if len(words) == 1 and (assigned := _ASSIGNMENT.fullmatch(words[0])):
                name, value = assigned[1], _expand(assigned[2], variables)
                if name == "Environment" and (inner := _ASSIGNMENT.fullmatch(value)):  # of a systemd unit
                    name, value = inner[1], inner[2]
                    exported.add(name)
                variables[name] = value
                continue
            if len(words) > 1 and words[0] in ("export", "local", "readonly") and all(map(_ASSIGNMENT.fullmatch, words[1:])):
                for assigned in filter(None, map(_ASSIGNMENT.fullmatch, words[1:])):
                    variables[assigned[1]] = _expand(assigned[2], variables)
                    exported |= {assigned[1]} if words[0] == "export" else set()
                continue
            if words[:1] == ["export"]:
                exported |= set(words[1:])
            expanded = [part for word in words for part in _expand_word(word, variables, arrays)]
            if command := _command(expanded):
                env = {name: value for name, value in variables.items() if name in exported}
                yield _with_env(command, env)


def _with_env(command: Command, env: Mapping[str, str]) -> Command:
    """A command with what is set around it; what is set for it alone goes before that."""
    return replace(command, env=tuple((dict(env) | dict(command.env)).items()))


def _simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of one line, split at ; & | and redirections."""
    try:
        words = _words(re.sub(r"(?<=\s)\d(?=[<>])", "", line))  # 2>&1: the number belongs to the redirection
    except PlannerError:
        if any(engine.find(line.split()) is not None for engine in ENGINES.values()):
            raise
        return
    command: list[str] = []
    skip = False
    for word in words:
        if skip:  # the target of a redirection
            skip = False
        elif word in _ENDS:
            if ">" in word or "<" in word:
                skip = True
            else:
                yield command
                command = []
        else:
            command.append(word)
    yield command


def _words(line: str) -> list[str]:
    """Words of a line as a POSIX shell splits them; a command substitution stays one word and is never run."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"__SUBSTITUTION{len(kept) - 1}__"

    hidden = re.sub(r"\$\([^()]*\)|`[^`]*`", keep, line)
    lexer = shlex.shlex(hidden, posix=True, punctuation_chars=";&|<>()")
    lexer.whitespace_split = True
    lexer.commenters = "#" if re.search(r"(?:^|\s)#", line) else ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise PlannerError(f"the quoting of {redact(line.strip())[:60]!r} is broken ({error})", "close every quote") from None
    return [re.sub(r"__SUBSTITUTION(\d+)__", lambda m: kept[int(m[1])], word) for word in words]


def _expand(value: str, variables: dict[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        name = match[1] or match[2] or ""
        if name in variables:
            return variables[name]
        return match[3] if match[3] is not None else match[0]

    return _EXPANSION.sub(replacement, value)


def _expand_word(word: str, variables: dict[str, str], arrays: dict[str, list[str]]) -> list[str]:
    whole = re.fullmatch(r"\$\{([A-Za-z_]\w*)\[[@*]\]\}", word)
    if whole and whole[1] in arrays:
        return [_expand(part, variables) for part in arrays[whole[1]]]
    expanded = _expand(word, variables)
    plain = re.fullmatch(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", word)
    return expanded.split() if plain and expanded != word and " " in expanded else [expanded]


def _command(words: Sequence[str]) -> Command | None:
    """The server among the words of one command, with what is said before it; None for another command."""
    for name, engine in ENGINES.items():
        arguments = engine.find(words)
        if arguments is None:
            continue
        before = words[: len(words) - len(arguments)]
        image = before[-1] if before and _is_image(engine, before[-1]) else ""
        return Command(
            engine=name,
            program=tuple(word for word in before if not _ASSIGNMENT.fullmatch(word)),
            words=tuple(arguments),
            unresolved=tuple(dict.fromkeys(word for word in arguments if re.search(r"\$[({A-Za-z_@0-9*#?]|`", word))),
            version=_tag(image),
            env=tuple((_set_for_container(before) if image else _set_before(before)).items()),
            contained=bool(image),
        )
    return None


def _is_image(engine: Engine, word: str) -> bool:
    """Whether a word is the name of an engine's container image: no program of its, but what a container of it runs."""
    return engine.find([word]) is None and engine.find(["run", word]) is not None


def _tag(image: str) -> str | None:
    """The release that an image's tag says."""
    match = _TAG.search(image)
    return match[1] if match else None


def _set_before(words: Sequence[str]) -> dict[str, str]:
    """`NAME=value` in front of a command, also behind `env`."""
    return {assigned[1]: assigned[2] for assigned in map(_ASSIGNMENT.fullmatch, words) if assigned}


def _set_for_container(words: Sequence[str]) -> dict[str, str]:
    """What `-e NAME=value` and `--env NAME=value` set; `--env=NAME=value` too."""
    said = [word for before, word in pairwise(words) if before in ("-e", "--env")]
    env = _set_before([*said, *(word.removeprefix("--env=") for word in words if word.startswith("--env="))])
    gpus = [word for before, word in pairwise(words) if before == "--gpus"] + [word.removeprefix("--gpus=") for word in words if word.startswith("--gpus=")]
    return env | ({"--gpus": _docker_gpus(gpus[-1])} if gpus else {})


def _docker_gpus(asked: str) -> str:
    """The GPUs of `docker run --gpus`, as CUDA_VISIBLE_DEVICES lists them: all, a number, or "device=0,1"."""
    asked = asked.replace('"', "").replace("'", "")
    if ids := re.search(r"device=([\w/-]+(?:,(?!\w+=)[\w/-]+)*)", asked):
        return ids[1]
    count = re.match(r"(?:count=)?(\d{1,4})\b", asked)
    return _numbered(count[1]) if count else "all"


def _numbered(count: object) -> str:
    """So many GPUs, listed; all where it is no number."""
    return ",".join(map(str, range(int(str(count))))) if re.fullmatch(r"\d{1,4}", str(count)) else "all"


def _documents(text: str, what: str) -> list[object]:
    import yaml

    try:
        return list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise PlannerError(f"the {what} is not YAML ({str(error).splitlines()[0]})") from None


def _from_compose(text: str) -> Iterator[Command]:
    (document, *_) = _documents(text, "compose file") or [None]
    services = document.get("services") if isinstance(document, dict) else None
    for service in services.values() if isinstance(services, dict) else ():
        if isinstance(service, dict):
            yield from _from_container(service, "entrypoint", "command")


def _from_manifests(text: str) -> Iterator[Command]:
    """The containers of Kubernetes manifests, and the scripts of their config maps."""
    for document in _documents(text, "manifest"):
        if isinstance(document, dict) and document.get("kind") == "ConfigMap" and isinstance(document.get("data"), dict):
            for name, script in document["data"].items():
                if str(name).endswith(".sh"):
                    yield from _from_shell(str(script))
        yield from (server for container in _containers(document) for server in _from_container(container, "command", "args"))


def _containers(part: object) -> Iterator[dict[str, object]]:
    if isinstance(part, list):
        for item in part:
            yield from _containers(item)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "containers" and isinstance(value, list):
                yield from (item for item in value if isinstance(item, dict))
            else:
                yield from _containers(value)


def _from_container(container: dict[str, object], entrypoint: str, command: str) -> Iterator[Command]:
    image = str(container.get("image", ""))
    version = _tag(image) if any(_is_image(engine, image) for engine in ENGINES.values()) else None
    env = _container_env(container) | _container_gpus(container)
    words = _compose_words(container.get(entrypoint)) + _compose_words(container.get(command))
    if len(words) > 2 and words[-2] == "-c" and any(word.rpartition("/")[2] in _SHELLS for word in words[:-2]):  # sh -c "…"
        yield from (replace(_with_env(server, env), version=server.version or version, contained=True) for server in _from_shell(words[-1]))
        return
    server = _command(words)
    if server is None and not container.get(entrypoint):  # what the image runs by itself
        server = _command(["run", image, *words])
    if server is not None:
        yield replace(_with_env(server, env), version=server.version or version, contained=True)


def _container_env(container: dict[str, object]) -> dict[str, str]:
    """`environment` of a compose file, a mapping or a list of NAME=value; `env` of a manifest, a list of names with values."""
    said = container.get("environment", container.get("env"))
    if isinstance(said, dict):
        return {str(name): str(value) for name, value in said.items() if value is not None}
    entries = said if isinstance(said, list) else []
    named = {str(entry["name"]): str(entry["value"]) for entry in entries if isinstance(entry, dict) and "name" in entry and "value" in entry}
    return named | _set_before([entry for entry in entries if isinstance(entry, str)])


def _container_gpus(container: dict[str, object]) -> dict[str, str]:
    """The GPUs that a container is given: by `gpus` or `deploy` of a compose file, by the limits of a manifest."""
    limits = _inside(container, "resources", "limits")
    given = {name: _numbered(limits[name]) for name in ("nvidia.com/gpu", "amd.com/gpu") if name in limits} if isinstance(limits, dict) else {}
    devices = container.get("gpus") or _inside(container, "deploy", "resources", "reservations", "devices")
    entries = [entry for entry in devices if isinstance(entry, dict)] if isinstance(devices, list) else []
    asked = [",".join(map(str, ids)) if isinstance(ids := entry.get("device_ids"), list) else _numbered(entry.get("count", "all")) for entry in entries]
    if asked:
        given["devices"] = "all" if "all" in asked else ",".join(filter(None, asked))
    return given


def _inside(part: object, *names: str) -> object:
    """What lies under these names in nested mappings; None where it does not."""
    for name in names:
        part = part.get(name) if isinstance(part, dict) else None
    return part


def _compose_words(value: object) -> list[str]:
    if isinstance(value, str):
        return _words(" ".join(value.split()))
    return [str(part) for part in value] if isinstance(value, list) else []

"""Finding servers' commands in shell scripts and systemd units: words, variables and files that a script writes. Text is read, never run.

Which words start a server, its engine knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import islice, pairwise

from planner.engines import ENGINES, Engine
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.record import dataclass
from planner.questions.ports import of_docker
from planner.text import BLANK, is_secret_name

_LOOKUPS = ("which", "type", "hash", "whereis")
MOST_EXPANDED, MOST_WORDS, MOST_SERVERS = 100_000, 10_000, 200  # letters of a value, words of a command, servers of a text: far above any real script
_SHELLS = ("sh", "bash", "ash", "dash", "zsh", "busybox")
_ENDS = frozenset([";", "&", "&&", "|", "||", "(", ")", "<", ">", ">>", ">&", "&>", ";;", "\n"])
_ASSIGNMENT = re.compile(r"(?:export\s+|local\s+|declare\s+(?:-\w+\s+)?|readonly\s+)?([A-Za-z_]\w*)=(.*)", re.DOTALL)
_ARRAY = re.compile(r"(?m)^[ \t]*+([A-Za-z_]\w*+)=\(((?:[^()\"']++|\"[^\"]*+\"|'[^']*+')*+)\)")
_EXEC = re.compile(r"^\s*ExecStart(?:Pre|Post)?\s*=\s*[-@:+!]*")  # of a unit
_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")
_TARGET = re.compile(r"(?:>\s*|\btee\s+)([^\s<>|&;\"']+)")
_EXPANSION = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^}]{0,1000}))?\}|\{([A-Za-z_]\w*)\[@\]\})")
# A comment or space, a word, operators, or the quote or backslash that nothing closes.
_TOKEN = re.compile(r"""\s++|\#[^\n]*+|((?:[^\s;&|<>()'"\\]++|'[^']*+'|"(?:[^"\\]++|\\.)*+"|\\.)++)|([;&|<>()]++)|(.)""", re.DOTALL)
_QUOTED = re.compile(r"""'([^']*+)'|"((?:[^"\\]++|\\.)*+)"|\\(.)""", re.DOTALL)
_SPECIAL = re.compile(r"""['"\\]""")
_PLAIN_NAME = re.compile(r"--?[A-Za-z][\w-]{0,60}(?==|\Z)|[A-Za-z_][\w.-]{0,60}(?==|\Z)")
_TAG = re.compile(r":v?([\w.-]+)$")


@dataclass(slots=True)
class Scope:
    """What a script has set so far, and the files that it writes."""

    variables: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    arrays: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """What a command sees of it."""
        return {name: value for name, value in self.variables.items() if name in self.exported}

    def set(self, assigned: re.Match[str], *, is_exported: bool) -> None:
        """NAME=value."""
        self.variables[assigned[1]] = BLANK if is_secret_name(assigned[1]) else _expand(assigned[2], self.variables)
        self.exported |= {assigned[1]} if is_exported else set()

    def take(self, words: Sequence[str]) -> bool:
        """Whether the words of a command only set variables: in a shell, a unit (Environment=), launchd, PowerShell or cmd.exe."""
        first, rest = words[0] if words else "", words[1:]
        if first.startswith("Environment="):
            inner = list(filter(None, map(_ASSIGNMENT.fullmatch, [first.removeprefix("Environment="), *rest])))
            for assigned in inner:
                self.set(assigned, is_exported=True)
            return bool(inner)
        if first in ("export", "local", "readonly", "set", "declare"):
            for assigned in (inner := list(filter(None, map(_ASSIGNMENT.fullmatch, rest)))):
                self.set(assigned, is_exported=first in ("export", "set"))
            self.exported |= {word for word in rest if word.isidentifier()} if first == "export" else set()
            return bool(inner)
        if (words[:2] == ["launchctl", "setenv"] and len(words) == 4) or (first.lower() == "setx" and len(words) >= 3):
            name, value = words[2:4] if first == "launchctl" else words[1:3]
            self.variables[name] = value
            self.exported.add(name)
            return True
        if shell := re.fullmatch(r"\$[Ee]nv:(\w+)(?:=(.*))?", first):
            self.variables[shell[1]] = shell[2] if shell[2] is not None else rest[-1] if rest else ""
            self.exported.add(shell[1])
            return True
        alone = list(filter(None, map(_ASSIGNMENT.fullmatch, words)))
        if len(alone) < len(words):
            return False
        for assigned in alone:
            self.set(assigned, is_exported=False)
        return bool(alone)


def from_shell(text: str, scope: Scope | None = None) -> Iterator[Command]:
    """The servers that a script or unit starts, in their order; `scope` is left with what it sets."""
    scope = Scope() if scope is None else scope
    scope.files |= _written(text)
    text = text.replace("\\\r\n", " ").replace("\\\n", " ")
    scope.arrays |= {name: split_words(body) for name, body in _ARRAY.findall(text)}
    for line in filter(None, map(str.strip, _ARRAY.sub("", text).splitlines())):
        for words in _simple_commands(_EXEC.sub("", line)):
            if scope.take(words):
                continue
            if not words:
                continue
            expanded = list(islice((part for word in words for part in _expand_word(word, scope.variables, scope.arrays)), MOST_WORDS + 1))
            if len(expanded) > MOST_WORDS:
                raise PlannerError(f"a command of more than {MOST_WORDS:,} words", "plan check COMMAND")
            for command in servers_of(expanded):
                yield with_env(replace(command, set_for_it=tuple(name for name, _ in command.env), files=dict(scope.files)), scope.env)


def _until(end: str, lines: Iterator[str]) -> str:
    """The next line, or nothing where it is the last word of a text that stands in a script."""
    line = next(lines, "")
    return "" if line.strip() == end else line


def _written(text: str) -> dict[str, str]:
    """Files that a script writes from what stands in it: cat > NAME <<EOF."""
    files: dict[str, str] = {}
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        if (begun := _HEREDOC.search(line)) and (target := _TARGET.search(line)):
            files[target[1]] = "".join(iter(lambda: _until(begun[1], lines), ""))
    return files


def with_env(command: Command, env: Mapping[str, str]) -> Command:
    """A command with what is set around it; what is set for it alone goes before that."""
    return replace(command, env=tuple((dict(env) | dict(command.env)).items()))


def _simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of one line, split at ; & | and redirections."""
    if line.startswith("#"):
        return
    try:
        words = split_words(re.sub(r"(?<=\s)\d(?=[<>])", "", line))  # 2>&1: the number belongs to the redirection
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


def split_words(line: str) -> list[str]:
    """Words of a line as a POSIX shell splits them; a command substitution stays one word and is never run."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"__SUBSTITUTION{len(kept) - 1}__"

    hidden = re.sub(r"\$\([^()]*\)|`[^`]*`", keep, line)
    words: list[str] = []
    for match in _TOKEN.finditer(hidden):
        word, operator, broken = match.groups()
        if broken is not None:
            raise PlannerError(f"the quoting is broken: {broken}{_behind(words)} is not closed", "close every quote")
        if word or operator:
            words.append(operator or (_QUOTED.sub(_unquoted, word) if _SPECIAL.search(word) else word))
    return [re.sub(r"__SUBSTITUTION(\d+)__", lambda m: kept[int(m[1])], word) for word in words]


def _behind(words: Sequence[str]) -> str:
    """Where in a command something stands: behind which name. No value is told, as any may be a key."""
    names = [name for word in words if (name := _PLAIN_NAME.match(word))]
    flag = next((name for name in reversed(names) if name[0].startswith("-")), names[0] if names else None)
    return f" behind {flag[0]}" if flag else ""


def _unquoted(match: re.Match[str]) -> str:
    if match[2] is not None:
        return re.sub(r"\\([\"\\])", r"\1", match[2])
    return match[3] if match[1] is None else match[1]


def _expand(value: str, variables: dict[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        name = match[1] or match[2] or ""
        if name in variables:
            return variables[name]
        return match[3] if match[3] is not None else match[0]

    if "$" not in value:
        return value
    room = MOST_EXPANDED
    pieces, at = [], 0
    for match in _EXPANSION.finditer(value):
        pieces += [value[at : match.start()], replacement(match)]
        at = match.end()
        room -= len(pieces[-1])
        if room < 0:
            raise PlannerError(f"its variables stand for more than {MOST_EXPANDED:,} letters")
    return "".join(pieces) + value[at:]


def _expand_word(word: str, variables: dict[str, str], arrays: dict[str, list[str]]) -> list[str]:
    whole = re.fullmatch(r"\$\{([A-Za-z_]\w*)\[[@*]\]\}", word)
    if whole and whole[1] in arrays:
        return [_expand(part, variables) for part in arrays[whole[1]]]
    expanded = _expand(word, variables)
    plain = re.fullmatch(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", word)
    return expanded.split() if plain and expanded != word and " " in expanded else [expanded]


def servers_of(words: Sequence[str]) -> Iterator[Command]:
    """The servers that the words of one command start: itself, or those of the script that a shell is given (sh -c)."""
    if len(words) > 2 and words[-2] in ("-c", "-lc", "-ec") and any(word.rpartition("/")[2] in _SHELLS for word in words[:-2]):
        yield from from_shell(words[-1])
    elif words and not _looks_up(words) and (command := command_of(words)):
        yield command


def _looks_up(words: Sequence[str]) -> bool:
    """Whether a program is only asked where it lies: `command -v llama-server`, `which vllm`."""
    return words[0] in _LOOKUPS if len(words) < 3 else words[0] == "command" and words[1] in ("-v", "-V")


def command_of(words: Sequence[str]) -> Command | None:
    """The server among the words of one command, with what is said before it; None for another command."""
    for name, engine in ENGINES.items():
        arguments = engine.find(words)
        if arguments is None:
            continue
        before = words[: len(words) - len(arguments)]
        image = before[-1] if before and is_image(engine, before[-1]) else ""
        return Command(
            engine=name,
            program=tuple(word for word in before if not _ASSIGNMENT.fullmatch(word)),
            words=tuple(arguments),
            unresolved=tuple(dict.fromkeys(word for word in arguments if re.search(r"\$[({A-Za-z_@0-9*#?]|`", word))),
            version=tag_of(image),
            env=tuple((_set_for_container(before) if image else set_before(before)).items()),
            contained=bool(image),
            published=of_docker(before) if image else (),
        )
    return None


def is_image(engine: Engine, word: str) -> bool:
    """Whether a word is the name of an engine's container image: no program of its, but what a container of it runs."""
    return engine.find([word]) is None and engine.find(["run", word]) is not None


def tag_of(image: str) -> str | None:
    """The release that an image's tag says."""
    match = _TAG.search(image)
    return match[1] if match else None


def set_before(words: Sequence[str]) -> dict[str, str]:
    """`NAME=value` in front of a command, also behind `env`."""
    return {assigned[1]: assigned[2] for assigned in map(_ASSIGNMENT.fullmatch, words) if assigned}


def _set_for_container(words: Sequence[str]) -> dict[str, str]:
    """What `-e NAME=value` and `--env NAME=value` set; `--env=NAME=value` too."""
    said = [word for before, word in pairwise(words) if before in ("-e", "--env")]
    env = set_before([*said, *(word.removeprefix("--env=") for word in words if word.startswith("--env="))])
    gpus = [word for before, word in pairwise(words) if before == "--gpus"] + [word.removeprefix("--gpus=") for word in words if word.startswith("--gpus=")]
    return env | ({"--gpus": _docker_gpus(gpus[-1])} if gpus else {})


def _docker_gpus(asked: str) -> str:
    """The GPUs of `docker run --gpus`, as CUDA_VISIBLE_DEVICES lists them: all, a number, or "device=0,1"."""
    asked = asked.replace('"', "").replace("'", "")
    if ids := re.search(r"device=([\w/-]+(?:,(?!\w+=)[\w/-]+)*)", asked):
        return ids[1]
    count = re.match(r"(?:count=)?(\d{1,4})\b", asked)
    return numbered(count[1]) if count else "all"


def numbered(count: object) -> str:
    """So many GPUs, listed; all where it is no number."""
    return ",".join(map(str, range(int(str(count))))) if re.fullmatch(r"\d{1,4}", str(count)) else "all"

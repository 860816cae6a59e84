"""Which machine a file is for: a comment in it, what Kubernetes selects nodes by, the repository's .plan.yaml, or what was asked for all.

The comment is a line `# plan: gpu=h100 count=8` for each machine that the file must start on; `# plan: ignore` leaves the file out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from planner.errors import FileError, PlannerError
from planner.facts.command import Command
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.questions.fields import MOST_COUNT
from planner.questions.helm_values import looks_like_values
from planner.questions.machine import machine_of
from planner.questions.stack_file import stack_row
from planner.reader import parse_yaml

SETTINGS = ".plan.yaml"
MAX_SETTINGS_BYTES, MOST_MACHINES, MOST_PATTERNS = 64 * 1024, 16, 500
IGNORE = "ignore"
OF_MACHINE = ("gpu", "count", "host", "free_gib", "total_gib", "ram", "vram", "bandwidth", "compute_capability", "vendor")
_COMMENT = re.compile(r"(?m)^[ \t]*(?:#|//|<!--)[ \t]*plan:[ \t]*(.{1,500}?)[ \t]*(?:-->)?[ \t\r]*$")
_ANNOTATION = "serve-plan/"
# By what node pools are selected; a value is a product's name as its driver says it, or the cloud's.
_LABELS = (
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "gpu.nvidia.com/model",
)
_CLOUD = {"nvidia-tesla-a100": "a100-40gb", "nvidia-h100-mega-80gb": "h100"}  # cloud.google.com/kubernetes-engine/docs/how-to/gpus, 2026-11
_LIMITS = ("nvidia.com/gpu", "amd.com/gpu", "devices", "--gpus")  # under which a reader of containers keeps the GPUs that one is given
_SHARED = re.compile(r"(?i)-SHARED\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One machine that a file is for."""

    row: StackRow
    has_count: bool = False
    """Whether somebody said how many GPUs it has; else as many as the container is given."""

    def with_said(self, row: StackRow, names: Collection[str]) -> Target:
        """The machine with what else somebody says of it: these fields of a question."""
        said = {name: getattr(row, name) for name in names}
        return replace(self, row=replace(self.row, **said), has_count=self.has_count or "count" in said)

    def machine_for(self, command: Command) -> StackRow:
        """The machine, with as many GPUs as the command's container is given where nobody said."""
        given = _given(command)
        return self.row if self.has_count or not given else replace(self.row, count=given)


def _given(command: Command) -> int:
    env = dict(command.env)
    listed = next((env[name] for name in _LIMITS if name in env), "")
    given = len(listed.split(",")) if listed and listed not in ("all", "none", "void") else 0
    if given > MOST_COUNT:
        raise PlannerError(f"the container is given {given:,} GPUs; at most {MOST_COUNT:,} are planned")
    return given


class WrongMachineError(PlannerError):
    """A comment or .plan.yaml that says no machine: whoever wrote it means to be told, not to be passed over."""


def told_target(said: Mapping[str, object], where: str) -> Target:
    """A machine that a person wrote down for a file. Raises WrongMachineError for what is none."""
    try:
        row = target(said, where)
        machine_of(row.row)
    except PlannerError as error:
        raise WrongMachineError(error.message, error.hint) from None
    return row


def target(said: Mapping[str, object], where: str) -> Target:
    """A machine by what is said of it, which may be none that is known. Raises PlannerError for an unknown key and a bad value."""
    known = {name.replace("-", "_"): value for name, value in said.items()}
    if unknown := next((name for name in known if name not in OF_MACHINE), None):
        raise PlannerError(f"{where}: unknown key {unknown[:60]!r}", f"known: {', '.join(OF_MACHINE)}")
    row = stack_row({**known, "services": [{"model": "-"}]}, where, lambda _: where)
    return Target(row=replace(row, services=[]), has_count="count" in known)


def targets_of(text: str, path: Path | None, asked: Target | None) -> list[Target] | None:
    """The machines that a text is for, `asked` where nothing says which; None where it is to be left out. Raises PlannerError for what is said wrongly."""
    where = str(path) if path else "the text"
    comments = _COMMENT.findall(text)
    settings = _settings_for(path) if path else None
    if IGNORE in comments or (settings and settings.ignores(path)):
        return None
    if comments:
        if len(comments) > MOST_MACHINES:
            raise WrongMachineError(f"{len(comments)} machines; at most {MOST_MACHINES} are judged")
        return [told_target(_pairs(comment), "# plan:") for comment in comments]
    if selected := list(_selected(text, where)):
        return selected
    if settings and path and (row := settings.machine(path)):
        return [row]
    return [asked] if asked else []


def told_in(texts: Iterable[tuple[Path | None, str]]) -> Target | None:
    """The one machine that texts say they are for; None where they say none. Raises PlannerError for several."""
    every = [target for path, text in texts for target in targets_of(text, path, None) or ()]
    told = [target for place, target in enumerate(every) if target not in every[:place]]
    if len(told) > 1:
        named = ", ".join(dict.fromkeys(target.row.gpu or "custom" for target in told))
        raise PlannerError(f"this is for {len(told)} machines: {named}", "--gpu names one, --fail-on unlikely judges all")
    return told[0] if told else None


def is_named(text: str, path: Path) -> bool:
    """Whether a comment or .plan.yaml says a machine: of the examples of a text for people, only such are meant."""
    settings = _settings_for(path)
    return _COMMENT.search(text) is not None or (settings is not None and settings.machine(path) is not None)


def _pairs(comment: str) -> dict[str, object]:
    """What a comment says: gpu=h100 count=8."""
    pairs = [part.partition("=") for part in re.split(r"[\s,]+", comment) if part]
    if wrong := next((name for name, equals, value in pairs if not (name and equals and value)), None):
        raise WrongMachineError(f"# plan: {wrong[:60]!r} is not key=value", "# plan: gpu=h100 count=8")
    return {name: _typed(value) for name, _, value in pairs}


def _typed(value: str) -> object:
    if re.fullmatch(r"\d{1,9}", value):
        return int(value)
    return float(value) if re.fullmatch(r"\d{1,9}\.\d{1,9}", value) else value


def _selected(text: str, where: str) -> Iterator[Target]:
    """The machines that Kubernetes chooses nodes for, or that an annotation names."""
    if not any(name in text for name in (*_LABELS, _ANNOTATION)) or not (re.search(r"(?m)^apiVersion:", text) or looks_like_values(text)):
        return
    names: dict[str, object] = {}
    annotated: dict[str, object] = {}
    for part in _mappings(parse_yaml(text, where)):
        for key, value in part.items():
            if key in _LABELS and isinstance(value, str):
                names[value] = None
            elif isinstance(key, str) and key.startswith(_ANNOTATION) and isinstance(value, str | int):
                annotated[key.removeprefix(_ANNOTATION)] = _typed(str(value))
        if part.get("key") in _LABELS and part.get("operator") == "In" and isinstance(values := part.get("values"), list):
            names |= {str(value): None for value in values[:MOST_MACHINES]}
    if annotated:
        yield told_target(annotated, "annotations")
        return
    for name in list(names)[:MOST_MACHINES]:
        yield target({"gpu": _CLOUD.get(name, _SHARED.sub("", name))}, where)


def _mappings(part: object) -> Iterator[dict[object, object]]:
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _mappings(inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A repository's .plan.yaml: machines by patterns of paths, the first that fits counts; files that are left out."""

    folder: Path
    machines: tuple[tuple[tuple[str, ...], Target], ...] = ()
    ignore: tuple[str, ...] = ()

    def machine(self, path: Path) -> Target | None:
        """The machine that a file is for."""
        return next((row for patterns, row in self.machines if self._fits(path, patterns)), None)

    def ignores(self, path: Path | None) -> bool:
        """Whether a file is left out."""
        return path is not None and self._fits(path, self.ignore)

    def _fits(self, path: Path, patterns: tuple[str, ...]) -> bool:
        name = path.absolute().relative_to(self.folder).as_posix()
        return any(_pattern(pattern).fullmatch(name) for pattern in patterns)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """A path's pattern: * within a folder, ** over folders; one without a slash fits a name in any folder."""
    whole = text if "/" in text else f"**/{text}"
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", whole.removeprefix("./"))
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))


def _settings_for(path: Path) -> Settings | None:
    """That of the nearest folder which has one, up to the root of the repository."""
    return _nearest(path.absolute().parent)


@cache
def _nearest(folder: Path) -> Settings | None:
    for place in (folder, *folder.parents):
        if (file := place / SETTINGS).is_file():
            return read_settings(file)
        if (place / ".git").exists():
            return None
    return None


def read_settings(path: Path) -> Settings:
    """A .plan.yaml. Raises FileError for what is none, PlannerError for a machine that is none."""
    from planner.catalogue.yaml_file import read_yaml

    said = read_yaml(path, MAX_SETTINGS_BYTES) or {}
    if not isinstance(said, dict) or (unknown := set(said) - {"machines", IGNORE}):
        raise FileError(path, f"expected machines and {IGNORE}" + (f", not {', '.join(sorted(map(str, unknown)))[:60]}" if isinstance(said, dict) else ""))
    rows = said.get("machines") or []
    if not isinstance(rows, list) or len(rows) > MOST_PATTERNS or not all(isinstance(row, dict) for row in rows):
        raise FileError(path, "machines: expected a list, each with files and gpu", "- {files: 'deploy/**', gpu: h100, count: 8}")
    machines = []
    for number, row in enumerate(rows):
        where = f"{path}: machines[{number}]"
        machines.append((_patterns(row.pop("files", None), where), told_target(row, where)))
    return Settings(folder=path.absolute().parent, machines=tuple(machines), ignore=_patterns(said.get(IGNORE) or [], str(path)))


def _patterns(said: object, where: str) -> tuple[str, ...]:
    patterns = [said] if isinstance(said, str) else said
    if not isinstance(patterns, list) or len(patterns) > MOST_PATTERNS or not all(isinstance(pattern, str) and len(pattern) <= 500 for pattern in patterns):
        raise FileError(where, "files: expected a pattern of paths, or a list of them", "files: 'deploy/**'")
    return tuple(patterns)

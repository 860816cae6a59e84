"""Many files -> their servers, each judged by itself on the machines that its file is for, with where it stands and what would do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from planner.engines import ENGINES
from planner.errors import FileError, PlannerError
from planner.facts.command import Command
from planner.facts.finding import SEVERITIES, Finding, JudgedFiles, JudgedServer, Place, Severity
from planner.facts.plan import Plan
from planner.facts.verdict import Verdict
from planner.questions.check import check, is_half, joined, machine_for, met, read_text
from planner.questions.check_proxy import check_proxy
from planner.questions.files.machines import Target, WrongMachineError, is_named, targets_of
from planner.questions.files.markdown import Block, blocks_of, is_markdown
from planner.questions.files.places import flag_place, placed
from planner.questions.find_commands import find_commands
from planner.questions.proxy.find import is_config
from planner.questions.proxy.judge import TITLE, ProxyAnswer
from planner.text import shown

NO_MACHINE, WRONG_MACHINE, UNREADABLE, NO_ANSWER = "which-gpu", "wrong-machine", "unreadable", "no-answer"
T = TypeVar("T", Finding, JudgedServer)
_DOCUMENTS = re.compile(r"(?m)^---[ \t]*(?:#.*)?\r?$")


def judge_files(paths: Iterable[Path], asked: Target | None = None, *, version: str | None = None) -> JudgedFiles:
    """Judge the servers of files; `asked` is the machine of those that do not say theirs, `version` the release of all.

    What is wrong with a file is a finding, never an error.
    """
    servers: list[JudgedServer] = []
    unread: list[Finding] = []
    texts: dict[Path, str] = {}
    for path in paths:
        try:
            texts[path] = read_text(path)
        except PlannerError as error:
            unread.append(_unread(error, path))
    halves = _halves(texts)
    for path, text in texts.items():
        beside = [half for other, half in halves.get(path.parent, ()) if other != path]
        for block in _blocks(text, path):
            try:
                servers += [_moved(server, block) for server in judge_text(block.text, path, asked, version=version, beside=beside)]
            except PlannerError as error:
                unread.append(_below(_unread(error, path), block))
    return JudgedFiles(files=len(texts), servers=tuple(servers), unread=tuple(unread))


def _halves(texts: Mapping[Path, str]) -> dict[Path, list[tuple[Path, Command]]]:
    """By folder servers without a model, and models without their server, which another file may have."""
    files = Counter(path.parent for path in texts)
    found: dict[Path, list[tuple[Path, Command]]] = {}
    for path, text in texts.items():
        if files[path.parent] > 1 and _may_start(text) and not is_config(text):
            with suppress(PlannerError):
                found.setdefault(path.parent, []).extend((path, server) for server in joined(find_commands(text)) if is_half(server))
    return found


def _blocks(text: str, path: Path) -> list[Block]:
    """What of a file is read: all of it, of Markdown the blocks for which a machine is named, as everything else there may be an example of anything."""
    return [block for block in blocks_of(text) if is_named(block.text, path)] if is_markdown(path) else [Block(text=text)]


def _unread(error: PlannerError, path: Path) -> Finding:
    line = error.line if isinstance(error, FileError) and error.line else 1
    rule, severity = (WRONG_MACHINE, Severity.ERROR) if isinstance(error, WrongMachineError) else (UNREADABLE, Severity.NOTE)
    return _finding(path, Place(line=line), rule, severity, _without_name(error, path), error.hint)


def needs_machine(judged: JudgedFiles) -> bool:
    """Whether servers were found, and for none of them it is said which machine it is for."""
    ids = [finding.rule for server in judged.servers for finding in server.findings]
    return bool(judged.servers) and ids == [NO_MACHINE] * len(judged.servers)


def judge_text(
    text: str, path: Path | None = None, asked: Target | None = None, *, version: str | None = None, beside: Sequence[Command] = ()
) -> list[JudgedServer]:
    """Judge the servers of one text; `beside` are those of the same folder. Raises PlannerError for a text that cannot be read."""
    if not _may_start(text):
        return []
    name = str(path) if path else ""
    if is_config(text):
        answer = check_proxy(text, path)
        return [_proxy(answer, text, name)] if answer and targets_of(text, path, asked) is not None else []
    judged: list[JudgedServer] = []
    for part in _parts(text):
        commands = placed(find_commands(part.text), part.text)
        targets = targets_of(part.text, path, asked) if commands else []
        if targets is None:
            continue
        ends = [command.line for command in commands]
        for server in met(joined(commands), beside):
            end = min((line for line in ends if line > server.line), default=None)
            folder = str(path.parent) if path else ""
            judged += [
                _moved(row, part) for row in _on_machines(replace(server, folder=folder, version=version or server.version), targets, part.text, name, end)
            ]
    return judged


def _may_start(text: str) -> bool:
    """Whether a text names a program that serves: most files of a repository do not, and are not read further."""
    programs = {name for engine in ENGINES.values() for name in (engine.name, *(serving.command[0] for serving in engine.serving.values()))}
    return is_config(text) or re.search("|".join(map(re.escape, sorted(programs))), text, re.IGNORECASE) is not None or text.lstrip().startswith("FROM ")


def _parts(text: str) -> list[Block]:
    """The documents of manifests, since each may be for another machine; any other text whole."""
    if not (re.search(r"(?m)^apiVersion:", text) and re.search(r"(?m)^kind:", text)):
        return [Block(text=text)]
    edges = [0, *(match.end() for match in _DOCUMENTS.finditer(text)), len(text)]
    return [Block(text=text[begin:end], lines=text.count("\n", 0, begin)) for begin, end in pairwise(edges) if text[begin:end].strip("- \r\n")]


def _moved(server: JudgedServer, part: Block) -> JudgedServer:
    """A server of a part of a text, where it stands in all of it."""
    return replace(_below(server, part), findings=tuple(_below(finding, part) for finding in server.findings))


def _below(said: T, part: Block) -> T:
    return replace(said, place=Place(line=said.place.line + part.lines, column=said.place.column + part.columns))


def _on_machines(command: Command, targets: Sequence[Target], text: str, file: str, end: int | None) -> Iterator[JudgedServer]:
    place = Place(line=max(command.line, 1), column=max(command.column, 1))
    read = ENGINES[command.engine].read_command(command)
    model = read.model if isinstance(read, Command) else ""
    unknown = JudgedServer(file=file, place=place, engine=command.engine, model=model, machine="", verdict=Verdict.UNKNOWN, headline=Verdict.UNKNOWN.words)
    if not targets:
        message = f"{shown(model) or ENGINES[command.engine].title}: for which GPU this is, nothing says"
        finding = _finding(file, place, NO_MACHINE, Severity.NOTE, message, "a line `# plan: gpu=NAME count=N` in the file, .plan.yaml, or --gpu NAME")
        yield replace(unknown, findings=(finding,))
    for target in targets:
        row = target.machine_for(command)
        machine = f"{row.count}x {row.gpu}"
        try:
            group = machine_for(command, row)
            machine = group.label
            plan = check(command, group)
        except PlannerError as error:
            finding = _finding(file, place, NO_ANSWER, Severity.NOTE, f"{shown(model)} on {machine}: {error.message}", error.hint)
            yield replace(unknown, machine=machine, findings=(finding,))
            continue
        findings = tuple(_findings(plan, command, text, file, end))
        yield replace(unknown, machine=machine, verdict=plan.verdict, headline=plan.verdict.words, findings=findings)


def _findings(plan: Plan, command: Command, text: str, file: str, end: int | None) -> Iterator[Finding]:
    """What is said of a judged server, the first of it by what its engine would hit first."""
    severity, subject = SEVERITIES[plan.verdict], f"{plan.model.id} {plan.where}"
    for problem in plan.problems:
        place = flag_place(command, text, problem.message, problem.fix, *(other.arguments for other in plan.alternatives), end=end)
        yield _finding(file, place, problem.code, severity, f"{subject} {plan.verdict.words}: {problem.message}", problem.fix)
    if plan.problems or plan.verdict is Verdict.STARTS:
        return
    if plan.verdict is Verdict.UNKNOWN:
        for part in plan.not_covered:
            place = flag_place(command, text, part.flag, end=end)
            yield _finding(file, place, "not-covered", severity, f"{subject} {plan.verdict.words}: {part.message}")
        return
    why = next((warning.message for warning in plan.warnings if warning.code == plan.verdict), "overheads as large as they may be would not fit")
    fix = plan.alternatives[0].arguments if plan.alternatives else ""
    yield _finding(file, flag_place(command, text, fix, end=end), str(plan.verdict), severity, f"{subject} {plan.verdict.words}: {why}", fix)


def _proxy(answer: ProxyAnswer, text: str, file: str) -> JudgedServer:
    """The configuration of a proxy: what keeps it from starting, or a route from answering, fails as a server that does not start."""
    findings = tuple(_finding(file, _route(text, problem.message), problem.code, Severity.ERROR, problem.message, problem.fix) for problem in answer.problems)
    verdict = Verdict.DOES_NOT_START if answer.problems else answer.verdict
    headline = answer.verdict.words if answer.verdict is Verdict.DOES_NOT_START or not answer.problems else "starts, but not all routes can answer"
    return JudgedServer(file=file, place=_route(text, ""), engine=TITLE, model="", machine="", verdict=verdict, headline=headline, findings=findings)


def _route(text: str, message: str) -> Place:
    """Where the route stands that a message begins with, else the list of routes."""
    name = message.partition(":")[0]
    match = re.search(rf"(?m)^[ \t-]*model_name[ \t]*:[ \t]*[\"']?({re.escape(name)})[\"']?[ \t\r]*(?:#.*)?$", text) if name else None
    match = match or re.search(r"(?m)^(model_list)", text)
    if match is None:
        return Place()
    before = text[: match.start(1)]
    return Place(line=before.count("\n") + 1, column=match.start(1) - before.rfind("\n"))


def _finding(file: str | Path, place: Place, rule: str, severity: Severity, *said: str) -> Finding:
    message, fix = (*said, "")[:2]
    return Finding(file=str(file), place=place, rule=rule, severity=severity, message=message, fix=fix)


def _without_name(error: PlannerError, path: Path) -> str:
    return re.sub(rf"^{re.escape(str(path))}(?::\d+)?: ", "", error.message)

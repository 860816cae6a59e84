"""What a check says of many files: for the terminal, as JSON, as a table for the summary of a job, as the lines by which GitHub marks a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from typing_extensions import TypedDict

from planner.facts.finding import Finding, JudgedFiles, JudgedServer, Severity
from planner.facts.verdict import Verdict
from planner.report.contract_parts import AnswerJson
from planner.report.head import HEAD
from planner.report.text import Piece, Text
from planner.text import redact_known

_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_MOST_ROWS = 500  # of a summary: GitHub keeps at most a mebibyte of one
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


class FindingJson(TypedDict):
    """One finding: where, by which rule (stable), how bad, and what would do; lines and columns are counted from 1."""

    file: str
    line: int
    column: int
    rule: str
    severity: Severity
    message: str
    fix: str


class FileServerJson(TypedDict):
    """One server of a file on one machine; `machine` is empty where nobody said which."""

    file: str
    line: int
    engine: str
    model: str
    machine: str
    verdict: Verdict


class FilesJson(AnswerJson):
    """The answer about many files: `verdict` is the worst of their servers'."""

    verdict: Verdict
    headline: str
    files_read: int
    servers: list[FileServerJson]
    findings: list[FindingJson]


def files_json(judged: JudgedFiles) -> FilesJson:
    """The JSON object of many files."""
    return {
        **HEAD,
        "verdict": judged.verdict,
        "headline": summary(judged),
        "files_read": judged.files,
        "servers": [
            {
                "file": server.file,
                "line": server.place.line,
                "engine": server.engine,
                "model": server.model,
                "machine": server.machine,
                "verdict": server.verdict,
            }
            for server in judged.servers
        ],
        "findings": [_finding(finding) for finding in judged.findings],
    }


def _finding(finding: Finding) -> FindingJson:
    return {
        "file": finding.file,
        "line": finding.place.line,
        "column": finding.place.column,
        "rule": finding.rule,
        "severity": finding.severity,
        "message": finding.message,
        "fix": finding.fix,
    }


def summary(judged: JudgedFiles) -> str:
    """One line: how many servers, and what becomes of them."""
    if not judged.servers:
        return f"no server is started in {_count(judged.files, 'file')}"
    counted = Counter(server.verdict for server in judged.servers)
    said = ", ".join(f"{counted[verdict]}x {verdict.words}" for verdict in Verdict if counted[verdict])
    return f"{_count(len(judged.servers), 'server')} in {_count(judged.files, 'file')}: {said}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def render_files(judged: JudgedFiles) -> list[Piece]:
    """The report: a line for each finding, as compilers write them, then what there was in all."""
    pieces: list[Piece] = []
    for finding in judged.findings:
        place = f"{finding.file}:{finding.place.line}:{finding.place.column}: "
        pieces.append(Text().append(place, "bold").append(f"{finding.severity}: {finding.message} [{finding.rule}]", _STYLES[finding.severity]))
        if finding.fix:
            pieces.append(Text("  fix: ").append(finding.fix, "bold"))
    return [*pieces, *([Text()] if pieces else []), Text(summary(judged))]


def markdown(judged: JudgedFiles) -> str:
    """A table for the summary of a job."""
    lines = ["### Do the servers start?", "", f"{summary(judged)}.", ""]
    if judged.servers:
        lines += ["| file | model | machine | | why | fix |", "|---|---|---|---|---|---|"]
        rows = [row for server in sorted(judged.servers, key=lambda server: server.verdict.rank) for row in _rows(server)]
        lines += rows[:_MOST_ROWS]
        lines += [f"\n{len(rows) - _MOST_ROWS:,} further rows are left out."] if len(rows) > _MOST_ROWS else []
    if judged.unread:
        lines += ["", *(f"- {cell(finding.file)}: not read: {cell(finding.message)}" for finding in judged.unread[:_MOST_ROWS])]
    return "\n".join(lines)


def _rows(server: JudgedServer) -> Iterator[str]:
    for finding in server.findings or [None]:
        place = f"{server.file}:{(finding.place if finding else server.place).line}"
        cells = (place, server.model or server.engine, server.machine, server.headline, finding.message if finding else "", finding.fix if finding else "")
        yield "| " + " | ".join(map(cell, cells)) + " |"


def cell(text: str) -> str:
    """A text that stays one cell and is no markup: a stranger's file is named in it."""
    plain = " ".join(redact_known(text).split()).replace("\\", "\\\\")
    return "".join(f"\\{letter}" if letter in "|*_`[]<>#!~@" else letter for letter in plain)


def workflow_commands(judged: JudgedFiles) -> str:
    """The lines by which GitHub marks a pull request's lines."""
    return "\n".join(_workflow_command(finding) for finding in judged.findings)


def _workflow_command(finding: Finding) -> str:
    place = f"file={_property(finding.file)},line={finding.place.line},col={finding.place.column},title={_property(finding.rule)}"
    return f"::{_COMMANDS[finding.severity]} {place}::{_data(finding.message + (f'; fix: {finding.fix}' if finding.fix else ''))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

"""What is said of servers that lie in files: where it stands, by which rule, how bad it is, what would do."""

from __future__ import annotations

from enum import StrEnum

from planner.facts.record import dataclass
from planner.facts.verdict import Verdict


class Severity(StrEnum):
    """How bad a finding is, as the tools of pull requests name it."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


SEVERITIES = {
    Verdict.DOES_NOT_START: Severity.ERROR,
    Verdict.UNLIKELY: Severity.WARNING,
    Verdict.TIGHT: Severity.WARNING,
    Verdict.UNKNOWN: Severity.NOTE,
    Verdict.STARTS: Severity.NOTE,
}


class FailOn(StrEnum):
    """The best verdict that a check of files still fails on: each also fails on what is worse."""

    REFUSED = "refused"
    UNLIKELY = "unlikely"
    UNKNOWN = "unknown"
    TIGHT = "tight"
    NEVER = "never"

    def fails(self, verdict: Verdict) -> bool:
        """Whether a verdict is too bad."""
        return self is not FailOn.NEVER and verdict <= _WORST_KEPT[self]


_WORST_KEPT = {
    FailOn.REFUSED: Verdict.DOES_NOT_START,
    FailOn.UNLIKELY: Verdict.UNLIKELY,
    FailOn.UNKNOWN: Verdict.UNKNOWN,
    FailOn.TIGHT: Verdict.TIGHT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands in a file, both counted from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is said of a file; `rule` is a stable code, `fix` what would do (empty where nothing is known)."""

    file: str
    place: Place
    rule: str
    severity: Severity
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedServer:
    """One server of a file on one machine, and what is said of it; `machine` is empty where nobody said which."""

    file: str
    place: Place
    engine: str
    model: str
    machine: str
    verdict: Verdict
    headline: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedFiles:
    """The servers of many files."""

    files: int
    """How many were read."""
    servers: tuple[JudgedServer, ...]
    unread: tuple[Finding, ...] = ()
    """Files that could not be read."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that is said, in the order of files and lines."""
        said = [*self.unread, *(finding for server in self.servers for finding in server.findings)]
        return tuple(sorted(dict.fromkeys(said), key=lambda finding: (finding.file, finding.place.line, finding.place.column)))

    @property
    def verdict(self) -> Verdict:
        """The worst of all servers; what could not be read cannot be said, and a machine that is said wrongly fails."""
        unread = [Verdict.DOES_NOT_START if finding.severity is Severity.ERROR else Verdict.UNKNOWN for finding in self.unread]
        return min([*(server.verdict for server in self.servers), *unread], default=Verdict.STARTS)

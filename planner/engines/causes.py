"""What the logs of all engines share: colours and prefixes, messages that are nobody's own, and finding the first error that matters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from planner.facts.observed import Cause, Remedy
from planner.facts.record import dataclass
from planner.text import redact

MAX_LINE = 20_000  # longer ones (dumped configurations) are cut
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What a shell, Docker, systemd and the kernel say where main memory ended: signal 9, 128 + 9.
KILLED = (
    r"^\W*Killed\W*$|\bline \d+:\s+\d+ Killed\b|exit(?:ed)?(?: with)?(?: code| status)?[ :=(]+137\b|\bOOMKilled\b|oom-kill:|[Oo]ut of memory: Killed process"
    r"|signal: killed|exitcode: -9\b|status=9/KILL"
)
_LOCAL: tuple[tuple[str, str], ...] = (
    ("port-in-use", r"[Aa]ddress already in use|Only one usage of each socket address"),
    ("disk-full", r"No space left on device|Not enough free disk space"),
    ("model-access", r"GatedRepoError|RepositoryNotFoundError|gated repo|40[134] Client Error|HTTP(?: status)?(?: code)?:? 40[134]\b|Too Many Requests"),
    ("out-of-memory", KILLED),
    ("downloading", r"\bFetching \d+ files:\s+\d+%|\.(?:safetensors|gguf):\s+\d+%|\bpulling [0-9a-f]{12}:?\s+\d+%"),
)
_LEAST = ("other", "downloading")  # what tells the least comes last
_PREFIX = re.compile(r"^(?:[\w.-]+-\d+\s*\|\s*|\S+Z (?:stdout|stderr) F |\d{1,2}(?:\.\d{2,3}){2,3} [EWIDT] |\[\d{1,5}\] )")
_PORT = re.compile(r"(?:port[:= ]+|:)(\d{2,5})\b")


@dataclass(frozen=True, slots=True)
class Causes:
    """An engine's messages, the most telling first: code, pattern; what it writes once it serves; what only its logs hold."""

    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    started: re.Pattern[str]
    own: re.Pattern[str]


def causes(table: Sequence[tuple[str, str]], *, started: str, own: str) -> Causes:
    """An engine's messages, and below them those that all engines share."""
    rows = sorted((*table, *_LOCAL), key=lambda row: _LEAST.index(row[0]) + 1 if row[0] in _LEAST else 0)
    return Causes(tuple((code, re.compile(pattern)) for code, pattern in rows), re.compile(started), re.compile(own))


@dataclass(slots=True)
class Finding:
    """The first error that matters, line by line; one that the server outlived counts for nothing."""

    causes: Causes
    is_own: bool = False
    started: bool = False
    ranked: tuple[int, Cause] | None = None

    def take(self, text: str) -> None:
        """Read one line."""
        self.is_own = self.is_own or bool(self.causes.own.search(text))
        if self.causes.started.search(text):
            self.started, self.ranked = True, None
        for rank, (code, pattern) in enumerate(self.causes.patterns):
            if pattern.search(text):
                if self.ranked is None or rank < self.ranked[0]:
                    self.ranked = rank, Cause(code, message(text))
                return

    @property
    def cause(self) -> Cause | None:
        """What it was."""
        return self.ranked[1] if self.ranked else None


def plain(line: str) -> str:
    """A line without colours."""
    return _COLOUR.sub("", line[:MAX_LINE]).rstrip()


def message(text: str) -> str:
    """The sentence without the prefixes of containers and clocks."""
    return redact(_PREFIX.sub("", text.strip()).strip()[:600])


def is_killed(text: str) -> bool:
    """Whether a message says that the system ended the process for want of main memory."""
    return re.search(KILLED, text) is not None


def killed() -> Iterator[Remedy]:
    """What helps where main memory ended."""
    yield Remedy("main memory ended, not the GPU's: close what else runs, add swap, or give the container more (docker run --memory, the pod's limits)")
    yield Remedy("weights in fewer bits, or fewer of them in main memory")


def port_in_use(text: str, usual: int, flag: str) -> Iterator[Remedy]:
    """Another port, or the end of what listens there."""
    port = int(match[1]) if (match := _PORT.search(text)) else usual
    yield Remedy("another port", f"{flag} {port + 1}" if flag.startswith("-") else f"{flag}:{port + 1}")
    names = f"lsof -nP -iTCP:{port} -sTCP:LISTEN" if "Errno 48" in text else f"ss -ltnp 'sport = :{port}'"  # 48 is macOS's number
    yield Remedy(f"end what listens there: {names} names it")


def downloading(text: str) -> Iterator[Remedy]:
    """A model that comes from the network at its first start."""
    yield Remedy("it is still downloading, once: the next start takes the files from the disk; df -h says whether they have room")
    yield Remedy("download it before: hf download OWNER/NAME, with hf auth login, which is slowed less")


def unreachable(what: str, start: str) -> Iterator[Remedy]:
    """A server that does not answer at its address."""
    yield Remedy(f"nothing listens there: start {what} ({start}), and look at its log if it ends")


def disk_full() -> Iterator[Remedy]:
    """Room for the model's files."""
    yield Remedy("make room (df -h): the model's files, twice while they are downloaded")


def model_access(text: str) -> Iterator[Remedy]:
    """A model that the Hub does not give."""
    if re.search(r"404|NotFound|not found|does not exist|No such file", text):
        yield Remedy("check the name of the model or the file, and where it lies")
    yield Remedy("of a private or gated repository: accept its licence on its page, then hf auth login")

"""Somebody's command that starts a server, as it was found and as its engine reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from planner.facts.plan import Problem
from planner.facts.record import dataclass
from planner.facts.settings import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One server's command: the words after the program, what only the shell that runs it knows, and what its engine read in them."""

    engine: str
    words: tuple[str, ...]
    """The arguments of the server."""
    program: tuple[str, ...] = ()
    """The words before them, as they stand; of a command that its engine has read, as that writes them: `vllm serve`, `llama-server`."""
    unresolved: tuple[str, ...] = ()
    """Parts that a shell fills in where it runs: they are never guessed."""
    version: str | None = None
    """The release, where an image's tag or the log says it."""
    env: tuple[tuple[str, str], ...] = ()
    """What is set for it: before it, exported, in its container."""
    set_for_it: tuple[str, ...] = ()
    """Names of those that stand before it alone."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts by name: what the script around it writes."""
    folder: str = ""
    """Where the file lies that it was found in; what it names may lie beside it."""
    line: int = 0
    """Where it begins in the text that it was found in, counted from 1; 0 where nobody looked."""
    column: int = 0
    contained: bool = False
    """It runs in a container: files that it names do not lie here."""
    service: str = ""
    """The name under which other containers of its compose file reach it."""
    published: tuple[tuple[int, int], ...] = ()
    """Ports of its container that the machine maps, each with the machine's before it (0: any that is free)."""
    model: str = ""
    settings: Mapping[str, Value] = field(default_factory=dict)
    """By the names of the engine's table."""
    faults: tuple[Problem, ...] = ()
    """Unknown flags and refused values, in their order."""
    is_client: bool = False
    """It names a model to a server that runs: `ollama run`."""
    beside: tuple[Command, ...] = ()
    """Clients that name further models to the same server."""
    makes: str = ""
    """The name under which the server knows the model from then on: `ollama create NAME`."""
    not_covered: tuple[str, ...] = ()
    """Flags that change what is on the GPU by an amount that the ledger does not hold."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole command."""
        return (*self.program, *self.words)

    def place(self, name: str) -> Path | None:
        """Where a file lies that it names: as it is named, else beside the file that holds the command; None where it does not lie here."""
        if self.contained or not name or "\0" in name:
            return None
        try:
            return next((path for path in (Path(name), Path(self.folder) / name) if path.is_file()), None)
        except OSError:  # too long for a name
            return None

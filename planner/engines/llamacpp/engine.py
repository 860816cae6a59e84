"""llama.cpp and Ollama, which runs it, behind the seam: what each method answers stands in the module that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from planner.engines import Unanswered
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.plan import LLAMA_CPP_VERSION

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue
    from planner.facts.command import Command
    from planner.facts.hardware import GpuGroup, GpuSpec
    from planner.facts.observed import Observed
    from planner.facts.plan import Plan


class LlamaCpp:
    """llama-server."""

    name = "llama.cpp"
    title = "llama.cpp"
    versions = (LLAMA_CPP_VERSION,)
    first_port = 8000

    def refuses(self, gpu: GpuSpec) -> str:
        """It runs on all of them."""
        return ""

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        """The arguments of its server."""
        return None

    def read_command(self, command: Command) -> Command | Unanswered:
        """A command with its settings and its model."""
        return Unanswered("not yet")

    def check(self, command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan | Unanswered:
        """Whether a command starts."""
        return Unanswered("not yet")

    def read_log(self, lines: Iterable[str]) -> Observed | Unanswered:
        """What a log says."""
        return Unanswered("not yet")


class Ollama(LlamaCpp):
    """`ollama serve`, which starts a llama-server for each model."""

    name = "ollama"
    title = "Ollama"
    versions = (ollama.VERSION,)
    first_port = 11434


LLAMA_CPP = LlamaCpp()
OLLAMA = Ollama()

"""vLLM behind the seam: what each method answers stands in the module that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from planner.engines import Unanswered
from planner.engines.vllm.settings import SETTINGS
from planner.engines.vllm.versions import VERSIONS

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue
    from planner.facts.command import Command
    from planner.facts.hardware import GpuGroup, GpuSpec
    from planner.facts.observed import Observed
    from planner.facts.plan import Plan


class Vllm:
    """vLLM's server."""

    name = "vllm"
    title = "vLLM"
    versions = tuple(VERSIONS)
    settings = SETTINGS
    first_port = 8000

    def refuses(self, gpu: GpuSpec) -> str:
        """It has no backend for Apple's GPUs."""
        return "vLLM needs an NVIDIA or AMD GPU" if gpu.vendor == "apple" else ""

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        """The arguments of `vllm serve`."""
        from planner.engines.vllm.find import server_arguments

        return server_arguments(words)

    def read_command(self, command: Command) -> Command | Unanswered:
        """A command with its settings and its model."""
        return Unanswered("not yet")

    def check(self, command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan | Unanswered:
        """Whether a command starts."""
        return Unanswered("not yet")

    def read_log(self, lines: Iterable[str]) -> Observed | Unanswered:
        """What a log says."""
        from planner.engines.vllm.log import read_log

        return read_log(lines)


VLLM = Vllm()

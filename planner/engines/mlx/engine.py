"""MLX behind the seam: what each method answers stands in the module that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from planner.engines import Unanswered
from planner.engines.mlx.plan import VERSIONS

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue
    from planner.facts.command import Command
    from planner.facts.hardware import GpuGroup, GpuSpec
    from planner.facts.observed import Observed
    from planner.facts.plan import Plan


class Mlx:
    """The servers of mlx-lm (text) and mlx-vlm (images, embeddings)."""

    name = "mlx"
    title = "MLX"
    versions = tuple(VERSIONS.values())
    first_port = 8000

    def refuses(self, gpu: GpuSpec) -> str:
        """It is for unified memory."""
        return "" if gpu.vendor == "apple" else "MLX runs on Apple silicon"

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        """The arguments of `mlx_lm.server` or `mlx_vlm.server`."""
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


MLX = Mlx()

"""MLX behind the seam: what each method answers stands in the module that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from planner.engines import Placement, Unanswered
from planner.engines.mlx.plan import VERSIONS
from planner.engines.mlx.serving import SERVING
from planner.engines.mlx.settings import SETTINGS

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue, Checkpoints
    from planner.facts.command import Command
    from planner.facts.curve import Curve
    from planner.facts.hardware import GpuGroup, GpuSpec
    from planner.facts.model import ModelSpec
    from planner.facts.observed import Explained, Observed
    from planner.facts.plan import Plan
    from planner.facts.question import StackRow
    from planner.facts.speed import NoSpeed
    from planner.speed.estimate import Pace


class Mlx:
    """The servers of mlx-lm (text) and mlx-vlm (images, embeddings)."""

    name = "mlx"
    title = "MLX"
    versions = tuple(VERSIONS.values())
    settings = SETTINGS
    first_port = 8000
    example = "mlx_lm.server --model MODEL …"
    usual_on = ("apple",)
    splits_by_memory = False
    whole_cache = "bf16"
    reads_gguf = False
    uses_main_memory = False
    forms: Mapping[str, str] = {"quantization": "8bit, 4bit, mxfp4", "kv_cache_dtype": "bf16, q8, q4"}
    serving = SERVING
    steps = ("./setup.sh", "export LITELLM_MASTER_KEY=…", "./stack.sh start")
    own_settings = ("wired_limit_mb",)

    def refuses(self, gpu: GpuSpec) -> str:
        """It is for unified memory."""
        return "" if gpu.vendor == "apple" else "MLX runs on Apple silicon"

    def plan(self, question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue) -> Placement:
        """Place the servers of a question, one after the other."""
        from planner.engines.mlx.plan import placement

        return placement(question, machine, first_port, catalogue)

    def curves(self, plan: Plan) -> tuple[Curve, ...] | Unanswered:
        """Each number of users is a server of its own."""
        return Unanswered("how many slots there are is fixed at the start: the speed of several users is said for --users")

    def paces(self, plan: Plan) -> tuple[Pace, Pace, Pace] | NoSpeed:
        """The roofline of one user, with as many as there are slots."""
        from planner.engines.pace import local_paces

        return local_paces(plan)

    def as_asked(self, question: StackRow, machine: GpuGroup, catalogue: Catalogue) -> Plan:
        """Plan one server."""
        from planner.engines.mlx.plan import alone

        return alone(question, machine, catalogue)

    def in_short(self, plan: Plan) -> str:
        """Which of the two servers, and the cache."""
        bits = dict(plan.settings)["kv_bits"]
        return plan.service.engine + ("" if bits == 16 else f", {bits}-bit KV cache")

    def ways(self, model: Checkpoints, bits: int, gpu: GpuSpec) -> Sequence[tuple[str, str | None]]:
        """The usual format of each class."""
        return [(model.name, {16: "bf16", 8: "8bit", 4: "4bit"}[bits])]

    def stored_bytes(self, model: ModelSpec, form: str) -> int:
        """The weights in a format."""
        from planner.engines.mlx.memory import read_format, weights_bytes

        return weights_bytes(model, read_format(form))

    def agent_safety(self, architecture: str) -> tuple[str, str]:
        """Its servers answer; they do not continue."""
        return "yes", "two assistant messages in a row are answered (mlx-lm 0.32.2, tried); nothing is continued"

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        """The arguments of `mlx_lm.server` or `mlx_vlm.server`."""
        from planner.engines.mlx.find import server_of

        server = server_of(words)
        return server[1] if server else None

    def find_file(self, text: str) -> Command | None:
        """It has no file of its own."""
        return None

    def read_command(self, command: Command) -> Command | Unanswered:
        """A command with its settings and its model."""
        from planner.engines.mlx.command import read_command

        return read_command(command)

    def check(self, command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan | Unanswered:
        """Whether a command starts."""
        from planner.engines.mlx.check import check_server

        return check_server(command, group, catalogue)

    def read_log(self, lines: Iterable[str]) -> Observed | Unanswered:
        """What a log says."""
        from planner.engines.mlx.log import read_log

        return read_log(lines)

    def explain(self, observed: Observed, *, model: str, gpu: GpuSpec | None, count: int, catalogue: Catalogue) -> Explained:
        """What a log calls for, beside the prediction."""
        from planner.engines.mlx.explain import explain

        return explain(observed, model=model, gpu=gpu, catalogue=catalogue)


MLX = Mlx()

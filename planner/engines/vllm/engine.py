"""vLLM behind the seam: what each method answers stands in the module that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from planner.engines import Placement, Unanswered
from planner.engines.vllm.ask import FIRST_PORT
from planner.engines.vllm.dtypes import FP8_DTYPES
from planner.engines.vllm.serving import SERVING
from planner.engines.vllm.settings import BY_NAME, PINS
from planner.engines.vllm.settings_table import SETTINGS
from planner.engines.vllm.versions import VERSIONS

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


class Vllm:
    """vLLM's server."""

    name = "vllm"
    title = "vLLM"
    versions = tuple(VERSIONS)
    settings = SETTINGS
    serving = SERVING
    own_settings = ("link_gb_per_s", "ram", "acceptance_length", *(setting.name for setting in PINS if not setting.is_shared))
    first_port = FIRST_PORT
    example = "vllm serve MODEL …"
    usual_on = ("nvidia", "amd")
    splits_by_memory = False
    whole_cache = "auto"
    reads_gguf = False
    uses_main_memory = False  # but for what --cpu-offload-gb pins
    forms: Mapping[str, str] = {name: BY_NAME[name].help.removesuffix(".") for name in ("quantization", "kv_cache_dtype")}
    steps = ("./setup.sh", "export LITELLM_MASTER_KEY=…", "./stack.sh start")

    def refuses(self, gpu: GpuSpec) -> str:
        """What no release of it holds kernels for."""
        from planner.engines.vllm.rules import unserved

        return unserved(gpu)

    def plan(self, question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue) -> Placement:
        """Place the servers of a question: shares of one machine's GPUs, in the order in which they start."""
        from planner.engines.vllm.answer import placement

        return placement(question, machine, first_port, catalogue)

    def as_asked(self, question: StackRow, machine: GpuGroup, catalogue: Catalogue) -> Plan:
        """Plan one server on all GPUs."""
        from planner.engines.vllm.answer import alone

        return alone(question, machine, catalogue)

    def in_short(self, plan: Plan) -> str:
        """How GPUs are divided, the cache, whether graphs are kept."""
        settings = dict(plan.settings)
        split = f"tp {settings['tensor_parallel_size']}" + (f" x pp {stages}" if (stages := settings["pipeline_parallel_size"]) != 1 else "")
        split += f" x dp {replicas}" if (replicas := settings.get("data_parallel_size", 1)) != 1 else ""
        dtype = str(settings["kv_cache_dtype"])
        cache = "" if dtype == "auto" else f", {'FP8' if dtype in FP8_DTYPES else dtype} KV cache"
        return split + cache + (", no CUDA graphs" if settings["enforce_eager"] else "")

    def curves(self, plan: Plan) -> tuple[Curve, ...] | Unanswered:
        """Concurrency over the length of a request, tokens a second over users."""
        from planner.engines.vllm.curves import curves
        from planner.engines.vllm.plan import Plan as Own

        return curves(plan.own) if isinstance(plan.own, Own) else ()

    def paces(self, plan: Plan) -> tuple[Pace, Pace, Pace] | NoSpeed:
        """Over the slowest, the likely and the fastest link of such cards."""
        from planner.engines.vllm.pace import paces
        from planner.engines.vllm.plan import Plan as Own
        from planner.facts.speed import NoSpeed

        return paces(plan.own) if isinstance(plan.own, Own) else NoSpeed("the server was not planned")

    def ways(self, model: Checkpoints, bits: int, gpu: GpuSpec) -> Sequence[tuple[str, str | None]]:
        """The checkpoints of that class, or 16 bits quantized while loading where the GPU multiplies in FP8."""
        from planner.engines.vllm.rules import NATIVE_FP8, ONLINE

        if bits in model.by_bits:
            return [(name, None) for name in model.by_bits[bits]]
        native = gpu.vendor == "nvidia" and gpu.capability >= NATIVE_FP8
        return [(model.by_bits[16][0], ONLINE)] if bits == 8 and 16 in model.by_bits and native else []

    def stored_bytes(self, model: ModelSpec, form: str) -> int:
        """The weights as one GPU holds them."""
        from planner.engines.vllm.weights import stage_weights
        from planner.facts.config import Parallel

        return sum(stage_weights(model, Parallel()))

    def agent_safety(self, architecture: str) -> tuple[str, str]:
        """It continues a trailing assistant message."""
        return "yes", "continue_final_message is honoured; the proxy's callback sets it for Mistral models"

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        """The arguments of `vllm serve`."""
        from planner.engines.vllm.find import server_arguments

        return server_arguments(words)

    def find_file(self, text: str) -> Command | None:
        """It has no file of its own."""
        return None

    def read_command(self, command: Command) -> Command | Unanswered:
        """A command with its settings and its model."""
        from planner.engines.vllm.judged import read_command

        return read_command(command)

    def check(self, command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan | Unanswered:
        """Whether a command starts."""
        from planner.engines.vllm.answer import judged
        from planner.engines.vllm.judged import judge

        return judged(judge(command, group, catalogue))

    def read_log(self, lines: Iterable[str]) -> Observed | Unanswered:
        """What a log says."""
        from planner.engines.vllm.log import read_log

        return read_log(lines)

    def explain(self, observed: Observed, *, model: str, gpu: GpuSpec | None, count: int, catalogue: Catalogue) -> Explained:
        """What a log calls for, beside the prediction."""
        from planner.engines.vllm.explain import explain

        return explain(observed, model=model, gpu=gpu, count=count, catalogue=catalogue)


VLLM = Vllm()

"""llama.cpp and Ollama, which runs it, behind the seam: what each method answers stands in the module that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from planner.engines import Placement, Unanswered
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.ask import DEFAULT_MIX
from planner.engines.llamacpp.pins import NAMES as SERVER_PINS
from planner.engines.llamacpp.plan import LLAMA_CPP_VERSION
from planner.engines.llamacpp.serving import LLAMA_SERVER, OLLAMA_SERVER
from planner.engines.llamacpp.settings import OLLAMA_SETTINGS, SETTINGS
from planner.units import gib

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue, Checkpoints
    from planner.facts.command import Command
    from planner.facts.curve import Curve
    from planner.facts.hardware import GpuGroup, GpuSpec
    from planner.facts.model import ModelSpec
    from planner.facts.observed import Explained, Observed
    from planner.facts.plan import Plan
    from planner.facts.question import StackRow
    from planner.facts.serving import Serving
    from planner.facts.speed import NoSpeed
    from planner.speed.estimate import Pace


_LEAST_CAPABILITY = 50


class LlamaCpp:
    """llama-server."""

    name = "llama.cpp"
    title = "llama.cpp"
    versions = (LLAMA_CPP_VERSION,)
    settings = SETTINGS
    first_port = 8000
    example = "llama-server --model FILE.gguf …"
    usual_on: Sequence[str] = ("intel",)
    own_settings: Sequence[str] = ("gpu_layers", "ram", "wired_limit_mb", *SERVER_PINS)
    is_ollama = False
    serving: Mapping[str, Serving] = {"llama.cpp": LLAMA_SERVER}
    splits_by_memory = True
    whole_cache = "f16"
    reads_gguf = True
    uses_main_memory = True
    forms: Mapping[str, str] = {"quantization": "Q4_K_M, Q8_0, …", "kv_cache_dtype": "f16, q8_0, q4_0"}
    steps: Sequence[str] = ("install llama.cpp", "get or make the GGUF file", "./setup.sh", "export LITELLM_MASTER_KEY=…", "./stack.sh start")

    def refuses(self, gpu: GpuSpec) -> str:
        """It runs on all of them: by CUDA, HIP, SYCL, Metal, or else by Vulkan."""
        return ""

    def plan(self, question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue) -> Placement:
        """Place the servers of a question, one after the other."""
        from planner.engines.llamacpp.plan import placement

        return placement(question, machine, first_port, catalogue, is_ollama=self.is_ollama)

    def curves(self, plan: Plan) -> tuple[Curve, ...] | Unanswered:
        """Each number of users is a server of its own."""
        return Unanswered("how many slots there are is fixed at the start: the speed of several users is said for --users")

    def paces(self, plan: Plan) -> tuple[Pace, Pace, Pace] | NoSpeed:
        """The roofline of one user, with as many as there are slots."""
        from planner.engines.pace import local_paces

        return local_paces(plan)

    def as_asked(self, question: StackRow, machine: GpuGroup, catalogue: Catalogue) -> Plan:
        """Plan one server."""
        from planner.engines.llamacpp.plan import alone

        return alone(question, machine, catalogue, is_ollama=self.is_ollama)

    def in_short(self, plan: Plan) -> str:
        """The mix, the cache, and what lies in main memory."""
        cache = dict(plan.settings)["kv_cache_type"]
        words = [str(plan.model.quantization), *([f"{cache} KV cache"] if cache != "f16" else [])]
        if not plan.is_whole:
            words.append(f"{plan.layers_on_gpu} of {plan.layers} layers on the GPU")
        elif not plan.is_all_on_gpus or plan.host_bytes > plan.used_bytes // 4:  # the latter are embeddings of each layer
            words.append(f"{gib(plan.host_bytes)} in main memory")
        return ", ".join(words)

    def ways(self, model: Checkpoints, bits: int, gpu: GpuSpec) -> Sequence[tuple[str, str | None]]:
        """The usual mix of each class, or the one that a model is published in."""
        return [(model.name, (DEFAULT_MIX.get(model.architecture) if bits == 4 else None) or {16: "BF16", 8: "Q8_0", 4: "Q4_K_M"}[bits])]

    def stored_bytes(self, model: ModelSpec, form: str) -> int:
        """The files of a mix."""
        from planner.engines.llamacpp.model import converted

        files = converted(model, form)
        return files.file_bytes + files.mmproj_bytes

    def agent_safety(self, architecture: str) -> tuple[str, str]:
        """It refuses."""
        return "no", "two assistant messages at the end are refused with HTTP 400 (tools/server/server-common.cpp)"

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        """The arguments of `llama-server`."""
        from planner.engines.llamacpp.find import server_arguments

        return server_arguments(words)

    def find_file(self, text: str) -> Command | None:
        """It has no file of its own."""
        return None

    def read_command(self, command: Command) -> Command | Unanswered:
        """A command with its settings and its model."""
        from planner.engines.llamacpp.command import read_command

        return read_command(command)

    def check(self, command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan | Unanswered:
        """Whether a command starts."""
        from planner.engines.llamacpp.check import check_server

        return check_server(command, group, catalogue)

    def read_log(self, lines: Iterable[str]) -> Observed | Unanswered:
        """What a log says."""
        from planner.engines.llamacpp.log import read_log

        return read_log(lines, is_ollama=self.is_ollama)

    def explain(self, observed: Observed, *, model: str, gpu: GpuSpec | None, count: int, catalogue: Catalogue) -> Explained:
        """What a log calls for, beside the prediction."""
        from planner.engines.llamacpp.explain import explain

        return explain(observed, model=model, gpu=gpu, count=count, catalogue=catalogue, is_ollama=self.is_ollama)


class Ollama(LlamaCpp):
    """`ollama serve`, which starts a llama-server for each model."""

    name = "ollama"
    title = "Ollama"
    versions = (ollama.VERSION,)
    first_port = 11434
    usual_on: Sequence[str] = ()
    example = "ollama serve; ollama run MODEL"
    settings = OLLAMA_SETTINGS
    own_settings = ("gpu_layers", "ram", "wired_limit_mb", "flash_attn")
    is_ollama = True
    serving: Mapping[str, Serving] = {"ollama": OLLAMA_SERVER}
    steps = ("install Ollama", "./setup.sh", "export LITELLM_MASTER_KEY=…", "./stack.sh start")

    def refuses(self, gpu: GpuSpec) -> str:
        """NVIDIA's below the least compute capability that it holds kernels for (docs/gpu.mdx, November 2026)."""
        if gpu.vendor != "nvidia" or not 0 < gpu.capability < _LEAST_CAPABILITY:
            return ""
        return f"Ollama has no kernels for compute capability {gpu.capability // 10}.{gpu.capability % 10}: the least is 5.0"

    def agent_safety(self, architecture: str) -> tuple[str, str]:
        """It is up to the template, or to Ollama's own renderer."""
        if ollama.has_renderer(architecture):
            return "yes", "Ollama's own renderer continues a trailing assistant message (model/renderers)"
        return "partly", "Go templates merge assistant messages (ollama#10273), Jinja templates refuse two at the end with HTTP 400"

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        """The arguments of `ollama serve`, or of `ollama run` and `pull`, which name it a model."""
        from planner.engines.llamacpp.find import ollama_arguments

        return ollama_arguments(words)

    def find_file(self, text: str) -> Command | None:
        """What a Modelfile makes."""
        from planner.engines.llamacpp.modelfile import command_of

        return command_of(text)

    def read_command(self, command: Command) -> Command | Unanswered:
        """A command with its settings and its model."""
        from planner.engines.llamacpp.ollama_command import read_command

        return read_command(command)

    def check(self, command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan | Unanswered:
        """Whether its model starts."""
        from planner.engines.llamacpp.ollama_check import check_ollama

        return check_ollama(command, group, catalogue)


LLAMA_CPP = LlamaCpp()
OLLAMA = Ollama()

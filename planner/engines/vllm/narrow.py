"""What makes no sure start of one that the ledger holds: so little is left of a GPU, or a fault was met, that nobody can be sure."""

from __future__ import annotations

from collections.abc import Iterator

from planner.engines.vllm import lora
from planner.engines.vllm.choice import Choice
from planner.engines.vllm.parallel_rules import PARTITION
from planner.engines.vllm.versions import VERSIONS
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.not_covered import NotCovered

# Of a GPU, less than `plan` keeps back. Graphs took up to 0.31 GiB more than was reserved on 42 H100 starts, and Qwen3.8-27B ran out with 0.98 of a 24 GB
# card where it did not with 0.97 (vllm issue 57475).
_KEPT_BACK = 0.009
_NEARLY_WHOLE = 0.95  # Qwen3-VL-30B ran out with 79.07 of 79.10 GiB in use at 0.95 of an A100 in 0.11, whose graphs lie outside the budget
_NEARLY_ALL = 0.93  # of a GPU: Qwen2.5-72B quantized while loading took 139.2 of 139.7 GiB and ran out in 0.13, where 135.4 are its weights (vllm issue 31273)


def narrow(choice: Choice, group: GpuGroup, model: ModelSpec, widest_bytes: int) -> Iterator[NotCovered]:
    """What leaves so little of a GPU that nobody can be sure of a start: 16-bit weights that are quantized late, a budget of nearly all that is free."""
    config, ledger = choice.config, choice.conservative
    if widest_bytes > _NEARLY_ALL * group.free_at_start_bytes(config.ranks):
        yield NotCovered(flag=f"--quantization {config.quantization}", what="weights in 16 bits before they are quantized", effect="adds", most_bytes=0)
    if config.layer_partition and group.cards:  # the ledger takes all for as large as the smallest
        yield NotCovered(flag=PARTITION, what="stages on GPUs that have more memory than the smallest", effect="lowers")
    several, captures = config.tensor_parallel_size > 1, not config.enforce_eager and config.max_cudagraph_capture_size != 0
    if config.enable_lora and captures and several and model.architecture in lora.DELTAS and config.vllm_version in lora.DELTAS_UNSURE:
        yield NotCovered(flag="--enable-lora", what="a fault that one start of such adapters with CUDA graphs met", effect="adds", most_bytes=0)
    late = captures and not VERSIONS[config.vllm_version].lean_sampler  # 0.19 started with 0.95 of an H100
    if late and model.vision is not None and not config.skip_mm_profiling and config.gpu_memory_utilization >= _NEARLY_WHOLE:
        what = "graphs, the sampler and pictures, which come when the cache is there,"
        yield NotCovered(flag=f"--gpu-memory-utilization {config.gpu_memory_utilization:g}", what=what, effect="adds", most_bytes=0)
    if ledger.cuda_graph_bytes > 0 and -_KEPT_BACK * ledger.total_bytes < ledger.short_of_free_bytes <= 0:
        what = "graphs that take more than was reserved for them"
        yield NotCovered(flag=f"--gpu-memory-utilization {config.gpu_memory_utilization:g}", what=what, effect="adds", most_bytes=0)

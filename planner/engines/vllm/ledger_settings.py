"""What the ledger asks of the settings of a vLLM server: numbers in one answer, arrays in a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from planner.arrays import Whole_co

if TYPE_CHECKING:
    from planner.engines.vllm.lora import Lora


class LedgerSettings(Protocol[Whole_co]):
    """What a ledger asks of a server's settings: `ServeConfig` has them as numbers, a grid as arrays, one element a server."""

    @property
    def tensor_parallel_size(self) -> Whole_co:
        """Ranks that share each layer."""

    @property
    def pipeline_parallel_size(self) -> Whole_co:
        """Stages of consecutive layers."""

    @property
    def data_parallel_size(self) -> int:
        """Engines that share the routed experts."""

    @property
    def gpu_memory_utilization(self) -> Whole_co | float:
        """Share of a GPU's total that is asked for."""

    @property
    def max_model_len(self) -> Whole_co:
        """Tokens of prompt and answer of one request."""

    @property
    def max_num_seqs(self) -> int:
        """Sequences of a step at most."""

    @property
    def max_num_batched_tokens(self) -> Whole_co:
        """Tokens of a step at most."""

    @property
    def kv_cache_memory_bytes(self) -> int | None:
        """Bytes of the KV cache where they are pinned."""

    @property
    def enforce_eager(self) -> bool:
        """Whether no CUDA graphs are captured."""

    @property
    def enable_sleep_mode(self) -> bool:
        """Whether weights and cache lie in an allocator that can give them back."""

    @property
    def skip_mm_profiling(self) -> bool:
        """Whether no picture takes part in profiling."""

    @property
    def max_cudagraph_capture_size(self) -> int | None:
        """The largest batch that is captured where it is pinned."""

    @property
    def times_kernels(self) -> bool:
        """Whether Inductor times the kernels that it fuses, in a release that has it do so."""

    @property
    def num_speculative_tokens(self) -> int:
        """Tokens that are drafted at once."""

    @property
    def lora(self) -> Lora | None:
        """How LoRA adapters are held; None where there are none."""

    @property
    def async_scheduling(self) -> bool | None:
        """Whether a step is scheduled while another runs; None is vLLM's own choice."""

    @property
    def mm_ipc_gpu_memory_gb(self) -> float:
        """GiB that the API server keeps for pictures."""

    @property
    def estimates_graphs(self) -> bool | None:
        """Whether CUDA graphs lie inside the budget; None is the release's own choice."""

    @property
    def second_runner(self) -> bool | None:
        """Whether the second model runner serves; None is the release's own choice."""

    @property
    def num_gpu_blocks_override(self) -> int | None:
        """Blocks of the KV cache where their number is pinned."""

    @property
    def vllm_version(self) -> str:
        """The release whose rules hold."""

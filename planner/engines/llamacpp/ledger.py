"""The ledger of one llama-server: what the fullest of its GPUs holds, and main memory."""

from __future__ import annotations

from collections.abc import Sequence

from planner.engines.llamacpp.layers import Placement
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.engines.llamacpp.placement import Held, HeldByHost, held, placed
from planner.facts.hardware import CONTEXT_BYTES, GpuGroup, Host
from planner.facts.record import dataclass
from planner.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppLedger:
    """What every GPU holds and has free, and what stays in main memory, in bytes."""

    gpus: tuple[Held, ...]
    free_bytes: tuple[int, ...]
    host: HeldByHost
    placement: Placement
    layers: int

    @property
    def fullest(self) -> Held:
        """The GPU with the least to spare."""
        return self.gpus[self._fullest]

    @property
    def _fullest(self) -> int:
        return min(range(len(self.gpus)), key=lambda gpu: (self.free_bytes[gpu] - self.gpus[gpu].total_bytes, -gpu))

    @property
    def available_bytes(self) -> int:
        """What is free there when the server starts."""
        return self.free_bytes[self._fullest]

    @property
    def used_bytes(self) -> int:
        """Everything that is held there."""
        return self.fullest.total_bytes

    @property
    def layers_on_gpu(self) -> int:
        """Layers on any GPU, the output counted as one."""
        return self.placement.layers_on_gpu

    @property
    def is_whole(self) -> bool:
        """Whether every layer is on a GPU, with all of its tensors."""
        return self.layers_on_gpu > self.layers and not self.placement.divided

    @property
    def host_note(self) -> str:
        """What lies in main memory, in words."""
        if self.is_whole:
            return "token embeddings, a batch's inputs"
        parts = ["token embeddings, a batch's inputs"]
        if outside := self.layers + 1 - self.layers_on_gpu:
            parts.append(f"{outside} of {self.layers + 1} layers")
        if divided := self.placement.divided:
            parts.append(f"experts of {divided} layers")
        return ", ".join(parts)


def free_bytes(group: GpuGroup, gpus: int) -> tuple[int, ...]:
    """What is free of each of the first `gpus` GPUs when a server starts."""
    if not group.cards:
        return (_free_bytes(group),) * gpus
    return tuple(_free_bytes(member) for member in group.members[:gpus])


# llama.cpp's own context on cards from Turing to Ada is smaller than that of a process with torch. Its logs ("using device CUDA0 … MiB free") of idle
# cards: 23,818 of 24,080 MiB (RTX 4090, twice), 23,858 of 24,135 and 23,982 of 24,268 (RTX 3090), 15,841 of 16,151 (V100). Blackwell's is not:
# 31,600 of 32,112 MiB (RTX 5090); nor is an A100's: 39,903 of 40,338.
_CONTEXT_BYTES = 290 * MIB
_SMALL_CONTEXT = (75, 86, 89)


def _free_bytes(group: GpuGroup) -> int:
    """What is free of one GPU beside llama.cpp's context: what a person read there, else what other programs find and by how much its context is smaller."""
    free = group.free_at_start_bytes(1)
    is_smaller = group.gpu.capability in _SMALL_CONTEXT and not group.gpu.free_is_told and group.host is not Host.WSL2
    return free + (CONTEXT_BYTES - _CONTEXT_BYTES) * is_smaller


def ledger(model: GgufModel, config: LlamaCppConfig, group: GpuGroup, *, gpus: int = 1) -> LlamaCppLedger:
    """The ledger over `gpus` GPUs of a group, as the configuration places its layers."""
    return ledger_of(model, config, free_bytes(group, gpus))


def ledger_of(model: GgufModel, config: LlamaCppConfig, free: Sequence[int]) -> LlamaCppLedger:
    """The ledger over GPUs with so many bytes free."""
    where = placed(model, config, free)
    shares, host = held(model, config, where, len(free))
    return LlamaCppLedger(gpus=shares, free_bytes=tuple(free), host=host, placement=where, layers=model.layer_count)

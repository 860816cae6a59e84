"""What we run on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from enum import StrEnum
from math import log
from typing import Literal

from planner.facts.record import dataclass
from planner.units import MIB

MemoryType = Literal["hbm", "gddr", "lpddr"]
"""What a GPU's memory is made of: stacks beside the chip, chips on a card, or the machine's own."""


Vendor = Literal["nvidia", "amd", "apple", "intel"]


class Host(StrEnum):
    """The kind of machine: decides what CUDA sees and what is free when a server starts."""

    SERVER = "server"
    DESKTOP = "desktop"
    WSL2 = "wsl2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Measured over predicted seconds of a step and of a first token of one user, with `model` on so many of these GPUs (`plan bench`).

    `crowd_…`: by how much more steps, first tokens and whole answers of `users` at once took longer than that; between one and so many it grows
    with the logarithm of the users, beyond it stays.
    """

    step: float
    first_token: float
    count: int
    model: str
    engine: str
    """As the fit of the speed calls it (planner/speed/work.py)."""
    users: int = 1
    crowd_step: float = 1.0
    crowd_first_token: float = 1.0
    crowd_total: float = 1.0

    def step_of(self, users: float) -> float:
        """By how much more than for one user a step of so many takes longer."""
        return float(self.crowd_step ** self._share(users))

    def first_of(self, users: float) -> float:
        """By how much more than for one user the first token of so many takes longer."""
        return float(self.crowd_first_token ** self._share(users))

    def total_of(self, users: float) -> float:
        """By how much more than for one user the answers of so many together take longer."""
        return float(self.crowd_total ** self._share(users))

    def _share(self, users: float) -> float:
        return min(1.0, log(max(users, 1.0)) / log(self.users)) if self.users > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpec:
    """One GPU model. Totals are bytes: what the driver reports, and what CUDA sees on Linux and under WSL2 or Windows."""

    name: str
    title: str
    vendor: Vendor
    memory_type: MemoryType
    memory_bytes: int
    cuda_total_bytes: int
    cuda_total_estimated: bool = False  # nobody measured it: it follows from what other cards keep back
    most_total_bytes: int | None = None  # without error correction, where that takes memory of the total
    wsl2_total_bytes: int | None = None
    free_at_start_bytes: int | None = None
    most_free_bytes: int | None = None  # where what the machine itself uses varies (unified memory): both are reported of any budget up to here
    wsl2_free_at_start_bytes: int | None = None
    free_is_told: bool = False  # what is free was read off this machine, not off another's
    compute_capability: tuple[int, int] | None = None
    multiprocessors: int = 0  # 0 where nobody counted them
    gfx: str = ""  # an AMD GPU's instruction set, as ROCm names it: "gfx942"
    bandwidth_bytes_per_s: int = 0
    dense_flops: tuple[tuple[str, int], ...] = ()
    nvlink: bool = False
    link_bytes_per_s: int = 0  # one direction to another GPU: NVLink, else PCIe; 0 where it is not known
    power_w: int | None = None
    unified_memory: bool = False
    mobile: bool = False  # part of a laptop or a board: no card by itself
    calibrated_shift_bytes: int | None = None  # by how much more than predicted a server on this machine took
    calibrated_speeds: tuple[Calibrated, ...] = ()  # how much longer than predicted servers on this machine took, one of an engine and a number of GPUs

    @property
    def capability(self) -> int:
        """Compute capability as one number, 89 for 8.9; 0 where there is none."""
        return self.compute_capability[0] * 10 + self.compute_capability[1] if self.compute_capability else 0


# What a process has taken before vLLM looks at free memory: its CUDA context (and NCCL's buffers at tp > 1), and a desktop.
# Sources: facts "free at start": 23.05 of 23.56, 23.08 of 23.53, 15.28 of 15.51, 30.86 of 31.36 GiB native; 30.5 with a desktop;
# 22.45 of 23.99, 30.12 of 31.84, 10.79 of 11.99, 13.88 of 15.99 GiB under WSL2; H100: 78.68 of 79.19 alone, 77.66 with NCCL.
CONTEXT_BYTES = 520 * MIB
NCCL_BYTES = 1045 * MIB
DESKTOP_BYTES = 600 * MIB
WSL2_BYTES = 1400 * MIB  # the middle of 1.2 to 2.1 GiB of 16 GB and more
WSL2_LITTLE_BYTES, WSL2_SHARE = 660 * MIB, 0.045  # of smaller cards less: 0.78 of 4 GiB, 1.05 of 6, 1.20 of 12
WSL2_MOST_BYTES = 2160 * MIB  # and the bounds of that range; of smaller cards in proportion to what is usual
WSL2_LEAST_BYTES = 1200 * MIB


# By how much a total that nobody measured may be wrong: the rule that estimates it, tried on the cards with a measured one
# (docs/decisions/0008-data-is-built.md; tests/engines/vllm/test_estimated_totals.py).
ESTIMATED_TOTAL_LESS_BYTES = 190 * MIB
ESTIMATED_TOTAL_MORE = 0.006  # of what the driver reports


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuGroup:
    """Several equal GPUs, `count` in all, in one machine or spread evenly over `nodes`; `taken_bytes` of each are held by other servers.

    `link_bytes_per_s` is what an all-reduce reaches on this host (nccl-tests' bus bandwidth), where somebody measured it.
    Where they are not equal `cards` has each, in the order in which they were named, and `gpu` is what all of them have (`mixed_group`).
    """

    gpu: GpuSpec
    count: int
    host: Host = Host.SERVER
    nodes: int = 1
    taken_bytes: int = 0
    link_bytes_per_s: int = 0
    power_limit_w: float = 0  # what each card is held to (nvidia-smi -pl); 0 where it is not
    ram_bytes: int = 0  # main memory of one machine; 0 where nobody said
    cards: tuple[GpuSpec, ...] = ()  # `count` of them; nothing where all are equal

    @property
    def members(self) -> tuple[GpuGroup, ...]:
        """The GPUs one by one, in the order in which a program sees them: what each has and what is free there."""
        return tuple(replace(self, gpu=gpu, count=1, nodes=1, cards=()) for gpu in self.cards or (self.gpu,) * self.count)

    @property
    def per_node(self) -> int:
        """GPUs of one machine."""
        return self.count // self.nodes

    @property
    def label(self) -> str:
        """The GPUs in words."""
        if self.cards:
            return " and ".join(f"{count}x {title}" for title, count in Counter(card.title for card in self.cards).items())
        return f"{self.count}x {self.gpu.title}" if self.nodes == 1 else f"{self.nodes} machines of {self.per_node}x {self.gpu.title}"

    @property
    def total_bytes(self) -> int:
        """What CUDA reports as total memory of one GPU; vLLM multiplies this by its utilization."""
        if self.host is Host.WSL2:
            return self.gpu.wsl2_total_bytes or self.gpu.memory_bytes
        return self.gpu.cuda_total_bytes

    @property
    def total_is_estimated(self) -> bool:
        """Whether nobody measured that total on such a host; under WSL2 and Windows it is what the driver reports."""
        return self.gpu.cuda_total_estimated and self.host is not Host.WSL2

    @property
    def total_bounds(self) -> tuple[int, int]:
        """The least and the most bytes that the total may be: both are `total_bytes` where that was measured and is the same of all."""
        if not self.total_is_estimated:
            return self.total_bytes, max(self.total_bytes, (self.gpu.most_total_bytes or 0) if self.host is not Host.WSL2 else 0)
        more = int(ESTIMATED_TOTAL_MORE * self.gpu.memory_bytes)
        return self.total_bytes - ESTIMATED_TOTAL_LESS_BYTES, max(self.total_bytes, min(self.total_bytes + more, self.gpu.memory_bytes))

    @property
    def free_error(self) -> tuple[int, int]:
        """By how many bytes less than surely and more than usually may be free at start, where that follows from an estimated total or was seen to vary."""
        least, most = self.total_bounds
        if self.host is Host.WSL2:
            usual = self.free_at_start_bytes(1, conservative=False) + self.taken_bytes
            return 0, 0 if self.gpu.free_is_told else max(0, self.total_bytes - self._windows_bounds[0] - usual)
        if self.gpu.free_at_start_bytes is not None and (self.host is Host.SERVER or self.gpu.most_free_bytes):
            return 0, DESKTOP_BYTES if self.host is Host.DESKTOP else 0
        shown_elsewhere = DESKTOP_BYTES if self.host is Host.DESKTOP and not self.gpu.free_is_told else 0  # by another GPU, or a processor's own
        return (self.total_bytes - least, most - self.total_bytes + shown_elsewhere)

    def free_at_start_bytes(self, tensor_parallel_size: int, *, conservative: bool = True) -> int:
        """What is free on one GPU when vLLM checks: total less context, NCCL and what the host itself uses, at most or usually.

        Where memory is one for both, the host decides, and nobody told of it, "usually" is the most that was seen: any budget up to that is reported both as
        started and as refused.
        """
        match self.host:
            case Host.SERVER:
                most = self.gpu.most_free_bytes
                measured, taken = self.gpu.free_at_start_bytes if conservative or most is None else most, CONTEXT_BYTES
            case Host.DESKTOP:
                measured, taken = None, CONTEXT_BYTES + DESKTOP_BYTES
                if self.gpu.most_free_bytes:  # its machine takes of it too
                    return replace(self, host=Host.SERVER).free_at_start_bytes(tensor_parallel_size, conservative=conservative) - DESKTOP_BYTES
            case Host.WSL2:
                measured, taken = self.gpu.wsl2_free_at_start_bytes, self._windows_bounds[1] if conservative else self._usual_windows_bytes
        free = measured if measured is not None else self.total_bytes - taken
        if self.host is Host.WSL2 and not (conservative or self.gpu.free_is_told):  # an RTX 4080 had 13.88 GiB at one start, 14.69 at another
            free = max(free, self.total_bytes - taken)
        return free - self._nccl_bytes(tensor_parallel_size) - self.taken_bytes

    @property
    def unseen_bytes(self) -> int:
        """By how much more than was ever seen may be free of memory that the machine shares: all but a context. 0 where the most follows from the total."""
        return max(0, self.total_bytes - CONTEXT_BYTES - self.gpu.most_free_bytes) if self.gpu.most_free_bytes and self.host is not Host.WSL2 else 0

    @property
    def is_unmeasured(self) -> bool:
        """Whether nobody measured a server on such a GPU, nor the like: one of AMD's that shares the machine's memory, until one was measured here."""
        return self.gpu.vendor == "amd" and self.gpu.unified_memory and self.gpu.calibrated_shift_bytes is None

    def process_bytes(self, tensor_parallel_size: int) -> int:
        """What one more server takes of a GPU outside its budget: its CUDA context, and NCCL's buffers."""
        return CONTEXT_BYTES + self._nccl_bytes(tensor_parallel_size)

    @property
    def _usual_windows_bytes(self) -> int:
        """What is usually gone under WSL2 before a server starts."""
        return min(WSL2_BYTES, WSL2_LITTLE_BYTES + int(WSL2_SHARE * self.total_bytes))

    @property
    def _windows_bounds(self) -> tuple[int, int]:
        """The least and the most that is gone then."""
        usual = self._usual_windows_bytes
        return usual * WSL2_LEAST_BYTES // WSL2_BYTES, usual * WSL2_MOST_BYTES // WSL2_BYTES

    @property
    def neighbours_bytes(self) -> int:
        """By how much more the machine itself may take while a server starts, which profiling takes for the server's: Windows' programs draw on the same GPU.

        As much as the most and the least that was gone under WSL2 differ: one command found 0.54, 0.58 and more than 1.0 GiB left on one machine.
        """
        least, most = self._windows_bounds
        return most - least if self.host is Host.WSL2 else 0

    def _nccl_bytes(self, tensor_parallel_size: int) -> int:
        return NCCL_BYTES if tensor_parallel_size > 1 and self.gpu.nvlink else 0


def mixed_group(cards: tuple[GpuSpec, ...], group: GpuGroup) -> GpuGroup:
    """A group of these cards, which may differ, on the machine of `group`."""
    if len({card.name for card in cards}) == 1:
        return replace(group, gpu=cards[0], count=len(cards), cards=())
    return replace(group, gpu=common(cards), count=len(cards), cards=cards)


def common(cards: tuple[GpuSpec, ...]) -> GpuSpec:
    """What each of several cards has, under the name of the one with the least memory: no more bytes than there, no faster than the slowest, no link but PCIe."""
    smallest = min(cards, key=lambda card: card.cuda_total_bytes)
    free = min(card.free_at_start_bytes or card.cuda_total_bytes - CONTEXT_BYTES for card in cards)
    dtypes = [dtype for dtype, _ in smallest.dense_flops if all(dtype in dict(card.dense_flops) for card in cards)]
    return replace(
        smallest,
        free_at_start_bytes=free if any(card.free_at_start_bytes for card in cards) else None,
        bandwidth_bytes_per_s=min(card.bandwidth_bytes_per_s for card in cards),
        dense_flops=tuple((dtype, min(dict(card.dense_flops)[dtype] for card in cards)) for dtype in dtypes),
        compute_capability=min((card.compute_capability for card in cards if card.compute_capability), default=None),
        nvlink=all(card.nvlink for card in cards) and len({card.name for card in cards}) == 1,
        link_bytes_per_s=min(card.link_bytes_per_s for card in cards),
    )

"""What one GPU of a server reads and computes for a token: bytes and multiplications from the model's shapes, peaks from the GPU.

Nothing here is fitted. planner/speed/roofline.py turns these counts into seconds.
"""

from __future__ import annotations

from math import inf
from typing import Generic, assert_never

from planner.arrays import Real, minimum
from planner.facts.attention import Attention, LatentAttention, RecurrentState
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Module, Split, Tensor, TensorRole
from planner.facts.record import dataclass
from planner.facts.storage import BF16, Arithmetic, Storage
from planner.speed.links import NO_LINK, AllReduce

NATIVE_SINCE = {Arithmetic.INT8: 75, Arithmetic.FP8: 89, Arithmetic.FP4: 100}  # compute capability: Turing, Ada, Blackwell; asked only where no peaks are known


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRead(Generic[Real]):
    """What one new token reads of the caches of `layers` alike, on one rank, and what attention computes for each earlier token it sees."""

    bytes_per_token: Real
    flops_per_pair: Real
    window: int | None = None
    fixed_bytes: Real | int = 0  # a recurrent state, read and written


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights(Generic[Real]):
    """Bytes that one rank stores and multiplications that one token costs it: of everything but the routed experts, of the head, of all experts."""

    dense_bytes: Real
    head_bytes: Real
    expert_bytes: Real | int = 0
    dense_macs: Real
    head_macs: Real
    expert_macs: Real | int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak(Generic[Real]):
    """What the GPU could do at best: bytes and operations a second (in the arithmetic of the weights, and in 16 bits), and to its neighbours."""

    gpu: str
    kind: str  # datacenter, geforce, workstation, unified (GB10, Jetson), apple, amd
    bandwidth_bytes_per_s: Real
    flops: Real  # infinite where nobody knows them: arithmetic then takes no time, and nothing may be said of prompts
    flops_16bit: Real
    low_precision: str  # fp8, fp4 or int8 where `flops` are theirs, empty where they are those of 16 bits
    hbm: bool
    generation: str = ""  # volta, turing, ampere, ada, hopper, blackwell
    link: str = "none"  # nvlink or pcie; what an all-reduce costs over it (planner/speed/links.py)
    link_bytes_per_s: Real | int = 0
    link_start_s: Real | float = 0.0
    prompt_share: Real | float = 1.0  # of the arithmetic, what prompts get of it under a cap on the card's power, which costs them more than steps
    flagged: bool | Real = False  # small messages go with flags (roofline.py): over PCIe

    @property
    def computes(self: Peak) -> bool:
        """Whether it is known what it computes; else only what it reads, which bounds the decoding of one user."""
        return self.flops < inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape(Generic[Real]):
    """Counts of a model's layers that do not depend on how it is stored or divided."""

    layers: Real
    modules: Real  # kernels to start, about: matrices and norms of all layers
    moe_layers: Real
    experts: Real
    experts_per_token: Real
    hidden_size: Real
    norm_layers: Real | int = 0  # with a norm over all heads: one more all-reduce, of a number a token
    recurrent_layers: Real | int = 0  # linear attention, Mamba: a convolution, gates and a scan beside the matrices
    index_layers: Real | int = 0  # sparse attention that chooses its tokens first: scores, their largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts(Generic[Real]):
    """What is drafted of each sequence before a step: `tokens`, one after another, by `work` on the same rank (None where they are looked up).

    The step then verifies them together, and gives `length` tokens on average, its own counted. `step_s`: what it takes beside the kernels of both.
    """

    tokens: int
    length: float
    work: Work[Real] | None = None
    step_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[Real]):
    """One server on one rank; in a grid and in the fit arrays, one element a server or a measurement."""

    engine: str
    weights: Weights[Real]
    reads: tuple[CacheRead[Real], ...]
    peak: Peak[Real]
    shape: Shape[Real]
    tensor_parallel_size: Real
    engines: Real | int = 1  # in step, each with a batch of its own and all with the same experts (vLLM's data parallelism of a mixture)
    stages: int = 1  # GPUs, or groups of ranks, that hold consecutive layers (llama.cpp's layer split, vLLM's pipeline)
    batches: Real | int = 1  # that the stages decode at once, each a part of the sequences (vLLM's pipeline)
    prompt_batch: Real | int = 512  # tokens of a prompt that the stages pass on at a time (llama.cpp's --ubatch-size, vLLM's max_num_batched_tokens)
    in_batches: bool | Real = False  # each such batch of a prompt reads the weights and starts all kernels anew (llama.cpp)
    passed_bytes: Real | int = 0  # that a token of a prompt passes between matrices, where the hidden states of 16 bits do not tell (llama.cpp: 32 bits)
    expert_rows: Real | int = 0  # tokens that a kernel multiplies with one expert at once: fewer are padded to as many (0: not told)
    unpacked_bytes: Real | int = 0  # that such a batch reads and writes to widen all weights before it multiplies them (llama.cpp of 2024)
    sorting_s: Real | float = 0.0  # that the host takes for a token of a prompt, sorting tokens by expert (llama.cpp until August 2025)
    expert_starts: Real | int = 0  # kernels that such a batch starts for one expert after another (llama.cpp until April 2025)
    weight_only: bool = False  # weights are widened to 16 bits before they are multiplied
    vector_batch: Real | int = 0  # sequences up to which each is multiplied like a vector; more go to the kernels of prompts (0: no such kernels)
    narrow: bool = False  # most of the weights are stored in 4 bits
    mixes: bool | Real = True  # prompts are computed in the steps of those who are decoding; else these stand still meanwhile
    drafts: Drafts[Real] | None = None
    era: str = ""  # of the engine, where an old one has constants of its own: llama.cpp of 2024, before CUDA graphs and fused kernels

    @property
    def form(self: Work) -> str:
        """How the kernels meet most of the weights."""
        return f"{self.peak.low_precision or ('widened' if self.weight_only else '16-bit')} {'experts' if self.shape.moe_layers else 'matrices'}"

    def cache_bytes(self, context: Real) -> Real:
        """Bytes of the caches that one sequence of `context` tokens reads at a step."""
        return sum((read.bytes_per_token * _seen(read, context) + read.fixed_bytes for read in self.reads), start=0 * context)

    def attention_flops(self, prompt: Real) -> Real:
        """Operations of attention over a whole prompt: each token with those before it, within its window."""
        return sum((read.flops_per_pair * (_seen(read, prompt) * prompt - _seen(read, prompt) ** 2 / 2) for read in self.reads), start=0 * prompt)


def _seen(read: CacheRead[Real], tokens: Real) -> Real:
    return tokens if read.window is None else minimum(tokens, read.window)


def gpu_kind(gpu: GpuSpec) -> str:
    """The class of a GPU. GeForce halves 16-bit products that are summed in 32 bits: its int8 peak is four times the bf16 one, not twice."""
    if gpu.vendor in ("apple", "amd"):
        return gpu.vendor
    if gpu.memory_type == "lpddr":
        return "unified"
    if gpu.memory_type == "hbm":
        return "datacenter"
    peaks = dict(gpu.dense_flops)
    halved = "int8" in peaks and "bf16" in peaks and peaks["int8"] > 3 * peaks["bf16"]
    return "geforce" if halved else "workstation"


_OF_AMD = {"gfx906": "vega", "gfx908": "cdna", "gfx90a": "cdna", "gfx942": "cdna", "gfx950": "cdna"}  # the others are of RDNA
GENERATIONS = ((100, "blackwell"), (90, "hopper"), (89, "ada"), (80, "ampere"), (75, "turing"), (70, "volta"))  # NVIDIA's, by compute capability


def generation(gpu: GpuSpec) -> str:
    """NVIDIA's generation of a GPU, and AMD's where it is no RDNA; empty for others."""
    if gpu.vendor == "amd":
        return _OF_AMD.get(gpu.gfx, "")
    return next((name for since, name in GENERATIONS if gpu.vendor == "nvidia" and gpu.capability >= since), "")


def _is_fitted(gpu: GpuSpec) -> bool:
    """Whether prompts of an AMD GPU's generation take part in the fit, or of one before it with the same units."""
    return bool(generation(gpu)) or gpu.gfx.startswith(("gfx103", "gfx11", "gfx12"))


def peak(gpu: GpuSpec, arithmetic: Arithmetic, link: AllReduce = NO_LINK, *, on_amd: bool = False) -> Peak | None:
    """The peaks of a GPU in the asked arithmetic, or in 16 bits where it has none; None where not even its bandwidth is known.

    What an engine reaches of AMD's arithmetic counts as unknown unless its figures there take part in the fit (`on_amd`).
    """
    if not gpu.bandwidth_bytes_per_s:
        return None
    flops: dict[str, float] = dict(gpu.dense_flops) if gpu.vendor != "amd" or (on_amd and _is_fitted(gpu)) else {}
    if "bf16" not in flops:
        flops = {"bf16": inf}
    return Peak(
        gpu=gpu.name,
        kind=gpu_kind(gpu),
        bandwidth_bytes_per_s=gpu.bandwidth_bytes_per_s,
        flops=flops.get(arithmetic, flops["bf16"]),
        flops_16bit=flops["bf16"],
        low_precision=str(arithmetic) if arithmetic is not Arithmetic.BF16 and (arithmetic in flops or flops["bf16"] == inf) else "",
        hbm=gpu.memory_type == "hbm",
        generation=generation(gpu),
        link=link.kind,
        link_bytes_per_s=link.bytes_per_s,
        link_start_s=link.start_s,
        flagged=link.kind == "pcie",
    )


def arithmetic(model: ModelSpec, gpu: GpuSpec) -> tuple[Arithmetic, bool]:
    """In what most of the weights are multiplied, and whether they are widened for it: by how they are stored, and whether the GPU can."""
    stored = main_storage(model)
    peaks = dict(gpu.dense_flops)
    wanted = stored.arithmetic if gpu.capability >= stored.arithmetic_since else Arithmetic.BF16
    native = wanted is not Arithmetic.BF16 and (wanted in peaks if peaks else gpu.capability >= NATIVE_SINCE[wanted])
    return (wanted, False) if native else (Arithmetic.BF16, stored.is_quantized)


def is_narrow(model: ModelSpec) -> bool:
    """Whether most of the weights are stored in 4 bits."""
    return main_storage(model).bits == 4


def main_storage(model: ModelSpec) -> Storage:
    """How most of the weights are stored: the experts, where there are none the largest matrix."""
    modules = [module for group in model.layers for module in group.modules]
    banks = [module for module in modules if isinstance(module, Experts)]
    linears = [module for module in modules if isinstance(module, Linear)]
    largest = max(linears, key=lambda linear: linear.inputs.size * sum(axis.size for axis in linear.outputs), default=None)
    return banks[0].storage if banks else largest.storage if largest else BF16


def shape_of(model: ModelSpec, arithmetic: Arithmetic = Arithmetic.BF16) -> Shape:
    """Counts of a model's layers whose weights are multiplied in this arithmetic."""
    banks = [(module, len(group.indices)) for group in model.layers for module in group.modules if isinstance(module, Experts)]
    return Shape(
        layers=model.layer_count,
        modules=sum(len(group.indices) * sum(_kernels(module, arithmetic) for module in group.modules) for group in model.layers),
        moe_layers=sum(count for _, count in banks),
        experts=max((bank.experts for bank, _ in banks), default=0),
        experts_per_token=model.experts_per_token,
        hidden_size=model.hidden_size,
        norm_layers=sum(len(group.indices) for group in model.layers if any(_is_summed(module) for module in group.modules)),
        recurrent_layers=sum(len(group.indices) for group in model.layers if any(isinstance(cache, RecurrentState) for cache in group.caches)),
        index_layers=sum(len(group.indices) for group in model.layers if any(_chooses(cache) for cache in group.caches)),
    )


def _is_summed(module: Module) -> bool:
    """Whether the ranks add up something for it: a norm over all heads, of which each rank has some (MiniMax: minimax_rms_norm of vLLM 0.33)."""
    return isinstance(module, Tensor) and module.name.endswith("q_norm") and module.axes[0].split is not Split.WHOLE


def _chooses(cache: Attention) -> bool:
    """Whether it is what a sparse attention's indexer keeps."""
    return isinstance(cache, LatentAttention) and cache.index_dim > 0


def _kernels(module: Module, arithmetic: Arithmetic) -> int:
    """Kernels that a parameter starts: a matrix whose inputs are quantized first has two."""
    match module:
        case Linear():
            return 2 if arithmetic is module.storage.arithmetic is not Arithmetic.BF16 else 1
        case Experts():
            return 1
        case Tensor():
            return int(module.role is TensorRole.PARAMETER)
        case _:
            assert_never(module)

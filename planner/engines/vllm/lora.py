"""What LoRA adapters take of one rank: stacked A and B matrices of every slot, made at load whether an adapter is there or not.

Sources: vLLM 0.33 lora/layers/*.py create_lora_weights (sizes), lora/model_manager.py _create_lora_modules (which modules are wrapped),
lora/punica_wrapper/ (indices of a batch), v1/worker/gpu/lora_utils.py (graphs). Which classes it is for, by release: lora.json, read off
vLLM's classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from planner.arrays import Whole
from planner.engines.shards import axis_size, local_experts
from planner.engines.vllm.versions import VERSIONS
from planner.engines.vllm.weights import Parts, stage_totals
from planner.errors import NotDivisibleError, UnsupportedError
from planner.facts.config import Parallel
from planner.facts.model import ModelSpec
from planner.facts.modules import Axis, Experts, Linear, Module, Role, Split, Tensor, TensorRole
from planner.facts.record import dataclass
from planner.facts.storage import Kernels
from planner.units import round_up

if TYPE_CHECKING:
    from planner.engines.vllm.ledger_settings import LedgerSettings

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # config/lora.py MaxLoRARanks; rank 1 came with 0.12
_INDEX_BYTES = 48  # of a token of a batch: four 64-bit indices, two 32-bit ones in each of two maps (punica_base.py, lora_kernel_metadata.py)
_SEQUENCE_BYTES = 24  # of a sequence: three 64-bit ones
_EXTRA_VOCABULARY = 256  # tokens that an adapter may add, until 0.11 (--lora-extra-vocab-size)


def next_rank(rank: int) -> int:
    """The least rank that vLLM takes and that holds adapters of this one, or the largest."""
    return next((taken for taken in RANKS[1:] if taken >= rank), RANKS[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """How adapters are held: slots and their rank, in which width, how divided, on which modules."""

    max_loras: int = 1
    max_lora_rank: int = 16
    dtype: str = "auto"
    fully_sharded: bool = False
    target_modules: tuple[str, ...] = ()
    towers: bool = False
    by_count: bool = False
    """Graphs for several numbers of active adapters (--specialize-active-lora)."""


class _Classes(TypedDict):
    """lora.json: by architecture what is wrapped beside linear layers and experts, since which minor release."""

    classes: dict[str, dict[str, str]]
    whole: dict[str, list[str]]
    left_out: dict[str, list[str]]
    refused: list[str]


@cache
def _classes() -> _Classes:
    loaded: _Classes = json.loads(Path(__file__).with_name("lora.json").read_text("utf-8"))
    return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """What of an architecture vLLM wraps beside linear layers and experts, and which fused layers an adapter trains as one."""

    embedding: bool
    head: bool
    fused_experts: bool
    whole: frozenset[str]
    left_out: frozenset[str]


def wrapped(architecture: str, version: str) -> Wrapped | None:
    """What is wrapped of a class; None where nobody has looked. Raises UnsupportedError for one that takes no adapters, in vLLM's words."""
    data, minor = _classes(), VERSIONS[version].minor
    since = {int(first): said for first, said in data["classes"].get(architecture, {}).items() if int(first) <= minor}
    if architecture in data["refused"] or (architecture in data["classes"] and not since):
        raise UnsupportedError(f"LoRA is not supported for {architecture}")
    if not since:
        return None
    letters = since[max(since)]
    return Wrapped(
        embedding="e" in letters,
        head="h" in letters,
        fused_experts="3" in letters,
        whole=frozenset(data["whole"].get(architecture, ())),
        left_out=frozenset(data["left_out"].get(architecture, ())),
    )


def is_known(architecture: str, version: str) -> bool:
    """Whether it is known what adapters take of a class, be it that it takes none."""
    try:
        return wrapped(architecture, version) is not None
    except UnsupportedError:
        return True


DELTAS = ("Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration", "Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM")
DELTAS_UNSURE = ("0.19", "0.20")  # mended as far as the source says (vllm pull requests 36976 and 38927); a start of Qwen3.6-27B over two GPUs failed in 0.20


def needs_eager(architecture: str, version: str) -> bool:
    """Whether warm adapters kill a start that captures CUDA graphs: four slices, of which the mapping names two (vllm issue 36372)."""
    return architecture in DELTAS and VERSIONS[version].lora_cuts_deltas


def check_lora(model: ModelSpec, lora: Lora, parallel: Parallel, version: str) -> None:
    """Refuse what vLLM refuses. Raises UnsupportedError and NotDivisibleError with its own words."""
    ranks = RANKS if VERSIONS[version].minor >= 12 else RANKS[1:]
    if lora.max_lora_rank not in ranks:
        raise UnsupportedError(f"max_lora_rank ({lora.max_lora_rank}) must be one of {ranks}")
    known = wrapped(model.architecture, version)
    most = 258_048 if VERSIONS[version].minor >= 17 else 257_024  # logits_processor.py create_lora_weights
    if known and known.head and model.vocab_size > most and not model.pooling and _is_wanted("lm_head", lora):
        raise UnsupportedError(f"When using LoRA, vocab size must be <= {most}; this model's is {model.vocab_size}")
    if lora.fully_sharded and parallel.tensor_parallel_size > 1:
        if lora.max_lora_rank % parallel.tensor_parallel_size:
            raise NotDivisibleError(f"--fully-sharded-loras: {lora.max_lora_rank} is not divisible by {parallel.tensor_parallel_size}")
        if parallel.enable_expert_parallel and _experts(model):
            raise UnsupportedError("Fused MoE LoRA does not support enable_expert_parallel=True together with fully_sharded_loras=True")


def _experts(model: ModelSpec) -> bool:
    return any(isinstance(module, Experts) for group in model.layers for module in group.modules)


def stage_adapters(model: ModelSpec, parallel: Parallel, lora: Lora, dtype_bits: int, version: str) -> list[int]:
    """Bytes of the adapters' matrices on one rank of each stage. Raises UnsupportedError and NotDivisibleError."""
    check_lora(model, lora, parallel, version)
    known = wrapped(model.architecture, version) or Wrapped(embedding=False, head=False, fused_experts=False, whole=frozenset(), left_out=frozenset())
    bits = dtype_bits if lora.dtype == "auto" else 16
    minor = VERSIONS[version].minor
    added = 0 if minor >= 12 else _EXTRA_VOCABULARY

    def held(modules: Iterable[Module]) -> int:
        listed = tuple(modules)
        rows = sum(_rows(listed, known, parallel, lora, added, experts=minor >= 12))
        beside = sum(_beside(listed, known, parallel, lora, added))
        return rows * lora.max_loras * lora.max_lora_rank * bits // 8 + beside

    ends = [module for part in (model.first, model.last, model.every) for module in part]
    tied = known.head and not model.pooling and not any(isinstance(module, Linear) and module.role is Role.HEAD for module in ends)
    tail = held([_tied_head(model)]) if tied else 0
    parts = Parts(
        held(model.every), held(_text(model.first)), held(model.last) + tail, held(model.tied_copy), tuple(held(group.modules) for group in model.layers)
    )
    return stage_totals(model, parts, parallel, stored=False)


def _text(first: Iterable[Module]) -> list[Module]:
    """The embedding of what the first stage holds: a tower takes no adapters unless it is asked for."""
    return [module for module in first if isinstance(module, Tensor)]


def _tied_head(model: ModelSpec) -> Linear:
    return Linear(name="lm_head", role=Role.HEAD, inputs=Axis(model.hidden_size), outputs=(Axis(model.vocab_size, Split.VOCAB),))


def _is_wanted(name: str, lora: Lora) -> bool:
    """Whether an adapter may be on a module (lora/utils.py is_in_target_modules): by its own name, or by one that it is fused of."""
    suffix = name.rpartition(".")[2]
    targets = {target.rpartition(".")[2] for target in lora.target_modules}
    return not targets or suffix in targets or bool(targets & set(_FUSED_OF.get(suffix, ())))


_FUSED_OF = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "in_proj_qkvz": ("in_proj_qkv", "in_proj_z"),
    "in_proj_ba": ("in_proj_b", "in_proj_a"),
    "experts": ("gate_proj", "up_proj", "down_proj"),
}


def _rows(modules: Iterable[Module], known: Wrapped, parallel: Parallel, lora: Lora, added: int, *, experts: bool) -> Iterator[int]:
    """Rows of A and B together of each wrapped module: a row is one slot's rank wide."""
    tp = parallel.tensor_parallel_size
    convolutions: dict[str, list[Tensor]] = {}
    for module in modules:
        name = module.name.rpartition(".")[2]
        if name in known.left_out or not _is_wanted(module.name, lora):
            continue
        match module:
            case Linear(role=Role.HEAD):
                yield module.inputs.size + module.outputs[0].size + added if known.head else 0
            case Linear():
                is_whole = name in known.whole or (module.role is Role.MIXER and any(_is_shared(axis, tp) for axis in module.outputs))
                yield _linear_rows(module, tp, lora, slices=1 if is_whole else len(module.outputs))
            case Experts():
                yield _experts_rows(module, parallel, lora, known) if experts else 0
            case Tensor(role=TensorRole.EMBEDDING) if known.embedding and module.axes[0].split is Split.VOCAB:
                yield sum(axis.size for axis in module.axes) + added
            case Tensor(name="score", axes=(rows, columns)):  # a linear layer in 32 bits (models/adapters.py as_seq_cls_model)
                yield rows.size + columns.size
            case Tensor() if name in ("conv1d", "conv") and len(module.axes) == 2:
                convolutions.setdefault(name, []).append(module)  # a column-parallel layer in vLLM
            case Tensor():
                pass
    for parts in convolutions.values():
        outputs, kernel = sum(axis_size(part.axes[0], tp) for part in parts), parts[0].axes[1].size
        slices = 1 if any(_is_shared(part.axes[0], tp) for part in parts) else len(parts)
        yield 0 if slices > 2 and lora.fully_sharded else outputs + kernel * slices // (tp if lora.fully_sharded else 1)


def _is_shared(axis: Axis, tp: int) -> bool:
    """Whether ranks hold the same groups of a Mamba layer: then it is no merged layer, and has no slices (mamba_mixer2.py)."""
    return axis.split is Split.GROUPS and axis.units % tp != 0


def _linear_rows(linear: Linear, tp: int, lora: Lora, *, slices: int) -> int:
    """A has the inputs, once for each slice; B the outputs (base_linear.py, column_parallel_linear.py)."""
    inputs, outputs = axis_size(linear.inputs, tp), sum(axis_size(axis, tp) for axis in linear.outputs)
    if lora.fully_sharded and slices > 2 and linear.role is Role.MIXER:
        return 0  # no class of layers with several slices is both (column_parallel_linear.py MergedColumnParallelLinearVariableSliceWithLoRA)
    is_row = linear.inputs.split is not Split.WHOLE
    is_column = any(axis.split is not Split.WHOLE for axis in linear.outputs)
    if lora.fully_sharded and tp > 1:
        return inputs + outputs // tp if is_row else inputs * slices // (tp if is_column else 1) + outputs
    return inputs * slices + outputs


def _experts_rows(bank: Experts, parallel: Parallel, lora: Lora, known: Wrapped) -> int:
    """Every expert has matrices of its own (fused_moe.py _create_lora_a_weights, _create_lora_b_weights)."""
    ranks = parallel.expert_ranks
    spread = parallel.enable_expert_parallel and ranks > 1
    count, shards = (local_experts(bank.experts + parallel.redundant_experts, ranks), 1) if spread else (bank.experts, ranks)
    width, hidden = axis_size(Axis(bank.intermediate, Split.TP), shards), bank.hidden
    if bank.storage.kernels is Kernels.MXFP4:  # the padding of the kernels that take adapters (fused_moe/oracle/mxfp4.py)
        width, hidden = round_up(width, 128), round_up(hidden, 256)
    rank_shards = shards if lora.fully_sharded else 1
    slices = 1 if known.fused_experts else bank.shards
    return count * (slices * hidden // rank_shards + bank.shards * width + width + hidden // rank_shards)


def _beside(modules: Iterable[Module], known: Wrapped, parallel: Parallel, lora: Lora, added: int) -> Iterator[int]:
    """Bytes beside A and B: whether a slot is in use, a number a bank of experts; until 0.11 the words that adapters may add, in 16 bits."""
    for module in modules:
        match module:
            case Experts():
                yield 4 * (lora.max_loras + 1) if _is_wanted(module.name, lora) else 0
            case Linear(role=Role.HEAD) if known.head:  # vectors of every slot, and as many more rows of the head itself
                yield 2 * added * module.inputs.size * lora.max_loras + 2 * added * module.inputs.size // parallel.tensor_parallel_size
            case Tensor(role=TensorRole.EMBEDDING) if known.embedding and module.axes[0].split is Split.VOCAB:
                words = 2 * added * module.axes[1].size * lora.max_loras
                yield words + words // parallel.tensor_parallel_size
            case _:
                pass


def index_bytes(config: LedgerSettings[Whole]) -> Whole | int:
    """Bytes of the indices that say which adapter a token, a prompt and a sequence use; the tokens of a batch are rounded up to eight."""
    if config.lora is None:
        return 0
    return (config.max_num_batched_tokens + 7) // 8 * 8 * _INDEX_BYTES + config.max_num_seqs * _SEQUENCE_BYTES


def graph_sets(lora: Lora | None, version: str) -> int:
    """How often each batch size is captured: without adapters and with them since 0.12 (config/compilation.py cudagraph_specialize_lora)."""
    if lora is None or VERSIONS[version].minor < 12:
        return 1
    slots = lora.max_loras + 1
    return 1 + (sum(1 for count in range(1, slots + 1) if count & (count - 1) == 0 or count == slots) if lora.by_count else 1)


def activation_bytes(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """Peak of what stands between A and B: a row of the rank for each token of a batch, in 32 bits for four slices, for each expert of a token too."""
    if config.lora is None:
        return 0
    return config.max_num_batched_tokens * config.lora.max_lora_rank * 4 * (4 + 3 * model.experts_per_token)


def cpu_problem(lora: Lora, max_cpu_loras: int | None) -> str:
    """Why vLLM refuses --max-cpu-loras (config/lora.py), or an empty string."""
    if max_cpu_loras is None or not 0 < max_cpu_loras < lora.max_loras:
        return ""
    return f"max_cpu_loras ({max_cpu_loras}) must be >= max_loras ({lora.max_loras})"

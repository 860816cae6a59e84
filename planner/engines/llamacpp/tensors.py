"""The tensors that a GGUF file has of a model's modules: what llama.cpp's converter takes apart, joins and leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from planner.engines.llamacpp.flows import FUSED_QKV, FUSED_UP
from planner.engines.llamacpp.ggml import GgufTensor, Kind, tensor_bytes
from planner.engines.llamacpp.layers import Part
from planner.facts.attention import Attention, FullAttention
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Module, Role, Tensor, TensorRole
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class _Fused:
    """Which projections stay one tensor in the file."""

    qkv: bool = False
    up: bool = False


def layer_inputs(model: ModelSpec) -> int:
    """The width of a table of embeddings for each layer, beside the tokens' own; 0 where there is none."""
    tables = [module.axes for module in (*model.first, *model.every) if isinstance(module, Tensor) and module.role is TensorRole.EMBEDDING]
    return max((axes[-1].size for axes in tables[1:] if axes[-1].size > 2 * model.hidden_size), default=0)


def plain_bytes(module: Module) -> int:
    """A module of the vision projector: matrices in 16 bits, vectors in 32 (convert_hf_to_gguf.py --mmproj)."""
    return sum(
        tensor_bytes("F16" if len(tensor.shape) > 1 and tensor.kind is not Kind.WIDE else "F32", tensor.shape) for tensor in _split(module, -1, _Fused())
    )


def tensors_of(model: ModelSpec) -> Iterator[GgufTensor]:
    """All tensors of the text model, layer by layer."""
    fused = _Fused(model.architecture.startswith(FUSED_QKV), model.architecture.startswith(FUSED_UP))
    for module in (*model.first, *model.every, *model.last):
        yield from _split(module, -1, fused)
    by_layer = {index: group for group in model.layers for index in group.indices}
    for layer in range(model.layer_count):
        for module in by_layer[layer].modules:
            for tensor in _split(module, layer, fused):
                if tensor.kind is not Kind.V or not _keys_are_values(model, by_layer[layer].caches):
                    yield tensor


def _keys_are_values(model: ModelSpec, caches: Sequence[Attention]) -> bool:
    """Whether a layer's values are made of its keys, and the file has none: the full layers of the larger Gemma 4 (attention_k_eq_v)."""
    return model.architecture.startswith("Gemma4") and not layer_inputs(model) and any(isinstance(cache, FullAttention) for cache in caches)


def _split(module: Module, layer: int, fused: _Fused) -> Iterator[GgufTensor]:
    """One module as the tensors it has in a GGUF file, biases beside."""
    match module:
        case Tensor():
            shape = tuple(axis.size for axis in module.axes)
            match module.role:
                case TensorRole.EMBEDDING | TensorRole.NGRAMS:
                    yield GgufTensor(Kind.EMBEDDING, shape, layer)
                case TensorRole.ADDEND | TensorRole.PARAMETER:
                    yield GgufTensor(Kind.WIDE, shape, layer)
                case TensorRole.CACHE_SCALE:  # vLLM's own
                    pass
                case _:
                    assert_never(module.role)
        case Experts():
            for kind, part in ((Kind.GATE, Part.GATE_EXPERTS), (Kind.UP, Part.UP_EXPERTS))[2 - module.shards :]:
                yield GgufTensor(kind, (module.experts, module.intermediate, module.hidden), layer, part)
                if module.bias:
                    yield GgufTensor(Kind.WIDE, (module.experts, module.intermediate), layer, part)
            yield GgufTensor(Kind.DOWN, (module.experts, module.hidden, module.intermediate), layer, Part.DOWN_EXPERTS)
            if module.bias:
                yield GgufTensor(Kind.WIDE, (module.experts, module.hidden), layer, Part.DOWN_EXPERTS)
        case Linear():
            yield from _linear(module, layer, fused)


_PARTS = {
    Kind.GATE: Part.GATE,
    Kind.UP: Part.UP,
    Kind.DOWN: Part.DOWN,
    Kind.Q: Part.QUERY,
    Kind.K: Part.KEY,
    Kind.V: Part.VALUE,
    Kind.QKV: Part.JOINED,
    Kind.ATTENTION_OUT: Part.OUT,
}


def _linear(module: Linear, layer: int, fused: _Fused) -> Iterator[GgufTensor]:
    rows, columns = [axis.size for axis in module.outputs], module.inputs.size
    for index, (kind, height) in enumerate(_parts(module, rows, fused)):
        yield GgufTensor(kind, (height, columns), layer, _part(module, kind, index))
    if module.bias:
        yield GgufTensor(Kind.WIDE, (sum(rows),), layer)


def _part(module: Linear, kind: Kind, index: int) -> Part:
    if module.role is Role.ROUTER:
        return Part.GATE
    if small := next((parts for name, parts in _SMALL.items() if module.name.endswith(name)), None):
        return small[min(index, len(small) - 1)]
    if module.role is Role.MIXER:  # of a state: what goes in comes of one matrix; decays and gates have small ones of their own
        return Part.JOINED if len(module.outputs) >= 3 else Part.OUT if module.name.endswith("out_proj") else Part.REST
    if module.role is Role.LATENT:
        if module.name.endswith(("q_b_proj", "kv_b_proj")):
            return Part.QUERY if module.name.endswith("q_b_proj") else Part.VALUE
        return Part.JOINED if index < len(module.outputs) - 1 or module.name.endswith("q_a_proj") else Part.KEY
    if module.role is Role.DELTA and kind is Kind.OTHER:
        return Part.MIXER_GATE
    return _PARTS.get(kind, Part.REST)


_SMALL = {
    "in_proj_ba": (Part.LEARNED, Part.DECAY),
    "per_layer_input_gate": (Part.LAYER_INPUT,),
    "per_layer_projection": (Part.LAYER_OUTPUT,),
}


def _parts(module: Linear, rows: list[int], fused: _Fused) -> Iterable[tuple[Kind, int]]:
    """The tensors of a matrix with their heights; what vLLM fuses lies apart in the file, unless the checkpoint had it fused."""
    match module.role:
        case Role.QKV:
            return _fusable((Kind.Q, Kind.K, Kind.V), Kind.QKV, rows, fused=fused.qkv)
        case Role.GATE_UP:
            return _fusable((Kind.GATE, Kind.UP), Kind.UP, rows, fused=fused.up)
        case Role.DELTA:  # q, k, v as one tensor, the gate as another; Qwen3-Next has them in one, with values as wide as queries and keys together
            gate = rows[3] if len(rows) > 1 else rows[0] // 3
            return [(Kind.QKV, sum(rows) - gate), (Kind.OTHER, gate)]
        case role:
            return [(_kind(role), height) for height in rows]


def _kind(role: Role) -> Kind:
    """What the quantizer takes a matrix for that is one tensor in the file."""
    match role:
        case Role.QUERY:
            return Kind.Q
        case Role.KEY:
            return Kind.K
        case Role.VALUE:
            return Kind.V
        case Role.ATTENTION_OUTPUT:
            return Kind.ATTENTION_OUT
        case Role.GATE:
            return Kind.GATE
        case Role.UP:
            return Kind.UP
        case Role.DOWN:
            return Kind.DOWN
        case Role.ROUTER:
            return Kind.WIDE
        case Role.HEAD:
            return Kind.OUTPUT
        case Role.LATENT | Role.MIXER | Role.PROJECTION | Role.QKV | Role.GATE_UP | Role.DELTA:
            return Kind.OTHER
        case _:
            assert_never(role)


def _fusable(kinds: Sequence[Kind], together: Kind, rows: list[int], *, fused: bool) -> Iterable[tuple[Kind, int]]:
    """One tensor where the file has it fused, else one each; outputs behind those (an indexer's) are tensors of their own."""
    if len(rows) == 1:
        return [(together, rows[0])]
    count = len(kinds)
    own = [(together, sum(rows[:count]))] if fused else list(zip(kinds, rows[:count], strict=True))
    return own + [(Kind.OTHER, height) for height in rows[count:]]

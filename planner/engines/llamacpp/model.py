"""A model as llama.cpp holds it: tensors of a GGUF file by layer, from a config's shapes and a mix, or from a file's own header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from planner.engines.llamacpp.ggml import MIXES, GgufTensor, Kind, Mixer, Shape, tensor_bytes
from planner.engines.llamacpp.header import Header
from planner.errors import PlannerError, did_you_mean
from planner.facts.attention import Attention, FullAttention, LatentAttention, SlidingWindow
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Module, Role, Tensor, TensorRole
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """What decides llama.cpp's memory. Bytes are the file's; `input_bytes` (token embeddings) stay in main memory.

    `output_bytes` are the head and the last norm; a tied head is a second copy of the embeddings, on the GPU.
    """

    name: str
    mix: str
    layer_bytes: tuple[int, ...]
    input_bytes: int
    output_bytes: int
    file_bytes: int
    caches: tuple[tuple[Attention, int], ...]  # each kind and of how many layers
    hidden: int
    vocab: int
    heads: int
    query_width: int
    kv_width: int
    ffn_width: int  # of the experts a token uses, where there are experts
    max_context: int
    mmproj_bytes: int = 0
    mmproj_compute_bytes: int = 0
    architecture: str = ""
    fused_qkv: bool = False
    family: str = ""
    pooling: bool = False
    exact: bool = True  # every tensor's kind is known, so the mix is the quantizer's own

    @property
    def layer_count(self) -> int:
        """Number of layers."""
        return len(self.layer_bytes)


# Checkpoints whose converter keeps the fused q, k, v, or gate and up, as one tensor (llama.cpp convert_hf_to_gguf.py, conversion/).
_FUSED_QKV = ("Phi3", "Phi4", "Phi2", "GPTNeoX", "Falcon", "ChatGLM", "NomicBert", "ModernBert", "StarCoder", "GPT2", "Bloom")
_FUSED_UP = ("Phi3", "Phi4", "ChatGLM", "Glm4ForCausalLM", "GlmForCausalLM")


@dataclass(frozen=True, slots=True)
class _Fused:
    """Which projections stay one tensor in the file."""

    qkv: bool = False
    up: bool = False


def find_mix(name: str) -> str:
    """A mix by name in any case. Raises PlannerError with the nearest."""
    wanted = name.upper()
    if wanted not in MIXES:
        raise PlannerError(f"the GGUF quantization {name!r} is not known", did_you_mean(wanted, MIXES) or f"known: {', '.join(MIXES)}")
    return wanted


def converted(model: ModelSpec, mix: str) -> GgufModel:
    """The GGUF file that llama.cpp makes of a 16-bit model. Raises PlannerError for an unknown mix."""
    mix = find_mix(mix)
    exact = not model.has_state and not model.is_compressed
    tensors = list(_tensors(model))
    experts = max((module.experts for group in model.layers for module in group.modules if isinstance(module, Experts)), default=0)
    large = model.layer_count == 80 and model.heads_shared and model.architecture in ("LlamaForCausalLM", "Qwen2ForCausalLM")
    mixer = Mixer(mix, tensors, Shape(model.layer_count, model.attention_heads, model.kv_heads, experts, large))
    sizes: Counter[int] = Counter()
    ends = {Kind.EMBEDDING: 0, Kind.OUTPUT: 0}
    for tensor in tensors:
        size = tensor_bytes(mixer.type_of(tensor), tensor.shape)
        if tensor.layer >= 0:
            sizes[tensor.layer] += size
        else:
            ends[Kind.EMBEDDING if tensor.kind is Kind.EMBEDDING else Kind.OUTPUT] += size
    tied = ends[Kind.EMBEDDING] if mixer.tied and not model.pooling else 0
    return GgufModel(
        name=model.name,
        mix=mix,
        layer_bytes=tuple(sizes[layer] for layer in range(model.layer_count)),
        input_bytes=ends[Kind.EMBEDDING],
        output_bytes=ends[Kind.OUTPUT] + tied,
        file_bytes=sum(sizes.values()) + sum(ends.values()),
        caches=tuple(Counter(cache for group in model.layers for cache in group.caches for _ in group.indices).items()),
        hidden=model.hidden_size,
        vocab=model.vocab_size,
        heads=model.attention_heads,
        query_width=model.attention_heads * model.head_dim,
        kv_width=model.kv_heads * model.head_dim,
        ffn_width=max(model.experts_per_token * model.expert_intermediate, 0) or model.intermediate_size,
        max_context=model.max_position_embeddings,
        mmproj_bytes=sum(_plain_bytes(module) for module in model.tower),
        mmproj_compute_bytes=_vision_compute_bytes(model),
        architecture=model.architecture,
        fused_qkv=model.architecture.startswith(_FUSED_QKV),
        family=model.family,
        pooling=model.pooling,
        exact=exact,
    )


WARMUP_PATCHES = (46 * 2) ** 2  # the image it allocates for at start: at most 46 x 46 tokens of 2 x 2 patches (tools/mtmd/clip.cpp set_warmup_n_tokens)


def _vision_compute_bytes(model: ModelSpec) -> int:
    """The projector's buffer for the image of its warm-up, in 32 bits: a block's feed-forward, queries, keys and values. Larger images take more."""
    if (vision := model.vision) is None:
        return 0
    return min(vision.max_patches, WARMUP_PATCHES) * (vision.intermediate_size + 3 * vision.hidden_size) * 4


def _plain_bytes(module: Module) -> int:
    """A module of the vision projector: matrices in 16 bits, vectors in 32 (convert_hf_to_gguf.py --mmproj)."""
    return sum(
        tensor_bytes("F16" if len(tensor.shape) > 1 and tensor.kind is not Kind.WIDE else "F32", tensor.shape) for tensor in _split(module, -1, _Fused())
    )


def _tensors(model: ModelSpec) -> Iterator[GgufTensor]:
    """All tensors of the text model, layer by layer."""
    fused = _Fused(model.architecture.startswith(_FUSED_QKV), model.architecture.startswith(_FUSED_UP))
    for module in (*model.first, *model.every, *model.last):
        yield from _split(module, -1, fused)
    by_layer = {index: group for group in model.layers for index in group.indices}
    for layer in range(model.layer_count):
        for module in by_layer[layer].modules:
            yield from _split(module, layer, fused)


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
            names = (Kind.GATE, Kind.UP)[2 - module.shards :]
            for kind in names:
                yield GgufTensor(kind, (module.experts, module.intermediate, module.hidden), layer)
            yield GgufTensor(Kind.DOWN, (module.experts, module.hidden, module.intermediate), layer)
            if module.bias:
                yield GgufTensor(Kind.WIDE, (module.experts, module.shards * module.intermediate + module.hidden), layer)
        case Linear():
            yield from _linear(module, layer, fused)


def _linear(module: Linear, layer: int, fused: _Fused) -> Iterator[GgufTensor]:
    rows, columns = [axis.size for axis in module.outputs], module.inputs.size
    for kind, height in _parts(module, rows, fused):
        yield GgufTensor(kind, (height, columns), layer)
    if module.bias:
        yield GgufTensor(Kind.WIDE, (sum(rows),), layer)


def _parts(module: Linear, rows: list[int], fused: _Fused) -> Iterable[tuple[Kind, int]]:
    """The tensors of a matrix with their heights; what vLLM fuses lies apart in the file, unless the checkpoint had it fused."""
    match module.role:
        case Role.QKV:
            return _fusable((Kind.Q, Kind.K, Kind.V), Kind.QKV, rows, fused=fused.qkv)
        case Role.GATE_UP:
            return _fusable((Kind.GATE, Kind.UP), Kind.UP, rows, fused=fused.up)
        case Role.DELTA:  # q, k, v as one tensor, the gate as another
            return [(Kind.QKV, sum(rows[:3])), (Kind.OTHER, rows[3])]
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
    count = len(kinds)
    own = [(together, sum(rows[:count]))] if fused else list(zip(kinds, rows[:count], strict=True))
    return own + [(Kind.OTHER, height) for height in rows[count:]]


def from_header(header: Header, name: str, mmproj: Header | None = None) -> GgufModel:
    """A GGUF file as its own header describes it. Raises PlannerError where that does not tell the shape."""
    layers = header.integer("block_count")
    hidden, heads = header.integer("embedding_length"), header.integer("attention.head_count")
    if not (layers and hidden and heads and layers <= len(header.tensors)):
        raise PlannerError(f"{name}: the header does not tell layers, width and heads", "is it a whole model, not a part or a vision projector?")
    by_layer: Counter[int] = Counter()
    ends = {"input": 0, "output": 0}
    for tensor in header.tensors:
        first, _, rest = tensor.name.partition(".")
        if first == "blk" and (number := rest.partition(".")[0]).isdigit() and int(number) < layers:
            by_layer[int(number)] += tensor.bytes
        else:
            ends["input" if first.endswith("token_embd") else "output"] += tensor.bytes
    tied = 0 if any(tensor.name == "output.weight" for tensor in header.tensors) else ends["input"]
    head_dim = header.integer("attention.key_length") or hidden // heads
    kv_heads = header.integer("attention.head_count_kv") or heads
    experts = header.integer("expert_used_count") * header.integer("expert_feed_forward_length")
    vocab = next((tensor.shape[0] for tensor in header.tensors if tensor.name == "token_embd.weight"), 0)
    return GgufModel(
        name=name,
        mix="file",
        layer_bytes=tuple(by_layer[layer] for layer in range(layers)),
        input_bytes=ends["input"],
        output_bytes=ends["output"] + tied,
        file_bytes=sum(by_layer.values()) + sum(ends.values()),
        caches=_header_caches(header, layers, kv_heads, head_dim),
        hidden=hidden,
        vocab=vocab,
        heads=heads,
        query_width=heads * head_dim,
        kv_width=kv_heads * head_dim,
        ffn_width=experts or header.integer("feed_forward_length"),
        max_context=header.integer("context_length", 4096) or 4096,
        mmproj_bytes=sum(tensor.bytes for tensor in mmproj.tensors) if mmproj else 0,
        architecture=header.architecture,
        fused_qkv=any("attn_qkv" in tensor.name for tensor in header.tensors),
    )


def _header_caches(header: Header, layers: int, kv_heads: int, head_dim: int) -> tuple[tuple[Attention, int], ...]:
    """The caches of all layers: of those with key-value heads, some with a window where the file says which."""
    latent = header.integer("attention.kv_lora_rank")
    if latent:
        return ((LatentAttention(latent_dim=latent, rope_dim=header.integer("rope.dimension_count")), layers),)
    value_dim = header.integer("attention.value_length") or head_dim
    window, pattern = header.integer("attention.sliding_window"), header.metadata.get(f"{header.architecture}.attention.sliding_window_pattern")
    windowed = _windowed(header.architecture, pattern, layers) if window else [False] * layers
    counted: Counter[Attention] = Counter()
    held = header.by_layer("attention.head_count_kv", layers)
    for layer in range(layers):
        heads = (held[layer] or (0 if any(held) else kv_heads)) if len(held) == layers else kv_heads
        if not heads:
            continue
        if windowed[layer]:
            counted[SlidingWindow(kv_heads=heads, head_dim=head_dim, head_dim_v=value_dim, window=window)] += 1
        else:
            counted[FullAttention(kv_heads=heads, head_dim=head_dim, head_dim_v=value_dim)] += 1
    return tuple(counted.items())


_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "gpt-oss": 2, "exaone4": 4}  # n-th layer is full (src/models/*.cpp set_swa_pattern)


def _windowed(architecture: str, pattern: object, layers: int) -> list[bool]:
    """Which layers have a window: by the file's own list or number, else by the architecture's rule, else all."""
    if isinstance(pattern, list) and len(pattern) >= layers:
        return [bool(value) for value in pattern[:layers]]
    every = pattern if isinstance(pattern, int) and pattern > 0 else _EVERY.get(architecture, 0)
    return [not every or (layer + 1) % every != 0 for layer in range(layers)]

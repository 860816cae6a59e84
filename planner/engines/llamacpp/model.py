"""A model as llama.cpp holds it: tensors of a GGUF file by layer, from a config's shapes and a mix, or from a file's own header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate

from planner.engines.llamacpp.flow import Flow
from planner.engines.llamacpp.flows import flows_of
from planner.engines.llamacpp.ggml import MIXES, Kind, Mixer, Shape, tensor_bytes
from planner.engines.llamacpp.layers import EXPERTS, Layer, Part
from planner.engines.llamacpp.projector import warmup_bytes
from planner.engines.llamacpp.tensors import layer_inputs, plain_bytes, tensors_of
from planner.errors import PlannerError, did_you_mean
from planner.facts.attention import Attention, ChunkedLocal, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts, Linear, Role
from planner.facts.record import dataclass


@dataclass(frozen=True, kw_only=True)
class GgufModel:
    """What decides llama.cpp's memory. Bytes are the file's; `input_bytes` (token embeddings) stay in main memory.

    `output_bytes` are the head and the last norm; a tied head is a second copy of the embeddings, on the GPU.
    """

    name: str
    mix: str
    layers: tuple[Layer, ...]
    input_bytes: int
    output_bytes: int
    file_bytes: int
    hidden: int
    vocab: int
    heads: int
    query_width: int
    max_context: int
    gated_query: bool = False  # queries come with a gate as wide (Qwen3-Next, Qwen3.5)
    borrowed: tuple[tuple[int, Attention], ...] = ()  # layers that read the cache of the last layer that keeps such a one
    layer_inputs: int = 0  # per-layer embeddings of a token, of all layers (Gemma 3n, the small ones of Gemma 4)
    tied_bytes: int = 0  # of the output that are the token embeddings once more
    predicting_bytes: int = 0  # layers that predict further tokens (MTP), loaded where a command asks for them
    mmproj_bytes: int = 0
    mmproj_compute_bytes: int = 0  # for an image of WARMUP_TOKENS, or the largest that it takes
    mmproj_patches: int = 0  # of the largest image that it takes
    architecture: str = ""
    flows: tuple[Flow, ...] = ()  # what each layer computes
    positions: int = 1  # of a token: several where an image's rows and columns have their own
    deep: int = 0  # values that arrive beside a hidden state for the first layers (features of images, zeros for text)
    family: str = ""
    pooling: bool = False
    has_logits: bool = True  # a graph makes them, for embedding too, whose pooled states come beside them: of encoders none does
    weights_error_permille: int = 0  # how far files lie from these sizes, where the mix is not the quantizer's
    exact: bool = True  # every tensor's kind is known, so the mix is the quantizer's own

    @property
    def layer_count(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @cached_property
    def layer_bytes(self) -> tuple[int, ...]:
        """Weights of each layer."""
        return tuple(layer.bytes for layer in self.layers)

    @cached_property
    def caches(self) -> tuple[tuple[Attention, int], ...]:
        """Each kind of cache and of how many layers."""
        return tuple(Counter(cache for layer in self.layers for cache in layer.caches).items())

    @cached_property
    def bytes_before(self) -> tuple[int, ...]:
        """Weights of all layers before each, and before the output: a placement is evaluated thousands of times."""
        return tuple(accumulate(self.layer_bytes, initial=0))

    @cached_property
    def caches_before(self) -> tuple[tuple[int, ...], ...]:
        """Of all layers before each, and before the output, how many keep each kind of `caches`."""
        counts = [[0] * len(self.caches)]
        numbers = {cache: number for number, (cache, _) in enumerate(self.caches)}
        for layer in self.layers:
            counts.append(list(counts[-1]))
            for cache in layer.caches:
                counts[-1][numbers[cache]] += 1
        return tuple(map(tuple, counts))

    @cached_property
    def kv_width(self) -> int:
        """Keys of a token in the widest layer."""
        kinds = [cache for layer in self.layers for cache in layer.caches if isinstance(cache, FullAttention | SlidingWindow)]
        return max((cache.kv_heads * cache.head_dim for cache in kinds), default=0)

    @cached_property
    def has_state(self) -> bool:
        """Whether any layer keeps a recurrent state."""
        return any(isinstance(cache, RecurrentState) for layer in self.layers for cache in layer.caches)

    @cached_property
    def alike(self) -> tuple[int, ...]:
        """Of each layer the first that is like it: to look one up by a number costs a fraction of what its parts cost."""
        first: dict[Layer, int] = {}
        return tuple(first.setdefault(layer, index) for index, layer in enumerate(self.layers))

    @cached_property
    def has_experts(self) -> bool:
        """Whether any layer has experts of which a token uses some."""
        return any(layer.bytes_of(EXPERTS) for layer in self.layers)


EXPERTS_STAY = "GptOssForCausalLM"  # whose experts keep their maker's MXFP4 in every mix
_PLACED_BY_IMAGE = ("Qwen2VL", "Qwen2_5_VL", "Qwen3VL", "Qwen3_5", "Glm4v")
_WHOLE = "Phi3"  # whose windows llama.cpp reads off a file and disables, as it warns (#13676)
_IMAGE_POSITIONS = 4  # of a token (src/llama-hparams.cpp n_pos_per_embd)
_DEEP_LEVELS = 3  # of Qwen3-VL's tower (src/models/qwen3vl.cpp n_deepstack_layers)


def find_mix(name: str) -> str:
    """A mix by name in any case. Raises PlannerError with the nearest."""
    wanted = name.upper()
    if wanted not in MIXES:
        raise PlannerError(f"the GGUF quantization {name!r} is not known", did_you_mean(wanted, MIXES) or f"known: {', '.join(MIXES)}")
    return wanted


def has_head(model: ModelSpec) -> bool:
    """Whether llama.cpp loads a head of a model, for embedding too: of BERT's kin none, of others the embeddings once more where a file has none.

    Qwen3-Reranker-0.6B in Q8_0 is 603.87 MiB on the GPU beside 157.37 of token embeddings, EmbeddingGemma 311.97 beside 204.00 (public logs of llama-server
    and Ollama 0.32.14 on MI355X).
    """
    return not model.is_encoder or model.architecture == "Gemma3TextModel"


def converted(model: ModelSpec, mix: str) -> GgufModel:
    """The GGUF file that llama.cpp makes of a 16-bit model. Raises PlannerError for an unknown mix."""
    mix = find_mix(mix)
    exact = not model.has_state and not model.is_compressed
    tensors = list(tensors_of(model))
    experts = max((module.experts for group in model.layers for module in group.modules if isinstance(module, Experts)), default=0)
    large = model.layer_count == 80 and model.heads_shared and model.architecture in ("LlamaForCausalLM", "Qwen2ForCausalLM")
    stay = model.architecture == EXPERTS_STAY
    mixer = Mixer(mix, tensors, Shape(model.layer_count, model.attention_heads, model.kv_heads, experts, large, stay))
    parts: tuple[Counter[Part], ...] = tuple(Counter() for _ in range(model.layer_count))
    ends, tokens = {Kind.EMBEDDING: 0, Kind.OUTPUT: 0}, 0
    for tensor in tensors:
        size = tensor_bytes(mixer.type_of(tensor), tensor.shape)
        if tensor.layer >= 0:
            parts[tensor.layer][tensor.part] += size
        else:
            tokens = tokens or (size if tensor.kind is Kind.EMBEDDING else 0)
            ends[Kind.EMBEDDING if tensor.kind is Kind.EMBEDDING else Kind.OUTPUT] += size
    tied = tokens if mixer.tied and has_head(model) else 0  # embeddings for each layer, which some have, are looked up only
    caches = {index: tuple(_kept(model, cache) for cache in group.caches) for group in model.layers for index in group.indices}
    borrowed = tuple(_borrowed(model))
    return GgufModel(
        name=model.name,
        mix=mix,
        layers=tuple(Layer(tuple(held.items()), tuple(caches.get(layer, ()))) for layer, held in enumerate(parts)),
        input_bytes=ends[Kind.EMBEDDING],
        output_bytes=ends[Kind.OUTPUT] + tied,
        tied_bytes=tied,
        file_bytes=sum(held.total() for held in parts) + sum(ends.values()),
        hidden=model.hidden_size,
        vocab=model.vocab_size,
        heads=model.attention_heads,
        query_width=(queries := _query_width(model)),
        gated_query=_widest(model, (Role.QKV,)) == 2 * queries,
        borrowed=borrowed,
        layer_inputs=layer_inputs(model),
        max_context=model.max_position_embeddings,
        mmproj_bytes=sum(plain_bytes(module) for module in model.tower),
        mmproj_compute_bytes=warmup_bytes(model),
        mmproj_patches=model.vision.max_patches if model.vision else 0,
        architecture=model.architecture,
        flows=flows_of(model, {**caches, **{layer: (cache,) for layer, cache in borrowed}}),
        positions=_IMAGE_POSITIONS if model.architecture.startswith(_PLACED_BY_IMAGE) else 1,
        deep=model.hidden_size * _DEEP_LEVELS if model.architecture.startswith("Qwen3VL") else 0,
        family=model.family,
        pooling=model.pooling,
        has_logits=not model.is_encoder,
        exact=exact,
    )


_LATENT_IN_LIBRARY = ("deepseek-v3.1",)  # of August 2025; the tags of DeepSeek-V2, V3 and R1 are older


def in_library(model: ModelSpec) -> ModelSpec:
    """A model as Ollama's library has it: files of DeepSeek that were made before llama.cpp kept latent vectors keep keys and values of every head.

    A log of deepseek-r1:671b by Ollama 0.5.7 has 39,040 MiB for 8,192 tokens; one of deepseek-coder-v2 by 0.32.13 has them still.
    """
    return model if model.name in _LATENT_IN_LIBRARY else by_heads(model)


def by_heads(model: ModelSpec) -> ModelSpec:
    """A model of DeepSeek's with keys and values of every head in its cache, eighteen times as much of V3 as MLA's latent vector, of V2 nine.

    Source: llama.cpp #12801 (15 April 2025): before it there was nothing else, and files made before have no matrices for it.
    """
    if model.architecture not in ("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"):
        return model
    heads = model.attention_heads
    groups = []
    for group in model.layers:
        outs = (row.inputs.size for row in group.modules if isinstance(row, Linear) and row.role is Role.ATTENTION_OUTPUT)
        values = next(outs, 0) // heads
        caches = (
            FullAttention(kv_heads=heads, head_dim=values + cache.rope_dim, head_dim_v=values) if isinstance(cache, LatentAttention) else cache
            for cache in group.caches
        )
        groups.append(replace(group, caches=tuple(caches)))
    return replace(model, layers=tuple(groups))


def _kept(model: ModelSpec, cache: Attention) -> Attention:
    """A cache as llama.cpp keeps it: chunks as a window, Cohere's window without the token itself (src/llama-hparams.h n_swa), Phi-3's whole."""
    if isinstance(cache, SlidingWindow) and model.architecture.startswith(_WHOLE):
        return FullAttention(kv_heads=cache.kv_heads, head_dim=cache.head_dim, head_dim_v=cache.head_dim_v)
    if isinstance(cache, ChunkedLocal):
        return SlidingWindow(kv_heads=cache.kv_heads, head_dim=cache.head_dim, head_dim_v=cache.head_dim_v, window=cache.chunk)
    if isinstance(cache, SlidingWindow) and model.architecture.startswith("Cohere2"):
        return replace(cache, window=cache.window - 1)
    return cache


def _widest(model: ModelSpec, roles: Sequence[Role]) -> int:
    """The most first outputs of a layer's matrices of some roles; 0 where there are none."""
    linears = (module for group in model.layers for module in group.modules if isinstance(module, Linear) and module.role in roles)
    return max((module.outputs[0].size for module in linears), default=0)


def _query_width(model: ModelSpec) -> int:
    """Queries of a token, of the widest heads where layers differ in them; with MLA what attention puts out."""
    if model.is_latent:
        linears = (module for group in model.layers for module in group.modules if isinstance(module, Linear) and module.role is Role.ATTENTION_OUTPUT)
        return max((module.inputs.size for module in linears), default=0)
    return model.attention_heads * max((cache.head_dim for cache in model.caches if isinstance(cache, FullAttention | SlidingWindow)), default=model.head_dim)


def _borrowed(model: ModelSpec) -> Iterator[tuple[int, Attention]]:
    """Layers with queries and no keys (Gemma 3n, the small ones of Gemma 4), each with the cache that its place among full layers and windows gives it."""
    kept = {layer: cache for group in model.layers for cache in group.caches if isinstance(cache, FullAttention | SlidingWindow) for layer in group.indices}
    full = sorted(layer for layer, cache in kept.items() if isinstance(cache, FullAttention))
    window = next((cache for cache in kept.values() if isinstance(cache, SlidingWindow)), None)
    for group in model.layers:
        if group.caches or len(full) < 2 or window is None or not any(isinstance(own, Linear) and own.role is Role.QUERY for own in group.modules):
            continue
        for layer in group.indices:
            yield layer, window if (layer - full[0]) % (full[1] - full[0]) else kept[full[0]]


_AS_WIDE = ("Q8_0", "F16", "BF16", "F32")
_OTHERS_PERMILLE = 55


def of_somebody(model: GgufModel) -> GgufModel:
    """A file of any publisher: what a state reads and writes has more bits with some, as a log and files' sizes tell.

    Q4_K_M of Qwen3.6 27B takes 1.7 % more from Unsloth, of Qwen3.5 9B 5.2 % more from bartowski; Q2_K of Qwen3.5 27B 2 % less; 8 bits and more as much.
    """
    is_others = model.exact or model.weights_error_permille or model.mix in _AS_WIDE
    return model if is_others else replace(model, weights_error_permille=_OTHERS_PERMILLE)

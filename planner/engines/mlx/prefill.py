"""The peak that MLX takes while it reads a prompt: activations of a step, scores of attention where no fused kernel covers them, the mask.

Sources: mlx 0.32 backend/metal/scaled_dot_product_attention.cpp (use_fallback), fast.cpp (the fallback's graph), mlx-lm 0.32.2 models/base.py and
models/cache.py, mlx-vlm 0.7.10 models/cache.py: batches have their masks as arrays, which the kernel of head size 256 on M5 does not take.
"""

from __future__ import annotations

from typing import assert_never

from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.model import LayerGroup, ModelSpec
from planner.facts.modules import Experts, Linear, Role
from planner.facts.record import dataclass
from planner.speed.estimate import is_diffusion
from planner.units import round_up

CACHE_STEP = 256
"""Tokens by which a cache grows (models/cache.py KVCache.step)."""
PREFILL_STEP = 2048
"""--prefill-step-size of both servers."""
STEPS = (2048, 1024, 512, 256)
"""What of it is tried, the fastest first."""
PROMPTS_AT_ONCE = 8
"""Prompts that both servers read together (mlx-lm --prompt-concurrency, mlx-vlm DEFAULT_PREFILL_BATCH_SIZE)."""
FUSED_HEAD_SIZES = (64, 72, 80, 96, 128)
"""Where the whole kernel is taken with an array as mask, keys as wide as values; 192 and 256 are told to be faster without."""
_CANVAS = 256  # tokens that DiffusionGemma fills at a time (its config.json's canvas_length)
_SSM_CHUNK = 256  # models/ssm.py ssm_attn: tokens that attend to each other at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Bytes beside weights and caches: optimistic, expected, conservative; the largest single buffer; on how many reports the activations rest."""

    low: int
    usual: int
    high: int
    buffer: int
    measured: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What is read: so many prompts side by side, each up to `tokens`, in steps of `step`; the cache's bits; whether their embeddings lie there whole."""

    tokens: int
    rows: int = 1
    step: int = PREFILL_STEP
    kv_bits: int = 16
    embedded: int = 0
    """Prompts whose embeddings are made before they are read (mlx-vlm)."""

    @property
    def chunk(self) -> int:
        """Tokens of one step, by which the cache grows."""
        return min(self.step, round_up(max(1, self.tokens), CACHE_STEP))

    @property
    def read(self) -> int:
        """Tokens that one step reads."""
        return min(self.step, max(1, self.tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """What the layers of a step of 2,048 tokens take, in MB: optimistic, expected, conservative; on which reports that rests."""

    mb: tuple[int, int, int]
    measured: str
    vocab_size: int = 0
    """Of a model whose logits of a step may be the larger part."""
    ssm_heads: int = 0
    """Of Mamba2."""
    stream_width: int = 0
    """Values of a token's hidden state in all layers, where they lie there together with the logits."""
    whole: int = PREFILL_STEP
    """Tokens from which on a step takes all of it."""

    def bytes(self, read: int) -> tuple[int, int, int]:
        """Those of a step that reads so many tokens."""
        low, usual, high = (size * 1_000_000 for size in self.mb)
        scores = _MAMBA_COPIES * self.ssm_heads * _SSM_CHUNK * read * 4
        logits = self.vocab_size * PREFILL_STEP * 2
        if self.stream_width:
            usual += logits + 2 * PREFILL_STEP * self.stream_width
            low, high = max(low, usual * 2 // 5), max(high, usual + _STREAM_HIGH)
        elif logits > usual:
            high = max(high, logits + usual * 5 // 7)
        part = read / PREFILL_STEP
        return (
            int(low * part**_LOW_POWER) + scores * 3 // 5,
            int(usual * min(1.0, read / self.whole) ** _USUAL_POWER) + scores,
            max(int(high * part**_HIGH_POWER), _LEAST_HIGH) + scores * 7 // 5,
        )


def is_capped(model: ModelSpec) -> bool:
    """Whether its attention caps its scores, which mlx-lm composes of single operations, over whole caches in every layer (models/gemma2.py)."""
    return model.architecture.startswith("Gemma2")


# Whose latent is expanded before it is kept, so that the cache holds keys and values of every head (mlx-lm models/deepseek_v2.py, mlx-vlm models/kimi_vl
# and deepseek_vl_v2); the classes of DeepSeek V3 and later keep the latent, mlx-lm's kimi_vl.py too.
_EXPANDED = {"mlx-lm": ("DeepseekV2",), "mlx-vlm": ("DeepseekV2", "DeepseekVLV2", "KimiVL")}
# Whose windows no class reads, where all layers have them: these have no make_cache, so each layer's is a KVCache (models/cache.py make_prompt_cache).
_WITHOUT_WINDOWS = ("Mistral", "Mixtral", "Phi3", "PhiMoE", "Qwen2", "Starcoder2")


def kept(model: ModelSpec, group: LayerGroup, engine: str = "mlx-lm") -> tuple[Attention, ...]:
    """The caches of a layer as MLX keeps them."""
    if model.architecture.startswith(_EXPANDED[engine]):
        return tuple(_expanded(model, group, cache) if isinstance(cache, LatentAttention) else cache for cache in group.caches)
    if is_capped(model) or (model.architecture.startswith(_WITHOUT_WINDOWS) and all(isinstance(cache, SlidingWindow) for cache in model.caches)):
        return tuple(_whole(cache) if isinstance(cache, SlidingWindow) else cache for cache in group.caches)
    return group.caches


# Whose classes in mlx-vlm 0.7.10 have no make_cache, of those that keep whole caches; most others have one.
_CUT_IN_VLM = ("Qwen2VL", "Qwen2_5_VL", "Qwen3VL", "Qwen2For", "Qwen3For")


def is_cut(model: ModelSpec, engine: str) -> bool:
    """Whether a program of one conversation cuts its caches at --max-kv-size: where its class makes none of its own (models/cache.py make_prompt_cache)."""
    if engine == "mlx-vlm" and not model.architecture.startswith(_CUT_IN_VLM):
        return False
    caches = (cache for group in model.layers for cache in kept(model, group))
    return all(isinstance(cache, FullAttention) or (isinstance(cache, LatentAttention) and not cache.index_dim) for cache in caches)


def _whole(cache: SlidingWindow) -> FullAttention:
    return FullAttention(kv_heads=cache.kv_heads, head_dim=cache.head_dim, head_dim_v=cache.head_dim_v)


def _expanded(model: ModelSpec, group: LayerGroup, cache: LatentAttention) -> FullAttention:
    """Keys and values of all heads that a latent is expanded to."""
    linears = [module for module in group.modules if isinstance(module, Linear)]
    heads = model.attention_heads
    values = next(module.inputs.size for module in linears if module.role is Role.ATTENTION_OUTPUT) // heads
    both = (
        next(sum(axis.size for axis in module.outputs) for module in linears if module.role is Role.LATENT and module.inputs.size == cache.latent_dim) // heads
    )
    return FullAttention(kv_heads=heads, head_dim=both - values + cache.rope_dim, head_dim_v=values)


def peak(model: ModelSpec, prompts: Prompts) -> Peak:
    """The peak of reading prompts."""
    return Layers.of(model).peak(prompts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What of a model decides its peak, looked up once: kinds of cache with the layers that keep each, and what a step's activations take."""

    model: ModelSpec
    kinds: tuple[tuple[Attention, int], ...]
    last: tuple[Attention, ...]
    """The caches of the last layer."""
    activations: Activations

    @classmethod
    def of(cls, model: ModelSpec, engine: str = "mlx-lm") -> Layers:
        """The layers of a model as a server's classes keep them."""
        counts: dict[Attention, int] = {}
        for group in model.layers:
            for cache in kept(model, group, engine):
                counts[cache] = counts.get(cache, 0) + len(group.indices)
        last = next((kept(model, group, engine) for group in model.layers if model.layer_count - 1 in group.indices), ())
        return cls(model=model, kinds=tuple(counts.items()), last=last, activations=_activations(model))

    def peak(self, prompts: Prompts) -> Peak:
        """The peak of reading prompts."""
        low, usual, high = self.activations.bytes(prompts.read)
        scores = [_scores(self.model, cache, count, prompts) for cache, count in self.kinds] or [(0, 0, 0, 0)]
        mask = prompts.rows * prompts.chunk * prompts.tokens if self.kinds else 0
        inputs = prompts.embedded * prompts.tokens * self.model.hidden_size * 2
        low, usual, high = (prompts.rows * size for size in (low, usual, high))
        grown = max((_grown(cache, prompts) for cache, _ in self.kinds), default=0)
        canvas = _canvas(self.model)
        return Peak(
            low=max(low + max(row[0] for row in scores), grown, canvas[0]),
            usual=max(usual + max(row[1] for row in scores) + mask, usual // 2 + grown, canvas[1]) + inputs,
            high=max(high + max(row[2] for row in scores) + 2 * mask, high // 2 + grown + mask, canvas[2]) + 2 * inputs,
            buffer=max(mask, *(row[3] for row in scores)),
            measured=self.activations.measured,
        )


def _canvas(model: ModelSpec) -> tuple[int, int, int]:
    """What a denoising step of a diffusion model takes: optimistic, expected, conservative. None for any other.

    The scores of the vocabulary for a canvas of 256 tokens, 64 at least (mlx-vlm 0.7.10 generate/diffusion.py), as the head gives them in 16 bits, and in
    32 bits capped, divided by the temperature and as probabilities: 14 bytes each. A report of 16 bits leaves 14 at most (Blaizzy/mlx-vlm#1357), one of
    4 bits 18 and the embedding in 16 bits, which releases before July 2026 expanded: 40.
    """
    if not is_diffusion(model.architecture):
        return 0, 0, 0
    scores = _CANVAS * model.vocab_size
    return scores // 4 * 6, scores * 14, scores * 44


def _grown(cache: Attention, prompts: Prompts) -> int:
    """What growing caches hold twice: a longer cache is made beside the one before it (models/cache.py), of one layer while the next's is made too.

    Peaks of four models at 16,384 to 131,072 tokens are two layers' keys and values and 0.2 to 0.4 GB (mlx_lm.benchmark, guruswami-ai/mlx-benchmarks).
    """
    if not isinstance(cache, FullAttention):
        return 0
    bits = 16 if prompts.kv_bits == 16 else prompts.kv_bits + 1
    return 2 * prompts.rows * prompts.tokens * cache.kv_heads * (cache.head_dim + cache.head_dim_v) * bits // 8


def _scores(model: ModelSpec, cache: Attention, count: int, prompts: Prompts) -> tuple[int, int, int, int]:
    """Scores of a step against what a cache holds: optimistic, expected, conservative, the largest buffer.

    16 bits each, in place from the product to the softmax: of 27 peaks of 8,192 to 196,608 tokens 2.0 bytes, 2.1 at most. Where layers follow each
    other that all build them, two layers' may be there at once, as with DeepSeek V3's (ml-explore/mlx-lm#839: 1.25 MB a token, a step of 2,048).
    """
    heads, follows = model.attention_heads, 2 * count > model.layer_count
    whole = prompts.rows * heads * prompts.chunk * 2
    match cache:
        case FullAttention() if is_capped(model):
            one = whole * prompts.tokens
            return one * 9 // 5, 2 * one, one * 12 // 5, one
        case FullAttention() | ChunkedLocal() | CrossAttention():
            if prompts.kv_bits == 16 and is_fused(cache.head_dim, cache.head_dim_v):
                return 0, 0, 0, 0
            return _built(whole * prompts.tokens, follows=follows)
        case SlidingWindow():
            if is_fused(cache.head_dim, cache.head_dim_v):
                return 0, 0, 0, 0
            return _built(whole * min(prompts.tokens, cache.window - 1 + prompts.chunk), follows=follows)
        case LatentAttention(index_dim=index_dim) if index_dim:
            return 0, 0, 0, 0
        case LatentAttention():
            one = whole * prompts.tokens  # the rotated part's, which is the mask of the rest's
            expanded = prompts.rows * heads * 2 * model.head_dim * prompts.tokens * 2  # keys and values of all heads
            usual = 2 * (one + expanded)
            return usual * 3 // 4, usual, usual * 5 // 4, one
        case CompressedCache():
            keys = min(prompts.tokens, cache.window + prompts.chunk) if cache.window else prompts.tokens // cache.tokens_per_entry
            return _built(whole * keys, follows=True)
        case RecurrentState():
            return 0, 0, 0, 0
        case _:
            assert_never(cache)


def _built(size: int, *, follows: bool) -> tuple[int, int, int, int]:
    return size, size, size * 23 // 10 if follows else size * 21 // 20, size


def is_fused(head_dim: int, head_dim_v: int) -> bool:
    """Whether Metal's kernel attends without building the scores."""
    return head_dim == head_dim_v and head_dim in FUSED_HEAD_SIZES


# MLX holds what the commands that it has sent ahead will read: all of a short step, a window of a long one. So a step takes less than in proportion to
# its tokens: of ten models mlx_lm.benchmark at 512 tokens says 0.32 to 0.89 of what it says at 2,048, at 128 tokens 0.10 to 0.32
# (defai-digital/ax-engine), and of prompts of 5 to 40 tokens mlx_lm.generate says 0.01 to 0.07 GB, of one of 102 tokens 0.02 and 0.05 (dflash-mlx).
_LOW_POWER, _USUAL_POWER, _HIGH_POWER = 1.5, 0.75, 0.35
# Activations of a step of 2,048 tokens, in MB: what published peaks leave after weights, caches and scores (tests/data/mlx_peaks.yaml, mlx_cases.yaml).
# Attention: whatever the model's size and bits, and all of it from 1,024 tokens on: of 30 models 0.32 to 0.57 GB at 512, of seven 0.43 to 0.72 at 1,024
# and 0.45 to 1.14 at 4,096 and 8,192 (enescingoz/mac-llm-bench on M1, M2 Max, M5; guruswami-ai/mlx-benchmarks on M3 Ultra).
_ATTENTION = (420, 700, 1150), "110 reports on M1 to M5"
_ATTENTION_WHOLE = 1024
# Gated delta rule, dense: the hidden states of a step in all layers and its logits too, as mlx_lm.benchmark says of Qwen3.5 0.8B, 4B and 27B; servers
# of others stay below.
_DELTA = (100, 400, 900), "47 reports of mlx-lm 0.31 on M3 Ultra, M4 Pro and M5 Max"
_STREAM_HIGH = 550_000_000  # of 47 reports the residuals are -0.55 to 0.45 GB where a step makes 0.5 to 4 GB
_DELTA_EXPERTS = (600, 1450, 1900), "11 reports on M5 Max and M2 Max"  # with experts: Qwen3.6 35B-A3B
_CONVOLUTION = (150, 280, 600), "2 reports on M2 Pro, another server"  # LFM2's short convolutions
_LEAST_HIGH = 300_000_000  # of a prompt of 92 tokens too: 15.6 GB where weights and cache are 15.3
_MAMBA = "1 report on M2 Ultra"
_MAMBA_COPIES = 17  # of a chunk's scores in 32 bits, for a step: granite-4.0-h-small (ml-explore/mlx-lm#525)


def _activations(model: ModelSpec) -> Activations:
    """What the layers of a step take, proportional to its tokens; the logits of a step where a large vocabulary makes them larger."""
    mixers = [group for group in model.layers if any(isinstance(cache, RecurrentState) for cache in group.caches)]
    if heads := max(map(_mamba_heads, mixers), default=0):
        return Activations(mb=_ATTENTION[0], measured=_MAMBA, ssm_heads=heads)
    if any(_is_delta(group) for group in mixers):
        has_experts = any(isinstance(module, Experts) for group in model.layers for module in group.modules)
        if has_experts:
            return Activations(mb=_DELTA_EXPERTS[0], measured=_DELTA_EXPERTS[1])
        return Activations(mb=_DELTA[0], measured=_DELTA[1], vocab_size=model.vocab_size, stream_width=model.hidden_size * model.layer_count)
    if mixers:
        return Activations(mb=_CONVOLUTION[0], measured=_CONVOLUTION[1])
    return Activations(mb=_ATTENTION[0], measured=_ATTENTION[1], vocab_size=model.vocab_size, whole=_ATTENTION_WHOLE)


def _is_delta(group: LayerGroup) -> bool:
    """Whether a layer follows the gated delta rule, or another with a matrix of each head that a kernel of its own updates."""
    return _state_heads(group) > 0 and not _mamba_heads(group)


def _mamba_heads(group: LayerGroup) -> int:
    """Heads of a Mamba2 layer, whose prompt is read by products of whole chunks; 0 for any other."""
    is_delta = any(isinstance(module, Linear) and module.role is Role.DELTA for module in group.modules)
    return 0 if is_delta else _state_heads(group, "ssm")


def _state_heads(group: LayerGroup, name: str = "") -> int:
    """Heads of the state that a layer keeps; 0 where it keeps none but the last inputs of a convolution."""
    states = (tensor for cache in group.caches if isinstance(cache, RecurrentState) for tensor in cache.tensors)
    return max((tensor.axes[0].size for tensor in states if len(tensor.axes) > 2 and name in ("", tensor.name)), default=0)

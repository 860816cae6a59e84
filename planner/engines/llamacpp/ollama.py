"""What Ollama decides by itself before it starts llama-server: context, GPUs, parallel requests, batch.

Sources: ollama @fb307609 (v0.33), server/routes.go:2050 (default context), server/sched.go (one GPU or all, parallel), llm/llama_server.go
PredictServerVRAM and its batch rules; facts/runtimes.md section 2.1.
"""

from __future__ import annotations

from typing import assert_never

from planner.engines.llamacpp.builds import DEFAULT_BUILD, build_name
from planner.engines.llamacpp.ledger import LlamaCppLedger
from planner.engines.llamacpp.memory import FIT_MARGIN_BYTES, LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.units import GIB, MIB

VERSION = "0.33"
BUILD = build_name(DEFAULT_BUILD)  # of llama.cpp, which it pins
ONE_GPU_SHARE = (4, 5)  # a model goes to one GPU where its predicted size is at most 80 % of what is free there
# Architectures whose requests Ollama never runs in parallel (sched.go:507); embedding models too.
_ONE_AT_A_TIME = ("qwen3vl", "qwen35", "qwen3next", "mllama", "lfm2", "nemotronh")
# Models whose prompts Ollama renders itself (model/renderers).
_RENDERED = ("qwen3vl", "qwen35", "qwen3coder", "gemma4", "glm4moe")
_TIERS = ((47 * GIB, 262_144), (23 * GIB, 32_768), (0, 4096))
_PROJECTOR_PAD_BYTES = 24 * MIB  # what Ollama takes a projector for beyond its weights, on CUDA and Vulkan
_EMBEDDED = 2048  # tokens of a text's micro-batch that it gives models which embed (llm/llama_server.go DefaultEmbeddingNumBatch, since 0.30)
_BATCHES = ((32_768, 2048, 2 * GIB, 60), (4096, 1024, 768 * MIB, 75))  # above so many tokens: batch, what it is charged, percent of free


def default_context(total_vram_bytes: int) -> int:
    """The context where nobody sets one: by the memory of all GPUs together."""
    return next(context for least, context in _TIERS if total_vram_bytes >= least)


def parallel(model: GgufModel, wanted: int) -> int:
    """Requests at a time: what is asked, or 1 where Ollama forces it."""
    return 1 if model.pooling or _plain(model.architecture).startswith(_ONE_AT_A_TIME) else wanted


def _plain(architecture: str) -> str:
    """An architecture's name as Hugging Face or a GGUF file has it, made comparable: Qwen3_5 and qwen35 are one."""
    return architecture.lower().replace("_", "").replace("-", "")


def has_renderer(architecture: str) -> bool:
    """Whether Ollama renders the prompt of an architecture itself, not by a template that merges messages."""
    return _plain(architecture).startswith(_RENDERED)


def predicted_bytes(model: GgufModel, config: LlamaCppConfig) -> int:
    """Ollama's own prediction, which is not what llama-server takes: 16-bit cache whatever its type, hidden / heads as head size."""
    fewest = min((heads for cache, _ in model.caches if (heads := _kv_heads(cache))), default=0)
    return model.file_bytes + model.mmproj_bytes + 2 * model.layer_count * fewest * (model.hidden // model.heads) * config.context * config.parallel * 2


def _kv_heads(cache: Attention) -> int:
    """Key-value heads of a layer as Ollama counts them: one where a latent vector stands for all, none where no tokens are kept by head."""
    match cache:
        case FullAttention() | SlidingWindow() | ChunkedLocal() | CrossAttention():
            return cache.kv_heads
        case LatentAttention():
            return 1
        case CompressedCache() | RecurrentState():
            return 0
        case _:
            assert_never(cache)


def batch(predicted: int, tokens: int, free_bytes: int, *, embeds: bool = False) -> int:
    """The batch and micro-batch it sets: larger for long contexts where the surcharge fits."""
    if embeds:
        return min(_EMBEDDED, tokens)
    for above, size, surcharge, percent in _BATCHES:
        if tokens > above and (predicted + surcharge) * 100 <= free_bytes * percent:
            return size
    return 512


def gpus_used(predicted: int, free_bytes: int, count: int) -> int:
    """One GPU where 80 % of it suffice, else all of them."""
    numerator, denominator = ONE_GPU_SHARE
    return 1 if predicted * denominator <= free_bytes * numerator else count


def margin_bytes(held: LlamaCppLedger, gpu: int, *, counts_drafts: bool) -> int:
    """What the fit leaves free of a GPU beside all that lies there: less by what it does not see.

    Ollama's target is the projector's weights and 1 GiB (llm/llama_server.go mmprojFitTargetMiB), its buffer is not in it: 1,936 MiB beside a projector of
    888. What drafts is fitted together with its model since 0.33; 0.32.15 counted its weights only (public files 69522401455 and 61491255901).
    """
    share = held.gpus[gpu]
    unseen = share.mmproj_compute_bytes - (_PROJECTOR_PAD_BYTES if share.mmproj_bytes else 0)
    return FIT_MARGIN_BYTES - unseen - (0 if counts_drafts else share.draft_kv_cache_bytes + share.draft_compute_bytes)


def listed(held: LlamaCppLedger) -> tuple[int, int]:
    """The bytes that `ollama ps` shows of a model, and the percent of them on the CPU: of one with all layers whole on the GPUs only these count.

    Source: llm/llama_server.go MemorySize (of v0.33; buffers that the log names, the projector's weights are not among them), cmd/cmd.go.
    """
    on_gpus = sum(gpu.total_bytes - gpu.mmproj_bytes for gpu in held.gpus)
    size = on_gpus if held.is_whole else on_gpus + held.host.weights_bytes + held.host.kv_cache_bytes
    return size, round((size - on_gpus) * 100 / max(1, size))

"""What would make somebody's `vllm serve` command start: single changes, then pairs, each evaluated with the other flags as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planner.engines.alternatives import Market
from planner.engines.vllm.choice import Choice, Request, utilization
from planner.engines.vllm.dtypes import PLAIN_DTYPES
from planner.engines.vllm.rules import least_batch
from planner.engines.vllm.search import FEWEST_SEQS, evaluate
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.splits import cannot_split
from planner.engines.vllm.versions import VERSIONS
from planner.errors import PlannerError
from planner.facts.alternatives import Alternative
from planner.facts.verdict import Verdict
from planner.units import CONTEXT_STEP, tokens


def request_with(request: Request, config: ServeConfig) -> Request:
    """The same question with the pins that decide how a model is divided."""
    pins = replace(
        request.pins,
        dtype=config.dtype,
        data_parallel_size=config.data_parallel_size,
        enable_expert_parallel=config.enable_expert_parallel,
        vllm_version=config.vllm_version,
    )
    return replace(request, pins=pins)


def changes(request: Request, choice: Choice) -> Iterator[Alternative]:
    """Changes that make a command start for sure, smallest first: single ones, then pairs; each is evaluated. What this GPU refuses is none."""
    single = [(words, evaluated, change) for words, config, change in _single_changes(request, choice) if (evaluated := _evaluated(request, config))]
    starting = [(words, change) for words, evaluated, change in single if evaluated.verdict is Verdict.STARTS]
    yield from (Alternative(change=change, arguments=words, verdict=Verdict.STARTS) for words, change in starting)
    if starting:
        return
    for index, (words, first, change) in enumerate(single):
        done = [change for _, _, change in single[: index + 1]]
        for more_words, config, more in _single_changes(request, first):
            if more not in done and (both := _evaluated(request, config)) and both.verdict is Verdict.STARTS:
                yield Alternative(change=f"{change} and {more}", arguments=f"{words} {more_words}", verdict=Verdict.STARTS)


def published(request: Request, config: ServeConfig, market: Market) -> str:
    """The first published quantization of the model that surely starts with the same flags, in words."""
    for name, spec in market.variants:
        model = spec()
        if model.quantization in (None, request.model.quantization):
            continue
        tried = _evaluated(replace(request, model=model), replace(config, quantization=None))
        if tried is not None and tried.verdict is Verdict.STARTS:
            return f"the published {name} starts with these flags"
    return "no small change was found that makes it start"


def _evaluated(request: Request, config: ServeConfig) -> Choice | None:
    """The ledger of settings; None where this GPU refuses them or the model cannot be divided so."""
    try:
        return evaluate(request, config)
    except PlannerError:
        return None


def _single_changes(request: Request, choice: Choice) -> Iterator[tuple[str, ServeConfig, str]]:
    config = choice.config
    share, _ = utilization(request, config.tensor_parallel_size)
    if share != config.gpu_memory_utilization and config.kv_cache_memory_bytes is None:
        yield f"--gpu-memory-utilization {share:g}", replace(config, gpu_memory_utilization=share), "the share that is free at start"
    blocks = choice.conservative.kv_cache_blocks
    fewer = FEWEST_SEQS if choice.conservative.fits_states else blocks - blocks % FEWEST_SEQS or blocks  # a hybrid's sequences, one block each
    if 0 < fewer < config.max_num_seqs:
        yield f"--max-num-seqs {fewer}", replace(config, max_num_seqs=fewer), "fewer sequences at once"
    batch = max(2048, least_batch(request.model, VERSIONS[config.vllm_version]))
    if config.max_num_batched_tokens > batch and not request.model.is_encoder:
        yield f"--max-num-batched-tokens {batch}", replace(config, max_num_batched_tokens=batch), "smaller batches"
    if not config.enforce_eager:
        yield "--enforce-eager", replace(config, enforce_eager=True), "no CUDA graphs"
    if config.kv_cache_dtype in PLAIN_DTYPES and not request.model.is_encoder:
        yield "--kv-cache-dtype fp8", replace(config, kv_cache_dtype="fp8"), "an FP8 cache"
    longest = choice.conservative.longest_max_model_len
    shorter = longest - longest % CONTEXT_STEP if longest > CONTEXT_STEP else longest
    if 0 < shorter < config.max_model_len:
        yield f"--max-model-len {shorter}", replace(config, max_model_len=shorter), f"a context of {tokens(shorter)}"
    if request.model.vision is not None and not config.skip_mm_profiling:
        yield "--language-model-only", replace(config, skip_mm_profiling=True), "no images"
    for size in (2, 4, 8):
        wider = config.tensor_parallel_size * size
        if wider * config.pipeline_parallel_size <= request.group.count and not cannot_split(
            request_with(request, config), wider, config.pipeline_parallel_size
        ):
            yield f"--tensor-parallel-size {wider}", replace(config, tensor_parallel_size=wider), f"{wider} GPUs"

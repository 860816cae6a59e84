"""What would do where a wish cannot be met: changes of several kinds, by the effort they take, each planned before it is offered.

Flags first, then a smaller wish, then other weights (to download), then both, then other or further GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from planner.engines.alternatives import LEAST_OFFERED, Change, Market, both, more_gpus, offered
from planner.engines.vllm.choice import Choice, Request
from planner.engines.vllm.dtypes import PLAIN_DTYPES
from planner.engines.vllm.rules import NATIVE_FP8, ONLINE
from planner.engines.vllm.search import NARROW_CACHE, best, is_possible, kv_dtypes
from planner.engines.vllm.settings import Pins, with_settings
from planner.engines.vllm.weights import stage_weights
from planner.errors import PlannerError
from planner.facts.alternatives import Alternative, Changed
from planner.facts.config import Parallel
from planner.facts.settings import Value
from planner.facts.verdict import Verdict
from planner.units import CONTEXT_STEP, tokens

FEWEST_GPUS_OF_A_NODE = 4  # GUESS: smaller machines are given more GPUs, not a second machine


def meets(request: Request) -> bool:
    """Whether a request, planned alone, surely starts with all that is asked."""
    try:
        return is_possible(request) and _leaves_main_memory(request)
    except PlannerError:
        return False


def _leaves_main_memory(request: Request) -> bool:
    """Whether what is offloaded leaves the machine enough of its main memory, where that was told."""
    from planner.engines.vllm.plan import plan_as_asked

    asked = request.pins.cpu_offload_gb and request.group.ram_bytes
    return not asked or plan_as_asked(request, repo="", served_name="").verdict is Verdict.STARTS


def alternatives(request: Request, choice: Choice, market: Market, check: Callable[[Request], bool] = meets) -> tuple[Alternative, ...]:
    """Changes that meet the wish, each checked by planning it."""
    return offered(_changes(request, choice, market), check)


def _changes(request: Request, choice: Choice, market: Market) -> Iterator[Change[Request]]:
    yield from _freed(request)
    yield from _smaller_wishes(request, choice)
    others = list(_other_weights(request, market))
    yield from others
    lightest = sorted(others, key=lambda change: _weight(change.asked))
    yield from _with_smaller_wishes(lightest)
    yield from _more_gpus(request)
    yield from (both(change, more) for change in others for more in _more_gpus(change.asked))
    yield from _other_cards(request, market)
    yield from _more_nodes(request)


def _freed(request: Request) -> Iterator[Change[Request]]:
    """Pins that keep the planner from what would do."""
    pins = request.pins
    if pins.kv_cache_dtype in PLAIN_DTYPES and NARROW_CACHE in kv_dtypes(replace(request, pins=replace(pins, kv_cache_dtype=None))):
        yield _pinned(request, "cache", "an FP8 KV cache", kv_cache_dtype=NARROW_CACHE)
    for names, words in (
        (("gpu_memory_utilization",), "the utilization that is free at start"),
        (("enforce_eager",), "CUDA graphs left to the planner"),
        (("max_num_seqs", "max_num_batched_tokens"), "sequences and batch left to the planner"),
        (("tensor_parallel_size", "pipeline_parallel_size"), "all GPUs, divided by the planner"),
        (("kv_cache_memory_bytes",), "the KV cache sized by what is free"),
    ):
        if given := [name for name in names if getattr(pins, name) is not None]:
            yield _pinned(request, names[0], words, **dict.fromkeys(given))


def _pinned(request: Request, kind: str, words: str, **values: Value) -> Change[Request]:
    return Change(kind, words, tuple(values.items()), replace(request, pins=with_settings(request.pins, values)))


def _smaller_wishes(request: Request, choice: Choice) -> Iterator[Change[Request]]:
    """Fewer users with the asked context, and a shorter context for the asked users."""
    wanted = request.context or request.pins.max_model_len
    if request.users and request.users > 1 and (fewer := min(request.users - 1, choice.conservative.admitted_requests)) >= 1:
        words = "one user" if fewer == 1 else f"{fewer} users"
        yield Change("users", f"{words} at full length", (("users", fewer),), replace(request, users=fewer))
    longest = choice.conservative.longest_for(request.users or 1)
    shorter = longest - longest % CONTEXT_STEP
    if wanted and LEAST_OFFERED <= shorter < wanted:
        pinned = "max_model_len" if request.pins.max_model_len else "context"
        asked = replace(request, context=shorter, pins=replace(request.pins, max_model_len=None))
        yield Change("context", f"a context of {tokens(shorter)}", ((pinned, shorter),), asked)


def _other_weights(request: Request, market: Market) -> Iterator[Change[Request]]:
    """FP8 while loading, which needs no other download, and the published quantizations of the same model in the order of the catalogue."""
    native = request.group.gpu.vendor == "nvidia" and request.group.gpu.capability >= NATIVE_FP8
    if market.online and native and request.model.quantization is None and not request.model.pooling:
        pins = replace(request.pins, quantization=ONLINE)
        yield Change("online", "FP8 weights, quantized while loading", (("quantization", ONLINE),), replace(request, model=market.online(), pins=pins))
    pins = replace(request.pins, quantization=None, dtype="auto")
    dropped: Changed = (("quantization", None),) if request.pins.quantization else ()
    for name, spec in market.variants:
        if (model := spec()).quantization not in (None, request.model.quantization):
            yield Change("weights", f"the published {name}", (("model", name), *dropped), replace(request, model=model, pins=pins))


def _with_smaller_wishes(others: Sequence[Change[Request]]) -> Iterator[Change[Request]]:
    """Other weights and a smaller wish together, where neither alone would do."""
    for change in others:
        if not (change.asked.users or change.asked.context or change.asked.pins.max_model_len):
            continue
        try:
            choice = best(change.asked)
        except PlannerError:
            continue
        yield from (both(change, smaller) for smaller in _smaller_wishes(change.asked, choice))


def _weight(request: Request) -> int:
    """Bytes of a model's weights, undivided."""
    return sum(stage_weights(request.model, Parallel()))


def _more_gpus(request: Request) -> Iterator[Change[Request]]:
    group = request.group
    if group.nodes > 1 or group.gpu.unified_memory:
        return
    for words, changed, more in more_gpus(group):
        yield Change("count", words, (*changed, *_undivided(request.pins)), replace(request, group=more, pins=_free(request.pins)))


def _other_cards(request: Request, market: Market) -> Iterator[Change[Request]]:
    for gpu in market.cards() if market.cards and not request.group.cards else ():  # cards that differ have no one price
        asked = replace(request, group=replace(request.group, gpu=gpu, link_bytes_per_s=0, power_limit_w=0), pins=_free(request.pins))
        words = f"{request.group.label.replace(request.group.gpu.title, gpu.title)}, at about the same price"
        yield Change("gpu", words, (("gpu", gpu.name), *_undivided(request.pins)), asked)


def _more_nodes(request: Request) -> Iterator[Change[Request]]:
    group = request.group
    if group.per_node < FEWEST_GPUS_OF_A_NODE:
        return
    for nodes in (group.nodes * 2, group.nodes * 4):
        changed: Changed = (("nodes", nodes), *_undivided(request.pins))
        asked = replace(request, group=replace(group, nodes=nodes, count=group.per_node * nodes), pins=_free(request.pins))
        yield Change("nodes", f"{nodes} machines of {group.per_node} GPUs", changed, asked)


def _undivided(pins: Pins) -> Changed:
    return tuple((name, None) for name in ("tensor_parallel_size", "pipeline_parallel_size") if getattr(pins, name))


def _free(pins: Pins) -> Pins:
    return replace(pins, tensor_parallel_size=None, pipeline_parallel_size=None)

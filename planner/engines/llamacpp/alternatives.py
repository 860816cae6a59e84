"""What would do where a GGUF model does not fit a GPU as asked: changes of several kinds, by the effort they take, each planned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from planner.engines.alternatives import LEAST_OFFERED, Change, both, more_gpus, offered
from planner.engines.llamacpp.ask import GgufAsk
from planner.engines.llamacpp.model import converted, of_somebody
from planner.facts.alternatives import Alternative
from planner.facts.plan import Plan, longest_context
from planner.facts.verdict import Verdict
from planner.units import largest, tokens

SMALLER_MIXES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
NARROW_CACHES = ("q8_0", "q4_0")

Try = Callable[[GgufAsk], Plan]


def alternatives(ask: GgufAsk, plan: Plan, try_plan: Try) -> tuple[Alternative, ...]:
    """Changes that put the model on the GPUs as asked, least effort first; `try_plan` plans without looking for further ones."""
    return offered(_changes(ask, plan, try_plan), lambda asked: _does(try_plan(asked)))


def _does(plan: Plan) -> bool:
    """Whether it surely starts as asked."""
    return plan.verdict is Verdict.STARTS and plan.requirements_met


def _changes(ask: GgufAsk, plan: Plan, try_plan: Try) -> Iterator[Change[GgufAsk]]:
    if ask.gpu_layers is not None:
        yield from _fewer_layers(ask, ask.gpu_layers, try_plan)
    for kind in NARROW_CACHES[NARROW_CACHES.index(ask.kv_type) + 1 if ask.kv_type in NARROW_CACHES else 0 :]:
        yield Change("cache", f"a {'4' if kind == 'q4_0' else '8'}-bit KV cache", (("kv_cache_dtype", kind),), replace(ask, kv_type=kind))
    yield from _smaller_wishes(ask, plan, try_plan)
    lighter: list[Change[GgufAsk]] = []
    if ask.origin is not None and ask.model.mix in SMALLER_MIXES:
        for mix in SMALLER_MIXES[SMALLER_MIXES.index(ask.model.mix) + 1 :]:
            lighter.append(Change("weights", f"{mix} weights", (("quantization", mix),), replace(ask, model=of_somebody(converted(ask.origin, mix)), tag="")))
    yield from lighter
    for change in lighter[-2:-1]:  # 3 bits: below that a smaller model is the better answer
        yield from (both(change, smaller) for smaller in _smaller_wishes(change.asked, try_plan(change.asked), try_plan))
    for words, changed, group in more_gpus(ask.group):
        if not ask.group.gpu.unified_memory and "device" not in dict(ask.pins.by_hand):  # more cards are more names there
            yield Change("count", words, changed, replace(ask, group=group))


def _fewer_layers(ask: GgufAsk, pinned: int, try_plan: Try) -> Iterator[Change[GgufAsk]]:
    """The most layers that surely fit; the others run on the CPU."""
    fitting = largest(pinned - 1, lambda layers: try_plan(replace(ask, gpu_layers=layers)).verdict is Verdict.STARTS)
    if fitting:
        yield Change("layers", f"{fitting} layers on the GPU, the others on the CPU", (("gpu_layers", fitting),), replace(ask, gpu_layers=fitting))


def _smaller_wishes(ask: GgufAsk, plan: Plan, try_plan: Try) -> Iterator[Change[GgufAsk]]:
    def does(asked: GgufAsk) -> bool:
        return _does(try_plan(asked))

    if ask.users > 1 and (fewer := largest(ask.users - 1, lambda users: does(replace(ask, users=max(1, users))))):
        yield Change("users", "one user" if fewer == 1 else f"{fewer} users at full length", (("users", fewer),), replace(ask, users=fewer))
    wanted = ask.context or plan.context
    fitting = longest_context(wanted, lambda length: does(replace(ask, context=max(1, length))))
    if LEAST_OFFERED <= fitting < wanted:
        yield Change("context", f"a context of {tokens(fitting)}", (("context", fitting),), replace(ask, context=fitting))

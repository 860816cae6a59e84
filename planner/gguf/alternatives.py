"""What would do where a GGUF model does not fit a GPU as asked: changes of several kinds, by the effort they take, each planned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from planner.alternatives import LEAST_OFFERED, MOST_GPUS, MOST_OFFERED, Alternative, Changed
from planner.gguf.ask import GgufAsk
from planner.gguf.model import converted
from planner.local import LocalPlan, longest_context
from planner.units import largest, tokens

SMALLER_MIXES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
NARROW_CACHES = ("q8_0", "q4_0")

Try = Callable[[GgufAsk], LocalPlan]
Change = tuple[str, str, Changed, GgufAsk]  # kind, words, options, what is then asked


def alternatives(ask: GgufAsk, plan: LocalPlan, try_plan: Try) -> tuple[Alternative, ...]:
    """Changes that put the model on the GPUs as asked, least effort first, one of a kind; `try_plan` plans without looking for further ones."""
    found: dict[str, Alternative] = {}
    for kind, words, changed, asked in _changes(ask, plan, try_plan):
        first, _, more = kind.partition(" and ")
        if kind in found or (more and first in found):
            continue
        planned = try_plan(asked)
        if planned.verdict == "starts" and planned.meets_wish:
            arguments = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in changed)
            found[kind] = Alternative(change=words, arguments=arguments, verdict="starts", changed=changed)
        if len(found) == MOST_OFFERED:
            break
    return tuple(found.values())


def _changes(ask: GgufAsk, plan: LocalPlan, try_plan: Try) -> Iterator[Change]:
    if ask.gpu_layers is not None:
        yield from _fewer_layers(ask, ask.gpu_layers, try_plan)
    for kind in NARROW_CACHES[NARROW_CACHES.index(ask.kv_type) + 1 if ask.kv_type in NARROW_CACHES else 0 :]:
        yield "cache", f"a {'4' if kind == 'q4_0' else '8'}-bit KV cache", (("kv_cache_dtype", kind),), replace(ask, kv_type=kind)
    yield from _smaller_wishes(ask, plan, try_plan)
    lighter: list[Change] = []
    if ask.origin is not None and ask.model.mix in SMALLER_MIXES:
        for mix in SMALLER_MIXES[SMALLER_MIXES.index(ask.model.mix) + 1 :]:
            lighter.append(("weights", f"{mix} weights", (("quantization", mix),), replace(ask, model=converted(ask.origin, mix), tag="")))
    yield from lighter
    for _, words, changed, asked in lighter[-2:-1]:  # 3 bits: below that a smaller model is the better answer
        for kind, more, also, smaller in _smaller_wishes(asked, try_plan(asked), try_plan):
            yield f"weights and {kind}", f"{words}, with {more}", (*changed, *also), smaller
    for count in (ask.group.count * factor for factor in (2, 4, 8) if ask.group.count * factor <= MOST_GPUS):
        if ask.group.gpu.vendor != "apple":
            yield "count", f"{count} GPUs", (("count", count),), replace(ask, group=replace(ask.group, count=count))


def _fewer_layers(ask: GgufAsk, pinned: int, try_plan: Try) -> Iterator[Change]:
    """The most layers that surely fit; the others run on the CPU."""
    fitting = largest(pinned - 1, lambda layers: try_plan(replace(ask, gpu_layers=layers)).verdict == "starts")
    if fitting:
        yield "layers", f"{fitting} layers on the GPU, the others on the CPU", (("gpu_layers", fitting),), replace(ask, gpu_layers=fitting)


def _smaller_wishes(ask: GgufAsk, plan: LocalPlan, try_plan: Try) -> Iterator[Change]:
    def starts(asked: GgufAsk) -> bool:
        planned = try_plan(asked)
        return planned.verdict == "starts" and planned.meets_wish

    if ask.users > 1 and (fewer := largest(ask.users - 1, lambda users: starts(replace(ask, users=max(1, users))))):
        yield "users", "one user" if fewer == 1 else f"{fewer} users at full length", (("users", fewer),), replace(ask, users=fewer)
    wanted = ask.context or plan.context
    fitting = longest_context(wanted, lambda length: starts(replace(ask, context=max(1, length))))
    if LEAST_OFFERED <= fitting < wanted:
        yield "context", f"a context of {tokens(fitting)}", (("context", fitting),), replace(ask, context=fitting)

"""Every further answer as the page and the HTML report show it: its large figures first, then what its own report says, as it says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.engines import ENGINES
from planner.facts.hardware import GpuSpec
from planner.facts.observed import Explained
from planner.facts.speed import expected_tokens_per_s
from planner.questions.comparison import CHEAPEST, Best, Comparison
from planner.questions.cost import CostAnswer
from planner.questions.proxy.judge import ProxyAnswer
from planner.questions.replicas import CapacityAnswer
from planner.questions.sessions import SessionsAnswer
from planner.questions.shortlist import MachinesAnswer, ModelsAnswer
from planner.report import capacity, chosen, compare, cost, explained, machines, proxy, sessions
from planner.report.cost import WAYS
from planner.report.lead import Figure, Tone
from planner.report.markup import blocks
from planner.report.text import Piece, Text
from planner.report.view import View
from planner.report.words import at_once, figure, months, usd
from planner.units import GIB, counted, tokens

_TONES: dict[str, Tone] = {"green": "good", "yellow": "warn", "red": "bad"}


def models_view(answer: ModelsAnswer) -> View:
    """The models for a machine: the first in figures, then all of them."""
    first, (heading, *rest) = answer.models[0], chosen.render_models(answer)
    shown = [
        Figure(first.offer.name, "goes first", f"{counted(first.bits, 'bit')}, {first.fit.engine}"),
        Figure(tokens(first.fit.context), "tokens of context", f"up to {tokens(first.fit.longest_context)} would fit"),
        Figure(at_once(first.fit.at_once), "users at full length", "surely"),
    ]
    if first.tokens_per_s is not None:
        shown.append(Figure(figure(first.tokens_per_s), "tokens/s for each user"))
    return View(title=_plain(heading), tone="good" if answer.requirements_met else "warn", figures=tuple(shown), blocks=blocks(rest))


def machines_view(answer: MachinesAnswer) -> View:
    """The machines for a model: the cheapest in figures, then all of them."""
    first, (heading, *rest) = answer.machines[0], machines.render_machines(answer)
    rate, saved = expected_tokens_per_s(first.speed), first.pays_off_after_months
    shown = [Figure(f"{first.count}x {first.gpu.name}", "goes first", f"{counted(first.stored.bits, 'bit')}, {ENGINES[first.plan.engine].title}")]
    if first.rent_usd_per_hour is not None:
        shown.append(Figure(machines.money(first.rent_usd_per_hour), "an hour"))
    if first.buy_usd is not None:
        shown.append(Figure(machines.money(first.buy_usd), "to buy", "" if saved is None else f"pays off: {months(saved)}"))
    if rate is not None:
        shown.append(Figure(figure(rate), "tokens/s for one user"))
    shown.append(Figure(at_once(first.at_once), "users at full length", "surely"))
    return View(title=_plain(heading), tone="warn" if first.is_slow else "good", figures=tuple(shown), blocks=blocks(rest))


def capacity_view(answer: CapacityAnswer) -> View:
    """What a machine holds within limits of time: the best way in figures, then all of them."""
    first, (heading, *rest) = answer.options[0], capacity.render(answer)
    low, held, high = first.conservative, first.expected, first.optimistic
    shown = [Figure(f"{first.users(held):,}", "users at once", _ends(first.users(low), first.users(high)))]
    if held.requests_per_s:
        shown.append(Figure(figure(first.requests_per_s(held)), "requests/s", _ends(first.requests_per_s(low), first.requests_per_s(high))))
    shown.append(Figure(str(first.gpus), "GPUs" if first.gpus > 1 else "GPU", counted(first.replicas, "server")))
    shown.append(Figure(capacity.seconds(held.alone_first_token_s), "to the first token", "of a request alone"))
    words, tone = ("", "") if answer.asked.nothing else ("held", "good") if answer.requirements_met else ("not held", "bad")
    return View(title=_plain(heading), headline=words, tone=tone, figures=tuple(shown), blocks=blocks(rest))


def sessions_view(answer: SessionsAnswer) -> View:
    """How many sessions of agents a machine keeps warm."""
    first, (heading, *rest) = answer.options[0], sessions.render(answer)
    low, kept, high, times = first.conservative, first.expected, first.optimistic, first.replicas
    shown = (
        Figure(f"{times * kept.warm:,}", "sessions stay warm", _ends(times * low.warm, times * high.warm)),
        Figure(f"{times * kept.sessions:,}", "within the limits", _ends(times * low.sessions, times * high.sessions)),
        Figure(capacity.seconds(kept.first_token_warm_s), "to the first token", f"{capacity.seconds(kept.first_token_cold_s)} where its history is gone"),
    )
    words, tone = ("", "") if not answer.users else ("held", "good") if answer.requirements_met else ("not held", "bad")
    return View(title=_plain(heading), headline=words, tone=tone, figures=shown, blocks=blocks(rest))


def cost_view(answer: CostAnswer) -> View:
    """What tokens cost: at the asked load in figures, each way and by an API, then all of it."""
    load, (heading, *rest) = answer.loads[0], cost.render(answer)
    shown = []
    for priced, costs in zip(answer.ways, load.costs, strict=True):
        for what, of in (("prompt", costs.usd_per_million_prompt_tokens), ("output", costs.usd_per_million_output_tokens)):
            low, high = sorted((of.conservative, of.optimistic))
            shown.append(Figure(f"${usd(of.expected)}", f"a million {what} tokens, {WAYS[priced.way.kind]}", f"${usd(low)} to ${usd(high)}"))
    if api := answer.api:
        shown.append(Figure(f"${usd(api.usd_per_million_output_tokens)}", "a million output tokens, by an API", f"{api.model} of {api.provider}"))
    shown.append(Figure(figure(load.served.requests_per_s.expected), "requests/s", cost.load_name(answer, load)))
    return View(title=_plain(heading), figures=tuple(shown), blocks=blocks(rest))


def comparison_view(comparisons: Sequence[Comparison]) -> View:
    """Runtimes side by side: what is best for what in figures where there is one machine."""
    first = comparisons[0]
    several = len(comparisons) > 1
    is_sure = any(comparison.best for comparison in comparisons)
    title = "Side by side" if several else f"{first.model} on {first.count}x {first.gpu.title}, side by side"
    shown = () if several else tuple(_best(best) for best in first.best)
    return View(
        title=title,
        headline="" if is_sure else "nothing surely does what is asked",
        tone="" if is_sure else "bad",
        figures=shown,
        blocks=blocks(compare.render(comparisons)),
    )


def _best(best: Best) -> Figure:
    who = dict.fromkeys(f"{row.engine} {row.quantization}" for row in best.rows)
    if best.what in CHEAPEST:
        return Figure(f"${usd(best.value)}", f"a million output tokens, {WAYS[CHEAPEST[best.what]]}", ", ".join(list(who)[: compare.SHOWN]))
    value = figure(best.value) if "tokens/s" in best.what or "fastest" in best.what else f"{best.value:,.0f}"
    unit = " (tokens/s)" if "fastest" in best.what else f" of {tokens(best.rows[0].users_context)} tokens" if best.what == "most users" else ""
    return Figure(value, best.what + unit, ", ".join(list(who)[: compare.SHOWN]))


def proxy_view(answer: ProxyAnswer) -> View:
    """A proxy's configuration, judged."""
    return _of_report(proxy.render_proxy(answer))


def explained_view(answer: Explained, gpu: GpuSpec | None) -> View:
    """What a log says: what it observed in figures, beside what was predicted; then the cause and what mends it."""
    return _of_report(explained.render(answer, gpu), tuple(_observed(answer)))


def _observed(answer: Explained) -> Iterator[Figure]:
    seen, predicted = answer.observed, {difference.what: difference for difference in answer.differences}

    def beside(name: str) -> str:
        difference = predicted.get(name)
        return f"predicted {explained.size(difference, difference.predicted)}" if difference else ""

    if seen.kv_cache_tokens is not None:
        yield Figure(tokens(seen.kv_cache_tokens), "tokens of KV cache", beside("kv_cache_tokens"))
    if seen.max_concurrency is not None:
        yield Figure(f"{seen.max_concurrency:.2f}x", "concurrency", beside("max_concurrency"))
    for name, label in (("weights", "GiB of weights"), ("kv_cache", "GiB of KV cache")):
        if (size_bytes := getattr(seen, f"{name}_bytes")) is not None:
            yield Figure(f"{size_bytes / GIB:.2f}", label, beside(name))


def _of_report(pieces: Sequence[Piece], figures: tuple[Figure, ...] = ()) -> View:
    """A report whose first line is what is told of, a colon, and what became of it in its colour."""
    heading, *rest = pieces
    assert isinstance(heading, Text)  # noqa: S101 - every report begins so
    words, style = heading.spans[-1]
    title = "".join(text for text, _ in heading.spans[:-1]).rstrip(": ")
    tone = next((tone for colour, tone in _TONES.items() if colour in style), "")
    return View(title=title, headline=words, tone=tone, figures=figures, blocks=blocks(rest))


def _plain(heading: Piece) -> str:
    return next(iter(heading.lines(10_000))).plain


def _ends(low: float, high: float) -> str:
    return f"{figure(low)} to {figure(high)}" if isinstance(low, float) else f"{low:,} to {high:,}"

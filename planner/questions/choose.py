"""Which models a machine should run, best first, and why in that order (docs/choosing.md).

First what surely starts, holds the asked context for all asked users and answers no slower than the floor; then `merit`: how good the model is
(`standing`), less what its quantization costs, less what its users wait for where they are served slower than is comfortable. All that counts is a figure of
which more is better, and merit falls with none of them: no row stands above one that is at least as good in quality, speed and users and better in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import floor, inf, log2

from planner.errors import PlannerError
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed, SpeedEstimate, seen_by_each, significant
from planner.facts.verdict import Verdict
from planner.questions.standing import Standing

CONTEXTS = {"agent": 65_536, "code": 32_768, "vision": 16_384, "chat": 8192, "embedding": 512}  # wanted where nothing is asked
LEAST_TOKENS_PER_S = {"agent": 30.0, "code": 30.0, "vision": 15.0, "chat": 15.0, "embedding": 0.0}
"""The floor where none is asked, for one user. People read 238 words a minute (Brysbaert 2019, doi 10.1016/j.jml.2019.104047), 5.3 tokens a second at four
tokens for three words; three times that, since what a model thinks is waited for before there is anything to read, and twice as much where a program reads. GUESS."""
COMFORTABLE = 2.0  # GUESS: from twice the floor on, speed is worth nothing more; below, half the speed is worth one doubling
LOST_DOUBLINGS = {16: 0.0, 8: 0.05, 4: 0.3}
"""What fewer bits than the makers publish cost. GUESS: 8 bits are within the noise of tests; 4 bits of twice the parameters are better than 8 (arXiv 2212.09720), so they lose less than one doubling."""
CLOSE = 0.25  # doublings, about two points of an index: of rows that differ by less in merit the faster goes first
EQUAL = 1.1  # speeds that differ by less are no surer than that (docs/speed.md)
NEAR = 0.5  # of the floor: of what is slower still nothing is told
MISSED = 2  # models that are too slow of which is told
APART_TOKENS_PER_S = 1.0  # GUESS: counted for what main memory is read for and nobody knows how slowly
LOADED_SHARE = 0.85  # below what any variant stores of its parameters times its bits: embeddings may be tied


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the model is for, with which context, for how many people at once, and how many tokens a second each of them sees at least."""

    purpose: str = "chat"
    context: int | None = None
    users: int | None = None
    min_tokens_per_s: float | None = None

    def wanted_context(self, limit: int) -> int:
        """The asked context, or the purpose's usual one as far as the model has it."""
        return self.context or min(limit, CONTEXTS[self.purpose])

    @property
    def floor(self) -> float:
        """Tokens a second that each user sees at least."""
        return LEAST_TOKENS_PER_S[self.purpose] if self.min_tokens_per_s is None else self.min_tokens_per_s

    @property
    def comfortable(self) -> float:
        """Tokens a second from which on more are worth nothing."""
        return max(LEAST_TOKENS_PER_S[self.purpose], self.floor) * COMFORTABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How one variant fits a machine, whichever runtime serves it: `at_once` requests of `context` tokens, surely; bytes are of one GPU."""

    engine: str  # its title
    arguments: str  # what `plan` is told to plan exactly this
    repo: str
    verdict: Verdict
    context: int
    longest_context: int
    at_once: float
    users: int  # whole requests of `context` tokens that are surely admitted at once
    weights_bytes: int
    settings: str
    graphs: bool = True  # whether CUDA graphs are kept, where the runtime has them
    on_gpu: bool = True  # whether all that a token reads lies there
    speed: SpeedEstimate | NoSpeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A way to serve a model: the class of its weights in bits, the engine's title, how it quantizes (nothing: as published), and how to fit it."""

    bits: int
    engine: str
    form: str = ""
    lost_doublings: float = 0.0
    is_too_large: bool = False  # surely, whatever its layers are
    most_tokens_per_s: float = inf  # what one user sees at most, whatever its layers are
    fit: Callable[[Wish], Fit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model that may be chosen: facts of its row, and what is looked at only where it may be among the best: its layers, its variants as they are tried."""

    name: str
    released: str
    released_at_least: bool = False
    replaces: str = ""  # the model of about its size that its makers published before it
    based_on: str = ""  # the model whose weights others trained further
    parameters: int
    active_parameters: int
    standing: Standing
    spec: Callable[[], ModelSpec]
    variants: Callable[[], Sequence[Variant]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A model's best variant here, and what decided its place."""

    offer: Offer
    bits: int
    fit: Fit
    quality: float  # doublings, with what the quantization costs
    tokens_per_s: float | None  # of each user, at the asked number of them
    merit: float
    reason: str = ""  # why so, and not as its makers publish it or by the engine that is tried first
    lacking: str = ""  # what of the wish it does not do
    holds: bool = True  # surely, the asked context for all asked users
    is_slow: bool = False  # below the floor
    on_front: bool = True  # no other row is at least as good in quality, speed and users, and better in one

    @property
    def meets(self) -> bool:
        """The asked context, or the purpose's usual one with CUDA graphs, for all asked users, at no less than the floor."""
        return not self.lacking

    @property
    def order(self) -> tuple[bool, bool, bool, int, float, float, float]:
        """Higher is better."""
        return *self.is_sure, step(self.merit), *self.measures

    @property
    def nearness(self) -> tuple[bool, bool, float, tuple[bool, bool, bool, int, float, float, float]]:
        """Higher is nearer to a wish that nothing reaches: what surely starts and holds what is asked, the faster first."""
        return self.fit.verdict is Verdict.STARTS, self.holds, self.tokens_per_s or 0.0, self.order

    @property
    def is_sure(self) -> tuple[bool, bool, bool]:
        """Whether it surely starts, does what is asked, and is not below the floor."""
        return self.fit.verdict is Verdict.STARTS, self.meets, not self.is_slow

    @property
    def measures(self) -> tuple[float, float, float]:
        """Speed, quality and users, more of each is better."""
        return self.tokens_per_s or 0.0, self.quality, self.fit.at_once

    @property
    def is_done(self) -> bool:
        """Whether it surely starts and does what is asked."""
        return self.fit.verdict is Verdict.STARTS and self.meets


def dominates(better: Chosen, worse: Chosen) -> bool:
    """Whether one is at least as sure, as complete and as good in every measure as another, and better in one."""
    pairs = list(zip((*better.is_sure, *better.measures), (*worse.is_sure, *worse.measures), strict=True))
    return all(one >= other for one, other in pairs) and any(one > other for one, other in pairs)


def cannot_fit(parameters: int, bits: int, total_bytes: int) -> bool:
    """Whether a variant is surely too large, before its layers are looked at."""
    return parameters * bits / 8 * LOADED_SHARE > total_bytes


def step(merit: float) -> int:
    """Merits that are no surer apart are one step."""
    return floor(merit / CLOSE)


def worth(quality: float, tokens_per_s: float | None, wish: Wish) -> float:
    """Merit: quality in doublings, less one for each halving of the comfortable speed; a speed that is not known counts as the floor."""
    if not wish.comfortable:
        return quality
    rate = wish.floor if tokens_per_s is None else tokens_per_s
    return quality + min(0.0, log2(max(rate, 1e-3) / wish.comfortable))


def choose(offers: Iterable[Offer], wish: Wish, top: int | None = None) -> list[Chosen]:
    """The models that start on a machine, best first; all, or so many. What is slower than the floor only where nothing else is there."""
    return chosen_and_missed(offers, wish, top)[0]


def chosen_and_missed(offers: Iterable[Offer], wish: Wish, top: int | None = None) -> tuple[list[Chosen], list[Chosen]]:
    """As `choose`, and the better models than the first that surely do what is asked, but slower than the floor. What could not be among them any more is not planned."""
    known = sorted(offers, key=lambda offer: -offer.standing.doublings)
    slow: list[Offer] = []
    choices = _choose(known, wish, top, slow) or _choose(slow, wish, top, None)
    quick = [choice for choice in choices if not choice.is_slow]
    shown = (quick or sorted(choices, key=lambda choice: choice.nearness, reverse=True))[:top]
    told = [replace(choice, on_front=not any(dominates(other, choice) for other in shown)) for choice in shown]
    return told, _missed(quick[0], [choice for choice in choices if choice.is_slow], slow, wish) if quick else []


def _missed(first: Chosen, choices: Sequence[Chosen], slow: Sequence[Offer], wish: Wish) -> list[Chosen]:
    """The models above the first in quality that the floor alone leaves out, the best first; few, since they are planned to be told."""
    least = first.offer.standing.doublings + CLOSE
    names = {choice.offer.name for choice in (*choices, first)}
    planned = [_best_variant(offer, wish, -inf, None) for offer in slow if offer.name not in names and offer.standing.doublings > least][:MISSED]
    missed = [choice for choice in (*choices, *filter(None, planned)) if choice.offer.standing.doublings > least]
    told = [choice for choice in missed if choice.is_slow and choice.holds and choice.fit.on_gpu and (choice.tokens_per_s or 0.0) >= NEAR * wish.floor]
    return sorted(told, key=lambda choice: -choice.offer.standing.doublings)[:MISSED]


def _choose(offers: Sequence[Offer], wish: Wish, top: int | None, slow: list[Offer] | None) -> list[Chosen]:
    """The choices; models with a way that surely is below the floor are put into `slow`, and without it tried in those ways too."""
    choices: list[Chosen] = []
    before = {offer.name: offer.replaces for offer in offers}
    for offer in offers:
        last = choices[top - 1] if top is not None and len(choices) >= top else None
        least = step(last.merit) * CLOSE if last and (last.is_done or (slow is None and last.holds)) else -inf
        if least > offer.standing.doublings:
            break
        if (chosen := _best_variant(offer, wish, least, slow)) and not _is_replaced(chosen, choices, before):
            choices.append(chosen)
            choices.sort(key=lambda choice: choice.order, reverse=True)
    return choices


def _is_replaced(chosen: Chosen, choices: Sequence[Chosen], before: Mapping[str, str]) -> bool:
    """Whether a model that its makers published in its place, or in that of what it was trained from, does what is asked, and stands above it."""
    for choice in choices:
        name, seen = before[choice.offer.name], {""}
        while name not in seen:
            if name in (chosen.offer.name, chosen.offer.based_on):
                return choice.is_done and choice.order >= chosen.order
            seen.add(name)
            name = before.get(name, "")
    return False


def _best_variant(offer: Offer, wish: Wish, least: float, slow: list[Offer] | None) -> Chosen | None:
    """The way of most merit that does what is asked; None where none starts, or none could be worth as much as `least`."""
    best: Chosen | None = None
    passed: list[tuple[Variant, str]] = []
    for variant in offer.variants():
        if variant.is_too_large:
            passed.append((variant, "is too large"))
            continue
        if variant.form and wish.users in (None, 1) and any(variant.form == other.form for other, _ in passed):
            continue  # the same file, which one user of another engine did not find room for
        most = worth(offer.standing.doublings - variant.lost_doublings, variant.most_tokens_per_s, wish)
        if most < least or (best and best.is_done and best.fit.on_gpu and most <= best.merit + log2(EQUAL)):
            continue
        if variant.most_tokens_per_s < wish.floor and slow is not None:
            slow += [] if offer in slow[-1:] else [offer]
            passed.append((variant, _slower(wish)))
            continue
        try:
            fit = variant.fit(wish)
        except PlannerError:
            continue
        if fit.verdict.falls_short:
            passed.append((variant, fit.verdict.words if fit.verdict is Verdict.DOES_NOT_START else f"is {fit.verdict.words}"))
            continue
        choice = _chosen(offer, variant, fit, wish)
        if best is None or _preferred(choice, best):
            best = replace(choice, reason=_reason(passed, variant))
        passed.append((variant, choice.lacking or _also(choice)))
    return best


def _chosen(offer: Offer, variant: Variant, fit: Fit, wish: Wish) -> Chosen:
    quality, rate = offer.standing.doublings - variant.lost_doublings, seen_by_each(fit.speed, wish.users)
    is_apart = not fit.on_gpu and rate is None  # each token reads main memory, nobody knows how slowly
    is_slow = is_apart if rate is None else rate < wish.floor
    slow = "lies in main memory in part" if is_apart else _slower(wish) if is_slow else ""
    lacking = _lacking(fit, wish, wish.wanted_context(offer.spec().max_position_embeddings))
    holds = not lacking and fit.verdict is Verdict.STARTS
    return Chosen(
        offer=offer,
        bits=variant.bits,
        fit=fit,
        quality=quality,
        tokens_per_s=rate,
        merit=worth(quality, APART_TOKENS_PER_S if is_apart else rate, wish),
        lacking=lacking or slow,
        holds=holds,
        is_slow=is_slow,
    )


def _preferred(choice: Chosen, best: Chosen) -> bool:
    """Whether another way of the same model is better than the one before it, by more than speeds are sure; of those that read main memory the faster."""
    known, other = ((*way.is_sure, way.fit.on_gpu) for way in (choice, best))
    if known != other:
        return known > other
    return choice.merit > best.merit + log2(EQUAL) if choice.fit.on_gpu else (choice.tokens_per_s or 0.0) > (best.tokens_per_s or 0.0)


def _lacking(fit: Fit, wish: Wish, context: int) -> str:
    """What of a wish a variant does not do, in words that follow its name; empty where it does all."""
    if not fit.graphs and wish.context is None:  # a context that nobody asked for is not worth eager mode
        return "gives up CUDA graphs"
    if fit.users < (wish.users or 1) or fit.context < context:
        return "holds less than asked"
    return ""


def _slower(wish: Wish) -> str:
    return f"is slower than {wish.floor:,g} tokens/s"


def _also(choice: Chosen) -> str:
    if choice.fit.verdict is not Verdict.STARTS:
        return f"is {choice.fit.verdict.words}"
    where = "" if choice.fit.on_gpu else ", in main memory in part"
    return f"gives {significant(choice.tokens_per_s):,g} tokens/s{where}" if choice.tokens_per_s else f"starts{where}"


def _reason(passed: Sequence[tuple[Variant, str]], chosen: Variant) -> str:
    """What kept the ways that were tried before from being taken: of each engine the last of its ways."""
    last = {variant.engine: f"{variant.engine} in {variant.bits} bits {why}" for variant, why in passed if variant.bits >= chosen.bits}
    return "; ".join(last.values())

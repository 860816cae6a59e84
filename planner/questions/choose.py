"""Which models a machine should run, best first, and why in that order (docs/choosing.md).

The order: what surely starts, with the asked context for all asked users; then `strength`, parameters that a token could use and does use
(their geometric mean), doubled for every `DOUBLING_MONTHS` of a later release; then speed. Of one model the least quantized variant that
does what is asked is taken, by whichever engine holds it so. Nobody measured these models for this purpose here: the order says what is known, not which is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import sqrt

from planner.engines.work import weights
from planner.errors import PlannerError
from planner.facts.config import Parallel
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass
from planner.facts.speed import NoSpeed, SpeedEstimate, expected_tokens_per_s
from planner.facts.verdict import Verdict
from planner.speed.work import shape_of

DOUBLING_MONTHS = 8  # between two laws: arXiv 2403.05812 (compute for equal loss halves in 8 months) and 2412.04315 (parameters in 3.5)
CODE_BONUS = 2.0  # GUESS: what a model made for code is worth more at it than a general one of its size and age
CONTEXTS = {"agent": 65_536, "code": 32_768, "vision": 16_384, "chat": 8192, "embedding": 512}  # wanted where nothing is asked
LEAST_TOKENS_PER_S = 5.0  # GUESS: about as fast as one reads; a model that is read from main memory and slower does not do what is asked
LOADED_SHARE = 0.85  # below what any variant stores of its parameters times its bits: embeddings may be tied


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the model is for, with which context, for how many people at once."""

    purpose: str = "chat"
    context: int | None = None
    users: int | None = None

    def wanted_context(self, limit: int) -> int:
        """The asked context, or the purpose's usual one as far as the model has it."""
        return self.context or min(limit, CONTEXTS[self.purpose])


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
    is_too_large: bool = False  # surely, whatever its layers are
    fit: Callable[[Wish], Fit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model that may be chosen: facts of its row, and what is looked at only where it may be among the best: its layers, its variants as they are tried."""

    name: str
    kind: str
    released: str
    released_at_least: bool
    for_code: bool
    takes_tools: bool
    parameters: int
    spec: Callable[[], ModelSpec]
    variants: Callable[[], Sequence[Variant]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A model's best variant here, and what decided its place."""

    offer: Offer
    bits: int
    fit: Fit
    active_parameters: int
    strength: float
    reason: str  # why so, and not as its makers publish it or by the engine that is tried first
    meets: bool  # the asked context, or the purpose's usual one with CUDA graphs, for all asked users

    @property
    def order(self) -> tuple[bool, bool, float, float]:
        """Higher is better."""
        return self.fit.verdict is Verdict.STARTS, self.meets, self.strength, expected_tokens_per_s(self.fit.speed) or 0.0

    @property
    def preferred(self) -> tuple[bool, bool, bool, float]:
        """Higher is better of one model's ways: more bits on the GPUs, more speed where main memory is read for each token."""
        rate = expected_tokens_per_s(self.fit.speed) or 0.0
        return self.fit.verdict is Verdict.STARTS, self.meets, self.fit.on_gpu, float(self.bits) if self.fit.on_gpu else rate


def cannot_fit(parameters: int, bits: int, total_bytes: int) -> bool:
    """Whether a variant is surely too large, before its layers are looked at."""
    return parameters * bits / 8 * LOADED_SHARE > total_bytes


def suits(offer: Offer, purpose: str) -> bool:
    """Whether a model is offered for a purpose."""
    if purpose == "embedding" or offer.kind in ("embedding", "speech", "drafter"):
        return purpose == offer.kind
    if purpose == "vision":
        return offer.kind == "vision"
    return offer.takes_tools if purpose == "agent" else True


def active_parameters(model: ModelSpec) -> int:
    """Parameters that one token is multiplied with: of the routed experts those it is sent to."""
    held, shape = weights(model, Parallel()), shape_of(model)
    routed = held.expert_macs * min(shape.experts_per_token, shape.experts) // max(1, shape.experts)
    return int(held.dense_macs + held.head_macs + routed)


def months(released: str) -> int:
    """Months from January 2023 to a month like 2025-04."""
    year, month = released.split("-")
    return (int(year) - 2023) * 12 + int(month) - 1


def strength(offer: Offer, active: int, purpose: str) -> float:
    """What decides among models that do what is asked, in billions of parameters of January 2023; at most that of `active` = all."""
    bonus = CODE_BONUS if purpose == "code" and offer.for_code else 1.0
    return float(bonus * sqrt(offer.parameters * active) / 1e9 * 2 ** (months(offer.released) / DOUBLING_MONTHS))


def choose(offers: Iterable[Offer], wish: Wish, top: int | None = None) -> list[Chosen]:
    """The models that start on a machine, best first; all, or so many. Those that could not be among them any more are not planned."""
    choices: list[Chosen] = []
    most = [(strength(offer, offer.parameters, wish.purpose), offer) for offer in offers if suits(offer, wish.purpose)]
    for bound, offer in sorted(most, key=lambda pair: -pair[0]):
        if top is not None and len(choices) >= top and choices[top - 1].order[:3] >= (True, True, bound):
            break
        if chosen := _best_variant(offer, wish):
            choices.append(chosen)
            choices.sort(key=lambda choice: choice.order, reverse=True)
    return choices[:top]


def _best_variant(offer: Offer, wish: Wish) -> Chosen | None:
    best: Chosen | None = None
    passed: list[tuple[Variant, str]] = []
    for variant in offer.variants():
        if variant.is_too_large:
            passed.append((variant, "is too large"))
            continue
        if variant.form and wish.users in (None, 1) and any(variant.form == other.form for other, _ in passed):
            continue  # the same file, which one user of another engine did not find room for
        try:
            fit = variant.fit(wish)
        except PlannerError:
            continue
        if fit.verdict.falls_short:
            passed.append((variant, fit.verdict.words))
            continue
        model = offer.spec()
        active, lacking = active_parameters(model), _lacking(fit, wish, wish.wanted_context(model.max_position_embeddings))
        choice = Chosen(
            offer=offer,
            bits=variant.bits,
            fit=fit,
            active_parameters=active,
            strength=strength(offer, active, wish.purpose),
            reason=_reason(passed, variant),
            meets=not lacking,
        )
        if best is None or choice.preferred > best.preferred:
            best = choice
        if fit.verdict is Verdict.STARTS and not lacking and fit.on_gpu:
            break
        passed.append((variant, lacking or ("lies in main memory in part" if not fit.on_gpu else fit.verdict.words)))
    return best


def _lacking(fit: Fit, wish: Wish, context: int) -> str:
    """What of a wish a variant does not do, in words that follow its name; empty where it does all."""
    if not fit.graphs and wish.context is None:  # a context that nobody asked for is not worth eager mode
        return "gives up CUDA graphs"
    if fit.users < (wish.users or 1) or fit.context < context:
        return "holds less than asked"
    if not fit.on_gpu and (expected_tokens_per_s(fit.speed) or 0.0) < LEAST_TOKENS_PER_S:
        return "lies in main memory in part"
    return ""


def _reason(passed: Sequence[tuple[Variant, str]], chosen: Variant) -> str:
    """What kept the ways that were tried before from being taken: of each engine the last of its ways."""
    last = {variant.engine: f"{variant.engine} in {variant.bits} bits {why}" for variant, why in passed if variant.bits >= chosen.bits}
    return "; ".join(last.values())

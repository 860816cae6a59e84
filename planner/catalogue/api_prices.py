"""What APIs ask for tokens: the data of genai-prices, a library of the package index, read as it is installed; nothing is fetched.

A model is `the same` only where the names say so: equal once the owner, the precision of the weights and a maker's name before its family are left
out. A model is `like` where its family, its purpose and whether it has experts are the same, and its size is nearest and within a half.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Literal

from planner.errors import PlannerError, did_you_mean, require
from planner.facts.record import dataclass

if TYPE_CHECKING:
    from decimal import Decimal

    from genai_prices.types import ModelInfo, Provider, TieredPrices

LIBRARY = "genai-prices"
MOST_SIZE_RATIO = 1.5  # GUESS: a model that is larger by more is another offer
_PRECISION = frozenset(
    [
        "fp8",
        "fp4",
        "nvfp4",
        "mxfp4",
        "awq",
        "gptq",
        "int4",
        "int8",
        "bf16",
        "fp16",
        "gguf",
        "4bit",
        "6bit",
        "8bit",
        "w4a16",
        "w8a8",
        "w8a16",
        "hf",
        "dynamic",
        "autoround",
        "bnb",
    ]
)
_MAKERS = ("meta", "nvidia", "zai", "z.ai", "databricks")
_PURPOSES = frozenset(["embedding", "embed", "guard", "safeguard", "ocr", "vl", "vision", "coder", "code", "omni", "reranker", "math", "prover", "audio"])
_SIZE, _ACTIVE, _FAMILY = re.compile(r"(\d+(?:\.\d+)?)(b|t)"), re.compile(r"a\d+(?:\.\d+)?b"), re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPrice:
    """What the cheapest of those who offer a model asks, in US dollars, and how many offer it."""

    provider: str
    model: str
    relation: Literal["same", "like", "named"]
    usd_per_million_prompt_tokens: float
    usd_per_million_output_tokens: float
    offers: int
    source: str
    """The library and its release."""
    date: str
    """Of the newest price of its data."""

    def usd_per_request(self, prompt_tokens: int, output_tokens: int) -> float:
        """Of so many tokens, none of them from a prompt's cache."""
        return (prompt_tokens * self.usd_per_million_prompt_tokens + output_tokens * self.usd_per_million_output_tokens) / 1_000_000


@dataclass(frozen=True, slots=True)
class _Offer:
    provider: str
    model: str
    prompt: float
    output: float


def plain_name(name: str) -> str:
    """A model's name without its owner, the precision of its weights and its maker: what says which model it is."""
    words = re.split(r"[-_\s]+", name.rpartition("/")[2].lower().removesuffix(".gguf"))
    kept = [word for word in words if word and word not in _PRECISION]
    while len(kept) > 1 and kept[0] in _MAKERS:
        kept = kept[1:]
    return "-".join(kept)


def api_price(names: Iterable[str], prompt_tokens: int, output_tokens: int, today: date, named: str = "") -> ApiPrice | str:
    """The cheapest offer of the model with one of these names, of one that is like it, or of the one that is `named` (provider:model); else why there is none.

    Raises PlannerError where one is named and not known, or the library that knows it is missing.
    """
    try:
        from genai_prices import __version__
        from genai_prices.data import providers
    except ImportError:
        if named:
            require("--api", "genai_prices")
        return f"the library {LIBRARY} is not installed: what APIs ask is not known (pip install {LIBRARY})"
    source, seen = f"{LIBRARY} {__version__}", _newest(providers, today)
    if named:
        return _priced(_named(providers, named, prompt_tokens, today), "named", (prompt_tokens, output_tokens), source, seen)
    asked = {plain_name(name) for name in names if name}
    offers = list(_offers(providers, prompt_tokens, today))
    same = [offer for offer in offers if plain_name(offer.model) in asked]
    if same:
        return _priced(same, "same", (prompt_tokens, output_tokens), source, seen)
    like = _alike(offers, asked)
    if like:
        return _priced(like, "like", (prompt_tokens, output_tokens), source, seen)
    return f"{source} knows no price of {min(asked, key=len, default='it')} or of a model like it (--api PROVIDER:MODEL names one)"


def _priced(offers: list[_Offer], relation: Literal["same", "like", "named"], lengths: tuple[int, int], source: str, seen: str) -> ApiPrice:
    cheapest = min(offers, key=lambda offer: (offer.prompt * lengths[0] + offer.output * lengths[1], offer.provider, offer.model))
    return ApiPrice(
        provider=cheapest.provider,
        model=cheapest.model,
        relation=relation,
        usd_per_million_prompt_tokens=cheapest.prompt,
        usd_per_million_output_tokens=cheapest.output,
        offers=len({offer.provider for offer in offers}),
        source=source,
        date=seen,
    )


def _named(providers: Iterable[Provider], named: str, prompt_tokens: int, today: date) -> list[_Offer]:
    owner, _, model = named.partition(":")
    known = {provider.id: provider for provider in providers}
    if owner not in known or not model:
        raise PlannerError(
            f"--api: {owner[:60]!r} is no provider that {LIBRARY} knows", did_you_mean(owner, known) or "PROVIDER:MODEL, openrouter:qwen/qwen3-32b"
        )
    offers = list(_offers([known[owner]], prompt_tokens, today))
    if chosen := [offer for offer in offers if offer.model == model]:
        return chosen
    raise PlannerError(f"--api: {owner} has no model {model[:80]!r} with a price", did_you_mean(model, [offer.model for offer in offers]))


def _offers(providers: Iterable[Provider], prompt_tokens: int, today: date) -> Iterator[_Offer]:
    """What is asked for by the token today, at standard rates: batches and what is free for a trial are other offers."""
    now = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    for provider in providers:
        for model in provider.models:
            if model.deprecated or model.id.endswith((":batch", ":free", ":extended")):
                continue
            asked = model.get_prices(now)
            prompt, output = (_usd(price, prompt_tokens) for price in (asked.input_mtok, asked.output_mtok))
            if prompt > 0 and output > 0:
                yield _Offer(provider.id, model.id, prompt, output)


def _usd(price: Decimal | TieredPrices | None, prompt_tokens: int) -> float:
    """A price for prompts of so many tokens; 0 where there is none."""
    from decimal import Decimal

    if price is None:
        return 0.0
    if isinstance(price, Decimal):
        return float(price)
    return float(next((tier.price for tier in reversed(price.tiers) if prompt_tokens > tier.start), price.base))


def _alike(offers: list[_Offer], asked: set[str]) -> list[_Offer]:
    """The offers of the model whose size is nearest to one of the asked names'."""
    best: dict[str, tuple[float, list[_Offer]]] = {}
    for name in asked:
        ours = _kind(name)
        for offer in offers if ours else ():
            theirs = _kind(plain_name(offer.model))
            if ours is None or theirs is None or ours[:3] != theirs[:3]:
                continue
            ratio = max(ours[3], theirs[3]) / min(ours[3], theirs[3])
            if ratio <= MOST_SIZE_RATIO:
                best.setdefault(plain_name(offer.model), (ratio, []))[1].append(offer)
    return min(best.items(), key=lambda item: (item[1][0], item[0]))[1][1] if best else []


def _kind(name: str) -> tuple[str, frozenset[str], bool, float] | None:
    """A plain name's family, purposes, whether it has experts, and parameters in billions; None where it says no size."""
    words = name.split("-")
    family = _FAMILY.match(name)
    sizes = [match for word in words if (match := _SIZE.fullmatch(word))]
    if family is None or not sizes:
        return None
    billions = float(sizes[0][1]) * (1000 if sizes[0][2] == "t" else 1)
    return family[0], frozenset(words) & _PURPOSES, any(_ACTIVE.fullmatch(word) for word in words), billions


def _newest(providers: Iterable[Provider], today: date) -> str:
    """When a price of the data last changed, up to today."""
    dates = (start for provider in providers for model in provider.models for start in _starts(model) if start <= today)
    return str(max(dates, default=""))


def _starts(model: ModelInfo) -> Iterator[date]:
    for price in model.prices if isinstance(model.prices, list) else ():
        start = getattr(price.constraint, "start_date", None)
        if isinstance(start, date):
            yield start

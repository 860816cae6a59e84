"""Models for a machine and machines for a model, as JSON and for the terminal."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from planner.facts.hardware import Host
from planner.facts.speed import SpeedEstimate, significant
from planner.facts.verdict import Verdict
from planner.questions.choose import Chosen
from planner.questions.command_line import command_line
from planner.questions.reasons import reasons
from planner.questions.shortlist import ModelsAnswer
from planner.questions.standing import Standing
from planner.report.contract_parts import AnswerJson, SpeedJson
from planner.report.head import HEAD
from planner.report.speed import blank_notes, speed_json, speed_reason
from planner.report.table import Column, Fitted, Row, Typed
from planner.report.text import Piece, Text
from planner.report.words import TOLD, at_once, figure
from planner.units import GIB, counted, tokens

PURPOSES = {"chat": "chat", "code": "code", "agent": "agents", "vision": "pictures", "embedding": "embedding"}


class QualityJson(TypedDict):
    """A figure of a public index, where and when it was read, and of which model of the catalogue."""

    index: str
    value: float
    source: str
    date: str
    of: str


class ChosenJson(TypedDict):
    """A model's best variant on the machine; bytes are of one GPU, `at_once` and contexts with conservative figures."""

    model: str
    repo: str
    arguments: str
    command: str
    """The words that plan exactly this on the machine."""
    bits: int
    parameters: int
    active_parameters: int
    released: str
    released_at_least: bool
    strength: float
    """Billions of dense parameters of January 2023 that it is as good as, by `ordered_by`."""
    ordered_by: Literal["measured", "line", "family", "rule"]
    """What tells its quality: a figure of its own, of a model of its line, of its family, or size and age alone."""
    quality: QualityJson | None
    """The figure, None with `rule`."""
    tokens_per_s: float | None
    """What each of the asked users sees, expected; where main memory is read, whose speed is a guess, at the cautious end."""
    merit: float
    """What the order is by, in doublings: strength, less what the quantization and waiting cost."""
    on_front: bool
    """Whether no other row is at least as good in quality, speed and users, and better in one."""
    place_reason: str
    """What it has more or less of than the row above it."""
    verdict: Verdict
    requirements_met: bool
    meets_wish: bool
    """As `requirements_met`, which replaces it; it goes with schema 3."""
    context: int
    longest_context: int
    at_once: float
    weights_bytes: int
    engine: str
    """Its title."""
    settings: str
    reason: str
    """What kept the ways that were tried before it, less quantized or by another engine, from being taken."""
    speed: SpeedJson | None
    speed_reason: str | None


class ModelsJson(AnswerJson):
    """The models for a machine, best first."""

    gpu: str
    count: int
    purpose: str
    context: int | None
    users: int | None
    min_tokens_per_s: float
    """The floor of speed for each user: nothing slower is offered where anything else is."""
    models: list[ChosenJson]


def models_json(answer: ModelsAnswer) -> ModelsJson:
    """The JSON object of the models for a machine."""
    group, wish = answer.group, answer.wish
    return {
        **HEAD,
        "gpu": group.gpu.name,
        "count": group.count,
        "purpose": wish.purpose,
        "context": wish.context,
        "users": wish.users,
        "min_tokens_per_s": wish.floor,
        "models": [
            {
                "model": model.offer.name,
                "repo": model.fit.repo,
                "arguments": model.fit.arguments,
                "command": command(answer, model),
                "bits": model.bits,
                "parameters": model.offer.parameters,
                "active_parameters": model.offer.active_parameters,
                "released": model.offer.released,
                "released_at_least": model.offer.released_at_least,
                "strength": significant(model.offer.standing.strength),
                "ordered_by": model.offer.standing.basis,
                "quality": _quality(model.offer.standing),
                "tokens_per_s": model.tokens_per_s and significant(model.tokens_per_s),
                "merit": round(model.merit, 2),
                "on_front": model.on_front,
                "place_reason": reason,
                "verdict": model.fit.verdict,
                "requirements_met": model.meets,
                "meets_wish": model.meets,
                "context": model.fit.context,
                "longest_context": model.fit.longest_context,
                "at_once": model.fit.at_once,
                "weights_bytes": model.fit.weights_bytes,
                "engine": model.fit.engine,
                "settings": model.fit.settings,
                "reason": model.reason,
                "speed": speed_json(model.fit.speed),
                "speed_reason": speed_reason(model.fit.speed),
            }
            for model, reason in zip(answer.models, reasons(answer.models), strict=True)
        ],
    }


def _quality(standing: Standing) -> QualityJson | None:
    figure = standing.quality
    return {"index": figure.index, "value": figure.value, "source": figure.source, "date": figure.date, "of": standing.of} if figure else None


def _billions(parameters: int, active: int) -> str:
    total = f"{parameters / 1e9:,.0f}B" if parameters >= 1e11 else f"{figure(parameters / 1e9)}B"
    return total if active > 0.8 * parameters else f"{total} A{figure(active / 1e9)}B"


_MODELS = (
    Column("#"),
    Column("model", is_left=True, style="bold"),
    Column("bits"),
    Column("context"),
    Column("users"),
    Column("tokens/s"),
    Column("size", 1, is_left=True),
    Column("how", 2, is_left=True),
)


def command(answer: ModelsAnswer, model: Chosen) -> str:
    """The words that plan a row on this machine."""
    group = answer.group
    machine = {
        "gpu": group.gpu.name,
        "count": group.count if group.count > 1 else None,
        "ram": f"{group.ram_bytes / GIB:g}GiB" if group.ram_bytes and not group.gpu.unified_memory else None,
        "host_kind": group.host.value if group.host is not Host.SERVER else None,
        "vllm_version": answer.version,
    }
    wish = {"context": model.fit.context, "users": answer.wish.users if (answer.wish.users or 1) > 1 else None}
    return f"{command_line(machine)} {model.fit.arguments}{command_line(wish).removeprefix('plan')}"


def _rate(model: Chosen) -> str:
    """Tokens a second of each user; where main memory is read, whose speed is a guess, from the cautious end, by which the order is."""
    speed, rate = model.fit.speed, model.tokens_per_s
    if rate is None:
        return ""
    high = f" to {figure(speed.tokens_per_s.optimistic)}?" if isinstance(speed, SpeedEstimate) and _is_guess(model) else ""
    return f"{figure(rate)}{high}"


def _is_guess(model: Chosen) -> bool:
    return isinstance(model.fit.speed, SpeedEstimate) and model.fit.speed.reads_main_memory


def render_models(answer: ModelsAnswer) -> list[Piece]:
    """The models for a machine, each with the command that plans it, and why in this order."""
    group, wish = answer.group, answer.wish
    users = f", {counted(wish.users, 'user')}" if wish.users else ""
    heading = Text().append(f"Models for {group.label}", "bold").append(f", for {PURPOSES[wish.purpose]}{users}; best first")
    rows = []
    for place, model in enumerate(answer.models, 1):
        fit = model.fit
        cells = (
            str(place),
            Text(model.offer.name, "bold" if fit.verdict is Verdict.STARTS else "yellow"),
            str(model.bits),
            tokens(fit.context),
            at_once(fit.at_once),
            _rate(model),
            _billions(model.offer.parameters, model.offer.active_parameters),
            f"{fit.engine}, {fit.settings}",
        )
        but = ("" if fit.verdict is Verdict.STARTS else fit.verdict.words, "" if model.meets else f"less than asked: it {model.lacking}")
        below = [Text("; ".join(filter(None, but)), "yellow")] if any(but) else []
        rows.append(Row(cells, [*below, Typed(command(answer, model))]))
    blank = blank_notes((str(place), model.fit.speed) for place, model in enumerate(answer.models, 1))
    told = zip(reasons(answer.models)[:TOLD], answer.models, strict=False)
    why = (f"{place}: {reason}. {f'{model.reason}.' if model.reason else ''}".rstrip() for place, (reason, model) in enumerate(told, 1))
    return [heading, Text(), Fitted(_MODELS, rows), Text(), *(Text(line, "dim") for line in (*why, _order(answer), *answer.notes, *blank))]


def _order(answer: ModelsAnswer) -> str:
    """What the order is by, and what is left out."""
    wish = answer.wish
    floor = f", no slower than {figure(wish.floor)} tokens/s for each user (--min-speed)" if wish.floor else ""
    slow = " None is that fast: slower ones are shown." if any(model.is_slow for model in answer.models) else ""
    guessed = " A speed with a question mark rests on a guess how fast main memory is read; the lower end counts." if any(map(_is_guess, answer.models)) else ""
    return (
        f"Order: what surely starts as asked{floor}; then quality by a public index, else by size and age,"
        f" less what quantization and waiting cost.{slow}{guessed} Users: requests of the context that surely fit at once. docs/choosing.md says what counts how much."
    )

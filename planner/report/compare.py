"""Runtimes side by side, as JSON and for the terminal: a table for each machine, which is best for what, what more GPUs add."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from planner.facts.verdict import Verdict
from planner.questions.comparison import Best, Compared, Comparison
from planner.report.listings import ComparisonJson
from planner.report.table import Column, Fitted, Row, Typed
from planner.report.text import Piece, Text
from planner.units import GIB, tokens

_COLUMNS = (
    Column("bits"),
    Column("runtime", is_left=True, style="bold"),
    Column("weights", 2, is_left=True),
    Column("verdict", 1, is_left=True),
    Column("context", 1),
    Column("users", 1),
    Column("tokens/s", 1),
    Column("GiB of a GPU", 3),
    Column("agents", 3, is_left=True),
)
SHOWN = 2  # of those that are equally good, the fastest


def comparison_json(found: Comparison) -> ComparisonJson:
    """The JSON object of one machine."""
    return {
        "gpu": found.gpu.name,
        "count": found.count,
        "model": found.model,
        "runtimes": [asdict(row) for row in found.rows],  # type: ignore[misc]  # the schema is the dataclass's
        "best": [{"what": one.what, "value": one.value, "commands": [command(found, one, row) for row in one.rows]} for one in found.best],
    }


def render(found: Sequence[Comparison]) -> list[Piece]:
    """All tables; after those of one GPU and model what more of them add; last what the runtimes do with an agent's messages."""
    pieces: list[Piece] = []
    for number, one in enumerate(found):
        pieces += [*([Text()] if pieces else []), _table(one), Text(), *_best(one)]
        same = [other for other in found if (other.gpu.name, other.model) == (one.gpu.name, one.model)]
        if len(same) > 1 and one is same[-1] and number:
            pieces += [Text(), _more(same)]
    notes = dict.fromkeys(f"{row.engine}: {row.agent_note}" for one in found for row in one.rows if row.agent_note)
    agents = Text("agents: whether assistant messages in a row, as agents send them, are answered.", "dim")
    return [*pieces, Text(), agents, *(Text(note, "dim") for note in notes)]


def _table(one: Comparison) -> Fitted:
    return Fitted(_COLUMNS, [_row(row) for row in one.rows], f"{one.model} on {one.count}x {one.gpu.title}")


def _row(row: Compared) -> Row:
    bits = str(row.bits) if row.bits else "-"
    if row.refusal or not row.verdict:
        return Row((bits, row.engine, "", "refused", *[""] * 5), (Text(row.refusal, "yellow"),))
    verdict = Verdict(row.verdict)
    words = verdict.words + (f", {row.layers_on_cpu} layers on the CPU" if row.layers_on_cpu else "")
    figures = (tokens(row.context), _users(row), "" if row.tokens_per_s is None else f"{row.tokens_per_s:g}") if not verdict.falls_short else ("",) * 3
    blank = (Text(f"no tokens/s: {row.speed_reason}", "dim"),) if row.speed_reason and not verdict.falls_short else ()
    used = f"{row.used_bytes / GIB:.1f} of {row.available_bytes / GIB:.1f}"
    return Row((bits, row.engine, row.quantization, words, *figures, used, row.agent_safe), blank)


def _users(row: Compared) -> str:
    return f"{row.users_held} of {tokens(row.users_context)}" if row.users_context else f"{row.users:.1f}"


def _value(one: Best) -> str:
    if one.what == "longest context":
        return f"{tokens(int(one.value))} tokens"
    if one.what == "most users":
        return f"{one.value:g} of {tokens(one.rows[0].users_context)} tokens each"
    return f"{one.value:g} tokens/s"


def _best(one: Comparison) -> Iterator[Piece]:
    if not one.best:
        yield Text("None of them surely fits as asked.", "yellow")
        return
    rows = []
    for best in one.best:
        first = sorted(best.rows, key=lambda row: -(row.tokens_per_s or 0.0))[:SHOWN]
        more = len(best.rows) - len(first)
        who = ", ".join(f"{row.engine} {row.quantization}" for row in first) + (f", and {more} more alike" if more else "")
        rows.append(Row((best.what, _value(best), who), [Typed(command(one, best, row)) for row in first]))
    yield Fitted((Column("best for", is_left=True), Column("value", is_left=True), Column("which", 1, is_left=True)), rows)


def command(one: Comparison, best: Best, row: Compared) -> str:
    """The words that plan this row on this machine; of most users with as many as it holds."""
    users = f" --context {row.users_context} --users {row.users_held}" if best.what == "most users" else ""
    return f"{one.asked} {row.arguments}{users}"


def _more(same: Sequence[Comparison]) -> Fitted:
    """What the best of each count reach."""
    columns = (Column("with", is_left=True), *(Column(f"{one.count}x", number) for number, one in enumerate(same)))
    whats = dict.fromkeys(best.what for one in same for best in one.best)
    rows = []
    for what in whats:
        values = [next((_value(best) for best in one.best if best.what == what), "-") for one in same]
        rows.append(Row((what, *values)))
    return Fitted(columns, rows, f"What more {same[0].gpu.title} add")

"""Runtimes side by side, for the terminal: a table for each machine, which is best for what, what more GPUs add."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.facts.verdict import Verdict
from planner.questions.comparison import CHEAPEST, Best, Compared, Comparison, Lead, leads, reached
from planner.report import compare_money
from planner.report.table import Column, Fitted, Row, Typed
from planner.report.text import Piece, Text
from planner.report.words import at_once, figure, usd
from planner.units import GIB, counted, gib, tokens

_COLUMNS = (
    Column("runtime", is_left=True, style="bold"),
    Column("weights", is_left=True),
    Column("verdict", is_left=True),
    Column("context"),
    Column("users"),
    Column("tokens/s"),
    Column("together"),
    Column("KV cache", 1, is_left=True),
    Column("$/M rented", 2),
    Column("$/M bought", 3),
)
SHOWN = 2  # of those that are equally good, the fastest


def render(comparisons: Sequence[Comparison]) -> list[Piece]:
    """All tables; after those of one GPU and model what more of them add; of several the conclusion; last what the runtimes do with an agent's messages."""
    pieces: list[Piece] = []
    for number, comparison in enumerate(comparisons):
        pieces += [*([Text()] if pieces else []), _table(comparison), Text(), *_best(comparison)]
        same = [other for other in comparisons if (other.gpu.name, other.model) == (comparison.gpu.name, comparison.model)]
        if len(same) > 1 and comparison is same[-1] and number:
            pieces += [Text(), _more(same)]
    if len(comparisons) > 1:
        pieces += [Text(), *_conclusion(comparisons), *compare_money.render(comparisons)]
    notes = dict.fromkeys(f"{row.engine}: {row.agent_safe}: {row.agent_note}" for comparison in comparisons for row in comparison.rows if row.agent_note)
    users = "Users: each with so many tokens of context, surely, all runtimes with a KV cache of 16 bits where that holds those asked; together: their tokens/s, prompts included."
    pieces += [Text(), *compare_money.notes(comparisons)]
    agents = Text("Whether assistant messages in a row, as agents send them, are answered:", "dim")
    return [*pieces, Text(), Text(users, "dim"), agents, *(Text(note, "dim") for note in notes)]


def _table(comparison: Comparison) -> Fitted:
    title = f"{comparison.model} on {comparison.count}x {comparison.gpu.title}; {compare_money.price(comparison)}"
    return Fitted(_COLUMNS, [_row(row, comparison) for row in comparison.rows], title)


def _row(row: Compared, comparison: Comparison) -> Row:
    if row.refusal or not row.verdict:
        return Row((row.engine, _weights(row), "refused", *[""] * 7), (Text(row.refusal, "yellow"),))
    verdict = Verdict(row.verdict)
    cache = row.users_kv_cache or row.kv_cache
    figures = (tokens(row.context), _users(row), *_speeds(row), cache, *_money(row, comparison)) if not verdict.falls_short else ("",) * 7
    if verdict.falls_short:
        needs = f"{verdict.words}: {row.used_bytes / GIB:,.1f} GiB of each GPU's {row.available_bytes / GIB:,.1f}"
        return Row((row.engine, _weights(row), "no", *figures), (Text(needs, "yellow"),))
    return Row((row.engine, _weights(row), verdict.words, *figures), list(_below(row, comparison)))


def _weights(row: Compared) -> str:
    """What most weights are stored in: their class where the name does not tell it."""
    bits = f"{row.bits} bits"
    return bits if row.bits and row.quantization in ("", "16-bit") else row.quantization


def _below(row: Compared, comparison: Comparison) -> Iterator[Text]:
    """What keeps a row from being as good as it looks."""
    if row.layers_on_cpu:
        yield Text(f"{row.layers_on_cpu} of {row.layers} layers on the CPU, {gib(row.host_bytes)} of main memory", "yellow")
    if int(row.users) < comparison.users:
        yield Text(f"less than asked: it holds {int(row.users)} of {counted(comparison.users, 'user')}", "yellow")
    elif not row.requirements_met and not row.layers_on_cpu:
        yield Text("less than asked", "yellow")
    if row.speed_reason:
        yield Text(f"no tokens/s: {row.speed_reason}", "dim")
    elif row.is_sure and row.no_cost:
        yield Text(f"no $/M: {row.no_cost}", "dim")


def _speeds(row: Compared) -> tuple[str, str]:
    """Tokens a second of one user, and of all users together."""
    one, all_of_them = ("" if value is None else figure(value) for value in (row.tokens_per_s, row.total_tokens_per_s))
    return one, all_of_them


def _money(row: Compared, comparison: Comparison) -> tuple[str, str]:
    """US dollars of a million output tokens, rented and bought."""
    rented, bought = (usd(cost.usd_per_million_output_tokens.expected) if (cost := comparison.cost(row, kind)) else "" for kind in CHEAPEST.values())
    return rented, bought


def _users(row: Compared) -> str:
    return f"{row.users_held:,} x {_short(row.users_context)}" if row.users_context else at_once(row.users)


def _short(context: int) -> str:
    """A number of tokens as a wish is typed: 8k."""
    return f"{context // 1024}k" if context % 1024 == 0 else tokens(context)


def _value(best: Best) -> str:
    if best.what == "longest context":
        return f"{tokens(int(best.value))} tokens"
    if best.what == "most users":
        return f"{best.value:,.0f} of {tokens(best.rows[0].users_context)} tokens each"
    if best.what in CHEAPEST:
        return f"${usd(best.value)} a million with {best.rows[0].loads[0].concurrency:,} at once"
    if best.what == "most tokens/s together":
        return f"{figure(best.value)} tokens/s of {counted(best.rows[0].users_held, 'user')}, prompts included"
    return f"{figure(best.value)} tokens/s"


def _best(comparison: Comparison) -> Iterator[Piece]:
    if not comparison.best:
        yield Text("None of them surely does what is asked with everything on the GPU.", "yellow")
        return
    rows, commands = [], dict[str, None]()
    for best in comparison.best:
        first = sorted(best.rows, key=lambda row: -(row.tokens_per_s or 0.0))[:SHOWN]
        more = len(best.rows) - len(first)
        who = ", ".join(f"{row.engine} {row.quantization}" for row in first) + (f", and {more} more alike" if more else "")
        rows.append(Row((best.what, _value(best), who)))
        commands |= dict.fromkeys(command(comparison, best, row) for row in first[:1])
    yield Fitted((Column("best for", is_left=True), Column("value", is_left=True), Column("which", 1, is_left=True)), rows)
    yield from (Typed(words) for words in commands)


def command(comparison: Comparison, best: Best, row: Compared) -> str:
    """The words that plan this row on this machine; of most users with as many as it holds, of money those that ask what its tokens cost."""
    if best.what in CHEAPEST:
        load = row.loads[0]
        context = row.context if load.load == "asked" else row.users_context
        return f"{comparison.cost_asked} {row.arguments} --context {context} --concurrency {load.concurrency} --kv-cache-dtype {load.kv_cache}"
    is_of_many = best.what in ("most users", "most tokens/s together")
    cache = f" --kv-cache-dtype {row.users_kv_cache}" if row.users_kv_cache != row.kv_cache else ""
    users = f" --context {row.users_context} --users {row.users_held}{cache}" if is_of_many else ""
    return f"{comparison.asked} {row.arguments}{users}"


def _more(same: Sequence[Comparison]) -> Fitted:
    """What the best of each count reach, and how many times what the first reaches."""
    columns = (Column("with", is_left=True), *(Column(f"{comparison.count}x", number) for number, comparison in enumerate(same)))
    whats = dict.fromkeys(best.what for comparison in same for best in comparison.best)
    rows = []
    for what in whats:
        values = [next((_value(best) for best in comparison.best if best.what == what), "-") for comparison in same]
        least = reached(same[0], what)
        times = ["", *(f" (x{figure(reached(comparison, what) / least)})" if least and reached(comparison, what) else "" for comparison in same[1:])]
        rows.append(Row((what, *(value + more for value, more in zip(values, times, strict=True)))))
    return Fitted(columns, rows, f"What more {same[0].gpu.title} add")


def _conclusion(comparisons: Sequence[Comparison]) -> Iterator[Text]:
    """Which machine and model is best for what, and by how much."""
    yield Text("Conclusion", "bold")
    found = leads(comparisons)
    if not found:
        yield Text("None of them surely does what is asked with everything on the GPU.", "yellow")
    is_of_one = len({comparison.model for comparison in comparisons}) == 1
    for lead in found:
        best = next(best for best in lead.first[0].best if best.what == lead.what)
        line = f"{lead.what}: {_value(best)} "
        if len(lead.first) == len(comparisons):
            yield Text(f"{line}on all of them")
            continue
        yield Text(f"{line}on {_places(lead.first, is_of_one=is_of_one)}{_beside(lead, is_of_one=is_of_one)}")


def _beside(lead: Lead, *, is_of_one: bool) -> str:
    """How many times what the best of the others does that is."""
    is_money = lead.what in CHEAPEST
    if not lead.times:
        return "; of the others no such price or no speed is known" if is_money else "; the others nothing surely"
    verb = "ask" if is_money else "reach"
    one = "" if len(lead.others) > 1 else "s" if is_money else "es"
    return f": {figure(lead.times)} times what {_places(lead.others, is_of_one=is_of_one)} {verb}{one}"


def _places(comparisons: Sequence[Comparison], *, is_of_one: bool) -> str:
    """Machines, and models where there are several, in words, the first few of them."""
    shown = [f"{comparison.count}x {comparison.gpu.title}" + ("" if is_of_one else f" with {comparison.model}") for comparison in comparisons[:SHOWN]]
    return " and ".join(shown) + (f" and {len(comparisons) - SHOWN} more" if len(comparisons) > SHOWN else "")

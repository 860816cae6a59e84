"""Runtimes compared by the same class of weights, and what is concluded of it."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalogue.load import find_gpu, find_model
from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.speed import Range
from planner.questions.comparison import CHEAPEST, Compared, Comparison, RowLoad, conclusion, leads, reached
from planner.questions.comparison_money import cheapest_of
from planner.questions.cost_terms import PricedWay, Terms
from planner.questions.money import Served, Way
from planner.questions.side_by_side import Asked, comparisons_of
from planner.questions.ways import CLASSES, together, ways
from planner.report.compare import render
from planner.report.compare_json import comparisons_json
from tests.conftest import ROOT, run_plan


def compared(folder, *arguments: str) -> list[dict]:
    done = run_plan("compare", *arguments, "--format", "json", cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    return found.get("comparisons", [found])


@pytest.mark.parametrize("gpu", ["rtx4090", "h100", "a100-80", "m4-max-64gb"])
@pytest.mark.parametrize("model", ["qwen3-8b", "qwen3-14b", "mistral-small-3.2-24b", "qwen3-14b-awq", "qwen3-32b-fp8", "gpt-oss-20b"])
def test_a_class_has_every_runtime_that_stores_it(gpu, model):
    card = find_gpu(gpu)
    engines = ("mlx", "ollama", "llama.cpp") if card.vendor == "apple" else ("vllm", "ollama", "llama.cpp")
    rows = ways([model], engines, card)
    found: dict[int, list[str]] = {}
    for row in rows:
        assert len({(way.bits, way.engine) for way in row}) == 1
        found.setdefault(row[0].bits, []).append(row[0].engine)
    assert set(found) <= set(CLASSES)
    for runtimes in found.values():
        assert set(runtimes) >= set(engines) - {"vllm"}
        assert len(runtimes) == len(set(runtimes))
    if model in ("qwen3-8b", "qwen3-14b"):
        assert set(found) == set(CLASSES)
    if model in ("qwen3-14b-awq", "gpt-oss-20b"):
        assert set(found) == {4}
    if model == "qwen3-32b-fp8":
        assert set(found) == {8}


@pytest.mark.slow
def test_variants_of_one_model_are_one_table(tmp_path):
    assert together(["qwen3-14b", "qwen3-8b", "qwen3-14b-awq"]) == [["qwen3-14b", "qwen3-14b-awq"], ["qwen3-8b"]]
    (found,) = compared(tmp_path, "--gpu", "rtx4090", "--model", "qwen3-14b-fp8,qwen3-14b-awq")
    rows = [(row["bits"], row["engine"]) for row in found["runtimes"]]
    assert len(rows) == len(set(rows))
    assert {bits for bits, _ in rows} == {8, 4}


COMPARED = st.builds(
    Compared,
    engine=st.sampled_from(["vllm", "ollama"]),
    verdict=st.sampled_from(["starts", "tight", "does_not_start"]),
    layers_on_cpu=st.sampled_from([0, 0, 3]),
    tokens_per_s=st.none() | st.floats(1, 500),
    longest_context=st.integers(0, 10**6),
    users_held=st.integers(0, 256),
    total_tokens_per_s=st.none() | st.floats(1, 9000),
)


@given(st.lists(COMPARED, max_size=9))
def test_the_conclusion_is_true_of_what_was_compared(rows):
    sure = [row for row in rows if row.verdict == "starts" and not row.layers_on_cpu]
    figures = {
        "longest context": lambda row: row.longest_context,
        "fastest for one user": lambda row: row.tokens_per_s or 0,
        "most users": lambda row: row.users_held,
        "most tokens/s together": lambda row: row.total_tokens_per_s or 0,
    }
    said = {best.what: best for best in conclusion(rows)}
    for what, figure in figures.items():
        values = [figure(row) for row in sure]
        if not any(values):
            assert what not in said
            continue
        assert said[what].value == max(values)
        assert list(said[what].rows) == [row for row in sure if figure(row) == max(values)]


@pytest.mark.parametrize(
    "machine",
    [("--gpu", "rtx3060"), *(pytest.param(machine, marks=pytest.mark.slow) for machine in (("--gpu", "rtx4090", "--count", "2"), ("--gpu", "m4-max-64gb")))],
)
def test_what_is_concluded_holds_when_it_is_typed(machine, tmp_path):
    (found,) = compared(tmp_path, *machine, "--model", "qwen3-8b")
    assert {best["what"] for best in found["best"]} - set(CHEAPEST) == {"longest context", "fastest for one user", "most users", "most tokens/s together"}
    for best in (best for best in found["best"] if best["what"] not in CHEAPEST):
        for command in best["commands"][:2]:
            done = run_plan(*shlex.split(command)[1:], "--format", "json", "--dry-run", cwd=tmp_path)
            answer = json.loads(done.stdout)
            assert (done.returncode, answer["verdict"]) == (0, "starts"), command
            if best["what"] == "longest context":
                reached = answer["memory"]["longest_max_model_len"] if "longest_max_model_len" in answer["memory"] else answer["longest_context"]
                assert reached >= best["value"]
            if best["what"] == "fastest for one user":
                assert answer["speed"]["tokens_per_s"]["expected"] == best["value"]
            if best["what"] == "most tokens/s together":
                assert answer["speed"]["total_tokens_per_s"]["expected"] == best["value"]


@given(st.lists(st.lists(COMPARED, max_size=3), min_size=2, max_size=5))
def test_who_leads_of_several_machines(tables):
    gpu = find_gpu("rtx4090")
    comparisons = [Comparison(gpu=gpu, count=count, model="m", rows=tuple(rows)) for count, rows in enumerate(tables, 1)]
    said = {lead.what: lead for lead in leads(comparisons)}
    assert set(said) == {best.what for comparison in comparisons for best in comparison.best}
    for what, lead in said.items():
        values = [reached(comparison, what) for comparison in comparisons]
        assert lead.value == max(values) > 0
        assert [each.count for each in lead.first] == [count for count, value in enumerate(values, 1) if value == lead.value]
        assert lead.second == max([value for value in values if value < lead.value], default=0)
        assert lead.times == 0 or lead.times > 1
    text = "\n".join(line.plain for piece in render(comparisons) for line in piece.lines(160))
    assert "Conclusion" in text


@pytest.mark.slow
def test_more_gpus_are_shown_beside_fewer(tmp_path):
    found = compared(tmp_path, "--gpu", "rtx3060", "--count", "1,2", "--model", "qwen3-14b")
    assert [one["count"] for one in found] == [1, 2]
    best = [{each["what"]: each["value"] for each in one["best"]} for one in found]
    assert best[1]["most users"] > best[0]["most users"]
    text = run_plan("compare", "--gpu", "rtx3060", "--count", "1,2", "--model", "qwen3-14b", cwd=tmp_path).stdout
    assert "What more GeForce RTX 3060 add" in text
    assert f"{best[0]['most users']:g} of 8,192" in text.split("What more")[1]
    assert f"{best[1]['most users']:g} of 8,192" in text.split("What more")[1]


@pytest.mark.parametrize("count", ["0", "", "two", "1,-2", "99999", "1.5", "²"])
def test_counts_that_are_none(count, tmp_path):
    done = run_plan("compare", "--gpu", "rtx4090", "--model", "qwen3-8b", "--count", count, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_the_matrix_of_models_and_engines_is_what_the_engines_say():
    page = (ROOT / "docs" / "choosing.md").read_text()
    (head,) = (line for line in page.splitlines() if line.startswith("| model | "))
    assert head == f"| model | {' | '.join(engine.title for engine in ENGINES.values())} |"
    rows = [line.strip("| ").split(" | ") for line in page.partition(head)[2].splitlines()[2:]]
    for name, *cells in rows[: next(index for index, row in enumerate(rows) if row == [""])]:
        said = [engine.agent_safety(find_model(name).spec().architecture) for engine in ENGINES.values()]
        assert cells == [safe for safe, _ in said]
        assert all(f", {safe}: {why}\n" in page for safe, why in said)


def test_runtimes_are_compared_with_the_same_cache(tmp_path):
    """A cache of 8 bits holds twice as many users: it is not set against one of 16 bits."""
    (found,) = compared(tmp_path, "--gpu", "rtx3060", "--model", "qwen3-4b")
    held = [row for row in found["runtimes"] if row["users_held"]]
    assert len({row["engine"] for row in held}) > 1
    assert {row["users_kv_cache"] for row in held} <= {engine.whole_cache for engine in ENGINES.values()}


def test_the_best_do_what_was_asked(tmp_path):
    """Neither a row that holds fewer users than asked nor one whose layers lie in main memory is the best for anything; the text says of both why."""
    arguments = ("--gpu", "rtx4090", "--model", "qwen3-32b", "--users", "4", "--context", "16k")
    (found,) = compared(tmp_path, *arguments)
    assert any(row["layers_on_cpu"] for row in found["runtimes"])
    assert any(row["verdict"] == "starts" and not row["layers_on_cpu"] and row["users"] < 4 for row in found["runtimes"])
    assert found["best"] == []
    text = run_plan("compare", *arguments, cwd=tmp_path, COLUMNS="80").stdout
    assert "less than asked: it holds 1 of 4 users" in text
    assert "of main memory" in text
    assert not [line for line in text.splitlines() if len(line) > 80]


def test_a_command_is_told_once(tmp_path):
    text = run_plan("compare", "--gpu", "rtx3060", "--model", "qwen3-4b", cwd=tmp_path).stdout
    commands = [line for line in text.splitlines() if line.startswith("    plan ")]
    assert commands
    assert len(commands) == len(set(commands))


def load(name: str, count: int, requests_per_s: float, prompt_share: float) -> RowLoad:
    rate = Range(requests_per_s, requests_per_s, requests_per_s)
    served = Served(prompt_tokens=2000, output_tokens=500, requests_per_s=rate, prompt_share=prompt_share)
    return RowLoad(load=name, concurrency=count, served=served, kv_cache="auto")


def machine(gpu: str, rent_usd: float | None, *rows: Compared) -> Comparison:
    ways = (PricedWay(way=Way(kind="rent", usd=rent_usd), price=None),) if rent_usd else ()
    return Comparison(gpu=find_gpu(gpu), count=1, model="m", rows=rows, users=4, ways=ways)


def shown(comparisons: list[Comparison], width: int = 160) -> str:
    return "\n".join(line.plain for piece in render(comparisons) for line in piece.lines(width))


def row(engine: str, tokens_per_s: float, users: int, *loads: RowLoad, **more: object) -> Compared:
    return Compared(engine=engine, verdict="starts", tokens_per_s=tokens_per_s, users_held=users, loads=loads, **more)


# The example of docs/cost.md, "Machines side by side".
A = machine("rtx4090", 0.50, row("vllm", 60, 5, load("asked", 4, 0.25, 0.30), load("full", 5, 0.40, 0.50)))
B = machine("h100", 1.50, row("vllm", 90, 20, load("asked", 4, 0.60, 0.20), load("full", 20, 2.50, 0.60)))


def test_the_example_of_two_machines_is_right_by_hand():
    found = comparisons_json([B, A])
    (rented,) = found["money"]
    (dearer,) = rented["dearer"]
    tokens = [round(each[f"usd_per_million_output_tokens{load}"]["expected"], 4) for each in (rented["cheapest"], dearer) for load in ("", "_full_load")]
    assert tokens == [0.7778, 0.3472, 1.1111, 0.1333]
    assert (rented["way"], rented["cheapest"]["gpu"], dearer["gpu"], dearer["times_the_price"]) == ("rent", "rtx4090", "h100", 3.0)
    assert [(gain["what"], gain["times"]) for gain in dearer["buys"]] == [("fastest for one user", 1.5), ("most users", 4.0)]
    (lead,) = (each for each in found["conclusion"] if each["what"] in CHEAPEST)
    assert (round(lead["value"], 4), lead["on"][0]["gpu"], lead["times_the_next"]) == (0.7778, "rtx4090", 0.7)
    page = (ROOT / "docs" / "cost.md").read_text()
    assert all(f"${usd:.4f}" in page for usd in tokens)
    assert "3 times the price buys 1.5 times the tokens/s of one user, 4 times the users" in " ".join(shown([A, B]).split())


def test_a_machine_without_a_price_says_so_and_is_in_no_ranking():
    text = shown([A, machine("h100", None, *B.rows)])
    assert "No price of H100 SXM5 80GB to rent is known: --prices FILE." in text
    assert "no price of H100 SXM5 80GB is known, to rent or to buy" in text
    assert "times the price" not in text
    nothing = [machine("h100", None, *B.rows), machine("rtx4090", None, *A.rows)]
    assert cheapest_of(nothing) == ()
    assert "cheapest" not in shown(nothing)


def test_what_does_not_do_what_is_asked_is_not_the_cheapest():
    slow = machine("rtx3060", 0.10, Compared(engine="ollama", verdict="starts", layers_on_cpu=3, loads=A.rows[0].loads))
    (rented,) = cheapest_of([slow, A])
    assert rented.offer.comparison is A
    assert rented.dearer == rented.unpriced == ()
    assert slow.best == ()


def test_a_dearer_machine_that_has_nothing_more_buys_nothing():
    assert "3 times the price buys nothing more of what is compared" in shown([A, machine("h100", 1.50, *A.rows)])


RATES = st.floats(0.01, 100)
LOADED = st.builds(
    lambda users, rate, share, speed: row("vllm", speed, users, load("asked", 4, rate, share), load("full", users, rate, share)),
    st.integers(4, 256),
    RATES,
    st.floats(0.01, 0.99),
    st.floats(1, 500),
)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.none() | st.floats(0.01, 100), st.lists(LOADED, max_size=3)), min_size=1, max_size=5))
def test_money_decides_by_the_price_of_an_hour_then_of_tokens(machines):
    comparisons = [machine("rtx4090", rent, *rows) for rent, rows in machines]
    priced = [comparison for comparison in comparisons if comparison.ways and comparison.rows]
    found = cheapest_of(comparisons)
    assert bool(found) == bool(priced)
    for cheapest in found:
        offers = [cheapest.offer, *(each.offer for each in cheapest.dearer)]
        assert len(offers) == len(priced)
        hours = [offer.usd_per_serving_hour for offer in offers]
        assert hours == sorted(comparison.ways[0].way.usd for comparison in priced)
        for offer, dearer in zip(offers[1:], cheapest.dearer, strict=True):
            assert dearer.times_the_price >= 1
            assert all(gain.times > 1 for gain in dearer.buys)
            assert offer.usd_per_million_output_tokens == min(
                (offer.comparison.cost(each, "rent").usd_per_million_output_tokens for each in offer.comparison.rows), key=lambda usd: usd.expected
            )
        assert {id(one) for one in cheapest.unpriced} == {id(one) for one in comparisons if not one.ways and one.rows}
        (best,) = (lead for lead in leads(comparisons) if lead.what in CHEAPEST)
        assert best.value == min(reached(comparison, best.what) for comparison in priced)
        assert best.times < 1


@pytest.mark.slow
@pytest.mark.parametrize("users", [(), ("--users", "2")])
def test_what_tokens_cost_is_what_plan_cost_says(users, tmp_path):
    (found,) = compared(tmp_path, "--gpu", "rtx3060", "--model", "qwen3-4b", *users, "--input", "1500", "--output-tokens", "400", "--utilization", "0.5")
    bests = [best for best in found["best"] if best["what"] in CHEAPEST]
    assert bests
    for best in bests:
        cost = json.loads(run_plan(*shlex.split(best["commands"][0])[1:], "--format", "json", cwd=tmp_path).stdout)
        said = next(load for load in cost["loads"] if load["load"] == "asked")["costs"]
        (usd,) = (each["usd_per_million_output_tokens"]["expected"] for each in said if each["way"] == CHEAPEST[best["what"]])
        assert usd == pytest.approx(best["value"])


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ("currency: EUR\nprices: [{gpu: rtx4090, rent_per_hour: 1}]", "prices in EUR cannot be compared with those in USD"),
        ("currency: USD\nprices: [{gpu: rtx4090, rent_per_hour: 0}]", "0.0 is no price"),
        ("currency: USD\nprices: [{gpu: rtx4090, buy: -5}]", "-5.0 is no price"),
        ("currency: USD\nprices: [{gpu: rtx4090, buy: 5, currency: EUR}]", "a file has one currency"),
    ],
)
def test_prices_that_are_none(prices, message, tmp_path):
    (tmp_path / "mine.yaml").write_text(prices)
    with pytest.raises(PlannerError, match=re.escape(message)):
        comparisons_of(
            Asked(gpus="rtx4090", counts="1", models="qwen3-4b", context=None, users=None, host="server", terms=Terms(prices=tmp_path / "mine.yaml")), {}
        )

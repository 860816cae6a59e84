"""What tokens cost: laws of the arithmetic, worked examples by hand, whose prices they are, and questions that have no answer."""

import json
import re
from dataclasses import replace
from datetime import date
from math import inf, isclose

import pytest
from conftest import ROOT, run_plan
from hypothesis import given
from hypothesis import strategies as st

import planner
from planner.catalogue import load
from planner.catalogue.prices import Price, lowest_current, read_prices
from planner.catalogue.shipped import shipped
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.facts.speed import Range
from planner.questions.cost import cost_of
from planner.questions.cost_terms import Terms, notes, priced_ways
from planner.questions.machine_sizes import ANY_SIZE, machine_kind, sizes_of
from planner.questions.money import Power, Served, Way, machines_for, months_to_pay, requests_per_hour_to_equal, token_cost
from planner.report.cost_json import cost_json

TODAY = date(2026, 11, 28)
usd = st.floats(0.01, 1e6)
shares = st.floats(0.01, 1.0)


@st.composite
def loads(draw) -> Served:
    slow = draw(st.floats(0.01, 1e3))
    rates = Range(slow, slow * draw(st.floats(1, 3)), slow * draw(st.floats(3, 9)))
    prompt, output = draw(st.integers(1, 100_000)), draw(st.integers(1, 100_000))
    return Served(prompt_tokens=prompt, output_tokens=output, requests_per_s=rates, prompt_share=draw(st.floats(0.01, 0.99)))


@st.composite
def ways(draw) -> Way:
    power = draw(st.none() | st.builds(lambda watts, kwh, idle: Power(watts=watts, how="given", usd_per_kwh=kwh, idle_watts=idle), usd, shares, shares))
    return Way(kind=draw(st.sampled_from(["rent", "buy"])), usd=draw(usd), utilization=draw(shares), years=draw(st.floats(0.1, 10)), power=power)


@given(ways(), loads())
def test_the_tokens_of_a_request_cost_what_the_machine_does_meanwhile(way, served):
    cost = token_cost(way, served)
    for end in ("conservative", "expected", "optimistic"):
        prompt, output, request = (
            getattr(figure, end) for figure in (cost.usd_per_million_prompt_tokens, cost.usd_per_million_output_tokens, cost.usd_per_request)
        )
        assert isclose(prompt * served.prompt_tokens / 1e6 + output * served.output_tokens / 1e6, request)
        assert isclose(request * getattr(served.requests_per_s, end) * 3600, way.usd_per_serving_hour)
    assert cost.usd_per_request.optimistic <= cost.usd_per_request.expected <= cost.usd_per_request.conservative


@given(ways(), loads(), shares)
def test_tokens_cost_less_the_more_a_machine_serves(way, served, more):
    busier = replace(way, utilization=way.utilization + (1 - way.utilization) * more)
    dear, cheap = (token_cost(each, served).usd_per_million_output_tokens.expected for each in (way, busier))
    assert cheap <= dear * (1 + 1e-9)
    if busier.utilization > way.utilization * 1.001 and not way.power:
        assert isclose(cheap * busier.utilization, dear * way.utilization)


@given(ways(), loads())
def test_tokens_cost_twice_as_much_at_twice_the_price(way, served):
    power = replace(way.power, usd_per_kwh=2 * way.power.usd_per_kwh) if way.power else None
    once, twice = token_cost(way, served), token_cost(replace(way, usd=2 * way.usd, power=power), served)
    assert isclose(twice.usd_per_million_prompt_tokens.expected, 2 * once.usd_per_million_prompt_tokens.expected)
    assert isclose(requests_per_hour_to_equal(way, 0.001) * 0.001, way.usd_per_serving_hour)


def test_a_rate_that_machines_just_hold():
    assert machines_for(0.78, Range(0.03, 0.03, 0.03)) == Range(26, 26, 26)


@given(st.floats(0.01, 1e4), loads())
def test_a_rate_is_held_by_whole_machines_and_no_fewer(rate, served):
    machines = machines_for(rate, served.requests_per_s)
    for end in ("conservative", "expected", "optimistic"):
        count, held = getattr(machines, end), getattr(served.requests_per_s, end)
        assert count * held >= rate * (1 - 1e-9)
        assert (count - 1) * held < rate


def test_a_purchase_that_saves_nothing_never_pays():
    assert months_to_pay(1000, 0) == months_to_pay(1000, -1) == inf
    assert months_to_pay(1460, 2.0) == 1.0  # 730 hours a month
    assert months_to_pay(1460, 2.0, utilization=0.5) == 2.0


# The worked examples of docs/cost.md: what the speed model says is given, everything else is done by hand there.
EXAMPLES = {
    "rent": (
        Way(kind="rent", usd=2.00),
        Served(prompt_tokens=2000, output_tokens=500, requests_per_s=Range(2.0, 2.5, 3.0), prompt_share=0.36),
        # 2.00 / (3600 x 2.5) = 0.000222 a request; 36 % of it over 2,000 tokens, 64 % over 500
        {"request": 0.000222, "prompt": 0.0400, "output": 0.2844},
    ),
    "buy": (
        Way(kind="buy", usd=2628, years=3, utilization=0.25, power=Power(watts=400, how="given", usd_per_kwh=0.30, idle_watts=20)),
        Served(prompt_tokens=1000, output_tokens=250, requests_per_s=Range(0.8, 1.0, 1.25), prompt_share=0.20),
        # 2628 / (3 x 8760 x 0.25) = 0.40; (400 + 20 x 3) W = 0.46 kW x 0.30 = 0.138; 0.538 an hour of 3,600 requests
        {"request": 0.000149, "prompt": 0.0299, "output": 0.4782},
    ),
    "rate": (
        Way(kind="rent", usd=1.50),
        Served(prompt_tokens=4000, output_tokens=200, requests_per_s=Range(6, 6, 6), prompt_share=0.75, machines=machines_for(6, Range(2.0, 2.5, 3.0))),
        # 6 / 2.5 = 2.4, so 3 machines: 4.50 / (3600 x 6) = 0.000208
        {"request": 0.000208, "prompt": 0.0391, "output": 0.2604},
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_worked_examples_are_right_by_hand(name):
    way, served, expected = EXAMPLES[name]
    cost = token_cost(way, served)
    figures = {"request": cost.usd_per_request, "prompt": cost.usd_per_million_prompt_tokens, "output": cost.usd_per_million_output_tokens}
    digits = {"request": 6, "prompt": 4, "output": 4}
    assert {key: round(figure.expected, digits[key]) for key, figure in figures.items()} == expected
    page = (ROOT / "docs" / "cost.md").read_text()
    assert all(f"{value:.{digits[key]}f}" in page for key, value in expected.items())


def test_break_even_of_the_first_example_by_hand():
    way, served, _ = EXAMPLES["rent"]
    api = (2000 * 0.08 + 500 * 0.25) / 1e6
    equal = requests_per_hour_to_equal(way, api)
    assert round(api, 6) == 0.000285
    assert round(equal) == 7018
    assert round(equal / (3600 * served.requests_per_s.expected), 2) == 0.78
    assert "7,018" in (ROOT / "docs" / "cost.md").read_text()


ROW = StackRow(gpu="rtx4090", services=[ServiceRow(model="qwen3-8b", input=1000, output_tokens=250, concurrency=4)])
MONEY = Terms(rent_usd_per_hour=0.5, buy_usd=3000, years=3, utilization=0.5, usd_per_kwh=0.3, watts=400, documents=7200)


def test_an_answer_follows_from_its_own_figures():
    answer = cost_json(cost_of(ROW, MONEY, TODAY))
    rented, bought = answer["ways"]
    assert isclose(rented["usd_per_serving_hour"], 0.5 / 0.5)
    assert isclose(bought["usd_per_serving_hour"], 3000 / (3 * 8760 * 0.5) + 0.4 * 0.3)
    for load_cost in answer["loads"]:
        rate, share = load_cost["requests_per_s"]["expected"], load_cost["prompt_share"]
        assert isclose(load_cost["documents_hours"]["expected"], 7200 / rate / 3600)
        for way, cost in zip(answer["ways"], load_cost["costs"], strict=True):
            hour = way["usd_per_serving_hour"]
            assert isclose(cost["usd_per_million_prompt_tokens"]["expected"], hour * share / (rate * 3600 * 1000) * 1e6)
            assert isclose(cost["usd_per_million_output_tokens"]["expected"], hour * (1 - share) / (rate * 3600 * 250) * 1e6)
            assert cost["documents_usd"]["low"] < cost["documents_usd"]["expected"] < cost["documents_usd"]["high"]
    asked, full = answer["loads"]
    assert asked["concurrency"] == 4 < full["concurrency"]
    assert asked["costs"][0]["usd_per_request"]["expected"] > full["costs"][0]["usd_per_request"]["expected"]


def test_a_rate_takes_as_many_machines_as_hold_it():
    row = replace(ROW, services=[replace(ROW.services[0], concurrency=None)])
    few, many = (cost_json(cost_of(row, Terms(rent_usd_per_hour=1.0, requests_per_s=rate), TODAY)) for rate in (0.1, 50.0))
    one, full = few["loads"]
    assert one["machines"] == {"low": 1, "expected": 1, "high": 1}
    assert isclose(one["costs"][0]["usd_per_request"]["expected"], 1.0 / 360)
    held = full["requests_per_s"]["expected"]
    assert many["loads"][0]["machines"]["expected"] == -(-50 // held)


def test_several_users_of_an_engine_with_slots_have_one_each():
    row = replace(ROW, engine="llama.cpp")
    asked, full = cost_of(row, Terms(rent_usd_per_hour=1.0), TODAY).loads
    assert (asked.concurrency, full.concurrency > 4) == (4, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--gpu", "rtx4090", "--input", "0"), "0 is not in the range"),
        (("--gpu", "rtx4090", "--documents", "0"), "0 is not in the range"),
        (("--gpu", "rtx4090", "--rate", "nan"), "nan is not a number"),
        (("--gpu", "rtx4090", "--utilization", "1.2"), "1.2 is not in the range"),
        (("--gpu", "rtx4090", "--watts", "-3"), "-3.0 is not in the range"),
        (("--gpu", "rtx4090", "--rent-usd-per-hour", "1e300"), "is not in the range"),
        (("--gpu", "rtx4090", "--rate", "2", "--concurrency", "3"), "both say what is asked"),
        (("--gpu", "rtx4090", "--concurrency", "100000"), "run at once"),
        (("--gpu", "rtx4090", "--input", "9999999"), "exceed the model's"),
        (("--gpu", "rtxa4000"), "no price of RTX A4000"),
    ],
)
def test_what_has_no_answer_is_said_in_a_line(words, says, tmp_path):
    done = run_plan("cost", "--model", "qwen3-4b", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.parametrize("terms", [{"documents": 0}, {"documents": 2.5}, {"documents": True}, {"documents": 10**16}])
def test_documents_are_counted(terms):
    with pytest.raises(PlannerError, match="cannot be counted"):
        cost_of(ROW, replace(MONEY, **terms), TODAY)


def test_no_cost_without_a_price():
    assert "rtxa4000" not in read_prices().rent | read_prices().buy
    row = replace(ROW, gpu="rtxa4000", services=[replace(ROW.services[0], model="qwen3-4b")])
    with pytest.raises(PlannerError, match="no price"):
        cost_of(row, Terms(), TODAY)
    (way,) = cost_of(row, Terms(buy_usd=700), TODAY).ways
    assert (way.way.kind, way.price) == ("buy", None)


def seen(when: str, amount: float) -> Price:
    return Price(amount, "somebody", "", when)


def test_the_lowest_of_the_newest_prices_counts():
    assert lowest_current([seen("2020-09", 1.0), seen("2026-05", 3.0), seen("2025-12-31", 2.0)]).usd == 2.0
    assert lowest_current([seen("2026", 1.0), seen("2026-08", 3.0)]).usd == 3.0  # a year alone is its January
    assert lowest_current([seen("", 1.0), seen("2021", 3.0)]).usd == 3.0
    assert lowest_current([seen("", 2.0), seen("", 1.0)]).usd == 1.0


def test_old_prices_are_said_to_be():
    ages = {"2026-05": False, "2026-05-01": False, "2026-04-30": True, "2026": True, "": False}
    assert {when: seen(when, 1).is_old(TODAY) for when in ages} == ages
    notes = " ".join(cost_of(replace(ROW, gpu="l4", services=[ServiceRow(model="qwen3-4b")]), Terms(), TODAY).notes)
    assert "older than six months" in notes


def test_rents_that_ship_are_on_demand_and_say_whose_cloud_it_is():
    rents = [row for row in shipped("prices")["prices"] if row.get("rent_per_hour")]
    of_markets = [row["at"] for row in rents if row["at"].startswith(("RunPod", "Vast.ai", "AWS"))]
    assert of_markets
    assert not [row for row in rents if "spot" in row["at"].lower()]
    assert all(", " in at for at in of_markets), "one of these asks several prices for a card: which is it?"
    card = load.find_gpu("l40")
    (rented, *_) = notes(priced_ways(card, 2, Terms(), read_prices()), Terms(), card, 2, TODAY)
    assert "2 x $0.82 an hour, RunPod, secure cloud (SKY" in rented


def test_machines_have_the_sizes_that_are_sold():
    prices = read_prices()
    kinds = {
        "rtx3090": "consumer",
        "rtx5090": "consumer",
        "l40s": "workstation",
        "rtxpro6000": "workstation",
        "h100": "datacenter",
        "mi300x": "instinct",
        "gb10": "whole",
    }
    assert {name: machine_kind(load.find_gpu(name)) for name in kinds} == kinds
    assert sizes_of(load.find_gpu("rtx3090"), prices) == (1, 2, 4)
    assert sizes_of(load.find_gpu("h100"), prices) == (1, 2, 4, 8)
    assert sizes_of(load.find_gpu("m4-max-64gb"), prices) == (1,)
    assert sizes_of(load.find_gpu("h100"), replace(prices, sizes={})) == ANY_SIZE


def test_own_sizes_win(tmp_path):
    own = tmp_path / "prices.yaml"
    own.write_text("currency: USD\nsizes: [{kind: consumer, counts: [8]}]\n")
    assert sizes_of(load.find_gpu("rtx3090"), read_prices(own)) == (8,)
    own.write_text("currency: USD\nsizes: [{kind: consumer, counts: [0]}]\n")
    with pytest.raises(PlannerError, match="no numbers of GPUs"):
        read_prices(own)


def test_one_file_has_one_currency(tmp_path):
    own = tmp_path / "prices.yaml"
    own.write_text("currency: USD\nprices: [{gpu: rtx4090, buy: 1750, currency: EUR}]\n")
    done = run_plan("cost", "--gpu", "rtx4090", "--model", "qwen3-8b", "--prices", str(own), cwd=tmp_path)
    assert done.returncode == 2
    assert "rtx4090 is priced in EUR, the file in USD; a file has one currency" in done.stderr
    assert done.stderr.count("\n") == 1


def test_own_prices_and_power_are_taken(tmp_path):
    own = tmp_path / "prices.yaml"
    own.write_text("currency: EUR\nin_usd: 1.1\nper_kwh: 0.3\nprices: [{gpu: rtx4090, buy: 1000}]\n")
    done = run_plan("cost", "--gpu", "rtx4090", "--count", "2", "--model", "qwen3-8b", "--prices", str(own), "--json", cwd=tmp_path)
    bought = json.loads(done.stdout)["ways"][1]
    assert isclose(bought["usd"], 2200)
    assert bought["power"] == {"watts": 900, "how": "stated", "idle_watts": 0.0, "usd_per_kwh": pytest.approx(0.33)}


@pytest.mark.parametrize(("gpu", "model", "engine"), [("rtx4090", "qwen3-8b", None), ("rtx4090", "qwen3-8b", "llama.cpp"), ("m4-max-64gb", "qwen3-8b", None)])
def test_full_is_as_many_as_capacity_says_run_at_once(gpu, model, engine):
    answer = planner.cost(gpu=gpu, model=model, engine=engine, rent_usd_per_hour=1.0)
    held = planner.capacity(gpu=gpu, model=model, engine=engine)
    assert answer.loads[1].concurrency == held.options[0].conservative.slots


def test_more_at_once_than_fit_are_refused_with_the_number_that_fits():
    with pytest.raises(PlannerError, match="13 requests of 2,500 tokens surely run at once") as refused:
        planner.cost(gpu="rtx4090", model="qwen3-8b", concurrency=500)
    assert "--concurrency 13" in refused.value.hint


def test_a_purchase_pays_off_within_its_years_or_not_at_all(tmp_path):
    money = ("--gpu", "rtx4090", "--model", "qwen3-8b", "--buy-usd", "1900", "--rent-usd-per-hour", "0.34")  # 7.7 months
    for years in (3, 0.5):
        text = " ".join(run_plan("cost", *money, "--rate", "0.001", "--years", str(years), cwd=tmp_path).stdout.split())
        assert f"does not pay off within {years:g} years" in text
        assert not re.search(r"buying pays off after [\d,.]+ months", text) or years == 3


def test_what_lacks_is_named_and_a_year_is_only_perhaps_old(tmp_path):
    text = " ".join(run_plan("cost", "--gpu", "rtx4090", "--model", "qwen3-8b", cwd=tmp_path).stdout.split())
    assert "nobody says what a kilowatt hour costs (--usd-per-kwh)." in text
    assert "--watts" not in text
    text = " ".join(run_plan("cost", "--gpu", "h100", "--model", "qwen3-8b", cwd=tmp_path).stdout.split())
    assert "(its month is not said), perhaps older than six months" in text


def test_the_table_fits_80_columns_where_they_are_asked_for(tmp_path):
    text = run_plan("cost", "--gpu", "rtx4090", "--model", "qwen3-8b", "--api", "openai:gpt-4o", cwd=tmp_path, COLUMNS="80").stdout
    assert not [line for line in text.splitlines() if len(line) > 80]
    assert "tokens/s each" in text
    assert " 0 % (0 to 0)" not in text

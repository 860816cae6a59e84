"""Choosing: orders that the docs explain, machines that do what is asked and none smaller that does, prices and their faults."""

import json
import re
import shlex
import time
from dataclasses import replace
from functools import cache
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner
from planner.catalogue import load
from planner.catalogue.build import ROOT
from planner.catalogue.cards import cards
from planner.catalogue.prices import own_prices_path, read_prices
from planner.catalogue.rows import PriceFile
from planner.catalogue.validation import adapter
from planner.catalogue.yaml_file import read_yaml
from planner.engines.vllm.weights import stage_weights
from planner.engines.work import active_parameters
from planner.errors import PlannerError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup
from planner.facts.speed import NoSpeed, Range, SpeedEstimate
from planner.facts.verdict import BoundBy, Grade, Verdict
from planner.questions.choose import CONTEXTS, LOST_DOUBLINGS, Fit, Offer, Variant, Wish, cannot_fit, choose, dominates, seen_by_each
from planner.questions.machine_sizes import sizes_of
from planner.questions.machines import Need, machines
from planner.questions.offers import offers
from planner.questions.reasons import reasons
from planner.questions.shortlist import machines_for, models_for
from planner.questions.standing import Standing, months
from planner.questions.stored import Stored
from planner.report.chosen import models_json
from planner.report.machines import machines_json
from planner.report.schemas import json_schema
from planner.units import GIB
from tests.conftest import run_plan


def group(gpu: str, count: int) -> GpuGroup:
    return GpuGroup(gpu=load.find_gpu(gpu), count=count)


@pytest.mark.parametrize(("gpu", "count", "purpose"), [("h100", 4, "chat"), ("h100", 4, "vision"), ("rtx3060", 1, "agent"), ("m4-max-64gb", 1, "chat")])
@pytest.mark.slow
def test_the_first_ten_are_those_of_all(gpu, count, purpose):
    """Models that cannot be among the first are not planned; that must not change who is."""
    here, wish = group(gpu, count), Wish(purpose=purpose)
    ten, everything = (choose(offers(here, purpose), wish, top) for top in (10, None))
    assert [one.offer.name for one in ten] == [one.offer.name for one in everything[:10]]
    assert [one.order for one in everything] == sorted((one.order for one in everything), reverse=True)


def test_what_is_skipped_for_its_size_would_not_start():
    here = group("rtx4090", 1)
    for row in load.model_rows():
        for variant in row.variants:
            bits = load.Entry(row, variant).bits
            if variant.is_checkpoint and variant.is_the_model and cannot_fit(row.parameters, bits, here.gpu.cuda_total_bytes):
                assert stage_weights(load.Entry(row, variant).spec(), Parallel())[0] > here.gpu.cuda_total_bytes


@pytest.mark.slow
def test_purposes_offer_what_suits_them():
    here = group("h100", 1)
    rows = {row.name: row for row in load.model_rows()}
    offered = {purpose: [rows[offer.name] for offer in offers(here, purpose)] for purpose in CONTEXTS}
    assert {row.kind for row in offered["embedding"]} == {"embedding"}
    assert {row.kind for row in offered["vision"]} == {"vision"}
    assert {row.kind for row in offered["chat"]} == {"chat", "vision"}
    assert all(row.tool_parser for row in offered["agent"])
    for row in (*offered["chat"], *offered["code"], *offered["vision"]):
        assert not row.only_for, row.name
        assert not next(variant for variant in row.variants if variant.default).is_base, row.name
    assert any(row.name.startswith("nemotron-h") for row in rows.values())  # a base model, which is in the catalogue
    code, chat = ([rows[one.offer.name] for one in choose(offers(group("rtx4090", 2), purpose), Wish(purpose=purpose), 6)] for purpose in ("code", "chat"))
    assert sum(row.made_for_code for row in code) > sum(row.made_for_code for row in chat)


def test_the_wish_decides_before_strength():
    found = choose(offers(group("rtx4090", 2), "chat", engines=("vllm",)), Wish(purpose="chat", context=131_072, users=4), 6)
    assert found[0].meets
    assert found[0].fit.at_once >= 4
    best = max(found, key=lambda one: one.merit)
    assert best is found[0] or not best.meets


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("qwen3-30b-a3b", 3.3),
        ("gpt-oss-120b", 5.1),
        ("deepseek-v3", 37),
        ("qwen3-8b", 8.2),
        ("qwen3-235b-a22b", 22),
        ("glm-4.5-air", 12),
        ("mixtral-8x7b", 12.9),
    ],
)
def test_active_parameters_are_what_the_makers_say(model, billions):
    assert active_parameters(load.find_model(model).spec()) / 1e9 == pytest.approx(billions, rel=0.12)


def test_bits_are_read_from_the_quantization():
    names = {"qwen3-8b": 16, "qwen3-8b-fp8": 8, "qwen3-8b-awq": 4, "llama-3.1-8b-w8a8": 8, "llama-3.1-8b-w4a16": 4, "gemma-4-31b-nvfp4": 4, "gpt-oss-20b": 4}
    for name, bits in names.items():
        entry = load.find_model(name)
        assert entry.bits == bits, name


def test_every_model_has_a_month():
    for row in load.model_rows():
        assert 2021 <= int(row.released[:4]) <= 2026, row.name
        assert months(row.released) >= months("2021-01")


@cache
def stored(name: str) -> tuple[Stored, ...]:
    entry = load.find_model(name)
    siblings = (load.Entry(entry.row, variant) for variant in entry.row.variants if variant.is_listed)
    return tuple(Stored(name=one.name, repo=one.variant.repo, bits=one.bits, model=one.spec()) for one in siblings)


CARDS = ("rtx3090", "rtx4090", "rtx5090", "a100-80", "h100", "l40s", "mi300x", "rtx3060")


@pytest.mark.slow
@given(
    st.sampled_from(["qwen3-8b", "qwen3-32b", "qwen3-vl-32b", "llama-3.1-70b", "gpt-oss-20b"]),
    st.sampled_from([4096, 32_768, 40_000]),
    st.sampled_from([1, 3, 12]),
)
def test_machines_do_what_is_asked_and_no_smaller_number_does(model, context, users):
    gpus = [load.find_gpu(name) for name in CARDS]
    try:
        found, could = machines(stored(model), gpus, Need(context, users), read_prices(), len(gpus))
    except PlannerError:
        return
    assert len(found) == could
    for one in found:
        assert one.plan.verdict == "starts"
        assert one.plan.context == context
        assert one.plan.own.choice.holds(users)
        assert one.count in sizes_of(one.gpu, read_prices())
        if one.count > 1:
            smaller = [n for n in sizes_of(one.gpu, read_prices()) if n < one.count and _serves(model, one.gpu.name, n, context, users)]
            assert not smaller


def _serves(model: str, gpu: str, count: int, context: int, users: int) -> bool:
    """Whether so many GPUs do what is asked with vLLM's own batch, which is what a machine is offered for."""
    from planner.engines.vllm.choice import Request
    from planner.engines.vllm.search import best, sizes
    from planner.errors import UnsupportedError

    for store in stored(model):
        request = Request(model=store.model, group=group(gpu, count), context=context, users=users)
        try:
            choice = best(request)
        except (PlannerError, UnsupportedError):
            continue
        usual = not choice.config.enforce_eager and choice.config.max_num_batched_tokens == sizes(request)[0].max_num_batched_tokens
        if choice.verdict == "starts" and usual and choice.holds(users):
            return True
    return False


def test_costs_are_in_order():
    gpus = list(cards())
    found, _ = machines(stored("qwen3-32b"), gpus, Need(32_768, 2), read_prices(), 60)
    rents = [one.rent_usd_per_hour for one in found if one.rent_usd_per_hour is not None]
    assert rents == sorted(rents)
    unpriced = [one.rent is None and one.buy is None for one in found]
    assert unpriced == sorted(unpriced)


def test_the_shipped_prices_are_valid():
    found = adapter(PriceFile).validate_python(read_yaml(ROOT / "prices.yaml", 10**6))
    assert all(row.source and row.date and row.at for row in found.prices)
    for row in found.prices:
        assert load.find_gpu(row.gpu).name == row.gpu
    assert json_schema("prices")["required"] == ["currency"]


def test_own_prices_win_and_other_currencies_are_converted(tmp_path):
    own = tmp_path / "prices.yaml"
    own.write_text("currency: EUR\nin_usd: 1.1\nper_kwh: 0.3\nprices:\n- {gpu: RTX 4090, buy: 1000}\n- {gpu: h100, rent_per_hour: 99}\n")
    found = read_prices(own)
    assert found.buy["rtx4090"].usd == pytest.approx(1100)
    assert found.rent["h100"].usd == pytest.approx(108.9)
    assert found.kwh_usd == pytest.approx(0.33)
    assert found.rent["rtx4090"] == read_prices().rent["rtx4090"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("currency: EUR\nprices: [{gpu: rtx4090, buy: 1}]", "cannot be compared with those in USD"),
        ("currency: USD\nprices: [{gpu: rtx4090}]", "give rent_per_hour or buy"),
        ("currency: USD\nprices: [{gpu: rtx4090, buy: .nan}]", "is no price"),
        ("currency: USD\nprices: [{gpu: rtx4090, buy: -3}]", "is no price"),
        ("currency: USD\nprices: [{gpu: rtx9999, buy: 3}]", "not in the catalogue"),
        ("currency: USD\nprices: [{gpu: rtx4090, buy: 3, colour: red}]", "colour"),
        ("prices: 3", "currency"),
        ("- 1", "prices.yaml"),
    ],
)
def test_faults_of_prices(text, says, tmp_path):
    own = tmp_path / "prices.yaml"
    own.write_text(text)
    done = run_plan("--model", "qwen3-8b", "--prices", str(own), cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_own_prices_lie_in_the_configuration_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own_prices_path().parent.mkdir()
    own_prices_path().write_text("currency: USD\nprices: [{gpu: t4, buy: 77}]")
    assert read_prices().buy["t4"].usd == 77


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--gpu", "rtx4090", "--count", "2"), ("--model", "qwen3-vl-32b", "--context", "128k", "--users", "10")])
def test_the_commands_write_nothing_and_their_json_is_as_the_schema_says(arguments, tmp_path):
    start = time.perf_counter()
    done = run_plan(*arguments, "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 20  # the figure is in docs/accuracy.md; this only notices an order of magnitude
    found = json.loads(done.stdout)
    kind = "models" if "models" in found else "machines"
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(found, json_schema(f"chosen-{kind}"))
    assert list(tmp_path.iterdir()) == []
    text = run_plan(*arguments, cwd=tmp_path).stdout
    assert found[kind][0].get("arguments", found[kind][0]["model"]).split()[-1] in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--gpu", "rtx3060", "--users", "5000"), 1, "less than asked"),
        (("--gpu", "rtx3060", "--for", "poetry"), 2, "poetry"),
        (("--gpu", "rtx4090", "-tp", "2"), 2, "--tensor-parallel-size is about one model"),
        (("--model", "qwen3-8b", "--for", "chat"), 2, "--for is about one kind of GPU"),
        (("--model", "qwen3-8b", "--context", "999k"), 2, "beyond the model's"),
        (("--model", "qwen3-8b", "--users", "100000"), 2, "no machine of up to 8"),
        (("--model", "qwen3-8bb"), 2, "unknown model"),
        pytest.param(("--gpu", "rtx3060", "--for", "chat", "--context", "10000000"), 2, "no model of the catalogue starts", marks=pytest.mark.slow),
    ],
)
def test_wishes_that_nothing_meets(arguments, code, says, tmp_path):
    done = run_plan(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("gpu", "count", "purpose"),
    [
        pytest.param("rtx3060", 1, "chat", marks=pytest.mark.slow),
        ("gb10", 1, "agent"),
        pytest.param("rtx4090", 2, "code", marks=pytest.mark.slow),
        ("h100", 8, "embedding"),
    ],
)
def test_no_row_stands_above_one_that_dominates_it_and_none_is_below_the_floor(gpu, count, purpose):
    wish = Wish(purpose=purpose)
    found = choose(offers(group(gpu, count), purpose), wish, 8)
    assert found
    for place, model in enumerate(found):
        assert not any(dominates(below, model) for below in found[place + 1 :]), model.offer.name
        assert model.tokens_per_s is None or model.tokens_per_s >= wish.floor
        assert model.on_front == (not any(dominates(other, model) for other in found))


def test_a_floor_can_be_set_and_what_is_below_it_is_shown_and_said_where_nothing_else_is():
    here = group("gb10", 1)
    plain, quick = (choose(offers(here, "chat", engines=("vllm",)), Wish(purpose="chat", min_tokens_per_s=floor), 3) for floor in (None, 60.0))
    assert all(one.tokens_per_s >= 15 for one in plain)
    assert all(one.tokens_per_s >= 60 for one in quick)
    absurd = choose(offers(here, "chat", engines=("vllm",)), Wish(purpose="chat", min_tokens_per_s=1e5), 3)
    assert len(absurd) == 3
    assert all(one.is_slow and one.lacking == "is slower than 100,000 tokens/s" for one in absurd)


def test_a_floor_is_for_each_of_the_asked_users():
    here, wish = group("l40s", 1), Wish(purpose="chat", users=16)
    for one in choose(offers(here, "chat", engines=("vllm",)), wish, 3):
        assert one.tokens_per_s == seen_by_each(one.fit.speed, 16) >= wish.floor
        assert one.fit.users >= 16


def test_a_small_model_that_embeds_is_copied_and_not_divided():
    best = choose(offers(group("h100", 8), "embedding"), Wish(purpose="embedding"), 4)
    assert all("--data-parallel-size 8" in one.fit.arguments and "tp 1 x dp 8" in one.fit.settings for one in best)


def test_machines_of_a_model_are_no_slower_than_the_floor_where_one_reaches_it():
    gpus = [load.find_gpu(name) for name in ("rtx3090", "l4", "t4", "a40", "h100")]
    need = Need(4096, 1, 15.0)
    found, could = machines(stored("qwen3-32b"), gpus, need, read_prices(), 5)
    assert could == 5
    assert found
    assert not any(one.is_slow for one in found)
    slow, _ = machines(stored("qwen3-32b"), gpus, Need(4096, 1, 1e6), read_prices(), 5)
    assert slow
    assert all(one.is_slow for one in slow)


def test_each_purpose_has_a_context():
    assert set(CONTEXTS) == {"agent", "chat", "code", "vision", "embedding"}


def test_a_model_that_gives_up_cuda_graphs_for_a_context_nobody_asked_for_comes_later():
    wish = Wish(purpose="code")
    found = choose(offers(group("rtx4070", 1), "code", engines=("vllm",)), wish)
    eager = [number for number, one in enumerate(found) if not one.fit.graphs]
    meeting = [number for number, one in enumerate(found) if one.meets and one.fit.verdict == "starts"]
    assert eager, "the card has no such model any more: take another"
    assert max(meeting) < min(eager)
    assert all("no CUDA graphs" in found[number].fit.settings for number in eager)


@pytest.mark.slow
def test_who_owns_a_12_gb_card_is_told_of_what_runs_there():
    """llama.cpp's and Ollama's quantizations, experts in main memory where a model has some; one engine where it is named."""
    best = choose(offers(group("rtx3060", 1), "code"), Wish(purpose="code"), 5)
    assert {one.bits for one in best} <= {4, 8}  # a small one in 8 bits beside those whose experts are read at a guessed speed
    assert all(one.fit.engine == "Ollama" and ("Q4_K_M" if one.bits == 4 else "Q8_0") in one.fit.arguments for one in best)
    assert any(not one.fit.on_gpu and one.offer.active_parameters < one.offer.parameters / 5 for one in best)
    assert all(one.meets and "vLLM" in one.reason for one in best)
    named = choose(offers(group("rtx3060", 1), "code", engines=("llama.cpp",)), Wish(purpose="code"), 1)
    assert named[0].fit.arguments.endswith("--engine llama.cpp")


def test_little_main_memory_holds_no_experts():
    here = replace(group("rtx3060", 1), ram_bytes=8 * GIB)
    assert all(one.fit.on_gpu or "gemma" in one.offer.name for one in choose(offers(here, "code", engines=("llama.cpp",)), Wish(purpose="code"), 3))


def test_a_data_centre_is_offered_its_usual_engine():
    assert {one.fit.engine for one in choose(offers(group("h100", 1), "chat"), Wish(purpose="chat"), 3)} == {"vLLM"}
    assert {one.fit.engine for one in choose(offers(group("m4-max-64gb", 1), "chat"), Wish(purpose="chat"), 3)} >= {"MLX"}


NUMBERS = st.sampled_from([0.5, 4.0, 9.0, 14.9, 15.0, 22.0, 29.0, 30.0, 31.0, 70.0, 200.0])


@st.composite
def made_up_offers(draw):
    """Models with one way each, of any quality, speed and users."""
    made = []
    for number in range(draw(st.integers(1, 7))):
        rate, users = draw(st.one_of(st.none(), NUMBERS)), draw(st.sampled_from([1.0, 2.5, 8.0, 40.0]))
        speed = NoSpeed("made up") if rate is None else made_up_speed(rate)
        fit = Fit(
            engine="Made",
            arguments=f"--model m{number}",
            repo="made/up",
            verdict=draw(st.sampled_from([Verdict.STARTS, Verdict.STARTS, Verdict.TIGHT])),
            context=8192,
            longest_context=8192,
            at_once=users,
            users=int(users),
            weights_bytes=1,
            settings="",
            on_gpu=draw(st.booleans()),
            speed=speed,
        )
        bits = draw(st.sampled_from([16, 8, 4]))
        ceiling = draw(st.sampled_from([1.0, 1.3])) * rate if rate else inf
        way = Variant(bits=bits, engine="Made", lost_doublings=LOST_DOUBLINGS[bits], most_tokens_per_s=ceiling, fit=lambda _, fit=fit: fit)
        standing = Standing(doublings=draw(st.sampled_from([3.0, 8.1, 8.2, 9.0, 12.0])), basis="rule")
        name = f"m{number}"
        known = load.find_model("qwen3-8b").spec
        replaces = f"m{draw(st.integers(0, 6))}" if draw(st.booleans()) else ""
        offer = Offer(
            name=name,
            released="2026-01",
            replaces=replaces,
            parameters=10**9,
            active_parameters=10**9,
            standing=standing,
            spec=known,
            variants=lambda way=way: [way],
        )
        made.append(offer)
    return made


def made_up_speed(rate: float) -> SpeedEstimate:
    figure = Range(rate, rate, rate)
    return SpeedEstimate(
        grade=Grade.EXTRAPOLATED,
        because="made up",
        prompt_tokens=1,
        answer_tokens=1,
        users=1,
        tokens_per_s=figure,
        total_tokens_per_s=None,
        time_to_first_token_s=None,
        tpot_s=Range(1 / rate, 1 / rate, 1 / rate),
        ttft_s=None,
        at_once=1,
        bound_by=BoundBy.WEIGHTS,
    )


@given(made_up_offers(), st.sampled_from([None, 0.0, 20.0, 1000.0]), st.sampled_from([None, 1, 2, 3]))
def test_no_row_stands_above_one_that_dominates_it_whatever_is_offered(made, floor, top):
    wish = Wish(purpose="chat", min_tokens_per_s=floor)
    found, everything = (choose(made, wish, number) for number in (top, None))
    for place, model in enumerate(found):
        assert not any(dominates(below, model) for below in found[place + 1 :])
    assert [one.offer.name for one in found] == [one.offer.name for one in everything[:top]]
    slow = [one.is_slow for one in found]
    assert not any(slow) or all(slow)
    assert all(one.lacking for one in found if one.is_slow)
    assert len(reasons(found)) == len(found)


def test_a_form_that_no_engine_has_is_refused_and_one_that_an_engine_has_is_planned_by_it():
    with pytest.raises(PlannerError, match="--quantization banana"):
        machines_for("qwen3-8b", quantization="banana", top=1)
    for form, engine in (("Q4_K_M", "ollama"), ("Q8_0", "ollama"), ("fp8", "vllm")):
        answer = machines_for("qwen3-8b", quantization=form, top=2)
        assert {(one.plan.engine, one.stored.form) for one in answer.machines} == {(engine, form)}


@pytest.mark.parametrize("model", ["gemma-4-12b", "qwen3-32b"])
def test_machines_of_a_model_consider_the_ways_in_which_the_model_is_chosen_for_a_gpu(model):
    """What is offered for one card at the same wish is not dearer than what is said to cost least."""
    answer = machines_for(model, top=4)
    prices = read_prices()
    floor = answer.need.floor
    for gpu in ("rtx3090", "rtx4090"):
        alone = [offer for offer in offers(group(gpu, 1), "chat") if offer.name == model]
        best = choose(alone, Wish(context=answer.need.context, users=1, min_tokens_per_s=floor))
        for one in best:
            if one.is_done and one.fit.on_gpu and not one.is_slow:
                assert (answer.machines[0].rent_usd_per_hour or 0) <= prices.rent[gpu].usd


def test_a_machines_command_plans_that_machine(plan_json):
    for one in machines_json(machines_for("gemma-4-12b", top=2))["machines"]:
        words = shlex.split(one["command"])[1:]
        _, found = plan_json(*words)
        assert (found["hardware"]["gpu"], found["verdict"]) == (one["gpu"], "starts")
        assert found["settings"].get("tensor_parallel_size", 1) == one["tensor_parallel_size"]


@pytest.mark.slow
def test_a_row_of_unknown_speed_is_not_the_nearest_to_a_wish_that_nothing_reaches():
    found = choose(offers(group("rtx3060", 1), "chat"), Wish(min_tokens_per_s=1e5), 8)
    rates = [one.tokens_per_s or 0.0 for one in found]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0


def test_a_better_model_that_only_the_floor_leaves_out_is_told():
    answer = models_for(group("gb10", 1), Wish(), top=3)
    (missed,) = [one for one in answer.missed if one.offer.name == "qwen3.8-27b"]
    assert (missed.tokens_per_s or 0) < answer.wish.floor
    assert any("qwen3.8-27b" in note for note in answer.notes)


def test_a_model_that_fills_blocks_is_neither_timed_token_by_token_nor_offered_to_agents():
    names = [row.name for row in load.model_rows() if any("Diffusion" in one for one in row.config.get("architectures") or [])]
    assert names
    for purpose in ("agent", "code", "chat"):
        assert not {offer.name for offer in offers(group("h100", 1), purpose)} & set(names)
    plan = planner.plan(model=names[0], gpu="h100", context="8k")
    assert "diffusion" in (plan.to_dict()["speed_reason"] or "")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--gpu", "h200", "--count", "8", "--for", "agent"), ("--gpu", "rtx3060", "--min-speed", "100000")])
def test_figures_are_no_powers_of_ten(arguments, tmp_path):
    text = run_plan(*arguments, cwd=tmp_path).stdout
    assert not re.search(r"\de[+-]\d", text)
    assert not re.search(r"\b1 \w*(users|GPUs|months|requests)\b", text)


def test_a_models_command_plans_it(plan_json):
    for one in models_json(models_for(group("rtx4090", 2), Wish(context=16_384, users=2), top=3))["models"]:
        _, found = plan_json(*shlex.split(one["command"])[1:])
        assert (found["hardware"]["count"], found["verdict"], found["settings"].get("max_model_len", 16_384)) == (2, "starts", 16_384)

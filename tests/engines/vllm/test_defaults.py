"""No default is worse than another plan in all that a user gets, and no reason is untrue: every other setting is tried."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import gpu
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import groups, models

from benchmarks.cards import kinds_of_cards
from planner.catalogue import load
from planner.engines.vllm.choice import Choice, Request
from planner.engines.vllm.plan import make_plan
from planner.engines.vllm.search import FEWEST_SEQS, LEAST_CONTEXT, SHORT_FOR_LONG, USEFUL_CONTEXT, best, sizes
from planner.engines.vllm.settings import REPORTED, Pins
from planner.engines.vllm.splits import splits
from planner.errors import PlannerError, UnsupportedError
from planner.facts.hardware import GpuGroup

REFUSED = (PlannerError, UnsupportedError)
COMMON = ("rtx3090", "rtx4090", "rtx5090", "a100-80gb", "h100", "l40s", "l4")
SETTINGS = tuple(setting.name for setting in REPORTED)


def ask(model: str, gpu_name: str, count: int = 1, **wish) -> Request:
    return Request(model=load.find_model(model).spec(), group=GpuGroup(gpu=gpu(gpu_name), count=count), **wish)


def others(request: Request):
    """What each way to pin split, cache dtype, graphs, batch and sequences comes to."""
    batches = {(size.max_num_batched_tokens, size.max_num_seqs) for size in sizes(request)} | {(None, None), (None, 64)}
    for parallel in splits(request):
        for dtype in ("auto", "fp8_e4m3"):
            for eager in (False, True):
                for batch, seqs in batches:
                    pins = Pins(
                        tensor_parallel_size=parallel.tensor_parallel_size,
                        pipeline_parallel_size=parallel.pipeline_parallel_size,
                        data_parallel_size=parallel.data_parallel_size,
                        kv_cache_dtype=dtype,
                        enforce_eager=eager,
                        max_num_batched_tokens=batch,
                        max_num_seqs=seqs if batch is None or seqs is None or seqs <= batch else None,
                    )
                    try:
                        yield best(replace(request, pins=pins))
                    except REFUSED:
                        continue


def gets(request: Request, choice: Choice, context: int) -> tuple[float, ...]:
    """What a user gets of a plan; more is better in each. Requests are counted at one `context`, so that plans compare.

    Tensor parallelism counts as what a lone user gets: each GPU reads its share of the weights for every token. A 16-bit cache counts as more precise where its context is useful or asked for; sequences beyond the asked users, or beyond what a cache holds of requests that are an eighth as long, are for nobody.
    """
    if choice.verdict == "does_not_start":
        return (0.0,) * 10
    config, ledger, model = choice.config, choice.conservative, request.model
    sure = choice.verdict == "starts"  # sequences of a tight start make it tighter
    useful = config.max_model_len >= min(USEFUL_CONTEXT, model.max_position_embeddings) or request.context is not None
    engines, requests = config.data_parallel_size, config.max_num_seqs
    if not model.is_encoder:
        requests = (ledger.kv_cache_blocks - ledger.reserved_blocks) / ledger.length.cache.blocks_per_request(context, ledger.length.in_flight_tokens)
    seqs = config.max_num_seqs * engines
    return (
        choice.verdict.rank,
        choice.holds(request.users),
        not config.enforce_eager,
        config.max_model_len,
        requests * engines if sure else 0,
        config.max_num_batched_tokens,
        min(seqs, request.users or seqs, max(FEWEST_SEQS, int(SHORT_FOR_LONG * requests)) * engines) if sure else 0,
        config.tensor_parallel_size,
        -config.pipeline_parallel_size,
        useful and config.kv_cache_dtype == "auto",
    )


def dominated(request: Request, choice: Choice) -> list[Choice]:
    context = choice.config.max_model_len
    own, found = gets(request, choice, context), []
    for other in others(request):
        theirs = gets(request, other, context)
        if theirs != own and all(a >= b for a, b in zip(theirs, own, strict=True)):
            found.append(other)
    return found


def as_chosen(request: Request, choice: Choice, **changes) -> Request:
    """The question with every setting pinned as it was chosen, but for some."""
    pinned = {name: getattr(choice.config, name) for name in SETTINGS if name != "max_model_len" or request.context or request.pins.max_model_len}
    return replace(request, pins=replace(request.pins, **(pinned | changes)))


def untrue(request: Request, choice: Choice) -> list[str]:
    """Claims that do not hold where the choice is undone."""
    wrong = []
    for claim in choice.claims:
        try:
            plan = make_plan(as_chosen(request, choice, **dict(claim.pins)), repo="x/y", served_name="y")
        except REFUSED:
            if claim.outcome != "refused":
                wrong.append(f"{claim}: refused")
            continue
        other = plan.choice
        holds = {
            "not sure": other.verdict != "starts",
            "fewer users": other.verdict != "starts" or not other.holds(request.users),
            "shorter": other.config.max_model_len < choice.config.max_model_len,
            "refused": False,
        }
        if not holds[claim.outcome]:
            wrong.append(f"{claim}: {other.verdict}, {other.config.max_model_len}, {other.conservative.max_concurrency:.2f}")
    return wrong


def judged(request: Request) -> list[str]:
    """What is wrong with a default, as texts."""
    try:
        choice = best(request)
    except REFUSED:
        return []
    wrong = untrue(request, choice)
    wrong += [f"dominated by {other.config}" for other in dominated(request, choice)[:1]]
    return [f"{request.model.name} on {request.group.label}, context {request.context}, users {request.users}: {choice.config}: {each}" for each in wrong]


def test_a_32b_model_on_one_24_gb_card_keeps_cuda_graphs_and_the_longer_context():
    # 16-bit and eager: 12,288 tokens; with an FP8 cache graphs fit and 15,360 tokens do
    choice = best(ask("qwen3-32b-awq", "rtx4090"))
    assert (choice.config.max_model_len, choice.config.kv_cache_dtype, choice.config.enforce_eager) == (15_360, "fp8_e4m3", False)


def test_users_that_cannot_be_held_are_no_reason_for_a_pipeline():
    choice = best(ask("qwen3-vl-32b-awq", "rtx4090", 2, users=20, context=65_536))
    assert (choice.config.tensor_parallel_size, choice.verdict) == (2, "starts")
    assert not choice.config.enforce_eager


def test_a_context_that_costs_cuda_graphs_says_which_one_keeps_them():
    request = ask("phi-4-awq", "rtx3060")
    lengths = range(3072, 8704, 512)
    plans = [make_plan(replace(request, context=length), repo="x/y", served_name="y") for length in lengths]
    eager = next(plan for plan in plans if plan.config.enforce_eager)
    kept = eager.choice.longest_with_graphs // 1024 * 1024
    assert kept in range(3072, eager.request.context, 512)
    assert eager.verdict == "starts"
    assert all(not plan.config.enforce_eager for plan in plans[: plans.index(eager)])  # a smaller batch comes before eager mode
    (warning,) = [warning for warning in eager.warnings if warning.code == "eager"]
    assert f"--context {kept} keeps them" in warning.message
    assert "CUDA graphs would end at" in dict(eager.choice.reasons)["enforce_eager"]


def test_a_smaller_batch_is_tried_before_a_model_is_said_not_to_start():
    request = ask("qwen3-14b-awq", "rtx3060")
    choice, usual = best(request), best(replace(request, pins=Pins(max_num_batched_tokens=2048)))
    assert choice.config.max_num_batched_tokens < 2048
    assert choice.config.max_model_len > usual.config.max_model_len
    assert choice.longest_with_graphs == 0  # compiling would hold its embedding of 1.4 GiB a second time


def test_the_longest_context_that_holds_the_same_film_is_tried():
    """What the tower takes of a film grows in steps of the context: an 8-bit cache is worth it just below the next one."""
    assert judged(ask("qwen2.5-vl-3b-awq", "rtx5000ada")) == []


@pytest.mark.parametrize(("number", "card"), [*enumerate(("rtx3060", "rtx4090", "l4", "t4", "a100-80gb", "h100", "mi300x"))])
def test_no_default_is_dominated_and_no_reason_untrue(number, card):
    """Other models on each card."""
    names = [load.Entry(row, row.variants[0]).name for row in load.model_rows()]
    wrong = [line for name in names[2 * number :: 18] for line in judged(ask(name, card))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("users", [None, 6])
def test_nor_is_one_on_several_gpus(count, users):
    names = ["qwen3-32b-awq", "llama-3.3-70b", "qwen3-vl-30b-a3b", "gemma-3-27b", "gpt-oss-120b", "qwen3-embedding-8b"]
    wrong = [line for name in names for card in ("rtx4090", "h100") for line in judged(ask(name, card, count, users=users, context=16_384 if users else None))]
    assert not wrong, "\n".join(wrong)


@given(models(), groups(), st.sampled_from([None, 4096, 30_000]), st.sampled_from([None, 1, 5]))
def test_nor_is_one_of_a_generated_model(model, group, context, users):
    assume(context is None or context <= model.max_position_embeddings)
    assert not judged(Request(model=model, group=group, context=context, users=users))


def test_graphs_are_worth_more_than_a_few_tokens():
    for name in ("qwen3-32b-awq", "qwen3-14b", "qwen3-vl-8b-fp8"):
        for card in ("rtx4090", "rtx5090", "rtx4080", "l4", "a10"):
            choice = best(ask(name, card))
            if choice.config.enforce_eager and choice.verdict == "starts":
                graphs = best(replace(ask(name, card), pins=Pins(enforce_eager=False)))
                assert graphs.verdict != "starts" or 2 * graphs.config.max_model_len < choice.config.max_model_len < 2 * LEAST_CONTEXT


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_no_default_of_the_catalogue_is_dominated_or_untrue(part):
    """Every model on one in 24 of the single GPUs and of two and four of the common ones, others for each next model: all of them would take an hour."""
    cards = [(card.name, 1) for card in kinds_of_cards()] + [(name, count) for name in COMMON for count in (2, 4)]
    entries = [load.Entry(row, variant) for row in load.model_rows() for variant in row.variants if variant.is_listed]
    wrong = []
    for index, entry in enumerate(entries[part::8]):
        model = entry.spec()
        for card, count in cards[index % 24 :: 24]:
            wrong += judged(Request(model=model, group=GpuGroup(gpu=gpu(card), count=count)))
    assert not wrong, "\n".join(wrong[:40])

"""Choosing settings, by hand: how GPUs are split, which sizes are tried, how many sequences, what is preferred to what."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

import pytest
from conftest import config_model, gpu, small_model

from planner.catalogue.load import Entry, find_model, gpu_rows, model_rows
from planner.engines.vllm import search
from planner.engines.vllm.choice import Choice, Request
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.kvcache import CacheGroup, CachePlan
from planner.engines.vllm.ledger import Length, MemoryBreakdown
from planner.engines.vllm.memory import Placement
from planner.engines.vllm.search import best, enough, evaluate, is_possible, kv_dtypes, longest_for_users, preference, sequences, sizes
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.engines.vllm.splits import cannot_split, splits
from planner.errors import PlannerError
from planner.facts.attention import FullAttention
from planner.facts.hardware import GpuGroup
from planner.facts.model import LayerGroup
from planner.facts.verdict import Verdict

FULL = FullAttention(kv_heads=8, head_dim=125, head_dim_v=125)


def request(card: str = "h100", *, count: int = 1, nodes: int = 1, context: int | None = None, users: int | None = None, model=None, **pins) -> Request:
    """A question about 16 layers with 8 heads."""
    layers = (LayerGroup(indices=tuple(range(16)), modules=(), caches=(FULL,)),)
    made = model or small_model(layers=layers, max_position_embeddings=131_072)
    return Request(model=made, group=GpuGroup(gpu=gpu(card), count=count, nodes=nodes), pins=Pins(**pins), context=context, users=users)


def shape(parallels) -> list[tuple[int, int]]:
    return [(each.tensor_parallel_size, each.pipeline_parallel_size) for each in parallels]


@pytest.mark.parametrize(
    ("asked", "tried"),
    [
        ({}, [(1, 1)]),
        ({"count": 4}, [(4, 1), (2, 2), (1, 4)]),
        ({"count": 6}, [(2, 3), (1, 6)]),  # 8 heads: neither 6 nor 3
        ({"count": 8, "nodes": 2}, [(4, 2), (2, 4), (1, 8)]),  # within a machine of four
        ({"count": 4, "tensor_parallel_size": 2}, [(2, 1)]),  # the other two are left alone
        ({"count": 4, "pipeline_parallel_size": 2}, [(2, 2)]),
        ({"count": 4, "tensor_parallel_size": 2, "pipeline_parallel_size": 2}, [(2, 2)]),
        ({"count": 3, "pipeline_parallel_size": 3}, [(1, 3)]),
    ],
)
def test_all_gpus_are_used_most_tensor_parallel_first(asked, tried):
    assert shape(splits(request(**asked))) == tried


def test_a_pinned_expert_parallelism_is_kept():
    assert [each.enable_expert_parallel for each in splits(request(count=2, enable_expert_parallel=True))] == [True, True]


@pytest.mark.parametrize(
    ("asked", "said", "hint"),
    [
        ({"count": 3}, "3 GPUs: tensor parallel size 3 does not divide 8 attention heads", "use --count 2, or -pp 3 (one layer group a GPU)"),
        ({"count": 3, "tensor_parallel_size": 3}, "3 GPUs: tensor parallel size 3 does not divide 8 attention heads", "use --count 2"),
        ({"count": 2, "tensor_parallel_size": 4}, "tensor parallel size 4 x pipeline parallel size 1 needs 4 GPUs, there are 2", ""),
        ({"count": 2, "tensor_parallel_size": 2, "pipeline_parallel_size": 2}, "size 2 x pipeline parallel size 2 needs 4 GPUs, there are 2", ""),
        ({"count": 8, "nodes": 2, "tensor_parallel_size": 8}, "tensor parallel size 8 would cross machines of 4 GPUs", "-tp 4 -pp 2"),
        ({"count": 32, "nodes": 32, "pipeline_parallel_size": 32}, "32 GPUs: pipeline parallel size 32 exceeds 16 layers", "use --count 8"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_one_that_can(asked, said, hint):
    with pytest.raises(PlannerError) as refused:
        splits(request(**asked))
    assert said in refused.value.message
    assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("changed", "tp", "pp", "why"),
    [
        ({}, 8, 1, ""),
        ({}, 3, 1, "tensor parallel size 3 does not divide 8 attention heads"),
        ({"kv_heads": 2}, 8, 1, ""),  # replicated: 2 divides 8
        ({"attention_heads": 12, "kv_heads": 3}, 2, 1, "tensor parallel size 2 and 3 key-value heads: one must divide the other"),
        ({"attention_heads": 12, "kv_heads": 3}, 3, 1, ""),
        ({"pipeline": False}, 1, 2, "vLLM does not split LlamaForCausalLM over pipeline stages"),
        ({"pipeline": False}, 1, 1, ""),
        ({}, 1, 16, ""),
        ({}, 1, 17, "pipeline parallel size 17 exceeds 16 layers"),
    ],
)
def test_heads_and_layers_decide_what_can_be_split(changed, tp, pp, why):
    assert cannot_split(request(model=small_model(**changed)), tp, pp) == why


@pytest.mark.parametrize(
    ("card", "pins", "tried"),
    [
        ("h100", {}, ["auto", "fp8_e4m3"]),
        ("h100", {"kv_cache_dtype": "fp8_e5m2"}, ["fp8_e5m2"]),
        ("t4", {}, ["auto"]),  # Triton has no FP8 cache before 8.9
    ],
)
def test_the_models_own_cache_is_tried_before_a_narrow_one(card, pins, tried):
    assert kv_dtypes(request(card, **pins)) == tried


def test_a_cache_that_the_checkpoint_names_is_its_own():
    assert kv_dtypes(request(model=replace(request().model, kv_cache_dtype="fp8_e4m3"))) == ["auto"]


@pytest.mark.parametrize(
    ("asked", "tried"),
    [
        # an H100: 8192 tokens, 1024 sequences; then smaller ones
        ({}, [(8192, 16), (2048, 16), (1024, 4), (512, 1)]),
        ({"card": "rtx4090"}, [(2048, 16), (1024, 4), (512, 1)]),  # 2048 is its own
        ({"users": 40}, [(8192, 40), (2048, 40), (1024, 40), (512, 40)]),
        ({"max_num_seqs": 600}, [(8192, 600), (2048, 600), (1024, 600)]),  # never more sequences than tokens
        ({"max_num_batched_tokens": 4096}, [(4096, 16), (4096, 4), (4096, 1)]),
        ({"max_num_seqs": 64, "users": 4}, [(8192, 64), (2048, 64), (1024, 64), (512, 64)]),
    ],
)
def test_vllms_own_batch_is_tried_first_then_smaller_ones(asked, tried):
    found = sizes(request(**asked))
    assert [(each.max_num_batched_tokens, each.max_num_seqs) for each in found] == tried
    assert [each.level for each in found] == list(range(len(tried)))


def test_an_encoder_reads_a_text_in_one_step():
    encoder = small_model(max_position_embeddings=16_384)

    def batches(card: str, **asked) -> list[int]:
        return [each.max_num_batched_tokens for each in sizes(request(card, model=encoder, **asked))]

    assert batches("h100") == [16_384]
    assert batches("h100", context=12_000) == [12_000]
    assert batches("h100", max_model_len=512) == [8192]
    assert batches("rtx4090", max_model_len=4096, context=512) == [4096]


def test_a_hybrid_keeps_2048_tokens_of_a_batch():
    hybrid = config_model("nvidia/NVIDIA-Nemotron-Nano-9B-v2")
    found = sizes(request("rtx4090", model=hybrid))
    assert [(each.max_num_batched_tokens, each.max_num_seqs) for each in found] == [(2048, 16), (2048, 4), (2048, 1)]


def ledger(**changed) -> MemoryBreakdown:
    facts = {
        "total_bytes": 1000,
        "free_at_start_bytes": 950,
        "requested_bytes": 900,
        "weights_bytes": 500,
        "buffers_bytes": 0,
        "activation_bytes": 0,
        "non_torch_bytes": 0,
        "cuda_graph_bytes": 0,
        "kv_cache_bytes": 400,
        "kv_block_bytes": 1,
        "kv_cache_blocks": 400,
        "kv_cache_tokens": 6400,
        "max_concurrency": 10.0,
        "kv_cache_needed_bytes": 1,
        "state_blocks_needed": 0,
    }
    return MemoryBreakdown(**(facts | changed))


def choice(*, conservative: MemoryBreakdown | None = None, **config) -> Choice:
    settings = {"max_model_len": 65_536, "max_num_batched_tokens": 2048}
    known = {Outlook.CONSERVATIVE: conservative} if conservative else {}
    return Choice(config=ServeConfig(**(settings | config)), at=lambda outlook: known.get(outlook, ledger()))


@pytest.mark.parametrize(
    ("blocks", "users", "context"),
    [
        (513, None, 8192),  # 512 blocks of 16 tokens
        (513, 2, 4096),
        (577, None, 9216),  # 576 x 16 = 9216, a whole step of 1024
        (580, None, 9216),  # 9264 is rounded down to it
        (5, None, 1024),  # 64 tokens: at least one step is planned
        (100_000, None, 131_072),  # the model's own limit
        (100_000, 100, 15_360),  # 999 blocks: 15,984
    ],
)
def test_the_context_is_the_longest_whole_step_that_surely_fits_every_user(blocks, users, context):
    layers = CacheGroup(attention=FULL, block_size=16, layers=(0,), page_bytes=(1,))
    held = ledger(kv_cache_blocks=blocks, length=Length(cache=CachePlan((layers,)), limit=131_072, in_flight_tokens=4096))
    assert longest_for_users(request(users=users), ServeConfig(), held) == context


def test_a_limit_that_is_no_whole_step_is_planned_as_it_is():
    layers = CacheGroup(attention=FULL, block_size=16, layers=(0,), page_bytes=(1,))
    held = ledger(kv_cache_blocks=100_000, length=Length(cache=CachePlan((layers,)), limit=5000, in_flight_tokens=4096))
    assert longest_for_users(request(model=replace(request().model, max_position_embeddings=5000)), ServeConfig(), held) == 5000


@pytest.mark.parametrize(
    ("starting", "before", "chosen"),
    [
        (1000, 16, 128),  # 16 at full length: 128 short ones
        (40, 16, 32),  # 128 and 64 would not start: halved until it does
        (20, 16, 16),
        (1000, 300, 128),  # fewer than were tried with
    ],
)
def test_sequences_are_halved_until_the_start_is_as_sure(monkeypatch, starting, before, chosen):
    """A server that starts with so many sequences at most."""

    def evaluated(_, config: ServeConfig, __=None) -> Choice:
        held = ledger(max_concurrency=16.0, **({} if config.max_num_seqs <= max(starting, before) else {"requested_bytes": 990}))
        return Choice(config=config, at=lambda _: held)

    monkeypatch.setattr(search, "evaluate", evaluated)
    base = ServeConfig(max_num_seqs=before, max_num_batched_tokens=2048)
    found = search.with_context(request(context=4096), base, Placement((), 0, CachePlan(())))
    assert (found.config.max_num_seqs, found.config.max_model_len) == (chosen, 4096)


def test_sequences_are_not_raised_where_memory_lacks_already(monkeypatch):
    short = ledger(max_concurrency=16.0, requested_bytes=990)
    monkeypatch.setattr(search, "evaluate", lambda _, config, __: Choice(config=config, at=lambda _: short))
    found = search.with_context(request(context=4096), ServeConfig(max_num_seqs=16), Placement((), 0, CachePlan(())))
    assert found.config.max_num_seqs == 16


@pytest.mark.parametrize(("weights", "could"), [(869, True), (870, False)])
def test_a_smaller_batch_cannot_help_where_what_is_loaded_takes_all(weights, could):
    """900 are requested; 20 of buffers and 10 outside torch stay."""
    assert ledger(weights_bytes=weights, buffers_bytes=20, non_torch_bytes=10).could_load is could


def test_experts_that_ranks_cannot_slice_can_be_spread():
    """768 wide, 48 on each of 16 ranks: no common block with 128 is 32 or more."""
    model = config_model("Qwen/Qwen3-30B-A3B-FP8")
    assert "48 is not divisible by weight quantization block_n = 128" in cannot_split(request(count=16, model=model), 16, 1)
    assert cannot_split(request(count=16, model=model, enable_expert_parallel=True), 16, 1) == ""


def test_a_short_model_is_planned_at_its_whole_length():
    layers = CacheGroup(attention=FULL, block_size=16, layers=(0,), page_bytes=(1,))
    held = ledger(kv_cache_blocks=5, length=Length(cache=CachePlan((layers,)), limit=700, in_flight_tokens=4096))
    short = request(model=replace(request().model, max_position_embeddings=700))
    assert longest_for_users(short, ServeConfig(), held) == 700


@pytest.mark.parametrize(
    ("concurrency", "asked", "config", "count"),
    [
        (10.0, {}, {}, 64),  # 80 short ones: the power of two below
        (16.0, {}, {}, 128),
        (15.99, {}, {}, 64),  # 127
        (0.5, {}, {}, 16),  # the fewest
        (1000.0, {}, {}, 1024),  # the most of an H100
        (1000.0, {"card": "rtx4090"}, {}, 256),
        (10.0, {"users": 5}, {}, 5),
        (10.0, {"users": 700}, {"max_num_batched_tokens": 512}, 512),  # not more than tokens of a batch
    ],
)
def test_eight_short_requests_are_scheduled_for_each_of_full_length(concurrency, asked, config, count):
    assert sequences(request(**asked), choice(conservative=ledger(max_concurrency=concurrency), **config)) == count


@pytest.mark.parametrize(("blocks", "count"), [(40, 39), (1, 1), (0, 128), (1000, 128)])
def test_a_hybrid_schedules_no_more_sequences_than_it_has_blocks(blocks, count):
    hybrid = request(model=config_model("nvidia/NVIDIA-Nemotron-Nano-9B-v2"))
    assert sequences(hybrid, choice(conservative=ledger(max_concurrency=16.0, kv_cache_blocks=blocks))) == count


def test_enough_context_is_what_is_asked_or_32k_or_what_the_model_has():
    assert enough(request(context=5000)) == 5000
    assert enough(request(max_model_len=6000)) == 6000
    assert enough(request()) == 32_768
    assert enough(request(model=small_model())) == 8192


TIGHT = {"conservative": ledger(requested_bytes=960)}


@pytest.mark.parametrize(
    ("better", "than", "asked"),
    [
        (({}, 3), (TIGHT, 0), {}),  # a sure start before everything
        # of 400 blocks one is nobody's: four requests of 99, three of 100
        (
            ({"conservative": ledger(kv_cache_needed_bytes=99), "enforce_eager": True}, 0),
            ({"conservative": ledger(kv_cache_needed_bytes=100)}, 0),
            {"users": 4},
        ),
        (({"max_model_len": 8192}, 0), ({"max_model_len": 65_536, "enforce_eager": True}, 0), {}),  # graphs with 8k before any context without
        (({"tensor_parallel_size": 2}, 1), ({}, 0), {}),
        (({}, 0), ({"max_model_len": 131_072}, 1), {}),  # vLLM's batch before more context
        (({"max_model_len": 32_768}, 0), ({"max_model_len": 16_384}, 0), {}),
        (({"max_model_len": 32_768}, 0), ({"max_model_len": 65_536, "kv_cache_dtype": "fp8_e4m3"}, 0), {}),  # enough: a plain cache
        (({"max_model_len": 32_768, "kv_cache_dtype": "fp8_e4m3"}, 0), ({"max_model_len": 31_744}, 0), {}),  # not enough: a narrow one
        (({"max_model_len": 65_536, "kv_cache_dtype": "fp8_e4m3"}, 0), ({"max_model_len": 64_512}, 0), {"context": 65_536}),
        (({}, 0), ({"conservative": ledger(max_concurrency=9.0)}, 0), {}),
        # one request at once is enough where no users are asked: a plain cache before more of them
        (({"conservative": ledger(max_concurrency=1.5)}, 0), ({"conservative": ledger(max_concurrency=3.0), "kv_cache_dtype": "fp8_e4m3"}, 0), {}),
        # below 8k, graphs are worth twice the context, and a smaller batch costs a fifth of it
        (({"max_model_len": 3072}, 0), ({"max_model_len": 6000, "enforce_eager": True}, 0), {}),
        (({"max_model_len": 6200, "enforce_eager": True}, 0), ({"max_model_len": 3072}, 0), {}),
        (({"max_model_len": 4096}, 0), ({"max_model_len": 5000}, 1), {}),
        (({"max_model_len": 5200}, 1), ({"max_model_len": 4096}, 0), {}),
    ],
)
def test_what_is_preferred_to_what(better, than, asked):
    first, second = (preference(request(**asked), choice(**changed), level) for changed, level in (better, than))
    assert first > second


def test_graphs_given_up_by_the_user_cost_nothing():
    asked = request(enforce_eager=True)
    assert search.keeps_graphs(asked, choice(enforce_eager=True))
    assert not search.keeps_graphs(request(), choice(enforce_eager=True))
    assert search.keeps_graphs(request(), choice(max_model_len=8192))
    assert not search.keeps_graphs(request(), choice(max_model_len=8191))
    assert search.keeps_graphs(request(context=512), choice(max_model_len=512))  # so much is asked
    assert search.keeps_graphs(request(model=small_model(max_position_embeddings=512)), choice(max_model_len=512))  # so much there is


def test_pins_are_kept_whatever_is_tried():
    pins = {
        "tensor_parallel_size": 2,
        "max_model_len": 4096,
        "gpu_memory_utilization": 0.5,
        "kv_cache_dtype": "fp8_e4m3",
        "kv_cache_memory_bytes": 10**9,
        "max_num_seqs": 7,
        "max_num_batched_tokens": 1000,
        "enforce_eager": True,
        "dtype": "float16",
        "skip_mm_profiling": True,
        "vllm_version": "0.28",
    }
    chosen = best(request(count=2, model=config_model("Qwen/Qwen3-8B"), **pins)).config
    assert {name: getattr(chosen, name) for name in pins} == pins


@pytest.mark.parametrize(
    ("card", "count", "model", "asked", "chosen"),
    [
        # one H100, 8B: 40,960 tokens are the model's own limit; 61 GiB of cache hold over 4 of them times 8: 64 sequences
        ("h100", 1, "Qwen/Qwen3-8B", {}, {"max_model_len": 40_960, "kv_cache_dtype": "auto", "max_num_batched_tokens": 8192, "enforce_eager": False}),
        ("h100", 2, "Qwen/Qwen3-8B", {}, {"tensor_parallel_size": 2, "pipeline_parallel_size": 1}),
        ("h100", 1, "Qwen/Qwen3-8B", {"context": 8192, "users": 20}, {"max_model_len": 8192, "max_num_seqs": 20}),
        ("rtx4090", 1, "Qwen/Qwen3-8B", {"context": 24_576, "gpu_memory_utilization": 0.8}, {"max_model_len": 24_576, "kv_cache_dtype": "fp8_e4m3"}),
    ],
)
def test_the_choice_for_a_known_machine(card, count, model, asked, chosen):
    found = best(request(card, count=count, model=config_model(model), **asked))
    assert found.verdict == "starts"
    assert {name: getattr(found.config, name) for name in chosen} == chosen


def test_the_outlooks_of_a_choice_are_ordered():
    asked = request("rtx4090", model=config_model("Qwen/Qwen3-8B"))
    found = evaluate(asked, ServeConfig(max_model_len=8192))
    assert found.conservative.kv_cache_bytes < found.expected.kv_cache_bytes < found.optimistic.kv_cache_bytes


def test_where_graphs_are_given_up_the_context_that_keeps_them_is_told():
    """14B of 4 bits on 12 GB: 8k tokens start without graphs only; with them almost as many would."""
    model = find_model("phi-4-awq").spec()
    found = best(request("rtx3060", model=model, context=8192))
    assert (found.verdict, found.config.enforce_eager) == ("starts", True)
    kept = best(request("rtx3060", model=model, context=found.longest_with_graphs))
    assert (kept.verdict, kept.config.enforce_eager) == ("starts", False)
    assert best(request("rtx3060", model=model, context=found.longest_with_graphs + 16)).config.enforce_eager
    assert best(request("rtx3060", model=model, context=8192, enforce_eager=True)).longest_with_graphs is None


PINNED = ({}, {"enforce_eager": False}, {"max_num_batched_tokens": 8192}, {"kv_cache_dtype": "auto"}, {"max_num_seqs": 8}, {"gpu_memory_utilization": 0.7})


def drawn(chance: Random, entries: list[Entry], names: list[str]) -> Request:
    """Any question about a model of the catalogue."""
    model = chance.choice(entries).spec()
    context = chance.choice([None, 4096, 32_768, 131_072])
    return Request(
        model=model,
        group=GpuGroup(gpu=gpu(chance.choice(names)), count=chance.choice([1, 1, 2, 4, 8])),
        context=context if context and context <= model.max_position_embeddings else None,
        users=chance.choice([None, 1, 7, 64]),
        pins=Pins(**chance.choice(PINNED)),
    )


def told(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except PlannerError as error:
        return type(error)


@pytest.mark.parametrize("count", [20, pytest.param(800, marks=pytest.mark.slow)])
def test_what_takes_least_memory_says_whether_anything_does(count, monkeypatch):
    """`is_possible` and the cut in `best` rest on it: nothing else starts where it does not. So both agree with a search of every way."""
    chance = Random(count)
    entries = [Entry(row, variant) for row in model_rows() for variant in row.variants if variant.is_listed]
    names = [row.name for row in gpu_rows() if row.vendor in ("nvidia", "amd")]
    outcomes = set()
    for _ in range(count):
        asked = drawn(chance, entries, names)
        cut = told(partial(best, asked))
        with monkeypatch.context() as patched:
            patched.setattr(search, "_is_as_good", lambda *_: False)
            whole = told(partial(best, asked))
        assert cut == whole
        assert not isinstance(cut, Choice) or [cut.at(outlook) for outlook in Outlook] == [whole.at(outlook) for outlook in Outlook]
        starts = whole.verdict is Verdict.STARTS and whole.holds(asked.users) if isinstance(whole, Choice) else whole
        assert told(partial(is_possible, asked)) == starts
        outcomes.add(starts)
    assert {True, False} <= outcomes

"""What the ledger decides, at its edges: blocks, late graphs, buffers, and by how much something is short. Each value is derived by hand beside it."""

from dataclasses import replace

import pytest
from conftest import config_model, gpu, small_model

from planner.engines.vllm import memory
from planner.engines.vllm.choice import Choice, Request
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.device import Device
from planner.engines.vllm.kvcache import CacheGroup, CachePlan
from planner.engines.vllm.ledger import Length, MemoryBreakdown, capacity
from planner.engines.vllm.memory import Placement, Stage, StageBudget, breakdown, fullest, stages_of
from planner.engines.vllm.overhead import Overhead, Shapes
from planner.engines.vllm.plan import reject
from planner.engines.vllm.search import best
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.facts.attention import FullAttention, SlidingWindow
from planner.facts.hardware import GpuGroup, Host
from planner.units import GIB, MIB

BLOCK = 16 * 36 * 2 * 8 * 128 * 2  # Qwen3-8B: 16 tokens, 36 layers, keys and values, 8 heads of 128 dimensions, 2 bytes: 2,359,296
ONE_H100 = GpuGroup(gpu=gpu("h100"), count=1)


def ledger(**changed) -> MemoryBreakdown:
    """A GPU of 1000 bytes: 900 requested, of which 600 are taken and 300 left, 30 blocks of 10; 950 are free."""
    sizes = {
        "total_bytes": 1000,
        "free_at_start_bytes": 950,
        "requested_bytes": 900,
        "weights_bytes": 500,
        "buffers_bytes": 10,
        "activation_bytes": 60,
        "non_torch_bytes": 20,
        "cuda_graph_bytes": 10,
        "kv_cache_bytes": 300,
        "kv_block_bytes": 10,
        "kv_cache_blocks": 30,
        "kv_cache_tokens": 480,
        "max_concurrency": 1.0,
        "kv_cache_needed_bytes": 290,
        "state_blocks_needed": 0,
        "length": Length(cache=CachePlan(()), limit=8192, in_flight_tokens=0),
    }
    return MemoryBreakdown(**(sizes | changed))


def choice(but: dict[Outlook, MemoryBreakdown] | None = None, **changed) -> Choice:
    """One ledger at each outlook `but` some."""
    one = ledger(**changed)
    return Choice(config=ServeConfig(), at=lambda outlook: (but or {}).get(outlook, one))


@pytest.mark.parametrize(("reserved", "needed", "fits"), [(1, 290, True), (1, 300, False), (0, 300, True), (0, 310, False)])
def test_a_request_may_take_every_block_but_the_reserved_one(reserved, needed, fits):
    asked = ledger(reserved_blocks=reserved, kv_cache_needed_bytes=needed)
    assert asked.fits_request is fits
    assert asked.starts is fits


def test_an_encoder_has_no_request_to_admit():
    assert ledger(kv_block_bytes=0, kv_cache_bytes=-1, kv_cache_needed_bytes=0).fits_request


@pytest.mark.parametrize(("late", "fits"), [(0, True), (50, True), (51, False)])
def test_late_graphs_lie_beside_what_is_requested_in_what_is_free(late, fits):
    """900 requested of 950 free."""
    assert ledger(late_bytes=late).fits_start is fits


@pytest.mark.parametrize(("pinned", "late", "fits"), [(350, 0, True), (351, 0, False), (340, 10, True), (340, 11, False)])
def test_a_pinned_cache_may_exceed_what_is_requested_but_not_what_is_free(pinned, late, fits):
    """600 beside the cache: 350 more are free."""
    assert ledger(kv_cache_bytes=pinned, late_bytes=late).fits_start is fits


def test_a_deficit_of_the_cache_is_not_taken_off_what_is_used():
    assert ledger(kv_cache_bytes=-100).used_bytes == 600


@pytest.mark.parametrize(("states", "starts"), [(30, True), (31, False)])
def test_a_hybrid_wants_a_block_for_every_captured_sequence(states, starts):
    assert ledger(state_blocks_needed=states).starts is starts


@pytest.mark.parametrize(("reserved", "short"), [(1, 20), (0, 10)])
def test_a_request_too_long_is_short_by_what_it_needs_beyond_the_cache_and_the_reserved_block(reserved, short):
    """310 needed of 300; since vLLM 0.29 one block of 10 is nobody's, before there was no such block."""
    rejection = reject(choice(kv_cache_needed_bytes=310, reserved_blocks=reserved))
    assert (rejection.code, rejection.short_by_bytes) == ("kv-cache-too-small", short)


@pytest.mark.parametrize(
    ("changed", "code", "short"),
    [
        ({"requested_bytes": 951}, "free-memory", 1),
        ({"weights_bytes": 960}, "out-of-memory", 20),  # with 10 of buffers 970 of 950
        ({"kv_cache_bytes": -40, "kv_cache_blocks": 0, "reserved_blocks": 0}, "no-kv-memory", 330),  # 40 too many are taken, 290 needed
        ({"kv_cache_bytes": 0, "kv_cache_blocks": 0}, "no-kv-memory", 300),  # and the reserved block
        ({"late_bytes": 60}, "out-of-memory", 10),  # 900 + 60 of 950
        ({"state_blocks_needed": 33}, "kv-cache-too-small", 30),  # three blocks of 10
    ],
)
def test_a_refusal_names_the_first_limit_and_what_is_missing(changed, code, short):
    rejection = reject(choice(**changed))
    assert (rejection.code, rejection.short_by_bytes) == (code, short)


def test_nothing_is_rejected_that_starts():
    assert reject(choice()) is None


@pytest.mark.parametrize(("version", "blocks", "starts"), [("0.33", 257, True), ("0.33", 256, False), ("0.29", 256, False), ("0.28", 256, True)])
def test_4096_tokens_of_qwen3_8b_are_256_blocks_and_since_0_29_one_more(version, blocks, starts):
    config = ServeConfig(max_model_len=4096, kv_cache_memory_bytes=blocks * BLOCK, vllm_version=version)
    held = breakdown(config_model("Qwen/Qwen3-8B"), ONE_H100, config)
    assert held.kv_block_bytes == BLOCK
    assert held.kv_cache_needed_bytes == 256 * BLOCK
    assert held.starts is starts


def test_users_divide_the_blocks_before_the_context_is_solved_for():
    """1281 blocks, one of them nobody's: one user holds 1280 x 16 tokens, five hold 256 blocks each, six 213 (1278 of 1280)."""
    held = breakdown(config_model("Qwen/Qwen3-8B"), ONE_H100, ServeConfig(kv_cache_memory_bytes=1281 * BLOCK))
    assert [held.longest_for(users) for users in (1, 5, 6)] == [20_480, 4096, 3408]


@pytest.mark.parametrize(("users", "context"), [(None, 20_480), (1, 20_480), (5, 4096)])
def test_the_planned_context_is_what_every_user_can_hold(users, context):
    """The same 1281 blocks as a pinned cache, through the search."""
    pins = Pins(kv_cache_memory_bytes=1281 * BLOCK, kv_cache_dtype="auto")
    chosen = best(Request(model=config_model("Qwen/Qwen3-8B"), group=ONE_H100, pins=pins, users=users))
    assert chosen.config.max_model_len == context


def test_gemma_4_sets_its_per_layer_embeddings_of_a_batch_aside_at_load():
    """vLLM 0.33 gemma4_mm.py:1157: zeros(max_num_batched_tokens, layers, width) in 16 bits. E2B: 35 layers of 256: 17,920 bytes a token."""
    model, small = config_model("google/gemma-4-E2B-it"), ServeConfig(max_num_batched_tokens=2048)
    held = [breakdown(model, ONE_H100, config) for config in (small, replace(small, max_num_batched_tokens=8192))]
    assert held[1].buffers_bytes - held[0].buffers_bytes == 6144 * 35 * 256 * 2 == 110_100_480
    assert held[0].buffers_bytes >= 2048 * 17_920
    text_only = config_model("made/gemma-4-E4B-text")  # gemma4.py has no such buffer
    assert breakdown(text_only, ONE_H100, small).buffers_bytes == breakdown(text_only, ONE_H100, replace(small, max_num_batched_tokens=8192)).buffers_bytes


def test_a_server_of_0_19_starts_only_where_its_graphs_fit_beside_what_it_requests():
    """Graphs are captured after all else has been handed out: 0.95 of an H100 leaves them 78.68 - 75.23 GiB, 0.98 with a cache that uses all does not."""
    model, config = (
        config_model("Qwen/Qwen3-0.6B"),
        ServeConfig(max_model_len=4096, gpu_memory_utilization=0.95, vllm_version="0.19", max_num_batched_tokens=512, max_num_seqs=256),
    )
    held = breakdown(model, ONE_H100, config)
    assert held.late_bytes > 0
    assert held.cuda_graph_bytes == 0
    assert held.fits_start
    spare = held.free_at_start_bytes - held.late_bytes
    edge = [replace(config, gpu_memory_utilization=(spare + bytes_more) / held.total_bytes) for bytes_more in (-1000, 1000)]
    assert [breakdown(model, ONE_H100, asked).fits_start for asked in edge] == [True, False]


def test_the_budget_adds_up_as_in_a_log():
    """vllm_0.19_h100.csv: 0.95 x 79.19 = 75.23 GiB requested; what weights, activations and the rest leave is cut into blocks."""
    here = replace(ONE_H100, gpu=replace(ONE_H100.gpu, cuda_total_bytes=round(79.19 * GIB)))
    held = breakdown(config_model("Qwen/Qwen3-8B"), here, ServeConfig(gpu_memory_utilization=0.95, vllm_version="0.19"))
    assert round(held.requested_bytes / GIB, 2) == 75.23
    beside = held.weights_bytes + held.buffers_bytes + held.activation_bytes + held.non_torch_bytes
    assert held.kv_cache_blocks == (held.requested_bytes - beside) // BLOCK


def test_the_conservative_ledger_counts_on_what_is_free_at_worst():
    """A 3090 under WSL2, of which nobody told what was free there: 24,576 MiB less 2160 at worst, 1400 usually, 1200 at best."""
    wsl2 = GpuGroup(gpu=gpu("rtx3090"), count=1, host=Host.WSL2)
    free = [breakdown(config_model("Qwen/Qwen3-8B"), wsl2, ServeConfig(), outlook).free_at_start_bytes for outlook in Outlook]
    assert [size // MIB for size in free] == [24_576 - 1400, 24_576 - 2160, 24_576 - 1200]


def budget(kv: int, block: int, stage: int) -> StageBudget:
    """A stage all of whose bytes are its own."""
    beside = (
        "weights_bytes",
        "buffers_bytes",
        "activation_bytes",
        "non_torch_bytes",
        "cuda_graph_bytes",
        "late_bytes",
        "lora_bytes",
        "offloaded_bytes",
        "drafter_bytes",
    )
    return StageBudget(kv_cache_bytes=kv, block_bytes=block, **{name: 10 * stage + number for number, name in enumerate(beside)})


@pytest.mark.parametrize(
    ("stages", "place", "blocks"),
    [
        ([(300, 10)], 0, 30),
        ([(300, 10), (400, 20)], 1, 20),
        ([(200, 10), (300, 10), (500, 10)], 0, 20),
        ([(500, 10), (300, 10), (200, 10)], 2, 20),
        ([(300, 10), (300, 10)], 0, 30),
        ([(5, 0), (300, 10)], 1, 30),  # no attention on the first stage: it limits nothing
        ([(300, 10), (5, 0)], 0, 30),
        ([(5, 1), (300, 10)], 0, 5),
        ([(300, 10), (-40, 10)], 1, 0),  # nothing is left
        ([(-40, 0), (-50, 0)], 1, 1),  # an encoder: its one block is for nobody
    ],
)
def test_the_fullest_stage_holds_the_fewest_blocks(stages, place, blocks):
    budgets = [budget(kv, block, number) for number, (kv, block) in enumerate(stages)]
    chosen, fewest = fullest(budgets)
    assert (chosen, fewest) == (budgets[place], blocks)


def test_a_stages_cache_is_what_everything_else_leaves(monkeypatch):
    """90,000 of 100,000 requested, less weights, 1000 + 2 x 2048 of buffers, 600 of activations, 200 outside torch and 100 of graphs."""
    asked: list[tuple[bool, int]] = []
    taken = Overhead(activation_bytes=600, non_torch_bytes=200, cuda_graph_bytes=100, late_bytes=50)
    monkeypatch.setattr(memory, "overhead", lambda *_, last_stage, columns: asked.append((last_stage, columns)) or taken)
    totals = {"least_total_bytes": 90_000, "total_bytes": 100_000, "most_total_bytes": 110_000}
    free = {"surely_free_bytes": 88_000, "usually_free_bytes": 99_000, "most_free_bytes": 109_000}
    margins = dict.fromkeys(("margin_bytes", "most_margin_bytes", "least_margin_bytes"), 0)
    on = Device(
        **totals,
        **free,
        **margins,
        fitted=True,
        nvlink=False,
        multicast=False,
        graph_sizes=51,
        largest_graph=512,
        multiprocessors=0,
        older_driver=False,
        pages=False,
        rocm=False,
        fp8=False,
    )
    config, model = ServeConfig(gpu_memory_utilization=0.9, max_num_batched_tokens=2048), small_model(bytes_per_batched_token=2)
    stage = Stage(weights_bytes=50_000, buffers_bytes=1000, block_bytes=10, last=False, columns=64)
    held = memory.stage_budget(Shapes(model, config), on, Outlook.EXPECTED, stage)
    assert asked == [(False, 64)]
    assert (held.buffers_bytes, held.kv_cache_bytes, held.late_bytes) == (5096, 90_000 - 50_000 - 5096 - 900, 50)
    least = memory.stage_budget(Shapes(model, config), on, Outlook.CONSERVATIVE, stage)
    assert held.kv_cache_bytes - least.kv_cache_bytes == 9000  # nine tenths of what an estimated total may be less
    pinned = memory.stage_budget(Shapes(model, replace(config, kv_cache_memory_bytes=7777)), on, Outlook.EXPECTED, stage)
    assert pinned.kv_cache_bytes == 7777


def test_what_is_requested_is_rounded_up():
    """vLLM 0.33 v1/worker/utils.py:716: ceil(1000 x 0.9005)."""
    assert memory.requested_bytes(1000, 0.9005) == 901


def test_every_stage_has_its_weights_and_pages_and_the_last_one_samples():
    placed = Placement((10, 20, 30), 5, CachePlan((), (1, 2, 3)))
    assert stages_of(placed) == [Stage(10, 5, 1, False), Stage(20, 5, 2, False), Stage(30, 5, 3, True)]


def test_concurrency_and_tokens_follow_from_blocks():
    """257 blocks and 256 a request: 257 / 256 at once, 4112 tokens."""
    held = breakdown(config_model("Qwen/Qwen3-8B"), ONE_H100, ServeConfig(max_model_len=4096, kv_cache_memory_bytes=257 * BLOCK))
    assert (held.max_concurrency, held.kv_cache_tokens, held.kv_cache_blocks) == (257 / 256, 4112, 257)
    assert held.state_blocks_needed == 0


def test_an_encoder_holds_as_many_texts_as_sequences():
    encoder = config_model("BAAI/bge-base-en-v1.5")
    held = breakdown(encoder, ONE_H100, ServeConfig(max_model_len=512, max_num_seqs=64, max_num_batched_tokens=512))
    assert (held.max_concurrency, held.kv_cache_tokens, held.kv_cache_blocks) == (64.0, 64 * 512, 1)
    assert held.starts


def test_a_hybrid_needs_a_block_of_state_for_each_sequence():
    hybrid, asked = config_model("nvidia/NVIDIA-Nemotron-Nano-9B-v2"), ServeConfig(max_num_seqs=77)
    assert breakdown(hybrid, ONE_H100, asked).state_blocks_needed == 77
    assert breakdown(hybrid, ONE_H100, replace(asked, enforce_eager=True)).state_blocks_needed == 0


@pytest.mark.parametrize(("blocks", "longest"), [(194, 8192), (193, 3056), (101, 1584)])
def test_the_longest_context_of_a_window_counts_tokens_in_flight(blocks, longest):
    """A window of 1025 and 2048 in flight are 193 blocks at most: with one reserved, 192 hold (192 - 1) x 16 tokens, 100 hold 99 x 16."""
    window = SlidingWindow(kv_heads=1, head_dim=1, head_dim_v=1, window=1025)
    layers = CacheGroup(attention=window, block_size=16, layers=(0,), page_bytes=(10,))
    held = ledger(kv_cache_blocks=blocks, length=Length(cache=CachePlan((layers,)), limit=8192, in_flight_tokens=2048))
    assert held.longest_max_model_len == longest


def test_a_context_in_flight_is_that_of_the_batch_and_the_pipeline():
    """Since 0.26 every concurrent step has a batch: one more than there are stages."""
    lengths = [
        breakdown(config_model("Qwen/Qwen3-8B"), replace(ONE_H100, count=2), ServeConfig(pipeline_parallel_size=stages, vllm_version=version)).length
        for stages, version in ((1, "0.33"), (2, "0.33"), (2, "0.25"))
    ]
    assert [length.in_flight_tokens for length in lengths] == [4096, 6144, 2048]


def test_weights_and_cache_follow_the_dtype():
    model = config_model("Qwen/Qwen3-8B")
    half, full = (breakdown(model, ONE_H100, ServeConfig(dtype=dtype)) for dtype in ("auto", "float32"))
    assert (full.weights_bytes, full.kv_block_bytes) == (2 * half.weights_bytes, 2 * half.kv_block_bytes)


def test_a_model_is_placed_once():
    config = ServeConfig()
    placed = [memory.place(config_model(name), ONE_H100, config) for name in ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", "Qwen/Qwen3-14B")]
    assert placed[0] is placed[1]
    assert placed[0] != placed[2]


def test_requests_at_once_are_blocks_over_those_of_one():
    """1000 tokens are 63 blocks of 16; an encoder keeps none and holds any number."""
    full = CacheGroup(attention=FullAttention(kv_heads=1, head_dim=1, head_dim_v=1), block_size=16, layers=(0,), page_bytes=(10,))
    assert capacity(CachePlan((full,)), 126, 1000, 2048) == 2.0
    assert capacity(CachePlan((full, full)), 126, 1000, 2048) == 1.0
    assert capacity(CachePlan(()), 126, 1000, 2048) == float("inf")

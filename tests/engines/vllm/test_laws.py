"""Laws that hold for every model and GPU (DESIGN 3.4), over generated ones."""

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import groups, models

from planner.engines.vllm.choice import Request
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.command import parse_argv, serve_argv
from planner.engines.vllm.kvcache import longest_model_len, plan_cache
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.memory import breakdown
from planner.engines.vllm.plan import make_plan
from planner.engines.vllm.search import best, evaluate
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.engines.vllm.weights import stage_weights
from planner.errors import NotDivisibleError, PlannerError, UnsupportedError
from planner.facts.config import Parallel

TP = st.sampled_from([1, 2, 4, 8])


def cache_of(model, group, tp=1, dtype="auto"):
    try:
        layout = cache_layout(model, group.gpu, dtype)
        return plan_cache(model, Parallel(tensor_parallel_size=tp), layout), layout
    except (UnsupportedError, NotDivisibleError, PlannerError):
        assume(False)
        raise


@given(models(), groups(), st.integers(1, 262_144), st.integers(0, 8192))
def test_more_context_never_needs_fewer_blocks(model, group, length, more):
    cache, _ = cache_of(model, group)
    assert cache.blocks_per_request(length, 4096) <= cache.blocks_per_request(length + more, 4096)


@given(models(), groups(), st.integers(2048, 131_072))
def test_a_wider_cache_dtype_never_needs_less(model, group, length):
    wide, _ = cache_of(model, group)
    narrow, _ = cache_of(model, group, dtype="fp8")
    assume(not model.has_state and not model.is_encoder)  # with state the block size changes with the dtype
    needed = [cache.block_bytes * cache.blocks_per_request(length, 4096) for cache in (narrow, wide)]
    assert needed[0] <= needed[1] + 64 * wide.block_bytes


@given(models(), groups(), st.sampled_from([16, 64, 256]), st.sampled_from([2, 4]))
def test_more_sequences_never_leave_more_cache(model, group, seqs, factor):
    config = ServeConfig(max_num_seqs=seqs, max_model_len=2048)
    try:
        few = breakdown(model, group, config)
        many = breakdown(model, group, replace(config, max_num_seqs=seqs * factor))
    except (UnsupportedError, NotDivisibleError):
        assume(False)
        raise
    assert many.kv_cache_bytes <= few.kv_cache_bytes


@given(models(), TP)
def test_tensor_parallelism_never_raises_a_ranks_weights(model, tp):
    try:
        split = stage_weights(model, Parallel(tensor_parallel_size=tp))[0]
        finer = stage_weights(model, Parallel(tensor_parallel_size=2 * tp))[0]
    except NotDivisibleError:
        assume(False)
        raise
    assert finer <= split


@given(models(), TP)
def test_ranks_together_lose_no_byte(model, tp):
    try:
        whole, share = stage_weights(model, Parallel())[0], stage_weights(model, Parallel(tensor_parallel_size=tp))[0]
    except NotDivisibleError:
        assume(False)
        raise
    assert share * tp >= whole


@given(models(), st.integers(2, 4))
def test_pipeline_stages_hold_the_whole_model(model, stages):
    assume(stages <= model.layer_count)
    try:
        parts, whole = stage_weights(model, Parallel(pipeline_parallel_size=stages)), stage_weights(model, Parallel())[0]
    except NotDivisibleError:
        assume(False)
        raise
    assert sum(parts) >= whole


@given(models(), groups(), st.sampled_from(list(Outlook)))
def test_the_ledger_adds_up(model, group, outlook):
    try:
        ledger = breakdown(model, group, ServeConfig(max_model_len=2048), outlook)
    except (UnsupportedError, NotDivisibleError, PlannerError):
        assume(False)
        raise
    terms = (ledger.weights_bytes, ledger.buffers_bytes, ledger.activation_bytes, ledger.non_torch_bytes, ledger.cuda_graph_bytes, ledger.kv_cache_bytes)
    assert sum(terms) == ledger.requested_bytes


@given(models(), groups(), st.integers(2, 100_000), st.integers(1, 262_144))
def test_the_longest_context_fits_and_one_more_does_not(model, group, blocks, limit):
    cache, _ = cache_of(model, group)
    assume(cache.groups)
    longest = longest_model_len(cache, blocks, limit, 4096)
    if longest:
        assert cache.blocks_per_request(longest, 4096) <= blocks
    if longest < limit:
        assert cache.blocks_per_request(longest + 1, 4096) > blocks


@given(models(), groups())
@settings(max_examples=settings.default.max_examples * 2 // 3)
def test_the_chosen_point_starts_and_no_longer_context_does(model, group):
    """Brute force over a few contexts: what was chosen starts; with the same settings a clearly longer one does not."""
    request = Request(model=model, group=group)
    try:
        choice = best(request)
    except (UnsupportedError, PlannerError):
        assume(False)
        raise
    assume(choice.verdict == "starts")
    assert choice.conservative.requested_bytes <= choice.conservative.free_at_start_bytes
    for step in (2048, 8192, 65_536):
        longer = choice.config.max_model_len + step
        if longer <= model.max_position_embeddings:
            again = evaluate(request, replace(choice.config, max_model_len=longer))
            assert again.verdict != "starts" or again.conservative.kv_cache_blocks != choice.conservative.kv_cache_blocks


@given(models(), groups())
@settings(max_examples=settings.default.max_examples * 2 // 3)
def test_planning_a_plans_own_settings_gives_the_plan_back(model, group):
    try:
        plan = make_plan(Request(model=model, group=group), repo="owner/name", served_name="name")
    except PlannerError:
        assume(False)
        raise
    config = plan.config
    pins = Pins(
        tensor_parallel_size=config.tensor_parallel_size,
        pipeline_parallel_size=config.pipeline_parallel_size,
        max_model_len=config.max_model_len,
        gpu_memory_utilization=config.gpu_memory_utilization,
        kv_cache_dtype=config.kv_cache_dtype,
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=config.max_num_batched_tokens,
        enforce_eager=config.enforce_eager,
    )
    again = best(Request(model=model, group=group, pins=pins))
    assert (again.config, again.expected, again.conservative) == (config, plan.choice.expected, plan.choice.conservative)


@given(
    st.builds(
        ServeConfig,
        tensor_parallel_size=st.integers(1, 64),
        pipeline_parallel_size=st.integers(1, 8),
        enable_expert_parallel=st.booleans(),
        gpu_memory_utilization=st.integers(1, 100).map(lambda percent: percent / 100),
        max_model_len=st.integers(1, 10**7),
        max_num_seqs=st.integers(1, 4096),
        max_num_batched_tokens=st.integers(1, 10**6),
        kv_cache_dtype=st.sampled_from(["auto", "fp8_e4m3", "nvfp4"]),
        kv_cache_memory_bytes=st.none() | st.integers(1, 10**12),
        enforce_eager=st.booleans(),
        dtype=st.sampled_from(["auto", "float16"]),
        quantization=st.none() | st.just("awq"),
    )
)
def test_a_command_parses_back_to_its_settings(config):
    assert parse_argv(serve_argv("owner/na'me $(x)", "name", config)) == config

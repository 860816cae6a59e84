"""Pages, blocks and requests of the KV cache, each value derived by hand beside it. Equality with vLLM itself is in test_truth.py."""

import pytest
from conftest import small_model

from planner.engines.vllm.kvcache import (
    CacheGroup,
    CachePlan,
    CacheSpec,
    block_bytes,
    cache_groups,
    cache_specs,
    group_blocks,
    hybrid_block_size,
    longest_model_len,
    page_bytes,
    plan_cache,
    token_bytes,
)
from planner.engines.vllm.packing import Padded, as_padded
from planner.errors import PlannerError
from planner.facts.attention import ChunkedLocal, CompressedCache, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.config import CacheLayout, Parallel
from planner.facts.model import LayerGroup, ModelSpec
from planner.facts.modules import Axis, Split, Tensor

LAYOUT = CacheLayout(backend="FLASH_ATTN")
FULL = FullAttention(kv_heads=8, head_dim=128, head_dim_v=64)
WINDOW = SlidingWindow(kv_heads=8, head_dim=128, head_dim_v=128, window=1025)
CHUNK = ChunkedLocal(kv_heads=8, head_dim=128, head_dim_v=128, chunk=8192)
LATENT = LatentAttention(latent_dim=512, rope_dim=64)
STATE = RecurrentState(tensors=(Tensor(name="conv", axes=(Axis(100), Axis(3))), Tensor(name="ssm", axes=(Axis(50), Axis(64)), bits=32)))


def group(attention, *, block_size=16, states=1) -> CacheGroup:
    return CacheGroup(attention=attention, block_size=block_size, layers=(0,), page_bytes=(1,), states=states)


@pytest.mark.parametrize(
    ("attention", "tp", "layout", "size"),
    [
        (FULL, 1, LAYOUT, 3072),  # 8 heads x (128 + 64) x 2 bytes
        (FULL, 4, LAYOUT, 768),  # 2 heads
        (FULL, 16, LAYOUT, 384),  # one head at least: it is replicated
        (FULL, 1, CacheLayout(backend="x", bits=8), 1536),
        (FULL, 1, CacheLayout(backend="x", bits=4, bytes_per_token_head=8), 832),  # 8 x (96 + 8)
        (CHUNK, 1, LAYOUT, 4096),
        (LATENT, 8, LAYOUT, 1152),  # (512 + 64) x 2 on every rank
        (LATENT, 1, CacheLayout(backend="x", latent_bytes=656), 656),
        (LatentAttention(latent_dim=512, rope_dim=64, index_dim=132), 1, LAYOUT, 132),
        (STATE, 1, LAYOUT, 0),
    ],
)
def test_bytes_of_a_token_of_one_layer_on_one_rank(attention, tp, layout, size):
    assert token_bytes(attention, tp, layout) == size
    assert isinstance(token_bytes(attention, tp, layout), int)


def test_a_page_is_a_block_of_tokens_or_a_whole_state_or_entries_padded():
    assert page_bytes(FULL, 16, 1, LAYOUT) == 16 * 3072
    assert page_bytes(STATE, 16, 1, LAYOUT) == 100 * 3 * 2 + 50 * 64 * 4 == 13_400
    split = RecurrentState(tensors=(Tensor(name="conv", axes=(Axis(100, Split.TP), Axis(3))),))
    assert page_bytes(split, 16, 2, LAYOUT) == 50 * 3 * 2
    # 64 tokens, an entry of 100 bytes for each four: 1600, padded to a multiple of 576
    assert page_bytes(CompressedCache(entry_bytes=100, block_size=64, tokens_per_entry=4, page_multiple=576), 64, 1, LAYOUT) == 1728


@pytest.mark.parametrize(
    ("held", "length", "in_flight", "blocks"),
    [
        (group(FULL), 4096, 2048, 256),
        (group(FULL), 4097, 2048, 257),
        (group(LATENT, block_size=64), 4097, 2048, 65),
        # 1024 tokens back and 2048 in flight fill 192 blocks; the window starts anywhere in a block, so one more
        (group(WINDOW), 100_000, 2048, 193),
        (group(WINDOW), 100_000, 2049, 194),  # 3073
        (group(WINDOW), 1600, 2048, 101),  # no longer than the context: 100 and one more
        (group(CHUNK), 100_000, 2048, 640),  # 8192 + 2048
        (group(CHUNK), 4096, 2048, 256),
        (group(CompressedCache(entry_bytes=1, block_size=64)), 4096, 2048, 256),
        (group(CompressedCache(entry_bytes=1, block_size=64, window=1025)), 100_000, 2048, 193),
        (group(STATE), 100_000, 2048, 1),
        (group(STATE, states=2), 100_000, 2048, 2),  # the running one and the cached one
        (group(STATE, states=3), 100_000, 2048, 3),
    ],
)
def test_blocks_that_one_request_holds_at_most(held, length, in_flight, blocks):
    assert group_blocks(held, length, in_flight) == blocks


def specs(full: int, sliding: int) -> list[CacheSpec]:
    """So many layers of either kind, with pages of 100 bytes."""
    return [
        CacheSpec(attention=FULL, block_size=16, page_bytes=100, layers=tuple(range(full))),
        CacheSpec(attention=WINDOW, block_size=16, page_bytes=100, layers=tuple(range(full, full + sliding))),
    ]


@pytest.mark.parametrize(
    ("full", "sliding", "groups", "pages"),
    [
        (4, 5, 2, 5),  # 5 < 1.5 x 4: full layers are padded to five
        (12, 13, 2, 13),  # vLLM's own example: gpt-oss with a drafter
        (4, 6, 3, 4),  # 6 is not below 6: four layers a group, the windows in two
        (6, 4, 3, 4),
        (10, 52, 7, 10),  # Gemma 3 27B: 52 are six groups of up to ten
        (5, 5, 2, 5),
    ],
)
def test_layers_are_grouped_by_the_smaller_kind_unless_the_larger_is_under_half_more(full, sliding, groups, pages):
    """kv_cache_planning.py:521-532, 0.33."""
    grouped = cache_groups(specs(full, sliding), LAYOUT)
    assert len(grouped) == groups
    assert sorted(layer for one in grouped for layer in one.layers) == list(range(full + sliding))
    assert block_bytes(grouped, [full + sliding]) == (100 * pages,)


def test_one_kind_of_slots_is_one_group_whatever_the_pages():
    latent = [
        CacheSpec(attention=LATENT, block_size=64, page_bytes=100, layers=(0, 1)),
        CacheSpec(attention=LatentAttention(latent_dim=512, rope_dim=64, index_dim=132), block_size=64, page_bytes=10, layers=(0, 1)),
    ]
    (one,) = cache_groups(latent, LAYOUT)
    assert sum(one.page_bytes) == 220
    assert cache_groups([], LAYOUT) == ()


def test_smaller_pages_hold_more_tokens_until_all_are_of_one_size():
    """Pages of 100 and 300 bytes: three times 16 tokens; of 100 and 250, padding."""

    def unified(page: int) -> dict[int, tuple[int, int]]:
        full, sliding = specs(4, 4)
        wide = CacheSpec(attention=WINDOW, block_size=16, page_bytes=page, layers=sliding.layers)
        return {one.layers[0]: (one.block_size, one.page_bytes[0]) for one in cache_groups([full, wide], LAYOUT)}

    assert unified(300) == {0: (48, 300), 4: (16, 300)}
    assert unified(250) == {0: (16, 250), 4: (16, 250)}


def test_latent_pages_are_never_padded():
    latent = CacheSpec(attention=LATENT, block_size=16, page_bytes=100, layers=(0,))
    state = CacheSpec(attention=STATE, block_size=16, page_bytes=250, layers=(1,))
    with pytest.raises(PlannerError, match="cannot unify"):
        cache_groups([latent, state], LAYOUT)


def test_a_block_is_as_large_as_the_largest_group_on_each_stage():
    """Layers 0 to 3 in one group, 4 and 5 in another; three on each of two stages: 3 and 1 of the first, 0 and 2 of the second."""
    one = CacheGroup(attention=FULL, block_size=16, layers=(0, 1, 2, 3), page_bytes=(100,) * 4)
    other = CacheGroup(attention=WINDOW, block_size=16, layers=(4, 5), page_bytes=(100, 100))
    assert block_bytes((one, other), [3, 3]) == (300, 200)
    assert block_bytes((), [3, 3]) == (0, 0)
    assert CachePlan((one, other), (300, 200)).block_bytes == 300


@pytest.mark.parametrize(("blocks", "length"), [(0, 0), (1, 16), (257, 4112), (10_000, 8192)])
def test_the_longest_context_fills_its_blocks_up_to_the_models_limit(blocks, length):
    assert longest_model_len(CachePlan((group(FULL),)), blocks, 8192, 2048) == length


def test_all_groups_draw_from_one_pool():
    """4096 tokens: 256 of the full group, 193 of the window's."""
    assert CachePlan((group(FULL), group(WINDOW))).blocks_per_request(4096, 2048) == 256 + 193


def hybrid(*caches) -> ModelSpec:
    """One layer of each, in turn, twice."""
    count = len(caches)
    layers = tuple(LayerGroup(indices=(number, number + count), modules=(), caches=(cache,)) for number, cache in enumerate(caches))
    return small_model(layers=layers)


def state(alignment: int) -> RecurrentState:
    """200,000 bytes."""
    return RecurrentState(tensors=(Tensor(name="ssm", axes=(Axis(100_000),)),), checkpoint_alignment=alignment)


SHARED = RecurrentState(tensors=(Tensor(name="ssm", axes=(Axis(100_000, Split.TP),)),))
EXPORTS = CacheLayout(backend="FLASH_ATTN", state_checkpoints=True)


@pytest.mark.parametrize(
    ("caches", "tp", "layout", "tokens"),
    [
        ((FULL,), 1, LAYOUT, 16),
        ((state(1),), 1, LAYOUT, 16),  # no attention: nothing to align
        ((state(1), FULL), 1, LAYOUT, 80),  # 200,000 of 16 x 3072: five times 16
        ((state(1), FULL), 2, LAYOUT, 144),  # half the heads: nine times 16 x 1536
        ((state(64), FULL), 1, LAYOUT, 80),  # the kernel exports no checkpoints here
        ((state(64), FULL), 1, EXPORTS, 128),  # checkpoints at multiples of 64: twice 64 x 3072
        ((state(0), FULL), 1, EXPORTS, 80),
        ((state(1), LATENT), 1, LAYOUT, 256),  # MLA wants 128 at once: twice 128 x 1152
        ((SHARED, FULL), 2, LAYOUT, 80),  # half a state and half the heads
        ((STATE, FULL), 1, CacheLayout(backend="x", block_size=64), 64),  # 13,400: one block is enough
        ((STATE, state(1), FULL), 1, LAYOUT, 80),  # the largest state decides
    ],
)
def test_a_hybrids_block_is_the_smallest_whose_page_holds_a_state(caches, tp, layout, tokens):
    """platforms/interface.py:938 _align_hybrid_block_size."""
    assert hybrid_block_size(hybrid(*caches), tp, layout) == tokens


def test_a_states_page_is_padded_to_that_of_attention():
    """80 x 3072 = 245,760."""
    specs_of = cache_specs(hybrid(state(1), FULL), 1, LAYOUT)
    assert [(spec.attention, spec.block_size, spec.page_bytes, spec.layers) for spec in specs_of] == [
        (state(1), 80, 245_760, (0, 2)),
        (FULL, 80, 245_760, (1, 3)),
    ]
    (alone,) = cache_specs(hybrid(state(1)), 1, LAYOUT)
    assert alone.page_bytes == 200_000


def test_layers_with_the_same_cache_are_one_kind_and_compressed_ones_keep_their_block():
    compressed = CompressedCache(entry_bytes=100, block_size=64)
    found = cache_specs(hybrid(FULL, compressed, FULL), 1, LAYOUT)
    assert [(spec.attention, spec.block_size, spec.page_bytes, spec.layers) for spec in found] == [
        (FULL, 16, 49_152, (0, 2, 3, 5)),
        (compressed, 64, 6400, (1, 4)),
    ]


@pytest.mark.parametrize(("alignment", "layout", "blocks"), [(1, LAYOUT, 3), (64, LAYOUT, 2), (64, EXPORTS, 3), (0, EXPORTS, 2), (0, LAYOUT, 2)])
def test_a_state_whose_kernel_exports_checkpoints_holds_one_block_more(alignment, layout, blocks):
    """mamba_mixer2.py:1117: Mamba2 always, the delta rule where its kernel can. 2560 tokens beside it, a multiple of every block here."""
    plan = plan_cache(hybrid(state(alignment), FULL), Parallel(), layout)
    assert plan.blocks_per_request(10 * plan.groups[-1].block_size, 2048) == 10 + blocks


@pytest.mark.parametrize(("tp", "pp", "by_stage"), [(1, 1, (491_520,)), (1, 2, (245_760, 245_760)), (2, 1, (2 * 144 * 1536,))])
def test_a_block_has_a_page_for_each_layer_of_a_group(tp, pp, by_stage):
    """Two layers of each kind, 80 x 3072 bytes a page; of two stages each holds one of each kind."""
    plan = plan_cache(hybrid(state(1), FULL), Parallel(tensor_parallel_size=tp, pipeline_parallel_size=pp), LAYOUT)
    assert plan.block_bytes_by_stage == by_stage


def test_chunks_and_windows_of_other_sizes_have_tables_of_their_own():
    def tables(*caches) -> int:
        return len(plan_cache(hybrid(*caches), Parallel(), LAYOUT).groups)

    wide = SlidingWindow(kv_heads=8, head_dim=128, head_dim_v=128, window=2049)
    assert tables(WINDOW, WINDOW) == 1
    assert tables(WINDOW, wide) == 2
    assert tables(CHUNK, ChunkedLocal(kv_heads=8, head_dim=128, head_dim_v=128, chunk=4096)) == 2
    assert tables(CHUNK, ChunkedLocal(kv_heads=4, head_dim=128, head_dim_v=128, chunk=8192)) == 1
    assert tables(FULL, FullAttention(kv_heads=4, head_dim=128, head_dim_v=128)) == 1


def test_where_pages_of_packed_groups_are_padded_a_request_counts_by_bytes():
    """Until 0.27: pages of 3 bytes take 4, so that a block holds two of 8 and three of 4; four blocks of three such pages count for two of the whole group."""
    whole = CacheGroup(attention=CompressedCache(entry_bytes=1, block_size=64), block_size=64, layers=(0, 0, 1, 1), page_bytes=(8, 4, 8, 4))
    window = CacheGroup(attention=CompressedCache(entry_bytes=1, block_size=64, window=128), block_size=64, layers=(0, 1, 2), page_bytes=(3, 3, 3))
    groups = as_padded((window, whole))
    assert [group.padded for group in groups] == [Padded(12, 24, 36), Padded(24, 24, 36)]
    assert block_bytes(groups, [3]) == (28,)
    assert CachePlan((window, whole)).blocks_per_request(640, 64) == 14
    assert CachePlan(groups).blocks_per_request(640, 64) == 12

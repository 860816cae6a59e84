"""Parameter bytes of a rank, each value derived by hand beside it. Equality with vLLM's own classes is in test_truth.py."""

from dataclasses import replace

import pytest
from conftest import small_model as model

from planner.engines.shards import axis_size, linear_bytes, module_bytes, plane_bytes, tensor_bytes
from planner.engines.vllm.weights import buffer_bytes, kernels_matter, stage_layers, stage_weights
from planner.errors import NotDivisibleError
from planner.facts.config import Parallel
from planner.facts.model import CheckpointDifference, LayerGroup, ModelSpec
from planner.facts.modules import Axis, Experts, Linear, Role, Split, Tensor
from planner.facts.storage import BF16, ROUTER, Cut, Encoding, Kernels, Plane, Storage

AWQ = Storage(name="awq", planes=(Plane(4), Plane(4, column_block=128), Plane(16, column_block=128)), input_multiple=128, output_multiple=8)
FP8_BLOCKS = Storage(name="fp8-block", planes=(Plane(8), Plane(32, 128, 128)), cut=Cut.EXPERTS)
WHOLE_BLOCKS = replace(FP8_BLOCKS, cut=Cut.NOWHERE)
FLAT_BLOCKS = Storage(name="fp8-flat", planes=(Plane(8), Plane(32, 64, 128)), cut=Cut.EXPERTS)
MXFP4 = Storage(name="mxfp4", planes=(Plane(4), Plane(8, column_block=32)), kernels=Kernels.MXFP4)


@pytest.mark.parametrize(
    ("axis", "tp", "size"),
    [
        (Axis(1000), 8, 1000),
        (Axis(1000, Split.TP), 8, 125),
        (Axis(1024, Split.HEADS, 8), 2, 512),
        (Axis(1024, Split.HEADS, 8), 16, 128),  # one head at least
        (Axis(900, Split.EVEN, 9), 2, 900),  # nine parts on two ranks: whole
        (Axis(900, Split.EVEN, 9), 3, 300),
        (Axis(1000, Split.VOCAB), 1, 1024),  # padded to a multiple of 64
        (Axis(1000, Split.VOCAB), 4, 256),
    ],
)
def test_a_dimension_on_one_rank(axis, tp, size):
    counted = axis_size(axis, tp)
    assert counted == size
    assert isinstance(counted, int)


@pytest.mark.parametrize(("axis", "tp"), [(Axis(1000, Split.TP), 3), (Axis(1024, Split.HEADS, 8), 3), (Axis(1000, Split.VOCAB), 3)])
def test_a_dimension_that_ranks_cannot_share_is_refused(axis, tp):
    with pytest.raises(NotDivisibleError):
        axis_size(axis, tp)


@pytest.mark.parametrize(
    ("plane", "size"),
    [
        (Plane(16), 300 * 256 * 2),
        (Plane(4), 300 * 256 // 2),
        (Plane(16, column_block=128), 300 * 2 * 2),
        (Plane(32, 128, 128), 3 * 2 * 4),  # 300 rows are three blocks
        (Plane(32, row_block=0, column_block=0), 3 * 4),  # one for each fused part
        (Plane(32, row_block=-1, column_block=0), 4),  # one for all
        (Plane(8, column_block=0, extra_bytes=64), 300 + 64),  # one for each row
    ],
)
def test_a_plane_has_a_value_for_every_block_of_rows_and_columns(plane, size):
    """Three parts of 100 rows, 256 columns."""
    counted = plane_bytes(plane, [100, 100, 100], 256, 16)
    assert counted == size
    assert isinstance(counted, int)


def test_sixteen_bits_stand_for_the_models_dtype():
    assert plane_bytes(Plane(16), [10], 10, 32) == 400
    assert plane_bytes(Plane(8), [10], 10, 32) == 100
    assert tensor_bytes(Tensor(name="norm", axes=(Axis(10),)), 1, 32) == 40
    assert tensor_bytes(Tensor(name="table", axes=(Axis(10),), bits=8), 1, 32) == 10


@pytest.mark.parametrize(
    ("storage", "tp", "size"),
    [
        (BF16, 1, 512 * 256 * 2 + 512 * 2),  # weight and bias
        (BF16, 2, 256 * 256 * 2 + 256 * 2),
        # 4 bits each; a zero of 4 and a scale of 16 for every 128 columns
        (AWQ, 1, 512 * 256 // 2 + 512 * 2 // 2 + 512 * 2 * 2 + 512 * 2),
        (FP8_BLOCKS, 1, 512 * 256 + 4 * 2 * 4 + 512 * 2),
    ],
)
def test_a_fused_linear_is_its_planes_and_its_bias(storage, tp, size):
    linear = Linear(name="up", role=Role.GATE_UP, inputs=Axis(256), outputs=(Axis(256, Split.TP), Axis(256, Split.TP)), bias=True, storage=storage)
    counted = linear_bytes(linear, tp, 16)
    assert counted == size
    assert isinstance(counted, int)


def test_a_module_is_that_of_its_rank():
    up = Linear(name="up", role=Role.GATE_UP, inputs=Axis(256), outputs=(Axis(512, Split.TP),))
    assert module_bytes(up, Parallel(tensor_parallel_size=2)) == 256 * 256 * 2


def test_rows_are_padded_and_groups_are_never_cut():
    padded = Linear(name="up", role=Role.GATE_UP, inputs=Axis(256), outputs=(Axis(100), Axis(100)), rows_multiple=64)
    assert linear_bytes(padded, 1, 16) == 256 * 256 * 2
    row = Linear(name="down", role=Role.DOWN, inputs=Axis(256, Split.TP), outputs=(Axis(64),), storage=AWQ)
    assert linear_bytes(row, 2, 16) == 64 * 128 // 2 + 64 // 2 + 64 * 2
    with pytest.raises(NotDivisibleError, match="64 inputs a rank are not a multiple of the quantization group 128"):
        linear_bytes(row, 4, 16)
    with pytest.raises(NotDivisibleError, match="4 outputs a rank are not a multiple of 8"):
        linear_bytes(replace(row, inputs=Axis(256), outputs=(Axis(4),)), 1, 16)


EXPERTS = Experts(name="experts", experts=9, hidden=1024, intermediate=512)


@pytest.mark.parametrize(
    ("changed", "parallel", "size"),
    [
        ({}, {}, 9 * 3 * 512 * 1024 * 2),
        ({}, {"tensor_parallel_size": 2}, 9 * 3 * 256 * 1024 * 2),
        ({}, {"tensor_parallel_size": 2, "enable_expert_parallel": True}, 5 * 3 * 512 * 1024 * 2),  # five of nine, whole
        ({}, {"enable_expert_parallel": True}, 9 * 3 * 512 * 1024 * 2),  # one rank has nothing to spread
        ({"shards": 1}, {}, 9 * 2 * 512 * 1024 * 2),
        ({"shards": 1, "intermediate": 500}, {"ungated_width_multiple": 128}, 9 * 2 * 512 * 1024 * 2),
        ({"intermediate": 500}, {"ungated_width_multiple": 128}, 9 * 3 * 500 * 1024 * 2),  # gated: as it is
        ({"minimum_width": 300}, {"tensor_parallel_size": 2}, 9 * 3 * 300 * 1024 * 2),
        ({"bias": True}, {}, 9 * (3 * 512 * 1024 * 2 + (2 * 512 + 1024) * 2)),
        # a width of 500 is rounded to 512, hidden 1000 to 1024; 4 bits each and a scale of 8 for every 32 columns
        (
            {"storage": MXFP4, "intermediate": 500, "hidden": 1000},
            {"expert_width_multiple": 64, "expert_hidden_multiple": 256},
            9 * (3 * 512 * 1024 // 2 + 2 * 512 * 32 + 1024 * 16),
        ),
        ({"storage": FP8_BLOCKS}, {}, 9 * (3 * 512 * 1024 + 4 * (8 * 8 + 8 * 4))),
        ({"storage": FP8_BLOCKS, "intermediate": 384}, {"tensor_parallel_size": 2}, 9 * (3 * 192 * 1024 + 4 * (6 * 16 + 16 * 3))),
        ({"storage": FP8_BLOCKS, "intermediate": 96}, {}, 9 * (3 * 96 * 1024 + 4 * (6 * 32 + 32 * 3))),  # blocks of 32 are the smallest
        # blocks of 64 x 128: 192 rows are three of them, whose columns only a slice would cut
        ({"storage": FLAT_BLOCKS, "intermediate": 192}, {}, 9 * (3 * 192 * 1024 + 4 * (6 * 8 + 16 * 2))),
        ({"storage": FLAT_BLOCKS, "intermediate": 384}, {"tensor_parallel_size": 2}, 9 * (3 * 192 * 1024 + 4 * (6 * 16 + 16 * 3))),
        (
            {"storage": FLAT_BLOCKS, "intermediate": 192},
            {"tensor_parallel_size": 2, "enable_expert_parallel": True},
            5 * (3 * 192 * 1024 + 4 * (6 * 8 + 16 * 2)),
        ),
        ({"storage": FP8_BLOCKS, "hidden": 1056, "intermediate": 192}, {}, 9 * (3 * 192 * 1056 + 4 * (12 * 33 + 33 * 6))),  # 1056 is 33 times 32
        # a slice of 64 cuts blocks of 128: scales for blocks of 64
        ({"storage": FP8_BLOCKS}, {"tensor_parallel_size": 8}, 9 * (3 * 64 * 1024 + 4 * (2 * 16 + 16))),
    ],
)
def test_the_experts_of_a_rank(changed, parallel, size):
    counted = module_bytes(replace(EXPERTS, **changed), Parallel(**parallel))
    assert counted == size
    assert isinstance(counted, int)


def test_experts_narrower_than_any_block_are_refused():
    with pytest.raises(NotDivisibleError, match="output_size of gate's and up's weight = 16 is not divisible by weight quantization block_n = 128"):
        module_bytes(replace(EXPERTS, storage=FP8_BLOCKS), Parallel(tensor_parallel_size=32))


@pytest.mark.parametrize(("encoding", "zeros"), [(Encoding.AWQ, True), (Encoding.GPTQ, False)])
@pytest.mark.parametrize(("tp", "group"), [(4, 64), (8, 32)])
def test_groups_of_integer_experts_that_a_slice_cuts_are_halved(encoding, zeros, tp, group):
    """768 wide: 192 and 96 a rank, as vLLM 0.33 builds Qwen3-30B-A3B (moe_wna16.py)."""
    planes = (Plane(4), Plane(16, column_block=128), Plane(4, column_block=128))
    bank = replace(EXPERTS, intermediate=768, storage=replace(AWQ, encoding=encoding, planes=planes))
    size = 9 * 3 * 768 // tp * 1024
    assert module_bytes(bank, Parallel(tensor_parallel_size=tp)) == size // 2 + 2 * size // group + (size // 2 // group if zeros else 0)
    with pytest.raises(NotDivisibleError, match="holds no groups of 32 or more"):
        module_bytes(bank, Parallel(tensor_parallel_size=16))


@pytest.mark.parametrize(("storage", "finer"), [(FP8_BLOCKS, False), (WHOLE_BLOCKS, True)])
def test_experts_whose_slice_cuts_a_block_are_refused_where_scales_cannot_be_finer(storage, finer):
    cut, down = replace(EXPERTS, storage=storage), replace(EXPERTS, storage=replace(storage, planes=FLAT_BLOCKS.planes), intermediate=384)
    with pytest.raises(NotDivisibleError, match=r"^experts: The output_size of gate's and up's weight = 64 is not divisible by .* block_n = 128$"):
        module_bytes(cut, Parallel(tensor_parallel_size=8, experts_refined=finer))
    with pytest.raises(NotDivisibleError, match=r"^experts: The input_size of down's weight = 192 is not divisible by .* block_k = 128$"):
        module_bytes(down, Parallel(tensor_parallel_size=2, experts_refined=finer))
    assert module_bytes(cut, Parallel(tensor_parallel_size=8, experts_refined=finer, enable_expert_parallel=True))


def fp8(*outputs: int, inputs: int = 256, split: Split = Split.TP, inputs_split: Split = Split.WHOLE, storage: Storage = FP8_BLOCKS) -> Linear:
    return Linear(name="x", role=Role.UP, inputs=Axis(inputs, inputs_split), outputs=tuple(Axis(size, split) for size in outputs), storage=storage)


@pytest.mark.parametrize(
    ("linear", "tp", "merged_cut", "said"),
    [
        (fp8(256, inputs=192, split=Split.WHOLE, inputs_split=Split.TP), 2, True, "Weight input_size_per_partition = 96 .* block_k = 128"),
        (fp8(256, inputs=192, split=Split.WHOLE, inputs_split=Split.TP), 1, True, ""),
        (fp8(256), 4, True, "Weight output_partition_size = 64 .* block_n = 128"),
        (fp8(192), 1, True, ""),  # a part of the last block
        (fp8(256, 256), 4, True, ""),  # fused layers may be cut
        (fp8(256, 256), 4, False, "Weight output_partition_size = 64"),  # before 0.14 they may not
        (fp8(256, 256, storage=WHOLE_BLOCKS), 4, True, "Weight output_partition_size = 64"),
        (fp8(192, 256, split=Split.WHOLE), 1, False, "Weight output_partition_size = 192"),
        (fp8(256, 192, split=Split.WHOLE), 8, False, ""),  # only the last part may be
        (fp8(256, 192, split=Split.WHOLE, storage=WHOLE_BLOCKS), 8, True, ""),
        (fp8(192, 192, storage=replace(FP8_BLOCKS, cut=Cut.ANYWHERE)), 2, False, ""),
    ],
)
def test_which_linear_layers_may_cut_blocks_that_share_a_scale(linear, tp, merged_cut, said):
    """vllm fp8_utils.py validate_fp8_block_shape, linear.py _maybe_allow_fp8_block_shape_mismatch."""
    parallel = Parallel(tensor_parallel_size=tp, merged_cut=merged_cut)
    if not said:
        assert module_bytes(linear, parallel)
        return
    with pytest.raises(NotDivisibleError, match=said):
        module_bytes(linear, parallel)


def test_a_router_is_kept_wide_where_the_gpu_lacks_its_kernel():
    router = Linear(name="gate", role=Role.ROUTER, inputs=Axis(1024), outputs=(Axis(9),), storage=ROUTER)
    assert module_bytes(router, Parallel()) == 1024 * 9 * 2
    assert module_bytes(router, Parallel(wide_router=True)) == 1024 * 9 * 4
    assert module_bytes(replace(router, bias=True), Parallel(wide_router=True), 32) == 1024 * 9 * 4 + 9 * 4
    split = replace(router, inputs=Axis(1024, Split.TP))
    assert module_bytes(split, Parallel(wide_router=True, tensor_parallel_size=2)) == 512 * 9 * 4


@pytest.mark.parametrize(("layers", "stages", "counts"), [(4, 1, [4]), (5, 2, [3, 2]), (7, 3, [2, 3, 2]), (11, 4, [3, 3, 3, 2]), (10, 4, [2, 3, 3, 2])])
def test_layers_that_are_left_over_go_to_the_stages_before_the_last(layers, stages, counts):
    """vllm/distributed/utils.py get_pp_indices."""
    assert stage_layers(layers, Parallel(pipeline_parallel_size=stages)) == counts
    assert stage_layers(layers, Parallel(pipeline_parallel_size=2, layer_partition=(1, layers - 1))) == [1, layers - 1]


def tensor(name: str, size: int) -> Tensor:
    return Tensor(name=name, axes=(Axis(size),))


def staged(**changed) -> ModelSpec:
    """Four layers of 200 bytes, the first also 20; embedding 2000, norm and head 1000, buffers 60."""
    one = LayerGroup(indices=(0,), modules=(tensor("layer", 100), tensor("more", 10)), caches=())
    rest = LayerGroup(indices=(1, 2, 3), modules=(tensor("layer", 100),), caches=())
    parts = {"first": (tensor("embedding", 1000),), "last": (tensor("head", 500),), "layers": (one, rest), "buffers": (tensor("rope", 30),)}
    return replace(model(), **(parts | changed))


@pytest.mark.parametrize(
    ("changed", "stages", "totals"),
    [
        ({}, 1, [2000 + 220 + 600 + 1000]),
        ({}, 2, [2000 + 420, 400 + 1000]),
        ({}, 4, [2220, 200, 200, 1200]),
        ({"tied_copy": (tensor("embedding", 1000),)}, 1, [3820]),  # one stage: the very same
        ({"tied_copy": (tensor("embedding", 1000),)}, 2, [2420, 1400 + 2000]),  # several: again on the last
        ({"every": (tensor("everywhere", 50),)}, 2, [2520, 1500]),
        ({"checkpoint": CheckpointDifference(3, 2, "made")}, 1, [3820 * 3 // 2]),  # half more is stored than derived
    ],
)
def test_the_stages_of_a_pipeline(changed, stages, totals):
    counted = stage_weights(staged(**changed), Parallel(pipeline_parallel_size=stages))
    assert counted == totals
    assert all(isinstance(total, int) for total in counted)


def test_stages_follow_the_ranks_and_the_dtype():
    """A head of 500 that two ranks share; 32 bits are twice as much of everything."""
    split = staged(last=(Tensor(name="head", axes=(Axis(500, Split.TP),)),))
    assert stage_weights(split, Parallel(tensor_parallel_size=2)) == [2820 + 500]
    assert stage_weights(split, Parallel(), 32) == [2 * 3820]
    assert buffer_bytes(staged(buffers=(Tensor(name="rope", axes=(Axis(30, Split.TP),)),)), Parallel(tensor_parallel_size=2)) == 30


def test_buffers_of_a_rank():
    assert buffer_bytes(staged(), Parallel()) == 60
    assert buffer_bytes(staged(), Parallel(), dtype_bits=32) == 120


def test_kernels_matter_where_there_are_experts_or_a_router():
    def holds(module) -> bool:
        return kernels_matter(replace(model(), layers=(LayerGroup(indices=(0,), modules=(module,), caches=()),)))

    assert holds(EXPERTS)
    assert holds(Linear(name="gate", role=Role.ROUTER, inputs=Axis(8), outputs=(Axis(8),), storage=ROUTER))
    assert not holds(Linear(name="up", role=Role.GATE_UP, inputs=Axis(8), outputs=(Axis(8),)))
    assert not holds(tensor("norm", 8))

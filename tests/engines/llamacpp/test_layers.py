"""A layer's tensors by what a placement keeps apart, from a config's shapes and from names in a file."""

import pytest

from planner.catalogue import resolve
from planner.catalogue.load import find_gpu
from planner.catalogue.resolve import find_plain
from planner.engines import ENGINES
from planner.engines.llamacpp.layers import EXPERTS, Overflow, Part, part_of
from planner.engines.llamacpp.model import converted
from planner.facts.hardware import GpuGroup
from planner.facts.question import ServiceRow, StackRow
from planner.units import MIB


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("blk.3.ffn_gate_inp.weight", Part.GATE),
        ("blk.3.ffn_gate_up_exps.weight", Part.GATE_EXPERTS),
        ("blk.3.ffn_up_exps.bias", Part.UP_EXPERTS),
        ("blk.13.ffn_down_chexps.weight", Part.DOWN_EXPERTS),
        ("blk.3.ffn_down_shexp.weight", Part.DOWN),
        ("blk.3.ffn_norm.weight", Part.REST),
        ("blk.3.attn_gate.weight", Part.MIXER_GATE),
    ],
)
def test_names_are_told_apart_as_the_fit_does(name, part):
    assert part_of(name) is part


def test_experts_are_most_of_a_layer_and_the_router_goes_with_the_gate():
    layer = converted(find_plain("gpt-oss-120b").spec, "MXFP4_MOE").layers[0]
    matrix, bias = 128 * 2880 * 2880 * 17 // 32, 128 * 2880 * 4
    assert layer.bytes_of(EXPERTS) == 3 * (matrix + bias)
    assert layer.bytes_of((Part.GATE,)) >= 128 * 2880 * 4
    assert layer.bytes_of(Overflow.FEED_FORWARD.parts) > layer.bytes_of(Overflow.GATE_AND_DOWN.parts) > layer.bytes_of(Overflow.DOWN.parts) > 0


@pytest.mark.parametrize("name", ["gemma-3n-e4b", "gemma-4-e2b"])
def test_embeddings_for_each_layer_stay_in_main_memory(name):
    file = converted(find_plain(name).spec, "Q4_K_M")
    table = file.vocab * file.hidden
    assert file.output_bytes < table  # one tied head in six bits, not the tables of all layers
    assert file.input_bytes > 2 * file.output_bytes > 200 * MIB


@pytest.mark.parametrize("gpu", ["m4-max-64gb", "jetson-agx-orin-64gb", "radeon-780m-32gb", "strix-halo-32gb"])
def test_one_memory_for_both_is_counted_once(gpu):
    """What lies outside the GPU's share comes out of the same memory: no plan that starts takes more than there is."""
    group = GpuGroup(gpu=find_gpu(gpu), count=1)
    for model in ("qwen3.5-122b-a10b", "gpt-oss-120b", "qwen3.6-35b-a3b"):
        mix = "MXFP4_MOE" if "oss" in model else "Q4_K_M"
        row = StackRow(gpu=gpu, count=1, engine="ollama", services=[ServiceRow(model=model, quantization=mix, context="8k")])
        plan = ENGINES["ollama"].as_asked(row, group, resolve)
        assert not plan.starts or plan.used_bytes + plan.host_bytes <= group.gpu.memory_bytes, model
        assert not (plan.starts and model == "qwen3.5-122b-a10b")  # 71.3 GiB

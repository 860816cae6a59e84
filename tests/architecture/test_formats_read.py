"""Quantizations as vLLM 0.33 reads them: whose bits it takes, what it quantizes while loading, AMD's Quark, what it reads no more."""

import pytest

from planner.architecture.compressed_tensors import _cache_strategy
from planner.architecture.config import Config
from planner.architecture.formats import FP8_CHANNEL, FP8_TENSOR, FP8_TENSOR_STATIC, FP8_TENSOR_STATIC_EXPERTS, MXFP4_LINEAR, MXFP4_MARLIN, MXFP8, Target
from planner.architecture.online import ONLINE, online_quantization
from planner.architecture.quantization import DROPPED, read_quantization
from planner.engines.shards import matrix_bytes
from planner.errors import UnsupportedModelError
from planner.facts.storage import BF16

HEAD, LINEAR, EXPERTS = Target.HEAD, Target.LINEAR, Target.EXPERTS


def read(**section):
    return read_quantization(Config(section, "made"))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"quant_method": "awq", "bits": 8, "group_size": 128}, "AWQ in 8 bits is not supported"),
        ({"quant_method": "gptq", "bits": 3, "group_size": 128, "desc_act": False}, "GPTQ in 3 bits, sym True, is not supported"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": False}, "GPTQ in 4 bits, sym False, is not supported"),
        *(({"quant_method": method}, f"dropped in 0.{release}") for method, release in DROPPED.items()),
    ],
)
def test_what_vllm_does_not_read(section, said):
    with pytest.raises(UnsupportedModelError, match=said):
        read(**section)


@pytest.mark.parametrize("name", ONLINE)
def test_what_is_quantized_while_loading(name):
    """config/quantization.py _ONLINE_SHORTHANDS: `int8_per_channel_weight_only`, `experts_int8` and `nvfp4_per_token` are for experts only."""
    method = online_quantization(name)
    only_experts = name in ("int8_per_channel_weight_only", "experts_int8", "nvfp4_per_token")
    assert method.name == name
    assert method.storage(["lm_head"], HEAD) is BF16
    assert (method.storage(["mlp.up_proj"], LINEAR) is BF16) is only_experts
    assert method.storage(["mlp.experts"], EXPERTS).is_quantized


def test_bytes_of_what_is_quantized_while_loading():
    size = {name: matrix_bytes(experts, [256], 128, 16) for name, (_, experts) in ONLINE.items()}
    assert size["mxfp8"] == 256 * 128 + 256 * 4
    assert size["mxfp4"] == 256 * 64 + 256 * 4
    assert size["experts_int8"] == size["int8_per_channel_weight_only"] == 256 * 128 + 4 * 256
    assert size["nvfp4_per_token"] == 256 * 64 + 256 * 8 + 8
    assert online_quantization("online") is None
    assert ONLINE["mxfp8"] == (MXFP8, MXFP8)


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ({"kv_cache_scheme": {"num_bits": 4, "type": "float"}}, "nvfp4"),
        ({"kv_cache_scheme": {"num_bits": 4, "type": "int"}}, "auto"),
        ({"kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": False}}, "fp8"),
        ({"kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": True}}, "auto"),
        ({"kv_cache_scheme": {"num_bits": 8, "type": "int", "dynamic": False}}, "auto"),
        ({"kv_cache_scheme": {"num_bits": 8, "type": "int"}, "kv_cache_quant_algo": "FP8"}, "auto"),  # the scheme goes before the name
        ({"kv_cache_scheme": None, "kv_cache_quant_algo": "FP8"}, "fp8"),
        ({"kv_cache_quant_algo": "NVFP4"}, "nvfp4"),
        ({"kv_cache_quant_algo": "INT8"}, "auto"),
        ({}, "auto"),
    ],
)
def test_what_a_modelopt_checkpoint_asks_its_cache_to_be(said, dtype):
    """utils/torch_utils.py get_kv_cache_quant_algo_string, of a section of either shape."""
    assert read(quant_method="modelopt", quant_algo="NVFP4", **said).kv_cache_dtype == dtype
    assert read(quant_method="modelopt", quantization={"quant_algo": "NVFP4", **said}).kv_cache_dtype == dtype


def scheme(dtype, granularity, *, inputs="dynamic", **more):
    described = {"dtype": dtype, "qscheme": granularity, **more}
    return {"weight": described, "input_tensors": {**described, "is_dynamic": inputs == "dynamic"} if inputs else None}


QUARK = {"quant_method": "quark", "export": {"kv_cache_group": []}}


@pytest.mark.parametrize(
    ("overall", "linear", "experts"),
    [
        (scheme("fp8_e4m3", "per_tensor"), FP8_TENSOR, FP8_TENSOR),
        (scheme("fp8_e4m3", "per_tensor", inputs="static"), FP8_TENSOR_STATIC, FP8_TENSOR_STATIC_EXPERTS),
        (scheme("fp8_e4m3", "per_channel"), FP8_CHANNEL, FP8_CHANNEL),
        (scheme("fp4", "per_group", group_size=32), MXFP4_LINEAR, MXFP4_MARLIN),
    ],
)
def test_quark_has_a_scheme_for_all_and_leaves_some_out(overall, linear, experts):
    method = read(**QUARK, global_quant_config=overall, exclude=["lm_head", "model.layers.0.mlp.gate", "re:.*o_proj", "model.layers.1.mlp.experts.0.up_proj"])
    assert method.name == "quark"
    assert method.storage(["layers.0.mlp.gate_proj", "layers.0.mlp.up_proj"], LINEAR) == linear
    assert method.storage(["layers.0.mlp.gate"], LINEAR) is BF16
    assert method.storage(["layers.0.self_attn.o_proj"], LINEAR) is BF16
    assert method.storage(["layers.0.mlp.experts"], EXPERTS) == experts
    assert method.storage(["layers.1.mlp.experts"], EXPERTS) is BF16  # one that is left out leaves out the bank
    assert method.storage(["lm_head"], HEAD) is BF16


def test_quark_gives_layers_schemes_of_their_own():
    own = {"*self_attn*": scheme("fp8_e4m3", "per_channel"), "*k_proj": {"weight": None}}
    method = read(**QUARK, global_quant_config=scheme("fp4", "per_group", group_size=32), layer_quant_config=own, exclude=[])
    assert method.storage(["layers.0.self_attn.q_proj"], LINEAR) == FP8_CHANNEL
    assert method.storage(["layers.0.mlp.up_proj"], LINEAR) == MXFP4_LINEAR
    with pytest.raises(UnsupportedModelError, match="Quark weights of int4 per_group are not supported"):
        read(**QUARK, global_quant_config=scheme("int4", "per_group", group_size=128), exclude=[])


def test_gptq_gives_modules_bits_of_their_own():
    """gptq_utils.py get_dynamic_override: the first pattern that matches decides."""
    dynamic = {"-:.*o_proj": {}, "+:.*layers.1.*up": {"bits": 8, "group_size": 64}, ".*layers.1.mlp": {"bits": 8}}
    method = read(quant_method="gptq", bits=4, group_size=128, desc_act=False, sym=True, dynamic=dynamic)
    assert method.storage(["layers.0.mlp.down_proj"], LINEAR).name == "int4-g128"
    assert method.storage(["layers.1.mlp.down_proj"], LINEAR).name == "int8-g128"
    assert method.storage(["layers.1.mlp.up_proj"], LINEAR).name == "int8-g64"
    assert method.storage(["layers.1.self_attn.o_proj"], LINEAR) is BF16
    with pytest.raises(UnsupportedModelError, match="quantized differently"):
        method.storage(["layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"], LINEAR)
    with pytest.raises(UnsupportedModelError, match="GPTQ in 2 bits"):
        read(quant_method="gptq", bits=4, group_size=128, desc_act=False, dynamic={".*": {"bits": 2}}).storage(["x"], LINEAR)


@pytest.mark.parametrize("first", ["layers.0.self_attn.o_proj", "re:.*o_proj"])
def test_of_targets_by_name_and_by_pattern_the_first_in_the_file_decides(first):
    """compressed_tensors/utils.py find_matched_target goes through them in their order; thousands more, as files that list every expert have, change nothing."""
    names = ["layers.0.self_attn.o_proj", "re:.*o_proj"]
    scheme = {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}, "input_activations": {"num_bits": 8, "type": "float", "dynamic": True}}
    other = {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}}
    (second,) = [name for name in names if name != first]
    many = [f"layers.{layer}.mlp.experts.{expert}.up_proj" for layer in range(1, 40) for expert in range(256)]
    groups = {"group_0": {"targets": [first, *many], **scheme}, "group_1": {"targets": [second], **other}}
    method = read(quant_method="compressed-tensors", format="mixed-precision", ignore=many[:5], config_groups=groups)
    assert method.storage(["layers.0.self_attn.o_proj"], LINEAR) is FP8_CHANNEL
    assert method.storage(["layers.39.mlp.experts.255.up_proj"], LINEAR) is FP8_CHANNEL
    assert method.storage(["layers.1.mlp.experts.0.up_proj"], LINEAR) is BF16


@pytest.mark.parametrize(
    ("scheme", "told"),
    [
        ({"num_bits": 8, "type": "float", "symmetric": True, "strategy": "s" * 500}, "Invalid strategy for compressed-tensors KV cache: sss"),
        ({"num_bits": 4, "type": "t" * 500}, "however received num_bits=4, type=ttt"),
        ({"num_bits": "8" * 500, "type": "float"}, "however received num_bits=888"),
    ],
)
def test_what_a_file_says_of_its_cache_is_cut_in_a_message(scheme, told):
    with pytest.raises(UnsupportedModelError) as error:
        _cache_strategy(Config({"kv_cache_scheme": scheme}, "made"))
    assert told in error.value.message
    assert len(error.value.message) < 200

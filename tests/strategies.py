"""Generated models and GPUs: architectures that nobody published, on cards that nobody sells."""

from hypothesis import strategies as st

from planner.architecture import Config, build_model
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.facts.model import ModelSpec
from planner.units import GIB, MIB

QUANTIZATIONS = (
    {},
    {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
    {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False},
    {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    {"quant_method": "fp8", "activation_scheme": "static"},
)


@st.composite
def attention_config(draw) -> dict:
    head_dim = draw(st.sampled_from([64, 128, 256]))
    kv_heads = draw(st.sampled_from([1, 2, 4, 8]))
    return {
        "num_hidden_layers": draw(st.integers(2, 24)),
        "hidden_size": 128 * draw(st.integers(4, 40)),
        "intermediate_size": 1024 * draw(st.integers(1, 12)),
        "num_attention_heads": kv_heads * draw(st.sampled_from([1, 2, 4, 8])),
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "vocab_size": draw(st.integers(1_000, 300_000)),
        "max_position_embeddings": draw(st.sampled_from([8192, 32_768, 131_072, 262_144])),
        "tie_word_embeddings": draw(st.booleans()),
    }


@st.composite
def raw_configs(draw) -> dict:
    """A config.json of one of nine kinds of architecture."""
    config = draw(attention_config())
    kind = draw(st.sampled_from(["llama", "moe", "sliding", "latent", "mamba", "delta", "shared", "compressed", "encoder"]))
    if kind == "llama":
        config["architectures"] = ["LlamaForCausalLM"]
        config["quantization_config"] = draw(st.sampled_from(QUANTIZATIONS))
    if kind == "moe":
        config |= {
            "architectures": ["Qwen3MoeForCausalLM"],
            "num_experts": draw(st.sampled_from([8, 16, 64])),
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1024,
        }
        config["quantization_config"] = draw(st.sampled_from(QUANTIZATIONS))
    if kind == "sliding":
        config |= {
            "architectures": ["Gemma3ForCausalLM"],
            "sliding_window": draw(st.sampled_from([128, 1024, 4096])),
            "sliding_window_pattern": draw(st.integers(2, 7)),
        }
    if kind == "latent":
        config |= {
            "architectures": ["DeepseekV3ForCausalLM"],
            "kv_lora_rank": 512,
            "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
            "q_lora_rank": 1536,
        }
    if kind == "mamba":
        letters = draw(st.lists(st.sampled_from("M*-"), min_size=config["num_hidden_layers"], max_size=config["num_hidden_layers"]))
        config |= {
            "architectures": ["NemotronHForCausalLM"],
            "hybrid_override_pattern": "M*" + "".join(letters)[2:],
            "mamba_num_heads": 64,
            "mamba_head_dim": 64,
            "n_groups": 8,
            "ssm_state_size": draw(st.sampled_from([64, 128])),
        }
    if kind == "delta":
        config |= {
            "architectures": ["Qwen3NextForCausalLM"],
            "num_hidden_layers": 4 * draw(st.integers(1, 8)),
            "linear_num_key_heads": 16,
            "linear_num_value_heads": 32,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
        }
    if kind == "shared":
        config |= {
            "architectures": ["Gemma4ForCausalLM"],
            "hidden_size_per_layer_input": draw(st.sampled_from([0, 256])),
            "num_kv_shared_layers": draw(st.integers(0, config["num_hidden_layers"] - 1)),
            "use_double_wide_mlp": draw(st.booleans()),
        }
    if kind == "compressed":
        ratios = draw(st.lists(st.sampled_from([0, 4, 128]), min_size=config["num_hidden_layers"], max_size=config["num_hidden_layers"]))
        config |= {
            "architectures": ["DeepseekV4ForCausalLM"],
            "compress_ratios": [4, *ratios[1:]],
            "head_dim": 512,
            "num_attention_heads": 64,
            "num_key_value_heads": 1,
            "o_groups": 8,
            "o_lora_rank": 1024,
            "q_lora_rank": 1024,
            "index_n_heads": 64,
            "index_head_dim": 128,
            "n_routed_experts": draw(st.sampled_from([8, 64])),
            "n_shared_experts": 1,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 2048,
            "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
        }
    if kind == "encoder":
        config |= {"architectures": ["BertModel"], "num_key_value_heads": config["num_attention_heads"], "max_position_embeddings": 512}
    return config


def models() -> st.SearchStrategy[ModelSpec]:
    return raw_configs().map(lambda config: build_model(Config(config, "generated"), "generated"))


@st.composite
def groups(draw) -> GpuGroup:
    memory = draw(st.integers(8, 300)) * GIB
    capability = draw(st.sampled_from([(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]))
    gpu = GpuSpec(
        name="generated",
        title="Generated GPU",
        vendor="nvidia",
        memory_type="gddr",
        memory_bytes=memory,
        cuda_total_bytes=memory - draw(st.integers(200, 700)) * MIB,
        compute_capability=capability,
        nvlink=draw(st.booleans()),
    )
    return GpuGroup(gpu=gpu, count=draw(st.sampled_from([1, 2, 4, 8])), host=draw(st.sampled_from(list(Host))))

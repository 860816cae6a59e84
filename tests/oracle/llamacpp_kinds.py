"""llama.cpp itself about caches and compute buffers of many kinds of models, from their config.json alone: one JSON line a case.

llama.cpp makes a model of metadata without a file (llama_model_init_from_user) and asks the device about each tensor that it needs: their names and
shapes are caught there, written as a file with a hole instead of weights, and measured as any other. Tensors that it takes only where they are there
are named here (`optional`). One process a model: a config that llama.cpp aborts on takes its process along.

    echo '{"model": NAME, "config": {…}}' | python llamacpp_kinds.py FOLDER >> ../data/llamacpp_kinds.jsonl   (FOLDER: setup-llamacpp.sh's)
"""

import ctypes as c
import json
import re
import sys
import tempfile
from pathlib import Path

from gguf_shapes import write
from llamacpp_buffers import measure
from llamacpp_device import FN, STR, TENSOR, Llama, ModelParams, P, kept, nothing

CARD = (24 << 30, 24 << 30)
CASES = (
    {"context": 4096},
    {"context": 32768},
    {"context": 131072},
    {"context": 32768, "kv": "q8_0"},
    {"context": 32768, "flash": False},
    {"context": 131072, "ubatch": 2048},
    {"context": 32768, "sequences": 4},
    {"context": 8192, "parallel": 4},
)


class Start(c.Structure):
    _fields_ = [("no_alloc", c.c_bool), ("context", P)]


def first(config, *keys):
    value = next((config[key] for key in keys if config.get(key)), 0)
    return value[0] if isinstance(value, list) else value


def metadata(config):
    """A model's architecture by llama.cpp's name, and its metadata."""
    top, config = config, {**config, **config.get("text_config", {}), "architectures": config["architectures"]}
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    dim = config.get("head_dim") or hidden // heads
    m = {
        "context_length": 262144, "embedding_length": hidden, "block_count": config["num_hidden_layers"], "feed_forward_length": first(config, "intermediate_size"),
        "attention.head_count": heads, "attention.head_count_kv": first(config, "num_key_value_heads", "num_attention_groups") or heads,
        "attention.layer_norm_rms_epsilon": 1e-6, "attention.layer_norm_epsilon": 1e-6, "rope.freq_base": 1e6, "rope.freq_base_swa": 1e4,
        "attention.key_length": dim, "attention.value_length": config.get("v_head_dim", dim), "rope.dimension_count": dim, "vocab_size": config["vocab_size"],
    }  # fmt: skip
    if experts := first(config, "num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"):
        m |= {
            "expert_count": experts, "expert_used_count": first(config, "num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_top_k", "moe_topk"),
            "expert_feed_forward_length": first(config, "moe_intermediate_size") or m["feed_forward_length"], "expert_gating_func": 2,
            "expert_weights_scale": 1.0, "expert_weights_norm": True,
            "leading_dense_block_count": config.get("first_k_dense_replace", config.get("num_dense_layers", config.get("moe_layer_start_index", 0))),
        }  # fmt: skip
        if shared := first(config, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert"):
            m["expert_shared_count"] = shared
    if config.get("sliding_window"):
        m["attention.sliding_window"] = config["sliding_window"]
    if "sliding_attention" in config.get("layer_types", ()):
        m["attention.sliding_window_pattern"] = [kind == "sliding_attention" for kind in config["layer_types"]]
    return KINDS[top["architectures"][0]](config, m), m


def named(name, **more):
    return lambda config, m: m.update(more) or name


def heads_by_layer(config, m, attends):
    m["attention.head_count_kv"] = [m["attention.head_count_kv"] if flag else 0 for flag in attends]


def granite_hybrid(config, m):
    m |= {"logit_scale": 8.0, "embedding_scale": 12.0, "residual_scale": 0.22, "attention.scale": 0.0156}
    if not config["num_local_experts"]:
        m["feed_forward_length"] = config["shared_intermediate_size"]
    if "mamba" not in config["layer_types"]:
        return "granite"
    m["expert_shared_feed_forward_length"] = config["shared_intermediate_size"]
    heads_by_layer(config, m, [kind == "attention" for kind in config["layer_types"]])
    heads = config["mamba_n_heads"]
    m |= {
        "ssm.conv_kernel": 4, "ssm.inner_size": heads * config["mamba_d_head"], "ssm.state_size": config["mamba_d_state"], "ssm.time_step_rank": heads,
        "ssm.group_count": config["mamba_n_groups"], "rope.scaling.finetuned": False,
    }  # fmt: skip
    return "granitehybrid"


def nemotron_h(config, m):
    pattern, heads = config["hybrid_override_pattern"], config["mamba_num_heads"]
    heads_by_layer(config, m, [kind == "*" for kind in pattern])
    m["feed_forward_length"] = [config["intermediate_size"] if kind in "-E" else 0 for kind in pattern]
    m |= {"ssm.conv_kernel": 4, "ssm.inner_size": heads * config["mamba_head_dim"], "ssm.state_size": config["ssm_state_size"], "ssm.time_step_rank": heads}
    m |= {"ssm.group_count": config["n_groups"], "of_mamba": [kind == "M" for kind in pattern]}
    if "E" not in pattern:
        return "nemotron_h"
    m["expert_shared_feed_forward_length"] = config["moe_shared_expert_intermediate_size"]
    return "nemotron_h_moe"


def lfm2(config, m):
    heads_by_layer(config, m, [kind == "full_attention" for kind in config["layer_types"]])
    m["shortconv.l_cache"] = 3
    if "block_ff_dim" not in config:
        return "lfm2moe"
    m["feed_forward_length"] = -(-int(2 * config["block_ff_dim"] / 3) // 256) * 256
    return "lfm2"


def latent(name):
    def kind(config, m):
        rank, rope, nope, value = (config[key] for key in ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"))
        m |= {"attention.head_count_kv": 1, "attention.key_length": rank + rope, "attention.value_length": rank, "attention.key_length_mla": nope + rope}
        m |= {"attention.value_length_mla": value, "attention.kv_lora_rank": rank, "rope.dimension_count": rope}
        if config.get("q_lora_rank"):
            m["attention.q_lora_rank"] = config["q_lora_rank"]
        if name == "kimi-linear":
            full = config["linear_attn_config"]["full_attn_layers"]
            heads_by_layer(config, m, [layer + 1 in full for layer in range(config["num_hidden_layers"])])
            m |= {"ssm.conv_kernel": 4, "kda.head_dim": 128}
        return name

    return kind


def step35(config, m):
    m["attention.head_count"] = [64 if kind == "full_attention" else 96 for kind in config["layer_types"]]
    m |= {"expert_shared_feed_forward_length": config["share_expert_dim"], "leading_dense_block_count": 3, "rope.dimension_count": 64}
    m["rope.dimension_count_swa"] = 128
    return "step35"


def mimo2(config, m):
    m["attention.head_count_kv"] = [8 if flag else 4 for flag in config["hybrid_layer_pattern"]]
    m["attention.sliding_window_pattern"] = [bool(flag) for flag in config["hybrid_layer_pattern"]]
    m |= {"rope.dimension_count": 64, "leading_dense_block_count": 1}
    return "mimo2"


def gemma3n(config, m):
    m |= {"altup.num_inputs": 4, "altup.active_idx": 0, "embedding_length_per_layer_input": 256, "attention.shared_kv_layers": config["num_kv_shared_layers"]}
    m["activation_sparsity_scale"] = [1.0] * 10 + [0.0] * (m["block_count"] - 10)
    return "gemma3n"


def qwen3vl(config, m):
    m |= {"n_deepstack_layers": 3, "rope.dimension_sections": [24, 20, 20, 0]}
    return "qwen3vlmoe" if m.get("expert_count") else "qwen3vl"


def llama4(config, m):
    wide = config["intermediate_size"]
    m |= {"interleave_moe_layer_step": config["interleave_moe_layer_step"], "feed_forward_length": config["intermediate_size_mlp"]}
    m |= {"expert_feed_forward_length": wide, "expert_shared_feed_forward_length": wide, "attention.chunk_size": config["attention_chunk_size"]}
    return "llama4"


def with_shared(name, *factors, **more):
    def kind(config, m):
        width = 1
        for factor in factors:
            width *= config[factor]
        m |= {"expert_shared_feed_forward_length": width, **more}
        return name

    return kind


KINDS = {
    "AfmoeForCausalLM": named("afmoe"), "BailingMoeV2ForCausalLM": with_shared("bailingmoe2", "moe_shared_expert_intermediate_size", **{"rope.dimension_count": 64}),
    "Cohere2ForCausalLM": named("cohere2", logit_scale=0.25), "DeepseekV2ForCausalLM": latent("deepseek2"), "DeepseekV3ForCausalLM": latent("deepseek2"),
    "Ernie4_5_MoeForCausalLM": with_shared("ernie4_5-moe", "moe_intermediate_size", "moe_num_shared_experts", interleave_moe_layer_step=1),
    "Exaone4ForCausalLM": named("exaone4"), "Gemma2ForCausalLM": named("gemma2", attn_logit_softcapping=50.0, final_logit_softcapping=30.0),
    "Gemma3ForConditionalGeneration": named("gemma3"), "Gemma3nForConditionalGeneration": gemma3n, "Glm4ForCausalLM": named("glm4"),
    "Glm4MoeForCausalLM": named("glm4moe"), "GraniteMoeHybridForCausalLM": granite_hybrid, "HunYuanMoEV1ForCausalLM": with_shared("hunyuan-moe", "intermediate_size"),
    "KimiLinearForCausalLM": latent("kimi-linear"), "Lfm2ForCausalLM": lfm2, "Lfm2MoeForCausalLM": lfm2, "Llama4ForConditionalGeneration": llama4,
    "LlamaForCausalLM": named("llama"), "MiMoV2FlashForCausalLM": mimo2, "MiniMaxM2ForCausalLM": named("minimax-m2", **{"rope.dimension_count": 64}),
    "Mistral3ForConditionalGeneration": named("mistral3"), "MixtralForCausalLM": named("llama"), "NemotronHForCausalLM": nemotron_h, "Olmo3ForCausalLM": named("olmo2"),
    "PhiMoEForCausalLM": named("phimoe"), "Qwen3ForCausalLM": named("qwen3"), "Qwen3MoeForCausalLM": named("qwen3moe"), "Qwen3VLForConditionalGeneration": qwen3vl,
    "Qwen3VLMoeForConditionalGeneration": qwen3vl, "SeedOssForCausalLM": named("seed_oss"), "SmolLM3ForCausalLM": named("smollm3"), "Step3p5ForCausalLM": step35,
}  # fmt: skip


def optional(arch, m):
    """Tensors that the loader takes only where they are there, as the converters write them."""
    hidden, experts, wide, lead = m["embedding_length"], m.get("expert_count", 0), m.get("expert_feed_forward_length", 0), m.get("leading_dense_block_count", 0)
    tensors = {}

    def dense(at, width, suffix):
        tensors.update({f"{at}ffn_{name}{suffix}.weight": (width, hidden) for name in ("gate", "up")} | {f"{at}ffn_down{suffix}.weight": (hidden, width)})

    for layer in range(m["block_count"]):
        at, is_sparse = f"blk.{layer}.", bool(experts) and layer >= lead
        if is_sparse and arch in ("llama", "step35", "mimo2", "granitehybrid", "ernie4_5-moe"):
            tensors |= {f"{at}ffn_{name}_exps.weight": (experts, wide, hidden) for name in ("gate", "up")} | {
                f"{at}ffn_down_exps.weight": (experts, hidden, wide)
            }
            tensors[at + "ffn_gate_inp.weight"] = (experts, hidden)
        if is_sparse and arch in ("step35", "mimo2", "deepseek2", "bailingmoe2"):
            tensors[at + "exp_probs_b.bias"] = (experts,)
        if is_sparse and arch in ("step35", "kimi-linear"):
            dense(at, m.get("expert_shared_feed_forward_length", wide), "_shexp")
        if not is_sparse and arch in ("step35", "mimo2"):
            dense(at, m["feed_forward_length"], "")
        if arch == "step35":
            tensors |= {
                at + "attn_gate.weight": (m["attention.head_count"][layer], hidden),
                at + "attn_q_norm.weight": (128,),
                at + "attn_k_norm.weight": (128,),
            }
        if m["of_mamba"][layer] if "of_mamba" in m else arch == "granitehybrid" and not m["attention.head_count_kv"][layer]:
            tensors[at + "ssm_conv1d.bias"] = (m["ssm.inner_size"] + 2 * m["ssm.group_count"] * m["ssm.state_size"],)
    return tensors


class Kinds(Llama):
    """The library, which tells what tensors a model of some metadata has."""

    asked = None

    def _supports(self, tensor):
        if self.asked is not None:
            for source in (tensor.src[index].contents for index in range(10) if tensor.src[index]):
                if source.name:
                    self.asked[source.name.decode()] = tuple(source.ne)
        return super()._supports(tensor)

    def shape(self, path, arch, m):
        """Write a file of these metadata with the tensors that the loader asks for. What it said where it wants something else."""
        tensors = optional(arch, m)
        if "ssm.inner_size" not in m:  # of these it takes none without its convolution's bias
            tensors = self._asked(path, arch, m) | tensors
        tensors.setdefault("token_embd.weight", (m["vocab_size"], m["embedding_length"]))
        known = {}
        for _ in range(3000):
            write(path, arch, m, [(name, shape, *_kind(name, shape)) for name, shape in tensors.items()])
            parameters = self.llama.llama_model_default_params()
            parameters.no_alloc, parameters.load_mode = True, 0
            self.log.clear()
            if model := self.llama.llama_model_load_from_file(str(path).encode(), parameters):
                self.llama.llama_model_free(model)
                return ""
            said = "".join(self.log)
            if wrong := re.search(r"tensor '([^']+)' has wrong shape; expected +([\d, ]+), got", said):
                tensors[wrong[1]] = known[_own(wrong[1])] = _shape(map(int, wrong[2].split(",")))
            elif missing := re.search(r"(?:missing tensor|tensor) '([^']+)'", said):
                tensors[missing[1]] = known.get(_own(missing[1]), (1,))
            else:
                return said[-400:]
        return "no end"

    def _asked(self, path, arch, m):
        write(path, arch, m, [])
        self.base.gguf_init_from_file.restype, self.base.gguf_init_from_file.argtypes = P, [STR, Start]
        make = self.llama.llama_model_init_from_user
        make.restype, make.argtypes = P, [P, P, P, ModelParams]
        self.asked = {}
        header = self.base.gguf_init_from_file(str(path).encode(), Start(True, None))
        make(header, kept(FN(None, TENSOR, P)(nothing)), None, self.llama.llama_model_default_params())
        asked, self.asked = self.asked, None
        return {name: _shape(sizes) for name, sizes in asked.items()}


def _own(name):
    return re.sub(r"^blk\.\d+\.", "", name)


def _shape(sizes):
    sizes = list(sizes)
    while len(sizes) > 1 and sizes[-1] == 1:
        sizes.pop()
    return tuple(reversed(sizes))


def _kind(name, shape):
    return (
        ("F32",) if len(shape) > 1 and any(part in name for part in ("ssm_conv1d", "ffn_gate_inp", "ssm_a", "ssm_d", "shortconv.conv", "norm", "altup")) else ()
    )


def main(folder):
    llama = Kinds(Path(folder), [CARD])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        for asked in map(json.loads, sys.stdin):
            if said := llama.shape(path, *metadata(asked["config"])):
                raise SystemExit(f"{asked['model']}: {said}")
            for case in CASES:
                print(json.dumps({"model": asked["model"], **case, "mib": measure(llama, path, **case)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

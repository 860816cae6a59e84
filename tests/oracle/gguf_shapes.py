"""GGUF files of real models' shapes and no weights: the header, then a hole as long as the tensors (some pages of disk).

Names and shapes are those that llama.cpp's loader asks for (src/models/*.cpp of v0.5.0): a file that lacks one is refused.
"""

import os
import struct
from math import prod
from pathlib import Path

TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_K": (12, 256, 144), "MXFP4": (39, 32, 17)}  # number, elements of a block, its bytes
_KINDS = ((bool, 7, "?"), (int, 4, "I"), (float, 6, "f"))


def _string(value):
    return struct.pack("<Q", len(value)) + value.encode()


def _value(value):
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    items = value if isinstance(value, list) else [value]
    number, letter = next((number, letter) for kind, number, letter in _KINDS if isinstance(items[0], kind))
    packed = b"".join(struct.pack("<" + letter, item) for item in items)
    return struct.pack("<IIQ", 9, number, len(items)) + packed if isinstance(value, list) else struct.pack("<I", number) + packed


def write(path, arch, metadata, tensors, general=()):
    metadata = {"general.architecture": arch, "tokenizer.ggml.model": "none"} | {f"{arch}.{key}": value for key, value in metadata.items()} | dict(general)
    head, at = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)), 0
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    for name, shape, *own in tensors:
        number, elements, size = TYPES[own[0] if own else "F32" if len(shape) == 1 else "F16"]
        sizes = b"".join(struct.pack("<Q", axis) for axis in reversed(shape))
        head += _string(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", number, at)
        at += (prod(shape) // elements * size + 31) // 32 * 32
    head += b"\0" * (-len(head) % 32)
    Path(path).write_bytes(head)
    os.truncate(path, len(head) + at)


def _metadata(m):
    values = {
        "context_length": 262144, "embedding_length": m["hidden"], "block_count": m["layers"] + m.get("mtp", 0), "feed_forward_length": m["ff"],
        "attention.head_count": m["heads"], "attention.head_count_kv": m["kv_heads"], "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 1e6,
        "attention.key_length": m["head_dim"], "attention.value_length": m["head_dim"], "vocab_size": m["vocab"], "rope.dimension_count": m["head_dim"],
    }  # fmt: skip
    if m.get("window"):
        values["attention.sliding_window"] = m["window"]
    if m.get("experts"):
        values |= {"expert_count": m["experts"], "expert_used_count": m["used"], "expert_feed_forward_length": m["expert_ff"]}
    if m.get("shared_ff"):
        values["expert_shared_feed_forward_length"] = m["shared_ff"]
    return values


def _ends(m):
    yield "token_embd.weight", (m["vocab"], m["hidden"])
    yield "output_norm.weight", (m["hidden"],)
    if not m.get("tied"):
        yield "output.weight", (m["vocab"], m["hidden"])


def _attention(m, at, gate=1):
    hidden, heads, kv, dim = m["hidden"], m["heads"], m["kv_heads"], m["head_dim"]
    if m.get("fused"):
        yield at + "attn_qkv.weight", ((heads + 2 * kv) * dim, hidden)
    else:
        for name, rows in (("q", heads * dim * gate), ("k", kv * dim), ("v", kv * dim)):
            yield f"{at}attn_{name}.weight", (rows, hidden)
            if m.get("bias"):
                yield f"{at}attn_{name}.bias", (rows,)
    yield at + "attn_output.weight", (hidden, heads * dim)
    if m["arch"] == "gpt-oss":
        yield at + "attn_output.bias", (hidden,)
    if m.get("qk_norm"):
        yield at + "attn_q_norm.weight", (dim,)
        yield at + "attn_k_norm.weight", (dim,)


def _dense(m, at):
    hidden, wide = m["hidden"], m["ff"]
    if m.get("fused"):
        return [(at + "ffn_up.weight", (2 * wide, hidden)), (at + "ffn_down.weight", (hidden, wide))]
    return [(at + "ffn_gate.weight", (wide, hidden)), (at + "ffn_up.weight", (wide, hidden)), (at + "ffn_down.weight", (hidden, wide))]


def _feed_forward(m, at):
    if not m.get("experts"):
        yield from _dense(m, at)
        return
    hidden, count, wide, kind = m["hidden"], m["experts"], m["expert_ff"], ["MXFP4"] if m["arch"] == "gpt-oss" else []
    yield at + "ffn_gate_inp.weight", (count, hidden), "F32"
    for name, shape in (("gate", (wide, hidden)), ("up", (wide, hidden)), ("down", (hidden, wide))):
        yield f"{at}ffn_{name}_exps.weight", (count, *shape), *kind
        if m["arch"] == "gpt-oss":
            yield f"{at}ffn_{name}_exps.bias", (count, shape[0]), "F32"
    if m["arch"] == "gpt-oss":
        yield at + "ffn_gate_inp.bias", (count,)
    if shared := m.get("shared_ff"):
        if m["arch"] != "deepseek2":
            yield at + "ffn_gate_inp_shexp.weight", (hidden,)
        yield from (
            (at + "ffn_gate_shexp.weight", (shared, hidden)),
            (at + "ffn_up_shexp.weight", (shared, hidden)),
            (at + "ffn_down_shexp.weight", (hidden, shared)),
        )


def plain(path, m):
    """Llama, Qwen2, Qwen3, Phi3, Gemma 3, gpt-oss, with experts or without."""
    tensors, hidden = list(_ends(m)), m["hidden"]
    for layer in range(m["layers"]):
        at = f"blk.{layer}."
        tensors += [(at + "attn_norm.weight", (hidden,)), *_attention(m, at)]
        if m["arch"] == "gpt-oss":
            tensors += [(at + "attn_sinks.weight", (m["heads"],)), (at + "post_attention_norm.weight", (hidden,))]
        else:
            tensors.append((at + "ffn_norm.weight", (hidden,)))
        if m["arch"] == "gemma3":
            tensors += [(at + "post_attention_norm.weight", (hidden,)), (at + "post_ffw_norm.weight", (hidden,))]
        tensors += _feed_forward(m, at)
    write(path, m["arch"], _metadata(m), tensors)


def hybrid(path, m):
    """Qwen3-Next, Qwen3.5 and 3.6: three gated delta nets, then attention with gated queries; `mtp` layers predict behind them."""
    hidden, keys, values, dim, mtp = m["hidden"], m["k_heads"], m["v_heads"], m["state"], m.get("mtp", 0)
    metadata = _metadata(m) | {
        "ssm.conv_kernel": 4, "ssm.inner_size": values * dim, "ssm.state_size": dim, "ssm.time_step_rank": values, "ssm.group_count": keys,
        "rope.dimension_sections": [11, 11, 10, 0], "rope.dimension_count": 64, "full_attention_interval": 4,
    }  # fmt: skip
    if mtp:
        metadata["nextn_predict_layers"] = mtp
    tensors = list(_ends(m))
    for layer in range(m["layers"] + mtp):
        at = f"blk.{layer}."
        tensors += [(at + "attn_norm.weight", (hidden,)), (at + "post_attention_norm.weight", (hidden,))]
        if layer % 4 == 3 or layer >= m["layers"]:
            tensors += _attention({**m, "qk_norm": True}, at, gate=2)
        else:
            wide = (2 * keys + values) * dim
            mixers = [("ba", 2 * values)] if m["arch"] == "qwen3next" else [("beta", values), ("alpha", values)]
            tensors += [
                (at + "attn_qkv.weight", (wide, hidden)),
                (at + "attn_gate.weight", (values * dim, hidden)),
                (at + "ssm_conv1d.weight", (wide, 4), "F32"),
            ]
            tensors += [
                (at + "ssm_dt.bias", (values,)),
                (at + "ssm_a", (values,)),
                (at + "ssm_norm.weight", (dim,)),
                (at + "ssm_out.weight", (hidden, values * dim)),
            ]
            tensors += [(f"{at}ssm_{name}.weight", (rows, hidden)) for name, rows in mixers]
        tensors += _feed_forward(m, at)
        if layer >= m["layers"]:
            tensors += [
                (at + "nextn.eh_proj.weight", (hidden, 2 * hidden)),
                *((f"{at}nextn.{name}.weight", (hidden,)) for name in ("enorm", "hnorm", "shared_head_norm")),
            ]
    write(path, m["arch"], metadata, tensors)


def gemma4(path, m):
    """Gemma 4: windows with heads of their own, keys that are values in the large ones, embeddings for each layer in the small ones."""
    hidden, layers, heads, per_layer = m["hidden"], m["layers"], m["heads"], m.get("per_layer", 0)
    windowed = [layer % 6 != 5 for layer in range(layers)]
    metadata = _metadata(m) | {
        "attention.sliding_window_pattern": windowed, "attention.key_length_swa": 256, "attention.value_length_swa": 256, "rope.dimension_count_swa": 256,
        "attention.head_count_kv": [m["kv_heads_swa"] if short else m["kv_heads"] for short in windowed], "rope.freq_base_swa": 1e4,
        "attention.shared_kv_layers": m.get("shared_kv", 0), "final_logit_softcapping": 30.0, "embedding_length_per_layer_input": per_layer,
    }  # fmt: skip
    tensors = [*_ends(m), ("rope_freqs.weight", (m["head_dim"] // 2,))]
    if per_layer:
        tensors += [("per_layer_token_embd.weight", (m["vocab"], per_layer * layers)), ("per_layer_model_proj.weight", (per_layer * layers, hidden))]
        tensors.append(("per_layer_proj_norm.weight", (per_layer,)))
    for layer, short in enumerate(windowed):
        at, dim, kv = f"blk.{layer}.", 256 if short else m["head_dim"], m["kv_heads_swa"] if short else m["kv_heads"]
        names = ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"] + ["post_norm"] * bool(per_layer)
        names += ["pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"] * bool(m.get("experts"))
        tensors += [(f"{at}{name}.weight", (hidden,)) for name in names]
        tensors += [(at + "attn_q.weight", (heads * dim, hidden)), (at + "attn_output.weight", (hidden, heads * dim))]
        tensors += [(at + "attn_q_norm.weight", (dim,)), (at + "layer_output_scale.weight", (1,))]
        if layer < layers - m.get("shared_kv", 0):
            tensors += [(at + "attn_k.weight", (kv * dim, hidden)), (at + "attn_k_norm.weight", (dim,))]
            if short or per_layer:
                tensors.append((at + "attn_v.weight", (kv * dim, hidden)))
        tensors += _dense(m, at)
        if per_layer:
            tensors += [(at + "inp_gate.weight", (per_layer, hidden)), (at + "proj.weight", (hidden, per_layer))]
        if m.get("experts"):
            count, wide = m["experts"], m["expert_ff"]
            tensors += [(at + "ffn_gate_inp.weight", (count, hidden), "F32"), (at + "ffn_gate_inp.scale", (hidden,)), (at + "ffn_down_exps.scale", (count,))]
            tensors += [(at + "ffn_gate_up_exps.weight", (count, 2 * wide, hidden)), (at + "ffn_down_exps.weight", (count, hidden, wide))]
    write(path, "gemma4", metadata, tensors)


def latent(path, m):
    """DeepSeek V2 and 3, GLM-4.7-Flash: MLA, the first layers dense."""
    hidden, heads, rank, rope, nope, value, low = m["hidden"], m["heads"], m["latent"], m["rope"], m["nope"], m["value_dim"], m["q_lora"]
    metadata = _metadata(m) | {
        "attention.head_count_kv": 1, "attention.key_length": rank + rope, "attention.value_length": rank, "attention.key_length_mla": nope + rope,
        "attention.value_length_mla": value, "attention.kv_lora_rank": rank, "attention.q_lora_rank": low, "rope.dimension_count": rope,
        "leading_dense_block_count": 1, "expert_shared_count": 1, "expert_weights_scale": 1.8, "expert_gating_func": 2,
    }  # fmt: skip
    tensors = list(_ends(m))
    for layer in range(m["layers"]):
        at = f"blk.{layer}."
        tensors += [(at + "attn_norm.weight", (hidden,)), (at + "ffn_norm.weight", (hidden,)), (at + "attn_kv_a_mqa.weight", (rank + rope, hidden))]
        tensors += [(at + "attn_kv_a_norm.weight", (rank,)), (at + "attn_k_b.weight", (heads, rank, nope)), (at + "attn_v_b.weight", (heads, value, rank))]
        tensors += [(at + "attn_output.weight", (hidden, heads * value)), (at + "attn_q_a.weight", (low, hidden)), (at + "attn_q_a_norm.weight", (low,))]
        tensors.append((at + "attn_q_b.weight", (heads * (nope + rope), low)))
        tensors += [*_feed_forward(m, at), (at + "exp_probs_b.bias", (m["experts"],))] if layer else _dense(m, at)
    write(path, "deepseek2", metadata, tensors)


def spread(path, m):
    """DeepSeek V2's files before llama.cpp #12801: keys and values of every head."""
    hidden, heads, rank, rope, nope, value = m["hidden"], m["heads"], m["latent"], m["rope"], m["nope"], m["value_dim"]
    metadata = _metadata(m) | {
        "attention.key_length": nope + rope, "attention.value_length": value, "attention.kv_lora_rank": rank, "rope.dimension_count": rope,
        "leading_dense_block_count": 1, "expert_shared_count": 2, "expert_weights_scale": 1.0,
    }  # fmt: skip
    tensors = list(_ends(m))
    for layer in range(m["layers"]):
        at = f"blk.{layer}."
        tensors += [(at + "attn_norm.weight", (hidden,)), (at + "ffn_norm.weight", (hidden,)), (at + "attn_kv_a_mqa.weight", (rank + rope, hidden))]
        tensors += [(at + "attn_kv_a_norm.weight", (rank,)), (at + "attn_kv_b.weight", (heads * (nope + value), rank))]
        tensors += [(at + "attn_output.weight", (hidden, heads * value)), (at + "attn_q.weight", (heads * (nope + rope), hidden))]
        tensors += _feed_forward(m, at) if layer else _dense(m, at)
    write(path, "deepseek2", metadata, tensors)


def _shape(arch, hidden, layers, ff, vocab, heads, kv_heads, head_dim, **more):
    return {"arch": arch, "hidden": hidden, "layers": layers, "ff": ff, "vocab": vocab, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, **more}


_DELTA = {"k_heads": 16, "v_heads": 32, "state": 128}
DEEPSEEK_V2_LITE = _shape(
    "deepseek2", 2048, 27, 10944, 102400, 16, 16, 192, experts=64, used=6, expert_ff=1408, shared_ff=2816, latent=512, rope=64, nope=128, value_dim=128
)
# By the catalogue's name.
MODELS = {
    "qwen3-0.6b": (plain, _shape("qwen3", 1024, 28, 3072, 151936, 16, 8, 128, qk_norm=True, tied=True)),
    "qwen3-8b": (plain, _shape("qwen3", 4096, 36, 12288, 151936, 32, 8, 128, qk_norm=True)),
    "qwen3-30b-a3b": (plain, _shape("qwen3moe", 2048, 48, 6144, 151936, 32, 4, 128, experts=128, used=8, expert_ff=768, qk_norm=True)),
    "llama-3.1-8b": (plain, _shape("llama", 4096, 32, 14336, 128256, 32, 8, 128)),
    "mistral-small-24b": (plain, _shape("llama", 5120, 40, 32768, 131072, 32, 8, 128)),
    "qwen2.5-32b": (plain, _shape("qwen2", 5120, 64, 27648, 152064, 40, 8, 128, bias=True)),
    "phi-4": (plain, _shape("phi3", 5120, 40, 17920, 100352, 40, 10, 128, fused=True)),
    "gemma-3-27b": (plain, _shape("gemma3", 5376, 62, 21504, 262208, 32, 16, 128, tied=True, window=1024, qk_norm=True)),
    "gpt-oss-20b": (plain, _shape("gpt-oss", 2880, 24, 2880, 201088, 64, 8, 64, experts=32, used=4, expert_ff=2880, window=128, bias=True)),
    "qwen3.5-0.8b": (hybrid, _shape("qwen35", 1024, 24, 3584, 248320, 8, 2, 256, tied=True, **_DELTA | {"v_heads": 16})),
    "qwen3.5-9b": (hybrid, _shape("qwen35", 4096, 32, 12288, 248320, 16, 4, 256, **_DELTA)),
    "qwen3.6-27b": (hybrid, _shape("qwen35", 5120, 64, 17408, 248320, 24, 4, 256, mtp=1, **_DELTA | {"v_heads": 48})),
    "qwen3.6-35b-a3b": (hybrid, _shape("qwen35moe", 2048, 40, 512, 248320, 16, 2, 256, experts=256, used=8, expert_ff=512, shared_ff=512, **_DELTA)),
    "qwen3-coder-next": (hybrid, _shape("qwen3next", 2048, 48, 5120, 151936, 16, 2, 256, experts=512, used=10, expert_ff=512, shared_ff=512, **_DELTA)),
    "gemma-4-26b-a4b": (gemma4, _shape("gemma4", 2816, 30, 2112, 262144, 16, 2, 512, tied=True, window=1024, kv_heads_swa=8, experts=128, used=8, expert_ff=704)),
    "gemma-4-31b": (gemma4, _shape("gemma4", 5376, 60, 21504, 262144, 32, 4, 512, tied=True, window=1024, kv_heads_swa=16)),
    "gemma-4-e4b": (gemma4, _shape("gemma4", 2560, 42, 10240, 262144, 8, 2, 512, tied=True, window=512, kv_heads_swa=2, per_layer=256, shared_kv=18)),
    "glm-4.7-flash": (
        latent,
        _shape(
            "deepseek2", 2048, 47, 10240, 154880, 20, 1, 576, latent=512, rope=64, nope=192, value_dim=256, q_lora=768, experts=64, used=4, expert_ff=1536,
            shared_ff=1536,
        ),
    ),
}  # fmt: skip

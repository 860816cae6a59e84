"""llama.cpp itself about GGUF: the size of every mix, the KV cache and the compute buffer of models that have a shape and no weights.

Run by an environment with llama-cpp-python 0.3.36 (built from source, about 7 minutes) and gguf:
    python gguf_sizes.py > ../data/llama_cpp_sizes.json
Each model is a sparse file (some 40 KB on disk): the quantizer's dry run gives sizes, `no_alloc` gives the buffers.
"""

import ctypes
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import gguf
import llama_cpp as llama
import numpy as np

LOG = []


@llama.llama_log_callback
def remember(level, text, data):
    LOG.append(text.decode("utf-8", "replace"))


MIXES = {
    "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
    "IQ2_XXS": 19, "IQ2_XS": 20, "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28, "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32,
    "MXFP4_MOE": 38,
}  # fmt: skip
KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
CONTEXTS = [
    {"n_ctx": 4096}, {"n_ctx": 32768}, {"n_ctx": 32768, "kv": "q8_0"}, {"n_ctx": 32768, "kv": "q4_0"}, {"n_ctx": 32768, "fa": 0}, {"n_ctx": 8192, "fa": 0},
    {"n_ctx": 131072}, {"n_ctx": 131072, "kv": "q8_0"}, {"n_ctx": 32768, "n_seq": 4}, {"n_ctx": 32768, "ub": 1024}, {"n_ctx": 131072, "ub": 2048},
]  # fmt: skip


def model(arch, hidden, layers, ff, vocab, heads, kv_heads, head_dim, **more):
    return dict(arch=arch, hidden=hidden, layers=layers, ff=ff, vocab=vocab, heads=heads, kv_heads=kv_heads, head_dim=head_dim, **more)


MODELS = {
    "qwen3-0.6b": model("qwen3", 1024, 28, 3072, 151936, 16, 8, 128, tied=True),
    "qwen3-1.7b": model("qwen3", 2048, 28, 6144, 151936, 16, 8, 128, tied=True),
    "qwen3-4b": model("qwen3", 2560, 36, 9728, 151936, 32, 8, 128, tied=True),
    "qwen3-8b": model("qwen3", 4096, 36, 12288, 151936, 32, 8, 128),
    "qwen3-14b": model("qwen3", 5120, 40, 17408, 151936, 40, 8, 128),
    "qwen3-32b": model("qwen3", 5120, 64, 25600, 151936, 64, 8, 128),
    "qwen3-30b-a3b": model("qwen3moe", 2048, 48, 6144, 151936, 32, 4, 128, experts=128, used=8, expert_ff=768),
    "llama-3.1-8b": model("llama", 4096, 32, 14336, 128256, 32, 8, 128),
    "llama-3.2-3b": model("llama", 3072, 28, 8192, 128256, 24, 8, 128, tied=True),
    "llama-3.1-70b": model("llama", 8192, 80, 28672, 128256, 64, 8, 128),
    "mixtral-8x7b": model("llama", 4096, 32, 14336, 32000, 32, 8, 128, experts=8, used=2, expert_ff=14336),
    "qwen2.5-0.5b": model("qwen2", 896, 24, 4864, 151936, 14, 2, 64, tied=True, bias=True),
    "qwen2.5-7b": model("qwen2", 3584, 28, 18944, 152064, 28, 4, 128, bias=True),
    "qwen2.5-72b": model("qwen2", 8192, 80, 29568, 152064, 64, 8, 128, bias=True),
    "phi-4": model("phi3", 5120, 40, 17920, 100352, 40, 10, 128, fused=True),
    "gemma-3-27b": model("gemma3", 5376, 62, 21504, 262208, 32, 16, 128, tied=True, window=1024),
    "gemma-3-4b": model("gemma3", 2560, 34, 10240, 262208, 8, 4, 256, tied=True, window=1024),
}


def write(path, m):
    """A file with the real header and no weights; returns nothing, costs a few pages of disk."""
    w = gguf.GGUFWriter(path, m["arch"])
    hidden, ff, heads, kv, dim = m["hidden"], m["ff"], m["heads"], m["kv_heads"], m["head_dim"]
    w.add_context_length(131072)
    w.add_embedding_length(hidden)
    w.add_block_count(m["layers"])
    w.add_feed_forward_length(ff)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(1e6)
    w.add_key_length(dim)
    w.add_value_length(dim)
    w.add_file_type(1)
    w.add_vocab_size(m["vocab"])
    w.add_tokenizer_model("none")
    w.add_rope_dimension_count(dim)
    if m.get("window"):
        w.add_sliding_window(m["window"])
    if m.get("experts"):
        w.add_expert_count(m["experts"])
        w.add_expert_used_count(m["used"])
        w.add_expert_feed_forward_length(m["expert_ff"])

    def tensor(name, *shape, wide=False):
        wide = wide or len(shape) == 1
        w.add_tensor_info(name, list(shape), np.dtype(np.float32 if wide else np.float16), int(np.prod(shape)) * (4 if wide else 2))

    tensor("token_embd.weight", m["vocab"], hidden)
    tensor("output_norm.weight", hidden)
    if not m.get("tied"):
        tensor("output.weight", m["vocab"], hidden)
    for layer in range(m["layers"]):
        at = f"blk.{layer}."
        tensor(at + "attn_norm.weight", hidden)
        tensor(at + "ffn_norm.weight", hidden)
        if m.get("fused"):
            tensor(at + "attn_qkv.weight", (heads + 2 * kv) * dim, hidden)
        else:
            for name, rows in (("q", heads * dim), ("k", kv * dim), ("v", kv * dim)):
                tensor(f"{at}attn_{name}.weight", rows, hidden)
                if m.get("bias"):
                    tensor(f"{at}attn_{name}.bias", rows)
        tensor(at + "attn_output.weight", hidden, heads * dim)
        if m["arch"] in ("qwen3", "qwen3moe", "gemma3"):
            tensor(at + "attn_q_norm.weight", dim)
            tensor(at + "attn_k_norm.weight", dim)
        if m["arch"] == "gemma3":
            tensor(at + "post_attention_norm.weight", hidden)
            tensor(at + "post_ffw_norm.weight", hidden)
        if m.get("experts"):
            count, width = m["experts"], m["expert_ff"]
            tensor(at + "ffn_gate_inp.weight", count, hidden, wide=True)
            tensor(at + "ffn_gate_exps.weight", count, width, hidden)
            tensor(at + "ffn_up_exps.weight", count, width, hidden)
            tensor(at + "ffn_down_exps.weight", count, hidden, width)
        elif m.get("fused"):
            tensor(at + "ffn_up.weight", 2 * ff, hidden)
            tensor(at + "ffn_down.weight", hidden, ff)
        else:
            tensor(at + "ffn_gate.weight", ff, hidden)
            tensor(at + "ffn_up.weight", ff, hidden)
            tensor(at + "ffn_down.weight", hidden, ff)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    w.close()
    size = (Path(path).stat().st_size + 31) // 32 * 32
    size += sum((info.nbytes + 31) // 32 * 32 for tensors in w.tensors for info in tensors.values())
    os.truncate(path, size)


def sizes(path):
    found = {}
    for name, kind in MIXES.items():
        wanted = llama.llama_model_quantize_default_params()
        wanted.ftype, wanted.nthread, wanted.dry_run = kind, 1, True
        LOG.clear()
        llama.llama_model_quantize(path.encode(), b"/dev/null", ctypes.byref(wanted))
        match = re.search(r"quant size\s*=\s*([\d.]+) MiB", "".join(LOG))
        found[name] = float(match[1]) if match else None
        if not match:
            print(name, "".join(LOG)[-200:], file=sys.stderr)
    return found


def buffers(path, n_ctx, kv="f16", fa=1, n_seq=1, ub=512):
    wanted = llama.llama_model_default_params()
    wanted.no_alloc = True
    if hasattr(wanted, "load_mode"):
        wanted.load_mode = 0
    LOG.clear()
    loaded = llama.llama_model_load_from_file(path.encode(), wanted)
    if not loaded:
        return {"error": "".join(LOG)[-300:]}
    context = llama.llama_context_default_params()
    context.n_ctx, context.n_batch, context.n_ubatch, context.n_seq_max = n_ctx, max(2048, ub), ub, n_seq
    context.type_k = context.type_v = KV_TYPES[kv]
    context.flash_attn_type, context.swa_full = fa, False  # as llama-server sets it
    made = llama.llama_init_from_model(loaded, context)
    text = "".join(LOG)
    answer = {
        "kv_mib": [float(size) for size in re.findall(r"llama_kv_cache: size =\s*([\d.]+) MiB", text)],
        "compute_mib": [float(size) for size in re.findall(r"CPU compute buffer size =\s*([\d.]+) MiB", text)],
    }
    if made:
        llama.llama_free(made)
    else:
        answer["error"] = text[-300:]
    llama.llama_model_free(loaded)
    return answer


def main():
    llama.llama_log_set(remember, ctypes.c_void_p(0))
    llama.llama_backend_init()
    answers = []
    for name, shape in MODELS.items():
        path = str(Path(tempfile.mkdtemp()) / "model.gguf")
        write(path, shape)
        answers.append({"model": name, **shape, "mib": sizes(path), "contexts": [{**each, **buffers(path, **each)} for each in CONTEXTS]})
        Path(path).unlink()
        print(name, file=sys.stderr)
    print("[\n" + ",\n".join(json.dumps(answer) for answer in answers) + "\n]")


if __name__ == "__main__":
    main()

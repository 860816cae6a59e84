"""llama.cpp itself about the buffers of models of which a part lies in main memory, layers or experts, on cards of CUDA's rules: one JSON line a case.

Run by any Python:  python llamacpp_parts.py FOLDER CARDS [MODEL ...] >> ../data/llamacpp_parts.jsonl   (FOLDER: setup-llamacpp.sh's)
"""

import ctypes as c
import json
import sys
import tempfile
from pathlib import Path

from gguf_shapes import MODELS
from llamacpp_buffers import TYPES
from llamacpp_device import Llama, Override, P, kept

CARD = (200 << 30, 200 << 30)
LAYERS = {"qwen3-8b": 36, "llama-3.1-8b": 32, "gemma-3-27b": 62, "qwen3.5-9b": 32, "phi-4": 40, "gemma-4-e4b": 42}
EXPERTS = {"gpt-oss-20b": 24, "qwen3-30b-a3b": 48, "qwen3.6-35b-a3b": 40, "glm-4.7-flash": 47, "gemma-4-26b-a4b": 30}
CASES = ({"context": 4096}, {"context": 32768}, {"context": 131072, "ubatch": 2048}, {"context": 32768, "kv": "q8_0"}, {"context": 32768, "flash": False})


def ways(name):
    """What stays in main memory: all layers but so many (the output counts as one), or the experts of the first so many."""
    count = LAYERS.get(name) or EXPERTS[name]
    return [
        {"gpu_layers": 0},
        {"gpu_layers": count // 3},
        {"gpu_layers": count - 2},
        *([{"cpu_moe": count}, {"cpu_moe": count // 2}] if name in EXPERTS else []),
    ]


def parameters(llama, gpu_layers=999, cpu_moe=0):
    llama.base.ggml_backend_cpu_buffer_type.restype = P
    moved = kept((Override * (cpu_moe + 1))())
    for layer in range(cpu_moe):
        moved[layer] = Override(f"blk\\.{layer}\\.ffn_(up|down|gate_up|gate)_(ch|)exps".encode(), llama.base.ggml_backend_cpu_buffer_type())
    return {"n_gpu_layers": gpu_layers, "tensor_buft_overrides": c.addressof(moved) if cpu_moe else None}


def main(folder, cards, *names):
    llama = Llama(Path(folder), [CARD] * int(cards))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        for name in names or [*LAYERS, *EXPERTS]:
            write, shape = MODELS[name]
            write(path, shape)
            for way in ways(name):
                for case in CASES:
                    kind = TYPES[case.get("kv", "f16")]
                    context = {"n_ctx": case["context"], "n_ubatch": case.get("ubatch", 512), "n_seq_max": 1, "n_outputs_max": 1}
                    sizes = llama.measure(path, parameters(llama, **way), **context, type_k=kind, type_v=kind, flash_attn_type=int(case.get("flash", True)))
                    mib = [sizes.get(f"CUDA{card} compute", 0.0) for card in range(int(cards))]
                    print(json.dumps({"model": name, "cards": int(cards), **way, **case, "mib": mib, "host_mib": sizes["CUDA_Host compute"]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

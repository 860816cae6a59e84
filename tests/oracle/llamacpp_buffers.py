"""llama.cpp itself about caches and compute buffers of models that have a shape and no weights, on a card of CUDA's rules: one JSON line a case.

Run by any Python:  python llamacpp_buffers.py FOLDER [MODEL ...] > ../data/llamacpp_buffers.jsonl   (FOLDER: setup-llamacpp.sh's)
"""

import json
import sys
import tempfile
from pathlib import Path

from gguf_shapes import MODELS
from llamacpp_device import Llama

CARD = (24 << 30, 24 << 30)
TYPES = {"f16": 1, "q4_0": 2, "q8_0": 8}
CASES = (
    {"context": 4096},
    {"context": 32768},
    {"context": 131072},
    {"context": 32768, "kv": "q8_0"},
    {"context": 131072, "kv": "q8_0"},
    {"context": 32768, "flash": False},
    {"context": 131072, "ubatch": 2048},
    {"context": 32768, "sequences": 4},
    {"context": 8192, "parallel": 4},
    {"context": 32768, "all_outputs": True},
)
EMBEDDING = ({"context": 8192, "ubatch": 2048, "embeddings": True}, {"context": 40960, "embeddings": True})  # of a model all of whose logits are made too
EMBEDS = "qwen3-0.6b"
LAST = 3  # of a text's states the last is its embedding (LLAMA_POOLING_TYPE_LAST)


def measure(llama, path, context, kv="f16", flash=True, ubatch=512, sequences=1, parallel=1, all_outputs=False, embeddings=False):
    kind = TYPES[kv]
    return llama.measure(
        path,
        n_ctx=context * parallel,
        n_ubatch=ubatch,
        n_seq_max=sequences * parallel,
        kv_unified=sequences > 1,
        type_k=kind,
        type_v=kind,
        flash_attn_type=int(flash),
        n_outputs_max=0 if all_outputs or embeddings else sequences * parallel,  # llama-server's
        **({"embeddings": True, "pooling_type": LAST} if embeddings else {}),
    )


def main(folder, *names):
    llama = Llama(Path(folder), [CARD])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        for name in names or MODELS:
            write, shape = MODELS[name]
            write(path, shape)
            print(json.dumps({"model": name, "weights": llama.place(path, n_ctx=4096)}), flush=True)
            for case in (*CASES, *(EMBEDDING if name == EMBEDS else ())):
                print(json.dumps({"model": name, **case, "mib": measure(llama, path, **case)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

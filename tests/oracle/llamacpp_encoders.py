"""llama.cpp itself about the compute buffers of BERT's kin, which keep no cache, on a card of CUDA's rules: one JSON line a case.

Run by any Python:  python llamacpp_encoders.py FOLDER   (FOLDER: setup-llamacpp.sh's; the figures lie in ../engines/llamacpp/test_encoders.py)
"""

import json
import sys
import tempfile
from pathlib import Path

from gguf_shapes import write
from llamacpp_device import Llama

CARD = (24 << 30, 24 << 30)
LAYERS, VOCAB = 4, 30522  # what layers take repeats
CLS = 2  # the pooling: one token's, as the measured context asks for one output
SHAPES = {"bge-m3": ("bert", 1024, 4096, 16), "bge-small-en-v1.5": ("bert", 384, 1536, 12), "nomic-embed-text": ("nomic-bert", 768, 3072, 12)}
CONTEXT = 8192


def encoder(path, arch, hidden, wide, heads):
    metadata = {
        "context_length": CONTEXT, "embedding_length": hidden, "block_count": LAYERS, "feed_forward_length": wide, "attention.head_count": heads,
        "attention.layer_norm_epsilon": 1e-5, "attention.causal": False, "pooling_type": CLS, "vocab_size": VOCAB, "rope.freq_base": 1000.0,
    }  # fmt: skip
    tensors = [("token_embd.weight", (VOCAB, hidden)), ("token_types.weight", (2, hidden), "F32")]
    if arch == "bert":
        tensors.append(("position_embd.weight", (CONTEXT, hidden), "F32"))
    tensors += [(f"token_embd_norm.{kind}", (hidden,)) for kind in ("weight", "bias")]
    joined, gated = ("attn_qkv", 3 * hidden, hidden), ("ffn_gate", wide, hidden)
    apart = [(f"attn_{name}", hidden, hidden) for name in "qkv"]
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        rows = [*(apart if arch == "bert" else [joined, gated]), ("attn_output", hidden, hidden), ("ffn_up", wide, hidden), ("ffn_down", hidden, wide)]
        for name, outputs, inputs in rows:
            tensors.append((f"{at}{name}.weight", (outputs, inputs)))
            if arch == "bert":
                tensors.append((f"{at}{name}.bias", (outputs,)))
        tensors += [(f"{at}{name}_norm.{kind}", (hidden,)) for name in ("attn_output", "layer_output") for kind in ("weight", "bias")]
    write(path, arch, metadata, tensors, {"tokenizer.ggml.token_type_count": 2})


def main(folder):
    llama = Llama(Path(folder), [CARD])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        for name, shape in SHAPES.items():
            encoder(path, *shape)
            for rows in (256, 512, 2048, 8192):
                for flash in (1, 0, -1):
                    for layers in (99, 3):
                        settings = {"n_ctx": rows, "n_batch": rows, "n_ubatch": rows, "n_seq_max": 1, "embeddings": True, "n_outputs_max": 1}
                        mib = llama.measure(path, [("n_gpu_layers", layers)], flash_attn_type=flash, **settings)
                        print(json.dumps({"model": name, "rows": rows, "flash": flash, "layers": layers, "mib": mib}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

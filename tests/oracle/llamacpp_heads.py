"""llama.cpp itself about the context of layers that predict further tokens (MTP), on a card of CUDA's rules: one JSON line a case.

Run by any Python:  python llamacpp_heads.py FOLDER MODEL CASES   (FOLDER: setup-llamacpp.sh's; CASES: JSON, as those of llamacpp_buffers.py)
"""

import json
import sys
import tempfile
from pathlib import Path

from gguf_shapes import MODELS
from llamacpp_buffers import CARD, TYPES
from llamacpp_device import Llama

MTP = 1  # llama_context_type


def main(folder, name, cases):
    llama = Llama(Path(folder), [CARD])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        write, shape = MODELS[name]
        write(path, {**shape, "mtp": 1})
        for case in json.loads(cases):
            kind, slots = TYPES[case.get("kv", "f16")], case.get("parallel", 1)
            sizes = llama.measure(
                path,
                {"load_mtp": True},
                n_ctx=case["context"] * slots,
                n_ubatch=case.get("ubatch", 512),
                n_seq_max=slots,
                n_outputs_max=slots,
                type_k=kind,
                type_v=kind,
                flash_attn_type=int(case.get("flash", True)),
                ctx_type=MTP,
            )
            print(json.dumps([sizes["kv"], sizes["CUDA0 compute"]]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

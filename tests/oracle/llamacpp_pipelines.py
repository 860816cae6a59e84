"""llama.cpp's compute buffers on each of several cards that layers are split over: one JSON line a case.

Run by any Python:  python llamacpp_pipelines.py FOLDER CARDS [MODEL ...] >> ../data/llamacpp_pipelines.jsonl   (FOLDER: setup-llamacpp.sh's)
"""

import json
import sys
import tempfile
from pathlib import Path

from gguf_shapes import MODELS
from llamacpp_buffers import measure
from llamacpp_device import Llama

CARD = (200 << 30, 200 << 30)
CASES = (
    {"context": 4096},
    {"context": 32768},
    {"context": 32768, "kv": "q8_0"},
    {"context": 32768, "flash": False},
    {"context": 131072, "ubatch": 2048},
    {"context": 32768, "all_outputs": True},
)


def main(folder, cards, *names):
    llama = Llama(Path(folder), [CARD] * int(cards))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        for name in names or MODELS:
            write, shape = MODELS[name]
            write(path, shape)
            for case in CASES:
                sizes = measure(llama, path, **case)
                row = [sizes.get(f"CUDA{card} compute", sizes.get("error")) for card in range(int(cards))]
                print(json.dumps({"model": name, "cards": int(cards), **case, "mib": row}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

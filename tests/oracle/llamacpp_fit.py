"""Where llama.cpp's own fit puts the layers of models that have a shape and no weights, on cards of CUDA's rules: one JSON line a case.

Run by any Python:  python llamacpp_fit.py FOLDER [MODEL ...] > ../data/llamacpp_fits.jsonl   (FOLDER: setup-llamacpp.sh's). A program has its cards for
good, so each set of them is a process of its own.
"""

import json
import re
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

MIB = 1 << 20
# MiB free of each card, model, context (0: nobody said one).
CASES = (
    ((3500,), "gpt-oss-20b", 32768), ((8000,), "gemma-4-e4b", 32768), ((10000,), "gpt-oss-20b", 32768), ((12000,), "qwen3-8b", 8192), ((16000,), "qwen3.6-35b-a3b", 65536),
    ((24000,), "qwen3-30b-a3b", 32768), ((24000,), "qwen3-30b-a3b", 0), ((24000,), "qwen3-8b", 0), ((24000,), "qwen3.6-27b", 0), ((24000,), "glm-4.7-flash", 32768),
    ((24000,), "gemma-4-26b-a4b", 32768), ((32000,), "qwen3-coder-next", 65536), ((7000, 5000), "qwen3-8b", 8192), ((6500, 4000), "gpt-oss-20b", 32768),
    ((4000, 6500), "gpt-oss-20b", 0), ((24000, 16000), "gemma-3-27b", 16384), ((24000, 16000), "qwen3-30b-a3b", 32768), ((24000, 24000), "qwen3-coder-next", 131072),
    ((16000, 24000, 12000), "qwen3-30b-a3b", 32768),
)  # fmt: skip


def moved(patterns):
    """The layers that have parts elsewhere: of the first of each card what stays with it, of the others nothing but their experts go."""
    named = [re.match(r"blk\\.(\d+)\\.ffn_(.*)", pattern).groups() for pattern in patterns]
    return {layer: "" if tensors.endswith("exps") else tensors.replace(".*", "") for layer, tensors in named}


def asked(folder, free, cases):
    from gguf_shapes import MODELS
    from llamacpp_device import Llama

    llama = Llama(Path(folder), [(size * MIB, size * MIB) for size in free])
    with tempfile.TemporaryDirectory() as place:
        for name, context in cases:
            path = Path(place) / f"{name}.gguf"
            write, shape = MODELS[name]
            write(path, shape)
            placed = llama.fit(path, n_ctx=context, n_ubatch=512, n_seq_max=1, n_outputs_max=1, flash_attn_type=1)
            row = {"model": name, "free_mib": free, "asked": context, **placed, "moved": moved(placed["moved"])}
            print(json.dumps(row), flush=True)


def main(folder, *names):
    cases = [case for case in CASES if case[1] in names or not names]
    for free, group in groupby(cases, key=lambda case: case[0]):
        words = [json.dumps([free, [(name, context) for _, name, context in group]])]
        subprocess.run([sys.executable, __file__, "--one", folder, *words], check=True)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        asked(sys.argv[2], *json.loads(sys.argv[3]))
    else:
        main(*sys.argv[1:])

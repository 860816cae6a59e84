"""llama.cpp's Vulkan backend itself about caches and compute buffers of models that have a shape and no weights: one JSON line a case.

Its real library (npm pack @node-llama-cpp/linux-x64-vulkan@3.22.1) on any driver; on a machine without a GPU Mesa's lavapipe (Debian mesa-vulkan-drivers),
whose limit of a storage buffer vulkan_limits.c makes what desktop cards have:  gcc -shared -fPIC -o limits.so vulkan_limits.c -ldl
  LD_PRELOAD=limits.so LD_LIBRARY_PATH=FOLDER GGML_VK_VISIBLE_DEVICES=0 python llamacpp_vulkan.py FOLDER [MODEL ...] > ../data/llamacpp_vulkan.jsonl
"""

import ctypes as c
import json
import sys
import tempfile
from pathlib import Path

from gguf_shapes import MODELS
from llamacpp_buffers import CASES, measure
from llamacpp_device import FN, INT, STR, ContextParams, Llama, ModelParams, P, kept

SHORT = tuple({"context": context, "flash": False} for context in (4096, 8192, 16384, 24576))
IN_CHUNKS = ("qwen3-8b", "gpt-oss-20b", "gemma-3-27b", "qwen3.6-27b", "qwen2.5-32b")


class Vulkan(Llama):
    """The library with the devices that its Vulkan backend finds."""

    def __init__(self, folder):
        self.log = []
        self.base, self.ggml, self.llama = (
            c.CDLL(str(next(folder.glob(name))), mode=c.RTLD_GLOBAL) for name in ("libggml-base.so", "libggml.vulkan*", "libllama.vulkan*")
        )
        self.ggml.ggml_backend_load.argtypes, self.ggml.ggml_backend_load.restype = [STR], P
        write = kept(FN(None, INT, STR, P)(lambda level, line, data: self.log.append(line.decode("utf-8", "replace"))))
        self.base.ggml_log_set(write, None)
        for name in ("vulkan", "cpu-x64"):
            if not self.ggml.ggml_backend_load(str(folder / f"libggml-{name}.so").encode()):
                raise SystemExit(f"no {name} backend")
        self.llama.llama_log_set(write, None)
        self.llama.llama_backend_init()
        self.llama.llama_model_default_params.restype, self.llama.llama_context_default_params.restype = ModelParams, ContextParams
        self.llama.llama_model_load_from_file.restype, self.llama.llama_model_load_from_file.argtypes = P, [STR, ModelParams]
        self.llama.llama_init_from_model.restype, self.llama.llama_init_from_model.argtypes = P, [P, ContextParams]
        self.llama.llama_free.argtypes, self.llama.llama_model_free.argtypes = [P], [P]


def main(folder, *names):
    llama = Vulkan(Path(folder))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        for name in names or MODELS:
            write, shape = MODELS[name]
            write(path, shape)
            for case in CASES + SHORT * (name in IN_CHUNKS):
                print(json.dumps({"model": name, **case, "mib": measure(llama, path, **case)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

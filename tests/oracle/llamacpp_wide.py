"""llama.cpp b8390 about compute buffers of dense models while masks came in 32 bits and logits of all tokens were reserved: one JSON line a case.

Run by any Python:  python llamacpp_wide.py FOLDER >> ../data/llamacpp_older.jsonl   (FOLDER: package/bins/linux-x64 of npm's @node-llama-cpp/linux-x64 3.18.1)
b7347 (3.14.5) says the same of those that were asked of it. Holes between blocks decide: which hidden states the logits lie behind.
"""

import ctypes as c
import json
import re
import sys
import tempfile
from pathlib import Path

import llamacpp_device as device
from gguf_shapes import MODELS
from llamacpp_device import BOOL, FN, INT, SIZE, P, nothing, pointer, table

CONTEXTS = (4096, 8192, 12288, 20480, 32768, 40960, 65536, 131072)
NAMES = ("llama-3.1-8b", "mistral-small-24b", "qwen2.5-32b", "qwen3-8b")
LAYERS = 4  # what they take repeats


def use_layouts_of_b8390():
    """Structures as they were (ggml-backend-impl.h and llama.h of March 2026)."""
    steps = ["set_tensor_async", "get_tensor_async", "cpy_tensor_async", "synchronize", "graph_plan_create", "graph_plan_free", "graph_plan_update"]
    device.Buffer = table(
        "Buffer", "free_buffer", "get_base", "init_tensor", "memset_tensor", "set_tensor", "get_tensor", "cpy_tensor", "clear", "reset"
    )  # fmt: skip
    device.Backend = table(
        "Backend",
        "guid",
        "get_name",
        "free",
        *steps,
        "graph_plan_compute",
        "graph_compute",
        "event_record",
        "event_wait",
        "graph_optimize",
        "device",
        "context",
    )
    flags = ((name, BOOL) for name in ("is_async", "host_buffer", "buffer_from_host_ptr", "events"))
    device.Properties = table("Properties", "name", "description", ("memory_free", SIZE), ("memory_total", SIZE), ("type", INT), "device_id", *flags)
    properties = FN(None, P, c.POINTER(device.Properties))
    device.Device = table("Device", *((name, properties if name == "get_props" else kind) for name, kind in device.Device._fields_))
    device.ModelParams = table(
        "ModelParams", "devices", "tensor_buft_overrides", *((name, INT) for name in ("n_gpu_layers", "split_mode", "main_gpu")),
        "tensor_split", "progress_callback", "progress_user_data", "kv_overrides",
        *((name, BOOL) for name in ("vocab_only", "use_mmap", "use_direct_io", "use_mlock", "check", "use_extra_bufts", "no_host", "no_alloc")),
    )  # fmt: skip
    later = ("n_rs_seq", "n_outputs_max", "n_outputs_max_per_seq", "ctx_type", "ctx_other")
    device.ContextParams = table("ContextParams", *(field for field in device.ContextParams._fields_ if field[0] not in later))


class Wide(device.Llama):
    """The library of that time."""

    def __init__(self, folder, cards):
        common, glob = device.c.CDLL, Path.glob
        device.c.CDLL = lambda name, mode=0: None if "common" in name else common(name, mode=mode)
        Path.glob = lambda self, name: glob(self, name.replace(".v*", ".b*"))
        try:
            super().__init__(folder, cards)
        finally:
            device.c.CDLL, Path.glob = common, glob

    def _buffer(self, kind, size):
        buffer = device.Buffer()
        buffer.get_base = pointer(FN(P, P), lambda this: 1 << 24)
        buffer.free_buffer, buffer.clear = pointer(FN(None, P), nothing), pointer(FN(None, P, c.c_uint8), nothing)
        buffer.set_tensor = pointer(FN(None, P, P, P, SIZE, SIZE), nothing)
        return self.base.ggml_backend_buffer_init(kind, buffer, None, size)

    def _alloc_size(self, at):
        """Without what flash attention keeps beside its output, which came later."""
        size = self.base.ggml_nbytes(at)
        if self.base.ggml_is_quantized(at.contents.type) and at.contents.ne[0] % 512:
            size += self.base.ggml_row_size(at.contents.type, 512 - at.contents.ne[0] % 512)
        return size

    def measure(self, path, **context):
        asked = self.llama.llama_model_default_params()
        asked.no_alloc, asked.use_mmap, asked.n_gpu_layers = True, False, 999
        self.log.clear()
        loaded = self.llama.llama_model_load_from_file(str(path).encode(), asked)
        parameters = self.llama.llama_context_default_params()
        for name, value in {"n_ubatch": 512, "n_seq_max": 1, "swa_full": False, **context}.items():
            setattr(parameters, name, value)
        made = self.llama.llama_init_from_model(loaded, parameters)
        said = "".join(self.log)
        self.llama.llama_free(made)
        self.llama.llama_model_free(loaded)
        return {place: float(size) for place, size in re.findall(r"(\S+) +compute buffer size =\s*([\d.]+) MiB", said)}


def main(folder):
    use_layouts_of_b8390()
    llama = Wide(Path(folder), [(900 << 30, 900 << 30)])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        for name in NAMES:
            write, shape = MODELS[name]
            write(path, shape | {"layers": LAYERS})
            for case in (*({"context": context} for context in CONTEXTS), {"context": 16384, "kv": "q8_0"}, {"context": 20480, "ubatch": 1024}):
                kind = {"f16": 1, "q8_0": 8}[case.get("kv", "f16")]
                told = llama.measure(path, n_ctx=case["context"], n_ubatch=case.get("ubatch", 512), flash_attn_type=1, type_k=kind, type_v=kind)
                print(json.dumps({"build": 8390, "model": name, **case, "gpu": told["CUDA0"], "host": told["CUDA_Host"]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

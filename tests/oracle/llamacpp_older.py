"""llama.cpp of February and June 2025 about compute buffers and caches, on a card of CUDA's rules: one JSON line a case.

Run by any Python:  python llamacpp_older.py BUILD FOLDER > …   (FOLDER: package/bins/linux-x64 of npm's @node-llama-cpp/linux-x64, 3.6.0 for b4753 and
3.9.0 for b5590; both into ../data/llamacpp_older.jsonl)
A file is mapped, so that of its hole nothing is read; what is written to the card is let go.
"""

import ctypes as c
import json
import re
import sys
import tempfile
from pathlib import Path

import llamacpp_device as device
from gguf_shapes import MODELS
from llamacpp_device import BOOL, FN, INT, SIZE, STR, P, kept, nothing, pointer, table

CARD = (900 << 30, 900 << 30)
LAYERS = 4  # what they take repeats
NAMES = {
    4753: ("llama-3.1-8b", "qwen2.5-32b", "mistral-small-24b"),
    5590: ("llama-3.1-8b", "qwen2.5-32b", "phi-4", "qwen3-0.6b", "qwen3-30b-a3b", "gemma-3-27b"),
}
CASES = (
    {"context": 2048, "flash": False},
    {"context": 16384, "flash": False},
    {"context": 4096, "ubatch": 1024, "flash": False},
    {"context": 2048},
    {"context": 16384},
    {"context": 16384, "kv": "q8_0"},
    {"context": 4096, "flash": False, "parallel": 2},
    {"context": 4096, "parallel": 4},
)
EMBEDS = {5590: "qwen3-0.6b"}
EMBEDDING = ({"context": 8192, "ubatch": 512}, {"context": 8192, "ubatch": 2048}, {"context": 40960, "ubatch": 2048})
LAST = 3  # of a text's states the last is its embedding (LLAMA_POOLING_TYPE_LAST)


def use_layouts_of(build):
    """Structures as they were (ggml-backend-impl.h and llama.h of that time)."""
    steps = ["set_tensor_async", "get_tensor_async", "cpy_tensor_async", "synchronize", "graph_plan_create", "graph_plan_free", "graph_plan_update"]
    device.Buffer = table(
        "Buffer", "free_buffer", "get_base", "init_tensor", "memset_tensor", "set_tensor", "get_tensor", "cpy_tensor", "clear", "reset"
    )  # fmt: skip
    device.Backend = table(
        "Backend", "guid", "get_name", "free", *steps, "graph_plan_compute", "graph_compute", "event_record", "event_wait", "device", "context"
    )
    flags = ((name, BOOL) for name in ("is_async", "host_buffer", "buffer_from_host_ptr", "events"))
    device.Properties = table("Properties", "name", "description", ("memory_free", SIZE), ("memory_total", SIZE), ("type", INT), *flags)
    properties = FN(None, P, c.POINTER(device.Properties))
    device.Device = table("Device", *((name, properties if name == "get_props" else kind) for name, kind in device.Device._fields_))
    device.ModelParams = table(
        "ModelParams", "devices", *["tensor_buft_overrides"] * (build > 5000), *((name, INT) for name in ("n_gpu_layers", "split_mode", "main_gpu")),
        "tensor_split", "progress_callback", "progress_user_data", "kv_overrides", *((name, BOOL) for name in ("vocab_only", "use_mmap", "use_mlock", "check")),
    )  # fmt: skip
    head = [
        *((name, c.c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max")),
        *((f"number{index}", INT) for index in range(3)),
        ("pooling_type", INT),
        ("attention_type", INT),
    ]
    head += [*((f"factor{index}", c.c_float) for index in range(6)), ("yarn_orig_ctx", c.c_uint32), ("defrag", c.c_float), "cb_eval", "cb_eval_user_data"]
    abort, flags = ["abort_callback", "abort_data"], ["embeddings", "offload_kqv", "flash_attn", "no_perf"]
    flags = [(name, BOOL) for name in ([*flags, "op_offload", "swa_full"] if build > 5000 else ["logits_all", *flags])]
    device.ContextParams = table("ContextParams", *head, ("type_k", INT), ("type_v", INT), *([*abort, *flags] if build > 5000 else [*flags, *abort]))


class Older(device.Llama):
    """The library of that time."""

    def __init__(self, folder, cards):
        self.cards, self.log, self.devices = cards, [], []
        self.base, self.ggml, self.llama = (c.CDLL(str(folder / name), mode=c.RTLD_GLOBAL) for name in ("libggml-base.so", "libggml.so", "libllama.so"))
        self.ggml.ggml_backend_load.argtypes, self.ggml.ggml_backend_load.restype = [STR], P
        cpu = next(path for name in ("x64", "haswell") if (path := folder / f"libggml-cpu-{name}.so").exists())
        if not self.ggml.ggml_backend_load(str(cpu).encode()):
            raise SystemExit("no CPU backend")
        self.base.ggml_op_name.restype = STR
        self.base.ggml_nbytes.restype, self.base.ggml_nbytes.argtypes = SIZE, [device.TENSOR]
        self.base.ggml_row_size.restype, self.base.ggml_row_size.argtypes = SIZE, [INT, c.c_int64]
        self.base.ggml_is_quantized.restype = BOOL
        self.base.ggml_backend_buffer_init.restype, self.base.ggml_backend_buffer_init.argtypes = P, [P, device.Buffer, P, SIZE]
        self.base.ggml_backend_cpu_buffer_type.restype = P
        self.op = {self.base.ggml_op_name(number).decode(): number for number in range(70)}
        self._register()
        write = kept(FN(None, INT, STR, P)(lambda level, line, data: self.log.append(line.decode("utf-8", "replace"))))
        self.llama.llama_log_set(write, None)
        self.llama.llama_backend_init()
        self.llama.llama_model_default_params.restype, self.llama.llama_context_default_params.restype = device.ModelParams, device.ContextParams
        self.llama.llama_model_load_from_file.restype, self.llama.llama_model_load_from_file.argtypes = P, [STR, device.ModelParams]
        self.llama.llama_init_from_model.restype, self.llama.llama_init_from_model.argtypes = P, [P, device.ContextParams]
        self.llama.llama_free.argtypes, self.llama.llama_model_free.argtypes = [P], [P]

    def _buffer(self, kind, size):
        buffer = device.Buffer()
        buffer.get_base = pointer(FN(P, P), lambda this: 1 << 24)
        buffer.free_buffer, buffer.clear = pointer(FN(None, P), nothing), pointer(FN(None, P, c.c_uint8), nothing)
        buffer.set_tensor = buffer.get_tensor = pointer(FN(None, P, P, P, SIZE, SIZE), nothing)
        return self.base.ggml_backend_buffer_init(kind, buffer, None, size)

    def _supports(self, tensor):
        return tensor.op != self.op["FLASH_ATTN_EXT"] or tensor.src[1].contents.ne[0] in (64, 80, 96, 112, 128, 256)

    def _alloc_size(self, at):
        """Without what flash attention keeps beside its output, which came later."""
        tensor, size = at.contents, self.base.ggml_nbytes(at)
        if self.base.ggml_is_quantized(tensor.type) and tensor.ne[0] % 512:
            size += self.base.ggml_row_size(tensor.type, 512 - tensor.ne[0] % 512)
        return size

    def measure(self, path, **context):
        asked = self.llama.llama_model_default_params()
        asked.use_mmap, asked.n_gpu_layers = True, 999
        self.log.clear()
        loaded = self.llama.llama_model_load_from_file(str(path).encode(), asked)
        parameters = self.llama.llama_context_default_params()
        for name, value in {"n_batch": 2048, "swa_full": False, **context}.items():
            setattr(parameters, name, value)
        made = self.llama.llama_init_from_model(loaded, parameters)
        said = "".join(self.log)
        self.llama.llama_free(made)
        self.llama.llama_model_free(loaded)
        return {place: float(size) for place, size in re.findall(r"(\S+) +compute buffer size =\s*([\d.]+) MiB", said)}


def main(build, folder):
    use_layouts_of(int(build))
    llama = Older(Path(folder), [CARD])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        for name in NAMES[int(build)]:
            write, shape = MODELS[name]
            write(path, shape | {"layers": LAYERS})
            for case in (*CASES, *(case | {"embeddings": True} for case in EMBEDDING if name == EMBEDS.get(int(build)))):
                kind = {"f16": 1, "q8_0": 8}[case.get("kv", "f16")]
                flash = case.get("flash", True)
                pooled = {"embeddings": True, "pooling_type": LAST} if "embeddings" in case else {}
                requests = case.get("parallel", 1)  # each with so much context
                sizes = {"n_ctx": case["context"] * requests, "n_ubatch": case.get("ubatch", 512), "n_seq_max": requests}
                told = llama.measure(path, **pooled, **sizes, flash_attn=flash, type_k=kind, type_v=kind)
                print(json.dumps({"build": int(build), "model": name, **case, "gpu": told["CUDA0"], "host": told["CUDA_Host"]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

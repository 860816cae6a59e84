"""A GPU that is none: llama.cpp's own graphs, scheduler, allocator and fit see cards with CUDA's rules, and no byte is allocated.

A backend is a table of functions (ggml/src/ggml-backend-impl.h of v0.5.0); here they are Python's, by ctypes. What a CUDA device says of itself is
said as ggml/src/ggml-cuda/ggml-cuda.cu says it: alignment, padded rows of quantized tensors, flash attention's 16-bit copies of a quantized cache
and the head sizes it has, which operations are worth a copy of weights, a pinned host buffer, events. Not imitated: tensors that CUDA's fusion of
experts keeps longer (graph_optimize), CUDA's own context and its pool.
"""

import ctypes as c
import os
import re
import tempfile
from itertools import takewhile

P, SIZE, INT, BOOL, STR, FN = c.c_void_p, c.c_size_t, c.c_int, c.c_bool, c.c_char_p, c.CFUNCTYPE
GPU, F16 = 1, 1
FIT = "_Z17common_fit_paramsPKcP18llama_model_paramsP20llama_context_paramsPfP32llama_model_tensor_buft_overridePmjPK22common_fit_extra_model14ggml_log_level"
KEPT = []  # what C holds pointers to


class Tensor(c.Structure):
    pass


Tensor._fields_ = [
    ("type", INT), ("buffer", P), ("ne", c.c_int64 * 4), ("nb", SIZE * 4), ("op", INT), ("op_params", c.c_int32 * 16), ("flags", c.c_int32),
    ("src", c.POINTER(Tensor) * 10), ("view_src", c.POINTER(Tensor)), ("view_offs", SIZE), ("data", P), ("name", c.c_char * 64), ("extra", P), ("pad", c.c_char * 8),
]  # fmt: skip
TENSOR = c.POINTER(Tensor)


class Override(c.Structure):
    _fields_ = [("pattern", STR), ("buffer_type", P)]


def table(name, *fields):
    """A structure of C: names of pointers, or names with their types."""
    return type(name, (c.Structure,), {"_fields_": [field if isinstance(field, tuple) else (field, P) for field in fields]})


BufferType = table(
    "BufferType", ("get_name", FN(P, P)), ("alloc_buffer", FN(P, P, SIZE)), ("get_alignment", FN(SIZE, P)), "get_max_size",
    ("get_alloc_size", FN(SIZE, P, TENSOR)), "is_host", "device", "context",
)  # fmt: skip
Buffer = table(
    "Buffer", *["free_buffer", "get_base", "init_tensor", "memset_tensor", "set_tensor", "get_tensor", "set_tensor_2d", "get_tensor_2d", "cpy_tensor", "clear", "reset"]
)  # fmt: skip
Backend = table(
    "Backend", "guid", "get_name", "free", *["set_tensor_async", "get_tensor_async", "set_tensor_2d_async", "get_tensor_2d_async", "cpy_tensor_async", "synchronize"],
    *["graph_plan_create", "graph_plan_free", "graph_plan_update", "graph_plan_compute", "graph_compute", "event_record", "event_wait", "graph_optimize"], "device", "context",
)  # fmt: skip
Properties = table(
    "Properties", "name", "description", ("memory_free", SIZE), ("memory_total", SIZE), ("type", INT), "device_id",
    *((name, BOOL) for name in ("is_async", "host_buffer", "buffer_from_host_ptr", "events", "mmap_support")),
)  # fmt: skip
Event = table("Event", "device", "context")
Device = table(
    "Device", ("get_name", FN(P, P)), ("get_description", FN(P, P)), ("get_memory", FN(None, P, c.POINTER(SIZE), c.POINTER(SIZE))), ("get_type", FN(INT, P)),
    ("get_props", FN(None, P, c.POINTER(Properties))), ("init_backend", FN(P, P, STR)), ("get_buffer_type", FN(P, P)), ("get_host_buffer_type", FN(P, P)),
    "buffer_from_host_ptr", ("supports_op", FN(BOOL, P, TENSOR)), ("supports_buft", FN(BOOL, P, P)), ("offload_op", FN(BOOL, P, TENSOR)),
    ("event_new", FN(P, P)), ("event_free", FN(None, P, P)), ("event_synchronize", FN(None, P, P)), "reg", "context",
)  # fmt: skip
Registry = table(
    "Registry", ("api_version", INT), ("get_name", FN(P, P)), ("get_count", FN(SIZE, P)), ("get_device", FN(P, P, SIZE)), ("get_proc", FN(P, P, STR)), "context"
)
ModelParams = table(
    "ModelParams", "devices", "tensor_buft_overrides", *((name, INT) for name in ("n_gpu_layers", "split_mode", "load_mode", "lazy_mode", "main_gpu")),
    "tensor_split", "progress_callback", "progress_user_data", "kv_overrides",
    *((name, BOOL) for name in ("vocab_only", "check_tensors", "use_extra_bufts", "no_host", "no_alloc", "load_mtp")),
)  # fmt: skip
ContextParams = table(
    "ContextParams", *((name, c.c_uint32) for name in ["n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max", "n_outputs_max_per_seq"]),
    *((name, INT) for name in ["n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type", "pooling_type", "attention_type", "flash_attn_type"]),
    *((name, c.c_float) for name in ["rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"]),
    ("yarn_orig_ctx", c.c_uint32), ("defrag_thold", c.c_float), "cb_eval", "cb_eval_user_data", ("type_k", INT), ("type_v", INT), "abort_callback",
    "abort_data", *((name, BOOL) for name in ["embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified"]),
    "samplers", ("n_samplers", SIZE), "ctx_other",
)  # fmt: skip


def text(words):
    held = c.create_string_buffer(words.encode())
    KEPT.append(held)
    return c.addressof(held)


def kept(value):
    KEPT.append(value)
    return value


def pointer(kind, function):
    return c.cast(kept(kind(function)), P).value


def nothing(*_):
    return None


class Llama:
    """The library with so many cards, each (free, total) bytes."""

    def __init__(self, folder, cards):
        self.cards, self.log, self.devices = cards, [], []
        self.base, self.ggml, self.llama = (
            c.CDLL(str(next(folder.glob(name))), mode=c.RTLD_GLOBAL) for name in ("libggml-base.so", "libggml.v*", "libllama.v*")
        )
        self.ggml.ggml_backend_load.argtypes, self.ggml.ggml_backend_load.restype = [STR], P
        if not self.ggml.ggml_backend_load(str(folder / "libggml-cpu-x64.so").encode()):
            raise SystemExit("no CPU backend")
        self.common = c.CDLL(str(folder / "libllama-common.so"), mode=c.RTLD_GLOBAL)
        self.base.ggml_op_name.restype = STR
        self.base.ggml_nbytes.restype, self.base.ggml_nbytes.argtypes = SIZE, [TENSOR]
        self.base.ggml_row_size.restype, self.base.ggml_row_size.argtypes = SIZE, [INT, c.c_int64]
        self.base.ggml_is_quantized.restype = BOOL
        self.base.ggml_backend_buffer_init.restype, self.base.ggml_backend_buffer_init.argtypes = P, [P, Buffer, P, SIZE]
        self.base.ggml_backend_cpu_buffer_type.restype = P
        self.op = {self.base.ggml_op_name(number).decode(): number for number in range(96)}
        self._register()
        write = kept(FN(None, INT, STR, P)(lambda level, line, data: self.log.append(line.decode("utf-8", "replace"))))
        self.llama.llama_log_set(write, None)
        self.base.ggml_log_set(write, None)
        self.llama.llama_backend_init()
        self.llama.llama_model_default_params.restype, self.llama.llama_context_default_params.restype = ModelParams, ContextParams
        self.llama.llama_model_load_from_file.restype, self.llama.llama_model_load_from_file.argtypes = P, [STR, ModelParams]
        self.llama.llama_init_from_model.restype, self.llama.llama_init_from_model.argtypes = P, [P, ContextParams]
        self.llama.llama_free.argtypes, self.llama.llama_model_free.argtypes = [P], [P]

    def _register(self):
        name = text("CUDA")
        registry = kept(Registry())
        for index in range(len(self.cards)):
            self.devices.append(self._device(index, registry))
        registry.api_version = 2
        registry.get_name = FN(P, P)(lambda own: name)
        registry.get_count = FN(SIZE, P)(lambda own: len(self.devices))
        registry.get_device = FN(P, P, SIZE)(lambda own, index: c.addressof(self.devices[index]))
        registry.get_proc = FN(P, P, STR)(nothing)
        self.ggml.ggml_backend_register.argtypes = [P]
        self.ggml.ggml_backend_register(c.addressof(registry))

    def _device(self, index, registry):
        device = kept(Device())
        own, host = self._buffer_type(f"CUDA{index}", device), self._buffer_type("CUDA_Host", device, is_host=True)
        name, address, event = text(f"CUDA{index}"), text(f"0000:0{index}:00.0"), kept(Event())
        free, total = self.cards[index]

        def memory(this, free_at, total_at):
            free_at[0], total_at[0] = free, total

        def properties(this, at):
            told = at[0]
            told.name = told.description = name
            told.memory_free, told.memory_total, told.type, told.device_id = free, total, GPU, address
            told.is_async = told.host_buffer = told.events = told.mmap_support = True

        device.get_name = device.get_description = FN(P, P)(lambda this: name)
        device.get_memory, device.get_props = FN(None, P, c.POINTER(SIZE), c.POINTER(SIZE))(memory), FN(None, P, c.POINTER(Properties))(properties)
        device.get_type = FN(INT, P)(lambda this: GPU)
        device.init_backend = FN(P, P, STR)(lambda this, parameters: self._backend(device, name, index))
        device.get_buffer_type, device.get_host_buffer_type = FN(P, P)(lambda this: c.addressof(own)), FN(P, P)(lambda this: c.addressof(host))
        device.supports_op = FN(BOOL, P, TENSOR)(lambda this, tensor: self._supports(tensor.contents))
        device.supports_buft = FN(BOOL, P, P)(lambda this, kind: kind == c.addressof(own))
        device.offload_op = FN(BOOL, P, TENSOR)(lambda this, tensor: self._batch(tensor.contents) >= 32)
        device.event_new = FN(P, P)(lambda this: c.addressof(event))
        device.event_free = device.event_synchronize = FN(None, P, P)(nothing)
        event.device = c.addressof(device)
        device.reg = c.addressof(registry)
        return device

    def _backend(self, device, name, index):
        backend = kept(Backend())
        backend.guid, backend.device = text(f"stand-in card {index:02}"), c.addressof(device)
        backend.get_name = pointer(FN(P, P), lambda this: name)
        backend.free = backend.synchronize = pointer(FN(None, P), nothing)
        backend.graph_compute = pointer(FN(INT, P, P), lambda this, graph: 0)
        backend.event_record = backend.event_wait = pointer(FN(None, P, P), nothing)
        return c.addressof(backend)

    def _buffer_type(self, label, device, is_host=False):
        kind, name = kept(BufferType()), text(label)
        cpu = c.cast(self.base.ggml_backend_cpu_buffer_type(), c.POINTER(BufferType)).contents
        kind.get_name = FN(P, P)(lambda this: name)
        kind.alloc_buffer = FN(P, P, SIZE)(self._buffer)
        kind.get_alignment = cpu.get_alignment if is_host else FN(SIZE, P)(lambda this: 128)
        kind.get_alloc_size = FN(SIZE, P, TENSOR)(lambda this, tensor: self.base.ggml_nbytes(tensor) if is_host else self._alloc_size(tensor))
        kind.is_host = cpu.is_host if is_host else None
        kind.device = c.addressof(device)
        return kind

    def _buffer(self, kind, size):
        buffer = Buffer()
        buffer.get_base = pointer(FN(P, P), lambda this: 1 << 24)
        buffer.free_buffer, buffer.clear = pointer(FN(None, P), nothing), pointer(FN(None, P, c.c_uint8), nothing)
        return self.base.ggml_backend_buffer_init(kind, buffer, None, size)

    def _alloc_size(self, at):
        """ggml_backend_cuda_buffer_type_get_alloc_size and ggml_cuda_flash_attn_ext_get_alloc_size."""
        tensor, size = at.contents, self.base.ggml_nbytes(at)
        if tensor.op == self.op["FLASH_ATTN_EXT"]:
            keys, values = tensor.src[1].contents, tensor.src[2].contents
            whole = {c.addressof(keys), c.addressof(keys.view_src.contents) if keys.view_src else 0}
            is_view = bool(values.view_src) and c.addressof(values.view_src.contents) in whole
            for cache in [keys] if is_view else [keys, values]:
                if cache.type != F16:
                    size = (size + 127) // 128 * 128 + cache.ne[0] * cache.ne[1] * cache.ne[2] * cache.ne[3] * 2
        if self.base.ggml_is_quantized(tensor.type) and tensor.ne[0] % 512:
            size += self.base.ggml_row_size(tensor.type, 512 - tensor.ne[0] % 512)
        return size

    def _supports(self, tensor):
        if tensor.op != self.op["FLASH_ATTN_EXT"]:
            return True
        queries, keys, values = (tensor.src[index].contents for index in range(3))
        if keys.ne[0] in (40, 64, 72, 80, 96, 112, 128, 256):
            return keys.ne[0] == values.ne[0]
        shared = queries.ne[2] // keys.ne[2]
        multiple = {(192, 128): 8, (320, 256): 32, (512, 512): 2, (576, 512): 2}.get((keys.ne[0], values.ne[0]), 0)
        return bool(multiple) and shared >= 2 and shared % multiple == 0

    def _batch(self, tensor):
        if tensor.op == self.op["GET_ROWS"]:
            return 0
        if tensor.op == self.op["MUL_MAT"]:
            return tensor.ne[1]
        return tensor.ne[2] if tensor.op in (self.op["MUL_MAT_ID"], self.op["ROPE"]) else tensor.ne[1] * tensor.ne[2] * tensor.ne[3]

    def measure(self, path, model=(), **context):
        """What a file would take with these parameters: MiB by what the log calls it, or its error."""
        asked = self.llama.llama_model_default_params()
        asked.no_alloc, asked.load_mode = True, 0
        for name, value in dict(model).items():
            setattr(asked, name, value)
        self.log.clear()
        loaded = self.llama.llama_model_load_from_file(str(path).encode(), asked)
        if not loaded:
            return {"error": "".join(self.log)[-400:]}
        parameters = self.llama.llama_context_default_params()
        parameters.n_batch, parameters.swa_full = max(2048, context.get("n_ubatch", 512)), False  # as llama-server sets them
        for name, value in context.items():
            setattr(parameters, name, value)
        made = self.llama.llama_init_from_model(loaded, parameters)
        said = "".join(self.log)
        if made:
            self.llama.llama_free(made)
        self.llama.llama_model_free(loaded)
        if not made:
            return {"error": said[-400:]}
        sizes = {f"{device} compute": float(size) for device, size in re.findall(r"(\S+) +compute buffer size =\s*([\d.]+) MiB", said)}
        sizes["kv"] = sum(float(size) for size in re.findall(r"llama_kv_cache: size =\s*([\d.]+) MiB", said))
        sizes["states"] = sum(float(size) for size in re.findall(r"llama_memory_recurrent: size =\s*([\d.]+) MiB", said))
        return sizes

    def place(self, path, **context):
        """Where weights lie: whole MiB by device (common/fit.cpp common_fit_print, which prints them)."""
        model, parameters = self.llama.llama_model_default_params(), self.llama.llama_context_default_params()
        for name, value in context.items():
            setattr(parameters, name, value)
        with tempfile.TemporaryFile() as told:
            kept_output = os.dup(1)
            os.dup2(told.fileno(), 1)
            self.common._Z16common_fit_printPKcP18llama_model_paramsP20llama_context_params(str(path).encode(), c.byref(model), c.byref(parameters))
            c.CDLL(None).fflush(None)
            os.dup2(kept_output, 1)
            told.seek(0)
            return {device: int(weights) for device, weights, *_ in (line.split() for line in told.read().decode().splitlines())}

    def fit(self, path, margin=1 << 30, least=4096, **context):
        """What common/fit.cpp makes of what is left open: layers on the cards, of each, the context, which tensors lie elsewhere."""
        model, parameters = self.llama.llama_model_default_params(), self.llama.llama_context_default_params()
        model.load_mode, parameters.n_batch, parameters.swa_full = 0, 2048, False
        for name, value in context.items():
            setattr(parameters, name, value)
        split, moved, margins = (c.c_float * 128)(), (Override * 4096)(), (SIZE * 128)(*[margin] * 128)
        fit = self.common[FIT]
        fit(str(path).encode(), c.byref(model), c.byref(parameters), split, moved, margins, c.c_uint32(least), None, 2)
        patterns = [entry.pattern.decode() for entry in takewhile(lambda entry: entry.pattern, moved)]  # behind the end lie what was tried
        return {"context": parameters.n_ctx, "layers": model.n_gpu_layers, "split": [int(share) for share in split[: len(self.cards)]], "moved": patterns}

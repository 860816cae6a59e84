"""Makes vLLM believe that it runs on a given NVIDIA GPU. `install` must run before anything of vLLM is imported.

Only facts that vLLM asks for while it builds its configuration are simulated: compute capability, name, memory, number. Compiled
operators answer "supported" when asked and fail when called.
"""

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
import types

COMPILED = (
    "vllm._C",
    "vllm._moe_C",
    "vllm.cumem_allocator",
    "vllm._C_stable_libtorch",
    "vllm._moe_C_stable_libtorch",
    "vllm._qutlass_C",
    "vllm.vllm_flash_attn._vllm_fa2_C",
    "vllm.vllm_flash_attn._vllm_fa3_C",
)
ABSENT = ("gguf", "gguf.constants", "gguf.quants")  # what older releases import and the newest does not
OPERATORS = ("_C", "_moe_C", "_C_cache_ops", "_C_cuda_utils", "_C_custom_ar", "_qutlass_C")


class Operator:
    """A compiled operator that exists but cannot run."""

    def __init__(self, name):
        self.__name__ = name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Operator(f"{self.__name__}.{name}")

    def __call__(self, *arguments, **keywords):
        if "support" in self.__name__:
            return True
        if self.__name__.endswith("get_cuda_view_from_cpu_tensor"):
            return arguments[0]
        raise RuntimeError(f"{self.__name__} needs a GPU")


class TritonConfig:
    """A kernel's settings."""

    def __init__(self, kwargs, num_stages=1, num_warps=4, **others):
        self.kwargs, self.num_stages, self.num_warps = kwargs, num_stages, num_warps


class StandIn(types.ModuleType):
    """A module that is not here: whatever is imported of it exists but cannot run."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Operator(f"{self.__name__}.{name}")


def stand_in(module, kind=types.ModuleType):
    """A module of this name."""
    stub = kind(module)
    stub.__spec__ = importlib.machinery.ModuleSpec(module, None)
    stub.__file__, stub.__path__ = "<simulated>", []
    return stub


def install(name, capability, memory_bytes, count):
    """Simulate `count` GPUs of compute capability (major, minor) with that much memory."""
    os.environ |= {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    os.environ |= {"VLLM_KIMI_K3_GEMM_AR": "0", "VLLM_ENABLE_GEMM_RS": "0"}  # kernels that import CUDA's driver, and hold no weights
    for module in COMPILED:
        sys.modules.setdefault(module, stand_in(module))
    for module in ABSENT:
        if module.partition(".")[0] in sys.modules or importlib.util.find_spec(module) is None:
            sys.modules.setdefault(module, stand_in(module, StandIn))
    import torch
    import vllm.platforms as platforms
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    answers = {
        "get_device_capability": DeviceCapability(*capability),
        "get_device_name": name,
        "get_device_uuid": "GPU-simulated",
        "get_device_total_memory": memory_bytes,
        "device_count": count,
        "is_fully_connected": False,
        "num_compute_units": 128,
        "is_integrated_gpu": False,
        "get_all_device_numa_nodes": None,
        "get_device_numa_node": None,
        "get_cuda_runtime_major": 13,
        "import_kernels": None,
    }
    methods = {method: classmethod(lambda cls, *a, _answer=answer, **k: _answer) for method, answer in answers.items()}
    platforms._current_platform = type("SimulatedCuda", (CudaPlatformBase,), methods)()
    _simulate_torch(torch, name, capability, memory_bytes, count)
    from vllm.triton_utils import triton

    with contextlib.suppress(ModuleNotFoundError):  # older releases have one runner
        importlib.import_module(
            "vllm.config.vllm"
        ).HAS_TRITON = True  # every GPU has it: without it another model runner would be chosen, which builds towers on every stage
    triton.Config = TritonConfig  # what stands in for Triton forgets what it was given, and some kernels ask


def _simulate_torch(torch, name, capability, memory_bytes, count):
    namespace = torch._ops._OpNamespace
    original = namespace.__getattr__

    def operator(self, attribute):
        try:
            return original(self, attribute)
        except AttributeError:
            if self.name in OPERATORS and not attribute.startswith("__"):
                return Operator(attribute)
            raise

    namespace.__getattr__ = operator
    properties = types.SimpleNamespace(
        name=name,
        major=capability[0],
        minor=capability[1],
        total_memory=memory_bytes,
        multi_processor_count=128,
        warp_size=32,
        shared_memory_per_block_optin=101_376,
        shared_memory_per_multiprocessor=102_400,
        is_integrated=0,
        L2_cache_size=64 << 20,
    )
    torch.accelerator.device_count = lambda: count
    torch.cuda.get_device_properties = lambda *a, **k: properties
    torch.cuda.get_device_capability = lambda *a, **k: capability
    torch.cuda.get_device_name = lambda *a, **k: name
    torch.cuda.device_count = lambda: count
    torch.cuda.current_device = lambda: 0
    _forgive_fakes(torch)


def _forgive_fakes(torch):
    """vLLM registers shape functions for operators that do not exist here."""
    register = torch.library.register_fake

    def register_fake(operator, function=None, *arguments, **keywords):
        def decorate(inner):
            try:
                return register(operator, inner, *arguments, **keywords)
            except RuntimeError as error:
                if "does not exist" not in str(error):
                    raise
                return inner

        return decorate if function is None else decorate(function)

    torch.library.register_fake = register_fake


class Anything:
    """A name of Triton's language: a decorator, a type, a function."""

    def __init__(self, *arguments, **keywords):
        pass

    def __call__(self, *arguments, **keywords):
        return arguments[0] if arguments and callable(arguments[0]) else Anything()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class AnyType(type):
    """Whatever is asked of it is a type of the same kind: a decorator, a base class, an annotation."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return AnyType(name, (Anything,), {})

    def __getitem__(cls, name):
        return cls


class Package(types.ModuleType):
    """A package of kernels that is not here: what a model's file takes of it is never called."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "get_ptxas":  # Triton's assembler, of whose version a file asks as it is imported
            return lambda capability: types.SimpleNamespace(version="13.2")
        return AnyType(name, (Anything,), {})


def simulate_kernels():
    """What a server has and weights do not depend on: TileLang, DeepGEMM's indexer, a sampler beside FlashInfer's, Kimi's delta rule on Hopper."""
    import torch
    import vllm.utils.import_utils as installed

    installed.has_tilelang = lambda: True
    sys.modules["vllm._flashkda_C"] = stand_in("vllm._flashkda_C")  # its library wants CUDA's driver
    torch.ops._flashkda_C.get_workspace_size = lambda *sizes: 0  # of a buffer that is no weight
    for module, name, answer in (
        ("vllm.model_executor.layers.sparse_attn_indexer", "has_deep_gemm", True),
        ("vllm.v1.sample.ops.topk_topp_sampler", "flashinfer_sampler_supported", False),
        ("vllm.models.kimi_k3.nvidia.model", "is_meta_module", False),  # on a GPU its projector is given the model's dtype
    ):
        with contextlib.suppress(ImportError):
            setattr(importlib.import_module(module), name, lambda *asked, answer=answer: answer)


def _simulate_triton():
    """Without Triton vLLM's placeholders lack what kernels of Mamba and the delta rule ask for while they are imported; classes are looked at in
    this process, as a child of it would know nothing of the simulated GPU."""
    import vllm.model_executor.models.registry as registry
    import vllm.triton_utils as placeholder

    registry._run_in_subprocess = lambda function: function()
    if placeholder.HAS_TRITON:
        return

    class Configuration:
        def __init__(self, kwargs=None, num_warps=4, num_stages=2, **keywords):
            self.kwargs, self.num_warps, self.num_stages = kwargs or {}, num_warps, num_stages

    placeholder.triton.Config = Configuration
    for kind in {type(placeholder.triton), type(placeholder.tl)}:
        if not hasattr(kind, "__getattr__"):
            kind.__getattr__ = Anything.__getattr__


def _answer_without_numbers(torch):
    """Tensors of the meta device have no numbers; where a class lists some (ALiBi's slopes) they are zeros."""
    listed = torch.Tensor.tolist
    torch.Tensor.tolist = lambda self: listed(torch.zeros(self.shape, dtype=self.dtype, device="cpu")) if self.is_meta else listed(self)

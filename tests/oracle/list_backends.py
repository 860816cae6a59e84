"""vLLM's attention backends as JSON lines, as their own classes describe them on one simulated GPU; run by the judge's Python (benchmarks/backends.py).

argv: MAJOR.MINOR of the compute capability to simulate.
"""

import json
import sys

import simulated_gpu

major, minor = map(int, sys.argv[1].split("."))
simulated_gpu.install("made", (major, minor), 80 * 2**30, 1)

import torch  # noqa: E402
from vllm.config import VllmConfig, set_current_vllm_config  # noqa: E402
from vllm.platforms.interface import DeviceCapability  # noqa: E402
from vllm.v1.attention.backend import MultipleOf  # noqa: E402
from vllm.v1.attention.backends.registry import AttentionBackendEnum  # noqa: E402

HEADS = (32, 64, 72, 80, 96, 112, 128, 160, 192, 256, 320, 512, 576)


def told(question, *arguments):
    """An answer of a class; None where it needs what a simulated GPU lacks."""
    try:
        return question(*arguments)
    except Exception:
        return None


def described(member):
    """What a backend takes; None for one that cannot be imported here."""
    try:
        cls = member.get_class()
    except Exception:
        return None
    sizes = told(cls.get_supported_kernel_block_sizes) or []
    return {
        "name": member.name,
        "runs": bool(told(cls.supports_compute_capability, DeviceCapability(major, minor))),
        "latent": bool(told(cls.is_mla)),
        "sparse": bool(told(cls.is_sparse)),
        "blocks": sorted({size.base if isinstance(size, MultipleOf) else size for size in sizes}),
        "preferred": told(cls.get_preferred_block_size, 16),
        "exact": cls.supports_block_size.__func__ is not super(cls, cls).supports_block_size.__func__ and told(cls.supports_block_size, 32) is False,
        "kv_cache_dtypes": [dtype for dtype in cls.supported_kv_cache_dtypes if told(cls.supports_kv_cache_dtype, dtype) is not False],
        "heads": [head for head in HEADS if told(cls.supports_head_size, head)],
        "dtypes": sorted(str(dtype).removeprefix("torch.") for dtype in (torch.float16, torch.bfloat16, torch.float32) if told(cls.supports_dtype, dtype)),
        "sinks": bool(told(cls.supports_sink)),
        "images": bool(told(cls.supports_mm_prefix)),
        "windows": told(cls.supports_sliding_window) is not False,
    }


with set_current_vllm_config(VllmConfig()):
    for each in AttentionBackendEnum:
        if (row := described(each)) is not None:
            print(json.dumps(row), flush=True)

"""Which of llama.cpp's backends runs a GPU, and where they differ in what they hold.

Sources: llama.cpp ggml/src/ggml-cuda/fattn.cu (HIP compiles the same), ggml-vulkan/ggml-vulkan.cpp (v0.5.0): Vulkan reads quantized caches as they are and
reserves no 16-bit copies, reorders a graph's nodes before they are laid out (ggml_vk_graph_optimize), and lays them out in chunks of 1 GiB. All of it
was read off the library itself with a device of its rules (tests/oracle/llamacpp_vulkan.py). Metal reserves none either (ggml-metal.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from planner.facts.attention import Attention, FullAttention, SlidingWindow
from planner.units import GIB


class Backend(StrEnum):
    """What computes; `OPEN` where a card has several and nothing says which."""

    CUDA = "CUDA"
    HIP = "ROCm"
    VULKAN = "Vulkan"
    METAL = "Metal"
    OPEN = ""

    @property
    def reserves_copies(self) -> bool:
        """Whether the compute buffer holds 16-bit copies of a quantized cache; where several are possible as if it did."""
        return self not in (Backend.VULKAN, Backend.METAL)

    def has_kernel(self, cache: Attention | None, heads: int) -> bool:
        """Whether flash attention runs: CUDA has it for heads of 192 with values of 128 only where a multiple of so many queries share one (fattn.cu)."""
        if self not in (Backend.CUDA, Backend.HIP, Backend.OPEN) or not isinstance(cache, FullAttention | SlidingWindow):
            return True
        return (cache.head_dim, cache.head_dim_v) != (192, 128) or heads // cache.kv_heads % _SHARED == 0

    @property
    def error(self) -> tuple[float, float]:
        """Shares of the derived compute buffer: CUDA's logs and the oracle's worst, and of 162 buffers that Vulkan's own library told the worst."""
        return (0.88, 1.21) if self is Backend.VULKAN else (0.95, 1.12)


_SHARED = 8
CHUNK_BYTES = GIB  # Vulkan lays tensors out in chunks of so many, or of one tensor that is larger (ggml-vulkan.cpp suballocation_block_size)
LARGEST_TENSOR_BYTES = 2**32 - 1  # a storage buffer of Vulkan (maxStorageBufferRange, 32 bits)
_BY_VENDOR = {"nvidia": Backend.CUDA, "apple": Backend.METAL}
_NAMES = (
    (re.compile(r"vulkan", re.I), Backend.VULKAN),
    (re.compile(r"rocm|hip", re.I), Backend.HIP),
    (re.compile(r"cuda", re.I), Backend.CUDA),
    (re.compile(r"metal|mtl", re.I), Backend.METAL),
)


def backend_of(vendor: str, *said: str, env: Mapping[str, str] | None = None) -> Backend:
    """The backend that a device's name, an image's tag (`server-vulkan-b10488`) or the environment tells; else the only one that a vendor's cards have."""
    for text in said:
        for pattern, backend in _NAMES:
            if pattern.search(text):
                return backend
    if "GGML_VK_VISIBLE_DEVICES" in (env or {}):
        return Backend.VULKAN
    return _BY_VENDOR.get(vendor, Backend.OPEN)


def ollamas(vendor: str, env: Mapping[str, str]) -> Backend:
    """The backend that Ollama takes: ROCm for AMD's cards, Vulkan for Intel's, and for others where it is told to (docs/gpu.mdx, OLLAMA_LLM_LIBRARY)."""
    library = env.get("OLLAMA_LLM_LIBRARY", "")
    return backend_of(vendor, library) or {"amd": Backend.HIP, "intel": Backend.VULKAN}.get(vendor, Backend.OPEN)

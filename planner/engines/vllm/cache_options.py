"""The settings of a command that decide how the KV cache lies, and the rows of the table of settings for them.

Sources: vLLM 0.33 config/cache.py, config/scheduler.py, config/attention.py; releases differ as versions.py says.
"""

from __future__ import annotations

import re

from planner.facts.record import dataclass
from planner.facts.settings import Kind, Setting

MAMBA_DTYPES = ("auto", "float16", "bfloat16", "float32")

CACHE_SETTINGS = (
    Setting(name="block_size", flag="--block-size", kind=Kind.COUNT, least=1, is_pin=False),
    Setting(name="attention_backend", flag="--attention-backend", kind=Kind.TEXT, automatic=("auto", "AUTO", "None"), is_pin=False),
    Setting(name="kv_cache_dtype_skip_layers", flag="--kv-cache-dtype-skip-layers", kind=Kind.TEXT, is_pin=False),
    Setting(name="num_gpu_blocks_override", flag="--num-gpu-blocks-override", kind=Kind.COUNT, least=0, is_pin=False),
    Setting(name="mm_ipc_gpu_memory_gb", flag="--mm-ipc-gpu-memory-gb", kind=Kind.GIB, default=0.0, is_pin=False),
    Setting(
        name="enable_prefix_caching",
        flag="--enable-prefix-caching",
        off=("--no-enable-prefix-caching",),
        kind=Kind.SWITCH,
        is_pin=False,
    ),
    Setting(
        name="disable_hybrid_kv_cache_manager",
        flag="--disable-hybrid-kv-cache-manager",
        off=("--no-disable-hybrid-kv-cache-manager",),
        kind=Kind.SWITCH,
        is_pin=False,
    ),
    Setting(name="mamba_cache_dtype", flag="--mamba-cache-dtype", kind=Kind.TEXT, automatic=("auto",), is_pin=False),
    Setting(name="mamba_ssm_cache_dtype", flag="--mamba-ssm-cache-dtype", kind=Kind.TEXT, automatic=("auto",), is_pin=False),
    Setting(name="async_scheduling", flag="--async-scheduling", off=("--no-async-scheduling",), kind=Kind.SWITCH, is_pin=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """What a command says of the KV cache's layout beside its dtype; None is vLLM's own choice."""

    block_size: int | None = None
    attention_backend: str | None = None
    skip_layers: tuple[str, ...] = ()
    """Layers that are kept in the model's dtype: their numbers, or `sliding_window` for all of these."""
    prefix_caching: bool | None = None
    one_kind: bool = False
    """Windows and chunks are kept whole: the hybrid manager is off."""
    mamba_cache_dtype: str | None = None
    mamba_ssm_cache_dtype: str | None = None

    @property
    def no_layers(self) -> tuple[str, ...]:
        """Words of `skip_layers` that are no layer's name: vLLM compares each word whole and passes over those that fit none (layers/attention/attention.py)."""
        return tuple(word for word in self.skip_layers if not re.fullmatch(r"\d{1,5}|sliding_window", word))


NO_OPTIONS = CacheOptions()

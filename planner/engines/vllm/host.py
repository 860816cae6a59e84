"""Main memory: what a server keeps there beside its GPUs, of weights and of the KV cache, and whether the machine has it.

Sources: vLLM 0.33 config/offload.py, config/cache.py kv_offloading_size (of an engine, all its ranks together), device_allocator/cumem.py (a sleeping
server's weights are copied to main memory), distributed/kv_transfer (OffloadingConnector's cpu_bytes_to_use).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from planner.engines import host
from planner.engines.vllm.memory import Placement
from planner.engines.vllm.offload import limit_bytes
from planner.engines.vllm.settings import ServeConfig
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Problem
from planner.facts.record import dataclass
from planner.facts.verdict import Warn
from planner.units import gib

_CPU_CONNECTORS = ("OffloadingConnector", "SimpleCPUOffloadConnector")
# Connectors that read and write the cache where it lies: NIXL and Mooncake register it, the offloading ones copy block by block to main memory.
NO_BUFFERS = (*_CPU_CONNECTORS, "NixlConnector", "NixlPullConnector", "NixlPushConnector", "MooncakeConnector")
SEVERAL = "MultiConnector"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Bytes of one machine's main memory that its ranks keep beside their processes."""

    weights_bytes: int = 0
    cache_bytes: int = 0
    asleep_bytes: int = 0
    """While the server sleeps: a copy of its weights."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.cache_bytes + self.asleep_bytes

    @property
    def note(self) -> str:
        """What it is, in words."""
        parts = (("weights", self.weights_bytes), ("KV cache", self.cache_bytes), ("weights while it sleeps", self.asleep_bytes))
        named = [(what, size) for what, size in parts if size]
        words = [what if len(named) == 1 else f"{gib(size)} {what}" for what, size in named]
        return f"{', '.join(words)}, of all ranks of a machine"


def host_memory(config: ServeConfig, placed: Placement, machines: int) -> HostMemory:
    """What a server keeps in the main memory of each of its machines."""
    ranks = config.tensor_parallel_size * config.prefill_context_parallel_size * config.data_parallel_size
    cache = limit_bytes(config.kv_offloading_size or 0.0) if config.kv_offloading_backend == "native" else 0
    return HostMemory(
        weights_bytes=ranks * sum(stage.weights_bytes for stage in placed.offloaded) // machines,
        cache_bytes=(cache + connector_bytes(config.kv_transfer_config)) * config.data_parallel_size // machines,
        asleep_bytes=ranks * sum(placed.weights) // machines if config.enable_sleep_mode else 0,
    )


def connector_bytes(kv_transfer_config: str | None) -> int:
    """Main memory that `--kv-transfer-config` gives its connector for the cache of one engine."""
    data = connector(kv_transfer_config)
    more = data.get("kv_connector_extra_config")
    size = more.get("cpu_bytes_to_use", 0) if isinstance(more, dict) and data.get("kv_connector") in _CPU_CONNECTORS else 0
    return int(size) if isinstance(size, int | float) and size > 0 else 0


def connector(kv_transfer_config: str | None) -> Mapping[str, object]:
    """The object of `--kv-transfer-config`; empty where there is none, or only a shell knows it."""
    try:
        data = json.loads(kv_transfer_config or "{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def connectors(kv_transfer_config: str | None) -> tuple[str, ...]:
    """The names of the connectors of `--kv-transfer-config`, those of which one is made up each."""
    data = connector(kv_transfer_config)
    more = data.get("kv_connector_extra_config")
    parts = more.get("connectors") if isinstance(more, dict) and data.get("kv_connector") == SEVERAL else None
    return tuple(str(part.get("kv_connector") if isinstance(part, dict) else part) for part in (parts if isinstance(parts, list) and parts else [data]))


def too_little(need: HostMemory, ram_bytes: int) -> Problem | None:
    """Why a machine's main memory does not hold that; None where it does, or nobody said how much there is."""
    fix = "a smaller --cpu-offload-gb or --kv-offloading-size, or a machine with more main memory"
    return host.too_little(need.total_bytes, need.note, ram_bytes, fix=fix)


def host_warning(need: HostMemory, group: GpuGroup) -> list[Warn]:
    """That a machine has little left, or what nobody could check, where nobody said how much main memory there is."""
    little = need.total_bytes and host.leaves_little(group, need.total_bytes, group.ram_bytes)
    return [Warn(code=host.LITTLE_LEFT, message=little)] if little else host.unchecked(need.total_bytes, need.note, group.ram_bytes)


def offload_problems(config: ServeConfig) -> Iterator[Problem]:
    """Offloading that contradicts itself, in vLLM's words (config/offload.py validate_offload_config)."""
    if config.offload_backend != "prefetch" and not config.offload_group_size:
        return
    if config.offload_num_in_group > config.offload_group_size:
        message = f"offload_num_in_group ({config.offload_num_in_group}) must be <= offload_group_size ({config.offload_group_size})"
        yield Problem(code="bad-value", message=message, fix=f"--offload-group-size {config.offload_num_in_group}")
    elif config.offload_prefetch_step < 1:
        message = f"offload_prefetch_step ({config.offload_prefetch_step}) must be >= 1 when prefetch offloading is enabled (offload_group_size > 0)"
        yield Problem(code="bad-value", message=message, fix="--offload-prefetch-step 1")

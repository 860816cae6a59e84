"""The settings of a vLLM server, and the dataclasses that hold them: what runs, and what a question fixed.

To add one: a row of settings_table.py, a field of `ServeConfig`, and where a question may fix it a field of `Pins` and of a stack file's service.
Options, stack files, commands, logs, answers and the help follow; tests/engines/vllm/test_settings.py says what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from planner.engines.vllm import speculation
from planner.engines.vllm.cache_options import NO_OPTIONS, CacheOptions
from planner.engines.vllm.offload import Offload, limit_bytes
from planner.engines.vllm.settings_table import SETTINGS
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS
from planner.facts.config import Parallel
from planner.facts.record import dataclass, replace
from planner.facts.settings import Kind, Value, by_name
from planner.units import ceil_div

if TYPE_CHECKING:
    from planner.engines.vllm.lora import Lora

BY_NAME = by_name(SETTINGS)
PINS = tuple(setting for setting in SETTINGS if setting.is_pin)
REPORTED = tuple(sorted((setting for setting in SETTINGS if setting.place), key=lambda setting: setting.place))
# Of a command: what each server has its own of, then what may be left to vLLM, then switches.
COMMAND = tuple(sorted(SETTINGS, key=lambda setting: (setting.kind is Kind.SWITCH, setting.default in (None, "auto"))))


# all2all backends that get each rank's own tokens (config/parallel.py use_sequence_parallel_moe)
SEQUENCE_PARALLEL_BACKENDS = frozenset(
    {
        "allgather_reducescatter",
        "deepep_high_throughput",
        "deepep_low_latency",
        "deepep_v2",
        "flashinfer_nvlink_one_sided",
        "mori_high_throughput",
        "mori_low_latency",
        "naive",
        "nixl_ep",
        "pplx",
    }
)


def redundant_experts(eplb_config: str | None) -> int:
    """Copies of experts that `--eplb-config` asks for; what is no such number is refused elsewhere."""
    try:
        data = json.loads(eplb_config or "{}")
        return max(0, int(data.get("num_redundant_experts", 0)))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """What of a server's settings decides weights and cache layout: the key under which a placement is kept."""

    parallel: Parallel
    kv_cache_dtype: str
    dtype: str
    vllm_version: str
    lora: Lora | None = None
    options: CacheOptions = NO_OPTIONS
    offload: Offload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The settings of one vLLM server."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    decode_context_parallel_size: int = 1
    prefill_context_parallel_size: int = 1
    all2all_backend: str = "allgather_reducescatter"
    enable_eplb: bool = False
    eplb_config: str | None = None
    mm_encoder_tp_mode: str = "weights"
    cpu_offload_gb: float = 0.0
    cpu_offload_params: str | None = None
    offload_backend: str = "auto"
    offload_group_size: int = 0
    offload_num_in_group: int = 1
    offload_prefetch_step: int = 1
    offload_params: str | None = None
    kv_offloading_size: float | None = None
    kv_offloading_backend: str = "native"
    kv_transfer_config: str | None = None
    enable_sleep_mode: bool = False
    max_model_len: int = 4096
    gpu_memory_utilization: float = 0.92
    kv_cache_dtype: str = "auto"
    kv_cache_memory_bytes: int | None = None
    max_cudagraph_capture_size: int | None = None
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    enforce_eager: bool = False
    performance_mode: str = "balanced"
    enable_chunked_prefill: bool | None = None
    enable_expert_parallel: bool = False
    skip_mm_profiling: bool = False
    dtype: str = "auto"
    quantization: str | None = None
    speculative_config: str | None = None
    enable_lora: bool = False
    max_loras: int = 1
    max_lora_rank: int = 16
    max_cpu_loras: int | None = None
    fully_sharded_loras: bool = False
    lora_dtype: str = "auto"
    lora_target_modules: str | None = None
    specialize_active_lora: bool = False
    enable_tower_connector_lora: bool = False
    block_size: int | None = None
    attention_backend: str | None = None
    kv_cache_dtype_skip_layers: str | None = None
    num_gpu_blocks_override: int | None = None
    mm_ipc_gpu_memory_gb: float = 0.0
    enable_prefix_caching: bool | None = None
    disable_hybrid_kv_cache_manager: bool | None = None
    mamba_cache_dtype: str | None = None
    mamba_ssm_cache_dtype: str | None = None
    async_scheduling: bool | None = None
    times_kernels: bool = True  # whether Inductor times the kernels that it fuses: no, where nothing is compiled, or its own settings say something else
    estimates_graphs: bool | None = None  # by the environment; None is the release's own
    second_runner: bool | None = None  # likewise
    layer_partition: tuple[int, ...] = ()  # by the environment
    vllm_version: str = DEFAULT_VERSION

    @property
    def options(self) -> CacheOptions:
        """What the command says of the cache's layout."""
        return CacheOptions(
            block_size=self.block_size,
            attention_backend=self.attention_backend,
            skip_layers=tuple((self.kv_cache_dtype_skip_layers or "").split()),
            prefix_caching=self.enable_prefix_caching,
            one_kind=bool(self.disable_hybrid_kv_cache_manager),
            mamba_cache_dtype=self.mamba_cache_dtype,
            mamba_ssm_cache_dtype=self.mamba_ssm_cache_dtype,
        )

    @property
    def parallel(self) -> Parallel:
        """How the model is divided."""
        return Parallel(
            tensor_parallel_size=self.tensor_parallel_size,
            pipeline_parallel_size=self.pipeline_parallel_size,
            data_parallel_size=self.data_parallel_size,
            prefill_context_parallel_size=self.prefill_context_parallel_size,
            decode_context_parallel_size=self.decode_context_parallel_size,
            enable_expert_parallel=self.enable_expert_parallel,
            redundant_experts=redundant_experts(self.eplb_config) if self.enable_eplb else 0,
            balances_experts=self.enable_eplb,
            whole_tower=self.mm_encoder_tp_mode == "data",
            whole_shared_experts=self.divides_expert_tokens,
            layer_partition=self.layer_partition,
        )

    @property
    def divides_expert_tokens(self) -> bool:
        """Whether each tensor-parallel rank sends its own tokens to the experts (config/parallel.py use_sequence_parallel_moe)."""
        several = self.tensor_parallel_size > 1 and self.data_parallel_size > 1
        return several and self.enable_expert_parallel and self.all2all_backend in SEQUENCE_PARALLEL_BACKENDS

    def share(self, users: int | None) -> int | None:
        """How many of so many users one engine serves, where data parallelism shares them out."""
        return users and ceil_div(users, self.data_parallel_size)

    @property
    def ranks(self) -> int:
        """Ranks that exchange activations within a stage: those of all engines."""
        return self.tensor_parallel_size * self.prefill_context_parallel_size * self.data_parallel_size

    @property
    def num_speculative_tokens(self) -> int:
        """Tokens that are drafted at once; 0 without a drafter."""
        return speculation.read(self.speculative_config).tokens if self.speculative_config else 0

    @property
    def lora(self) -> Lora | None:
        """How adapters are held; None where there is no room for any."""
        if not self.enable_lora:
            return None
        from planner.engines.vllm.lora import Lora

        return Lora(
            max_loras=self.max_loras,
            max_lora_rank=self.max_lora_rank,
            dtype=self.lora_dtype,
            fully_sharded=self.fully_sharded_loras,
            target_modules=tuple((self.lora_target_modules or "").split()),
            towers=self.enable_tower_connector_lora,
            by_count=self.specialize_active_lora,
        )

    @property
    def placing(self) -> Placing:
        """What decides weights and cache layout."""
        return Placing(
            parallel=self.parallel,
            kv_cache_dtype=self.kv_cache_dtype,
            dtype=self.dtype,
            vllm_version=self.vllm_version,
            lora=self.lora,
            options=self.options,
            offload=self.offload,
        )

    @property
    def offload(self) -> Offload | None:
        """What of the weights lies in main memory (model_executor/offloader/base.py create_offloader)."""
        backend = self.offload_backend
        if backend == "auto":
            backend = "prefetch" if self.offload_group_size else "uva" if self.cpu_offload_gb else ""
        if backend == "prefetch" and self.offload_group_size:
            names = tuple((self.offload_params or "").split())
            return Offload(group_size=self.offload_group_size, in_group=self.offload_num_in_group, buffers=self.offload_prefetch_step, names=names)
        if backend == "uva" and self.cpu_offload_gb:
            names = tuple((self.cpu_offload_params or "").split())
            return Offload(max_bytes=limit_bytes(self.cpu_offload_gb), names=names, tower=VERSIONS[self.vllm_version].offloads_towers)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the user fixed with the engine's own flags; None is free."""

    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    decode_context_parallel_size: int | None = None
    cpu_offload_gb: float | None = None
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_dtype: str | None = None
    kv_cache_memory_bytes: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool | None = None
    enable_expert_parallel: bool = False
    skip_mm_profiling: bool = False
    dtype: str = "auto"
    quantization: str | None = None
    speculative_config: str | None = None
    enable_lora: bool = False
    max_loras: int | None = None
    max_lora_rank: int | None = None
    fully_sharded_loras: bool = False
    vllm_version: str = DEFAULT_VERSION


Settings = TypeVar("Settings", ServeConfig, Pins)


def with_settings(config: Settings, values: Mapping[str, Value]) -> Settings:
    """The same server, or what is fixed of one, with other values of some settings, as the table reads them."""
    return replace(config, **values)  # type: ignore[arg-type]  # the fields are of the kinds of the rows: tests/engines/vllm/test_settings.py


@cache
def defaults(release: str) -> ServeConfig:
    """A server of a release ("0.19") whose command says nothing, as far as neither the GPU nor the model decides."""
    return with_settings(ServeConfig(vllm_version=release), {setting.name: setting.default_in(release) for setting in SETTINGS})


def pins_of(asked: object, release: str) -> Pins:
    """What a question fixes: `asked` has fields named as the settings."""
    return with_settings(Pins(vllm_version=release), {setting.name: getattr(asked, setting.name) for setting in PINS})


def pinned(pins: Pins) -> ServeConfig:
    """A server as it is where only what a question fixes is said."""
    fixed = {setting.name: value for setting in PINS if (value := getattr(pins, setting.name)) is not None}
    return with_settings(defaults(pins.vllm_version), fixed)


def reported(config: ServeConfig) -> dict[str, int | float | str | bool]:
    """The settings that an answer shows, in its order."""
    shown = (setting for setting in REPORTED if not setting.only_where_said or getattr(config, setting.name) != setting.default)
    return {setting.name: getattr(config, setting.name) for setting in shown}

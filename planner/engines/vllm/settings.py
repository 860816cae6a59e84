"""The settings of a vLLM server, in one table, and the two dataclasses that hold them: what runs, and what a question fixed.

To add one: a row of SETTINGS, a field of `ServeConfig`, and where a question may fix it a field of `Pins` and of a stack file's service.
Options, stack files, commands, logs, answers and the help follow; tests/engines/vllm/test_settings.py says what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from planner.engines.vllm.dtypes import KV_CACHE_DTYPES
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.facts.config import Parallel
from planner.facts.record import dataclass
from planner.facts.settings import Kind, Setting, Value, by_name

SETTINGS = (
    Setting(
        name="tensor_parallel_size",
        flag="--tensor-parallel-size",
        aliases=("-tp",),
        kind=Kind.COUNT,
        default=1,
        always_said=True,
        least=1,
        most=1024,
        help="GPUs that share each layer.",
        place=1,
        short="tp",
    ),
    Setting(
        name="pipeline_parallel_size",
        flag="--pipeline-parallel-size",
        aliases=("-pp",),
        kind=Kind.COUNT,
        default=1,
        least=1,
        most=1024,
        help="Groups of GPUs, some layers each.",
        place=2,
        short="pp",
    ),
    Setting(
        name="max_model_len",
        flag="--max-model-len",
        kind=Kind.TOKENS,
        default=4096,  # vLLM's own is the model's limit
        always_said=True,
        least=1,
        most=1 << 40,
        automatic=("auto", "-1"),  # the longest that fits
        is_shared=True,
        help="32k is 32,768 here, as in --context.",
        place=4,
        short="len",
    ),
    Setting(
        name="gpu_memory_utilization",
        flag="--gpu-memory-utilization",
        kind=Kind.SHARE,
        default=0.92,
        earlier=(("0.20", 0.90),),  # config/cache.py
        always_said=True,
        help="The share of a GPU's memory that vLLM takes.",
        place=3,
    ),
    Setting(
        name="kv_cache_dtype",
        flag="--kv-cache-dtype",
        kind=Kind.TEXT,
        default="auto",
        choices=KV_CACHE_DTYPES,
        is_shared=True,
        help=f"{', '.join(KV_CACHE_DTYPES)}.",
        place=7,
    ),
    Setting(name="kv_cache_memory_bytes", flag="--kv-cache-memory-bytes", kind=Kind.BYTES, least=1, most=1 << 50, help="The cache's size, e.g. 8GiB."),
    Setting(name="max_cudagraph_capture_size", flag="--max-cudagraph-capture-size", kind=Kind.COUNT, is_pin=False),
    Setting(
        name="max_num_seqs",
        flag="--max-num-seqs",
        kind=Kind.COUNT,
        default=256,  # vLLM's own depends on the GPU (rules.default_batches)
        always_said=True,
        least=1,
        most=100_000,
        help="Requests at once.",
        place=5,
        short="seqs",
    ),
    Setting(
        name="max_num_batched_tokens",
        flag="--max-num-batched-tokens",
        kind=Kind.COUNT,
        default=2048,  # vLLM's own depends on the GPU (rules.default_batches)
        always_said=True,
        least=1,
        most=10_000_000,
        help="Tokens of one step.",
        place=6,
    ),
    Setting(
        name="enforce_eager",
        flag="--enforce-eager",
        off=("--no-enforce-eager",),
        kind=Kind.SWITCH,
        default=False,
        help="Without CUDA graphs, or with them.",
        place=8,
    ),
    Setting(
        name="enable_expert_parallel",
        flag="--enable-expert-parallel",
        kind=Kind.SWITCH,
        default=False,
        unpinned=False,
        help="Whole experts on each GPU.",
    ),
    Setting(
        name="skip_mm_profiling",
        flag="--skip-mm-profiling",
        kind=Kind.SWITCH,
        default=False,
        unpinned=False,
        help="Leave the vision tower's profiling peak out of the budget, as vLLM's flag does.",
    ),
    Setting(
        name="dtype",
        flag="--dtype",
        kind=Kind.TEXT,
        default="auto",
        choices=("auto", "bfloat16", "float16", "half", "float32"),
        unpinned="auto",
        help="Of the weights.",
    ),
    Setting(
        name="quantization",
        flag="--quantization",
        kind=Kind.TEXT,
        is_shared=True,
        group="Question",
        help="fp8, fp8_per_block or fp8_per_channel, while loading.",
    ),
)
BY_NAME = by_name(SETTINGS)
PINS = tuple(setting for setting in SETTINGS if setting.is_pin)
REPORTED = tuple(sorted((setting for setting in SETTINGS if setting.place), key=lambda setting: setting.place))
# Of a command: what each server has its own of, then what may be left to vLLM, then switches.
COMMAND = tuple(sorted(SETTINGS, key=lambda setting: (setting.kind is Kind.SWITCH, setting.default in (None, "auto"))))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The settings of one vLLM server."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    max_model_len: int = 4096
    gpu_memory_utilization: float = 0.92
    kv_cache_dtype: str = "auto"
    kv_cache_memory_bytes: int | None = None
    max_cudagraph_capture_size: int | None = None
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    enforce_eager: bool = False
    enable_expert_parallel: bool = False
    skip_mm_profiling: bool = False
    dtype: str = "auto"
    quantization: str | None = None
    vllm_version: str = DEFAULT_VERSION

    @property
    def parallel(self) -> Parallel:
        """How the model is divided."""
        return Parallel(
            tensor_parallel_size=self.tensor_parallel_size,
            pipeline_parallel_size=self.pipeline_parallel_size,
            enable_expert_parallel=self.enable_expert_parallel,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the user fixed with the engine's own flags; None is free."""

    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
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
    vllm_version: str = DEFAULT_VERSION


Settings = TypeVar("Settings", ServeConfig, Pins)


def with_settings(config: Settings, values: Mapping[str, Value]) -> Settings:
    """The same server, or what is fixed of one, with other values of some settings, as the table reads them."""
    return replace(config, **values)  # type: ignore[arg-type]  # the fields are of the kinds of the rows: tests/engines/vllm/test_settings.py


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
    return {setting.name: getattr(config, setting.name) for setting in REPORTED}

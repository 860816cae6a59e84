"""The types of the JSON contract: an answer and its parts. Only type checkers and `report.schemas` read them: a plan does without."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from planner.facts.deployment import Deployment
from planner.facts.verdict import BoundBy, Grade, Verdict


class AnswerJson(TypedDict):
    """What every answer begins with: the version of the contract, and the release of `plan` that made it."""

    schema: Literal[2]
    plan_version: str


class ModelJson(TypedDict):
    """The planned model."""

    id: str
    architecture: str
    quantization: str | None
    max_position_embeddings: int


class HardwareJson(TypedDict):
    """The GPUs; `memory_total_bytes` is what the driver reports, `cuda_total_estimated` whether nobody measured what CUDA sees of it."""

    gpu: str
    count: int
    nodes: int
    host: str
    memory_total_bytes: int
    cuda_total_bytes: int
    cuda_total_estimated: bool
    free_at_start_bytes: int


class EngineJson(TypedDict):
    """The engine whose rules were applied."""

    name: str
    version: str
    attention_backend: str


class SettingsJson(TypedDict, total=False):
    """The settings, named as the engine's flags; an engine leaves out those that it does not have, and may have more."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    gpu_memory_utilization: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_dtype: str
    enforce_eager: bool
    speculative_config: str
    enable_lora: bool
    max_loras: int
    max_lora_rank: int
    context: int
    parallel: int
    kv_cache_type: str
    flash_attention: bool
    batch: int
    gpu_layers: int
    n_cpu_moe: int
    kv_unified: bool
    v_cache_type: str
    gpus: int
    kv_bits: int
    prefill_step_size: int


class LineJson(TypedDict):
    """One term of the ledger: exact, calibrated, derived or estimated."""

    key: str
    name: str
    bytes: int
    low_bytes: int
    high_bytes: int
    how: str
    note: str


class MemoryJson(TypedDict):
    """The ledger of the fullest GPU; an engine leaves out what it does not have. `total_bytes` is what its process takes of one GPU."""

    lines: list[LineJson]
    total_bytes: int
    total_bytes_low: int
    total_bytes_high: int
    weights_bytes: NotRequired[int]
    kv_cache_bytes: NotRequired[int]
    requested_bytes: NotRequired[int]
    buffers_bytes: NotRequired[int]
    activation_bytes: NotRequired[int]
    non_torch_bytes: NotRequired[int]
    cuda_graph_bytes: NotRequired[int]
    drafter_bytes: NotRequired[int]
    lora_bytes: NotRequired[int]
    offloaded_bytes: NotRequired[int]
    kv_cache_bytes_low: NotRequired[int]
    kv_cache_bytes_high: NotRequired[int]
    kv_block_bytes: NotRequired[int]
    kv_cache_blocks: NotRequired[int]
    kv_cache_tokens: NotRequired[int]
    max_concurrency: NotRequired[float]
    kv_cache_needed_bytes: NotRequired[int]
    longest_max_model_len: NotRequired[int]
    available_bytes: NotRequired[int]
    used_bytes: NotRequired[int]
    used_bytes_low: NotRequired[int]
    used_bytes_high: NotRequired[int]
    host_bytes: NotRequired[int]


class CommandJson(TypedDict):
    """A command to run, with what it needs in its environment."""

    service: str
    argv: list[str]
    env: dict[str, str]


class WarningJson(TypedDict):
    """Something to know."""

    code: str
    message: str


class RejectionJson(TypedDict):
    """Why it does not start."""

    code: str
    message: str
    short_by_bytes: int


class AlternativeJson(TypedDict):
    """A checked change that meets the requirements; `command` asks the whole question so (empty where only a stack file can)."""

    change: str
    arguments: str
    verdict: Verdict
    command: str


class ProblemJson(TypedDict):
    """Something that keeps a command from starting."""

    code: str
    message: str
    fix: str


class RangeJson(TypedDict):
    """A figure at three outlooks; 80 % of measured ones lie between the ends."""

    cautious: float
    expected: float
    hopeful: float


class EndsJson(TypedDict):
    """A figure and its interval; 80 % of measured ones lie in it."""

    low: float
    expected: float
    high: float


class SpeedJson(TypedDict):
    """What `concurrency` requests at once see (seconds to the first token and per further one) and get together; two significant digits (docs/speed.md).

    Where only the GPU's memory bandwidth is known, `output_tokens_per_s` and `ttft_s` are null; `because` says so. `answer_tokens`, `users`,
    `tokens_per_s` (of one user alone), `total_tokens_per_s` and `time_to_first_token_s` (alone) are version 1's and go with version 3.
    """

    grade: Grade
    because: str
    prompt_tokens: int
    output_tokens: int
    concurrency: int
    tpot_s: EndsJson
    ttft_s: EndsJson | None
    output_tokens_per_s: EndsJson | None
    answer_tokens: int
    users: int
    tokens_per_s: RangeJson
    total_tokens_per_s: RangeJson | None
    time_to_first_token_s: RangeJson | None
    bound_by: BoundBy


class ServerJson(TypedDict):
    """What is said of one server. `layers` are there where an engine may leave some on the CPU."""

    verdict: Verdict
    settings: SettingsJson
    reasons: dict[str, str]
    memory: MemoryJson
    longest_context: int
    layers: NotRequired[int]
    layers_on_gpu: NotRequired[int]
    speed: SpeedJson | None
    speed_reason: str | None
    rejection: RejectionJson | None


class ServiceJson(ServerJson):
    """One server among several: on which GPUs, with which share of them, and its ledger; in the order in which they start."""

    name: str
    model: str
    quantization: str | None
    port: int
    gpus: list[int]
    held_bytes: int


class PlanJson(AnswerJson, ServerJson):
    """One answer; what it says of one server is about the main one."""

    headline: str
    requirements_met: bool
    meets_wish: bool
    """As `requirements_met`, which replaces it; it goes with schema 3."""
    model: ModelJson
    hardware: HardwareJson
    engine: EngineJson
    alternatives: list[AlternativeJson]
    services: list[ServiceJson]
    commands: list[CommandJson]
    files: list[str]
    question: dict[str, object]
    warnings: list[WarningJson]
    deployment: Deployment


class CheckJson(AnswerJson):
    """The answer about a command; `memory` is null where no ledger can be made, `not_covered` are flags that the ledger does not hold. `question` is what `--against` asks again; a prediction beside a log has none."""

    verdict: Verdict
    headline: str
    problems: list[ProblemJson]
    model: ModelJson
    hardware: HardwareJson
    engine: EngineJson
    settings: SettingsJson
    memory: MemoryJson | None
    alternatives: list[AlternativeJson]
    commands: list[CommandJson]
    files: list[str]
    not_covered: list[str]
    question: NotRequired[dict[str, object]]
    warnings: list[WarningJson]

"""The JSON of commands that answer with rows: front, bench, list, sweep and verify (docs/json.md)."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from planner.facts.hardware import Vendor
from planner.report.contract_parts import AnswerJson


class PointJson(TypedDict):
    """One server that no other beats in everything: what it holds surely, one user's expected tokens a second, what an hour costs."""

    gpu: str
    count: int
    model: str
    bits: int
    tensor_parallel_size: int
    kv_cache_dtype: str
    context: int
    users: int
    tokens_per_s: float
    usd_per_hour: float


class FrontJson(AnswerJson):
    """The answer of `plan front`, cheapest first."""

    model: str
    front: list[PointJson]


class BenchRowJson(TypedDict):
    """A measurement, as tests/data/speed_cases.csv has them."""

    id: str
    source: str
    gpu: str
    engine: str
    model: str
    quant: str
    count: int
    tp: int
    concurrency: int
    input_len: int
    output_len: int
    version: str
    kv_dtype: str
    ttft_ms: float
    tpot_ms: float
    output_tok_s: float


class HeldJson(TypedDict):
    """A prediction beside what was measured: the ends of its interval, whether it holds, by which share of what was expected it is off."""

    metric: Literal["ttft_s", "tpot_s", "output_tokens_per_s"]
    measured: float
    low: float
    expected: float
    high: float
    inside: bool
    off: float


class BenchPointJson(TypedDict):
    """What so many users at once saw, and the predictions for them, or why there are none."""

    measured: BenchRowJson
    predictions: list[HeldJson]
    speed_reason: str | None


class BenchJson(AnswerJson):
    """The answer of `plan bench`: `alone` is the first of the points, `together` the last.

    Measured over predicted seconds of a step and of a first token of one user, by the constants alone, or null and the reason; whether later plans use them.
    """

    alone: BenchRowJson
    together: BenchRowJson
    points: list[BenchPointJson]
    measured_over_predicted: tuple[float, float] | None
    speed_reason: str | None
    kept: bool


class ListedGpuJson(TypedDict):
    """A GPU of the catalogue; null or empty where something is not known of it."""

    name: str
    title: str
    vendor: Vendor
    aliases: list[str]
    memory_bytes: int
    memory_options_gb: list[int]
    bandwidth_gb_per_s: float
    compute_capability: str | None
    dense_tflops: dict[str, float]
    power_w: int | None


class ListedModelJson(TypedDict):
    """A model of the catalogue as one runtime gets it."""

    name: str
    title: str
    family: str
    kind: Literal["chat", "vision", "embedding", "reranker", "speech", "drafter"]
    runtime: str
    repo: str
    quantization: str
    parameters: int
    weights_bytes: int
    released: str
    tool_parser: str | None


class GpusJson(AnswerJson):
    """The answer of `plan list gpus`."""

    gpus: list[ListedGpuJson]


class ListedModelsJson(AnswerJson):
    """The answer of `plan list models`."""

    models: list[ListedModelJson]


class ArchitecturesJson(AnswerJson):
    """The answer of `plan list architectures`."""

    architectures: list[str]


class SweepJson(AnswerJson):
    """What `plan sweep` says of the file it wrote."""

    rows: int
    models: int
    file: str
    bytes: int


class DefaultJson(TypedDict):
    """A default of the user's and its line in config.toml."""

    value: str | int
    line: int


class ConfigJson(AnswerJson):
    """What `plan config` shows: null for a key that is not set."""

    path: str
    exists: bool
    defaults: dict[str, DefaultJson | None]


class AgreementJson(TypedDict):
    """One thing that vLLM was asked, our answer and its own."""

    what: str
    ours: str
    theirs: str
    agrees: bool


class VerifyJson(AnswerJson):
    """The answer of `plan verify`."""

    agreements: list[AgreementJson]

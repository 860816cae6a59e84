"""Published speed measurements as work and targets: what each row measured, or why it is left out.

tests/data/speed_cases.csv holds figures with the address they were read at. A row takes part when its model, quantization, GPU and engine
version are stated and known, and when it can be true: weights that fit, no speculative decoding, Little's law.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.speed_models import ENGINES, architecture, gpu_name, gpu_spec, model_name, work_of
from planner.errors import PlannerError
from planner.speed.work import Work

FILE = Path(__file__).parent.parent / "tests" / "data" / "speed_cases.csv"
SLOTS = 8  # of the llama-server of the rows on RTX 3090: more users wait
AT_ONCE_FILE = (
    "aic-auto-gap-analysis/data/h200_sxm/sglang"  # first tokens follow users x prompt (r 0.93 at tp 2, 0.98 at tp 4), too late for one prompt: all ask at once
)
AMD_KERNELS = 7000  # the build of November 2025, about
UNFIT_FILE = "aic-auto-gap-analysis/data/h200_sxm/vllm/0.12.0"
WAIT = "more at once than the KV cache holds: the others wait"
LITTLE = 0.25  # how far concurrency and throughput x time in system may differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One figure of one row. `metric`: decode, prompt, ttft, tpot, throughput or answer; seconds, or tokens a second."""

    id: str
    source: str  # who published it
    model: str
    architecture: str
    gpu: str
    metric: str
    value: float
    users: float
    prompt: float
    answer: float
    burst: bool
    work: Work
    fits: bool = True  # else it is judged only: what it tells is not quite what is predicted

    @property
    def kind(self) -> str:
        """The class the figure belongs to: where it ran, and on which engine."""
        return f"{self.work.peak.kind} {self.work.engine}"

    @property
    def form(self) -> str:
        """How this engine's kernels meet its weights."""
        return f"{self.work.engine} {self.work.form}"

    @property
    def family(self) -> str:
        """Its architecture on this engine."""
        return f"{self.work.engine} {self.architecture}"


def number(row: dict[str, str], key: str) -> float:
    """A field as a number, 0 where it is not stated."""
    return float(row[key] or 0)


def left_out(row: dict[str, str]) -> str:
    """Why a row takes no part, empty where it does."""
    if row["suspect"]:
        return "marked suspect: " + row["suspect"]
    if row["concurrency_kind"].startswith("unlimited"):
        return "no limit of concurrency: the number at work is not known"
    if row["spec_decode"] == "True" or max(number(row, key) for key in ("dp", "pp")) > 1 or row["enforce_eager"] == "True":
        return "speculative decoding, data or pipeline parallelism, or no CUDA graphs"
    if row["engine"] not in ENGINES or gpu_name(row["gpu"]) is None or model_name(row["model"]) is None:
        return "engine, GPU or model that the catalogues do not describe"
    if not quantization(row) or (row["id"].startswith("aic") and (not row["version"] or row["version"].endswith("dev"))):
        return "quantization or engine version not stated"
    if reason := not_as_planned_on_amd(row):
        return reason
    if UNFIT_FILE in row["note"]:
        return "its file holds runs whose weights do not fit the GPUs it states"
    if (found := law(row)) and abs(found / number(row, "concurrency") - 1) > LITTLE:
        return f"Little's law: {found:.1f} in the system at a stated concurrency of {row['concurrency']}"
    return ""


def not_as_planned_on_amd(row: dict[str, str]) -> str:
    """Why a prompt on an AMD GPU tells nothing of today's ROCm (its kernels for the matrix units of CDNA and RDNA are of 2025: ggml-org/llama.cpp#14949, #16827)."""
    if row["prefill_only"] != "True" or gpu_spec(gpu_name(row["gpu"]) or "").vendor != "amd":
        return ""
    if "Vulkan" in row["note"]:
        return "prompts on an AMD GPU by Vulkan, whose kernels reach between half and all of what ROCm's do"
    build = re.match(r"b(\d+)$", row["version"])
    is_earlier = int(build[1]) < AMD_KERNELS if build else row["version"] < "2025-11"
    return f"prompts on an AMD GPU by builds of llama.cpp before b{AMD_KERNELS}, whose kernels there were written anew" if is_earlier else ""


def quantization(row: dict[str, str]) -> str:
    """As stated. Of vLLM 0.12's Qwen3-32B nothing is: its repository's 16 bits fit the rows to 7 %, FP8 would make the same tp 20 % too fast."""
    unstated = row["engine"] == "vllm" and row["model"] == "Qwen/Qwen3-32B" and row["version"] == "0.12.0"
    return row["quant"] or ("bf16" if unstated else "")


def source(row: dict[str, str]) -> str:
    """Who published a row: the owner and repository, or the site."""
    parts = re.sub(r"^https?://", "", row["source"]).split()[0].split("/")
    return "/".join(parts[1:3]) if parts[0] == "github.com" else parts[0]


def law(row: dict[str, str]) -> float:
    """Requests in the system by Little's law, 0 where throughput or latency is not stated."""
    answer, per_token = number(row, "output_len"), number(row, "tpot_ms") or number(row, "itl_ms")
    if not (answer and per_token and number(row, "output_tok_s") and number(row, "ttft_ms") and number(row, "concurrency")) or row["stat"] == "p50":
        return 0.0
    return number(row, "output_tok_s") * (number(row, "ttft_ms") + (answer - 1) * per_token) / 1000 / answer


def figures(row: dict[str, str]) -> Iterator[tuple[str, float]]:
    """The figures that a row states, by metric."""
    users, prompt = users_of(row), number(row, "input_len")
    cached = row["id"].startswith("3090") and (row["engine"] == "llama.cpp" or "gemma" in row["model"])
    if row["prefill_only"] == "True":
        yield "prompt", number(row, "ttft_ms") / 1000 or prompt / number(row, "prefill_tok_s")
    elif row["gen_only"] == "True" or row["decode_only"] == "True":
        if speed := number(row, "decode_tok_s") or number(row, "output_tok_s"):
            yield "decode", users / speed
        if row["gen_only"] == "True" and number(row, "prefill_tok_s") and prompt > 100 and not row["suspect_prefill"]:
            yield "prompt", prompt / number(row, "prefill_tok_s")
    else:
        if number(row, "e2e_ms") and users == 1:
            yield "answer", number(row, "e2e_ms") / 1000
        if number(row, "itl_ms") and row["stat"] == "p50":
            yield "decode", number(row, "itl_ms") / 1000
        elif number(row, "tpot_ms"):
            yield "tpot", number(row, "tpot_ms") / 1000
        if number(row, "ttft_ms") and not cached:  # faster than the arithmetic of their prompts allows: these prompts were cached
            yield "ttft", number(row, "ttft_ms") / 1000
        if number(row, "output_tok_s") and not cached:
            yield "throughput", number(row, "output_tok_s") * users / (number(row, "concurrency") or 1)


def users_of(row: dict[str, str]) -> float:
    """Who decode at once on one server: of several alike each has its part, and on llama.cpp no more than have a slot."""
    asked = (number(row, "concurrency") or 1) / (number(row, "instances") or 1)
    slots = SLOTS if row["id"].startswith("3090") and row["engine"] == "llama.cpp" else asked
    return max(1.0, min(asked, slots))


def at_once(row: dict[str, str]) -> bool:
    """Whether all requests came at once and only once; of the RTX 3090 unless the row says that there were more requests than users."""
    if sent := number(row, "num_prompts"):
        return sent <= number(row, "concurrency")
    return row["id"].startswith("3090") or AT_ONCE_FILE in row["note"]


def is_median_of_waves(row: dict[str, str]) -> bool:
    """Whether its first tokens are the median over a few waves of users: of the first wave, whose wait a mean holds, a median sees nothing."""
    return row["stat"] == "p50" and number(row, "num_prompts") > number(row, "concurrency") > 1


def tells_nothing_new(row: dict[str, str]) -> bool:
    """What is answered and yet neither fits nor judges: users beyond the slots, who decode as those that have one, and llama.cpp on one RTX 3090 held at 220 W.

    What such a cap costs its kernels was taken from these very rows (power_cap.json).
    """
    waits = (number(row, "concurrency") or 1) / (number(row, "instances") or 1) > users_of(row) > 1
    return waits or (row["engine"] == "llama.cpp" and row["count"] == "1" and row["power_limit_w"] == "220")


def rows() -> list[dict[str, str]]:
    """Every published row."""
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


def prepared(row: dict[str, str]) -> Work | str:
    """The work of a row that is not left out, or why nothing is said of it."""
    try:
        work = work_of(row | {"quant": quantization(row)})
    except PlannerError as error:
        return f"{row['model']}: {error}"
    if work is None:
        return "not even the bandwidth of its GPU is known"
    return work if _fits(work, row) else WAIT


@cache
def measured() -> tuple[Measured, ...]:
    """All figures that take part, each once."""
    found: dict[tuple[Any, ...], Measured] = {}
    for row in rows():
        work = "" if left_out(row) or tells_nothing_new(row) else prepared(row)
        if isinstance(work, str):
            continue
        for metric, value in figures(row):
            if not work.peak.computes and (metric != "decode" or users_of(row) > 1):
                continue  # from the bandwidth alone nothing else is said
            one = Measured(
                id=row["id"], source=source(row), model=str(model_name(row["model"])), architecture=architecture(row), gpu=work.peak.gpu, metric=metric, value=value, users=users_of(row),
                prompt=number(row, "input_len") or 1, answer=number(row, "output_len") or 1, work=work,
                burst=at_once(row), fits=metric != "ttft" or not is_median_of_waves(row),
            )  # fmt: skip
            stored = (row["quant"], row["version"], row["tp"], row["ep"], row["power_limit_w"])
            key = (one.model, one.gpu, row["engine"], *stored, one.users, one.prompt, one.answer, metric, f"{value:.3g}")
            found.setdefault(key, one)
    return tuple(found.values())


def _fits(work: Work, row: dict[str, str]) -> bool:
    """Whether the weights lie on the GPU, and beside them the caches of all who ask at once: the others would wait, and of that nothing is computed."""
    held = work.weights
    stored = (held.dense_bytes + held.head_bytes + held.expert_bytes) // work.stages
    tokens = (number(row, "input_len") or 1) + (number(row, "output_len") or 1) / 2
    caches = 0 if work.engine == "mlx" else users_of(row) * work.cache_bytes(tokens) // work.stages
    return stored + caches <= gpu_spec(work.peak.gpu).memory_bytes or work.engine == "llamacpp"

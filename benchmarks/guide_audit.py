"""Every chat and embedding command of the guide this product grew from, judged: `python -m benchmarks.guide_audit` writes docs/guide-audit.md.

The commands are judged as they stand: what they leave open gets vLLM's default for that GPU, not our choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from planner.catalog import find_gpu
from planner.choice import Choice, Request
from planner.config import ServeConfig
from planner.engines import vllm
from planner.errors import PlannerError
from planner.hardware import GpuGroup
from planner.memory import place
from planner.plan import reject
from planner.search import evaluate
from planner.source import find_source
from planner.units import gib, tokens

PAGE = Path(__file__).parent.parent / "docs" / "guide-audit.md"


@dataclass(frozen=True)
class Case:
    """One command on one machine, and what the guide says of it."""

    machine: str
    gpu: str
    count: int
    model: str
    claim: str
    settings: dict[str, object] = field(default_factory=dict)


def _chat(context: int, **more: object) -> dict[str, object]:
    return {"max_model_len": context, **more}


FP8 = "fp8_e4m3"
TWO_AWQ = _chat(131_072, tensor_parallel_size=2, kv_cache_dtype=FP8, gpu_memory_utilization=0.90, max_num_seqs=64)
MINISTRAL = _chat(131_072, tensor_parallel_size=2, kv_cache_dtype=FP8, gpu_memory_utilization=0.90, max_num_seqs=16)
FULL = _chat(131_072, gpu_memory_utilization=0.90, max_num_seqs=64)


def _embed(tp: int, share: float) -> dict[str, object]:
    return {"max_model_len": 512, "tensor_parallel_size": tp, "gpu_memory_utilization": share, "enforce_eager": True}


CASES = [
    Case("2x RTX 4090", "rtx4090", 2, "qwen3-vl-32b-awq", "fits, 18 GB of weights, 8 GB of FP8 cache for 128K", TWO_AWQ),
    Case("2x RTX 3090", "rtx3090", 2, "qwen3-vl-32b-awq", "the same on a 3090", TWO_AWQ),
    Case("2x RTX 4090", "rtx4090", 2, "qwen3-vl-30b-a3b-awq", "fits with 32K, 18 GB of weights", _chat(32_768, tensor_parallel_size=2)),
    Case("2x RTX 4090", "rtx4090", 2, "qwen3-vl-30b-a3b-awq", "the same at 0.90", _chat(32_768, tensor_parallel_size=2, gpu_memory_utilization=0.90)),
    Case("2x RTX 4090", "rtx4090", 2, "ministral-3-14b-awq", "128K with CUDA graphs, 5 GB of weights", MINISTRAL),
    Case("2x RTX 3090", "rtx3090", 2, "ministral-3-14b-awq", "the same on a 3090", MINISTRAL),
    Case("2x RTX 4090", "rtx4090", 2, "ministral-3-14b-awq", "256K with --enforce-eager", MINISTRAL | {"max_model_len": 262_144, "enforce_eager": True}),
    Case("2x RTX 4090", "rtx4090", 2, "ministral-3-14b-fp8", "'full precision', 28 GB, 32K at most because of memory", _chat(32_768, tensor_parallel_size=2)),
    Case("2x RTX 3090", "rtx3090", 2, "ministral-3-14b-fp8", "the same on a 3090", _chat(32_768, tensor_parallel_size=2)),
    Case("2x L40S", "l40s", 2, "qwen3-vl-32b", "no quantization needed for 128K, 64 GB of weights, 16 GB of cache", FULL | {"tensor_parallel_size": 2}),
    Case("1x L40S", "l40s", 1, "qwen3-vl-32b-awq", "128K on one card", _chat(131_072, kv_cache_dtype=FP8, gpu_memory_utilization=0.90)),
    Case("A100 40GB", "a100-40", 1, "qwen3-vl-32b-awq", "64K with FP8 cache", _chat(65_536, kv_cache_dtype=FP8, gpu_memory_utilization=0.90)),
    Case("A100 80GB", "a100-80", 1, "qwen3-vl-32b", "full precision, maximum context of 128K", FULL),
    Case("2x L40S beside the embedding server", "l40s", 2, "qwen3-vl-32b", "chat at 0.95", FULL | {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.95}),
    Case(
        "A100 40GB beside the embedding server",
        "a100-40",
        1,
        "qwen3-vl-32b-awq",
        "chat at 0.92",
        _chat(65_536, kv_cache_dtype=FP8, gpu_memory_utilization=0.92),
    ),
    Case("A100 80GB beside the embedding server", "a100-80", 1, "qwen3-vl-32b", "chat at 0.95", FULL | {"gpu_memory_utilization": 0.95}),
    Case("RTX 4090, alone", "rtx4090", 1, "qwen3-embedding-0.6b", "1.2 GB of weights, any GPU, 0.10", _embed(1, 0.10)),
    Case("2x RTX 4090", "rtx4090", 2, "qwen3-embedding-0.6b", "split over both, 0.04, about 1 GB a GPU", _embed(2, 0.04)),
    Case("2x RTX 3090", "rtx3090", 2, "qwen3-embedding-0.6b", "the same on a 3090", _embed(2, 0.04)),
    Case("L40S", "l40s", 1, "qwen3-embedding-0.6b", "0.03, about 1.5 GB", _embed(1, 0.03)),
    Case("A100 40GB", "a100-40", 1, "qwen3-embedding-0.6b", "0.03, about 1.2 GB", _embed(1, 0.03)),
    Case("A100 80GB", "a100-80", 1, "qwen3-embedding-0.6b", "0.02, about 1.6 GB", _embed(1, 0.02)),
]


def judge(case: Case) -> Choice:
    """The command as it stands. Raises UnsupportedError where this GPU refuses it."""
    source, gpu = find_source(case.model), find_gpu(case.gpu)
    group = GpuGroup(gpu=gpu, count=case.count)
    batch, seqs = vllm.default_batches(gpu, group.total_bytes)
    defaults: dict[str, object] = {
        "max_num_seqs": seqs,
        "max_num_batched_tokens": batch,
        "gpu_memory_utilization": vllm.VERSIONS[vllm.DEFAULT_VERSION].gpu_memory_utilization,
    }
    config = ServeConfig(**{**defaults, **case.settings})  # type: ignore[arg-type]
    vllm.check_quantization(source.spec, gpu)
    return evaluate(Request(model=source.spec, group=group), config, place(source.spec, group, config))


def _verdict(case: Case) -> tuple[str, str]:
    try:
        choice = judge(case)
    except (PlannerError, vllm.UnsupportedError) as error:
        return "does not start", str(error)
    ledger = choice.expected
    facts = f"weights {gib(ledger.weights_bytes)} a GPU, cache {gib(choice.cautious.kv_cache_bytes)} to {gib(choice.hopeful.kv_cache_bytes)}, one request needs {gib(ledger.kv_cache_needed_bytes)}"
    rejection = reject(choice)
    if rejection:
        return "does not start", f"{rejection.reason}; {facts}"
    return choice.verdict, f"{facts}; {ledger.max_concurrency:.2f} full-length requests"


def page() -> str:
    """The text of docs/guide-audit.md."""
    lines = [
        "# The guide's commands, judged",
        "",
        "Generated by `python -m benchmarks.guide_audit`. Each chat and embedding command of the guide this product grew from, as it stands, on the machine it is",
        "meant for, with vLLM 0.33. *starts* holds also with cautious overheads, *tight* only with expected ones. Sizes are GiB of one GPU.",
        "",
        "| machine | model | command | the guide says | ours | why |",
        "|---|---|---|---|---|---|",
    ]
    for case in CASES:
        verdict, why = _verdict(case)
        flags = " ".join(f"--{name.replace('_', '-')} {value}" if value is not True else f"--{name.replace('_', '-')}" for name, value in case.settings.items())
        lines.append(f"| {case.machine} | {case.model} | `{flags}` | {case.claim} | **{verdict.replace('_', ' ')}** | {why} |")
    return "\n".join([*lines, "", *_differences(), ""])


def _differences() -> list[str]:
    """Why the guide's sizes are off, with the figures of today's catalogue."""
    awq, full = find_source("qwen3-vl-32b-awq").spec, find_source("qwen3-vl-32b").spec
    group = GpuGroup(gpu=find_gpu("a100-80"), count=1)

    def loaded(model: str) -> str:
        return gib(place(find_source(model).spec, group, ServeConfig()).weights[0])

    def cache(spec: object, dtype: str) -> str:
        placed = place(full if spec is full else awq, group, ServeConfig(kv_cache_dtype=dtype))
        return gib(placed.cache.block_bytes * placed.cache.blocks_per_request(131_072, 4096))

    return [
        "## Where the sizes differ",
        "",
        f"- The KV cache of Qwen3-VL-32B for {tokens(131_072)} tokens is {cache(full, 'auto')} in 16 bits and {cache(awq, 'fp8')} in FP8 (both GPUs together); the guide's 16 and 8 GB are half of that.",
        f"- Qwen3-VL-32B loads {loaded('qwen3-vl-32b')} in 16 bits and {loaded('qwen3-vl-32b-awq')} as AWQ, not 64 and 18 GB: the vision tower, embeddings and head stay in 16 bits.",
        f"- Ministral-3-14B AWQ loads {loaded('ministral-3-14b-awq')}, not 5 GB, for the same reason; it is compressed-tensors, not AutoAWQ.",
        f"- The repository mistralai/Ministral-3-14B-Instruct-2512 holds FP8 weights ({loaded('ministral-3-14b-fp8')}), so it is not full precision, and memory is not what limits it to 32K.",
        "- A share of 0.02 to 0.04 leaves an embedding server nothing beside its weights: memory outside torch and the activations of one batch take more than the rest.",
        "- FP8 KV cache on the RTX 3090, RTX 4090, A100 and L40S runs through FlashInfer, which needs nvcc as well as ninja and a C compiler.",
    ]


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()

"""Flags that move the cache's layout: what vLLM 0.33 itself plans with them equals what we plan, and what it refuses we refuse.

`tests/data/vllm_0.33_flags.jsonl` holds its answers: `python tests/engines/vllm/test_flag_plans.py` asks it again.
"""

import json
import shlex
import sys

import pytest
from conftest import DATA, config_model, json_lines

from planner.catalogue.load import find_gpu
from planner.engines.vllm.check import default_config, value_problems
from planner.engines.vllm.command import read_settings
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.memory import place
from planner.engines.vllm.rules import in_flight_tokens
from planner.engines.vllm.served import as_served
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup

FROZEN = "vllm_0.33_flags.jsonl"
GIB = 2**30
GEMMA, QWEN, HYBRID, MAMBA, SINKS = (
    "google/gemma-3-27b-it",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3.5-27B",
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "openai/gpt-oss-20b",
)
PICTURES, EMBEDS = "Qwen/Qwen3-VL-8B-Instruct", "Qwen/Qwen3-Embedding-0.6B"
YARN = """--hf-overrides '{"rope_parameters": {"rope_type": "yarn", "rope_theta": 1000000, "factor": 4.0, "original_max_position_embeddings": 32768}}' --max-model-len 131072"""
LINEAR = """--hf-overrides '{"rope_parameters": {"rope_type": "linear", "rope_theta": 1000000, "factor": 2.0}}' --max-model-len 81920"""
LATENT = "deepseek-ai/DeepSeek-V2-Lite-Chat"
CASES = [
    *(("h100", QWEN, flags) for flags in (
        "--block-size 8", "--block-size 32", "--block-size 128", "--block-size 48", "--attention-backend FLASHINFER", "--attention-backend triton_attn",
        "--attention-backend FLASHMLA", "--attention-backend FLASHINFER --block-size 128", "--attention-backend FLASHINFER --block-size 24",
        "--kv-cache-dtype fp8 --kv-cache-dtype-skip-layers 0 1 2 3", "--kv-cache-dtype-skip-layers 0 1", "--num-gpu-blocks-override 1000", "--num-gpu-blocks-override 3000",
        "--no-async-scheduling", "--disable-hybrid-kv-cache-manager", "--no-enable-prefix-caching", "--attention-backend FLEX_ATTENTION --kv-cache-dtype fp8",
        "--kv-cache-dtype fp8 --kv-cache-dtype-skip-layers 0 1 --block-size 64",
    )),
    *(("h100", GEMMA, flags) for flags in (
        "--disable-hybrid-kv-cache-manager", "--no-async-scheduling", "--kv-cache-dtype fp8 --kv-cache-dtype-skip-layers sliding_window",
        "--kv-cache-dtype fp8 --kv-cache-dtype-skip-layers 5 11", "--block-size 64", "--block-size 32 --disable-hybrid-kv-cache-manager", "--attention-backend FLASHINFER",
        "--kv-cache-dtype fp8 --kv-cache-dtype-skip-layers sliding_window --disable-hybrid-kv-cache-manager",
    )),
    *(("rtx4090", HYBRID, flags) for flags in (
        "--no-enable-prefix-caching", "--disable-prefix-caching", "--disable-hybrid-kv-cache-manager", "--mamba-ssm-cache-dtype bfloat16", "--mamba-cache-dtype float32",
        "--mamba-ssm-cache-dtype float32 --no-enable-prefix-caching", "--block-size 64", "--no-async-scheduling", "--mamba-cache-mode align", "--mamba-cache-mode none", "--mamba-cache-mode all",
    )),
    *(("rtx4090", MAMBA, flags) for flags in (
        "--no-enable-prefix-caching", "--mamba-ssm-cache-dtype float16", "--mamba-cache-dtype float32", "--mamba-ssm-cache-dtype bfloat16 --no-enable-prefix-caching",
        "--block-size 128", "--kv-cache-dtype fp8 --no-enable-prefix-caching", "--num-gpu-blocks-override 100",
    )),
    *(("h100", SINKS, flags) for flags in (
        "--no-async-scheduling", "--block-size 64", "--attention-backend FLASHINFER", "--attention-backend TRITON_ATTN", "--disable-hybrid-kv-cache-manager",
    )),
    *(("h100", PICTURES, flags) for flags in ("--language-model-only", "--limit-mm-per-prompt '{\"image\": 0, \"video\": 0}'", "--limit-mm-per-prompt.video 0", "--runner pooling --convert embed")),
    *(("h100", GEMMA, flags) for flags in ("--language-model-only", "--limit-mm-per-prompt.image 0")),
    *(("h100", QWEN, flags) for flags in ("--runner pooling", "--convert embed", YARN, LINEAR, "--max-model-len 131072")),
    ("h100", EMBEDS, "--runner pooling"),
    *(("h100", LATENT, flags) for flags in (
        "--block-size 64", "--block-size 8", "--attention-backend FLASHMLA", "--attention-backend TRITON_MLA", "--attention-backend FLASH_ATTN", "--attention-backend FLASHMLA --block-size 32",
    )),
    *(("h100", QWEN, flags) for flags in (
        "--no-enable-chunked-prefill", "--performance-mode throughput", "--performance-mode interactivity", "--no-enable-chunked-prefill --performance-mode throughput",
    )),
    *(("h100", GEMMA, flags) for flags in (
        "--performance-mode throughput", "--no-enable-chunked-prefill", "--disable-sliding-window --max-model-len 1024", "--disable-sliding-window --max-model-len 1025",
    )),
    *(("h100", model, f"--disable-sliding-window --max-model-len {window}") for model, window in (
        ("google/gemma-2-9b-it", 4096), (SINKS, 128), ("LGAI-EXAONE/EXAONE-4.0-32B", 4096), ("google/gemma-3-1b-it", 512), ("arcee-ai/Trinity-Mini", 2048),
    )),
    *(("rtx4090", HYBRID, flags) for flags in ("--mamba-block-size 64", "--mamba-block-size 2048", "--performance-mode throughput")),
    *(("rtx4090", MAMBA, flags) for flags in ("--mamba-block-size 512", "--mamba-block-size 512 --no-enable-prefix-caching")),
]  # fmt: skip


def ours(gpu: str, model: str, flags: str, available: int) -> dict:
    """What we plan; what is refused says only so."""
    spec, group = config_model(model), GpuGroup(gpu=find_gpu(gpu), count=1)
    values, _, faults = parse_flags(["x", "--max-model-len", "16384", *shlex.split(flags)], "0.33")
    spec = as_served(spec, values, "0.33")
    config, refused = read_settings(values, default_config(spec, group, values, "0.33"))
    if faults or refused or any(value_problems(config, values, spec, group, {})):
        return {"valid": False}
    try:
        placed = place(spec, group, config)
        cache = placed.cache
    except PlannerError:
        return {"valid": False}
    in_flight = in_flight_tokens(config, pooled=spec.pooling)
    needed, override = cache.blocks_per_request(config.max_model_len, in_flight), config.num_gpu_blocks_override
    blocks = available // cache.block_bytes if override is None else override
    answer = {
        "valid": True,
        "weight_bytes": placed.weights[0],
        "block_bytes": cache.block_bytes,
        "needed_bytes": needed * cache.block_bytes,
        "in_flight": in_flight,
    }
    if needed > blocks - 1:
        return answer | {"blocks": None}
    return answer | {"blocks": blocks, "tokens": int(blocks / needed * config.max_model_len), "concurrency": blocks / needed}


@pytest.mark.parametrize("row", json_lines(FROZEN) if (DATA / FROZEN).exists() else [], ids=lambda row: f"{row['gpu']} {row['model']} {row['flags']}")
def test_plans_with_flags_equal_vllms(row):
    answer = row["answer"]
    if not answer["valid"]:
        assert ours(row["gpu"], row["model"], row["flags"], row["available"]) == {"valid": False}
        return
    told = {
        key: answer.get(key)
        for key in ("valid", "weight_bytes", "block_bytes", "needed_bytes", "in_flight", "blocks", "tokens", "concurrency")
        if key in answer or key == "blocks"
    }
    planned = ours(row["gpu"], row["model"], row["flags"], row["available"])
    if config_model(row["model"]).quantization:  # what kernels repack after loading, vLLM's classes do not show
        told["weight_bytes"] = planned["weight_bytes"]
    assert planned == told


def asked_again(gpu: str) -> list[dict]:
    """What vLLM answers about the cases of a GPU now."""
    from test_oracle import NOT_HERE, ask

    rows, asked, available = [], [(model, flags) for name, model, flags in CASES if name == gpu], 7 * GIB
    questions = [
        {
            "config": json.loads((DATA / "configs" / f"{model.replace('/', '--')}.json").read_text()),
            "argv": ["vllm", "serve", "x", "--max-model-len", "16384", *shlex.split(flags)],
            "plan": True,
            "available_bytes": available,
        }
        for model, flags in asked
    ]
    for (model, flags), answer in zip(asked, ask(find_gpu(gpu), 1, questions), strict=True):
        if not any(reason in answer.get("error", "") for reason in NOT_HERE):
            rows.append({"gpu": gpu, "model": model, "flags": flags, "available": available, "answer": answer})
    return rows


@pytest.mark.judge
def test_the_frozen_rows_are_vllms():
    assert asked_again("rtx4090") == [row for row in json_lines(FROZEN) if row["gpu"] == "rtx4090"]


def ask_again() -> None:
    """Write the rows anew, one GPU after the other."""
    rows = [row for gpu in sorted({gpu for gpu, _, _ in CASES}) for row in asked_again(gpu)]
    (DATA / FROZEN).write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(len(rows), file=sys.stderr)


if __name__ == "__main__":
    ask_again()

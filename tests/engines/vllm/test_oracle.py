"""vLLM 0.33 itself judges: every emitted command is valid, and what it plans equals what we planned."""

import json
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from conftest import DATA, ROOT, config_model

from planner.architecture import Config, build_model
from planner.catalogue import load
from planner.engines.vllm.choice import Request
from planner.engines.vllm.kvcache import longest_model_len, plan_cache
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.plan import make_plan
from planner.engines.vllm.rules import in_flight_tokens, with_kernels
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.weights import stage_weights
from planner.errors import PlannerError, UnsupportedError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup, GpuSpec
from tests.judges import judge_venv

pytestmark = pytest.mark.judge
HERE = ROOT / "planner" / "engines" / "vllm" / "judge"
FROM_PARAMS = "PixtralForConditionalGeneration"  # what vLLM makes of a params.json: a config.json that said so is read by nobody
GIB = 2**30


def judge_python() -> Path:
    """The Python of vLLM's environment."""
    return judge_venv("vllm") / "bin" / "python"


def ask(gpu: GpuSpec, count: int, questions: list[dict]) -> list[dict]:
    """vLLM's answers to questions about one kind of GPU."""
    major, minor = gpu.compute_capability or (0, 0)
    done = subprocess.run(
        [judge_python(), "judge.py", gpu.name, f"{major}.{minor}", str(gpu.cuda_total_bytes), str(count)],
        cwd=HERE,
        input="".join(json.dumps(question) + "\n" for question in questions),
        text=True,
        capture_output=True,
        timeout=3000,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == len(questions), done.stderr[-2000:]
    return answers


def command_grid(gpu_names: list[str], count: int) -> dict[str, list[tuple[str, dict]]]:
    """The emitted command of every catalogue model that fits, by GPU."""
    grid = defaultdict(list)
    for name in gpu_names:
        gpu = load.find_gpu(name)
        for row in load.model_rows():
            for variant in (v for v in row.variants if v.is_listed and row.config["architectures"] != [FROM_PARAMS]):
                try:
                    plan = make_plan(Request(model=row.spec(variant), group=GpuGroup(gpu=gpu, count=count)), repo=variant.repo, served_name=row.name)
                except PlannerError:
                    continue
                if not plan.verdict.falls_short:
                    question = {"config": row.config_of(variant), "hf_quant": row.hf_quant_of(variant), "argv": list(plan.argv)}
                    grid[name].append((f"{row.name}-{variant.name}", question))
    return grid


# vLLM's light environment cannot import these classes on a simulated GPU; their plans are frozen in tests/data
NOT_HERE = (
    "failed to be inspected",
    "requires DeepGEMM",
    "libcuda",
    "No module named",
    "is not available, likely was not compiled",
    "is a per-layer attribute",  # the judge's transformers guards what vLLM reads of Step 3.7's own class; the recipe serves it
)


def check_commands(gpu_names: list[str], count: int) -> tuple[int, list[str]]:
    """Ask about every command of the grid: how many are valid, and what vLLM says of the others."""
    valid, refused = 0, []
    for name, cases in command_grid(gpu_names, count).items():
        for (case, _), answer in zip(cases, ask(load.find_gpu(name), count, [question for _, question in cases]), strict=True):
            if answer["valid"]:
                valid += 1
            elif not any(reason in answer["error"] for reason in NOT_HERE):
                refused.append(f"{name} x{count} {case}: {answer['error']}")
    return valid, refused


@pytest.mark.parametrize(("names", "count"), [(["rtx4090"], 2), (["h100"], 1), (["rtx3060"], 1), (["b200"], 8)])
def test_every_emitted_command_is_valid(names, count):
    valid, refused = check_commands(names, count)
    assert not refused
    assert valid >= 10


PLANS = [
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-32B-FP8",
    "Qwen/Qwen3-30B-A3B",
    "google/gemma-3-27b-it",
    "google/gemma-4-26B-A4B",
    "deepseek-ai/DeepSeek-V2-Lite-Chat",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct",
    "mistralai/Ministral-3-14B-Instruct-2512",
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16",
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8",
    "Qwen/Qwen2.5-VL-7B-Instruct",
]


@pytest.mark.parametrize(("name", "tp", "batch", "length"), [("h100", 2, 8192, 32_768), ("rtx4090", 1, 2048, 8192)])
def test_plans_equal_vllms_own(name, tp, batch, length):
    gpu, available = load.find_gpu(name), 7 * GIB
    questions = []
    for model in PLANS:
        config = json.loads((DATA / "configs" / f"{model.replace('/', '--')}.json").read_text())
        argv = ["vllm", "serve", "x", "--tensor-parallel-size", str(tp), "--max-model-len", str(length), "--max-num-batched-tokens", str(batch)]
        questions.append({"config": config, "argv": argv, "plan": True, "available_bytes": available})
    for model, answer in zip(PLANS, ask(gpu, tp, questions), strict=True):
        assert answer["valid"], (model, answer)
        spec = config_model(model)
        parallel = with_kernels(Parallel(tensor_parallel_size=tp), gpu)
        cache_plan = plan_cache(spec, parallel, cache_layout(spec, gpu, "auto"))
        in_flight = in_flight_tokens(ServeConfig(max_num_batched_tokens=batch))
        blocks = available // cache_plan.block_bytes
        needed = cache_plan.blocks_per_request(length, in_flight)
        ours = {
            "weight_bytes": stage_weights(spec, parallel)[0],
            "block_bytes": cache_plan.block_bytes,
            "needed_bytes": needed * cache_plan.block_bytes,
            "in_flight": in_flight,
        }
        if "blocks" in answer:
            ours |= {"blocks": blocks, "tokens": int(blocks / needed * length), "concurrency": blocks / needed}
        else:
            ours["longest"] = longest_model_len(cache_plan, blocks - 1, length, in_flight)
        assert ours == {key: value for key, value in answer.items() if key != "valid"}, model


def llama(**keys) -> dict:
    return json.loads((DATA / "configs" / "meta-llama--Llama-3.1-8B-Instruct.json").read_text()) | keys


LENGTHS = [
    llama(rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}),  # has its factor in already
    llama(max_position_embeddings=4096, rope_scaling={"rope_type": "linear", "factor": 2.0}),
    llama(max_position_embeddings=4096, rope_scaling={"rope_type": "dynamic", "factor": 8.0}),
    llama(max_position_embeddings=8192, model_max_length=100_000, rope_scaling=None),
    llama(max_position_embeddings=8192, seq_length=2048, rope_scaling=None),
]


def test_the_longest_context_is_the_one_vllm_derives():
    questions = [{"config": config, "argv": ["vllm", "serve", "x"]} for config in LENGTHS]
    for config, answer in zip(LENGTHS, ask(load.find_gpu("h100"), 1, questions), strict=True):
        assert answer["valid"], answer
        assert build_model(Config(config, "made"), "made").max_position_embeddings == answer["max_model_len"]


def test_what_we_refuse_vllm_refuses():
    """FP8 cache with Triton attention below compute capability 8.9: both say no."""
    gpu = load.find_gpu("rtx3090")
    with pytest.raises(UnsupportedError):
        cache_layout(config_model("openai/gpt-oss-20b"), gpu, "fp8")
    config = json.loads((DATA / "configs" / "google--gemma-3-27b-it.json").read_text())
    argv = ["vllm", "serve", "x", "--kv-cache-dtype", "fp8", "--max-model-len", "4096"]
    (answer,) = ask(gpu, 1, [{"config": config, "argv": argv, "plan": True, "available_bytes": 8 * GIB}])
    assert not answer["valid"]
    assert "SM89" in answer["error"]

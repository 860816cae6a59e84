"""The files of docs/integrations/ as they are used: each asks the command, and what it makes is judged by the tool that it is for."""

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from conftest import ROOT

from tests.judges import judge_venv

FOLDER = ROOT / "docs" / "integrations"
FILES = sorted(FOLDER.glob("*.py"))
MIB = 1 << 20
SMI_BYTES = {"rtx4090": 24564 * MIB, "l4": 23034 * MIB, "h100": 81559 * MIB}  # as nvidia-smi shows them
HEADS = {"Qwen/Qwen3-8B": 32, "Qwen/Qwen3-32B": 64, "Qwen/Qwen3-32B-AWQ": 64}
ADMITTED = [
    ("rtx4090", 1, "vllm serve Qwen/Qwen3-8B --max-model-len 16384"),
    ("rtx4090", 2, "vllm serve Qwen/Qwen3-32B-AWQ -tp 2 --max-model-len 16384 --gpu-memory-utilization 0.85"),
    ("l4", 1, "vllm serve Qwen/Qwen3-32B --max-model-len 4096"),
    ("h100", 1, "vllm serve Qwen/Qwen3-32B --max-model-len 16384"),
    ("h100", 1, "vllm serve Qwen/Qwen3-32B --max-model-len 40960"),
]


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PLAN = [sys.executable, "-m", "planner"]
    return module


def judged(judge: str, script: str, asked: list[dict], tmp_path: Path) -> list[dict]:
    """What a tool's own Python says of each question, one a line."""
    done = subprocess.run(
        [judge_venv(judge) / "bin" / "python", ROOT / "tests" / "oracle" / script],
        input="".join(json.dumps(each) + "\n" for each in asked),
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked), done.stderr[-3000:]
    return answers


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_is_short_and_needs_nothing_but_the_command(path):
    text = path.read_text()
    assert len(text.splitlines()) < 60
    assert "planner" not in "".join(line for line in text.splitlines() if line.startswith(("import ", "from ")))
    assert f"]({path.name})" in "".join(page.read_text() for page in FOLDER.glob("*.md"))


@pytest.mark.judge
def test_gpustack_admits_what_starts(tmp_path):
    """Its scheduler, told what our ledger says; by its own rule of thumb the figures would be others."""
    adapter = loaded("gpustack_claim")
    adapter.checked = cache(adapter.checked)
    asked, starts, ledgers = [], [], []
    for gpu, count, command in ADMITTED:
        body = adapter.deployment(command, gpu, count)
        asked.append({"deployment": body, "heads": HEADS[body["huggingface_repo_id"]], "gpus": count, "total_bytes": SMI_BYTES[gpu]})
        answer = adapter.checked(command, gpu, count)
        starts.append(answer["verdict"] == "starts")
        ledgers.append(answer["memory"])
    answers = judged("gpustack", "admit_gpustack.py", asked, tmp_path)
    assert [answer["claim_bytes"] for answer in answers] == [int(each["deployment"]["env"]["GPUSTACK_MODEL_VRAM_CLAIM"]) for each in asked]
    assert [answer["gpus"] for answer in answers] == [count if does else 0 for (_, count, _), does in zip(ADMITTED, starts, strict=True)]
    assert {True, False} == set(starts)
    thumb = [
        ledger["weights_bytes"] * count * 1.2 + (2 << 30) <= SMI_BYTES[gpu] * count * 0.9 for (gpu, count, _), ledger in zip(ADMITTED, ledgers, strict=True)
    ]
    assert thumb != starts


@pytest.mark.slow
def test_gpustack_is_not_given_what_no_gpu_mends():
    with pytest.raises(ValueError, match="greater than the model's 40960: --max-model-len 40960"):
        loaded("gpustack_claim").deployment("vllm serve Qwen/Qwen3-8B --max-model-len 400000", "h200")


@pytest.mark.judge
def test_skypilot_reads_a_task_for_what_starts(tmp_path):
    adapter = loaded("skypilot_any_of")
    offered = ["T4:1", "L4:1", "A100:1", "H100:1"]
    made = adapter.task("vllm serve Qwen/Qwen3-8B --max-model-len 16384", offered)
    fits = [each["accelerators"] for each in made["resources"]["any_of"]]
    assert fits == ["A100:1", "H100:1"]
    wrong = json.loads(json.dumps(made)) | {"resource": made["resources"]}
    answers = judged("skypilot", "load_tasks.py", [made, wrong], tmp_path)
    assert answers[0] == {"accelerators": fits, "disk_size": made["resources"]["disk_size"]}
    assert "resource" in answers[1]["error"]


@pytest.mark.slow
def test_skypilot_is_told_why_none_starts():
    with pytest.raises(ValueError, match=r"L4:1: does not start; .+\nRTX4090:1: does not start; "):
        loaded("skypilot_any_of").task("vllm serve Qwen/Qwen3-32B", ["L4:1", "RTX4090:1"])


LLM = {
    "model_loading_config": {"model_id": "qwen", "model_source": "Qwen/Qwen3-8B"},
    "accelerator_type": "A10G",
    "engine_kwargs": {"max_model_len": 8192, "enable_prefix_caching": False, "compilation_config": {"mode": 3}},
}


def test_ray_settings_are_the_engines_flags():
    assert loaded("ray_serve_builder").command_of(LLM) == [
        *("vllm", "serve", "Qwen/Qwen3-8B", "--max-model-len", "8192", "--no-enable-prefix-caching"),
        *("--compilation-config", '{"mode": 3}'),
    ]


@pytest.mark.slow
def test_rays_builder_refuses_what_does_not_start(monkeypatch):
    """The configuration's class is judged below; here it is what the builder is given, and the app what is built of it."""
    config = SimpleNamespace(**LLM, model_dump=lambda **_: LLM)
    built = {"LLMConfig": lambda **_: config, "build_openai_app": lambda args: ("app", args)}
    for name in ("ray", "ray.serve", "ray.serve.llm"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**built))
    adapter = loaded("ray_serve_builder")
    assert adapter.build({"llm_configs": [LLM]}) == ("app", {"llm_configs": [config]})
    monkeypatch.setitem(LLM["model_loading_config"], "model_source", "Qwen/Qwen3-32B")
    with pytest.raises(ValueError, match=r"qwen on A10G does not start: .+ GiB"):
        adapter.build({"llm_configs": [LLM]})


@pytest.mark.judge
def test_the_builder_reads_what_rays_own_class_gives(tmp_path):
    (given,) = judged("deploy", "dump_llm_configs.py", [LLM], tmp_path)
    adapter = loaded("ray_serve_builder")
    assert adapter.command_of(given) == adapter.command_of(LLM)
    assert given["accelerator_type"] == LLM["accelerator_type"]


STACK = {  # a rendered stack of llm-d-benchmark @8bc9f1d: the keys that its capacity_validator.py reads, with config/templates/values/defaults.yaml's form
    "model": {"name": "Qwen/Qwen3-32B", "huggingfaceId": "Qwen/Qwen3-32B", "maxModelLen": 16384, "gpuMemoryUtilization": 0.9},
    "accelerator": {"type": "nvidia", "resource": "nvidia.com/gpu"},
    "standalone": {"enabled": False, "replicas": 1},
    "decode": {"enabled": True, "replicas": 2, "parallelism": {"tensor": 1}, "acceleratorType": {"labelValue": "NVIDIA-H100-80GB-HBM3"}},
    "prefill": {"enabled": True, "replicas": 1, "parallelism": {"tensor": 1}, "acceleratorType": {"labelValue": "NVIDIA-L4"}},
}


@pytest.mark.slow
def test_llm_d_benchmarks_check_is_answered():
    adapter = loaded("llm_d_benchmark_step")
    told = []
    logger = SimpleNamespace(log_info=lambda text: told.append(("info", text)), log_warning=lambda text: told.append(("warning", text)))
    messages = adapter.run_capacity_planner(STACK, logger)
    assert messages == [text for _, text in told]
    assert messages[0] == "[decode] Qwen/Qwen3-32B starts"
    assert messages[1] == "ERROR: [prefill] Qwen/Qwen3-32B does not start"
    assert [level for level, _ in told] == ["info"] + ["warning"] * (len(messages) - 1)
    assert adapter.question(STACK, "standalone") is None
    unnamed = STACK | {"decode": {"replicas": 1}}
    messages = adapter.run_capacity_planner(unnamed, logger, ignore_failures=True)
    assert messages[0].startswith("[decode] not checked: ")
    assert messages[1].startswith("WARNING: [prefill] ")

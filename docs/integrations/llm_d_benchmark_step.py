"""A capacity check for llm-d-benchmark's standup by plan: `run_capacity_planner`, as llmdbenchmark.utilities.capacity_validator has it.

import llmdbenchmark.standup.steps.step_03_workload_monitoring as step
step.run_capacity_planner = llm_d_benchmark_step.run_capacity_planner
"""

import json
import os
import shlex
import subprocess
from typing import Any

PLAN = shlex.split(os.environ.get("PLAN", "plan"))  # the command, in an environment of its own: llm-d-planner's package has the same name as plan's
METHODS = ("standalone", "decode", "prefill")


def question(config: dict, method: str) -> list[str] | None:
    """The words of `plan check` for one method of a rendered stack; None where it has no pod."""
    pods, model, accelerator = config.get(method) or {}, config.get("model") or {}, config.get("accelerator") or {}
    if pods.get("enabled") is False or not int(pods.get("replicas", 0)):
        return None
    parallelism = pods.get("parallelism") or {}
    tensor, data = int(parallelism.get("tensor", 1)), int(parallelism.get("data", 1))
    count = (pods.get("accelerator") or {}).get("count") or accelerator.get("count") or tensor * data
    gpu = (pods.get("acceleratorType") or {}).get("labelValue") or accelerator.get("type") or ""
    words = ["vllm", "serve", model.get("huggingfaceId") or model["name"], "--tensor-parallel-size", str(tensor)]
    words += ["--data-parallel-size", str(data)] if data > 1 else []
    words += ["--max-model-len", str(model["maxModelLen"]), "--gpu-memory-utilization", str(model["gpuMemoryUtilization"])]
    return ["check", shlex.join(words), "--gpu", gpu, "--count", str(count), "--json"]


def run_capacity_planner(plan_config: dict, logger: Any, ignore_failures: bool = False) -> list[str]:
    """A line for each active method, and one for each thing that keeps it from starting; those are errors where failures count, else warnings."""
    messages: list[str] = []

    def say(text: str, wrong: bool) -> None:
        messages.append(f"{'WARNING' if ignore_failures else 'ERROR'}: {text}" if wrong else text)
        (logger.log_warning if wrong else logger.log_info)(messages[-1])

    for method in METHODS:
        if (words := question(plan_config, method)) is None:
            continue
        done = subprocess.run([*PLAN, *words], capture_output=True, text=True, check=False)
        if done.returncode > 1:  # a GPU or a model that is not known: nothing is said of it
            say(f"[{method}] not checked: {done.stderr.strip()}", wrong=False)
            continue
        answer = json.loads(done.stdout)
        say(f"[{method}] {answer['model']['id']} {answer['headline']}", wrong=answer["verdict"] == "does_not_start")
        for problem in answer["problems"]:
            say(f"[{method}] {problem['message']}: {problem['fix']}", wrong=True)
    return messages

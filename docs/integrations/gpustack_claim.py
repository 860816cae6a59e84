"""A GPUStack deployment that is admitted by plan's ledger, in the place of "weights x 1.2 + 2 GiB".

python gpustack_claim.py rtx4090 1 'vllm serve Qwen/Qwen3-8B --max-model-len 16384' > deployment.json
"""

import json
import math
import os
import shlex
import subprocess
import sys

PLAN = shlex.split(os.environ.get("PLAN", "plan"))  # the command; its environment need not be GPUStack's
OF_MEMORY = {"out-of-memory", "kv-cache-too-small", "no-kv-memory", "free-memory"}  # what a larger GPU mends: GPUStack chooses


def checked(command: str, gpu: str, count: int) -> dict:
    """What `plan check` says of a command on a machine, as JSON; exit code 1 is a server that does not start."""
    done = subprocess.run([*PLAN, "check", command, "--gpu", gpu, "--count", str(count), "--json"], capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise ValueError(done.stderr.strip())
    return json.loads(done.stdout)


def claim_bytes(answer: dict) -> int:
    """VRAM of all GPUs together, which GPUStack looks for within `--gpu-memory-utilization` of what nvidia-smi shows.

    So it is that share, less what surely stays free of it with the KV cache of one full-length request; more than it where that does not fit.
    """
    memory, settings, machine = answer["memory"], answer["settings"], answer["hardware"]
    spare = memory["kv_cache_bytes_low"] - memory["kv_cache_needed_bytes"]
    share = machine["memory_total_bytes"] * settings["gpu_memory_utilization"]
    ranks = settings["tensor_parallel_size"] * settings["pipeline_parallel_size"] * settings["data_parallel_size"]
    return math.ceil(ranks * (share - spare))


def deployment(command: str, gpu: str, count: int = 1) -> dict:
    """The body of GPUStack's POST /v2/models for a command of vLLM. Raises ValueError for what no GPU mends."""
    answer = checked(command, gpu, count)
    if wrong := next((problem for problem in answer["problems"] if problem["code"] not in OF_MEMORY), None):
        raise ValueError(f"{wrong['message']}: {wrong['fix']}")
    model, parameters = answer["model"]["id"], []
    for word in answer["commands"][0]["argv"][2:]:
        if word.startswith("-"):
            parameters.append(word)
        elif word != model:
            parameters[-1] += f"={word}"
    if not any(word.startswith("--gpu-memory-utilization") for word in parameters):  # said, since GPUStack's own default is not vLLM's
        parameters.append(f"--gpu-memory-utilization={answer['settings']['gpu_memory_utilization']}")
    return {
        **{"name": model.rpartition("/")[2].lower(), "categories": ["llm"]},
        **{"source": "huggingface", "huggingface_repo_id": model},
        **{"backend": "vLLM", "backend_parameters": parameters},
        "env": {"GPUSTACK_MODEL_VRAM_CLAIM": str(claim_bytes(answer))},
    }


if __name__ == "__main__":
    print(json.dumps(deployment(sys.argv[3], sys.argv[1], int(sys.argv[2])), indent=2))

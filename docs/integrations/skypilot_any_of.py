"""A SkyPilot task that may run on any of the accelerators on which its command starts: SkyPilot takes the cheapest.

python skypilot_any_of.py 'vllm serve Qwen/Qwen3-8B --max-model-len 16384' L4:1 A10G:1 L40S:1 A100-80GB:1 H100:1 > task.yaml && sky launch task.yaml
"""

import json
import os
import shlex
import subprocess
import sys

PLAN = shlex.split(os.environ.get("PLAN", "plan"))  # the command; its environment need not be SkyPilot's
NAMES = {"A100": "a100-40gb", "V100-32GB": "v100-32gb", "V100": "v100-16gb"}  # SkyPilot's, where they mean another card to plan
GB = 1000**3


def checked(command: str, accelerator: str) -> dict:
    """What `plan check` says of a command on SkyPilot's NAME:COUNT, as JSON; exit code 1 is a server that does not start."""
    name, _, count = accelerator.partition(":")
    words = ["check", command, "--gpu", NAMES.get(name, name), "--count", count or "1", "--json"]
    done = subprocess.run([*PLAN, *words], capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise ValueError(done.stderr.strip())
    return json.loads(done.stdout)


def task(command: str, accelerators: list[str]) -> dict:
    """The task. Raises ValueError where the command surely starts on none, with the reason and the change of each."""
    answers = {accelerator: checked(command, accelerator) for accelerator in accelerators}
    fits = [accelerator for accelerator, answer in answers.items() if answer["verdict"] == "starts"]
    if not fits:
        why = [
            f"{accelerator}: {answer['headline']}" + "".join(f"; {each['message']}" for each in answer["problems"]) for accelerator, answer in answers.items()
        ]
        raise ValueError("\n".join(why))
    answer = answers[fits[0]]
    weights = max(each["memory"]["weights_bytes"] * int(name.partition(":")[2] or 1) for name, each in answers.items())
    argv = answer["commands"][0]["argv"]
    port = argv[argv.index("--port") + 1] if "--port" in argv else "8000"
    return {
        "name": answer["model"]["id"].rpartition("/")[2].lower().replace(".", "-"),
        "resources": {
            "any_of": [{"accelerators": name} for name in fits],
            "disk_size": 100 + 2 * weights // GB,  # an image's system and packages, the checkpoint and what a download keeps beside it
            "ports": int(port),
        },
        "envs": {"HF_TOKEN": ""},
        "setup": f"pip install 'vllm=={answer['engine']['version']}.*'",
        "run": shlex.join(argv),
    }


if __name__ == "__main__":
    print(json.dumps(task(sys.argv[1], sys.argv[2:]), indent=2))  # JSON is YAML

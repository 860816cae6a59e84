"""A builder of Ray Serve's LLM app that first asks plan whether each model starts: a deployment that cannot fails at once, not in a restarting replica.

In the configuration of `serve run`, `import_path: ray_serve_builder:build` in the place of `ray.serve.llm:build_openai_app`.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator

PLAN = shlex.split(os.environ.get("PLAN", "plan"))  # the command; its environment need not be Ray's


def command_of(config: dict) -> list[str]:
    """The words of `vllm serve` that do what an LLMConfig does."""
    words = ["vllm", "serve", config["model_loading_config"].get("model_source") or config["model_loading_config"]["model_id"]]
    for name, value in (config.get("engine_kwargs") or {}).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words += [f"--{flag}", json.dumps(value) if isinstance(value, dict | list) else str(value)]
    return words


def checked(config: dict) -> dict:
    """What `plan check` says of an LLMConfig on the accelerators of one replica, as JSON; exit code 1 is a server that does not start."""
    settings = config.get("engine_kwargs") or {}
    count = settings.get("tensor_parallel_size", 1) * settings.get("pipeline_parallel_size", 1)
    words = ["check", shlex.join(command_of(config)), "--gpu", config["accelerator_type"], "--count", str(count), "--json"]
    done = subprocess.run([*PLAN, *words], capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise ValueError(done.stderr.strip())
    return json.loads(done.stdout)


def faults(configs: list[dict]) -> Iterator[str]:
    """A line for each model that does not start. One without `accelerator_type` may run anywhere: of it nothing is said."""
    for config in configs:
        answer = checked(config) if config.get("accelerator_type") else {"verdict": "unknown"}
        if answer["verdict"] == "does_not_start":
            why = "; ".join(f"{problem['message']} ({problem['fix']})" for problem in answer["problems"])
            yield f"{config['model_loading_config']['model_id']} on {config['accelerator_type']} {answer['headline']}: {why}"


def plain(config) -> dict:  # noqa: ANN001 - ray.serve.llm.LLMConfig
    """What of a configuration is judged; all of it cannot be written as JSON."""
    return config.model_dump(mode="json", include={"model_loading_config", "engine_kwargs", "accelerator_type"})


def build(args: dict):  # noqa: ANN201 - ray.serve.Application
    """The app of `ray.serve.llm:build_openai_app`. Raises ValueError for a model that does not start."""
    from ray.serve.llm import LLMConfig, build_openai_app

    configs = [LLMConfig(**config) if isinstance(config, dict) else config for config in args["llm_configs"]]
    if found := list(faults([plain(config) for config in configs])):
        raise ValueError("\n".join(found))
    return build_openai_app({**args, "llm_configs": configs})

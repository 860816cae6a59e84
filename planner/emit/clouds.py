"""The production stack's Helm values, a Ray Serve config, a SkyPilot task."""

from __future__ import annotations

from planner.emit.containers import container, only, shares_gpus
from planner.emit.lines import template, yaml_text
from planner.engines import serving_of
from planner.errors import PlannerError
from planner.facts.deployment import Deployment, Service, comment
from planner.units import GIB, ceil_div

# vLLM's flags that the chart has a key for (production-stack @a6c0eee, helm/values.schema.json, vllmConfig).
_CHART_KEYS = {
    "--tensor-parallel-size": "tensorParallelSize",
    "--max-model-len": "maxModelLen",
    "--max-num-seqs": "maxNumSeqs",
    "--gpu-memory-utilization": "gpuMemoryUtilization",
    "--dtype": "dtype",
    "--runner": "runner",
}
_OURS = ("--host", "--port", "--served-model-name")  # the chart sets them itself
# Names that Ray and SkyPilot have for accelerators (ray.util.accelerators; sky show-gpus), by ours.
_RAY_NAMES = {
    "t4": "T4",
    "l4": "L4",
    "a10g": "A10G",
    "l40s": "L40S",
    "a100-40gb": "A100-40G",
    "a100-80gb": "A100-80G",
    "h100": "H100",
    "h200": "H200",
    "b200": "B200",
}
_SKY_NAMES = {
    "t4": "T4", "l4": "L4", "a10g": "A10G", "l40": "L40", "l40s": "L40S", "a100-40gb": "A100", "a100-80gb": "A100-80GB", "h100": "H100", "h200": "H200",
    "b200": "B200", "rtx4090": "RTX4090", "rtx3090": "RTX3090", "rtx5090": "RTX5090", "a6000": "RTXA6000", "mi300x": "MI300X",
}  # fmt: skip


def flag_values(service: Service) -> list[tuple[str, str | None]]:
    """A service's flags behind its command and model, each with its value, or None for a switch."""
    values: list[tuple[str, str | None]] = []
    for word in service.argv[len(serving_of(service.engine).command) + 1 :]:
        if word.startswith("--"):
            values.append((word, None))
        else:
            values[-1] = (values[-1][0], word)
    return values


def _number(text: str) -> int | float | str:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def production_stack_files(deployment: Deployment) -> dict[str, str]:
    """values.yaml of chart vllm-stack. Raises PlannerError where servers share GPUs: the chart gives each pod its own."""
    only(deployment, "helm", "the production stack")
    if shares_gpus(deployment):
        raise PlannerError("the production stack gives each server GPUs of its own; these share some", "k8s runs them in one container")
    document = {
        "servingEngineSpec": {
            "runtimeClassName": "",
            "startupProbe": _startup(),
            "modelSpec": [_model(service, deployment) for service in reversed(deployment.services)],
        }
    }
    return {"values.yaml": template("production_stack.txt").format(title=comment(deployment.title)) + yaml_text(document)}


def _startup() -> dict[str, object]:
    return {"initialDelaySeconds": 15, "periodSeconds": 10, "failureThreshold": 360, "httpGet": {"path": "/health", "port": 8000}}


def _model(service: Service, deployment: Deployment) -> dict[str, object]:
    config: dict[str, object] = {}
    extra: list[str] = []
    for flag, value in flag_values(service):
        if flag in _OURS:
            continue
        if flag in _CHART_KEYS and value is not None:
            config[_CHART_KEYS[flag]] = _number(value)
        else:
            extra += [flag] + ([value] if value is not None else [])
    gpus = len(service.gpus) // deployment.nodes
    repository, _, tag = container(service).images["nvidia"].partition(":")
    spec: dict[str, object] = {
        "name": service.name,
        "repository": repository,
        "tag": tag.format(version=service.version),
        "modelURL": service.model,
        "replicaCount": 1,
        "requestCPU": gpus + 1,  # a process for each GPU and the API server
        "requestMemory": f"{max(1, ceil_div(service.weights_bytes // deployment.nodes, GIB))}Gi",  # what loading reads
        "requestGPU": gpus,
        "pvcStorage": f"{max(10, ceil_div(2 * service.weights_bytes, GIB))}Gi",
        "vllmConfig": config | {"extraArgs": extra},
    }
    if deployment.nodes > 1:
        spec["raySpec"] = {"enabled": True, "headNode": {"requestCPU": gpus + 1, "requestMemory": spec["requestMemory"], "requestGPU": gpus}}
    return spec


def ray_serve_files(deployment: Deployment) -> dict[str, str]:
    """ray-serve.yaml: `serve run ray-serve.yaml` on a cluster with the GPUs."""
    only(deployment, "ray", "Ray Serve")
    if shares_gpus(deployment):
        raise PlannerError("Ray Serve gives each replica GPUs of its own; these servers share some", "k8s or compose run them together")
    configs = [_llm_config(service, deployment) for service in reversed(deployment.services)]
    application = {"name": "llm", "route_prefix": "/", "import_path": "ray.serve.llm:build_openai_app", "args": {"llm_configs": configs}}
    package = serving_of(deployment.main.engine).packages[0].format(version=deployment.main.version)
    document = {"http_options": {"host": deployment.bind, "port": deployment.main.port}, "applications": [application]}
    header = f"# {comment(deployment.title)}\n#   pip install 'ray[serve,llm]' '{package}'\n#   serve run ray-serve.yaml\n"
    return {"ray-serve.yaml": header + yaml_text(document)}


def _llm_config(service: Service, deployment: Deployment) -> dict[str, object]:
    engine: dict[str, object] = {}
    for flag, value in flag_values(service):
        if flag not in _OURS:
            engine[flag.removeprefix("--").replace("-", "_")] = True if value is None else _number(value)
    config: dict[str, object] = {
        "model_loading_config": {"model_id": service.alias, "model_source": service.model},
        "engine_kwargs": engine,
        "deployment_config": {"autoscaling_config": {"min_replicas": 1, "max_replicas": 1}, "health_check_timeout_s": 60},
    }
    if deployment.gpu in _RAY_NAMES:
        config["accelerator_type"] = _RAY_NAMES[deployment.gpu]
    return config


def skypilot_files(deployment: Deployment) -> dict[str, str]:
    """skypilot.yaml: a task that runs this folder's own scripts. Raises PlannerError for a GPU no cloud rents out under a known name."""
    only(deployment, "skypilot", "SkyPilot")
    if deployment.gpu not in _SKY_NAMES:
        raise PlannerError(f"SkyPilot's name of {deployment.gpu_title} is not known here", f"known: {', '.join(_SKY_NAMES)}")
    per_node = deployment.count // deployment.nodes
    document: dict[str, object] = {
        "name": deployment.slug[:40].strip("-"),
        "workdir": ".",
        "num_nodes": deployment.nodes,
        "resources": {"accelerators": f"{_SKY_NAMES[deployment.gpu]}:{per_node}"},
        "envs": {"LITELLM_MASTER_KEY": None, "HF_TOKEN": ""},
        "setup": "./setup.sh",
        "run": "./stack.sh run" if deployment.nodes == 1 else './node.sh mp "${SKYPILOT_NODE_RANK}" "$(echo "${SKYPILOT_NODE_IPS}" | head -n1)"',
    }
    header = (
        f"# {comment(deployment.title)}\n# In this folder: sky launch skypilot.yaml --env LITELLM_MASTER_KEY; no port is opened, reach it with\n"
        f"#   ssh -L {deployment.proxy_port}:127.0.0.1:{deployment.proxy_port} CLUSTER\n"
    )
    return {"skypilot.yaml": header + yaml_text(document)}

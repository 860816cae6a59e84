"""Kubernetes: a Deployment and a Service for each server, a LeaderWorkerSet over several nodes, the proxy in front; nothing is exposed outside.

GPUs belong to one container: servers that share GPUs run in one container, which starts them in order with stack.sh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.emit.containers import EVERYWHERE, LITELLM_IMAGE, LOADING_SECONDS, image, inside, only, shares_gpus
from planner.emit.lines import yaml_text
from planner.emit.litellm import custom_callbacks, litellm_yaml, proxy_argv
from planner.emit.multinode import leader_worker_command
from planner.emit.stack import stack_script
from planner.facts.deployment import Deployment, Service, comment
from planner.units import GIB, ceil_div

_HEADER = """\
# {title}
#   kubectl create secret generic litellm --from-literal=master-key="sk-$(openssl rand -hex 24)"
#   kubectl create secret generic hugging-face --from-literal=token="$HF_TOKEN"     # for gated models
#   kubectl apply -f {file}
"""
PERIOD_SECONDS = 10
Manifest = dict[str, object]


def _document(manifests: list[Manifest], deployment: Deployment, file: str) -> str:
    texts = [yaml_text(manifest) for manifest in manifests]
    return _HEADER.format(title=comment(deployment.title), file=file) + "---\n".join(texts)


def _labels(deployment: Deployment, name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": deployment.slug[:63].strip("-")}


def _probe(port: int, path: str, failures: int) -> Manifest:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": PERIOD_SECONDS, "timeoutSeconds": 5, "failureThreshold": failures}


def _probes(port: int, path: str) -> Manifest:
    """A startup probe that outlasts loading; the others count only after it."""
    return {
        "startupProbe": _probe(port, path, LOADING_SECONDS // PERIOD_SECONDS),
        "readinessProbe": _probe(port, path, 1),
        "livenessProbe": _probe(port, path, 6),
    }


def _resource(deployment: Deployment) -> str:
    return {"amd": "amd.com/gpu", "intel": "gpu.intel.com/xe"}.get(deployment.vendor, "nvidia.com/gpu")


_TOKEN = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token", "optional": True}}}
_MOUNTS = [{"name": "hub-cache", "mountPath": "/root/.cache/huggingface"}, {"name": "shared-memory", "mountPath": "/dev/shm"}]  # noqa: S108 - in a pod
_VOLUMES = [
    {"name": "hub-cache", "persistentVolumeClaim": {"claimName": "hub-cache"}},
    {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},  # ranks exchange tensors through it
]


def escaped(words: Sequence[str]) -> list[str]:
    """Words as Kubernetes reads them: it would put a variable in place of $(NAME)."""
    return [word.replace("$(", "$$(") for word in words]


def _engine(deployment: Deployment, name: str, service: Service, gpus: int, command: list[str]) -> Manifest:
    return {
        "name": name,
        "image": image(deployment, service),
        "command": escaped(command),
        "env": [_TOKEN],
        "resources": {"limits": {_resource(deployment): str(gpus)}},
        "volumeMounts": list(_MOUNTS),
    }


def _workload(deployment: Deployment, name: str, pod: Manifest) -> Manifest:
    labels = _labels(deployment, name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},  # a GPU cannot be booked twice during an update
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _port(name: str, selector: dict[str, str], port: int, deployment: Deployment) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _labels(deployment, name)},
        "spec": {"type": "ClusterIP", "selector": selector, "ports": [{"name": "http", "port": port, "targetPort": port}]},
    }


def _config_map(name: str, files: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files}


def _cache(deployment: Deployment) -> Manifest:
    """A volume for the downloaded weights, twice their size: an update lies beside the old snapshot."""
    size = max(10, ceil_div(2 * sum(service.weights_bytes for service in deployment.services), GIB))
    spec = {"accessModes": ["ReadWriteOnce" if deployment.nodes == 1 else "ReadWriteMany"], "resources": {"requests": {"storage": f"{size}Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "hub-cache"}, "spec": spec}


def object_name(service: Service) -> str:
    """The name of a service's objects."""
    return f"{service.engine}-{service.name}"


def kubernetes_files(deployment: Deployment) -> dict[str, str]:
    """kubernetes.yaml: everything for one node."""
    only(deployment, "k8s", "Kubernetes")
    manifests = [_cache(deployment)]
    if shares_gpus(deployment):
        manifests += _together(deployment)
    else:
        for service in deployment.processes:
            held = inside(service)
            container = _engine(deployment, service.name, service, len(service.gpus), list(held.argv)) | {"ports": [{"containerPort": service.port}]}
            container |= _probes(service.port, service.health)
            manifests.append(_workload(deployment, object_name(service), {"containers": [container], "volumes": list(_VOLUMES)}))
    shared = object_name(deployment.main)
    for service in deployment.processes:
        selector = {"app.kubernetes.io/name": shared if shares_gpus(deployment) else object_name(service)}
        manifests.append(_port(object_name(service), selector, service.port, deployment))
    manifests += _proxy(deployment)
    return {"kubernetes.yaml": _document(manifests, deployment, "kubernetes.yaml")}


def _together(deployment: Deployment) -> list[Manifest]:
    """Servers that share GPUs, in one container under stack.sh."""
    name = object_name(deployment.main)
    held = replace(deployment, services=tuple(replace(inside(service), env=service.env) for service in deployment.processes))
    container = _engine(deployment, "servers", deployment.main, deployment.count, ["bash", "/plan/stack.sh", "run"])
    container["env"] = [_TOKEN, {"name": "PLAN_STATE_DIR", "value": "/tmp/plan"}]  # noqa: S108 - in a pod
    container["ports"] = [{"containerPort": service.port} for service in deployment.processes]
    container |= _probes(deployment.main.port, deployment.main.health)
    container["volumeMounts"] = [*_MOUNTS, {"name": "plan", "mountPath": "/plan"}]
    pod: Manifest = {"containers": [container], "volumes": [*_VOLUMES, {"name": "plan", "configMap": {"name": f"{name}-stack"}}]}
    return [_config_map(f"{name}-stack", {"stack.sh": stack_script(held, proxy=False)}), _workload(deployment, name, pod)]


def _proxy(deployment: Deployment) -> list[Manifest]:
    reached = tuple(replace(service, host=object_name(service)) for service in deployment.services)
    files = {"litellm.yaml": litellm_yaml(deployment, reached)}
    if any(service.is_mistral for service in deployment.services):
        files["custom_callbacks.py"] = custom_callbacks(deployment)
    argv = ["litellm", "--config", "/plan/litellm.yaml", "--host", EVERYWHERE, *proxy_argv(deployment)[5:]]
    key = {"name": "LITELLM_MASTER_KEY", "valueFrom": {"secretKeyRef": {"name": "litellm", "key": "master-key"}}}
    container = {
        "name": "litellm",
        "image": LITELLM_IMAGE,
        "command": argv,
        "env": [key],
        "ports": [{"containerPort": deployment.proxy_port}],
        "volumeMounts": [{"name": "plan", "mountPath": "/plan"}],
        **_probes(deployment.proxy_port, "/health/liveliness"),
    }
    pod: Manifest = {"containers": [container], "volumes": [{"name": "plan", "configMap": {"name": "litellm"}}]}
    selector = {"app.kubernetes.io/name": "litellm"}
    return [_config_map("litellm", files), _workload(deployment, "litellm", pod), _port("litellm", selector, deployment.proxy_port, deployment)]


def leader_worker_set_files(deployment: Deployment) -> dict[str, str]:
    """leaderworkerset.yaml: one server over several nodes, tensor parallel inside and pipeline parallel across."""
    only(deployment, "lws", "LeaderWorkerSet")
    service, per_node = deployment.main, deployment.count // deployment.nodes
    name = object_name(service)
    labels = _labels(deployment, name)
    container = _engine(deployment, service.engine, service, per_node, ["sh", "-c", leader_worker_command(inside(service), deployment.nodes)])
    leader = container | {"ports": [{"containerPort": service.port}]} | _probes(service.port, service.health)
    group: Manifest = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "leaderWorkerTemplate": {
                "size": deployment.nodes,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": {"metadata": {"labels": labels | {"role": "leader"}}, "spec": {"containers": [leader], "volumes": list(_VOLUMES)}},
                "workerTemplate": {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": list(_VOLUMES)}},
            },
        },
    }
    selector = {"leaderworkerset.sigs.k8s.io/name": name, "role": "leader"}
    manifests = [_cache(deployment), group, _port(name, selector, service.port, deployment), *_proxy(deployment)]
    return {"leaderworkerset.yaml": _document(manifests, deployment, "leaderworkerset.yaml")}

"""A folder as GitHub checks one out, with the files by which people start servers; lines are counted in the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = """#!/bin/bash
# plan: gpu=h100 count=1
MODEL=Qwen/Qwen3-32B
vllm --version
exec vllm serve $MODEL \\
  --host 0.0.0.0 \\
  --max-model-len 40960 \\
  --max-num-sequences 8
"""
MANIFESTS = """apiVersion: apps/v1
kind: Deployment
metadata: {name: small}
spec:
  template:
    spec:
      nodeSelector: {nvidia.com/gpu.product: NVIDIA-L4}
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.29.0
        args: [--model, Qwen/Qwen3-0.6B]
        resources: {limits: {nvidia.com/gpu: 1}}
---
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: large}
spec:
  leaderWorkerTemplate:
    workerTemplate:
      spec:
        affinity:
          nodeAffinity:
            requiredDuringSchedulingIgnoredDuringExecution:
              nodeSelectorTerms:
              - matchExpressions: [{key: nvidia.com/gpu.product, operator: In, values: [NVIDIA-H100-80GB-HBM3, NVIDIA-H200]}]
        containers:
        - name: vllm
          image: vllm/vllm-openai:v0.29.0
          command: [vllm, serve, Qwen/Qwen3-235B-A22B]
          args:
          - --tensor-parallel-size=4
          resources: {limits: {nvidia.com/gpu: "4"}}
"""
COMPOSE = """services:
  short:
    image: vllm/vllm-openai:v0.29.0
    command: --model Qwen/Qwen3-8B --max-model-len 4096
  long:
    image: vllm/vllm-openai:v0.29.0
    command:
    - --model=Qwen/Qwen3-8B
    - --max-model-len=131072
"""
VALUES = """servingEngineSpec:
  modelSpec:
  - name: chat
    repository: vllm/vllm-openai
    tag: v0.29.0
    modelURL: Qwen/Qwen3-8B
    requestGPU: 1
    nodeSelectorTerms:
    - matchExpressions: [{key: nvidia.com/gpu.product, operator: In, values: [NVIDIA-L4]}]
    vllmConfig:
      tensorParallelSize: 1
      maxModelLen: 40960
      extraArgs: [--enforce-eager]
"""
GENERIC_VALUES = """llm:
  image: {repository: vllm/vllm-openai, tag: v0.29.0}
  args: [--model=Qwen/Qwen3-8B, --max-model-len=8192]
"""
PROXY = """model_list:
- model_name: good
  litellm_params: {model: hosted_vllm/a, api_base: "http://127.0.0.1:8000/v1"}
- model_name: lost
  litellm_params: {model: nobody/a, api_base: "http://127.0.0.1:8000/v1"}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
"""
SETTINGS = """machines:
- files: ["deploy/compose*.yaml", "charts/**"]
  gpu: rtx4090
ignore: ["old/"]
"""
FILES = {
    "scripts/serve.sh": SCRIPT,
    "deploy/pods.yaml": MANIFESTS,
    "deploy/compose.yaml": COMPOSE,
    "charts/stack/values.yaml": VALUES,
    "charts/plain/values.yaml": GENERIC_VALUES,
    "proxy/litellm.yaml": PROXY,
    ".plan.yaml": SETTINGS.replace('"old/"', '"old/**"'),
    "old/serve.sh": SCRIPT,
    "build/serve.sh": SCRIPT,  # ignored by git
    ".hidden/serve.sh": SCRIPT,
    "README.md": "Start it with vllm serve Qwen/Qwen3-32B.\n",
    "ci.yaml": "on: push\njobs: {test: {steps: [{run: pip install vllm}]}}\n",
    ".gitignore": "build/\n",
}


def checkout(folder: Path, files: dict[str, str] | None = None) -> Path:
    """The folder with the files, as a repository with one commit."""
    for name, text in (FILES if files is None else files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    return folder


def commit(folder: Path, message: str) -> str:
    """All that changed as a commit; its name."""
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()


def git(folder: Path, *words: str) -> str:
    """What git says, without the settings of who runs the tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, env=environment).stdout

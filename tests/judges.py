"""The real components that judge what `plan` writes: `python -m tests.judges` sets them up, once; no test installs anything.

A test that needs one says so with `judge_venv(…)`, `chromium()` or `library(…)` and is marked `judge`. Where it is missing the test is skipped with
the command that sets it up; with PLAN_JUDGES=required (as CI sets it) it fails.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Never

import pytest

SCRIPTS = Path(__file__).parent / "oracle"
SETUP = "`.venv/bin/pip install -e '.[test,judges]' && .venv/bin/python -m tests.judges` sets it up"
APT = (
    ("apt-get", "update", "-qq"),
    ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"),
)


@dataclass(frozen=True, slots=True)
class Judge:
    """An environment with one real component: where it lies (`variable` names another place), what builds it, what that takes."""

    folder: str
    variable: str
    script: str
    takes: str

    @property
    def venv(self) -> Path:
        """Where the environment is or will be."""
        return Path(os.environ.get(self.variable) or Path.home() / ".cache" / "serve-plan" / self.folder)

    @property
    def is_ready(self) -> bool:
        """Whether its script came to its end; an environment of somebody's own (by `variable`) is believed."""
        return (self.venv / "ready").exists() or (self.variable in os.environ and (self.venv / "bin" / "python").exists())


JUDGES = {
    "vllm": Judge("vllm-0.33", "PLAN_ORACLE_VENV", "setup-vllm.sh", "vLLM 0.33 without a GPU: 3.5 GB"),
    "litellm": Judge("litellm-1.106.2", "PLAN_PROXY_VENV", "setup-litellm.sh", "the LiteLLM proxy: 750 MB"),
    "mlx": Judge("mlx-0.32", "PLAN_MLX_VENV", "setup-mlx.sh", "MLX's servers on its CPU build: 1.1 GB"),
    "llamacpp": Judge("llamacpp-0.5.0", "PLAN_LLAMACPP", "setup-llamacpp.sh", "llama.cpp v0.5.0 as a library, from npm: 30 MB"),
    "static-page": Judge("static-page-1", "PLAN_STATIC_PAGE", "setup-static-page.sh", "what the page without a server is made of, from npm and PyPI: 10 MB"),
    "deploy": Judge("deploy-1", "PLAN_DEPLOY_VENV", "setup-deploy.sh", "schemas of Kubernetes, compose and Ray Serve: 600 MB"),
    "gpustack": Judge("gpustack-2.3.0", "PLAN_GPUSTACK_VENV", "setup-gpustack.sh", "GPUStack's scheduler: 900 MB"),
    "skypilot": Judge("skypilot-0.14.1", "PLAN_SKYPILOT_VENV", "setup-skypilot.sh", "SkyPilot's tasks: 460 MB"),
}


def missing(what: str) -> Never:
    """Skip the test or module that asks, or let it fail where judges are required."""
    reason = f"{what} is not here: {SETUP}"
    if os.environ.get("PLAN_JUDGES") == "required":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


@cache
def judge_venv(name: str) -> Path:
    """The environment of a judge, which `python -m tests.judges` built."""
    judge = JUDGES[name]
    return judge.venv if judge.is_ready else missing(judge.takes.partition(":")[0])


@cache
def chromium() -> str:
    """Chromium's program; PLAN_CHROMIUM names one."""
    return os.environ.get("PLAN_CHROMIUM") or shutil.which("chromium") or missing("Chromium")


def library(name: str) -> ModuleType:
    """A library of the `judges` extra; at the head of a module the whole module is skipped without it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return missing(name)


def set_up_chromium() -> bool:
    """Debian's Chromium, where there is none and this user may install it."""
    if os.environ.get("PLAN_CHROMIUM") or shutil.which("chromium"):
        return True
    if not (shutil.which("apt-get") and os.geteuid() == 0):
        print("chromium: install it with your system's packages, or name one in PLAN_CHROMIUM")
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return all(subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment).returncode == 0 for command in APT)


def set_up(name: str) -> bool:
    """Build one judge's environment; nothing happens where it is ready."""
    if name == "chromium":
        return set_up_chromium()
    judge = JUDGES[name]
    judge.venv.parent.mkdir(parents=True, exist_ok=True)
    command, environment = ["bash", SCRIPTS / judge.script, judge.venv], {**os.environ, "PYTHON": sys.executable}
    return judge.is_ready or subprocess.run(command, check=False, env=environment).returncode == 0


def main(names: list[str]) -> int:
    """Set up the named judges, or all; 1 if one of them could not be."""
    known = [*JUDGES, "chromium"]
    if unknown := [name for name in names if name not in known]:
        print(f"unknown judge {unknown[0]}; there are {', '.join(known)}")
        return 2
    failed = False
    for name in names or known:
        print(f"{name}: {JUDGES[name].takes if name in JUDGES else 'the browser: 300 MB'}", flush=True)
        failed = not set_up(name) or failed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

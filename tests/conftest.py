"""Shared data of the tests: real config.json files, vLLM's frozen answers, a runner for the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from planner.architecture import build_model, parse_config
from planner.catalog import find_gpu
from planner.model import ModelSpec

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent


def json_lines(name: str) -> list[dict]:
    """Rows of a frozen answer file."""
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


@cache
def config_model(name: str) -> ModelSpec:
    """A model built from its real config.json (and hf_quant_config.json)."""
    stem = name.replace("/", "--")
    path, quantization = DATA / "configs" / f"{stem}.json", DATA / "configs" / f"{stem}.hf_quant.json"
    hf_quant = parse_config(quantization.read_bytes(), str(quantization)) if quantization.exists() else None
    return build_model(parse_config(path.read_bytes(), str(path)), name, hf_quant)


@cache
def gpu(name: str):
    """A GPU of the catalogue."""
    return find_gpu(name)


def run_plan(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "planner", *arguments], cwd=cwd, text=True, capture_output=True, timeout=120, env={**os.environ, **environment}, check=False
    )


@pytest.fixture
def plan_json(tmp_path):
    """Run the command with --format json and return (exit code, object)."""

    def run(*arguments: str):
        done = run_plan(*arguments, "--format", "json", "--dry-run", cwd=tmp_path)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run

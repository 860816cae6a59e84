"""Shared data of the tests: real config.json files, vLLM's frozen answers, a runner for the command line."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from forked import forks
from hypothesis import settings

from planner.architecture import build_model, parse_config
from planner.catalogue.load import find_gpu
from planner.engines import ENGINES
from planner.engines.vllm import placement
from planner.engines.vllm.answer import planned
from planner.facts.deployment import Sampling
from planner.facts.model import LayerGroup, ModelSpec
from planner.questions.plan import Answer, deployment_of

# What CI tries is the same every time; `pytest --hypothesis-profile=explore` looks for what nobody has seen yet.
settings.register_profile("plan", deadline=None, max_examples=60, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("plan")
DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent


def json_lines(name: str) -> list[dict]:
    """Rows of a frozen answer file."""
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


@pytest.fixture(autouse=True, scope="session")
def alone(tmp_path_factory):
    """Nothing of this machine's and nothing of the network is for the tests: neither here nor in the commands they run."""
    os.environ |= {
        "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config")),
        "HF_HOME": str(tmp_path_factory.mktemp("hub")),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of commands would each compile what they import: twice the time of the short ones
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background of a shell: the commands under test would ignore Ctrl-C too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    connect = socket.socket.connect

    def local_only(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test wants to reach {address}")
        return connect(self, address)

    socket.socket.connect = local_only
    yield
    socket.socket.connect = connect


@cache
def config_model(name: str, *, no_window: bool = False) -> ModelSpec:
    """A model built from its real config.json (and hf_quant_config.json), some of which were typed without `sliding_window: null`."""
    stem = name.replace("/", "--")
    path, quantization = DATA / "configs" / f"{stem}.json", DATA / "configs" / f"{stem}.hf_quant.json"
    hf_quant = parse_config(quantization.read_bytes(), str(quantization)) if quantization.exists() else None
    config = parse_config(path.read_bytes(), str(path))
    if no_window:
        text = config.data.get("text_config", config.data)
        text["sliding_window"] = None
    return build_model(config, name, hf_quant)


def small_model(**changed) -> ModelSpec:
    """A model for sums by hand: hidden 1000, MLP 3000, a vocabulary of 10,000, 16 layers that hold nothing."""
    sizes = {
        "max_position_embeddings": 8192,
        "hidden_size": 1000,
        "intermediate_size": 3000,
        "vocab_size": 10_000,
        "attention_heads": 8,
        "kv_heads": 8,
        "head_dim": 125,
        "layers": (LayerGroup(indices=tuple(range(16)), modules=(), caches=()),),
    }
    return ModelSpec(name="made", architecture="LlamaForCausalLM", quantization=None, first=(), last=(), **(sizes | changed))


@cache
def gpu(name: str):
    """A GPU of the catalogue."""
    return find_gpu(name)


def spawn(*arguments: str, cwd: Path, interruptible: bool = True, **settings: Any) -> subprocess.Popen[str]:
    """Start the installed command. It can be interrupted as in a terminal, or not, as in the background of a shell, however the tests were started."""
    command = [sys.executable, "-m", "planner", *arguments]

    def signals() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL if interruptible else signal.SIG_IGN)

    return subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True, preexec_fn=signals, **settings)  # noqa: PLW1509 - no threads here


def run_plan(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a user would: a fork of a process that has imported it, or a new one where variables say how Python starts."""
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}  # how wide the terminal of who runs the tests is says nothing
    variables = inherited | environment
    if hasattr(os, "fork") and (done := forks().completed(*arguments, cwd=cwd, environment=variables)):
        return done
    return subprocess.run([sys.executable, "-m", "planner", *arguments], cwd=cwd, text=True, capture_output=True, timeout=120, env=variables, check=False)


@pytest.fixture
def plan_json(tmp_path):
    """Run the command with --format json and return (exit code, object)."""

    def run(*arguments: str):
        done = run_plan(*arguments, "--format", "json", "--dry-run", cwd=tmp_path)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def answer_alone(plan, sampling=None):
    """The answer about one planned vLLM server with its GPUs to itself."""
    stack = placement.alone(plan)
    plans = (planned(stack.servers[0], stack, sampling or Sampling()),)
    machine = plan.request.group
    return Answer(
        plans=plans,
        deployment=deployment_of(plans, machine, ENGINES["vllm"]),
        question={},
        alternatives=stack.alternatives,
        warnings=placement.stack_warnings(stack),
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that the system gives to no connection while a test stops and starts its servers (those are from 32768 on)."""
    ports: set[int] = set()
    chance = random.SystemRandom()
    while len(ports) < count:
        port = chance.randrange(12_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.add(port)
    return sorted(ports)

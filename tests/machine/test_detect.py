"""`--gpu auto`: nvidia-ml-py itself on a stand-in driver library, rocm-smi's and sysctl's answers."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from planner.errors import WorldError
from planner.facts.hardware import CONTEXT_BYTES
from planner.machine import detect
from tests.conftest import ROOT, run_plan

RTX4090, MIB = 24_564 * 1024**2, 1024**2
MODEL = ("--model", "qwen3-8b-awq", "--format", "json", "--dry-run")


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Path:
    """A folder with a libnvidia-ml.so.1 that is none."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler for the stand-in driver library")
    folder = tmp_path_factory.mktemp("driver")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", ROOT / "tests" / "stand_ins" / "nvml.c"], check=True)
    return folder


def on_nvidia(driver: Path, cwd: Path, *arguments: str, gpus: str):
    return run_plan("--gpu", "auto", *arguments, cwd=cwd, LD_LIBRARY_PATH=str(driver), STAND_IN_GPUS=gpus)


def test_all_equal_gpus_are_taken_with_what_is_free_now(driver, tmp_path):
    free = 20_000 * MIB
    done = on_nvidia(driver, tmp_path, *MODEL, gpus=f"NVIDIA GeForce RTX 4090|{RTX4090}|{free};NVIDIA GeForce RTX 4090|{RTX4090}|{free + 999 * MIB}")
    found = json.loads(done.stdout)
    assert (found["hardware"]["gpu"], found["hardware"]["count"]) == ("rtx4090", 2)
    assert found["hardware"]["free_at_start_bytes"] == free - CONTEXT_BYTES
    assert found["memory"]["requested_bytes"] <= free - CONTEXT_BYTES
    assert "2x NVIDIA GeForce RTX 4090, 19.53 of 23.99 GiB free now" in done.stderr


def test_a_count_is_kept_and_other_cards_are_named(driver, tmp_path):
    gpus = ";".join([f"NVIDIA GeForce RTX 4090|{RTX4090}|{RTX4090 - 400 * MIB}"] * 2 + [f"NVIDIA GeForce RTX 3060|{12288 * MIB}|{12000 * MIB}"])
    done = on_nvidia(driver, tmp_path, "--count", "1", *MODEL, gpus=gpus)
    assert json.loads(done.stdout)["hardware"]["count"] == 1
    assert "not used: NVIDIA GeForce RTX 3060" in done.stderr


@pytest.mark.parametrize(
    ("name", "mib", "gpu"),
    [
        ("NVIDIA A100-SXM4-80GB", 81_920, "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", 81_559, "h100"),
        ("NVIDIA GeForce RTX 3080", 10_240, "rtx3080"),
        ("NVIDIA GeForce RTX 5090", 32_607, "rtx5090"),
        ("NVIDIA L40S", 46_068, "l40s"),
        ("NVIDIA RTX 6000 Ada Generation", 49_140, "rtx6000ada"),
        ("NVIDIA RTX A6000", 49_140, "rtxa6000"),
        ("Tesla T4", 15_360, "t4"),
        ("NVIDIA H200", 143_771, "h200"),
        ("NVIDIA B200", 183_359, "b200"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97_887, "rtxpro6000"),
        ("NVIDIA GeForce RTX 4060 Ti", 16_380, "rtx4060ti"),
    ],
)
def test_names_as_drivers_spell_them(driver, tmp_path, name, mib, gpu):
    done = on_nvidia(driver, tmp_path, "--model", "qwen3-0.6b", "--format", "json", "--dry-run", gpus=f"{name}|{mib * MIB}|{(mib - 500) * MIB}")
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["hardware"]["gpu"] == gpu


def test_a_card_that_nobody_described_is_named(driver, tmp_path):
    done = on_nvidia(driver, tmp_path, *MODEL, gpus=f"NVIDIA Quadro FX 1|{MIB}|{MIB}")
    assert done.returncode == 2
    assert "'NVIDIA Quadro FX 1' is not in the catalogue" in done.stderr


def _tool(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_rocm(tmp_path):
    card = {"Card Series": "AMD Instinct MI300X OAM", "VRAM Total Memory (B)": str(192 * 1024**3), "VRAM Total Used Memory (B)": str(2 * 1024**3)}
    path = _tool(tmp_path, "rocm-smi", f"echo '{json.dumps({'card0': card, 'card1': card})}'")
    found = json.loads(run_plan("--gpu", "auto", "--model", "qwen3-8b", "--format", "json", "--dry-run", cwd=tmp_path, PATH=path).stdout)
    assert (found["hardware"]["gpu"], found["hardware"]["count"]) == ("mi300x", 2)
    assert found["hardware"]["free_at_start_bytes"] == 190 * 1024**3 - CONTEXT_BYTES
    broken = run_plan("--gpu", "auto", *MODEL, cwd=tmp_path, PATH=_tool(tmp_path, "rocm-smi", "echo nonsense"))
    assert (broken.returncode, "not understood" in broken.stderr) == (3, True)


@pytest.mark.parametrize("total", [None, [], -5, 1e400, "9" * 50, "9" * 5000, "0"])
def test_what_rocm_cannot_mean_is_not_believed(total, monkeypatch):
    card = {"Card Series": "AMD Instinct MI300X OAM", "VRAM Total Memory (B)": total, "VRAM Total Used Memory (B)": "7"}
    monkeypatch.setattr(detect, "_nvidia", list)
    monkeypatch.setattr(detect, "_output", lambda *_: json.dumps({"card0": card}))
    with pytest.raises(WorldError, match="not understood"):
        detect.this_machine()


@pytest.mark.parametrize("script", ["printf '\\377\\376'", "head -c 200000 /dev/zero | tr '\\0' '['"])
def test_a_tool_that_prints_no_text_of_its_kind_is_not_understood(script, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", _tool(tmp_path, "rocm-smi", script))
    monkeypatch.setattr(detect, "_nvidia", list)
    with pytest.raises(WorldError, match="not understood"):
        detect.this_machine()


def test_a_mac(tmp_path):
    path = _tool(tmp_path, "sysctl", 'case "$2" in machdep*) echo "Apple M4 Max";; *) echo 137438953472;; esac')
    found = json.loads(run_plan("--gpu", "auto", "--model", "qwen3-8b", "--format", "json", "--dry-run", cwd=tmp_path, PATH=path).stdout)
    assert found["hardware"]["gpu"] == "apple-m4-max-128gb"
    assert found["engine"]["name"] == "mlx-lm"


def test_nothing_found_is_the_worlds_fault(tmp_path):
    done = run_plan("--gpu", "auto", *MODEL, cwd=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 3
    assert "no GPU was found here" in done.stderr


@pytest.mark.slow
def test_capacity_and_choosing_read_the_machine_too(driver, tmp_path):
    gpus = f"NVIDIA H100 80GB HBM3|{81_559 * MIB}|{81_000 * MIB}"
    assert on_nvidia(driver, tmp_path, "--for", "chat", "--top", "3", gpus=gpus).returncode == 0
    done = run_plan("capacity", "--gpu", "auto", "--model", "qwen3-8b", "--format", "json", cwd=tmp_path, LD_LIBRARY_PATH=str(driver), STAND_IN_GPUS=gpus)
    assert json.loads(done.stdout)["gpu"] == "h100"


def test_a_command_is_checked_on_this_machine(driver, tmp_path):
    gpus = f"NVIDIA GeForce RTX 4090|{RTX4090}|{8000 * MIB}"
    done = run_plan("check", "--gpu", "auto", "vllm serve Qwen/Qwen3-8B --max-model-len 8192", cwd=tmp_path, LD_LIBRARY_PATH=str(driver), STAND_IN_GPUS=gpus)
    assert done.returncode == 1
    assert "free-memory" in done.stdout


def test_main_memory_is_read_with_the_card(driver, tmp_path):
    """What lies there is held against what this machine has; --ram goes before it."""
    card = f"NVIDIA GeForce RTX 4090|{RTX4090}|{RTX4090 - 400 * MIB}"
    words = ("--engine", "llama.cpp", "--model", "qwen3-30b-a3b", "--quantization", "BF16", "--context", "8k", "--format", "json", "--dry-run")
    read = json.loads(on_nvidia(driver, tmp_path, *words, gpus=card).stdout)
    assert not any(warning["code"] == "main-memory" for warning in read["warnings"])
    said = json.loads(on_nvidia(driver, tmp_path, *words, "--ram", "16GiB", gpus=card).stdout)
    assert said["verdict"] == "unlikely"
    assert "the machine has 16.00 GiB" in said["rejection"]["message"]

"""Emitted files: golden under outputs/, strict for shellcheck, loadable, bound to this machine, without a secret."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, answer_alone

from benchmarks import accuracy, calibrate, outputs
from benchmarks.starts import starts
from planner.catalogue import load
from planner.emit.serve import serve_script
from planner.emit.stack import stack_script
from planner.engines.vllm.choice import Request
from planner.engines.vllm.coefficients import coefficients
from planner.engines.vllm.plan import make_plan
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup

FOLDER = ROOT / "outputs"
LISTED = subprocess.run(["git", "ls-files", "-z", "."], cwd=FOLDER, capture_output=True, text=True, check=False).stdout.split("\0")
NAMES = sorted(filter(None, LISTED)) or sorted(
    str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()
)  # what questions wrote is not ours


@cache
def current() -> dict[str, str]:
    """What the plans of outputs/ write today, by path; made when a test first asks."""
    return dict(outputs.plan_files())


@pytest.mark.parametrize("name", [name for name in NAMES if name != outputs.PREDICTIONS])
def test_the_repositorys_outputs_are_current(name):
    assert (FOLDER / name).read_text() == current().get(name), "run `python -m benchmarks.outputs`"


@pytest.mark.slow
def test_the_repositorys_predictions_are_current():
    assert (FOLDER / outputs.PREDICTIONS).read_text() == outputs.predictions(), "run `python -m benchmarks.outputs`"


def test_the_repository_holds_nothing_else_of_outputs():
    assert set(NAMES) == {*current(), outputs.PREDICTIONS}


def test_the_table_in_the_readme_is_the_measured_one():
    rows = accuracy.table(accuracy.summary([accuracy.errors(start) for start in starts()]), accuracy.summary(accuracy.left_out()))
    assert len(rows) == 5
    assert all(row in (ROOT / "README.md").read_text() for row in rows), "run `python -m benchmarks.accuracy`"


@pytest.mark.slow
def test_the_accuracy_page_is_current():
    assert accuracy.PAGE.read_text() == accuracy.page(), "run `python -m benchmarks.accuracy`"


def test_the_coefficients_are_what_the_fit_gives():
    assert calibrate.calibrated() == coefficients(), "run `python -m benchmarks.calibrate`"


def test_starts_of_unseen_families_are_predicted_well():
    found = accuracy.summary(accuracy.left_out())
    assert found["starts"] == 42
    assert found["kv_mean"] <= 0.6
    assert found["kv_worst"] <= 4
    assert found["concurrency_mean"] <= 0.8
    assert found["weights_mean"] <= 0.5
    assert found["inside"] / found["starts"] >= 0.9


def kind(name: str) -> tuple:
    """What a script's form comes from: its own name, and what its folder's says of the runtime, the servers and their models."""
    folder, _, file = name.partition("/")
    return (file, "ollama" in folder, "apple" in folder, "-with-" in folder, "ministral" in folder, folder.startswith("qwen3-embedding"))


SCRIPTS = sorted(name for name in NAMES if name.endswith(".sh"))
FIRST = set({kind(name): name for name in reversed(SCRIPTS)}.values())


@pytest.mark.parametrize("script", [pytest.param(name, marks=[] if name in FIRST else pytest.mark.slow) for name in SCRIPTS])
def test_scripts_pass_shellcheck_at_its_strictest(script):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--enable=all", "--severity=style", FOLDER / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


MACHINES = (("rtx4090", 2), ("h100", 1), ("b300", 8))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_the_script_of_every_model_passes_shellcheck_at_its_strictest(part, tmp_path):
    """One variant of each model, on the first machine that it starts on, each next model's search begun at another: the linter takes its time for a script."""
    for number, row in [*enumerate(load.model_rows())][part::3]:
        listed = [variant for variant in row.variants if variant.is_listed]
        began = number // 3 % len(MACHINES)
        for gpu, count in (*MACHINES[began:], *MACHINES[:began]) if listed else ():
            variant = listed[(number + count) % len(listed)]
            name, group = load.Entry(row, variant).name, GpuGroup(gpu=load.find_gpu(gpu), count=count)
            try:
                plan = make_plan(Request(model=row.spec(variant), group=group), repo=variant.repo, served_name=name)
            except PlannerError:
                continue
            if not plan.verdict.falls_short:
                (tmp_path / f"{name}.sh").write_text(serve_script(answer_alone(plan).deployment))
                if number % 8 == 0:  # the larger script, of which little is the model's
                    (tmp_path / f"{name}-stack.sh").write_text(stack_script(answer_alone(plan).deployment))
                break
    scripts = sorted(tmp_path.iterdir())
    assert len(scripts) >= 20
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--enable=all", "--severity=style", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name.endswith("litellm.yaml")))
def test_litellm_files_load_and_carry_no_secret(name):
    config = yaml.safe_load(current()[name])
    assert config["general_settings"]["master_key"] == "os.environ/LITELLM_MASTER_KEY"
    assert len(config["model_list"]) == 1 + name.count("-with-")
    runtime = "ollama" if "ollama" in name else "mlx" if "apple" in name else ""
    prefixes = {"": ("hosted_vllm/",), "ollama": ("ollama_chat/", "ollama/"), "mlx": ("hosted_vllm/mlx-community/",)}[runtime]
    for entry in config["model_list"]:
        assert entry["litellm_params"]["model"].startswith(prefixes)
        assert runtime or entry["litellm_params"]["model"] == f"hosted_vllm/{entry['model_name']}"
        assert entry["litellm_params"]["api_base"].startswith("http://127.0.0.1:")
        sampling = {"temperature", "top_p", "top_k", "min_p", "presence_penalty", "max_tokens"}
        assert set(entry["litellm_params"]) - sampling - {"timeout"} == {"model", "api_base", "api_key"}  # LiteLLM forwards keys it does not know
        assert (entry["model_info"]["mode"] == "embedding") == ("embedding" in entry["model_name"])
    mistral = not runtime and any("ministral" in entry["model_name"] for entry in config["model_list"])
    assert ("callbacks" in config["litellm_settings"]) == mistral
    assert (name.replace("litellm.yaml", "custom_callbacks.py") in current()) == mistral


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name.endswith("plan.json")))
def test_plans_start_and_scripts_run_their_command(name):
    plan = json.loads(current()[name])
    script = current()[name.replace("plan.json", "stack.sh")]
    assert plan["verdict"] == "starts"
    assert (name.replace("plan.json", "serve.sh") in current()) == (len(plan["commands"]) == 1 and plan["engine"]["name"] == "vllm")
    for word in plan["commands"][0]["argv"]:
        assert word in script
    assert "--host 127.0.0.1" in script or "OLLAMA_HOST=127.0.0.1:11434" in script
    assert ("command -v nvcc" in script) == any(warning["code"] == "toolchain" for warning in plan["warnings"])

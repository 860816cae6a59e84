"""Each door of the built wheel, used as its users would, outside the checkout: `nox -s doors` copies this file and what FILES names beside it. In the checkout the
doors have tests of their own, and this one is left out."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest
import yaml
from github_runner import Runner

HERE = Path(__file__).parent
FILES = (
    "tests/test_installed_doors.py", "tests/github_runner.py", "tests/data/sarif-2.1.0.schema.json", "action.yml", ".pre-commit-hooks.yaml", "docs/notebook.ipynb",
    "docs/integrations/gpustack_claim.py", "docs/integrations/skypilot_any_of.py", "docs/integrations/llm_d_benchmark_step.py", "docs/integrations/ray_serve_builder.py",
)  # fmt: skip
pytestmark = pytest.mark.skipif(os.environ.get("PLAN_INSTALLED") != "required", reason="here the checkout's own files answer")
BIN = Path(sys.executable).parent
PLAN = BIN / "plan"
TOO_LONG = "#!/bin/bash\n# plan: gpu=h100\nexec vllm serve Qwen/Qwen3-32B --max-model-len 40960\n"
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "qwen"},
    "spec": {
        "template": {
            "spec": {
                "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"},
                "containers": [{"name": "vllm", "image": "vllm/vllm-openai:v0.21.0", "args": ["--model", "Qwen/Qwen3-32B"]}],
            }
        }
    },
}


def ran(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}:{os.environ['PATH']}"
    return subprocess.run(
        list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "PATH": path, **environment}
    )


@contextmanager
def served(*words: str, cwd: Path):
    """The address that a command says it listens on."""
    process = subprocess.Popen([PLAN, *words, "--port", "0"], cwd=cwd, stderr=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://[\d.:]+", process.stderr.readline())[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stderr.close()


@pytest.fixture
def folder(tmp_path):
    """A repository with a server that does not start."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "serve.sh").write_text(TOO_LONG)
    for words in (("init", "-q"), ("add", ".")):
        ran("git", *words, cwd=folder)
    return folder


def test_the_wheel_answers_and_no_checkout():
    assert Path(importlib.util.find_spec("planner").origin).is_relative_to(sys.prefix)
    assert not HERE.joinpath("planner").exists()


def test_the_actions_own_steps(folder, tmp_path):
    runner = Runner(tmp_path, folder, HERE)
    runner.use(f"exec {PLAN}")
    done = runner.run("Check", {"gpu": "l4"})
    assert "::error file=serve.sh,line=3" in done.stdout, done.stderr
    assert runner.run("Verdict", {}).returncode == 1
    assert "Qwen/Qwen3-32B" in runner.summary.read_text()
    sarif = json.loads((runner.temp / "plan.sarif").read_text())
    jsonschema.Draft4Validator(json.loads((HERE / "sarif-2.1.0.schema.json").read_text())).validate(sarif)
    assert sarif["runs"][0]["results"]


def test_the_hook_by_pre_commit(folder, tmp_path):
    """Its own words; that pre-commit installs them from the repository is tests/test_pull_requests.py's."""
    (hook,) = yaml.safe_load((HERE / ".pre-commit-hooks.yaml").read_text())
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"repos": [{"repo": "local", "hooks": [hook | {"language": "system"}]}]}))
    done = ran(BIN / "pre-commit", "run", "--all-files", "--config", settings, cwd=folder, PRE_COMMIT_HOME=str(tmp_path / "home"))
    assert done.returncode == 1, done.stderr
    assert "serve.sh:3:" in done.stdout


def test_mcp_by_the_sdks_client(tmp_path):
    import anyio
    from mcp import Client, StdioServerParameters, stdio_client

    async def ask():
        async with Client(stdio_client(StdioServerParameters(command=str(PLAN), args=["mcp"], cwd=str(tmp_path)))) as client:
            return await client.list_tools(), await client.call_tool("plan", {"gpu": "rtx4090", "model": "qwen3-8b"})

    listed, answer = anyio.run(ask)
    schemas = {tool.name: tool.output_schema for tool in listed.tools}
    assert answer.structured_content["verdict"] == "starts"
    jsonschema.validate(answer.structured_content, schemas["plan"], cls=jsonschema.Draft202012Validator)


def test_http_by_schemathesis(tmp_path):
    """One case of each question: all of its phases are run in tests/remote/test_http.py."""
    options = (
        "--phases",
        "fuzzing",
        "--max-examples",
        "1",
        "--generation-deterministic",
        "--exclude-checks",
        "positive_data_acceptance",
        "--request-timeout",
        "60",
        "--no-color",
    )
    with served("serve", "--rate", "10000", cwd=tmp_path) as address:
        done = ran(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_webhook_as_an_api_server_asks(tmp_path):
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u", "operation": "CREATE", "object": DEPLOYMENT}}
    with served("webhook", "--deny", "refused", cwd=tmp_path) as address:
        asked = urllib.request.Request(f"{address}/validate", json.dumps(review).encode(), {"Content-Type": "application/json"})
        response = json.load(urllib.request.urlopen(asked, timeout=60))["response"]
    assert (response["uid"], response["allowed"]) == ("u", False)
    assert "does not start" in response["status"]["message"]


def test_the_plugin_as_kubectl_finds_it(tmp_path):
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\ncat {tmp_path}/answer.json\n")
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "answer.json").write_text(json.dumps(DEPLOYMENT))
    done = ran(BIN / "kubectl-plan", "deploy/qwen", cwd=tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1, done.stderr
    assert "does not start" in done.stdout


SERVER = "vllm serve Qwen/Qwen3-8B --max-model-len 16384"
LLM_D = {
    "model": {"name": "Qwen/Qwen3-8B", "maxModelLen": 16384, "gpuMemoryUtilization": 0.9},
    "decode": {"replicas": 1, "acceleratorType": {"labelValue": "NVIDIA-L4"}},
}
RAY = {"model_loading_config": {"model_id": "q", "model_source": "Qwen/Qwen3-32B"}, "accelerator_type": "L4"}


def test_the_adapters_ask_the_command(tmp_path):
    """By their own words, and the two that another program imports as it does; that program judges them in tests/test_integrations.py."""
    claim = ran(sys.executable, HERE / "gpustack_claim.py", "rtx4090", 1, SERVER, cwd=tmp_path)
    assert int(json.loads(claim.stdout)["env"]["GPUSTACK_MODEL_VRAM_CLAIM"]) > 15 << 30, claim.stderr
    task = ran(sys.executable, HERE / "skypilot_any_of.py", SERVER, "L4:1", "H100:1", cwd=tmp_path)
    assert {"accelerators": "H100:1"} in yaml.safe_load(task.stdout)["resources"]["any_of"], task.stderr
    logger = "SimpleNamespace(log_info=print, log_warning=print)"
    step = f"from types import SimpleNamespace; from llm_d_benchmark_step import *; run_capacity_planner({LLM_D}, {logger})"
    assert "[decode] Qwen/Qwen3-8B" in ran(sys.executable, "-c", step, cwd=tmp_path, PYTHONPATH=str(HERE)).stdout
    builder = f"from ray_serve_builder import *; print(*faults([{RAY}]))"
    assert "does not start" in ran(sys.executable, "-c", builder, cwd=tmp_path, PYTHONPATH=str(HERE)).stdout


def test_the_notebook_as_its_reader_runs_it(tmp_path, monkeypatch):
    import nbclient
    import nbformat

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    kept = nbformat.read(HERE / "notebook.ipynb", as_version=4)
    fresh = nbclient.NotebookClient(nbformat.from_dict(kept), timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = ["".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in fresh.cells]
    assert [text for text in printed if text]
    assert printed == [
        "".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in nbformat.read(HERE / "notebook.ipynb", as_version=4).cells
    ]

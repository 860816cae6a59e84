"""MLX: bytes equal to MLX's own, the guide's measured table, and the stock servers on Linux's CPU build, started by the emitted stack."""

import json
import os
import subprocess
from dataclasses import replace

import pytest
from conftest import ROOT, free_ports, run_plan
from test_proxy import ask, litellm

from planner.catalogue.load import find_gpu
from planner.catalogue.resolve import find_plain
from planner.engines.metal import wired_bytes
from planner.engines.mlx.ask import MlxAsk
from planner.engines.mlx.memory import PROCESS_BYTES, cache_bytes, read_format, weights_bytes
from planner.engines.mlx.plan import plan_mlx
from planner.errors import PlannerError
from planner.facts.attention import FullAttention
from planner.facts.hardware import GpuGroup
from planner.units import GIB, MIB
from tests.judges import judge_venv

KEY = "sk-only-for-this-test"


def judge(program: str):
    return judge_venv("mlx") / "bin" / program


def ask_mlx(model: str, **wish) -> MlxAsk:
    plain = find_plain(model)
    group = GpuGroup(gpu=find_gpu("m4-max-128gb"), count=1)
    return MlxAsk(model=plain.spec, group=group, repo=f"mlx-community/{model}", served_name=model, form=read_format(wish.pop("form", "8bit")), **wish)


# The guide's table: added to a Mac's memory by each server, in GiB (it says GB).
@pytest.mark.parametrize(("model", "is_text", "measured"), [("ministral-3-14b", True, 14.1), ("qwen3-vl-30b-a3b", False, 31.3), ("qwen3-vl-32b", False, 33.4)])
def test_the_guides_measured_table_is_reproduced(model, is_text, measured):
    ours = weights_bytes(find_plain(model).spec, read_format("8bit"), vision=not is_text) + PROCESS_BYTES
    assert abs(ours / GIB - measured) / measured <= 0.05


@pytest.mark.judge
def test_matrices_and_caches_have_mlx_s_own_bytes():
    asked, ours = [], []
    for name, bits, group, mode in [
        *((f"{bits}bit-g{group}", bits, group, "affine") for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)),
        ("mxfp4", 4, 32, "mxfp4"),
        ("mxfp8", 8, 32, "mxfp8"),
        ("nvfp4", 4, 16, "nvfp4"),
    ]:
        asked.append({"what": "matrix", "rows": 96, "columns": 1024, "bits": bits, "group": group, "mode": mode})
        ours.append(read_format(name).matrix_bytes(96, 1024))
    for tokens in (1, 255, 256, 257, 1000, 5000):
        for bits in (16, 8, 4):
            asked.append({"what": "cache", "heads": 8, "dim": 128, "tokens": tokens, "bits": bits})
            ours.append(cache_bytes(FullAttention(kv_heads=8, head_dim=128, head_dim_v=128), tokens, bits))
    done = subprocess.run(
        [judge("python"), ROOT / "tests" / "oracle" / "mlx_bytes.py"],
        input="".join(json.dumps(each) + "\n" for each in asked),
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [int(line) for line in done.stdout.split()] == ours


def test_what_macos_lets_the_gpu_wire():
    for gpu, measured_mb in (("m4-16gb", 11_453), ("m1-max-32gb", 26_801), ("m4-max-64gb", 55_700)):
        expected, conservative = wired_bytes(find_gpu(gpu))
        assert abs(expected / 1e6 - measured_mb) / measured_mb <= 0.02
        assert conservative <= expected
    assert wired_bytes(find_gpu("m4-max-128gb"), 120_000) == (120_000 * MIB, 120_000 * MIB)


def test_a_mac_that_is_too_small_is_told_what_would_do():
    assert plan_mlx(ask_mlx("qwen3-vl-32b", context=131_072)).verdict == "starts"
    small = replace(ask_mlx("qwen3-vl-32b", context=262_144), group=GpuGroup(gpu=find_gpu("m4-max-64gb"), count=1))
    plan = plan_mlx(small)
    assert plan.verdict == "does_not_start"
    assert plan.rejection
    for alternative in plan.alternatives:
        assert alternative.verdict == "starts"
    assert any("--context" in alternative.arguments for alternative in plan.alternatives)


def test_more_context_users_and_bits_never_take_less():
    base = plan_mlx(ask_mlx("qwen3-8b", context=8192))
    for more in ({"context": 16_384}, {"context": 8192, "users": 3}, {"context": 8192, "form": "bf16"}):
        assert plan_mlx(ask_mlx("qwen3-8b", **more)).used_bytes >= base.used_bytes


@pytest.mark.parametrize("name", ["9bit", "4bit-g16", "", "q4", "mxfp5"])
def test_an_unknown_format_is_refused(name):
    with pytest.raises(PlannerError):
        read_format(name)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny model for chat, and the same as an embedding model."""
    folder = tmp_path_factory.mktemp("models")
    for name, architecture in (("tiny", None), ("tiny-embedding", "Qwen3Model")):
        subprocess.run([judge("python"), ROOT / "tests" / "oracle" / "tiny_mlx_model.py", folder / name], check=True, capture_output=True, timeout=120)
        if architecture:
            config = json.loads((folder / name / "config.json").read_text())
            (folder / name / "config.json").write_text(json.dumps(config | {"architectures": [architecture]}))
    return folder


@pytest.mark.judge
def test_the_emitted_stack_starts_mlx_s_own_servers_and_the_proxy(tiny, tmp_path):
    chat, embedding, proxy = free_ports(3)
    stack = {
        "gpu": "m4-max-128gb",
        "proxy_port": proxy,
        "services": [{"model": str(tiny / "tiny"), "port": chat}, {"model": str(tiny / "tiny-embedding"), "port": embedding}],
    }
    (tmp_path / "stack.json").write_text(json.dumps(stack))
    done = run_plan("-f", "stack.json", "--output", "out", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    commands = {command["service"]: command["argv"][0] for command in json.loads(done.stdout)["commands"]}
    assert commands == {"chat": "mlx_lm.server", "embedding": "mlx_vlm.server"}
    out = tmp_path / "out"
    (out / ".venv-mlx").symlink_to(judge("python").parent.parent)
    (out / ".venv-litellm").symlink_to(litellm("python").parent.parent)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_PROXY": "*",
        "HF_HUB_OFFLINE": "1",
    }
    try:
        started = subprocess.run(["bash", out / "stack.sh", "start"], env=environment, capture_output=True, text=True, timeout=180, check=False)
        assert started.returncode == 0, started.stdout + started.stderr
        url = f"http://127.0.0.1:{proxy}"
        answer = ask(f"{url}/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4})
        assert answer["usage"]["completion_tokens"] >= 1
        vector = ask(f"{url}/v1/embeddings", {"model": "tiny-embedding", "input": ["hello"]})["data"][0]["embedding"]
        assert len(vector) == 64
        tried = subprocess.run(["bash", out / "try.sh"], env=environment, capture_output=True, text=True, timeout=60, check=False)
        told = tried.stdout + tried.stderr
        assert "tiny-embedding, embedding: ok: " in told, told
        assert "tiny, text: ok: " in told or "tiny, text: FAILED: an empty answer" in told, told  # random weights may say no text at all
    finally:
        stopped = subprocess.run(["bash", out / "stack.sh", "stop"], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert stopped.stdout.count("is stopped") == 3


@pytest.mark.judge
def test_the_emitted_vision_command_is_one_that_mlx_vlm_takes(tiny, tmp_path):
    """The command of a real vision model, with the tiny model in its place: the server serves it."""
    (port,) = free_ports(1)
    done = run_plan("--gpu", "m4-max-128gb", "--model", "qwen3-vl-32b", "--port", str(port), "--dry-run", "--format", "json", cwd=tmp_path)
    (command,) = json.loads(done.stdout)["commands"]
    argv = [str(judge(command["argv"][0])), *(str(tiny / "tiny") if word.startswith("mlx-community/") else word for word in command["argv"][1:])]
    server = subprocess.Popen(
        argv, cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        from test_proxy import until_answers

        until_answers(server, f"http://127.0.0.1:{port}/health")
        body = {"model": str(tiny / "tiny"), "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        assert ask(f"http://127.0.0.1:{port}/v1/chat/completions", body)["choices"]
    finally:
        server.terminate()
        server.wait(30)

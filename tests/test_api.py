"""The public API: the names it has, answers equal to the command line's JSON, nothing printed or written, and types that hold for a user's file."""

import dataclasses
import inspect
import json
import subprocess
import sys
import typing

import pytest
from conftest import ROOT, run_plan
from test_own_rows import CARD

import planner
from planner.cli.main import cli
from planner.engines import ENGINES
from planner.engines.vllm.settings import PINS
from planner.questions.asked import CapacityPins, Pins, PlanSettings, ServerSettings
from planner.questions.fields import OF_SOME

NAMES = {
    "plan", "check", "explain", "choose", "capacity", "replay", "sessions", "cost",
    "PlanAnswer", "CheckAnswer", "ExplainAnswer", "ModelsAnswer", "MachinesAnswer", "CapacityAnswer", "ReplayAnswer", "SessionsAnswer", "CostAnswer", "PlannerError",
}  # fmt: skip
COMMAND = "vllm serve Qwen/Qwen3-8B --max-model-len 1000000"
PROXY = "model_list:\n  - model_name: a\n    litellm_params:\n      model: nowhere\n"
TRACE = '{"timestamp": 0, "input_length": 700, "output_length": 90}\n{"timestamp": 500, "input_length": 3000, "output_length": 40}\n'
LOG = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
EQUAL = {
    "plan": (lambda: planner.plan(model="qwen3-vl-32b-awq", gpu="rtx4090", count=2, context="128k"),
             ["--model", "qwen3-vl-32b-awq", "--gpu", "rtx4090", "--count", "2", "--context", "128k"]),
    "pins": (lambda: planner.plan(model="qwen3-8b", gpu="rtx3090", host="desktop", users=2, tensor_parallel_size=1, kv_cache_dtype="fp8", enforce_eager=True),
             ["--model", "qwen3-8b", "--gpu", "rtx3090", "--host", "desktop", "--users", "2", "-tp", "1", "--kv-cache-dtype", "fp8", "--enforce-eager"]),
    "several": (lambda: planner.plan(model="qwen3-8b", gpu="rtx4090", context=8192, beside=["qwen3-embedding-0.6b"], port=9000),
                ["--model", "qwen3-8b", "--gpu", "rtx4090", "--context", "8k", "--with", "qwen3-embedding-0.6b", "--port", "9000"]),
    "ollama": (lambda: planner.plan(model="qwen3-8b", gpu="rtx4090", engine="ollama", quantization="Q8_0"),
               ["--model", "qwen3-8b", "--gpu", "rtx4090", "--engine", "ollama", "--quantization", "Q8_0"]),
    "load": (lambda: planner.plan(model="qwen3-8b", gpu="rtx4090", context="32k", input=8000, output_tokens=200, concurrency=2),
             ["--model", "qwen3-8b", "--gpu", "rtx4090", "--context", "32k", "--input", "8000", "--output-tokens", "200", "--concurrency", "2"]),
    "does not start": (lambda: planner.plan(model="llama-3.3-70b", gpu="rtx4090"), ["--model", "llama-3.3-70b", "--gpu", "rtx4090"]),
    "check": (lambda: planner.check(COMMAND, gpu="rtx4090", free_gib=20.5), ["check", COMMAND, "--gpu", "rtx4090", "--free", "20.5"]),
    "proxy": (lambda: planner.check(PROXY), ["check", PROXY]),
    "described": (lambda: planner.check("llama-server -m Qwen3-8B-Q4_K_M.gguf -c 8192", gpu="custom", vram="16GiB", bandwidth=672, compute_capability="8.9", ram="64GiB"),
                  ["check", "llama-server -m Qwen3-8B-Q4_K_M.gguf -c 8192", "--gpu", "custom", "--vram", "16GiB", "--bandwidth", "672", "--compute-capability", "8.9", "--ram", "64GiB"]),
    "llama.cpp": (lambda: planner.plan(model="gpt-oss-20b", gpu="rtx3060", engine="llama.cpp", context="32k", parallel=2, n_cpu_moe=8, cache_type_k="q8_0", ram="64GiB"),
                  ["--model", "gpt-oss-20b", "--gpu", "rtx3060", "--engine", "llama.cpp", "--context", "32k", "--parallel", "2", "--n-cpu-moe", "8", "--cache-type-k", "q8_0", "--ram", "64GiB"]),
    "explain": (lambda: planner.explain(LOG, gpu="rtx4090", model="qwen3-8b"), ["explain", LOG, "--gpu", "rtx4090", "--model", "qwen3-8b"]),
    "capacity": (lambda: planner.capacity(model="qwen3-8b", gpu="rtx4090", input=1000, ttft="1s", tpot=0.04),
                 ["capacity", "--model", "qwen3-8b", "--gpu", "rtx4090", "--input", "1000", "--ttft", "1s", "--tpot", "40ms"]),
    "how many": (lambda: planner.capacity(model="qwen3-8b", gpu="rtx4090", rate=30), ["capacity", "--model", "qwen3-8b", "--gpu", "rtx4090", "--rate", "30"]),
    "slots": (lambda: planner.capacity(model="qwen3-8b", gpu="rtx4090", engine="llama.cpp", users=3), ["capacity", "--model", "qwen3-8b", "--gpu", "rtx4090", "--engine", "llama.cpp", "--users", "3"]),
    "trace": (lambda: planner.replay(trace="trace.jsonl", model="qwen3-8b", gpu="rtx4090", ttft="1s", max_num_seqs=8),
              ["capacity", "--trace", "trace.jsonl", "--model", "qwen3-8b", "--gpu", "rtx4090", "--ttft", "1s", "--max-num-seqs", "8"]),
    "cost": (lambda: planner.cost(model="qwen3-8b", gpu="rtx4090", input=1000, concurrency=4, documents=500, utilization=0.5, usd_per_kwh=0.3, watts=400),
             ["cost", "--model", "qwen3-8b", "--gpu", "rtx4090", "--input", "1000", "--concurrency", "4", "--documents", "500", "--utilization", "0.5",
              "--usd-per-kwh", "0.3", "--watts", "400"]),
    "sessions": (lambda: planner.sessions(turns=10, model="qwen3-8b", gpu="rtx4090", input=3000, pause="2s", subagents=1, kv_offloading_size=16, users=2),
                 ["capacity", "--turns", "10", "--model", "qwen3-8b", "--gpu", "rtx4090", "--input", "3000", "--pause", "2s", "--subagents", "1", "--kv-offloading-size", "16", "--users", "2"]),
    "models": (lambda: planner.choose(gpu="rtx4090", purpose="agent", top=3), ["--gpu", "rtx4090", "--for", "agent", "--top", "3"]),
    "machines": (lambda: planner.choose(model="qwen3-8b", top=3), ["--model", "qwen3-8b", "--top", "3"]),
}  # fmt: skip


def test_these_are_the_public_names():
    assert set(planner.__all__) == set(dir(planner)) == NAMES
    assert all(getattr(planner, name) for name in NAMES)
    with pytest.raises(AttributeError):
        _ = planner.make_plan


@pytest.mark.parametrize("case", EQUAL)
def test_an_answer_is_the_command_line_s(case, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ask, words = EQUAL[case]
    (tmp_path / "trace.jsonl").write_text(TRACE)
    answer = ask()
    assert capsys.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["trace.jsonl"]
    assert json.loads(json.dumps(answer.to_dict())) == json.loads(run_plan(*words, "--json", cwd=tmp_path).stdout)
    assert dataclasses.is_dataclass(answer)
    assert type(answer).__name__ in NAMES
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(answer, dataclasses.fields(answer)[0].name, None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gpu": "rtx4900"}, "rtx4900"),
        ({"model": "qwen3-9000"}, "qwen3-9000"),
        ({"context": "many"}, "plan(): context is 'many'"),
        ({"context": 0}, "plan(): context is '0': expected a whole number from 1"),
        ({"count": 0}, "plan(): count is '0'"),
        ({"host": "cellar"}, "plan(): host is 'cellar'"),
        ({"engine": "sglang"}, "plan(): engine is 'sglang'"),
        ({"vllm_version": "0.1"}, "vllm_version is '0.1'"),
        ({"port": 70_000}, "port is '70000': expected a whole number from 1 to 65535"),
        ({"tensor_parallel_sise": 2}, "plan(): unknown key 'tensor_parallel_sise'"),
    ],
)
def test_what_is_wrong_is_an_error(wrong, words):
    with pytest.raises(planner.PlannerError) as error:
        planner.plan(**{"model": "qwen3-8b", "gpu": "rtx4090"} | wrong)
    assert words in error.value.message


@pytest.mark.parametrize("ask", [{}, {"gpu": "rtx4090", "model": "qwen3-8b"}, {"gpu": "rtx4090", "purpose": "fun"}])
def test_choosing_leaves_one_open(ask):
    with pytest.raises(planner.PlannerError):
        planner.choose(**ask)


@pytest.mark.parametrize("wrong", [{"input": 0}, {"ttft": "soon"}, {"rate": float("nan")}, {"percentile": 10}])
def test_limits_are_checked(wrong):
    with pytest.raises(planner.PlannerError, match=next(iter(wrong))):
        planner.capacity(model="qwen3-8b", gpu="rtx4090", **wrong)


def test_every_setting_can_be_fixed():
    pins = {setting.name for setting in PINS}
    pins |= {"acceptance_length"}  # which is of the speed of a setting, and none of the server's
    assert set(typing.get_type_hints(Pins)) == pins
    assert set(typing.get_type_hints(CapacityPins)) == pins - {"max_model_len"}


def test_every_option_of_a_plan_is_an_argument():
    """But those about files and how it is printed, and those that another question of the API asks."""
    asked = {param.name for param in cli.params if param.expose_value and param.name}
    asked -= {"output", "to", "html", "svg", "dry_run", "force", "style", "as_json", "quiet", "purpose", "min_speed", "top", "prices", "stack_file"}
    renamed = {"host_kind": "host", "own_gpus": "gpus", "own_models": "models"}
    arguments = set(inspect.signature(planner.plan).parameters) - {"settings"} | set(typing.get_type_hints(PlanSettings))
    assert {renamed.get(name, name) for name in asked} == arguments
    assert {name for engine in ENGINES.values() for name in engine.own_settings} <= arguments
    assert set(typing.get_type_hints(ServerSettings)) == {setting.name for setting in OF_SOME} | {"gpu_layers"}


def test_every_option_of_capacity_is_an_argument():
    """Of `planner.capacity` or, of a recorded load, of `planner.replay`, or of sessions, of `planner.sessions`."""
    from planner.cli.capacity import capacity_command

    asked = {param.name for param in capacity_command.params if param.expose_value and param.name} - {"style", "as_json", "quiet"}
    renamed = {"host_kind": "host", "own_gpus": "gpus", "own_models": "models", "prompt": "input", "answer": "output_tokens"}
    ours = {renamed.get(name, name) for name in asked}
    pins = set(typing.get_type_hints(CapacityPins))
    of = {function: set(inspect.signature(function).parameters) - {"pins"} | pins for function in (planner.capacity, planner.replay, planner.sessions)}
    of_sessions = {"turns", "pause", "tool_tokens", "subagents", "kv_offloading_size"}
    assert of[planner.capacity] == ours - {"trace"} - of_sessions
    assert of[planner.replay] == ours - {"users", "rate", "input", "output_tokens", "engine"} - of_sessions
    assert of[planner.sessions] == ours - {"trace", "rate", "engine"}


def test_a_server_needs_a_gpu_and_a_proxy_none():
    assert planner.check(PROXY).plan is None
    with pytest.raises(planner.PlannerError, match="gpu is missing"):
        planner.check(COMMAND)


def test_own_rows_count(tmp_path):
    (tmp_path / "gpus.yaml").write_text(CARD)
    answer = planner.plan(model="qwen3-8b", gpu="my-card", gpus=tmp_path / "gpus.yaml")
    assert answer.to_dict()["hardware"]["gpu"] == "my-card"
    assert answer.to_dict()["question"]["own_gpus"]


def test_the_import_is_light():
    code = "import sys; before = set(sys.modules); import planner; print({name for name in set(sys.modules) - before if name.partition('.')[0] not in sys.stdlib_module_names})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "{'planner'}"


@pytest.mark.slow
def test_a_user_s_file_has_types():
    api = pytest.importorskip("mypy.api")
    out, _, code = api.run(["--strict", "--config-file", "", "--no-error-summary", "--follow-imports=silent", str(ROOT / "tests" / "typing" / "api.py")])
    assert code == 0, out

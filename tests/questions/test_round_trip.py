"""What plan writes, check reads: each engine's server in each file that starts it, with the settings, the ledger and the verdict of the plan."""

from dataclasses import replace

import pytest

from planner.emit import emit, emit_formats
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.questions.check import check, chosen, group_for
from planner.questions.find_commands import find_commands
from planner.questions.plan import answer_for

# engine, GPU, model, what is asked of it
SAMPLED = [
    ("vllm", "rtx4090", "qwen3-8b", {}),
    ("vllm", "a100-80", "qwen3-vl-32b-awq", {"kv_cache_dtype": "fp8", "context": 32_768}),
    ("vllm", "t4", "qwen3-4b", {"max_num_seqs": 8, "gpu_memory_utilization": 0.8}),
    ("llama.cpp", "rtx4090", "qwen3-32b", {"quantization": "Q4_K_M", "kv_cache_dtype": "q8_0"}),
    ("llama.cpp", "rtx3060", "gpt-oss-20b", {"context": 65_536, "users": 4}),
    ("llama.cpp", "m4-max-64gb", "qwen3-vl-8b", {"context": 32_768}),
    ("llama.cpp", "t4", "qwen3-embedding-0.6b", {}),
    ("ollama", "rtx4090", "qwen3-8b", {"kv_cache_dtype": "q8_0", "context": 16_384, "users": 4}),
    ("ollama", "rtx3060", "gemma-3-27b", {}),
    ("ollama", "m4-max-64gb", "gpt-oss-20b", {"context": 65_536}),
    ("ollama", "t4", "qwen3-embedding-0.6b", {}),
    ("mlx", "m4-24gb", "qwen3-8b", {}),
    ("mlx", "m4-max-64gb", "qwen3-vl-8b", {"kv_cache_dtype": "q8"}),
    ("mlx", "m4-max-64gb", "qwen3-embedding-0.6b", {}),
]
ALL = [
    (engine, gpu, model, asked)
    for engine, gpus, asks in (
        ("vllm", ("rtx4090", "h100"), ({"context": 32_768, "users": 4}, {"enforce_eager": True})),
        ("llama.cpp", ("rtx4090", "rtx3060", "m4-max-64gb"), ({"context": 32_768, "users": 4}, {"kv_cache_dtype": "q8_0"}, {"quantization": "Q8_0"})),
        ("ollama", ("rtx4090", "rtx3060", "m4-max-64gb"), ({"context": 32_768, "users": 4}, {"kv_cache_dtype": "q8_0"})),
        ("mlx", ("m4-24gb", "m4-max-64gb"), ({"kv_cache_dtype": "q8"}, {"quantization": "4bit"})),
    )
    for gpu in gpus
    for model in ("qwen3-8b", "gpt-oss-20b", "qwen3.6-35b-a3b", "gemma-3-27b", "ministral-3-14b")
    for asked in asks
]
# What mlx_lm.server is not told: how long a conversation may be.
UNTOLD = {"mlx_lm.server": ("context",)}
STARTS = ("stack.sh", "serve.sh", "compose.yaml", "kubernetes.yaml", "ollama.env", "ollama.override.conf")


def texts_of(deployment):
    """All files of a deployment, in every format that holds it."""
    texts = emit(deployment)
    for name in ("launchd",) if deployment.vendor == "apple" else ("compose", "systemd", "k8s"):
        try:
            texts |= emit_formats(deployment, (name,))
        except PlannerError as error:
            assert "serves vllm only" in error.message
    return texts


def found_in(texts, name):
    """The server of one file; of an engine that makes its models, with what makes them."""
    made = {file: text for file, text in texts.items() if file.startswith("Modelfile")}
    commands = find_commands(texts[name]) + (find_commands(texts["setup.sh"]) if made else [])
    return chosen([replace(command, files={**command.files, **made}) for command in commands])


def ledger(plan, untold):
    """Lines that take anything; of a server that is not told the context only those that it does not change."""
    return {line.key: line.bytes for line in plan.lines if line.bytes and (not untold or line.key == "weights")}


def read_again(engine, gpu, model, asked):
    try:
        answer = answer_for(StackRow(gpu=gpu, engine=engine, services=[ServiceRow(model=model, **asked)]))
    except PlannerError as refused:
        pytest.skip(refused.message)  # an engine may not have what is asked
    plan = answer.main
    if not plan.starts:
        pytest.skip("it does not start, and nothing is written")
    texts = texts_of(answer.deployment)
    files = [name for name in texts if name in STARTS or (name.endswith((".service", ".plist")) and "litellm" not in name)]
    assert len(files) >= 2
    for name in files:
        command = found_in(texts, name)
        again = check(command, group_for(command, gpu, 1, "server"))
        assert again.verdict == plan.verdict, (name, again.problems, again.warnings)
        untold = UNTOLD.get(again.service.argv[0], ())
        settings = dict(again.settings)
        assert {key: settings.get(key) for key, _ in plan.settings if key not in untold} == {key: value for key, value in plan.settings if key not in untold}, (
            name
        )
        assert ledger(again, untold) == ledger(plan, untold), name


@pytest.mark.parametrize(("engine", "gpu", "model", "asked"), SAMPLED, ids=lambda value: str(value)[:30])
def test_what_is_written_is_read_again(engine, gpu, model, asked):
    read_again(engine, gpu, model, asked)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "gpu", "model", "asked"), ALL, ids=lambda value: str(value)[:30])
def test_all_that_is_written_is_read_again(engine, gpu, model, asked):
    read_again(engine, gpu, model, asked)

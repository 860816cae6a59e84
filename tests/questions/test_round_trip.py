"""What plan writes, check reads: each engine's server in each file that starts it, with the settings, the ledger and the verdict of the plan."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from planner.catalogue.load import model_rows
from planner.emit import emit, emit_formats
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.questions.check import check, chosen, machine_for
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
# Each engine's options with what they may be, and machines: cards of one kind, two of it, several that differ, Macs.
GGUF = {
    "quantization": ("Q4_K_M", "Q8_0", "IQ4_XS", "BF16", "Q3_K_M", "UD-Q4_K_XL"),
    "kv_cache_dtype": ("q8_0", "q4_0", "f16"),
    "gpu_layers": (0, 10, 20, 99),
}
CARDS = (
    "rtx4090",
    "rtx3060",
    "rtx3090,rtx3090",
    "rtx3090,rtx4090",
    "rtx3060,rtx5090",
    "rtx3090,rtx4090,rtx3060",
    "t4",
    "h100",
    "rx7900xtx",
    "m4-max-64gb",
    "m4-24gb",
)
OPTIONS = {
    "llama.cpp": (
        CARDS,
        GGUF
        | {
            "parallel": ("auto", "1", "4", "8"),
            "kv_unified": (True, False),
            "ubatch_size": (256, 512, 1024, 4096),
            "batch_size": (256, 2048, 4096),
            "flash_attn": ("on", "off", "auto"),
            "cache_type_k": ("q8_0", "f16", "q4_1", "bf16"),
            "cache_type_v": ("q8_0", "f16", "q5_0"),
            "mmproj": (True, False),
            "image_min_tokens": (64, 3000),
            "image_max_tokens": (512, 4096),
            "n_cpu_moe": (4, 20),
            "cpu_moe": (True,),
            "override_tensor": ("exps=CPU", r"blk\.1.\.ffn_(up|down)_exps=CPU"),
            "tensor_split": ("3,1", "1,1"),
            "split_mode": ("none", "layer", "row"),
            "main_gpu": (0, 1),
            "spec_type": ("draft-mtp", "draft-simple", "ngram-mod"),
            "model_draft": ("qwen3-0.6b:Q8_0", "qwen3-1.7b"),
            "n_gpu_layers_draft": (0, 10),
            "cache_type_k_draft": ("q8_0", "f16"),
            "engine_version": ("b9000", "b9842", "v0.5.0"),
        },
    ),
    "ollama": (CARDS, GGUF | {"flash_attn": ("on", "off", "auto")}),
    "mlx": (("m4-max-64gb", "m4-24gb", "m1-max-32gb"), {"quantization": ("4bit", "8bit", "bf16", "6bit"), "kv_cache_dtype": ("q8", "q4")}),
    "vllm": (("rtx4090", "rtx3090,rtx4090", "a100-80", "h100,h100"), {"kv_cache_dtype": ("fp8", "auto"), "max_num_seqs": (1, 8, 64), "enforce_eager": (True,)}),
}
OF_ALL = {"context": (2048, 5000, 8192, 32_768, 65_536, 131_072), "users": (1, 2, 3, 4, 8)}
OF_MACHINE = {"ram": ("64GiB",), "host": ("desktop",)}
ASKED = 60  # questions of each sample


def untold(plan):
    """What a server is not told: mlx_lm.server how long a conversation may be, mlx_vlm.server how many texts it embeds at a time, and how long ones."""
    return ("context",) if "mlx_lm.server" in plan.service.argv else ("parallel", "context") if "--embedding-model" in plan.service.argv else ()


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


def ledger(plan, left_out):
    """Lines that take anything; of a server that is not told everything only those that this does not change."""
    return {line.key: line.bytes for line in plan.lines if line.bytes and (not left_out or line.key == "weights")}


def read_again(engine, gpu, model, asked, *, machine=None, names=STARTS):
    row = StackRow(gpu=gpu, engine=engine, services=[ServiceRow(model=model, **asked)], **machine or {})
    try:
        answer = answer_for(row)
    except PlannerError as refused:
        return refused.message  # an engine may not have what is asked
    plan = answer.main
    if not plan.starts:
        return "it does not start, and nothing is written"
    texts = texts_of(answer.deployment)
    files = [name for name in texts if name in names or (name.endswith((".service", ".plist")) and "litellm" not in name)]
    assert files
    for name in files:
        command = found_in(texts, name)
        command = replace(command, version=asked.get("engine_version", command.version))
        again = check(command, machine_for(command, row))
        left_out = untold(again)  # of a shorter conversation than planned the verdict may be better
        assert again.verdict == plan.verdict or (left_out and again.starts), (name, again.problems, again.warnings)
        settings = dict(again.settings)
        told = [(key, value) for key, value in plan.settings if key not in left_out]
        assert [(key, settings.get(key)) for key, _ in told] == told, name
        assert ledger(again, left_out) == ledger(plan, left_out), name
    return ""


@pytest.mark.parametrize(("engine", "gpu", "model", "asked"), SAMPLED, ids=lambda value: str(value)[:30])
def test_what_is_written_is_read_again(engine, gpu, model, asked):
    if refused := read_again(engine, gpu, model, asked):
        pytest.skip(refused)


@pytest.mark.parametrize(("engine", "names"), [("ollama", ("stack.sh", "ollama.env")), ("llama.cpp", STARTS)])
def test_a_file_that_nobody_is_known_to_publish_has_its_projector_beside_it(engine, names):
    assert read_again(engine, "rtx3060", "qwen2.5-vl-3b", {"context": 8192, "quantization": "UD-Q4_K_XL"}, names=names) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "gpu", "model", "asked"), ALL, ids=lambda value: str(value)[:30])
def test_all_that_is_written_is_read_again(engine, gpu, model, asked):
    if refused := read_again(engine, gpu, model, asked):
        pytest.skip(refused)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "seed"), [*(("llama.cpp", seed) for seed in range(5)), *(("ollama", seed) for seed in range(2)), ("mlx", 0), ("vllm", 0)])
def test_a_sample_of_models_machines_and_options_is_read_again(engine, seed):
    chance = random.Random(f"{engine} {seed}")
    cards, options = OPTIONS[engine]
    models = [row.name for row in model_rows()]

    def some(wishes, share):
        return {name: chance.choice(values) for name, values in wishes.items() if chance.random() < share}

    answers = Counter()
    for _ in range(ASKED):
        asked, machine = some(OF_ALL, 0.5) | some(options, 0.2), some(OF_MACHINE, 0.25)
        answers[read_again(engine, chance.choice(cards), chance.choice(models), asked, machine=machine, names=("stack.sh", "ollama.env")) == ""] += 1
    assert answers[True] >= ASKED // 4

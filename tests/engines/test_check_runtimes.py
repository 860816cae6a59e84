"""`plan check` of llama.cpp, Ollama and MLX: commands as people have them, verdicts by the ledgers, flags by the engines' own tables."""

import json
from dataclasses import replace

import jsonschema
import pytest
from conftest import gpu, run_plan
from test_llamacpp import write_gguf

from planner.catalogue import resolve
from planner.catalogue.load import find_gpu, find_model
from planner.cli.check_files import paths_of
from planner.engines import ENGINES
from planner.engines.llamacpp.check import check_server
from planner.engines.llamacpp.flags import grammar
from planner.engines.llamacpp.memory import LlamaCppConfig, kv_bytes
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.named import by_tag
from planner.engines.llamacpp.plan import plan_gguf
from planner.engines.mlx.flags import grammar as mlx_grammar
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.facts.question import ServiceRow, StackRow
from planner.facts.verdict import Verdict
from planner.questions.check import _catalogue, check, find_server, group_for
from planner.questions.find_commands import find_commands
from planner.questions.plan import answer_for
from planner.report.schemas import json_schema
from planner.units import GIB, MIB

FOUND = {
    "a line": ("llama-server -m a.gguf -c 4096", "llama.cpp", ["-m", "a.gguf", "-c", "4096"]),
    "a path": ("nohup ./build/bin/llama-server --model a.gguf > log 2>&1 &", "llama.cpp", ["--model", "a.gguf"]),
    "the one program": ("llama serve -m a.gguf", "llama.cpp", ["-m", "a.gguf"]),
    "its image": (
        "docker run -p 8080:8080 --gpus all ghcr.io/ggml-org/llama.cpp:server-cuda -m /models/a.gguf --port 8000 -n 512",
        "llama.cpp",
        ["-m", "/models/a.gguf", "--port", "8000", "-n", "512"],
    ),
    "compose": ("services:\n  l:\n    image: ghcr.io/ggml-org/llama.cpp:server\n    command: -m a.gguf -c 512\n", "llama.cpp", ["-m", "a.gguf", "-c", "512"]),
    "Ollama": ("OLLAMA_CONTEXT_LENGTH=32768 ollama serve", "ollama", ["serve"]),
    "Ollama in a container": ("docker run -d --gpus=all -v ollama:/root/.ollama -p 11434:11434 --name ollama ollama/ollama", "ollama", []),
    "its client": ("docker exec -it ollama ollama run qwen3:8b", "ollama", ["run", "qwen3:8b"]),
    "a unit": ("[Service]\nExecStart=/usr/local/bin/ollama serve\n", "ollama", ["serve"]),
    "MLX": ("mlx_lm.server --model a/b --port 1", "mlx", ["--model", "a/b", "--port", "1"]),
    "its module": ("python -m mlx_lm.server --model a/b", "mlx", ["--model", "a/b"]),
    "its subcommand": ("python3 -m mlx_lm server --model a/b", "mlx", ["--model", "a/b"]),
    "MLX-VLM": ("uv run mlx_vlm.server --model a/b", "mlx", ["--model", "a/b"]),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_server_of_each_engine_is_found_however_it_is_started(name):
    text, engine, words = FOUND[name]
    (found,) = find_commands(text)
    assert (found.engine, list(found.words)) == (engine, words)


def checked(text, card="rtx4090", count=1, number=None):
    command = find_server(text, number)
    return check(command, group_for(command, card, count, "server"))


def test_a_client_names_the_model_to_the_server_before_it():
    text = (
        'export OLLAMA_NUM_PARALLEL=2\nOLLAMA_CONTEXT_LENGTH=16384 OLLAMA_KV_CACHE_TYPE=q8_0 ollama serve &\nollama pull qwen3:8b\nollama run qwen3:8b "hi"\n'
    )
    command = find_server(text)
    assert dict(command.env) == {"OLLAMA_NUM_PARALLEL": "2", "OLLAMA_CONTEXT_LENGTH": "16384", "OLLAMA_KV_CACHE_TYPE": "q8_0"}
    plan = check(command, group_for(command, "rtx4090", 1, "server"))
    # Qwen3-8B: 36 layers of 8 heads of 128, keys and values, 34 bytes for 32 elements, 2 x 16,384 tokens
    assert plan.memory["kv_cache_bytes"] == 36 * 2 * 8 * 128 * 2 * 16384 // 32 * 34
    assert (plan.verdict, plan.context, plan.users) == ("starts", 16384, 2)


def test_a_unit_sets_its_environment():
    unit = '[Service]\nEnvironment="OLLAMA_CONTEXT_LENGTH=8192"\nExecStart=/usr/local/bin/ollama serve\n'
    assert dict(find_server(unit).env)["OLLAMA_CONTEXT_LENGTH"] == "8192"


def test_ollamas_default_context_is_by_the_memory_of_all_gpus():
    assert checked("ollama run qwen3:8b").context == 32_768  # 23.5 GiB
    assert checked("ollama run qwen3:8b", "t4").context == 4096  # 14.7 GiB
    assert checked("ollama run qwen3:8b", count=2).context == 40_960  # 47 GiB: 262,144, of which the model has 40,960


# A published command, the card, its verdict, and the problem's code or nothing.
JUDGED = [
    ("llama-server -hf ggml-org/gpt-oss-20b-GGUF --ctx-size 32768 --jinja -ub 2048 -b 2048 --n-gpu-layers 99", "rtx4090", "starts", ""),
    ("llama-server -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -c 40960 -np 1", "rtx4090", "does_not_start", "out-of-memory"),  # 18.0 + 10 GiB
    ("llama-server -m Qwen3-32B-Q4_K_M.gguf -c 40960 -np 1", "rtx4090", "starts", ""),  # the fit moves layers
    ("llama-server -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -np 1", "rtx4090", "starts", ""),  # the fit shortens the context
    ("llama-server -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -np 1 --fit off", "rtx4090", "does_not_start", "out-of-memory"),
    ("llama-server -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -c 40960 -np 1 -ncmoe 4", "rtx4090", "does_not_start", "out-of-memory"),
    ("llama-server -m qwen3-8b-Q4_K_M.gguf -ngl 99 -c 8192 -md draft.gguf", "rtx4090", "unknown", ""),
    ("llama-server -m qwen3-8b-Q4_K_M.gguf -ngl 99 -c 8192 --no-mmap", "rtx4090", "does_not_start", "unknown-flag"),
    ("llama-server -m qwen3-8b-Q4_K_M.gguf --n-gpu-layer 99 -c 8192", "rtx4090", "does_not_start", "unknown-flag"),
    ("llama-server -m qwen3-8b-Q4_K_M.gguf -c lots", "rtx4090", "does_not_start", "bad-value"),
    ("llama-server -m qwen3-8b-Q4_K_M.gguf -fa -c 8192", "rtx4090", "does_not_start", "bad-value"),
    ("llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -ctk q9_0", "rtx4090", "does_not_start", "bad-value"),
    ("llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -ctv q8_0 -fa off", "rtx4090", "does_not_start", "bad-value"),
    ("llama-server -m qwen3-8b-Q4_K_M.gguf --ctx_size 8192", "rtx4090", "starts", ""),  # underscores are dashes
    ("llama-server -hf unsloth/Qwen3-8B-GGUF:UD-IQ1_S -c 8192", "rtx4090", "unknown", ""),
    ("llama-server -hf unsloth/Qwen3-8B-GGUF:UD-Q4_K_XL -c 8192", "rtx4090", "starts", ""),
    ("llama-server -hf unsloth/Qwen3.6-27B-GGUF:UD-Q4_K_XL -c 8192", "rtx4090", "starts", ""),
    ("ollama run qwen3:32b", "rtx4090", "starts", ""),
    ("ollama run qwen3:8b --keepalive 10m --verbosee", "rtx4090", "does_not_start", "unknown-flag"),
    ("OLLAMA_KV_CACHE_TYPE=q9 ollama run qwen3:8b", "rtx4090", "does_not_start", "bad-value"),
    ("mlx_lm.server --model mlx-community/Qwen3-8B-4bit --port 8080", "m4-max-128gb", "starts", ""),
    ("mlx_lm.server --model mlx-community/Qwen3-32B-8bit", "m4-24gb", "does_not_start", "out-of-memory"),  # 32.4 GiB of weights
    ("mlx_lm.server --model mlx-community/Qwen3-8B-4bit --max-kv-size 4096", "m4-max-128gb", "does_not_start", "unknown-flag"),
    ("mlx_lm.server --model mlx-community/Qwen3-8B-4bit --prompt-conc 1", "m4-max-128gb", "starts", ""),  # argparse takes a beginning
    ("mlx_lm.server --model=mlx-community/Qwen3-8B-4bit --port eight", "m4-max-128gb", "does_not_start", "bad-value"),
    ("mlx_vlm.server --model mlx-community/Qwen3-VL-32B-Instruct-8bit --max-kv-size 32768", "m4-max-64gb", "starts", ""),
    ("mlx_lm.server --model mlx-community/gpt-oss-20b-MXFP4-Q8 --kv-bits 8", "m4-max-64gb", "does_not_start", "unsupported"),  # sinks
    ("mlx_lm.server --model mlx-community/Qwen3.5-9B-4bit --prefill-step-size 32768", "m1-max-32gb", "starts", ""),
    ("mlx_vlm.server --model mlx-community/Qwen3.5-9B-4bit --max-kv-size 128k", "m1-max-32gb", "does_not_start", "bad-value"),
    ("mlx_vlm.server --model mlx-community/Qwen3.5-9B-4bit --max-kv-size 131072 --prefill-step-size 8192", "m1-max-32gb", "does_not_start", "out-of-memory"),
    ("mlx_vlm.server --model mlx-community/Qwen3.5-9B-4bit --max-kv-size 131072 --prefill-step-size 512", "m1-max-32gb", "starts", ""),
    ("mlx_lm.server --model mlx-community/Qwen3-8B-4bit --draft-model x", "m4-max-128gb", "unknown", ""),
]


@pytest.mark.parametrize(("text", "card", "verdict", "code"), JUDGED, ids=lambda value: str(value)[:60])
def test_commands_are_judged(text, card, verdict, code):
    plan = checked(text, card)
    assert plan.verdict == verdict, [problem.message for problem in plan.problems]
    assert [problem.code for problem in plan.problems][:1] == ([code] if code else [])
    assert all(problem.fix for problem in plan.problems)


def test_what_the_fit_does_is_said():
    whole = checked("llama-server -m Qwen3-32B-Q4_K_M.gguf -c 40960 -np 1")
    assert 0 < whole.layers_on_gpu < whole.layers == 65
    assert "layers-on-cpu" in [warning.code for warning in whole.warnings]
    short = checked("llama-server -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -np 1")
    assert short.is_whole and 4096 <= short.context < 40_960
    assert dict(short.reasons)["context"] == "llama.cpp's choice"


def test_the_fix_of_what_is_too_large_starts():
    text = "llama-server -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -c 40960 -np 1"
    plan = checked(text)
    assert plan.alternatives
    for change in plan.alternatives:
        words = [word for word in text.split() if change.arguments.startswith("--n-gpu-layers") is False or word not in ("-ngl", "99")]
        if change.arguments.startswith("--ctx-size"):
            words = [word for word in words if word not in ("-c", "40960")]
        assert checked(" ".join([*words, change.arguments])).verdict == "starts", change


def test_slots_share_a_cache_unless_they_are_named():
    """Field case L09: Qwen3.6-27B at 131,072 tokens of q8_0 with automatic slots holds 4,352 MiB of cache and 598.5 MiB of states, those of four."""
    model = converted(find_model("qwen3.6-27b").spec(), "Q4_K_M")
    auto = LlamaCppConfig(context=131_072, sequences=4, kv_type="q8_0")
    one = replace(auto, sequences=1)
    states = (kv_bytes(model, auto) - kv_bytes(model, one)) // 3
    assert kv_bytes(model, one) - states == 4352 * MIB
    assert states == pytest.approx(149.62 * MIB, abs=0.01 * MIB)


def test_keys_and_values_may_be_of_two_types():
    model = converted(find_model("qwen3-8b").spec(), "Q4_K_M")
    mixed = kv_bytes(model, LlamaCppConfig(context=1024, kv_type="q8_0", value_type="q4_0"))
    assert mixed == 36 * 1024 * 8 * 128 // 32 * (34 + 18)


def test_a_file_is_read_by_its_header(tmp_path):
    pytest.importorskip("gguf")
    path = tmp_path / "tiny.gguf"
    write_gguf(path, ["Q8_0"] * 4)
    plan = checked(f"llama-server -m {path} -c 512 -np 1")
    assert (plan.verdict, plan.model.quantization) == ("starts", "file")
    with pytest.raises(PlannerError, match="is not here"):
        checked(f"docker run ghcr.io/ggml-org/llama.cpp:server -m {path}")  # not in the container


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("llama-server -c 4096", "names no model"),
        ("llama-server -m model.gguf", "is not here"),
        ("llama-server -hf nobody/none-GGUF:Q4_K_M", "unknown model"),
        ("llama-server -m $MODEL", "only the shell"),
        ("ollama serve", "ollama run MODEL"),
        ("ollama run nothing:7b", "unknown model"),
        ("mlx_lm.server --port 1", "names no model"),
    ],
)
def test_what_cannot_be_judged_is_a_question_to_the_user(text, says):
    with pytest.raises(PlannerError) as refused:
        checked(text, "m4-max-64gb")
    assert says in f"{refused.value.message}; {refused.value.hint}"
    assert refused.value.exit_code == 2


def test_an_engine_is_refused_on_a_machine_that_it_does_not_run_on():
    with pytest.raises(PlannerError, match="MLX runs on Apple silicon"):
        checked("mlx_lm.server --model mlx-community/Qwen3-8B-4bit", "rtx4090")


def test_numbers_that_llama_cpp_reads_otherwise_are_told():
    plan = checked("llama-server -m qwen3-8b-Q4_K_M.gguf -c 32k -np 1")
    assert any("reads --ctx-size 32k as 32" in warning.message for warning in plan.warnings)
    assert plan.context == 32


def test_a_misspelt_variable_is_told():
    plan = checked("OLLAMA_CONTEXT_LENGHT=32768 ollama run qwen3:8b")
    assert any("did you mean OLLAMA_CONTEXT_LENGTH" in warning.message for warning in plan.warnings)


def test_the_exit_code_and_the_json_of_each_engine(tmp_path):
    for text, card, code in (
        ("llama-server -m qwen3-8b-Q4_K_M.gguf -ngl 99 -c 32768", "rtx4090", 0),
        ("llama-server -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -c 40960 -np 1", "rtx4090", 1),
        ("llama-server -m qwen3-8b-Q4_K_M.gguf -md draft.gguf", "rtx4090", 4),
        ("OLLAMA_CONTEXT_LENGTH=32768 ollama run qwen3:8b", "rtx4090", 0),
        ("mlx_lm.server --model mlx-community/Qwen3-8B-4bit", "m4-max-128gb", 0),
        ("llama-server -m model.gguf", "rtx4090", 2),
    ):
        done = run_plan("check", text, "--gpu", card, "--format", "json", cwd=tmp_path)
        assert done.returncode == code, (text, done.stderr)
        if code != 2:
            answer = json.loads(done.stdout)
            jsonschema.validate(answer, json_schema("check"))
            assert answer["memory"]["lines"] and answer["commands"][0]["argv"]


@pytest.mark.parametrize("name", ["qwen3-8b", "qwen3-32b", "gpt-oss-20b", "gemma-3-27b"])
def test_checking_a_planned_command_gives_the_plan_back(name):
    """The law of DESIGN: what `plan` writes for llama.cpp, `plan check` judges alike."""
    from planner.engines.llamacpp.ask import GgufAsk

    spec = find_model(name).spec()
    model = converted(spec, "Q4_K_M")
    group = GpuGroup(gpu=gpu("rtx4090"), count=1)
    ask = GgufAsk(model=model, group=group, is_ollama=False, served_name=name, source=f"{name}-Q4_K_M.gguf", context=8192, users=2, origin=spec)
    plan = plan_gguf(ask)
    (command,) = find_commands(" ".join(plan.service.argv))
    again = check_server(command, group, resolve)
    assert (again.verdict, again.layers_on_gpu) == (plan.verdict, plan.layers_on_gpu)
    assert [(line.key, line.bytes) for line in again.lines] == [(line.key, line.bytes) for line in plan.lines]


def test_the_tables_hold_what_the_settings_name():
    for engine, spellings in (
        ("llama.cpp", grammar().spellings),
        ("mlx", {**mlx_grammar("mlx_lm.server").spellings, **mlx_grammar("mlx_vlm.server").spellings}),
    ):
        for setting in ENGINES[engine].settings:
            assert {setting.flag, *setting.aliases, *setting.off} <= set(spellings), setting.name


def test_the_size_of_a_known_start_is_what_the_log_said():
    """Field case L01: Qwen2.5-32B Q4_K_M at 4,096 tokens took 18,508 + 1,024 + 307 MiB."""
    command = find_server("llama-server -hf bartowski/Qwen2.5-32B-Instruct-GGUF:Q4_K_M -ngl 99 -c 4096 -np 1", None)
    plan = check(replace(command, version="b8390"), group_for(command, "rtx4090", 1, "server"))
    sizes = {line.key: line.bytes / MIB for line in plan.lines}
    assert sizes["weights"] == pytest.approx(18_508, rel=0.001)
    assert sizes["kv_cache"] == 1024
    assert sizes["compute"] == pytest.approx(307, rel=0.01)
    assert sum(line.bytes for line in plan.lines) < 20 * GIB


IDLE = {
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 -fit off -fitt 512": "--fit-target does nothing: --fit off",
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 -fitc 4096": "--fit-ctx does nothing: the context is said",
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 -ts 1,1": "--tensor-split does nothing: one GPU",
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 --n-cpu-moe 10": "--n-cpu-moe does nothing: the model has no experts",
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 --swa-full": "--swa-full does nothing",
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 --draft-max 16": "no model drafts",
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 --image-max-tokens 1024": "there is no projector",
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 --models-max 2": "a router",
    "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192 -np 1 -b 512 -ub 2048": "--ubatch-size 2048 does nothing: a step holds no more than a batch",
}


@pytest.mark.parametrize("text", IDLE)
def test_flags_that_do_nothing_are_told(text):
    told = [warning.message for warning in checked(text).warnings if warning.code == "does-nothing"]
    assert any(IDLE[text] in message for message in told), told


def test_unloading_when_idle_is_told():
    (message,) = [
        warning.message for warning in checked("llama-server -m qwen3-8b-Q4_K_M.gguf --sleep-idle-seconds 300").warnings if warning.code == "keep-alive"
    ]
    assert "loads it anew" in message
    assert "keep-alive" not in [warning.code for warning in checked("llama-server -m qwen3-8b-Q4_K_M.gguf --sleep-idle-seconds -1").warnings]


@pytest.mark.parametrize(
    "text", ["llama-server -m gpt-oss-20b-MXFP4.gguf -c 8192 -np 1 --swa-full -ncmoe 4 -ub 1024", "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192"]
)
def test_flags_that_do_something_are_not(text):
    assert not [warning for warning in checked(text).warnings if warning.code == "does-nothing"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("llama-cli -m Qwen3-8B-Q4_K_M.gguf -ngl 99 -c 8192 -p hello -st --color on", "starts"),
        ("llama-cli -hf ggml-org/gpt-oss-20b-GGUF", "starts"),
        ("./build/bin/llama-cli -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -c 40960", "does_not_start"),
        ("llama-cli -m Qwen3-8B-Q4_K_M.gguf -cnv", "does_not_start"),
        ("llama-cli -m Qwen3-8B-Q4_K_M.gguf --port 8080", "does_not_start"),
    ],
)
def test_llama_cli_holds_one_conversation(text, verdict):
    plan = checked(text)
    assert plan.verdict == verdict, plan.problems
    assert dict(plan.settings).get("parallel", 1) == 1
    assert plan.service.argv[0] == "llama-cli"


def test_flags_of_mlx_that_do_nothing_are_told():
    plan = checked("mlx_lm.server --model mlx-community/Qwen3-8B-4bit --kv-group-size 32 --num-draft-tokens 4", "m4-max-64gb")
    told = [warning.message for warning in plan.warnings if warning.code == "does-nothing"]
    assert len(told) == 2, told


def test_an_embedded_text_must_fit_a_step_that_is_fixed():
    for flag, wish in (("--ubatch-size 512", {"ubatch_size": 512}), ("--batch-size 256", {"batch_size": 256})):
        with pytest.raises(PlannerError, match=f"{flag}: a text that is embedded must fit"):
            answer_for(StackRow(gpu="rtx4090", engine="llama.cpp", services=[ServiceRow(model="qwen3-embedding-0.6b", context=2048, **wish)]))


def test_ollama_without_flash_attention_holds_what_it_then_holds():
    on, off = (checked(f"OLLAMA_FLASH_ATTENTION={value} OLLAMA_CONTEXT_LENGTH=32768 ollama serve; ollama run qwen3:8b") for value in (1, 0))
    assert not off.not_covered
    assert off.verdict is on.verdict is Verdict.STARTS
    assert off.used_bytes > on.used_bytes + GIB


def drafts(flags, model="Qwen3.6-27B-MTP-UD-Q4_K_XL.gguf", card="rtx5090"):
    return checked(f"llama-server -m {model} -c 131072 -ctk q8_0 -ctv q8_0 --no-mmproj {flags}", card)


def test_l09_layers_that_predict_have_a_context_of_their_own():
    plan = drafts("--spec-type draft-mtp -ctkd q8_0 -ctvd q8_0")
    lines = {line.key: line.bytes / MIB for line in plan.lines}
    assert not plan.not_covered
    assert lines["draft_kv_cache"] == 272
    assert lines["weights"] + lines["draft_weights"] == pytest.approx(16386.9, rel=0.02)
    assert lines["kv_cache"] == pytest.approx(4352 + 4 * 598.5, abs=1)  # four slots, each with its state and three earlier ones: the log's build kept none
    assert dict(plan.settings)["spec_draft_n_max"] == 3


def test_a_draft_model_is_weights_a_cache_as_long_and_a_buffer():
    small = checked("llama-server -m Qwen3-0.6B-Q8_0.gguf -c 8192 -np 1")
    plan = checked("llama-server -m Qwen3-32B-Q4_K_M.gguf -md Qwen3-0.6B-Q8_0.gguf -c 8192 -np 1")
    alone = {line.key: line.bytes for line in small.lines}
    held = {line.key: line.bytes for line in plan.lines}
    assert [held[f"draft_{key}"] for key in ("weights", "kv_cache", "compute")] == [alone[key] for key in ("weights", "kv_cache", "compute")]
    on_cpu = {line.key for line in checked("llama-server -m Qwen3-32B-Q4_K_M.gguf -md Qwen3-0.6B-Q8_0.gguf -ngld 0 -c 8192 -np 1").lines}
    assert "draft_weights" not in on_cpu
    assert plan.host_bytes > checked("llama-server -m Qwen3-32B-Q4_K_M.gguf -c 8192 -np 1").host_bytes


@pytest.mark.parametrize(
    ("flags", "flag"), [("--spec-type draft-eagle3 -md a.gguf", "--spec-type draft-eagle3"), ("--spec-type ngram-mod", ""), ("--spec-type none", "")]
)
def test_kinds_of_drafting_that_are_not_known_are_named(flags, flag):
    plan = drafts(flags)
    assert [part.flag for part in plan.not_covered][:1] == [flag] * bool(flag)


def test_an_unknown_draft_model_leaves_the_servers_own_judged():
    plan = drafts("-md mystery.gguf")
    assert (plan.verdict, [part.flag for part in plan.not_covered]) == (Verdict.UNKNOWN, ["--model-draft"])


def test_a_build_reads_and_defaults_as_it_did_then():
    """b4500 of January 2025: --flash-attn is a switch that is off, one slot, --no-mmap a flag; today's refuses the words and has four slots."""
    old = replace(find_server("llama-server -m Qwen2.5-Coder-32B-Instruct-Q4_K_S.gguf -c 32768 -ngl 99 -fa -ctk q8_0 -ctv q8_0 --no-mmap"), version="b4500")
    plan = check(old, group_for(old, "rx7900xtx", 1, "server"))
    assert (plan.problems, plan.users, plan.verdict) == ((), 1, "starts")
    assert check(replace(old, version=None), group_for(old, "rx7900xtx", 1, "server")).problems
    bare = replace(find_server("llama-server -m Qwen2.5-32B-Instruct-Q8_0.gguf -c 32768 -ngl 99"), version="b4880")
    lines = check_server(bare, group_for(bare, "mi50-16gb", 5, "server"), resolve).lines
    compute = next(line.bytes for line in lines if line.key == "compute") / MIB
    assert 2664 <= compute <= 2664 * 1.13  # the report's had no copies of a pipeline


@pytest.mark.parametrize(("card", "command", "words"), [
    ("m4-max-64gb", "llama-server -m qwen3-8b-Q4_K_M.gguf -c 8192", "2 machines, and llama-server runs on one"),
    ("gb10", "ollama run qwen3:8b", "2 machines, and Ollama runs on one"),
    ("strix-halo-128gb", "llama-server -m qwen3-8b-Q4_K_M.gguf", "rpc-server there"),
])  # fmt: skip
def test_chips_with_a_machines_memory_are_a_machine_each(card, command, words):
    found = find_server(command)
    with pytest.raises(PlannerError) as refused:
        check(found, group_for(found, card, 2, "server"))
    assert words in f"{refused.value.message} {refused.value.hint}"
    with pytest.raises(PlannerError, match="2 machines"):
        answer_for(StackRow(gpu=card, count=2, engine=found.engine, services=[ServiceRow(model="qwen3-8b")]))


@pytest.mark.parametrize("text", ["command -v llama-server >/dev/null || exit 1", "which llama-server", "type llama-server", "hash llama-server && echo here"])
def test_a_program_that_is_only_looked_up_is_not_started(text):
    assert not find_commands(text)
    assert len(find_commands(f"{text}\nexec llama-server -m a.gguf")) == 1


def test_a_command_in_quotes_may_be_longer_than_the_name_of_a_file():
    assert not paths_of([f"llama-server --model a.gguf {'--verbose ' * 60}"])


@pytest.mark.parametrize(
    ("tag", "model"),
    [
        ("phi4-reasoning", "phi-4-reasoning"),
        ("phi4-reasoning:plus", "phi-4-reasoning-plus"),
        ("phi4-reasoning:14b-plus-q4_K_M", "phi-4-reasoning-plus"),
        ("phi4-mini-reasoning:3.8b-q8_0", "phi-4-mini-reasoning"),
        ("lfm2.5-thinking:1.2b", "lfm2.5-1.2b-thinking"),
        ("kimi-k2:1t", "kimi-k2"),
    ],
)
def test_a_tag_of_ollamas_library_is_known_by_the_names_that_it_has_elsewhere(tag, model):
    named = by_tag(tag, _catalogue())
    assert (named.tag, named.model.name) == (tag, _catalogue().find_plain(model).name)


@pytest.mark.parametrize("tag", ["phi4-reasoning:70b", "kimi-k2:7b", "phi4-nothing:14b"])
def test_a_tag_that_says_another_size_is_another_model(tag):
    with pytest.raises(PlannerError, match="unknown model"):
        by_tag(tag, _catalogue())


def test_ollama_has_no_kernels_for_cards_before_maxwell():
    card = find_gpu("gtx1080")
    assert not ENGINES["ollama"].refuses(card)
    assert not ENGINES["ollama"].refuses(replace(card, compute_capability=(5, 0)))
    assert "5.0" in ENGINES["ollama"].refuses(replace(card, compute_capability=(3, 7)))
    assert not ENGINES["llama.cpp"].refuses(replace(card, compute_capability=(3, 7)))

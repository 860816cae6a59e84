"""What is written, where and when: the answer first, a folder for each question, nothing of anybody else's, all or none."""

import errno
import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from conftest import DATA, ROOT
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue import load
from planner.cli import output
from planner.cli.main import cli, main
from planner.cli.output import MANIFEST, write_files
from planner.cli.question import question_row
from planner.cli.values import PlanValues, values_of
from planner.engines.vllm.versions import VERSIONS
from planner.errors import PlannerError, WorldError
from planner.facts.command_line import flag_of
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for
from planner.questions.question import differences, folder_name, question_of, words

SMALL = ("--gpu", "rtx4090", "--model", "qwen3-8b")
README = (ROOT / "README.md").read_text()


def ask(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as `run_plan` does, in this process: what is tested is what it writes, and it writes often."""
    out, err, there = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        argv = patch.object(sys, "argv", ["plan", *arguments])
        with redirect_stdout(out), redirect_stderr(err), patch.dict(os.environ, environment), argv, pytest.raises(SystemExit) as done:
            main()
    finally:
        os.chdir(there)
    return subprocess.CompletedProcess(arguments, int(done.value.code or 0), out.getvalue(), err.getvalue())


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder with its bytes and the time it was last written."""
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()}


# --- the answer first


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 0),  # the default folder: the answer's exit code stays
        (("--output", "file/below"), 3),
        (("--output", "file"), 3),
        (("--dry-run", "--html", "file/x.html"), 3),
        (("--dry-run", "--html", "dangling/x.html"), 3),
    ],
)
def test_a_file_that_cannot_be_written_never_costs_the_answer(words, code, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere/at-all")
    (tmp_path / "outputs").write_text("no folder")
    done = ask(*SMALL, *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Qwen/Qwen3-8B" in done.stdout
    assert "wrote" not in done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "cannot write" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"file", "dangling", "outputs"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_how_to_run_it_names_only_a_folder_that_holds_this_plan(tmp_path):
    assert "Run it: cd out &&" in ask(*SMALL, "--output", "out", cwd=tmp_path).stdout
    assert "Run it: cd out &&" in ask(*SMALL, "--output", "out", cwd=tmp_path).stdout
    other = ask(*SMALL, "--context", "8k", "--output", "out", cwd=tmp_path)  # the folder stays another question's
    assert "cd out" not in other.stdout
    assert "vllm serve" in other.stdout
    (tmp_path / "file").write_text("")
    assert "cd file" not in ask(*SMALL, "--output", "file/below", cwd=tmp_path).stdout


def test_an_answer_that_cannot_be_printed_is_one_line(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "planner", *SMALL, "--dry-run"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr


def test_who_reads_only_the_head_gets_the_files_and_no_complaint(tmp_path):
    command = f"{shlex.join([sys.executable, '-m', 'planner', *SMALL])} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "outputs" / "qwen3-8b-rtx4090x1" / "plan.json").exists()


def test_json_writes_only_what_is_asked_for_and_says_what(tmp_path):
    done = ask(*SMALL, "--format", "json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["files"], list(tmp_path.iterdir())) == (0, [], [])
    done = ask(*SMALL, "--format", "json", "--output", "out", "--html", "page.html", cwd=tmp_path)
    files = json.loads(done.stdout)["files"]
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {*files, f"out/{MANIFEST}"}
    done = ask(*SMALL, "--format", "json", "--output", "out", "--to", "compose", cwd=tmp_path)  # another question's folder
    assert (done.returncode, json.loads(done.stdout)["verdict"], len(done.stderr.splitlines())) == (2, "starts", 1)
    done = ask(*SMALL, "--format", "json", "--to", "compose", cwd=tmp_path)  # would be passed over
    assert (done.returncode, done.stdout, "--output" in done.stderr) == (2, "", True)


def test_a_folders_name_does_not_drive_the_terminal(tmp_path):
    (tmp_path / "file").write_text("")
    done = ask(*SMALL, "--output", "file/\x1b[2J\u202e", cwd=tmp_path)
    assert (done.returncode, done.stderr.strip().isprintable()) == (3, True)


# --- one folder for one question


def name_of(*services: ServiceRow, **machine: object) -> str:
    row = {"gpu": "rtx4090", "count": 1} | machine
    first_port, formats = row.pop("first_port", None), row.pop("to", ())
    return folder_name(question_of(StackRow(services=list(services), **row), first_port, formats))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("--context 32k", "--context 32768"),
        ("--context 32k", "--context 32K"),
        ("--gpu 'NVIDIA GeForce RTX 4090'", "--gpu 4090"),
        ("--model Qwen/Qwen3-8B", "--model qwen3-8b"),
        ("--port 8000 --vllm-version 0.33 --engine vllm", ""),
        ("--to compose --to k8s", "--to k8s,compose"),
        ("-tp 1 --max-model-len 32K", "--tensor-parallel-size 1 --max-model-len 32768"),
        ("--with qwen3-embedding-0.6b:context=8k", "--with qwen3_embedding-0.6B:context=8192"),
        ("--gpu-memory-utilization 0.90", "--gpu-memory-utilization .9"),
    ],
)
def test_another_spelling_of_a_question_writes_nothing_new(one, other, tmp_path):
    for text in (one, other):
        given = [word for default in (("--gpu", "rtx4090"), ("--model", "qwen3-8b")) if default[0] not in shlex.split(text) for word in default]
        done = ask(*given, *shlex.split(text), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        if text == one:
            before = tree(tmp_path)
    assert len(list((tmp_path / "outputs").iterdir())) == 1
    assert tree(tmp_path) == before
    assert "holds this already" in done.stdout


def test_a_stack_file_and_the_same_words_are_one_question(tmp_path):
    (tmp_path / "stack.yaml").write_text(
        "gpu: 4090\nhost: server\nservices:\n- model: qwen3-8b\n  context: 32k\n- {model: qwen3-embedding-0.6b}\ncomment: mine\n"
    )
    (tmp_path / "stack.yaml").write_text((tmp_path / "stack.yaml").read_text().replace("gpu: 4090", "gpu: '4090'"))
    ask("-f", "stack.yaml", cwd=tmp_path)
    ask(*SMALL, "--context", "32768", "--with", "qwen3-embedding-0.6b", cwd=tmp_path)
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["qwen3-8b-with-qwen3-embedding-0.6b-rtx4090x1-context32768"]


MODELS = sorted({load.Entry(row, variant).name for row in load.model_rows() for variant in row.variants})
GPUS = sorted(f"{row.name}-{size}gb" if size else row.name for row in load.gpu_rows() for size in row.memory_options_gb or [0])
NUMBERS = st.integers(1, 4) | st.integers(1, 300_000)


def maybe(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


SERVICES = st.builds(
    ServiceRow,
    model=st.sampled_from([*MODELS[:6], "qwen3-8b", "o/qwen3-8b", "p/qwen3-8b", "o/Qwen3-8B", "o/qwen3_8b", "a-with-b", "x-rtx4090x1", *"ab"]),
    name=maybe(st.sampled_from(["chat", "embedding", "x"])),
    port=maybe(st.sampled_from([8000, 8001, 11_434])),
    context=maybe(NUMBERS),
    users=maybe(NUMBERS),
    tensor_parallel_size=maybe(NUMBERS),
    pipeline_parallel_size=maybe(NUMBERS),
    max_model_len=maybe(NUMBERS),
    max_num_seqs=maybe(NUMBERS),
    max_num_batched_tokens=maybe(NUMBERS),
    gpu_memory_utilization=maybe(st.sampled_from([0.5, 0.9])),
    kv_cache_dtype=maybe(st.sampled_from(["auto", "fp8", "fp8_e4m3"])),
    kv_cache_memory_bytes=maybe(NUMBERS),
    enforce_eager=maybe(st.booleans()),
    enable_expert_parallel=st.booleans(),
    skip_mm_profiling=st.booleans(),
    dtype=st.sampled_from(["auto", "half", "bfloat16"]),
    quantization=maybe(st.sampled_from(["fp8", "Q4_K_M"])),
    gpu_layers=maybe(st.integers(0, 3)),
)
PLAIN_SERVICES = st.builds(ServiceRow, model=st.sampled_from(MODELS[::10]), context=maybe(NUMBERS), users=maybe(NUMBERS))
ROWS = st.builds(
    StackRow,
    gpu=st.sampled_from(["rtx4090", "rtx3090", "a100-80gb", "a100-80gb-pcie", "apple-m4-max-128gb"]),
    services=st.lists(SERVICES, min_size=1, max_size=3) | st.lists(PLAIN_SERVICES, min_size=1, max_size=2),
    count=st.sampled_from([1, 2, 11, 12]),
    nodes=st.sampled_from([1, 2]),
    host=st.sampled_from(["server", "wsl2"]),
    bind=st.sampled_from(["127.0.0.1", "0.0.0.0"]),
    proxy_port=st.sampled_from([8080, 8081]),
    vllm_version=maybe(st.sampled_from(list(VERSIONS))),
    engine=maybe(st.sampled_from(["vllm", "ollama", "llama.cpp", "mlx"])),
    link_gb_per_s=maybe(st.sampled_from([10.0, 20.5])),
    power_limit_w=maybe(st.sampled_from([250.0, 300.5])),
    wired_limit_mb=maybe(st.sampled_from([1000, 2000])),
)
QUESTIONS = st.builds(question_of, ROWS, st.sampled_from([None, 8000, 9000]), st.lists(st.sampled_from(["compose", "k8s"]), max_size=2))


@given(QUESTIONS, QUESTIONS)
def test_different_questions_never_share_a_folder(one, other):
    assert (folder_name(one) == folder_name(other)) == (one == other)
    assert any(differences(one, other)) == (one != other)


@given(QUESTIONS, st.data())
def test_one_changed_answer_is_another_folder(one, data):
    key = data.draw(st.sampled_from(["context", "users", "port", "max_model_len", "max_num_seqs", "tensor_parallel_size", "enforce_eager", "gpu_layers"]))
    place = data.draw(st.integers(0, len(one["services"]) - 1))
    value = data.draw(NUMBERS)
    changed = [{**service, **({key: value} if place == index else {})} for index, service in enumerate(one["services"])]
    other = one | {"services": changed}
    assert (folder_name(one) == folder_name(other)) == (one == other)


@given(QUESTIONS)
def test_a_folders_name_is_a_name(question):
    name = folder_name(question)
    assert len(name) < 200
    assert all(letter.islower() or letter.isdigit() or letter in ".-" for letter in name)
    assert name[0] not in ".-"


ABOUT_NO_FILE = {"output", "html", "svg", "dry_run", "force", "style", "as_json", "quiet"}  # where, or how it is printed
OF_OWN_ROWS = {"own_gpus", "own_models"}  # tests/catalogue/test_own_rows.py asks with them
ONLY_WHERE_SOMETHING_IS_OPEN = {"purpose", "min_speed", "top", "prices"}
CHANGED = {
    "gpu": "rtx3090", "count": "2", "model": "qwen3-4b", "context": "8k", "users": "2", "host_kind": "wsl2", "link_gb_per_s": "20", "nodes": "2", "power_limit_w": "300",
    "tensor_parallel_size": "1", "pipeline_parallel_size": "1", "max_model_len": "8192", "gpu_memory_utilization": "0.8", "kv_cache_dtype": "auto",
    "kv_cache_memory_bytes": "4G", "max_num_seqs": "8", "max_num_batched_tokens": "4096", "enforce_eager": None, "enable_expert_parallel": None,
    "skip_mm_profiling": None, "dtype": "half", "quantization": "fp8", "vllm_version": "0.32", "beside": "qwen3-embedding-0.6b", "engine": "ollama",
    "gpu_layers": "4", "wired_limit_mb": "1000", "to": "compose", "bind": "0.0.0.0", "port": "9000", "proxy_port": "9001", "stack_file": "", "input": "500",
    "output_tokens": "50", "concurrency": "4", "acceptance_length": "1.5", "ram": "64GiB", "data_parallel_size": "2", "decode_context_parallel_size": "2", "cpu_offload_gb": "4",
    "speculative_config": "ngram:5", "enable_lora": None, "max_loras": "2", "max_lora_rank": "32", "fully_sharded_loras": None,
    "vram": "16GiB", "bandwidth": "672", "compute_capability": "8.9", "vendor": "nvidia", "total_gib": "20", "free_gib": "18",
    "batch_size": "512", "ubatch_size": "256", "cache_type_k": "q8_0", "cache_type_v": "q8_0", "engine_version": "b9000", "flash_attn": "off",
    "image_max_tokens": "1024", "image_min_tokens": "64", "kv_unified": None, "mmproj": None, "parallel": "2", "split_mode": "none", "main_gpu": "1",
    "device": "Vulkan0", "tensor_split": "3,1", "cpu_moe": None, "n_cpu_moe": "3", "override_tensor": "exps=CPU", "spec_type": "ngram-mod", "spec_draft_n_max": "5",
    "model_draft": "qwen3-0.6b", "n_gpu_layers_draft": "3", "cache_type_k_draft": "q8_0", "cache_type_v_draft": "q8_0",
}  # fmt: skip


def test_every_option_is_part_of_the_question_or_known_not_to_be():
    """A new option must say which; else two questions would share a folder."""
    names = {param.name for param in cli.params if param.expose_value and param.name}
    assert names - ABOUT_NO_FILE - OF_OWN_ROWS - ONLY_WHERE_SOMETHING_IS_OPEN == set(CHANGED)


@pytest.mark.parametrize("name", sorted(set(CHANGED) - {"stack_file"}))
def test_each_option_makes_another_question(name):
    described = name in ("vram", "bandwidth", "compute_capability", "vendor")  # of a card that the catalogue does not have
    plain = {"gpu": "custom" if described else "rtx4090", "model": "qwen3-8b"} | (
        {"vram": "8GiB", "bandwidth": "500", "compute_capability": "8.6"} if described else {}
    )
    flag = next(flag for param in cli.params if param.name == name for flag in param.opts if flag.startswith("--"))
    words = [word for key, value in plain.items() if key != name for word in (flag_of(key), value)]
    questions = []
    for more in ([], [flag, CHANGED[name]] if CHANGED[name] else [flag]):
        with cli.make_context("plan", [*words, *([] if more or name not in plain else [flag_of(name), plain[name]]), *more]) as context:
            values = values_of(PlanValues, context.params)
            questions.append(question_of(question_row(values), values.port, values.to))
    assert folder_name(questions[0]) != folder_name(questions[1])


def test_names_of_the_catalogue_cannot_run_into_each_other():
    pairs = [f"{model}-{gpu}" for model in MODELS for gpu in GPUS]
    assert len(set(pairs)) == len(pairs)
    assert not [model for model in MODELS if "-with-" in model]
    assert name_of(ServiceRow(model="qwen3-8b", context=131_072, users=20), count=2) == "qwen3-8b-rtx4090x2-context131072-users20"


def test_a_folder_in_the_way_of_a_name_is_another_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = name_of(ServiceRow(model="qwen3-8b"))
    (tmp_path / "qwen3-8b").mkdir()
    assert name_of(ServiceRow(model="qwen3-8b")) != plain == "qwen3-8b-rtx4090x1"
    assert name_of(ServiceRow(model="qwen3-8b")) == name_of(ServiceRow(model="./qwen3-8b")) == name_of(ServiceRow(model="qwen3-8b/"))


def test_the_questions_words_ask_it_again():
    row = StackRow(
        gpu="rtx4090",
        count=2,
        host="wsl2",
        services=[ServiceRow(model="qwen3-8b", context=32_768, users=4, enforce_eager=False), ServiceRow(model="qwen3-embedding-0.6b", context=8192)],
    )
    question = question_of(row)
    with cli.make_context("plan", shlex.split(words(question))[1:], resilient_parsing=False) as context:
        values = values_of(PlanValues, context.params)
        assert answer_for(question_row(values), values.port).question == question


# --- what is there stays


def test_the_same_question_changes_nothing_and_another_nothing_of_its(tmp_path):
    ask(*SMALL, cwd=tmp_path)
    before = tree(tmp_path)
    assert ask(*SMALL, cwd=tmp_path).returncode == 0
    assert tree(tmp_path) == before
    for more in (("--users", "20"), ("--context", "16k"), ("--port", "9000"), ("--to", "compose"), ("--host", "wsl2"), ("--users", "2000")):
        ask(*SMALL, *more, cwd=tmp_path)
        assert {name: kept for name, kept in tree(tmp_path).items() if name in before} == before, more
    assert len(list((tmp_path / "outputs").iterdir())) >= 6


def test_another_questions_folder_is_named_by_what_differs(tmp_path):
    assert ask(*SMALL, "--context", "16k", "--users", "2", "--output", "out", cwd=tmp_path).returncode == 0
    before = tree(tmp_path)
    done = ask(*SMALL, "--context", "8k", "--output", "out", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "written for context 16384, users 2; this question has context 8192, no users" in done.stderr
    assert "edited" not in done.stderr
    assert "Qwen/Qwen3-8B" in done.stdout
    assert tree(tmp_path) == before
    assert ask(*SMALL, "--context", "8k", "--output", "out", "--force", cwd=tmp_path).returncode == 0
    assert "--max-model-len 8192" in (tmp_path / "out" / "serve.sh").read_text()


def test_a_forced_question_leaves_nothing_of_the_one_before(tmp_path):
    ask(*SMALL, "--context", "16k", "--to", "compose", "--output", "out", cwd=tmp_path)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    ask(*SMALL, "--context", "4k", "--with", "qwen3-embedding-0.6b", "--output", "out", "--force", cwd=tmp_path)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert not names & {"serve.sh", "compose.yaml", "litellm.compose.yaml"}
    assert {"notes.txt", "stack.sh"} <= names


def test_after_a_calibration_the_same_question_renews_its_files(tmp_path):
    ask(*SMALL, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
    (tmp_path / "config" / "serve-plan").mkdir(parents=True)
    kept = {"schema": 1, "gpus": {"rtx4090": {"shift_bytes": 2 * 1024**3, "model": "x", "vllm_version": "0.33"}}}
    (tmp_path / "config" / "serve-plan" / "calibration.json").write_text(json.dumps(kept))
    before = tree(tmp_path / "outputs")
    done = ask(*SMALL, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(tmp_path / "outputs").keys() == before.keys()
    assert tree(tmp_path / "outputs") != before


def test_a_plan_that_does_not_meet_the_wish_replaces_no_plan(tmp_path):
    options = (*SMALL, "--users", "4", "--context", "8k", "--output", "out")
    assert ask(*options, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config")).returncode == 0
    before = tree(tmp_path / "out")
    (tmp_path / "config" / "serve-plan").mkdir(parents=True)
    for shift in (3, 5, 20):  # less and less is left: first not for four users, then not at all
        kept = {"schema": 1, "gpus": {"rtx4090": {"shift_bytes": shift * 1024**3, "model": "x", "vllm_version": "0.33"}}}
        (tmp_path / "config" / "serve-plan" / "calibration.json").write_text(json.dumps(kept))
        done = ask(*options, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
        assert done.stdout
        if done.returncode:
            assert tree(tmp_path / "out") == before, shift
        before = tree(tmp_path / "out")


@pytest.mark.parametrize("there", ["mine", "a stranger's manifest", "a link", "a dangling link", "a folder"])
def test_what_is_not_ours_is_not_overwritten(there, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    if there == "a folder":
        (out / "serve.sh").mkdir()
    elif there.endswith("link"):
        (out / "serve.sh").symlink_to(elsewhere)
        if there == "a link":
            elsewhere.write_text("mine")
    else:
        (out / "serve.sh").write_text("mine")
    if there.startswith("a stranger"):
        (out / MANIFEST).write_text(json.dumps({"serve.sh": hashlib.sha256(b"mine").hexdigest()}))
    done = ask(*SMALL, "--output", "out", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines()), "Qwen/Qwen3-8B" in done.stdout) == (2, 1, True)
    assert "serve.sh" in done.stderr
    assert {path.name for path in out.iterdir()} <= {"serve.sh", MANIFEST}
    done = ask(*SMALL, "--output", "out", "--force", cwd=tmp_path)
    assert done.returncode == (2 if there == "a folder" else 0)
    assert elsewhere.read_text() == "mine" if there == "a link" else not elsewhere.exists()  # --force replaces the link, not what it leads to


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"question": []}', '{"question": {"services": [{"model": 3}], "gpu": "\\u001b[2J"}}', "\ud800"])
def test_any_plan_json_may_lie_there(text, tmp_path):
    (tmp_path / "plan.json").write_text(text, "utf-8", errors="surrogatepass")
    (tmp_path / MANIFEST).write_text(text, "utf-8", errors="surrogatepass")
    with pytest.raises(PlannerError) as refused:
        write_files(tmp_path, {"plan.json": '{"question": {"gpu": "rtx4090", "services": [{"model": "qwen3-8b"}]}}'}, force=False)
    assert refused.value.message.isprintable()


def test_an_old_plan_without_its_question_is_not_replaced(tmp_path):
    out = tmp_path / "out"
    ask(*SMALL, "--output", "out", cwd=tmp_path)
    plan = json.loads((out / "plan.json").read_text())
    del plan["question"]
    (out / "plan.json").write_text(json.dumps(plan))
    (out / MANIFEST).write_text(json.dumps({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir() if path.name != MANIFEST}))
    done = ask(*SMALL, "--context", "8k", "--output", "out", cwd=tmp_path)
    assert (done.returncode, "earlier version" in done.stderr) == (2, True)


def test_emit_does_not_replace_another_plans_files(tmp_path):
    ask(*SMALL, "--context", "16k", "--output", "one", cwd=tmp_path)
    ask(*SMALL, "--context", "8k", "--output", "two", cwd=tmp_path)
    before = tree(tmp_path)
    done = ask("emit", "one", "--output", "two", cwd=tmp_path)
    assert (done.returncode, "written for context 8192; this question has context 16384" in done.stderr) == (2, True)
    assert ask("emit", "one", cwd=tmp_path).returncode == 0
    assert tree(tmp_path) == before
    assert ask("emit", "one/plan.json", "--to", "compose", cwd=tmp_path).returncode == 0
    assert ask("emit", "one", "--output", "three", cwd=tmp_path).returncode == 0
    again = tree(tmp_path)
    assert ask("emit", "one", "--output", "three", cwd=tmp_path).returncode == 0
    assert tree(tmp_path) == again


def test_two_at_once_write_the_same_folder(tmp_path):
    """Four processes with one question: each says so, and the folder is whole."""
    command = [sys.executable, "-c", "import sys; from planner.cli.main import main; sys.argv[0] = 'plan'; main()", *SMALL]
    many = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
        for _ in range(4)
    ]
    assert [(one.communicate()[1], one.returncode) for one in many] == [(b"", 0)] * 4
    before = tree(tmp_path)
    assert ask(*SMALL, cwd=tmp_path).returncode == 0
    assert tree(tmp_path) == before
    assert not [name for name in before if name.endswith((".new", ".old"))]


def test_who_comes_while_files_are_moved_in_waits(tmp_path, monkeypatch):
    """Half of another's files are neither a stranger's nor edited: the second writer finds all of them, and has nothing to do."""
    files = {"a.sh": "1", "b.sh": "2", "plan.json": '{"deployment": {}, "question": {}}'}
    replace, second, written = Path.replace, [], []

    def moved(path, to):
        replace(path, to)
        if not second:
            second.append(threading.Thread(target=lambda: written.append(write_files(tmp_path / "out", files, force=False))))
            second[0].start()
            second[0].join(0.2)

    monkeypatch.setattr(Path, "replace", moved)
    assert write_files(tmp_path / "out", files, force=False) == list(files)
    second[0].join()
    assert written == [[]]


# --- all or none


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("fails_at", range(8))
def test_all_or_none(fails_at, has_links, tmp_path, monkeypatch):
    """A disk that is full at any point leaves everything as it was, on a file system with links and on one without."""
    if not has_links:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EPERM, "no links here")))
    folder = tmp_path / "deep" / "out"
    if fails_at % 2:
        write_files(folder, {"a": "old", "b.sh": "old"}, force=False)
    before = tree(tmp_path)
    count = 0

    def full(original):
        def call(*arguments, **named):
            nonlocal count
            count += 1
            if count == fails_at // 2 + 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return original(*arguments, **named)

        return call

    monkeypatch.setattr(output, "_write_new", full(output._write_new))
    monkeypatch.setattr(Path, "replace", full(Path.replace))
    with pytest.raises(WorldError, match="No space left"):
        write_files(folder, {"a": "new", "b.sh": "new"}, force=True)
    assert tree(tmp_path) == before
    assert folder.exists() == bool(fails_at % 2)
    assert [path.name for path in tmp_path.rglob(".*") if path.name != MANIFEST] == []


def test_a_failed_move_is_taken_back(tmp_path, monkeypatch):
    write_files(tmp_path / "out", {"a": "old", "b": "old"}, force=False)
    before = tree(tmp_path)
    moves = iter([False, False, True])
    original = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda path, target: (_ for _ in ()).throw(OSError(errno.EPERM, "not permitted")) if next(moves, False) else original(path, target)
    )
    with pytest.raises(WorldError):
        write_files(tmp_path / "out", {"a": "new", "b": "new", "c": "new"}, force=True)
    assert tree(tmp_path) == before


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="a full disk needs a mount of its own")
def test_a_full_disk_leaves_no_half_a_file(tmp_path):
    asked = shlex.join([sys.executable, "-m", "planner", *SMALL, "--output", "out"])
    script = f"mount -t tmpfs -o size=16k none {shlex.quote(str(tmp_path))} && cd {shlex.quote(str(tmp_path))} && ({asked}; echo code=$?; find . -type f)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["unshare", "--mount", "bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    if "code=" not in done.stdout:
        pytest.skip("no mounts here")
    assert done.stdout.endswith("code=3\n"), done
    assert len(done.stderr.splitlines()) == 1


# --- a clone


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    if shutil.which("git") is None or subprocess.run(["git", "-C", ROOT, "rev-parse"], capture_output=True, check=False).returncode:
        pytest.skip("this is no git repository")
    folder = tmp_path_factory.mktemp("clone") / "plan"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder], check=True, capture_output=True)
    return folder


def status(folder: Path) -> str:
    return subprocess.run(["git", "-C", folder, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout


MORE = [
    "--gpu a100-80 --model qwen3-vl-32b --context 32k",
    "--gpu l40s --count 2 --model qwen3-vl-32b-awq --context 131072",
    "--gpu rtx4090 --count 2 --model ministral-3-14b-awq --context 128k --with qwen3-embedding-0.6b",
    "--gpu m4-max-128gb --model qwen3-vl-32b",
    "--gpu rtx4090 --model qwen3-8b --engine ollama",
    "--gpu h100 --count 8 --model llama-3.3-70b --users 20 --to compose,k8s",
    "--gpu h100 --count 8 --nodes 2 --model deepseek-v3",
    "--gpu t4 --model llama-3.3-70b",
    "--gpu rtx3060 --model qwen3-8b-awq --port 9000 --users 2 --context 4k",
    "--gpu rtx4090 --model qwen3-8b --format json",
]


def test_questions_in_a_clone_leave_it_clean(clone):
    main_job = next(line for line in README.splitlines() if "bin/plan --" in line or line.startswith("plan --gpu"))
    questions = [main_job.partition("plan --")[2].split("#")[0].strip(), *(line[2:] for line in MORE)]
    for question in (questions[0], *questions):  # the first one twice
        done = ask(*shlex.split(f"--{question}"), cwd=clone)
        assert (done.returncode in (0, 1), bool(done.stdout), "Traceback" in done.stderr) == (True, True, False), done.stderr
        assert status(clone) == "", question
    (clone / "docs").mkdir(exist_ok=True)
    ask(*SMALL, cwd=clone / "docs")
    assert status(clone) == ""


def test_the_repositorys_own_questions_write_what_it_holds(clone):
    """Each folder of outputs/ that git holds is the answer to the question in its plan.json, byte for byte."""
    for path in sorted((clone / "outputs").glob("*/plan.json")):
        question = json.loads(path.read_text()).get("question")
        if question is None:
            pytest.skip("outputs/ is of an earlier version: run `python -m benchmarks.outputs`")
        assert path.parent.name == folder_name(question)
        done = ask(*shlex.split(words(question))[1:], cwd=clone)
        assert (done.returncode, done.stderr, "holds this already" in done.stdout) == (0, "", True), path
        assert status(clone) == ""


# --- pages, pictures, other commands


def test_a_page_lies_alone_and_names_nothing_of_its_maker(tmp_path):
    page = tmp_path / "page.html"
    command = (*SMALL, "--with", "qwen3-embedding-0.6b", "--context", "4k", "--dry-run", "--html", str(page))
    assert ask(*command, cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    text = page.read_text()
    assert str(tmp_path) not in text
    assert "--html" not in text
    assert "made by plan --gpu rtx4090 --model qwen3-8b --context 4k --with qwen3-embedding-0.6b" in text
    done = ask(*command[:-1], "page.html", cwd=tmp_path)
    assert (done.returncode, page.read_text()) == (0, text)


@pytest.mark.parametrize("machine", [("--gpu", "rtx4090", "--model", "qwen3-8b"), ("--gpu", "m4-max-128gb", "--model", "qwen3-8b")])
def test_commands_stand_in_the_order_in_which_they_start(machine, tmp_path):
    done = ask(*machine, "--context", "4k", "--with", "qwen3-embedding-0.6b", "--dry-run", "--html", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text().partition("command-1")[2]
    assert 0 < page.index("Qwen3-Embedding-0.6B") < page.index("command-2") < page.rindex("Qwen3-8B")


def test_yaml_has_no_anchors(tmp_path):
    done = ask(*SMALL, "--to", "compose,k8s,helm,ray,skypilot", "--output", "one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = ask(*SMALL, "--context", "4k", "--with", "qwen3-embedding-0.6b", "--to", "compose,k8s,skypilot", "--output", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = sorted(tmp_path.glob("*/*.yaml"))
    assert len(files) >= 8
    for path in files:
        assert not [event for event in yaml.parse(path.read_text()) if getattr(event, "anchor", None)], path.name


def test_output_means_a_place_everywhere(tmp_path):
    done = ask("capacity", "--gpu", "h100", "--model", "qwen3-32b-fp8", "--output", "500", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines()), "--output-tokens" in done.stderr) == (2, 1, True)
    done = ask("capacity", "--gpu", "h100", "--model", "qwen3-32b-fp8", "--output-tokens", "500", "--format", "json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["answer_tokens"]) == (0, 500)


def test_a_folder_with_a_config_is_asked_by_its_path(tmp_path):
    """A model in a folder: its path is in the command, and only its last name in the words of who made the page."""
    folder = tmp_path / "my-models" / "llama"
    folder.mkdir(parents=True)
    shutil.copy(DATA / "configs" / "meta-llama--Llama-3.1-8B-Instruct.json", folder / "config.json")
    question = question_of(StackRow(gpu="h100", services=[ServiceRow(model=str(folder))]))
    assert words(question) == "plan --gpu h100 --model llama"
    same = question_of(StackRow(gpu="h100", services=[ServiceRow(model=str(folder / "config.json"))]))
    assert question == same
    assert answer_for(StackRow(gpu="h100", services=[ServiceRow(model=str(folder))])).question == question


def test_a_report_goes_to_a_pipe_that_is_read_and_to_no_other(tmp_path):
    (tmp_path / "s.sh").write_text("vllm serve qwen3-8b --max-model-len 4096\n")
    os.mkfifo(tmp_path / "pipe")
    asked = ("check", "s.sh", "--gpu", "rtx4090", "-q", "--report", "json=pipe")
    done = ask(*asked, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "plan: cannot write pipe: No such device or address\n")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    done = ask(*asked, cwd=tmp_path)
    assert (done.returncode, json.loads(os.read(reader, 1 << 16))["verdict"]) == (0, "starts")
    os.close(reader)

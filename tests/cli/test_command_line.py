"""The habits of a command line: the words of hints, help, completion, defaults in a file, options that are refused rather than passed over."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import jsonschema
import pytest
from conftest import ROOT, run_plan
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue import sizes
from planner.catalogue.load import Entry, find_gpu, gpu_rows, model_rows
from planner.cli.choose import run_choice
from planner.cli.command import _key
from planner.cli.hints import _MACHINES, _MODELS
from planner.cli.main import _LATER, cli
from planner.cli.values import PlanValues, values_of
from planner.errors import PlannerError
from planner.facts.command_line import flag_of
from planner.questions.command_line import command_line
from planner.report.schemas import json_schema
from planner.units import parse_context, parse_count, parse_size

TYPED = {"gpu": "rtx4090", "count": "2", "model": "qwen3-8b", "context": "64k", "beside": ["qwen3-embedding-0.6b:context=8k"], "enforce_eager": True}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "plan --gpu rtx4090 --count 2 --model qwen3-8b --context 64k --with qwen3-embedding-0.6b:context=8k --enforce-eager"),
        ({"count": 4, "beside": None}, "plan --gpu rtx4090 --count 4 --model qwen3-8b --context 64k --enforce-eager"),
        ({"context": 131_072, "beside": (), "enforce_eager": False}, "plan --gpu rtx4090 --count 2 --model qwen3-8b --context 128k --no-enforce-eager"),
        (
            {"context": 1000, "beside": [], "enforce_eager": None, "host_kind": "wsl2"},
            "plan --gpu rtx4090 --count 2 --model qwen3-8b --context 1000 --host wsl2",
        ),
        ({"model": "./my model", "beside": [], "enforce_eager": None, "dry_run": False}, "plan --gpu rtx4090 --count 2 --model './my model' --context 64k"),
    ],
)
def test_a_hint_keeps_the_words_that_were_typed(changed, words):
    assert command_line(TYPED, changed) == words


def test_a_hint_can_be_another_command():
    assert command_line({"gpu": "h100"}, command="check", arguments=["vllm serve a b"]) == "plan check --gpu h100 'vllm serve a b'"


@given(st.dictionaries(st.sampled_from(["gpu", "model", "quantization"]), st.text(min_size=1)))
def test_what_was_typed_can_be_typed_again(typed):
    words = shlex.split(command_line(typed))[1:]
    assert dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True)) == typed


def refused(*arguments: str, cwd: Path) -> str:
    """The one line of a question that is refused."""
    done = run_plan(*arguments, cwd=cwd)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
    assert not [path for path in cwd.iterdir() if path.suffix != ".toml"]
    return done.stderr


def commands() -> dict[str, click.Command]:
    """Every command by its name; "" is the main one."""
    ctx = click.Context(cli)
    return {"": cli} | {name: cli.get_command(ctx, name) for name in cli.list_commands(ctx)}


def test_nothing_typed_shows_the_short_help_at_80_columns(tmp_path):
    bare, asked, everything = (run_plan(*words, cwd=tmp_path, COLUMNS="80") for words in ((), ("--help",), ("--help-all",)))
    assert bare.returncode == asked.returncode == everything.returncode == 0
    assert bare.stdout == asked.stdout
    assert max(map(len, bare.stdout.splitlines() + everything.stdout.splitlines())) <= 80
    assert len(bare.stdout.splitlines()) < 79 < len(everything.stdout.splitlines())
    assert "--help-all" in bare.stdout
    for heading in ("Question:", "Several servers", "Other runtimes:", "Files", "Output:", "Commands"):
        assert heading in bare.stdout
    assert "Pins" in everything.stdout


def test_the_listed_helps_are_of_the_commands_that_exist():
    ctx = click.Context(cli)
    for name in _LATER:
        found = cli.get_command(ctx, name)
        assert (found.name, bool(found.help)) == (name, True)


@pytest.mark.parametrize("name", ["", *commands()])
def test_every_option_has_help(name):
    for param in commands()[name].params:
        assert isinstance(param, click.Argument) or param.help or getattr(param, "says", None) or param.name == "style", param


@pytest.mark.parametrize(
    ("word", "meant"), [("chek", "check"), ("capasity", "capacity"), ("expalin", "explain"), ("benhc", "bench"), ("lst", "list"), ("webb", "web")]
)
def test_a_mistyped_command_is_suggested(word, meant, tmp_path):
    assert f"did you mean plan {meant}?" in refused(word, cwd=tmp_path)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("rtx4090",), "plan --gpu rtx4090\n"),
        (("H100",), "plan --gpu H100\n"),
        (("qwen3-8b",), "plan --model qwen3-8b\n"),
        (("rtx4090", "qwen3-8b"), "plan --gpu rtx4090 --model qwen3-8b\n"),
        (("--gpu", "rtx4090", "--count", "2", "qwen3-8b"), "plan --gpu rtx4090 --count 2 --model qwen3-8b\n"),
        (("somebody/model",), "plan --model somebody/model\n"),
        (("xyzzyx",), "bench, capacity, check"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "capacity"), "plan capacity --gpu rtx4090 --model qwen3-8b"),
    ],
)
def test_a_word_that_is_no_command_is_answered_with_what_was_meant(typed, says, tmp_path):
    assert says in refused(*typed, cwd=tmp_path)


def twice():
    """Every option of every command that counts once."""
    for name, found in commands().items():
        for param in found.params:
            if isinstance(param, click.Option) and not (param.multiple or param.is_eager):
                yield name, param


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--modle qwen3-8b", "plan has no option --modle; did you mean --model"),
        ("capacity --modle qwen3-8b", "plan capacity has no option --modle; did you mean --model, --models?"),
        ("--gpu rtx4090 --model qwen3-8b --max_model_len 8k", "did you mean --max-model-len"),
        ("--gpu rtx4090 --model qwen3-8b --block-size 32", "it is vLLM's; plan check 'vllm serve MODEL --block-size …'"),
        ("--gpu rtx4090 --model qwen3-8b --enable-eplb", "it is vLLM's; plan check 'vllm serve MODEL --enable-eplb …'"),
        ("check vllm serve qwen3-8b --max-model-len 8192 --gpu rtx4090", "in quotes, or behind --"),
        ("check vllm serve qwen3-8b -tp 2 --gpu rtx4090", "in quotes, or behind --"),
        ("--gpu rtx4090 --model qwen3-8b --num_gpus 2", "plan has no option --num_gpus; did you mean --count?"),
        ("--gpu rtx4090 --model qwen3-8b --gpus 2", "--gpus 2 is no file of GPUs; how many there are: --count 2"),
        ("--gpu rtx4090 --model qwen3-8b --ctx 8k", "plan has no option --ctx; did you mean --context?"),
        ("--gpu rtx4090 --model qwen3-8b --quant awq", "plan has no option --quant; did you mean --quantization?"),
        ("check --gpuu rtx4090 'vllm serve qwen3-8b'", "did you mean --gpu"),
        ("-z", "plan has no option -z; plan --help lists the options"),
        ("list models --foo", "plan list has no option --foo"),
        ("--gpu rtx4090 --model qwen3-8b --count 0", "0 is not in the range 1<=x<=1024; plan --help"),
    ],
)
def test_an_option_that_does_not_exist_is_answered_with_the_nearest_right_thing(words, says, tmp_path):
    ended = run_plan(*shlex.split(words), cwd=tmp_path)
    assert ended.returncode == 2
    assert not ended.stdout
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ".;" not in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--output", "--html", "--svg"])
def test_an_empty_path_is_not_the_folder_one_stands_in(flag, tmp_path):
    ended = run_plan("--gpu", "rtx4090", "--model", "qwen3-8b", flag, "", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"'{flag}': it is empty" in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "param"), list(twice()))
def test_an_option_given_twice_is_refused(name, param):
    value = [] if param.is_flag else [param.type.choices[0] if hasattr(param.type, "choices") else "1"]
    with pytest.raises(Exception, match="is given twice"):
        cli.main([*([name] if name else []), param.opts[-1], *value, (param.secondary_opts or param.opts)[0], *value], standalone_mode=False)


def test_the_message_says_why_two_gpus_are_refused(tmp_path):
    says = refused("explain", "CUDA out of memory", "--gpu", "rtx3090", "--gpu", "rtx4090", cwd=tmp_path)
    assert "--gpu is given twice" in says
    assert "cards that differ are for a plan and a check" in says


@pytest.mark.parametrize("words", [("--tp", "2", "--pp", "1"), ("-tp", "2", "-pp", "1"), ("--tensor-parallel-size", "2", "--pipeline-parallel-size", "1")])
def test_vllm_s_short_names_are_taken(words, plan_json):
    _, answer = plan_json("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-8b", *words)
    assert answer["settings"]["tensor_parallel_size"] == 2


def test_json_and_quiet(tmp_path):
    asked = ("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run")
    assert json.loads(run_plan(*asked, "--json", cwd=tmp_path).stdout) == json.loads(run_plan(*asked, "--format", "json", cwd=tmp_path).stdout)
    quiet = run_plan(*asked, "-q", cwd=tmp_path)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert run_plan("check", "-q", "vllm serve Qwen/Qwen3-32B", "--gpu", "rtx4090", cwd=tmp_path).returncode == 1
    assert "contradict" in refused(*asked, "--json", "--format", "text", cwd=tmp_path)
    assert run_plan("-V", cwd=tmp_path).stdout.startswith("plan, version")


@pytest.mark.parametrize("name", ["", "bench", "capacity", "check", "compare", "cost", "explain", "front", "verify", "list", "sweep"])
def test_every_command_with_an_answer_takes_json(name):
    assert "--json" in [flag for param in commands()[name].params for flag in param.opts]


@given(st.integers(1, 1 << 24), st.sampled_from("kKmMgG"))
def test_a_number_is_1024s_where_a_person_asks_and_vllm_s_in_its_command(number, suffix):
    power = "kmg".index(suffix.lower()) + 1
    assert parse_context(f"{number}{suffix}") == parse_size(f"{number}{suffix}iB") == number * 1024**power
    assert parse_count(f"{number}{suffix}") == number * (1000 if suffix.islower() else 1024) ** power


def test_128k_is_one_number_wherever_it_is_asked_for(plan_json):
    for words in (("--context", "32k"), ("--max-model-len", "32k"), ("--max-model-len", "32K")):
        assert plan_json("--gpu", "rtx4090", "--model", "qwen3-8b", *words)[1]["settings"]["max_model_len"] == 32_768


def test_the_lists_hold_sizes_and_fit_80_columns(tmp_path):
    for what in ("models", "gpus", "architectures"):
        lines = run_plan("list", what, cwd=tmp_path).stdout.splitlines()
        assert len(lines) > 50
        assert max(map(len, lines)) <= 80
    models = json.loads(run_plan("list", "models", "--json", cwd=tmp_path).stdout)["models"]
    sizes = {row["name"]: row["weights_bytes"] for row in models}
    assert sizes["qwen3-8b"] == 2 * 8_190_735_360
    assert all(0 < size < 8 << 40 for size in sizes.values())
    assert {row["runtime"] for row in models} == {"vllm", "ollama", "mlx"}
    gpus = {row["name"]: row for row in json.loads(run_plan("list", "gpus", "--json", cwd=tmp_path).stdout)["gpus"]}
    assert gpus["rtx4090"]["compute_capability"] == "8.9"
    assert gpus["apple-m4-max"]["memory_options_gb"] == [36, 48, 64, 128]


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        (("--family", "qwen3"), lambda row: row["family"] == "qwen3"),
        (("--quantization", "AWQ"), lambda row: row["quantization"] == "awq"),
        (("--quantization", "q4_k_m"), lambda row: row["quantization"] == "Q4_K_M"),
        (("--max-gib", "16"), lambda row: row["weights_bytes"] <= 16 << 30),
        (("--for", "embedding"), lambda row: row["kind"] == "embedding"),
        (("--for", "agent"), lambda row: row["tool_parser"] is not None),
        (("coder",), lambda row: "coder" in row["name"] + row["repo"].lower()),
        (("QWEN3 VL", "--max-gib", "30", "--quantization", "awq"), lambda row: row["quantization"] == "awq" and "qwen3-vl" in row["name"]),
    ],
)
def test_models_are_filtered(filters, holds, tmp_path):
    done = run_plan("list", "models", *filters, "--json", cwd=tmp_path)
    found = json.loads(done.stdout)["models"]
    assert found
    assert all(map(holds, found))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("models", "--family", "qwen33"), "did you mean qwen3"),
        (("models", "--quantization", "awk"), "awq"),
        (("models", "xyzzy"), "no models of the catalogue"),
        (("gpus", "--max-gib", "24"), "--max-gib is about models"),
        (("models", "--max-gib", "nan"), "is not a number"),
        (("modells",), "models"),
    ],
)
def test_a_list_that_cannot_be_made_is_refused(words, says, tmp_path):
    assert says in refused("list", *words, cwd=tmp_path)


MACS = [row for row in gpu_rows() if row.vendor == "apple"]


@pytest.mark.parametrize("row", MACS, ids=lambda row: row.name)
def test_a_mac_needs_its_memory_size(row):
    for name in (row.name, row.title, *row.aliases):
        with pytest.raises(PlannerError, match=f"comes with {row.memory_options_gb[0]}, .*|comes with .* or {row.memory_options_gb[-1]} GB") as caught:
            find_gpu(name)
        example = caught.value.hint.split()[-1]
        assert find_gpu(example).memory_bytes in [size << 30 for size in row.memory_options_gb]
    for size in row.memory_options_gb:
        assert find_gpu(f"{row.aliases[-1]}-{size}gb").memory_bytes == size << 30


@pytest.mark.parametrize(
    "words",
    [
        ("--gpu", "m4-max", "--model", "qwen3-8b"),
        ("--gpu", "m4-max"),
        ("compare", "--gpu", "m4-max", "--model", "qwen3-8b"),
        ("check", "vllm serve Qwen/Qwen3-8B", "--gpu", "m4-max"),
        ("capacity", "--gpu", "m4-max", "--model", "qwen3-8b"),
        ("sweep", "--gpus", "m4-max", "--models", "qwen3-8b", "--output", "x.csv"),
    ],
)
def test_a_mac_without_its_size_is_refused_everywhere(words, tmp_path):
    assert "Apple M4 Max comes with 36, 48, 64 or 128 GB; name one, e.g. m4-max-64gb" in refused(*words, cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((name, "`plan list gpus` names all") for name in ("Vega 64", "rtx6090", "m4-ultra", "gtx 1090", "gaudi 3", "tesla m40", "3090 laptop", "xyz")),
        *((name, f"did you mean {meant}?") for name, meant in (("RTX 2080 Max-Q", "rtx2080-laptop"), ("rx 6800 laptop", "rx6800m-laptop"))),
        *(
            (name, f"did you mean {meant}")
            for name, meant in (("rtx4900", "rtx4090"), ("rtx409", "rtx4090"), ("rxt5090", "rtx5090"), ("h1000", "h100"), ("mi300", "mi300a, mi300x"))
        ),
    ],
)
def test_an_unknown_card_is_said_to_be_unknown(name, says):
    with pytest.raises(PlannerError, match="is not in the catalogue") as caught:
        find_gpu(name)
    assert says in caught.value.hint


BRANCHES = {
    "models": (("--gpu", "t4"), {"gpu", "count", "host_kind", "context", "users", "purpose", "min_speed", "top", "vllm_version", "engine", "ram"}),
    "machines": (("--model", "qwen3-8b"), {"model", "context", "users", "quantization", "prices", "min_speed", "top"}),
    "file": (("-f", "x.yaml"), {"stack_file", "output", "html", "svg", "dry_run", "force", "port", "to"}),
}
VALUES = {
    "ram": "64GiB",
    "vram": "16GiB",
    "context": "8k",
    "max_model_len": "8k",
    "gpu_memory_utilization": "0.9",
    "bind": "127.0.0.1",
    "port": "9000",
    "kv_cache_dtype": "fp8",
    "quantization": "fp8",
    "speculative_config": "mtp:1",
}


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("param", [each for each in cli.params if isinstance(each, click.Option) and not each.is_eager], ids=lambda param: param.name)
def test_an_option_that_the_question_does_not_use_is_refused_by_name(param, branch):
    asked, used = BRANCHES[branch]
    if param.name in used | {"as_json", "quiet", "style", "gpu", "model", "stack_file", "own_gpus", "own_models"}:
        return
    value = [] if param.is_flag else [param.type.choices[0] if hasattr(param.type, "choices") else VALUES.get(param.name, "1")]
    flag = flag_of(param.name)
    with pytest.raises(PlannerError) as caught:
        cli.main([*asked, flag, *value], standalone_mode=False)
    assert f"{flag} " in caught.value.message
    assert branch == "file" or f"{shlex.join(['plan', *asked])} {flag}" in caught.value.hint


class Read:
    """Values of options that note which of them were looked at."""

    def __init__(self, values, names):
        self.values, self.names = values, names

    def __getattr__(self, name):
        if name == "service":
            return Read(self.values.service, self.names)
        self.names.add(name.removesuffix("_tokens"))
        return getattr(self.values, name)


@pytest.mark.parametrize(("asked", "taken"), [({"gpu": "t4", "top": 1}, _MODELS), ({"model": "qwen3-4b", "top": 1}, _MACHINES)])
def test_what_a_list_takes_it_reads(asked, taken, capsys):
    options = click.Context(cli).command.make_context("plan", ["--count", "1"]).params | asked
    read = Read(values_of(PlanValues, options), set())
    run_choice(read)
    assert capsys.readouterr().out
    assert read.names | {"as_json", "quiet", "gpu", "own_gpus", "own_models"} == taken | {"model"}


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("--gpu", "rtx4090", "--count", "2", "--html", "y.html"), "plan --gpu rtx4090 --count 2 --html y.html --model NAME"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--top", "3"), "leave it out: plan --gpu rtx4090 --model qwen3-8b\n"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--prices", "x.yaml"), "--prices is for choosing"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--engine", "ollama", "--vllm-version", "0.19"), "--vllm-version is vLLM's; Ollama has no such setting"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--engine-version", "0.19"), "--engine-version is llama.cpp's; vLLM's is --vllm-version"),
        (
            ("--gpu", "m4-max-64gb", "--model", "qwen3-8b", "--dtype", "float16"),
            "--dtype is vLLM's; MLX has no such setting; leave it out: plan --gpu m4-max-64gb",
        ),
        (("--gpu", "m4-max-64gb", "--model", "qwen3-8b", "--gpu-layers", "3"), "--gpu-layers is Ollama's and llama.cpp's"),
        (("--gpu", "m4-max-64gb", "--model", "qwen3-8b", "--host", "wsl2"), "--host is about machines with NVIDIA or AMD GPUs"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run", "--to", "compose"), "--to is about the plan's files, and --dry-run writes none"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run", "--output", "x"), "leave it out: plan --gpu rtx4090 --model qwen3-8b --dry-run\n"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run", "--force"), "--force is about files"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--json", "--force"), "--force is about files"),
        (("sweep", "--output", "x.csv", "--resume", "--force"), "one of them: plan sweep --output x.csv --resume\n"),
        (("sweep", "--output", "x.csv", "--ray", "local", "--jobs", "2"), "leave it out: plan sweep --output x.csv --ray local\n"),
        (("--count", "2"), "plan --count 2 --gpu rtx4090 --model"),
        (("bench",), "plan bench --gpu rtx4090 --model qwen3-8b"),
        (("check", "vllm serve Qwen/Qwen3-8B"), "--gpu is missing; try: plan check --gpu rtx4090 'vllm serve Qwen/Qwen3-8B'"),
        (("check", "--count", "2", "--", "vllm", "serve", "x"), "try: plan check --count 2 --gpu rtx4090 vllm serve x"),
        (("compare", "--model", "qwen3-4b"), "--gpu is missing; try: plan compare --model qwen3-4b --gpu rtx4090"),
        (("compare",), "try: plan compare --gpu rtx4090 --model qwen3-8b"),
        (("sweep", "--gpus", "l4"), "--output is missing; try: plan sweep --gpus l4 --output grid.csv"),
        (("explain",), "plan explain --help"),
        (("capacity", "--gpu", "rtx4090"), "plan capacity --gpu rtx4090 --model qwen3-8b"),
        (
            ("capacity", "--gpu", "h100", "--count", "8", "--model", "deepseek-v3", "--ttft", "3s"),
            "plan --gpu h100 --count 8 --model deepseek-v3 says what would do",
        ),
        (("verify", "--gpu", "rtx4090", "--modle", "qwen3-8b"), "did you mean --model"),
    ],
)
def test_a_hint_says_the_typed_words_again(typed, says, tmp_path):
    assert says in refused(*typed, cwd=tmp_path)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A configuration folder of this test's own: a function that writes config.toml."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "etc"))
    (tmp_path / "etc" / "plan").mkdir(parents=True)
    (tmp_path / "here").mkdir()

    def write(text: str | bytes) -> Path:
        path = tmp_path / "etc" / "plan" / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / "here"

    return write


def test_defaults_are_used_and_said_and_beaten_by_what_is_typed(own):
    here = own('gpu = "rtx4090"\ncount = 2  # mine\nhost = "wsl2"\n')
    asked = ("--model", "qwen3-8b", "--dry-run", "--json")
    done = run_plan(*asked, cwd=here)
    hardware = json.loads(done.stdout)["hardware"]
    assert (hardware["gpu"], hardware["count"], hardware["host"]) == ("rtx4090", 2, "wsl2")
    assert len(done.stderr.splitlines()) == 1
    assert "--gpu rtx4090 --count 2 --host wsl2 from" in done.stderr
    assert run_plan(*asked, "-q", cwd=here).stderr == ""
    one = json.loads(run_plan(*asked, "--count", "1", cwd=here).stdout)["hardware"]
    assert (one["gpu"], one["count"], one["host"]) == ("rtx4090", 1, "wsl2")
    other = run_plan(*asked, "--gpu", "h100", cwd=here)  # another GPU is another machine
    hardware = json.loads(other.stdout)["hardware"]
    assert (hardware["gpu"], hardware["count"], hardware["host"], other.stderr) == ("h100", 1, "server", "")
    machines = run_plan("--gpu", "any", "--model", "qwen3-8b", "--json", "--top", "1", cwd=here)
    assert json.loads(machines.stdout)["machines"]
    models = json.loads(run_plan("--for", "embedding", "--top", "1", "--json", cwd=here).stdout)
    assert models["models"]
    assert json.loads(run_plan("check", "vllm serve Qwen/Qwen3-8B", "--json", cwd=here).stdout)


def test_a_stack_file_and_a_list_ask_nothing_of_the_defaults(own):
    here = own('gpu = "rtx4090"\n')
    (here / "x.yaml").write_text("gpu: h100\nservices:\n- model: qwen3-8b\n")
    done = run_plan("-f", "x.yaml", "--dry-run", "--json", cwd=here)
    assert (json.loads(done.stdout)["hardware"]["gpu"], done.stderr) == ("h100", "")
    own("broken")
    for words in ((), ("--help",), ("list", "architectures", "--help"), ("-V",), ("capacity", "--help"), ("schema", "plan")):
        assert run_plan(*words, cwd=here).returncode == 0


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("gpu = rtx4090\n", 1, "not TOML"),
        ('gpu = "rtx4090"\ncount = "2"\n', 2, "expected a whole number from 1 to 1024"),
        ('\n\ngpuu = "rtx4090"\n', 3, "did you mean gpu"),
        ("count = true\n", 1, "expected a whole number"),
        ("count = 0\n", 1, "expected a whole number"),
        ('host = "dekstop"\n', 1, "did you mean desktop"),
        ("[gpu]\nname = 1\n", 1, "expected a text"),
        ('gpu = ""\n', 1, "expected a text"),
        ('gpu = "a"\ngpu = "b"\n', 2, "not TOML"),
        ('vllm-version = "0.1"\n', 1, "one of 0.11"),
        ("x = 1\n", 1, "known: gpu, count, host, prices, gpus, models, vllm-version"),
        ("[" * 5000, 1, "not TOML"),
    ],
)
def test_a_bad_file_of_defaults_is_one_line_with_its_place(text, line, says, own):
    here = own(text)
    for words in (("--model", "qwen3-8b"), ("config",)):
        error = refused(*words, cwd=here)
        assert f"config.toml:{line}: " in error
        assert says in error


@pytest.mark.parametrize("text", [b"\xff\xfe", b"x" * 100_000])
def test_a_file_of_defaults_that_is_no_text_is_refused(text, own):
    assert re.search(r"config\.toml:(\d+:)? ", refused("--model", "qwen3-8b", cwd=own(text)))


def test_defaults_are_set_shown_and_unset(own, tmp_path):
    here = own("# mine\n")
    path = tmp_path / "etc" / "plan" / "config.toml"
    assert run_plan("config", "set", "gpu", "RTX 4090", cwd=here).returncode == 0
    assert run_plan("config", "set", "count", "2", cwd=here).returncode == 0
    assert run_plan("config", "set", "gpu", "h100", cwd=here).returncode == 0
    assert path.read_text() == '# mine\ngpu = "h100"\ncount = 2\n'
    assert "h100  (line 2)" in run_plan("config", cwd=here).stdout
    shown = json.loads(run_plan("config", "--json", cwd=here).stdout)
    jsonschema.validate(shown, json_schema("config"))
    assert (shown["path"], shown["defaults"]["count"], shown["defaults"]["host"]) == (str(path), {"value": 2, "line": 3}, None)
    assert run_plan("config", "unset", "gpu", cwd=here).returncode == 0
    assert path.read_text() == "# mine\ncount = 2\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set", "gpu", "rtx4900"), "did you mean rtx4090"),
        (("set", "gpu", "m4-max"), "comes with 36, 48, 64 or 128 GB"),
        (("set", "gpu"), "plan config set KEY VALUE"),
        (("set", "cuont", "2"), "did you mean count"),
        (("set", "count", "many"), "expected a whole number"),
        (("set", "host", "laptop"), "expected server, desktop, wsl2"),
        (("unset",), "plan config unset KEY"),
        (("unset", "gpu", "x"), "plan config unset KEY"),
        (("show", "gpu"), "plan config set gpu VALUE"),
    ],
)
def test_a_default_that_is_none_is_refused(words, says, own, tmp_path):
    here = own("")
    assert says in refused("config", *words, cwd=here)
    assert (tmp_path / "etc" / "plan" / "config.toml").read_text() == ""


def test_what_an_earlier_version_left_in_its_folder_is_still_used(own, tmp_path):
    here = own("")
    (tmp_path / "etc" / "serve-plan").mkdir()
    (tmp_path / "etc" / "serve-plan" / "calibration.json").write_text('{"schema": 99}')
    assert "calibration.json: is no calibration of this version" in run_plan("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run", cwd=here).stderr


@pytest.fixture
def shell(tmp_path):
    """Bash with `plan` and its completion: a function that returns what completing the last word offers."""
    if not shutil.which("bash"):
        pytest.skip("no bash")
    command = tmp_path / "bin" / "plan"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m planner "$@"\n')
    command.chmod(0o755)
    (tmp_path / "plan.bash").write_text(run_plan("completion", "bash", cwd=tmp_path).stdout)
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}

    def complete(*words: str) -> list[str]:
        line = f"source plan.bash; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _plan_completion plan; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(["bash", "--norc", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.split()

    complete.environment = environment
    return complete


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("plan", "capa"), {"capacity"}),
        (("plan", "--gpu", "rtx409"), {"rtx4090", "rtx4090d", "rtx4090-48gb", "rtx4090-laptop"}),
        (("plan", "--gpu", "m4-max"), {f"m4-max-{size}gb" for size in (36, 48, 64, 128)}),
        (("plan", "--gpu", "rtx4090", "--model", "qwen3-vl-32b-a"), {"qwen3-vl-32b-awq"}),
        (("plan", "--model", "qwen3-8b", "--with", "qwen3-embedding-0.6b-"), {"qwen3-embedding-0.6b-ollama-q8-0"}),
        (("plan", "capacity", "--model", "qwen3-vl-32b-a"), {"qwen3-vl-32b-awq"}),
        (("plan", "check", "--gpu", "h100-n"), {"h100-nvl"}),
        (("plan", "compare", "--gpu", "rtx4090,h100-n"), {"rtx4090,h100-nvl"}),
        (("plan", "sweep", "--models", "qwen3-4b,qwen3-vl-32b-a"), {"qwen3-4b,qwen3-vl-32b-awq"}),
        (("plan", "--max-model"), {"--max-model-len"}),
        (("plan", "list", "mo"), {"models"}),
        (("plan", "--gpu", "no-such"), set()),
    ],
)
@pytest.mark.slow
def test_bash_completes_commands_options_and_names(words, offered, shell):
    assert set(shell(*words)) == offered


def test_a_tab_completes_in_a_terminal(shell, tmp_path):
    terminal, inside = pty.openpty()
    environment = shell.environment | {"PS1": "$ ", "TERM": "dumb"}
    bash = ["bash", "--norc", "--noprofile", "-i"]
    process = subprocess.Popen(bash, cwd=tmp_path, env=environment, stdin=inside, stdout=inside, stderr=inside, start_new_session=True)
    os.close(inside)
    seen, deadline = "", time.monotonic() + 60
    try:
        os.write(terminal, b"source plan.bash\nplan --gpu rtx3090t\t--model qwen3-vl-32b-a\t")
        while "rtx3090ti --model qwen3-vl-32b-awq" not in seen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 4096).decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert "--gpu rtx3090ti --model qwen3-vl-32b-awq" in seen


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_completion_script_of_every_shell_asks_this_command(name, tmp_path):
    assert f"_PLAN_COMPLETE={name}_complete" in run_plan("completion", name, cwd=tmp_path).stdout


def test_an_unknown_shell_is_refused(tmp_path):
    assert "bash" in refused("completion", "tcsh", cwd=tmp_path)


@pytest.mark.parametrize("name", commands())
def test_every_option_can_be_typed_again(name):
    """The words of a hint are those of the command: each option is read back as it was given."""
    found = commands()[name]
    for param in found.params:
        if not isinstance(param, click.Option) or param.is_eager:
            continue
        values = {True: [True, False] if param.secondary_opts else [True]}.get(param.is_flag, ["1"])
        for value in values:
            typed = shlex.split(command_line({_key(param): value}))[1:]
            opts, _, order = found.make_parser(click.Context(found)).parse_args(list(typed))
            assert (order[0], opts[param.name]) == (param, (["1"] if param.multiple else value))


def test_check_says_where_vllm_reads_a_number_otherwise(tmp_path):
    command = "vllm serve Qwen/Qwen3-8B --max-model-len 32k --max-num-batched-tokens 4K --kv-cache-memory-bytes 8g"
    answer = json.loads(run_plan("check", command, "--gpu", "h100", "--json", cwd=tmp_path).stdout)
    said = [warning["message"] for warning in answer["warnings"] if warning["code"] == "thousands"]
    assert said == [
        "vLLM reads --max-model-len 32k as 32,000; 32K is 32,768",
        "vLLM reads --kv-cache-memory-bytes 8g as 8,000,000,000; 8G is 8,589,934,592",
    ]
    assert answer["settings"]["max_model_len"] == 32_000


@pytest.mark.slow
def test_the_sizes_of_the_release_are_those_that_are_computed():
    entries = [Entry(row, variant) for row in model_rows() for variant in row.variants]
    assert all(sizes.weights_bytes(entry) == sizes.computed_bytes(entry) for entry in entries)

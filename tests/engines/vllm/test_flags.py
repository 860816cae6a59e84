"""The flags of `vllm serve`: our parser takes what vLLM's takes and refuses what it refuses; vLLM's own is the judge.

`tests/data/vllm_0.33_commands.jsonl` holds its answers: `python tests/engines/vllm/test_flags.py` asks it again.
"""

import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from command_cases import kinds, mutations
from conftest import ROOT
from judges import judge_venv

from benchmarks.flags import table
from planner.engines.vllm.flags import _unknown, flag_table, parse_flags, spellings
from planner.engines.vllm.versions import VERSIONS
from planner.errors import PlannerError

FROZEN = ROOT / "tests" / "data" / "vllm_0.33_commands.jsonl"
OFFICIAL = next((path for base in (ROOT.parent, ROOT.parent.parent) if (path := base / "shared" / "truth" / "vllm_recipes_commands.jsonl").exists()), None)
ASKED = {"max_model_len": "--max-model-len", "tensor_parallel_size": "--tensor-parallel-size", "enforce_eager": "--enforce-eager", "dtype": "--dtype"}


def judged(commands: list[list[str]], folder: Path) -> list[dict]:
    """What vLLM's parser says of each; a template that a command names in examples/, as vLLM's image has it, lies there."""
    for words in commands:
        if "--chat-template" in words[:-1] and (name := words[words.index("--chat-template") + 1]).startswith("examples/"):
            (folder / "examples").mkdir(exist_ok=True)
            (folder / name).touch()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "planner" / "engines" / "vllm" / "judge")}
    command = [judge_venv("vllm") / "bin" / "python", ROOT / "tests" / "oracle" / "parse_commands.py"]
    text = "".join(json.dumps(words) + "\n" for words in commands)
    done = subprocess.run(command, cwd=folder, env=environment, input=text, text=True, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def disagreements(commands, answers) -> list[str]:
    """Commands that one of the two takes, and taken ones that they understand differently."""
    found = []
    for words, theirs in zip(commands, answers, strict=True):
        values, positional, faults = parse_flags(words, "0.33")
        if bool(faults) == theirs["taken"]:
            found.append(f"{words}: ours {[fault.message for fault in faults]}, vLLM's {theirs}")
        elif theirs["taken"]:
            understood = {name: str(values[flag]) for name, flag in ASKED.items() if flag in values}
            told = {name: theirs["values"][name].replace("-1", "auto") if name == "max_model_len" else theirs["values"][name] for name in understood}
            if understood != told or (positional or [None])[0] != theirs["model"]:
                found.append(f"{words}: {understood} {positional}, vLLM's {theirs}")
    return found


def frozen() -> list[dict]:
    return [json.loads(line) for line in FROZEN.read_text().splitlines()]


def test_the_kinds_are_taken_and_refused_as_vllm_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = frozen()
    assert [answer["words"] for answer in answers[: len(kinds())]] == kinds(), "python tests/engines/vllm/test_flags.py"
    assert sum(answer["taken"] for answer in answers) > 300
    assert sum(not answer["taken"] for answer in answers) > 300
    assert disagreements([answer["words"] for answer in answers], answers) == []


@pytest.mark.judge
def test_our_parser_is_vllms_for_the_kinds_and_for_mutations(tmp_path, monkeypatch):
    """The judge itself, on commands that nobody has seen: other seeds each day."""
    monkeypatch.chdir(tmp_path)
    commands = kinds() + list(mutations(flag_table()["flags"], int(time.time()) // 86_400, 3000))
    assert disagreements(commands, judged(commands, tmp_path)) == []


@pytest.mark.judge
@pytest.mark.skipif(OFFICIAL is None, reason="the official recipes lie beside the project only where it is built")
def test_our_parser_is_vllms_for_every_official_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [json.loads(line)["argv"][2:] for line in OFFICIAL.read_text().splitlines()]
    assert len(commands) > 1200
    assert disagreements(commands, judged(commands, tmp_path)) == []


@pytest.mark.parametrize(
    ("words", "level"),
    [(["-O3"], 3), (["-O=2"], 2), (["-O", "1"], 1), (["-O.level=0"], 0)],
)
def test_a_level_is_a_key_of_the_compilation_before_0_12(words, level):
    values, _, faults = parse_flags(["a/b", *words], "0.11")
    assert (json.loads(values["--compilation-config"]), faults) == ({"level": level}, [])


def test_a_level_is_a_flag_of_its_own_since_0_12():
    assert parse_flags(["a/b", "-O3"], "0.12") == ({"--optimization-level": "3"}, ["a/b"], [])
    assert "came with vLLM 0.12" in parse_flags(["a/b", "--optimization-level", "3"], "0.11")[2][0].message


@pytest.mark.parametrize(
    ("flag", "version", "message", "fix"),
    [
        ("--disable-log-requests", "0.11", "", ""),
        ("--disable-log-requests", "0.16", "", ""),
        ("--disable-log-requests", "0.17", "no longer knows --disable-log-requests (last in 0.16)", "leave it out"),
        ("--disable-log-requests", "0.33", "", ""),  # which is --no-enable-log-requests now
        ("--disable-mfu-metrics", "0.32", "--disable-mfu-metrics came with vLLM 0.33; this is 0.32", "--no-enable-mfu-metrics"),
        ("--enable-mfu-metrics", "0.11", "--enable-mfu-metrics came with vLLM 0.14; this is 0.11", "leave it out or use 0.14"),
    ],
)
def test_a_spelling_is_told_by_the_releases_that_took_it(flag, version, message, fix):
    (fault,) = parse_flags(["a/b", flag], version)[2] or [None]
    assert (message in fault.message and fix in fault.fix) if message else fault is None


def test_a_flag_that_is_gone_takes_as_many_words_as_its_release_gave_it():
    """Each in the last release that had it, before the model and behind it: a switch leaves the model alone, a value is no model."""
    table = flag_table()
    assert set(table["gone_takes"]) == set(table["last_known_in"])
    for flag, version in table["last_known_in"].items():
        value = [] if table["gone_takes"][flag] == 0 else ["4"]
        for words in ([flag, *value, "--port", "1", "a/b"], ["a/b", flag, *value], *([] if value else [[flag, "a/b"]])):
            values, positional, faults = parse_flags(words, version)
            assert (positional, faults, values[flag]) == (["a/b"], [], value[0] if value else True), (words, version)


def test_a_list_that_is_gone_takes_all_its_words():
    assert parse_flags(["a/b", "--cuda-graph-sizes", "1", "2", "4"], "0.12") == ({"--cuda-graph-sizes": "1 2 4"}, ["a/b"], [])


@pytest.mark.parametrize("flag", ["--disable-log-requests", "--calculate-kv-scales", "--enable-reasoning", "--enable-mfu-metrics", "--no-such-switch"])
@pytest.mark.parametrize("version", ["0.11", "0.20", "0.33"])
def test_a_switch_never_takes_the_model_behind_it(flag, version):
    """One that the release has, had, will have or never has."""
    for words in ([flag, "a/b"], [flag, "a/b", "--max-model-len", "4096"], ["--max-model-len", "4096", flag, "a/b"]):
        assert parse_flags(words, version)[1] == ["a/b"], words


@pytest.mark.parametrize("version", ["0.20", "0.32"])
def test_no_word_is_told_to_be_meant_by_itself(version):
    """Of every spelling that any release takes."""
    known = flag_table()
    words = {name for flag, entry in known["flags"].items() for name in (flag, *entry.get("also", ()))} | set(known["last_known_in"])
    for word in sorted(words - set(spellings(version))):
        fault = _unknown(word, version)
        assert fault
        assert f"mean {word}?" not in fault.fix
        assert f" {word}," not in fault.fix


def test_a_flag_that_is_gone_is_told_though_another_is_spelled_so_today():
    """benchmarks/flags.py, of three releases."""
    first = {"--quiet": {"takes": 0, "off": ["--no-quiet"], "also": ["--no-quiet"]}, "--log": {"takes": 0, "off": ["--no-log"], "also": ["--no-log"]}}
    last = {"--log": {"takes": 0, "off": ["--no-log", "--quiet"], "also": ["--no-log", "--quiet"]}}
    made = table({"0.1": first, "0.2": {"--log": first["--log"]}, "0.3": last})
    assert made["last_known_in"] == {"--no-quiet": "0.1", "--quiet": "0.1"}
    assert made["gone_takes"] == {"--no-quiet": 0, "--quiet": 0}
    assert made["flags"]["--log"]["earlier"] == [["0.3", {"also": ["--no-log"], "off": ["--no-log"]}]]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_release_reads_an_ordinary_command(version):
    words = ["a/b", "--tensor-parallel", "2", "--max_model_len=8K", "--no-enforce-eager", "--gpu-memory-util", "0.9", "--port", "1"]
    values, positional, faults = parse_flags(words, version)
    assert (positional, faults) == (["a/b"], [])
    assert values["--max-model-len"] == "8192"
    assert values["--enforce-eager"] is False


def test_each_fault_is_named_and_what_is_right_is_still_read():
    words = ["a/b", "extra", "--enforce-eager=false", "--seed", "x", "--max", "1", "--nothing", "2", "--dtype", "half16", "-tp2", "--port", "8000"]
    values, positional, faults = parse_flags(words, "0.33")
    assert (values, positional) == ({"--port": "8000"}, ["a/b"])
    assert {fault.flag for fault in faults} == {"extra", "--enforce-eager", "--seed", "--max", "--nothing", "--dtype", "-tp2"}
    assert all(fault.fix for fault in faults)
    assert next(fault.fix for fault in faults if fault.flag == "-tp2") == "-tp 2"


@pytest.mark.parametrize(
    ("flag", "value", "first", "last"),
    [
        ("--block-size", "256", "0.11", "0.33"),
        ("--block-size", "48", "0.18", "0.33"),
        ("--mamba-ssm-cache-dtype", "bfloat16", "0.22", "0.33"),
        ("--mamba-cache-mode", "all", "0.16", "0.31"),
        ("--dtype", "bogus", "", ""),
        ("--runner", "foo", "", ""),
    ],
)
def test_a_value_is_taken_by_the_releases_that_have_it(flag, value, first, last):
    order = list(VERSIONS)
    for version in order[order.index("0.16") if flag == "--mamba-cache-mode" else 0 :]:
        taken = bool(first) and order.index(first) <= order.index(version) <= order.index(last)
        assert bool(parse_flags(["a/b", flag, value], version)[2]) != taken, version


def test_a_configuration_file_is_read_and_the_command_line_beats_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "conf.yaml"
    file.write_text(
        "model: a/b\ntensor_parallel_size: 4\nmax-model-len: 8K\nenforce-eager: true\nenable-prefix-caching: false\ncompilation-config: {mode: 3}\nserved-model-name: [x, y]\n"
    )
    values, positional, faults = parse_flags(["--config", "conf.yaml", "--max-model-len", "1024"], "0.33")
    assert faults == []
    assert (positional, values.pop("--model")) == ([], "a/b")
    assert values == {
        "--tensor-parallel-size": "4", "--max-model-len": "1024", "--enforce-eager": True, "--compilation-config": '{"mode": 3}', "--served-model-name": "x y",
    }  # fmt: skip
    assert parse_flags(["c/d", "--config", "conf.yaml"], "0.33")[1] == ["c/d"]


@pytest.mark.parametrize("text", ["", "- a\n", "a: [\n", "a: &x 1\nb: *x\n", "1: 2\n", "tensor-parallel-size: two\n", "nothing: 1\n", "\x00"])
def test_a_bad_configuration_file_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(text)
    assert parse_flags(["a/b", "--config", "c.yaml"], "0.33")[2]


def test_a_command_of_many_words_is_refused():
    with pytest.raises(PlannerError, match="words"):
        parse_flags(["a/b", *["--port"] * 5000], "0.33")


JUNK = (
    "\x00",
    "\x1b[31m",
    "--\u202e",
    "9" * 400,
    "9" * 400 + ".0k",
    "1e999",
    "[",
    "{" * 3000,
    "--" + "a." * 60 + "x",
    "\u0661",
    "--=",
    "--",
    "-",
    "-O",
    "-O=",
    "-cc.",
    "-cc.+",
    "-.5",
    "--.x",
    "=",
    "--config",
)


def test_nothing_ends_in_a_traceback_or_reaches_the_terminal_raw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(3)
    for words in kinds() + list(mutations(flag_table()["flags"], 3, 100)):
        cut = rng.randrange(len(words) + 1)
        _, _, faults = parse_flags([*words[:cut], rng.choice(JUNK), *words[cut:]], rng.choice(list(VERSIONS)))
        assert all(fault.message.isprintable() for fault in faults)


if __name__ == "__main__":
    commands = kinds() + list(mutations(flag_table()["flags"], 1, 700))
    with tempfile.TemporaryDirectory() as folder:
        answers = judged(commands, Path(folder))
    rows = [{"words": words, **{key: answer.get(key) for key in ("taken", "model", "values")}} for words, answer in zip(commands, answers, strict=True)]
    for row in rows:
        row["values"] = {name: row["values"][name] for name in ASKED} if row["taken"] else None
    FROZEN.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(FROZEN, len(rows), sum(row["taken"] for row in rows))

"""Every command's JSON is what its schema says, no key less and none more, in every state of this machine's calibration."""

import json
import sys

import jsonschema
import pytest
from test_bench import serving

from planner.cli.main import main
from planner.facts.verdict import SCHEMAS, BoundBy, Grade, Verdict
from planner.machine.calibration import calibration_path
from planner.report.schemas import json_schema
from planner.speed.roofline import Step
from tests.conftest import DATA

LOG = str(next(path for path in sorted((DATA / "logs").glob("qwen-qwen3-8b*.log"))))
GPU = ("--gpu", "h100")
QUESTIONS = {
    "plan": [
        ("plan", *GPU, "--model", "qwen3-14b", "--dry-run"),
        ("plan", *GPU, "--count", "2", "--model", "qwen3-14b", "--dry-run"),
        ("plan", *GPU, "--model", "qwen3-14b", "--enforce-eager", "--dry-run"),
        ("plan", *GPU, "--model", "llama-3.1-70b", "--dry-run"),
        ("plan", *GPU, "--model", "qwen3-embedding-0.6b", "--dry-run"),
        ("plan", *GPU, "--model", "qwen3-8b", "--with", "qwen3-embedding-0.6b", "--dry-run"),
        ("plan", "--gpu", "gb10", "--model", "gpt-oss-20b", "--dry-run"),
        ("plan", *GPU, "--engine", "llama.cpp", "--model", "qwen3-14b", "--dry-run"),
        ("plan", *GPU, "--engine", "ollama", "--model", "qwen3-14b", "--dry-run"),
        ("plan", "--gpu", "rtx3060", "--engine", "llama.cpp", "--model", "llama-3.3-70b", "--dry-run"),
        ("plan", "--gpu", "m4-max-64gb", "--model", "qwen3-8b", "--dry-run"),
        ("plan", "--gpu", "apple-m5-32gb", "--model", "qwen3-embedding-0.6b", "--dry-run"),
    ],
    "chosen-models": [("plan", *GPU), ("plan", "--gpu", "m4-max-64gb"), ("plan", *GPU, "--for", "embedding")],
    "chosen-machines": [("plan", "--model", "qwen3-14b")],
    "check": [
        ("check", "vllm serve Qwen/Qwen3-8B --max-model-len 8192", *GPU),
        ("check", "vllm serve Qwen/Qwen3-8B --max-model-len 99999999 --kv-cache-dtype nonsense", *GPU),
    ],
    "explain": [("explain", LOG, *GPU), *(("explain", str(path)) for path in sorted((DATA / "logs").glob("*FAILED*.log"))[:2])],
    "capacity": [("capacity", *GPU, "--model", "qwen3-14b", "--input", "500", "--answer", "50")],
    "compare": [("compare", *GPU, "--model", "qwen3-14b"), ("compare", "--gpu", "h100,m4-max-64gb", "--model", "qwen3-8b,llama-3.1-70b")],
    "cost": [
        ("cost", *GPU, "--model", "qwen3-14b"),
        ("cost", "--gpu", "rtx4090", "--model", "qwen3-8b", "--rate", "2", "--documents", "9", "--usd-per-kwh", "0.3"),
    ],
    "front": [("front", "--model", "qwen3-8b", "--contexts", "8k")],
    "list": [("list", "gpus"), ("list", "models", "qwen3"), ("list", "architectures")],
}
CALIBRATIONS = ("none", "memory", "speed", "both", "another count")


def closed(schema):
    """The schema with no room for keys that it does not name."""
    if isinstance(schema, dict):
        more = {"additionalProperties": False} if "properties" in schema else {}
        return {key: closed(value) for key, value in schema.items()} | more
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


def conforms(answer, what: str) -> None:
    jsonschema.validate(answer, closed(json_schema(what)), cls=jsonschema.Draft202012Validator)


@pytest.fixture
def asked(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, in a folder and with a configuration of its own; the answer as JSON."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str):
        monkeypatch.setattr(sys, "argv", ["plan", *words[words[0] == "plan" :], "--format", "json"])
        with pytest.raises(SystemExit) as done:
            main()
        shown = capsys.readouterr()
        assert done.value.code in (0, 1, 4), shown.err
        return json.loads(shown.out)

    return run


def calibrate(asked, state: str) -> None:
    if state in ("memory", "both"):
        conforms(asked("explain", LOG, *GPU, "--save-calibration"), "explain")
    if state in ("speed", "both", "another count"):
        count = ("--count", "4") if state == "another count" else ()
        with serving() as url:
            words = ("bench", *GPU, *count, "--model", "qwen3-8b", "--url", url, "--input", "100", "--answer", "16", "--at-once", "2")
            conforms(asked(*words, "--save-calibration"), "bench")
    assert calibration_path().exists() == (state != "none")


@pytest.mark.slow
@pytest.mark.parametrize("state", CALIBRATIONS)
def test_every_answer_is_as_its_schema_says(state, asked):
    calibrate(asked, state)
    grades = set()
    for what, questions in QUESTIONS.items():
        if what in ("list", "front", "capacity", "cost") and state not in ("none", "both"):
            continue  # nothing of them follows the memory alone, and the speed is there with both
        for words in questions:
            answer = asked(*words)
            conforms(answer, what)
            grades.add((answer.get("speed") or {}).get("grade"))
    assert ("measured here" in grades) == (state in ("speed", "both"))


def test_a_bench_that_cannot_be_predicted_says_why(asked):
    with serving() as url:
        found = asked("bench", "--gpu", "jetson-thor", "--model", "qwen3-8b", "--url", url, "--input", "100", "--answer", "16", "--at-once", "2")
    conforms(found, "bench")
    assert found["measured_over_predicted"] is None
    assert "compute peak unknown" in found["speed_reason"]


def test_a_sweep_says_what_it_wrote(asked, tmp_path):
    words = ("sweep", "--models", "qwen3-8b", "--gpus", "rtx4090,gb10", "--counts", "1", "--contexts", "8k", "--jobs", "1")
    conforms(asked(*words, "--output", str(tmp_path / "sweep.csv")), "sweep")


@pytest.mark.parametrize("what", SCHEMAS)
def test_every_schema_is_made(what):
    jsonschema.Draft202012Validator.check_schema(json_schema(what))


def lists(schema) -> set[tuple]:
    """Every closed list of words of a schema."""
    if isinstance(schema, dict):
        return ({tuple(schema["enum"])} if "enum" in schema else set()).union(*(lists(value) for value in schema.values()), set())
    return set().union(*(lists(each) for each in schema), set()) if isinstance(schema, list) else set()


def test_grades_and_what_binds_are_those_of_the_code():
    words = lists(json_schema("plan"))
    assert {tuple(Grade), tuple(BoundBy), tuple(Verdict)} <= words
    longest = {Step(*(float(at == place) for at in range(5))).longest for place in range(5)}
    assert longest == set(BoundBy)


@pytest.mark.parametrize("state", ["none", "memory"])
def test_a_schema_notices_a_word_that_it_does_not_hold(state, asked):
    calibrate(asked, state)
    answer = asked("plan", *GPU, "--model", "qwen3-14b", "--dry-run")
    for path, value in ((("speed", "grade"), "guessed"), (("verdict",), "perhaps"), (("speed", "more"), 1), (("settings", "max_model_len"), "8k")):
        broken = json.loads(json.dumps(answer))
        place = broken
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            conforms(broken, "plan")

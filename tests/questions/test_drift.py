"""What moved between two plans, and whether that is worse."""

import copy
import json

import jsonschema
import pytest
from conftest import DATA, run_plan
from hypothesis import given
from hypothesis import strategies as st

from planner.cli.diff import asked_again
from planner.errors import FileError, PlannerError
from planner.facts.verdict import Verdict
from planner.questions.drift import Moved, drift, read_answer
from planner.report.drift import render_drift
from planner.report.schemas import json_schema

PLAN = json.loads((DATA / "plan_json_v1" / "vllm.json").read_text()) | {"plan_version": "0.1.0"}
SEVERAL = json.loads((DATA / "plan_json_v1" / "vllm_several.json").read_text())


def changed(**values):
    return copy.deepcopy(PLAN) | values


def moved(old, new):
    return {(move.kind, move.server, move.name, move.old, move.new) for move in drift(old, new).moves}


@pytest.mark.parametrize("answer", [PLAN, SEVERAL])
def test_nothing_moves_from_itself(answer):
    same = drift(answer, copy.deepcopy(answer))
    assert (same.moves, same.is_worse) == ((), False)


@pytest.mark.parametrize("old", list(Verdict))
@pytest.mark.parametrize("new", list(Verdict))
def test_worse_is_a_verdict_that_fell(old, new):
    assert drift(changed(verdict=old), changed(verdict=new)).is_worse == (new < old)


def test_a_wish_that_is_no_longer_met_is_worse():
    assert drift(changed(requirements_met=True), changed(requirements_met=False)).is_worse
    assert not drift(changed(requirements_met=False), changed(requirements_met=True)).is_worse


def test_each_thing_is_told_that_moved():
    old = copy.deepcopy(PLAN)
    old["services"][0]["memory"]["lines"] = [{"key": "weights", "bytes": 100}]
    new = changed(plan_version="0.2.0", engine=PLAN["engine"] | {"version": "0.34"})
    new["services"] = copy.deepcopy(old["services"])
    (service,) = new["services"]
    service["settings"]["max_num_seqs"] += 1
    service["memory"]["kv_cache_tokens"] -= 16
    line = service["memory"]["lines"][0]
    line["bytes"] += 1
    argv = new["commands"][0]["argv"]
    argv[argv.index("--max-model-len") + 1] = "1"
    argv.append("--enforce-eager")
    tokens, seqs, size = (old["services"][0][part][key] for part, key in (("memory", "kv_cache_tokens"), ("settings", "max_num_seqs"), ("memory", "lines")))
    assert moved(old, new) == {
        (Moved.RELEASE, "", "plan", "0.1.0", "0.2.0"),
        (Moved.RELEASE, "", "vllm", PLAN["engine"]["version"], "0.34"),
        (Moved.SETTING, "", "max_num_seqs", seqs, seqs + 1),
        (Moved.FIGURE, "", "kv_cache_tokens", tokens, tokens - 16),
        (Moved.BYTES, "", line["key"], size[0]["bytes"], size[0]["bytes"] + 1),
        (Moved.FLAG, "", "--max-model-len", "131072", "1"),
        (Moved.FLAG, "", "--enforce-eager", None, ""),
    }


def test_servers_are_told_apart():
    new = copy.deepcopy(SEVERAL)
    new["services"][0]["settings"]["max_num_seqs"] = 7
    gone = new["services"].pop()
    told = moved(SEVERAL, new)
    assert (Moved.SETTING, new["services"][0]["name"], "max_num_seqs", SEVERAL["services"][0]["settings"]["max_num_seqs"], 7) in told
    assert (Moved.VERDICT, "", "server", gone["name"], None) in told


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verdict": "perhaps"}', '{"verdict": 3}'])
def test_what_is_no_answer_is_told(text, tmp_path):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(FileError):
        read_answer(tmp_path)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)
KEYS = ("services", "settings", "memory", "speed", "commands", "problems", "rejection", "engine", "question", "plan_version", "requirements_met")


@given(st.dictionaries(st.sampled_from(KEYS), JUNK), st.sampled_from([PLAN, SEVERAL]))
def test_whatever_a_file_holds_is_compared(junk, answer):
    for old, new in ((answer, answer | junk), (answer | junk, answer)):
        render_drift(drift(old, new))


def test_the_command_line_asks_again(tmp_path):
    done = run_plan("--gpu", "rtx4090", "--model", "qwen3-8b", "--context", "16k", "--output", "kept", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    same = run_plan("check", "--against", "kept", "--json", cwd=tmp_path)
    assert (same.returncode, json.loads(same.stdout)["moves"]) == (0, [])
    saved = json.loads((tmp_path / "kept/plan.json").read_text())
    (tmp_path / "longer.json").write_text(
        json.dumps(saved | {"question": {"gpu": "rtx4090", "services": [{"model": "qwen3-8b", "users": 50, "context": 16384}]}})
    )
    worse = run_plan("check", "--against", "longer.json", "--json", cwd=tmp_path)
    answer = json.loads(worse.stdout)
    jsonschema.Draft202012Validator(json_schema("diff")).validate(answer)
    assert (worse.returncode, answer["worse"]) == (1, True)
    assert run_plan("diff", "kept", "longer.json", cwd=tmp_path).returncode == 0
    assert run_plan("diff", "kept", "gone", cwd=tmp_path).returncode == 2


def test_a_saved_check_is_asked_again(tmp_path):
    (tmp_path / "serve.sh").write_text("API_KEY=sk-verysecretverysecret vllm serve qwen3-8b --max-model-len 16384\n")
    done = run_plan("check", "serve.sh", "--gpu", "rtx4090", "--free", "22", "--json", cwd=tmp_path)
    assert done.returncode == 0 and "verysecret" not in done.stdout
    saved = json.loads(done.stdout)
    jsonschema.Draft202012Validator(json_schema("check")).validate(saved)
    (tmp_path / "serve.sh").unlink()
    assert asked_again(saved, tmp_path) | {"warnings": []} == saved | {"warnings": []}
    older = copy.deepcopy(saved) | {"plan_version": "0.0.1", "engine": saved["engine"] | {"version": "0.19"}}
    older["memory"]["kv_cache_tokens"] += 16
    told = moved(older, asked_again(older, tmp_path))
    assert {(kind, name) for kind, _, name, *_ in told} == {(Moved.RELEASE, "plan"), (Moved.RELEASE, "vllm"), (Moved.FIGURE, "kv_cache_tokens")}
    longer = saved | {"question": saved["question"] | {"command": ["vllm serve qwen3-8b --max-model-len 40960"], "free_gib": 20}}
    assert drift(saved, asked_again(longer, tmp_path)).is_worse


@pytest.mark.parametrize(
    "question", [{"command": [3]}, {"command": []}, {"command": "x"}, {"command": ["vllm serve qwen3-8b"], "model": 1}, {"command": ["true"], "gpu": "l4"}]
)
def test_what_is_no_question_of_a_check_is_told(question, tmp_path):
    with pytest.raises(PlannerError):
        asked_again(changed(question=question), tmp_path)

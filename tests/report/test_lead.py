"""What an answer leads with: the verdict and the wish in the same words on every door, no figure that pretends."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.facts.question import ServiceRow, StackRow
from planner.facts.verdict import Verdict
from planner.questions.plan import answer_for
from planner.report.contract import plan_json
from planner.report.lead import Outcome, headline
from planner.report.view import view_of
from tests.conftest import run_plan

# questions of each kind: met, users unmet, does not start (weights, cache, too short for a request), layers on the CPU, several servers
QUESTIONS = [
    ("--gpu", "rtx4090", "--model", "qwen3-8b-awq", "--context", "16k", "--users", "2"),
    ("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--users", "20", "--context", "64k"),
    ("--gpu", "rtx4090", "--model", "qwen3-32b"),
    ("--gpu", "h100", "--count", "8", "--model", "deepseek-v3"),
    ("--gpu", "rtx3060", "--model", "qwen3-8b", "--context", "32k"),
    ("--gpu", "rtx3060", "--model", "qwen3-14b-awq", "--context", "40k", "--users", "3"),
    ("--gpu", "rtx4090", "--model", "qwen3-8b-awq", "--gpu-memory-utilization", "0.2"),
    ("--gpu", "rtx3060", "--model", "qwen3-32b", "--engine", "ollama"),
    ("--gpu", "rtx3060", "--model", "qwen3-32b", "--engine", "llama.cpp", "--context", "32k"),
    ("--gpu", "m4-max-36gb", "--model", "qwen3-vl-32b", "--context", "128k", "--users", "4"),
    ("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--with", "qwen3-embedding-0.6b", "--users", "30", "--context", "32k"),
    ("--gpu", "rtx3060", "--model", "qwen3-embedding-0.6b"),
]


@pytest.mark.parametrize(
    "question", [pytest.param(each, id=" ".join(each), marks=pytest.mark.slow if number % 2 else []) for number, each in enumerate(QUESTIONS)]
)
def test_the_answer_leads_with_the_truth(question, tmp_path):
    answer = run_plan(*question, "--format", "json", "--dry-run", cwd=tmp_path)
    found = json.loads(answer.stdout)
    text = run_plan(*question, "--dry-run", cwd=tmp_path).stdout
    first = text.splitlines()[0]
    assert first.endswith(f": {found['headline']}"), first
    assert found["headline"].startswith(Verdict(found["verdict"]).words)
    assert (found["headline"] == Verdict(found["verdict"]).words) == (
        found["requirements_met"] or (Verdict(found["verdict"]).falls_short and len(found["services"]) == 1)
    )
    assert not re.search(r"(?<![\w.])-\d", text.split("vllm serve")[0].replace("--", "")), text  # no negative figure
    assert "0.00 " not in text.split("per GPU")[0]
    if Verdict(found["verdict"]).falls_short:
        why = text.splitlines()[2]
        assert why.startswith("Why: "), text
        assert "short by" in text
        assert "tokens of context" not in text
    elif found["memory"].get("kv_cache_tokens"):
        assert f"{found['settings']['max_model_len']:,}" in text.splitlines()[2]


@pytest.mark.parametrize("row", [
    StackRow(gpu="rtx4090", count=2, services=[ServiceRow(model="qwen3-vl-32b-awq", context=65_536, users=20)]),
    StackRow(gpu="rtx3060", engine="ollama", services=[ServiceRow(model="qwen3-32b")]),
    StackRow(gpu="rtx4090", services=[ServiceRow(model="qwen3-32b")]),
], ids=["users", "layers", "weights"])  # fmt: skip
def test_every_door_says_the_same(row):
    from planner.report.html import report

    found = answer_for(row)
    view = view_of(found)
    assert view.headline == plan_json(found, [])["headline"]
    assert (view.tone == "good") == found.requirements_met
    assert f"<strong>{view.headline}</strong>" in report(view, "plan")
    assert bool(view.figures) == (not found.verdict.falls_short)


@given(st.sampled_from(Verdict), st.integers(0, 30), st.integers(0, 30), st.integers(0, 5), st.integers(0, 5))
def test_green_is_for_what_starts_as_asked(verdict, asked, held, layers, on_gpu):
    one = Outcome(verdict=verdict, users_asked=asked, users=held, layers=layers, layers_on_gpu=on_gpu)
    found = headline([one])
    met = held >= asked and on_gpu >= layers
    assert (found.tone == "good") == (verdict == "starts" and met)
    assert found.words.startswith(verdict.words)
    if not verdict.falls_short:
        assert (found.words == verdict.words) == met
        assert (f"{held} of {asked} users" in found.words) == (held < asked)


def test_of_several_servers_the_one_that_holds_less_is_named():
    for first, second in product((Verdict.STARTS, Verdict.TIGHT), repeat=2):
        both = [Outcome(verdict=first, name="embedding"), Outcome(verdict=second, name="chat", users_asked=3, users=1)]
        assert "chat holds 1 of 3 users" in headline(both, min(first, second)).words

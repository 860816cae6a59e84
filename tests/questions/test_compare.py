"""Runtimes compared by the same class of weights, and what is concluded of it."""

from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue import load
from planner.catalogue.load import find_gpu
from planner.engines import ENGINES
from planner.questions.comparison import Compared, Comparison, conclusion, leads, reached
from planner.questions.ways import CLASSES, together, ways
from planner.report.compare import render
from tests.conftest import ROOT, run_plan


def compared(folder, *arguments: str) -> list[dict]:
    done = run_plan("compare", *arguments, "--format", "json", cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    return found.get("comparisons", [found])


@pytest.mark.parametrize("gpu", ["rtx4090", "h100", "a100-80", "m4-max-64gb"])
@pytest.mark.parametrize("model", ["qwen3-8b", "qwen3-14b", "mistral-small-3.2-24b", "qwen3-14b-awq", "qwen3-32b-fp8", "gpt-oss-20b"])
def test_a_class_has_every_runtime_that_stores_it(gpu, model):
    card = find_gpu(gpu)
    engines = ("mlx", "ollama", "llama.cpp") if card.vendor == "apple" else ("vllm", "ollama", "llama.cpp")
    rows = ways([model], engines, card)
    found: dict[int, list[str]] = {}
    for row in rows:
        assert len({(way.bits, way.engine) for way in row}) == 1
        found.setdefault(row[0].bits, []).append(row[0].engine)
    assert set(found) <= set(CLASSES)
    for runtimes in found.values():
        assert set(runtimes) >= set(engines) - {"vllm"}
        assert len(runtimes) == len(set(runtimes))
    if model in ("qwen3-8b", "qwen3-14b"):
        assert set(found) == set(CLASSES)
    if model in ("qwen3-14b-awq", "gpt-oss-20b"):
        assert set(found) == {4}
    if model == "qwen3-32b-fp8":
        assert set(found) == {8}


@pytest.mark.slow
def test_variants_of_one_model_are_one_table(tmp_path):
    assert together(["qwen3-14b", "qwen3-8b", "qwen3-14b-awq"]) == [["qwen3-14b", "qwen3-14b-awq"], ["qwen3-8b"]]
    (found,) = compared(tmp_path, "--gpu", "rtx4090", "--model", "qwen3-14b-fp8,qwen3-14b-awq")
    rows = [(row["bits"], row["engine"]) for row in found["runtimes"]]
    assert len(rows) == len(set(rows))
    assert {bits for bits, _ in rows} == {8, 4}


COMPARED = st.builds(
    Compared,
    engine=st.sampled_from(["vllm", "ollama"]),
    verdict=st.sampled_from(["starts", "tight", "does_not_start"]),
    layers_on_cpu=st.sampled_from([0, 0, 3]),
    tokens_per_s=st.none() | st.floats(1, 500),
    longest_context=st.integers(0, 10**6),
    users_held=st.integers(0, 256),
    total_tokens_per_s=st.none() | st.floats(1, 9000),
)


@given(st.lists(COMPARED, max_size=9))
def test_the_conclusion_is_true_of_what_was_compared(rows):
    sure = [row for row in rows if row.verdict == "starts" and not row.layers_on_cpu]
    figures = {
        "longest context": lambda row: row.longest_context,
        "fastest for one user": lambda row: row.tokens_per_s or 0,
        "most users": lambda row: row.users_held,
        "most tokens/s together": lambda row: row.total_tokens_per_s or 0,
    }
    said = {best.what: best for best in conclusion(rows)}
    for what, figure in figures.items():
        values = [figure(row) for row in sure]
        if not any(values):
            assert what not in said
            continue
        assert said[what].value == max(values)
        assert list(said[what].rows) == [row for row in sure if figure(row) == max(values)]


@pytest.mark.parametrize(
    "machine",
    [("--gpu", "rtx3060"), *(pytest.param(machine, marks=pytest.mark.slow) for machine in (("--gpu", "rtx4090", "--count", "2"), ("--gpu", "m4-max-64gb")))],
)
def test_what_is_concluded_holds_when_it_is_typed(machine, tmp_path):
    (found,) = compared(tmp_path, *machine, "--model", "qwen3-8b")
    assert {best["what"] for best in found["best"]} == {"longest context", "fastest for one user", "most users", "most tokens/s together"}
    for best in found["best"]:
        for command in best["commands"][:2]:
            done = run_plan(*shlex.split(command)[1:], "--format", "json", "--dry-run", cwd=tmp_path)
            answer = json.loads(done.stdout)
            assert (done.returncode, answer["verdict"]) == (0, "starts"), command
            if best["what"] == "longest context":
                reached = answer["memory"]["longest_max_model_len"] if "longest_max_model_len" in answer["memory"] else answer["longest_context"]
                assert reached >= best["value"]
            if best["what"] == "fastest for one user":
                assert answer["speed"]["tokens_per_s"]["expected"] == best["value"]
            if best["what"] == "most tokens/s together":
                assert answer["speed"]["total_tokens_per_s"]["expected"] == best["value"]


@given(st.lists(st.lists(COMPARED, max_size=3), min_size=2, max_size=5))
def test_who_leads_of_several_machines(tables):
    gpu = find_gpu("rtx4090")
    comparisons = [Comparison(gpu=gpu, count=count, model="m", rows=tuple(rows)) for count, rows in enumerate(tables, 1)]
    said = {lead.what: lead for lead in leads(comparisons)}
    assert set(said) == {best.what for comparison in comparisons for best in comparison.best}
    for what, lead in said.items():
        values = [reached(comparison, what) for comparison in comparisons]
        assert lead.value == max(values) > 0
        assert [each.count for each in lead.first] == [count for count, value in enumerate(values, 1) if value == lead.value]
        assert lead.second == max([value for value in values if value < lead.value], default=0)
        assert lead.times == 0 or lead.times > 1
    text = "\n".join(line.plain for piece in render(comparisons) for line in piece.lines(160))
    assert "Conclusion" in text


@pytest.mark.slow
def test_more_gpus_are_shown_beside_fewer(tmp_path):
    found = compared(tmp_path, "--gpu", "rtx3060", "--count", "1,2", "--model", "qwen3-14b")
    assert [one["count"] for one in found] == [1, 2]
    best = [{each["what"]: each["value"] for each in one["best"]} for one in found]
    assert best[1]["most users"] > best[0]["most users"]
    text = run_plan("compare", "--gpu", "rtx3060", "--count", "1,2", "--model", "qwen3-14b", cwd=tmp_path).stdout
    assert "What more GeForce RTX 3060 add" in text
    assert f"{best[0]['most users']:g} of 8,192" in text.split("What more")[1]
    assert f"{best[1]['most users']:g} of 8,192" in text.split("What more")[1]


@pytest.mark.parametrize("count", ["0", "", "two", "1,-2", "99999", "1.5", "²"])
def test_counts_that_are_none(count, tmp_path):
    done = run_plan("compare", "--gpu", "rtx4090", "--model", "qwen3-8b", "--count", count, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_the_matrix_of_models_and_engines_is_what_the_engines_say():
    page = (ROOT / "docs" / "choosing.md").read_text()
    (head,) = (line for line in page.splitlines() if line.startswith("| model | "))
    assert head == f"| model | {' | '.join(engine.title for engine in ENGINES.values())} |"
    rows = [line.strip("| ").split(" | ") for line in page.partition(head)[2].splitlines()[2:]]
    for name, *cells in rows[: next(index for index, row in enumerate(rows) if row == [""])]:
        said = [engine.agent_safety(load.find_model(name).spec().architecture) for engine in ENGINES.values()]
        assert cells == [safe for safe, _ in said]
        assert all(f", {safe}: {why}\n" in page for safe, why in said)


def test_runtimes_are_compared_with_the_same_cache(tmp_path):
    """A cache of 8 bits holds twice as many users: it is not set against one of 16 bits."""
    (found,) = compared(tmp_path, "--gpu", "rtx3060", "--model", "qwen3-4b")
    held = [row for row in found["runtimes"] if row["users_held"]]
    assert len({row["engine"] for row in held}) > 1
    assert {row["users_kv_cache"] for row in held} <= {engine.whole_cache for engine in ENGINES.values()}


def test_the_best_do_what_was_asked(tmp_path):
    """Neither a row that holds fewer users than asked nor one whose layers lie in main memory is the best for anything; the text says of both why."""
    arguments = ("--gpu", "rtx4090", "--model", "qwen3-32b", "--users", "4", "--context", "16k")
    (found,) = compared(tmp_path, *arguments)
    assert any(row["layers_on_cpu"] for row in found["runtimes"])
    assert any(row["verdict"] == "starts" and not row["layers_on_cpu"] and row["users"] < 4 for row in found["runtimes"])
    assert found["best"] == []
    text = run_plan("compare", *arguments, cwd=tmp_path, COLUMNS="80").stdout
    assert "less than asked: it holds 1 of 4 users" in text
    assert "of main memory" in text
    assert not [line for line in text.splitlines() if len(line) > 80]


def test_a_command_is_told_once(tmp_path):
    text = run_plan("compare", "--gpu", "rtx3060", "--model", "qwen3-4b", cwd=tmp_path).stdout
    commands = [line for line in text.splitlines() if line.startswith("    plan ")]
    assert commands
    assert len(commands) == len(set(commands))

"""The machine that a person has: cards that differ, a card that is described, what its driver says is free."""

import json

import pytest
from conftest import run_plan

from planner.errors import PlannerError
from planner.facts.hardware import Host
from planner.facts.question import ServiceRow, StackRow
from planner.questions.machine import gpus_of, machine_of
from planner.questions.plan import answer_for
from planner.questions.question import folder_name, question_of, words
from planner.units import GIB

SERVICE = ServiceRow(model="qwen3-8b-awq", context=8192)
CUSTOM = {"gpu": "custom", "vram": "16GiB", "bandwidth": 672.0, "compute_capability": "8.9"}


def row(gpu: str, **said) -> StackRow:
    return StackRow(gpu=gpu, services=[SERVICE], **said)


def test_an_engine_of_equal_shares_plans_what_each_of_two_cards_has_and_says_so():
    both, small = answer_for(row("rtx3090,rtx4060ti")), answer_for(row("rtx4060ti", count=2))
    assert both.main.service.argv == small.main.service.argv
    (said,) = (warning for warning in both.warnings if warning.code == "cards-differ")
    assert "the memory of the GeForce RTX 4060 Ti" in said.message
    assert "--engine ollama or llama.cpp splits by memory" in said.message
    assert not [warning for warning in answer_for(row("rtx3090,rtx3090")).warnings if warning.code == "cards-differ"]


def test_an_engine_that_splits_by_memory_holds_what_both_cards_do():
    service = ServiceRow(model="qwen3-32b", context=8192)
    alone, both = (answer_for(StackRow(gpu=gpu, engine="llama.cpp", services=[service])) for gpu in ("rtx4060ti", "rtx4060ti,rtx3090"))
    assert not alone.main.is_whole
    assert both.main.is_whole
    assert "cards-differ" not in [warning.code for warning in both.warnings]


def test_equal_cards_are_a_count_of_one_kind():
    asked = question_of(row("rtx3090,rtx3090"))
    assert (asked["gpu"], asked["count"]) == ("rtx3090", 2)
    assert asked == question_of(row("rtx3090", count=2))


def test_a_question_about_two_cards_is_asked_again_by_its_words_and_has_a_folder_of_its_own():
    asked = question_of(row("4090,3090"))
    assert asked["gpu"] == "rtx4090,rtx3090"
    assert "--gpu rtx4090,rtx3090" in words(asked)
    assert folder_name(asked).startswith("qwen3-8b-awq-rtx4090-rtx3090x1")


def test_a_described_card_is_planned_as_the_catalogues_own_of_the_same_figures():
    card, known = machine_of(row(**CUSTOM)).gpu, machine_of(row("rtx4070tisuper")).gpu
    assert (card.memory_bytes, card.capability, card.bandwidth_bytes_per_s) == (16 * GIB, 89, 672_000_000_000)
    assert abs(card.cuda_total_bytes - known.cuda_total_bytes) < 0.02 * GIB
    assert card.cuda_total_estimated
    assert "--gpu custom" in words(question_of(row(**CUSTOM)))
    assert "--vram 16GiB" in words(question_of(row(**CUSTOM)))


def test_what_a_server_says_of_its_memory_is_believed():
    told = machine_of(row("rtx4080", total_gib=15.6, free_gib=13.0, host="desktop"))
    assert (told.total_bytes, told.total_is_estimated, told.host) == (int(15.6 * GIB), False, Host.SERVER)
    assert told.free_at_start_bytes(1) == told.free_at_start_bytes(1, conservative=False) == 13 * GIB
    assert machine_of(row("rtx4090", total_gib=23.99)).gpu == machine_of(row("rtx4090")).gpu  # nvidia-smi's total: what CUDA sees is less


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"gpu": "rtx3090,rtx4090", "count": 2}, "--count is of one kind of GPU"),
        ({"gpu": "rtx3090,rx7900xtx"}, "of one maker, and these are of amd and nvidia"),
        ({"gpu": "rtx3090,gtx1080ti"}, "compute capability 7.0; this has 6.1"),
        ({"gpu": "rtx3090,rtx309x"}, "'rtx309x' is not in the catalogue"),
        ({"gpu": "custom"}, "--vram is missing"),
        ({"gpu": "custom", "vram": "16GiB"}, "--bandwidth is missing"),
        ({"gpu": "custom", "vram": "16GiB", "bandwidth": 672.0}, "--compute-capability is missing"),
        ({**CUSTOM, "vendor": "intel"}, "--compute-capability is NVIDIA's"),
        ({**CUSTOM, "vendor": "apple"}, "expected nvidia, amd, intel"),
        ({**CUSTOM, "vram": "16MiB"}, "is no card's memory"),
        ({"gpu": "rtx4090", "vram": "16GiB"}, "describes a card that the catalogue does not have"),
        ({"gpu": "rtx4090", "total_gib": 40.0}, "has 23.99 GiB"),
        ({"gpu": "rtx4090", "free_gib": 24.5}, "more than GeForce RTX 4090 has"),
    ],
)
def test_a_machine_that_cannot_be_is_refused(asked, says):
    with pytest.raises(PlannerError, match=says):
        answer_for(row(**asked))


def test_cards_are_named_in_any_order_and_spelling():
    assert [card.name for card in gpus_of(" 4090 , RTX 3090 24GB", row("x"))] == ["rtx4090", "rtx3090"]


def test_the_option_is_repeated_and_a_plan_of_it_is_emitted_again(tmp_path):
    done = run_plan("--gpu", "rtx3090", "--gpu", "rtx4090", "--model", "qwen3-8b-awq", "--context", "8k", "--output", "here", cwd=tmp_path)
    assert (done.returncode, "1x GeForce RTX 3090 and 1x GeForce RTX 4090" in done.stdout, "an equal share" in done.stdout) == (0, True, True)
    again = run_plan("emit", "here", "--to", "compose", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_a_described_card_is_emitted_again(tmp_path):
    described = ("--gpu", "custom", "--vram", "16GiB", "--bandwidth", "672", "--compute-capability", "8.9")
    done = run_plan(*described, "--model", "qwen3-8b-awq", "--context", "8k", "--output", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = run_plan("emit", "here", "--to", "compose", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_a_card_is_added_to_ones_own_file_and_planned(tmp_path):
    file = tmp_path / "mine.yaml"
    added = ("gpus", "add", "my-card", "--vram", "16GiB", "--bandwidth", "672", "--compute-capability", "8.9", "--file", str(file))
    assert run_plan(*added, cwd=tmp_path).returncode == 0
    assert "my-card" in run_plan("gpus", "list", "--file", str(file), cwd=tmp_path).stdout
    done = run_plan("--gpu", "my-card", "--gpus", str(file), "--model", "qwen3-8b-awq", "--context", "8k", "--dry-run", cwd=tmp_path)
    assert (done.returncode, "my-card (16 GiB, 672 GB/s)" in done.stdout) == (0, True), done.stderr
    again = run_plan(*added, cwd=tmp_path)
    assert (again.returncode, "is in" in again.stderr) == (2, True)
    wrong = run_plan("gpus", "add", "My Card", *added[3:-1], str(tmp_path / "other.yaml"), cwd=tmp_path)
    assert (wrong.returncode, (tmp_path / "other.yaml").exists()) == (2, False)


def test_without_a_gpu_the_machines_are_listed(tmp_path):
    done = run_plan("--model", "qwen3-8b", "--top", "1", cwd=tmp_path)
    assert (done.returncode, done.stdout.startswith("Machines for qwen3-8b")) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("words", "count", "held"),
    [
        (("llama-server -m Qwen3-32B-Q8_0.gguf -c 16384 -np 1", "--gpu", "rtx3090", "--gpu", "rtx4090"), 2, 2),
        (("llama-server -m Qwen3-8B-Q8_0.gguf -c 16384 -np 1 --device CUDA1", "--gpu", "rtx3090,rtx4090"), 2, 1),
        (("vllm serve Qwen/Qwen3-8B -tp 2 --max-model-len 8192", "--gpu", "rtx3090", "--gpu", "rtx4080"), 2, 2),
        (("ollama serve; ollama run qwen3:8b", "--gpu", "custom", "--vram", "12GiB", "--bandwidth", "360", "--compute-capability", "8.6"), 1, 1),
    ],
)
def test_a_command_is_checked_on_the_machine_that_is_there(words, count, held, tmp_path):
    done = run_plan("check", *words, "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"], answer["hardware"]["count"]) == (0, "starts", held if held < count else count), done.stderr
    assert run_plan("check", *words, "--total-gib", "99", cwd=tmp_path).returncode == 2

"""Every command that is emitted for MLX is found again by `plan check`: the same settings, the same verdict."""

import shlex
from itertools import product

import pytest

from planner.catalogue.load import model_rows
from planner.catalogue.resolve import find_plain
from planner.engines.mlx.ask import is_speech
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.questions.check import check, find_server, group_for
from planner.questions.plan import answer_for

MODELS = ("qwen3-8b", "qwen3.5-9b", "qwen3.6-35b-a3b", "gemma-3-12b", "gpt-oss-20b", "glm-4.7-flash", "ministral-3-14b", "lfm2.5-1.2b")
MACS = ("m4-24gb", "m1-max-32gb", "m4-max-128gb")
WISHES = ({}, {"context": 16_384}, {"users": 3, "context": 8192}, {"context": 32_768, "kv_cache_dtype": "q8"})


KEPT_IN_16_BITS = ("gpt-oss-20b", "glm-4.7-flash")  # sinks, a latent


def found_again(model: str, mac: str, quantization: str, wish: dict) -> None:
    if model in KEPT_IN_16_BITS and "kv_cache_dtype" in wish:
        with pytest.raises(PlannerError, match="in 16 bits"):
            answer_for(StackRow(gpu=mac, engine="mlx", services=[ServiceRow(model=model, quantization=quantization, **wish)]))
        return
    planned = answer_for(StackRow(gpu=mac, engine="mlx", services=[ServiceRow(model=model, quantization=quantization, **wish)])).plans[0]
    service = planned.service
    command = find_server(shlex.join([*(f"{name}={value}" for name, value in service.env.items()), *service.argv]))
    again = check(command, group_for(command, mac, 1, "server"))
    assert not again.problems or planned.rejection, (planned.model.id, again.problems)
    assert again.model.quantization == planned.model.quantization
    ours, theirs = dict(planned.settings), dict(again.settings)
    is_bounded = "--max-kv-size" in service.argv
    if planned.rejection is not None or service.task == "embedding":
        assert not is_bounded or again.verdict == planned.verdict
        return
    assert theirs == ours | {"context": theirs["context"]}
    if is_bounded or planned.verdict == "starts":
        # what bounds no context says it by what it leaves to old prompts: to a step of the search
        assert abs(theirs["context"] - ours["context"]) <= (0 if is_bounded else 1024)
        assert again.verdict == planned.verdict
    else:
        assert again.verdict in {"starts", "tight"}


@pytest.mark.parametrize(("model", "mac"), [pair for index, pair in enumerate(product(MODELS, MACS)) if index % 3 == 0])
def test_a_command_is_found_again(model, mac):
    found_again(model, mac, "4bit", WISHES[(MODELS.index(model) + MACS.index(mac)) % len(WISHES)])


@pytest.mark.slow
@pytest.mark.parametrize(("model", "mac"), list(product(MODELS, MACS)))
def test_each_wish_is_found_again(model, mac):
    for wish in WISHES:
        found_again(model, mac, "8bit", wish)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "mac", "quantization"), [(0, "m1-16gb", "4bit"), (1, "m4-pro-48gb", "8bit")])
def test_every_model_s_command_is_found_again(part, mac, quantization):
    for row in list(model_rows())[part::2]:
        spec = find_plain(row.name).spec
        if is_speech(spec):  # refused: test_foreign.py
            continue
        limit = spec.max_position_embeddings
        found_again(row.name, mac, quantization, {"context": 2048} if limit >= 2048 else {})


@pytest.mark.parametrize("users", [1, 4])
def test_texts_to_embed_are_counted_singly_as_check_counts_them(users):
    """No flag bounds how many are embedded at a time (mlx_vlm/server/embeddings.py): what several take is said."""
    question = StackRow(gpu="m4-16gb", engine="mlx", services=[ServiceRow(model="qwen3-embedding-0.6b", users=users)])
    planned = answer_for(question).plans[0]
    command = find_server(shlex.join(planned.service.argv))
    again = check(command, group_for(command, "m4-16gb", 1, "server"))
    assert (planned.users, planned.requirements_met) == (users, True)
    assert (dict(again.settings), again.verdict, again.used_bytes) == (dict(planned.settings), planned.verdict, planned.used_bytes)
    assert any("each more takes up to" in warning.message for warning in planned.warnings)


def test_more_texts_than_fit_are_not_promised():
    question = StackRow(gpu="m4-16gb", engine="mlx", services=[ServiceRow(model="qwen3-embedding-0.6b", users=400)])
    planned = answer_for(question).plans[0]
    assert 1 < planned.users < 400
    assert not planned.requirements_met


def test_old_prompts_are_as_many_as_the_command_says():
    for size, told in (("", "up to 10:"), (" --prompt-cache-size 4", "up to 4:")):
        command = find_server(f"mlx_lm.server --model mlx-community/Qwen3-8B-4bit{size}")
        warned = check(command, group_for(command, "m4-24gb", 1, "server")).warnings
        assert any(told in warning.message for warning in warned if warning.code == "mlx-prompt-cache"), size

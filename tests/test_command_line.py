"""The habits of a command line: the words of hints, help, completion, defaults in a file, options that are refused rather than passed over."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.question_words import command_line

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

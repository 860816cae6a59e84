"""The server that a Dockerfile's image runs: by its last stage, in either form, over what its base runs by itself."""

from pathlib import Path

import pytest

from planner.questions.files.judge import judge_text
from planner.questions.files.machines import target
from planner.questions.files.walk import may_start
from planner.questions.find_commands import find_commands

BUILDER = "FROM nvidia/cuda:12.9.0-base-ubuntu24.04 AS base\nENV MODEL=Qwen/Qwen3-8B\nRUN pip install vllm\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'FROM vllm/vllm-openai:v0.21.0\nCMD ["--model", "Qwen/Qwen3-8B", "--max-model-len", "8192"]\n',
            ("--model", "Qwen/Qwen3-8B", "--max-model-len", "8192"),
        ),
        ('FROM python:3.12\nENTRYPOINT ["vllm", "serve"]\nCMD ["Qwen/Qwen3-8B"]\n', ("Qwen/Qwen3-8B",)),
        ("FROM python:3.12\nCMD vllm serve Qwen/Qwen3-8B \\\n    # longer\n    --max-model-len 8192\n", ("Qwen/Qwen3-8B", "--max-model-len", "8192")),
        (BUILDER + 'FROM base\nCMD exec vllm serve "$MODEL"\n', ("Qwen/Qwen3-8B",)),
        (BUILDER + 'CMD ["vllm", "serve", "a/b"]\nFROM base\nCMD ["vllm", "serve", "c/d"]\n', ("c/d",)),
        (BUILDER + 'CMD ["sh", "-c", "vllm serve a/b --port 80"]\n', ("a/b", "--port", "80")),
        ('ARG TAG=v0.21.0\nFROM vllm/vllm-openai:${TAG}\nCMD ["--model", "a/b"]\n', ("--model", "a/b")),
    ],
)
def test_what_the_image_runs(text, words):
    (command,) = find_commands(text)
    assert (command.engine, command.words, command.contained) == ("vllm", words, True)
    assert command.version == ("0.21.0" if "0.21" in text else None)


@pytest.mark.parametrize(
    "text",
    [
        "FROM vllm/vllm-openai:v0.21.0\nRUN pip install x\n",  # who starts it says the model
        'FROM python:3.12\nENTRYPOINT ["vllm"]\n',
        'FROM python:3.12\nCMD ["vllm", "serve", "a/b"]\nENTRYPOINT ["sleep", "1"]\n',
        'FROM python:3.12\nCMD ["vllm",\n',
        "FROM\nCMD \nENV\n",
        'FROM a AS b\nFROM b\nENV = =\nENTRYPOINT ["x"]\n',
    ],
)
def test_what_runs_no_server_that_is_known(text):
    assert find_commands(text) == []


def test_a_modelfile_is_none():
    (command,) = find_commands("FROM qwen3:8b\nPARAMETER num_ctx 8192\n")
    assert command.engine == "ollama"


def test_one_of_a_folder_is_judged_where_it_stands():
    assert all(may_start(path) for path in map(Path, ("Dockerfile", "deploy/Dockerfile.gpu", "serve.dockerfile", "Containerfile")))
    text = 'FROM vllm/vllm-openai:v0.21.0\nRUN true\nCMD ["--model", "Qwen/Qwen3-8B", \\\n  "--max-model-len", "400000"]\n'
    (server,) = judge_text(text, None, target({"gpu": "rtx4090"}, "--gpu"))
    assert (server.place.line, server.findings[0].place.line) == (1, 4)  # an image by itself is what is started

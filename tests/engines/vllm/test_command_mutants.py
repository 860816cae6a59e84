"""Commands that people run, with their flags mutated: taken and refused as vLLM's parser and configuration classes do.

Fixture: vllm_0.33_mutants.jsonl, what they said of a sample of `python -m benchmarks.command_mutants`, each kind that was once answered otherwise among it.
"""

import time

import pytest
from conftest import json_lines

from benchmarks.command_mutants import difference, mutants, question
from benchmarks.judge_rows import ask
from planner.engines.vllm.class_values import classes
from planner.engines.vllm.flags import parse_flags
from tests.judges import judge_venv

ROWS = json_lines("vllm_0.33_mutants.jsonl")
FRESH, TOLERATED = 60, 1


def test_mutants_are_taken_and_refused_as_vllm_did():
    told = [(row["words"], difference(row["words"], {"valid": row["error"] is None, "error": row["error"] or ""})) for row in ROWS]
    assert [line for line in told if line[1]] == []


@pytest.mark.judge
def test_mutants_that_nobody_has_seen_are_taken_and_refused_as_vllm_does():
    judge_venv("vllm")
    asked = mutants(FRESH, int(time.time()) // 86_400)
    answers = ask([question(words) for words in asked])
    told = [(words, line) for words, theirs in zip(asked, answers, strict=True) if (line := difference(words, theirs))]
    assert len(told) <= TOLERATED, told


class _Asked:
    """A command's arguments for what the classes hold alone."""

    minor, captures, config, gpu, model = 33, True, None, None, None

    def __init__(self, *words):
        self.values = parse_flags(["a/b", *words], "0.33")[0]

    def number(self, flag):
        return int(self.values[flag]) if flag in self.values else None

    def key(self, flag, name):
        return None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--custom-histogram-buckets {}", ""),
        ('--custom-histogram-buckets {"request_latency":[0.1,1]}', ""),
        ('--custom-histogram-buckets {"request_latency":[]}', "must not be empty"),
        ('--custom-histogram-buckets {"request_latency":[1,0.1]}', "strictly increasing"),
        ('--custom-histogram-buckets {"request_latency":[true]}', "greater than 0"),
        ('--custom-histogram-buckets {"x":[1]}', "unknown bucket family 'x'"),
        ('--media-io-kwargs {"video":{"num_frames":8}}', ""),
        ('--media-io-kwargs {"video":8}', "media_io_kwargs.video: Input should be a valid dictionary"),
        ("--additional-config={}", ""),
        ("--additional-config=", "additional_config: Input should be a valid dictionary"),
        ("--additional-config null", "additional_config: Input should be a valid dictionary"),
        ("--show-hidden-metrics-for-version 0.32.1rc2", ""),
        ("--show-hidden-metrics-for-version newest", "Invalid version: 'newest'"),
        ("--mamba-backend FlashInfer --mamba-ssu-algorithm simple", ""),
        ("--mamba-backend cuda", "Unknown Mamba SSU backend: 'CUDA'"),
        ("--data-parallel-backend ray", ""),
        ("--data-parallel-backend x --data-parallel-address 10.0.0.1", ""),
        ("--data-parallel-backend $BACKEND", ""),
        ("--optimization-level 3", ""),
        ("--optimization-level 4", "optimization_level: Input should be 0, 1, 2 or 3"),
    ],
)
def test_values_that_only_a_class_refuses_are_told_in_its_words(words, message):
    told = [line for line, _ in classes(_Asked(*words.split()))]
    assert (told == []) if not message else message in told[0]

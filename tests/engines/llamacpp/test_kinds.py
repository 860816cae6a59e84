"""Caches and compute buffers of many kinds of models against llama.cpp v0.5.0 (tests/oracle/llamacpp_kinds.py), and its allocator."""

import json
import os
import subprocess
import sys
from functools import cache
from itertools import pairwise
from statistics import median

import pytest
from conftest import DATA, ROOT
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue import load
from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp.arena import Arena
from planner.engines.llamacpp.compute import compute_bytes
from planner.engines.llamacpp.memory import LlamaCppConfig, kv_bytes
from planner.engines.llamacpp.model import converted
from planner.units import MIB
from tests.judges import judge_venv

ROWS = [json.loads(line) for line in (DATA / "llamacpp_kinds.jsonl").read_text().splitlines()]
MODELS = list(dict.fromkeys(row["model"] for row in ROWS))


@cache
def file_of(name):
    return converted(find_plain(name).spec, "F16")


def config_of(row):
    return LlamaCppConfig(
        context=row["context"],
        parallel=row.get("parallel", 1),
        sequences=row.get("sequences", 1),
        kv_type=row.get("kv", "f16"),
        flash_attention=row.get("flash", True),
        ubatch=row.get("ubatch", 512),
    )


def errors_of(name):
    return [abs(compute_bytes(file_of(name), config_of(row)) / MIB / row["mib"]["CUDA0 compute"] - 1) for row in ROWS if row["model"] == name]


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_layer_takes_what_llama_cpps_allocator_gives_it(name):
    for row in (row for row in ROWS if row["model"] == name):
        assert kv_bytes(file_of(name), config_of(row)) / MIB == pytest.approx(row["mib"]["kv"] + row["mib"]["states"], abs=0.03), row
    errors = errors_of(name)
    assert max(errors) <= 0.005


def test_nearly_all_are_exact():
    errors = sorted(error for name in MODELS for error in errors_of(name))
    assert median(errors) <= 0.00005
    assert errors[int(len(errors) * 0.95)] <= 0.002


def test_a_block_takes_the_smallest_hole_that_holds_it_and_of_equal_ones_the_last():
    arena = Arena()
    blocks = [arena.take(size * 128) for size in (4, 1, 2, 1, 2, 1)]
    arena.give(blocks[0], blocks[2], blocks[4])
    assert arena.take(2 * 128) == blocks[4]
    assert arena.take(130) == blocks[2]
    assert arena.take(128) == (0, 128)
    assert arena.peak == 11 * 128
    arena.give(blocks[5], blocks[4])  # what is free at the end is no hole
    assert arena.take(4 * 128) == (blocks[4][0], 4 * 128)
    assert arena.peak == 12 * 128


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 900))))
def test_what_lies_in_a_buffer_never_overlaps(steps):
    arena, held = Arena([(1000 * 128, 128)]), [(1000 * 128, 128)]
    for gives, size in steps:
        if gives and len(held) > 1:
            arena.give(held.pop(1 + size % (len(held) - 1)))
        else:
            held.append(arena.take(size))
    ends = sorted(held)
    assert all(start + size <= following for (start, size), (following, _) in pairwise(ends))
    assert arena.peak >= sum(ends[-1])


@pytest.mark.judge
def test_the_rows_of_kinds_are_llama_cpps_today():
    names = ["lfm2.5-1.2b", "qwen3-vl-8b", "gemma-3n-e4b"]
    asked = "".join(json.dumps({"model": name, "config": load.find_model(name).row.config}) + "\n" for name in names)
    script = ROOT / "tests" / "oracle" / "llamacpp_kinds.py"
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run([sys.executable, script, judge_venv("llamacpp")], input=asked, env=env, capture_output=True, text=True, check=False)
    said = {(row["model"], json.dumps(row)) for row in map(json.loads, done.stdout.splitlines())}
    assert said == {(row["model"], json.dumps(row)) for row in ROWS if row["model"] in names}, done.stderr[-2000:]

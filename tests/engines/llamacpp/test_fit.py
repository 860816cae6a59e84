"""Which layer lies where, against llama.cpp's own fit on cards of CUDA's rules (tests/oracle/llamacpp_fit.py)."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest
from conftest import DATA, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp.builds import build_number
from planner.engines.llamacpp.fit import Room, fits_whole, fitted, fitted_context
from planner.engines.llamacpp.ggml import AS_PUBLISHED
from planner.engines.llamacpp.layers import EXPERTS, Overflow
from planner.engines.llamacpp.ledger import ledger_of
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import converted
from planner.units import MIB
from tests.judges import judge_venv

ROWS = [json.loads(line) for line in (DATA / "llamacpp_fits.jsonl").read_text().splitlines()]
LONGEST = 262_144  # tokens, in every file of the judge's
WORDS = {EXPERTS: "", Overflow.DOWN.parts: "down", Overflow.GATE_AND_DOWN.parts: "(gate|gate_up|down)", Overflow.FEED_FORWARD.parts: "(gate|up|gate_up|down)"}


@cache
def file_of(name):
    return converted(find_plain(name).spec, AS_PUBLISHED if name.startswith("gpt-oss") else "F16")


def planned(row):
    """The same question: context, layers on the cards, of each, and of which layers what lies elsewhere."""
    model = file_of(row["model"])
    room = Room(tuple(size * MIB for size in row["free_mib"]), (1024 * MIB,) * len(row["free_mib"]))
    config = LlamaCppConfig(context=row["asked"] or LONGEST, vision=False, build=build_number("v0.5.0"))
    if not row["asked"]:
        config = replace(config, context=fitted_context(model, config, room, 4096))
    if fits_whole(model, config, room):
        return config.context, -1, [0] * len(room.free_bytes), {}
    where = fitted(model, config, room)
    split = [where.gpus.count(gpu) for gpu in range(len(room.free_bytes))] if len(room.free_bytes) > 1 else [0]
    return config.context, where.layers_on_gpu, split, {str(layer): WORDS[parts] for layer, parts in enumerate(where.moved) if parts}


def judged(row):
    moved = {layer: what for layer, what in row["moved"].items() if int(layer) < file_of(row["model"]).layer_count}  # it counts the output among them
    return row["context"], row["layers"], row["split"], moved


def test_layers_lie_where_llama_cpp_puts_them():
    equal = sum(planned(row) == judged(row) for row in ROWS)
    assert equal >= len(ROWS) - 3, [row["model"] for row in ROWS if planned(row) != judged(row)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['free_mib']}-{row['asked']}")
def test_none_is_off_by_more_than_a_layer(row):
    (context, layers, split, moved), (own_context, own_layers, own_split, own_moved) = planned(row), judged(row)
    assert context == pytest.approx(own_context, rel=0.01)
    assert abs(layers - own_layers) <= 1
    assert all(abs(ours - theirs) <= 1 for ours, theirs in zip(split, own_split, strict=True))
    assert abs(len(moved) - len(own_moved)) <= 1


@given(
    st.sampled_from(["qwen3-30b-a3b", "gpt-oss-20b", "qwen3-8b", "gemma-3-27b", "glm-4.7-flash"]),
    st.lists(st.integers(2000, 40_000), min_size=1, max_size=3),
    st.integers(1, 128),
)
@settings(max_examples=40)
def test_what_is_placed_fits_and_nothing_is_lost(name, free_mib, blocks):
    model, room = file_of(name), Room(tuple(size * MIB for size in free_mib), (1024 * MIB,) * len(free_mib))
    config = LlamaCppConfig(context=blocks * 256, vision=False)
    if fits_whole(model, config, room):
        return
    held = ledger_of(model, replace(config, placement=fitted(model, config, room)), room.free_bytes)
    assert sum(gpu.weights_bytes for gpu in held.gpus) + held.host.weights_bytes == sum(model.layer_bytes) + model.output_bytes + model.input_bytes
    # llama.cpp fills a GPU while those before it are empty: what they pass on later takes some of its margin
    passed = 256 * MIB if len(free_mib) > 1 else 0
    assert all(gpu.total_bytes <= target + passed for gpu, target in zip(held.gpus, room.targets, strict=True) if gpu.layers > 1)


@pytest.mark.judge
def test_the_frozen_fits_are_llama_cpps_today():
    script = ROOT / "tests" / "oracle" / "llamacpp_fit.py"
    names = ["qwen3-30b-a3b", "qwen3-8b"]
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run([sys.executable, script, judge_venv("llamacpp"), *names], env=env, capture_output=True, text=True, check=False)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [row for row in ROWS if row["model"] in names], done.stderr[-2000:]

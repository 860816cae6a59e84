"""More gives no less: fewer sequences at the same settings, or twice the GPUs, never hold fewer tokens; where GPUs cannot be shared, fewer are named.

Where each GPU keeps the whole cache, it is said that fewer GPUs hold as many tokens.
"""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import planner
from planner.catalogue import load
from planner.errors import PlannerError

NAMES = [load.Entry(row, variant).name for row in load.model_rows() for variant in row.variants if variant.is_listed]
GPUS = ("rtx3060", "t4", "l4", "rtx4090", "rtxpro6000", "a100-80", "h100", "h200", "b200", "mi300x")
PINNED = (
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "decode_context_parallel_size", "enable_expert_parallel",
    "gpu_memory_utilization", "max_model_len", "max_num_batched_tokens", "kv_cache_dtype", "enforce_eager",
)  # fmt: skip
CHOSEN = ("max_model_len", "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype", "enforce_eager")
MACHINES = {"name": st.sampled_from(NAMES), "gpu": st.sampled_from(GPUS), "count": st.sampled_from((1, 2, 4))}


def started(**question):
    """The answer, of what starts; an encoder keeps no cache, its tokens are those that are read together (docs/json.md)."""
    try:
        answer = planner.plan(**question)
    except PlannerError:
        assume(False)
    assume(answer.verdict == "starts" and answer.main.model.keeps_cache)
    return answer.to_dict()


def fewer_sequences(name, gpu, count, sequences):
    many = started(model=name, gpu=gpu, count=count, max_num_seqs=4 * sequences)
    pins = {key: many["settings"][key] for key in PINNED if many["settings"].get(key) is not None}
    few = planner.plan(model=name, gpu=gpu, count=count, max_num_seqs=sequences, **pins).to_dict()
    assert few["verdict"] == "starts"
    assert few["memory"]["kv_cache_tokens"] >= many["memory"]["kv_cache_tokens"]


def twice_the_gpus(name, gpu, count):
    one = started(model=name, gpu=gpu, count=count)
    try:
        two = planner.plan(model=name, gpu=gpu, count=2 * count).to_dict()
    except PlannerError as refused:  # heads or groups that it does not divide
        fewer = int(re.search(r"--count (\d+)", refused.hint)[1])
        assert count <= fewer < 2 * count
        return
    held = [answer["memory"]["kv_cache_tokens"] * answer["settings"]["data_parallel_size"] for answer in (one, two)]
    assert two["verdict"] == "starts"
    if held[1] >= held[0] or "copied-cache" in [warning["code"] for warning in two["warnings"]]:  # half of the GPUs hold as many, and it says so
        return
    pins = {key: two["settings"][key] for key in CHOSEN if two["settings"].get(key) is not None}  # else something that counts more: so the one holds no more
    same = planner.plan(model=name, gpu=gpu, count=count, **pins)
    assert same.verdict != "starts" or same.to_dict()["memory"]["kv_cache_tokens"] <= held[1]


few, many = settings(max_examples=12), settings(max_examples=250)
sequences = st.sampled_from((1, 4, 16, 64, 256))
test_fewer_sequences_hold_no_fewer_tokens = few(given(**MACHINES, sequences=sequences)(fewer_sequences))
test_twice_the_gpus_hold_no_fewer_tokens = few(given(**MACHINES)(twice_the_gpus))
test_fewer_sequences_of_many_machines = pytest.mark.slow(many(given(**MACHINES, sequences=sequences)(fewer_sequences)))
test_twice_the_gpus_of_many_machines = pytest.mark.slow(many(given(**MACHINES)(twice_the_gpus)))


@pytest.mark.parametrize(("name", "is_copied"), [("gemma-3-1b", True), ("qwen3-8b", False)])
def test_a_cache_that_each_gpu_keeps_whole_is_said(name, is_copied):
    """Gemma 3 1B has one key-value head: on either of two GPUs it is there whole, and one GPU has less to keep beside it."""
    one, two = (planner.plan(model=name, gpu="h100", count=count).to_dict() for count in (1, 2))
    assert ("copied-cache" in [warning["code"] for warning in two["warnings"]]) is is_copied
    assert (one["memory"]["kv_cache_tokens"] >= two["memory"]["kv_cache_tokens"]) is is_copied

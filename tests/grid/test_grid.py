"""The grid is the scalar path for many at once: every element equals the one answer, to the last byte."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue import load as catalog
from planner.engines.vllm.choice import Request
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.rules import check_model
from planner.engines.vllm.search import candidates, evaluate
from planner.engines.vllm.settings import Pins
from planner.engines.vllm.splits import splits
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.errors import PlannerError, UnsupportedError
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.verdict import Verdict
from planner.grid.servers import BEYOND, KV_DTYPES, Machines, servers
from tests.strategies import groups, models

CONTEXTS = (1024, 3072, 8192, 16_384, 40_960, 131_072, 262_144)
FIELDS = [name for name in MemoryBreakdown.__slots__ if name not in ("length", "checked_bytes", "checked_cache_bytes")]  # of older releases


@cache
def catalogue() -> list[tuple[str, ModelSpec]]:
    entries = (catalog.Entry(row, variant) for row in catalog.model_rows() for variant in row.variants if variant.is_listed)
    return [(entry.name, entry.spec()) for entry in entries]


def scalar(model: ModelSpec, group: GpuGroup, context: int) -> dict[tuple[int, int, str], object]:
    """What the planner answers for each server of a machine at a context; nothing where it refuses."""
    request, found = Request(model=model, group=group, context=context), {}
    try:
        check_model(model, group.gpu, DEFAULT_VERSION)
        # a grid holds neither engines that share their experts nor experts that are spread
        for parallel in (parallel for parallel in splits(request) if parallel.data_parallel_size == 1 and not parallel.enable_expert_parallel):
            for config, placement in candidates(request, parallel):
                if not config.enforce_eager:
                    key = (config.tensor_parallel_size, config.pipeline_parallel_size, config.kv_cache_dtype)
                    found[key] = evaluate(request, replace(config, max_model_len=context), placement)
    except (PlannerError, UnsupportedError):
        return {}
    return found


def element(ledger: MemoryBreakdown, server: int, column: int, shape: tuple[int, int]) -> dict[str, object]:
    return {name: np.broadcast_to(getattr(ledger, name), shape)[server, column].item() for name in FIELDS}


def compare(model: ModelSpec, machines: Machines, contexts: tuple[int, ...]) -> int:
    """Hold a grid to the scalar path; returns how many settings were compared."""
    grid, compared = servers("made", model, machines, contexts), 0
    for index, gpu in enumerate(machines.gpus):
        for count in machines.counts:
            for column, context in enumerate(contexts):
                if context > model.max_position_embeddings:
                    assert grid is None or (grid.verdict[:, column] == BEYOND).all()
                    continue
                wanted = scalar(model, GpuGroup(gpu=gpu, count=count, host=machines.host), context)
                rows = [] if grid is None else [r for r in range(len(grid.gpu)) if grid.gpu[r] == index and grid.world_size[r] == count]
                found = {(int(grid.tensor_parallel_size[r]), int(grid.pipeline_parallel_size[r]), KV_DTYPES[grid.kv_cache_dtype[r]]): r for r in rows}
                assert found.keys() == wanted.keys()
                for key, choice in wanted.items():
                    row = found[key]
                    assert grid.verdict[row, column] == choice.verdict.rank
                    for ours, theirs in ((grid.expected, choice.expected), (grid.conservative, choice.conservative)):
                        assert element(ours, row, column, grid.verdict.shape) == {name: getattr(theirs, name) for name in FIELDS}
                    compared += 1
    return compared


@given(models(), st.lists(groups(), min_size=1, max_size=3), st.sets(st.integers(1, 8), min_size=1, max_size=3))
def test_generated_models_on_generated_gpus(model, machines, counts):
    cards = tuple(replace(group.gpu, name=f"generated-{number}") for number, group in enumerate(machines))
    compare(model, Machines(cards, tuple(sorted(counts)), machines[0].host), CONTEXTS[::3])


@pytest.mark.slow
@pytest.mark.parametrize("start", range(8))
def test_the_catalogue(start):
    """Every eighth model on a few cards of every kind; together all models."""
    cards = tuple(catalog.find_gpu(name) for name in ("t4", "a100-80", "rtx3090", "rtx4090", "h100", "b200", "rtx5090", "mi300x"))
    compared = sum(compare(model, Machines(cards, (1, 2, 4, 6)), (CONTEXTS[start % 7],)) for _, model in catalogue()[start::8])
    assert compared > 500


def test_a_machine_of_stages_alone_is_offered_where_the_planner_divides_it_another_way_too():
    cards = (catalog.find_gpu("rtx3060"), catalog.find_gpu("mi300x"))
    models = dict(catalogue())
    assert compare(models["gpt-oss-20b"], Machines(cards, (3, 5)), (32_768,)) > 0  # engines may share its experts
    assert compare(models["qwen3-8b"], Machines(cards, (3, 5)), (32_768,)) == 0


def test_sequences_follow_the_users():
    model, card = dict(catalogue())["qwen3-8b"], catalog.find_gpu("rtx4090")
    grid = servers("qwen3-8b", model, Machines((card,), (1,), users=40), (8192,))
    request = Request(model=model, group=GpuGroup(gpu=card, count=1), users=40, context=8192)
    config, placement = next(candidates(request, splits(request)[0]))
    assert element(grid.expected, 0, 0, grid.verdict.shape)["activation_bytes"] == evaluate(request, config, placement).expected.activation_bytes


@pytest.mark.parametrize(
    "name", ["qwen3-8b", "qwen3-32b-awq", "gpt-oss-20b", "gemma-3-27b", "qwen3-30b-a3b-fp8", "deepseek-v2-lite", "qwen3.6-27b", "llama-4-scout"]
)
def test_speed_equals_the_estimate_of_the_plan(name):
    from planner.engines.vllm.pace import vllm_work
    from planner.engines.vllm.plan import plan_as_asked
    from planner.facts.speed import OUTPUT, PROMPT, NoSpeed
    from planner.grid.speed import speeds
    from planner.speed.constants import rates
    from planner.speed.roofline import load, served

    model = dict(catalogue())[name]
    machines = Machines(
        tuple(catalog.find_gpu(gpu) for gpu in ("rtx3090", "rtx4090", "a100-80", "h100", "b200", "l40s", "t4", "mi300x", "h20", "gb10", "h200-nvl")),
        (1, 2, 4, 8),
    )
    grid = servers(name, model, machines, (16_384,))
    found, compared = speeds(model, grid, machines), 0
    for row, index in enumerate(grid.gpu):
        tp, dtype = int(grid.tensor_parallel_size[row]), KV_DTYPES[grid.kv_cache_dtype[row]]
        if grid.pipeline_parallel_size[row] != 1 or grid.verdict[row, 0] <= Verdict.UNLIKELY.rank:
            continue
        group = GpuGroup(gpu=machines.gpus[index], count=tp)
        plan = plan_as_asked(
            Request(model=model, group=group, context=16_384, pins=Pins(tensor_parallel_size=tp, kv_cache_dtype=dtype)), repo="x", served_name="x"
        )
        work = vllm_work(plan)
        if isinstance(work, NoSpeed):
            assert np.isnan(found[row]) or plan.config.enforce_eager
            continue
        one = served(work, rates(work), load(work, 1.0, float(PROMPT), float(OUTPUT)))
        assert found[row] == pytest.approx(1 / one.time_per_output_token_s, rel=1e-12)  # NumPy takes a root where Python takes a power: the last bit
        compared += 1
    assert compared >= 8

"""A config.json that lies gets an answer or one clear line, whatever in it is wrong: real configs, damaged at random."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import DATA, answer_alone, gpu
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.architecture import Config, build_model
from planner.engines.vllm.choice import Request
from planner.engines.vllm.plan import make_plan
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.report.contract import plan_json
from planner.report.terminal import render

CONFIGS = sorted(path for path in (DATA / "configs").glob("*.json") if "hf_quant" not in path.name)
GONE = object()
LIES = [
    GONE,
    None,
    0,
    -1,
    1,
    3,
    7,
    10**12,
    10**30,
    10**400,
    -(10**400),
    -(10**30),
    1.5,
    1e300,
    float("inf"),
    float("nan"),
    "",
    "x",
    "float32",
    True,
    False,
    [],
    {},
    [1],
    [None],
    {"a": 1},
]


def places(part: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of a JSON document, and the ends of its lists."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield (*above, key)
            yield from places(value, (*above, key))
    elif isinstance(part, list) and part:
        yield from ((*above, index) for index in {0, len(part) - 1})


def damage(document: Any, place: tuple[Any, ...], lie: Any) -> None:
    """Put a lie in its place, unless an earlier one took the place away."""
    *above, last = place
    try:
        for key in above:
            document = document[key]
        if lie is GONE:
            del document[last]
        else:
            document[last] = lie
    except (KeyError, IndexError, TypeError):
        pass


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem, marks=[] if number % 10 == 0 else pytest.mark.slow) for number, path in enumerate(CONFIGS)])
@settings(max_examples=settings.default.max_examples // 5)
@given(st.data())
def test_a_damaged_config_is_answered_or_refused(path, data):
    config = json.loads(path.read_text())
    known = list(places(config))
    for place, lie in data.draw(st.lists(st.tuples(st.sampled_from(known), st.sampled_from(LIES)), min_size=1, max_size=3)):
        damage(config, place, lie)
    group = GpuGroup(gpu=gpu(data.draw(st.sampled_from(["rtx4090", "h100", "t4", "b200"]))), count=data.draw(st.sampled_from([1, 2, 8])))
    try:
        model = build_model(Config(config, "config.json"), "model")
        plan = make_plan(Request(model=model, group=group), repo="x/model", served_name="model")
    except PlannerError as error:
        assert error.message and "\n" not in error.message
    else:
        assert plan.model.name == "model"
        assert json.dumps(plan_json(answer_alone(plan), []))
        assert [line.plain for piece in render(answer_alone(plan)) for line in piece.lines(160)]

"""The front: no point of it is dominated, every point beside it is."""

import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue import load
from planner.catalogue.cards import cards
from planner.catalogue.prices import read_prices
from planner.questions.front import Point, _values, front, points
from planner.questions.stored import Stored
from planner.report.front import chart
from tests.conftest import run_plan

PLACE = Stored(name="made", repo="made", bits=4, model=load.find_model("qwen3-8b").spec())


def point(context: int, users: int, speed: float, cost: float) -> Point:
    return Point(
        gpu="x", count=1, stored=PLACE, tensor_parallel_size=1, kv_cache_dtype="auto", context=context, users=users, tokens_per_s=speed, usd_per_hour=cost
    )


def dominates(one: Point, other: Point) -> bool:
    mine, theirs = _values([one])[0], _values([other])[0]
    return bool((mine >= theirs).all() and (mine > theirs).any())


@given(st.lists(st.builds(point, st.sampled_from([8192, 32_768]), st.integers(1, 4), st.floats(10, 100), st.sampled_from([0.5, 1.0, 2.0])), max_size=30))
def test_a_front_is_what_nothing_dominates(made):
    found = front(made)
    assert not any(dominates(other, one) for one in found for other in made)
    for one in made:
        assert one in found or any(dominates(other, one) or (_values([other]) == _values([one])).all() for other in found)


@cache
def real() -> list[Point]:
    entry = load.find_model("qwen3-32b")
    siblings = (load.Entry(entry.row, variant) for variant in entry.row.variants if variant.is_listed)
    stored = [Stored(name=one.name, repo=one.variant.repo, bits=one.bits, model=one.spec()) for one in siblings]
    return points(stored, list(cards()), (1, 2, 4, 8), (8192, 32_768), read_prices())


def test_the_cheapest_and_the_fastest_are_on_the_front():
    found = front(real())
    assert found[0].usd_per_hour == min(one.usd_per_hour for one in real())
    assert max(one.users for one in found) == max(one.users for one in real())
    assert max(one.tokens_per_s for one in found) > 0.9 * max(one.tokens_per_s for one in real())
    assert [one.usd_per_hour for one in found] == sorted(one.usd_per_hour for one in found)


def test_the_chart_has_every_context():
    drawn = chart(front(real()), 100)
    assert "8,192 tokens" in drawn
    assert "32,768 tokens" in drawn


def test_the_command(tmp_path):
    done = run_plan("front", "--model", "qwen3-32b", "--contexts", "8k,32k,999k", "--format", "json", cwd=tmp_path)
    found = json.loads(done.stdout)["front"]
    assert {row["context"] for row in found} <= {8192, 32_768}
    assert {row["model"] for row in found} >= {"qwen3-32b-awq"}
    assert "the front of" in run_plan("front", "--model", "qwen3-32b", cwd=tmp_path).stdout.lower()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--contexts", "9m"), "no context of"),
        (("--contexts", "nan"), "is not a number"),
        (("--model", "qwen3-8bb"), "unknown model"),
        (("--model", "qwen3-embedding-0.6b"), "no machine with a rent"),
    ],
)
def test_questions_without_an_answer(arguments, says, tmp_path):
    done = run_plan("front", *(() if "--model" in arguments else ("--model", "qwen3-8b")), *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr

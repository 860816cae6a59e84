"""docs/choices.md, what is chosen for 12 machines and 12 models, is current and keeps the laws of choosing."""

from itertools import pairwise

import pytest

from benchmarks.choosing import MACHINES, MODELS, PAGE, PURPOSES, machines, models, page
from planner.facts.speed import seen_by_each
from planner.questions.choose import dominates

pytestmark = pytest.mark.slow


def test_the_page_is_current():
    assert PAGE.read_text() == page(), "python -m benchmarks.choosing"


@pytest.mark.parametrize(("gpu", "count"), MACHINES)
def test_models_for_a_machine(gpu, count):
    for purpose in PURPOSES:
        answer = models(gpu, count, purpose)
        assert answer.models
        for place, model in enumerate(answer.models):
            assert not any(dominates(below, model) for below in answer.models[place + 1 :])
            assert model.tokens_per_s is not None
            assert model.tokens_per_s >= answer.wish.floor
            assert model.is_done


@pytest.mark.parametrize("model", MODELS)
def test_machines_for_a_model(model):
    answer = machines(model)
    for above, below in pairwise(answer.machines):
        costs = [(one.rent_usd_per_hour, one.buy_usd) for one in (above, below)]
        rents, bought = zip(*costs, strict=True)
        if None not in rents:
            assert rents[0] <= rents[1]
        elif rents == (None, None) and None not in bought:
            assert bought[0] <= bought[1]
    for machine in answer.machines:
        rate = seen_by_each(machine.speed, answer.need.users)
        assert machine.is_slow or rate is None or rate >= answer.need.floor
        assert rate is not None or not answer.need.floor

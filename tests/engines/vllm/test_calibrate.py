"""How a class of GPUs gets its margins from what starts took beside the causes."""

import pytest

from benchmarks.calibrate import Left, bus, conformal, margins


def left(expected=0.0, conservative=0.0, optimistic=0.0, gpu="made") -> Left:
    return Left(gpu, False, expected, conservative, optimistic)


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (8, 8), (9, 9), (10, 10), (19, 18), (29, 27), (99, 90)])
def test_the_next_start_is_covered_nine_times_in_ten(count, rank):
    """Of n starts the one of rank ceil(0.9 (n + 1)); of fewer than nine none is surely enough, and the worst is taken."""
    assert conformal([float(number) for number in range(count, 0, -1)]) == rank


def test_margins_hold_what_starts_missed_and_a_guess_that_few_kinds_of_gpu_leave():
    rows = [left(conservative=0.5, optimistic=-0.25), left(conservative=-1.0, optimistic=2.0)]
    assert margins(rows, 2.0) == [0.0, 0.5 + 1.6, -0.25 - 1.6]  # one kind of five: four fifths of the guess
    assert margins(rows, 2.0, kinds=5) == [0.0, 0.75, -0.5]  # never less than two starts of a machine differ by
    assert margins([left(conservative=-1.0, optimistic=1.0)], 0.0, 0.0) == [0.0, 0.0, 0.0]  # nothing beyond the causes' own range
    assert margins([], 2.0) == [0.0, 2.0, -2.0]
    assert margins([left(conservative=6.0, optimistic=5.0)], 0.0, 0.0, middle=4.0) == [4.0, 6.0, 4.0]


def test_cards_on_a_bus_take_the_middle_of_what_was_left_and_no_less_than_nothing():
    assert bus([left(expected=-0.5), left(expected=0.25), left(expected=-2.0)], [1.0, 2.0, 0.75]) == [0.5, 2.0, 0.0]

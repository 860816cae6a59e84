"""All-reduces as they were measured, card by card; others like the one of their link; what a host states goes before all."""

import pytest

from benchmarks.speed_rows import measured
from planner.catalogue import load
from planner.speed.constants import rates
from planner.speed.links import NO_LINK, all_reduce, slowest_pcie
from planner.speed.roofline import load as asked_load
from planner.speed.roofline import prompt_s, served


def test_one_rank_exchanges_nothing():
    assert all_reduce(load.find_gpu("rtx3090"), 1) is NO_LINK


@pytest.mark.parametrize(
    ("gpu", "ranks", "gb_per_s"),
    [
        ("l40s", 2, 19.4),
        ("l40s", 4, 5.0),
        ("l40s", 8, 2.1),
        ("rtx3090", 2, 4.6),
        ("rtx3090", 4, 2.3),
        ("h100", 8, 330.1),
        ("h200", 2, 255.7),
        ("b200", 4, 475.5),
    ],
)
def test_a_measured_card_has_its_own_figures(gpu, ranks, gb_per_s):
    link = all_reduce(load.find_gpu(gpu), ranks)
    assert link.measured
    assert link.bytes_per_s == pytest.approx(gb_per_s * 1e9)
    assert link.slowest_bytes_per_s <= link.bytes_per_s <= link.fastest_bytes_per_s


@pytest.mark.parametrize(("gpu", "like"), [("rtx4090", "l40s"), ("a100-80gb-pcie", "l40s"), ("h100-pcie", "rtxpro6000"), ("rtx5090", "rtxpro6000")])
def test_another_card_counts_as_the_one_of_its_link_and_is_bounded_by_the_slowest_host(gpu, like):
    link = all_reduce(load.find_gpu(gpu), 4)
    assert not link.measured
    assert link.bytes_per_s == all_reduce(load.find_gpu(like), 4).bytes_per_s
    assert link.slowest_bytes_per_s == slowest_pcie(4) < link.bytes_per_s


def test_another_nvlink_reaches_the_same_share_of_its_own_line_rate():
    b300, h100 = load.find_gpu("b300"), load.find_gpu("h100")
    of_line = [all_reduce(gpu, 8).bytes_per_s / gpu.link_bytes_per_s for gpu in (b300, h100)]
    assert of_line[0] == pytest.approx(of_line[1])


def test_what_the_host_states_is_taken_as_it_is():
    link = all_reduce(load.find_gpu("rtx4090"), 2, 4_600_000_000)
    assert link.measured
    assert {link.slowest_bytes_per_s, link.bytes_per_s, link.fastest_bytes_per_s} == {4_600_000_000}


@pytest.mark.parametrize("number", range(0, 2600, 200))
def test_a_lone_user_waits_for_the_prompt_and_the_client_alone(number):
    work = measured()[number].work
    rate = rates(work)
    alone = prompt_s(work, rate, 1000.0, work.attention_flops(1000.0))
    assert served(work, rate, asked_load(work, 1.0, 1000.0, 100.0)).time_to_first_token_s == pytest.approx(alone + rate.first_token_s)

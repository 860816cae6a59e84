"""What is free when a server starts, by kind of machine, against what people saw; and the share of it that is asked for."""

from dataclasses import replace

import pytest
from conftest import small_model as model

from planner.engines.vllm.choice import Request, safe_utilization, utilization
from planner.facts.hardware import GpuGroup, GpuSpec, Host, mixed_group
from planner.units import GIB, MIB


def group(total_gib: float, *, count: int = 1, host: Host = Host.SERVER, taken_bytes: int = 0, **facts) -> GpuGroup:
    total = round(total_gib * GIB)
    card = GpuSpec(name="made", title="Made", vendor="nvidia", memory_type="gddr", memory_bytes=total, cuda_total_bytes=total, wsl2_total_bytes=total, **facts)
    return GpuGroup(gpu=card, count=count, host=host, taken_bytes=taken_bytes)


@pytest.mark.parametrize(("total", "free"), [(23.56, 23.05), (23.53, 23.08), (15.51, 15.28), (31.36, 30.86), (79.19, 78.68)])
def test_a_server_has_all_but_a_context_free(total, free):
    """Seen on 3090, 24 GB, 16 GB, 5090, H100 (facts, free at start): a context is 520 MiB, 0.51 GiB, at most."""
    assert group(total).free_at_start_bytes(1) / GIB == pytest.approx(free, abs=0.29)
    assert group(total).free_at_start_bytes(1) / GIB <= free + 0.01


def test_a_desktop_takes_600_mib_more():
    """A 5090 whose screen hangs on it had 30.27 of 31.36 GiB free (facts): 31.36 - 0.508 - 0.586."""
    desktop, server = group(31.36, host=Host.DESKTOP), group(31.36)
    assert desktop.free_at_start_bytes(1) / GIB == pytest.approx(30.27, abs=0.01)
    assert server.free_at_start_bytes(1) - desktop.free_at_start_bytes(1) == 600 * MIB


def test_a_desktop_is_not_given_what_was_measured_on_a_server():
    measured = round(30.86 * GIB)
    assert group(31.36, free_at_start_bytes=measured).free_at_start_bytes(1) == measured
    assert group(31.36, host=Host.DESKTOP, free_at_start_bytes=measured).free_at_start_bytes(1) < measured - 500 * MIB


@pytest.mark.parametrize(("total", "free"), [(31.84, 30.12), (23.99, 22.45), (15.99, 13.88), (15.92, 14.55), (11.99, 10.79)])
def test_under_wsl2_the_conservative_figure_is_below_all_that_was_seen(total, free):
    """Facts: 1.20 to 2.11 GiB were gone. At most 2160 MiB, 2.11 GiB; usually 1400 MiB, 1.37, of cards below 16 GB less."""
    wsl2 = group(total, host=Host.WSL2)
    assert wsl2.free_at_start_bytes(1) / GIB <= free + 0.01
    assert wsl2.free_at_start_bytes(1, conservative=False) / GIB == pytest.approx(total - min(1.367, 0.645 + 0.045 * total), abs=0.001)
    assert wsl2.neighbours_bytes == pytest.approx(960 * MIB * min(1.0, (0.645 + 0.045 * total) / 1.367), abs=MIB)
    assert group(total, host=Host.WSL2, wsl2_free_at_start_bytes=round(free * GIB)).free_at_start_bytes(1) == round(free * GIB)


@pytest.mark.parametrize(("total", "gone"), [(4.0, 0.78), (6.0, 1.05), (11.99, 1.20)])  # public reports: gtx1650, a card of 6 GiB, one of 12
def test_of_small_cards_less_is_gone_under_wsl2(total, gone):
    assert group(total, host=Host.WSL2).free_at_start_bytes(1, conservative=False) / GIB == pytest.approx(total - gone, abs=0.15)


@pytest.mark.parametrize(("total", "gone"), [(4.0, 0.78), (6.0, 1.05), (11.99, 1.20), (15.99, 1.30), (15.99, 2.11)])
def test_what_is_gone_under_wsl2_at_least_and_at_most_is_more_and_less_than_usually_of_small_cards_too(total, gone):
    made = group(total, host=Host.WSL2)
    surely, usually = made.free_at_start_bytes(1), made.free_at_start_bytes(1, conservative=False)
    most = usually + made.free_error[1]
    assert surely < usually < most
    assert surely / GIB - 0.01 <= total - gone <= most / GIB
    assert (total - surely / GIB) / (total - usually / GIB) == pytest.approx(2160 / 1400, abs=0.001)
    assert (total - most / GIB) / (total - usually / GIB) == pytest.approx(1200 / 1400, abs=0.001)


def test_only_under_wsl2_do_other_programs_draw_on_the_gpu_while_a_server_starts():
    assert group(24, host=Host.DESKTOP).neighbours_bytes == group(24).neighbours_bytes == 0


def test_wsl2_sees_its_own_total_and_without_one_all_of_the_card():
    card = {"name": "made", "title": "Made", "vendor": "nvidia", "memory_type": "gddr", "memory_bytes": 24 * GIB, "cuda_total_bytes": 23 * GIB}
    assert GpuGroup(gpu=GpuSpec(**card, wsl2_total_bytes=22 * GIB), count=1, host=Host.WSL2).total_bytes == 22 * GIB
    assert GpuGroup(gpu=GpuSpec(**card), count=1, host=Host.WSL2).total_bytes == 24 * GIB
    assert GpuGroup(gpu=GpuSpec(**card), count=1, host=Host.DESKTOP).total_bytes == 23 * GIB


def test_ranks_over_nvlink_give_nccl_its_buffers_and_neighbours_are_taken_off():
    """H100: 78.68 GiB alone, 77.66 with NCCL (facts): 1045 MiB."""
    linked, pcie = group(79.19, count=2, nvlink=True), group(79.19, count=2)
    assert linked.free_at_start_bytes(1) - linked.free_at_start_bytes(2) == 1045 * MIB
    assert linked.free_at_start_bytes(2) / GIB == pytest.approx(77.66, abs=0.01)
    assert pcie.free_at_start_bytes(1) == pcie.free_at_start_bytes(2)
    assert group(79.19, taken_bytes=GIB).free_at_start_bytes(1) == group(79.19).free_at_start_bytes(1) - GIB
    assert (linked.process_bytes(1), linked.process_bytes(2)) == (520 * MIB, 1565 * MIB)


@pytest.mark.parametrize(
    ("free", "taken", "share"),
    [
        (90.5, 0, 0.89),  # 0.905 less 1 %, to two decimals
        (89.9, 0, 0.88),  # 0.889
        (98.0, 0, 0.95),  # the most that is planned
        (90.5, 10, 0.795),  # beside another server to three decimals: 0.805 less 1 %
        (1.5, 0, 0.01),  # the least
    ],
)
def test_the_safe_share_keeps_one_percent_back_and_is_rounded_down(free, taken, share):
    here = group(100, free_at_start_bytes=round(free * GIB), taken_bytes=taken * GIB)
    assert safe_utilization(here, 1) == pytest.approx(share)
    told, why = utilization(Request(model=model(), group=here), 1)
    assert told == pytest.approx(share)
    assert f"{free - taken:.2f} of 100.00 GiB are free" in why


def card(name: str, total_gib: int, bandwidth: int, capability: tuple[int, int], flops: dict[str, int], *, nvlink: bool = False) -> GpuSpec:
    total = total_gib * GIB
    rates = {"bandwidth_bytes_per_s": bandwidth, "compute_capability": capability, "dense_flops": tuple(flops.items()), "nvlink": nvlink}
    return GpuSpec(name=name, title=name, vendor="nvidia", memory_type="gddr", memory_bytes=total, cuda_total_bytes=total, **rates)


def test_two_different_cards_are_planned_as_what_both_have():
    """The memory of the smaller, the bandwidth of the slower, whichever that is, and no NVLink between them; each keeps its own for who splits by memory."""
    large, small = card("large", 24, 900, (8, 6), {"bf16": 71, "int8": 1}, nvlink=True), card("small", 16, 1000, (8, 9), {"bf16": 100, "fp8": 1}, nvlink=True)
    group = mixed_group((large, small, large), GpuGroup(gpu=small, count=1, host=Host.DESKTOP))
    assert (group.gpu.name, group.gpu.memory_bytes, group.gpu.bandwidth_bytes_per_s, group.gpu.compute_capability) == ("small", 16 * GIB, 900, (8, 6))
    assert (group.gpu.dense_flops, group.gpu.nvlink, group.count, group.host) == ((("bf16", 71),), False, 3, Host.DESKTOP)
    assert [(member.gpu.name, member.count, member.free_at_start_bytes(1) < member.gpu.memory_bytes) for member in group.members] == [
        ("large", 1, True),
        ("small", 1, True),
        ("large", 1, True),
    ]
    assert group.label == "2x large and 1x small"


def test_cards_that_are_equal_are_a_plain_group():
    same = card("same", 24, 900, (8, 6), {})
    group = mixed_group((same, same), GpuGroup(gpu=same, count=1))
    assert group == GpuGroup(gpu=same, count=2)
    assert [member.gpu for member in group.members] == [same, same]


def test_under_wsl2_what_another_machine_had_free_is_the_least_of_a_range():
    """An RTX 4080 had 13.88 of 15.99 GiB free at one start, 14.69 at another; what is told of this very machine is no range."""
    measured = group(15.99, host=Host.WSL2, wsl2_free_at_start_bytes=round(13.88 * GIB))
    assert measured.free_at_start_bytes(1) == round(13.88 * GIB)
    usual = measured.free_at_start_bytes(1, conservative=False)
    assert usual / GIB == pytest.approx(14.62, abs=0.01)
    assert (usual + measured.free_error[1]) / GIB >= 14.69
    told = group(15.99, host=Host.WSL2, wsl2_free_at_start_bytes=round(13.88 * GIB), free_is_told=True)
    assert (told.free_at_start_bytes(1, conservative=False), told.free_error) == (round(13.88 * GIB), (0, 0))


def test_unified_memory_has_what_its_host_leaves():
    """GB10: 0.95 of 121.63 GiB was refused with 110.7 free and started on a machine without a desktop; what is told of a machine is no range."""
    spark = group(121.63, free_at_start_bytes=101 * GIB, most_free_bytes=116 * GIB)
    asked = 0.95 * 121.63 * GIB
    assert spark.free_at_start_bytes(1) < asked < spark.free_at_start_bytes(1, conservative=False)
    assert spark.free_error == (0, 0)
    desktop = replace(spark, host=Host.DESKTOP)
    assert (desktop.free_at_start_bytes(1), desktop.free_error) == (101 * GIB - 600 * MIB, (0, 600 * MIB))
    told = group(121.63, free_at_start_bytes=round(110.73 * GIB), free_is_told=True)
    assert told.free_at_start_bytes(1, conservative=False) < asked

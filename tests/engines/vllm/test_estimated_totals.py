"""A total that nobody measured is not called exact: what it may be wrong by is what the rule behind it misses on measured cards."""

from dataclasses import replace

import pytest

from planner.catalogue.load import find_gpu, gpu_rows
from planner.catalogue.resolve import find_source
from planner.engines.vllm.answer import lines, sums
from planner.engines.vllm.choice import Request
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.device import device
from planner.engines.vllm.plan import plan_as_asked
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.facts.hardware import ESTIMATED_TOTAL_LESS_BYTES, ESTIMATED_TOTAL_MORE, GpuGroup, Host
from planner.facts.plan import How
from planner.questions.machine import StackRow, machine_of
from planner.units import GIB, MIB

WITH_ECC = ("rtxa6000",)  # a sixteenth of it is taken by error correction, where that is on
MEASURED = [row for row in gpu_rows() if row.vendor == "nvidia" and not (row.cuda_total_estimated or row.unified_memory or row.name in WITH_ECC)]
SOURCE = find_source("qwen3-4b")
ESTIMATED = [row for row in gpu_rows() if row.cuda_total_estimated]


def kept_back_mib(memory_mib: int) -> float:
    """The rule of gpus.yaml: what the driver keeps back of a card."""
    return max(450, 0.0085 * memory_mib)


def test_the_bounds_are_what_the_rule_misses_on_measured_cards():
    """On 20 cards: 3060, 3090, 4060 Ti, 4090, 5080, 5090, A4000, PRO 6000 (two), A10G, A40, L4, L40S, T4, V100, A100 (two), H100, H200, B200."""
    missed = {row.name: (row.memory_mib - row.cuda_total_gib * 1024) - kept_back_mib(row.memory_mib) for row in MEASURED}
    assert len(missed) >= 20
    worst = max(missed, key=missed.get)
    assert (worst, missed[worst]) == ("a100-40gb", pytest.approx(184.9, abs=0.1))
    assert max(missed.values()) * MIB <= ESTIMATED_TOTAL_LESS_BYTES
    shares = {row.name: -missed[row.name] / row.memory_mib for row in MEASURED}
    most = max(shares, key=shares.get)
    assert (most, shares[most]) == ("rtx3060", pytest.approx(0.0058, abs=0.0001))
    assert shares[most] <= ESTIMATED_TOTAL_MORE


def test_an_estimated_total_has_bounds_and_a_measured_one_has_none():
    assert len(ESTIMATED) >= 27
    card = find_gpu("rtx4080")
    group = GpuGroup(gpu=card, count=1)
    assert group.total_bounds == (card.cuda_total_bytes - 190 * MIB, card.cuda_total_bytes + int(0.006 * card.memory_bytes))
    assert GpuGroup(gpu=card, count=1, host=Host.WSL2).total_bounds == (card.wsl2_total_bytes,) * 2
    assert GpuGroup(gpu=find_gpu("rtx4090"), count=1).total_bounds == (find_gpu("rtx4090").cuda_total_bytes,) * 2
    for row in ESTIMATED:
        least, most = GpuGroup(gpu=row.spec(), count=1).total_bounds
        assert least < row.spec().cuda_total_bytes < most <= row.spec().memory_bytes


def test_a_card_whose_error_correction_may_be_off_has_more_at_most():
    """Two RTX A6000 told 44.43 and 47.43 GiB; what a person reads off the own card decides."""
    card = find_gpu("rtxa6000")
    assert [round(size / GIB, 2) for size in GpuGroup(gpu=card, count=1).total_bounds] == [44.43, 47.43]
    assert GpuGroup(gpu=card, count=1, host=Host.WSL2).total_bounds == (card.memory_bytes,) * 2
    told = machine_of(StackRow(gpu="rtxa6000", count=1, total_gib=44.43, services=[]))
    assert [round(size / GIB, 2) for size in told.total_bounds] == [44.43, 44.43]


def test_the_fits_own_card_is_as_unsure_as_others_under_releases_that_sample_otherwise():
    margins = [device(GpuGroup(gpu=find_gpu("h100"), count=1), ServeConfig(vllm_version=version)).most_margin_bytes for version in ("0.16", "0.17", "0.33")]
    assert margins[0] > margins[1] == margins[2] == 0


def test_what_is_free_is_as_unsure_as_the_total_it_follows_from():
    group = GpuGroup(gpu=find_gpu("rtx4080"), count=1)
    on = device(group, ServeConfig())
    assert on.free(Outlook.CONSERVATIVE) == group.free_at_start_bytes(1) - 190 * MIB
    assert on.free(Outlook.OPTIMISTIC) - on.free(Outlook.EXPECTED) == on.total(Outlook.OPTIMISTIC) - on.total(Outlook.EXPECTED)
    told = replace(group, gpu=replace(group.gpu, free_at_start_bytes=15 * GIB))  # by the driver, for `--gpu auto`
    assert device(told, ServeConfig()).free(Outlook.CONSERVATIVE) == 15 * GIB
    assert told.free_error == (0, 0)


def planned(group, length):
    pins = Pins(max_model_len=length, gpu_memory_utilization=0.9, max_num_seqs=16, max_num_batched_tokens=2048, kv_cache_dtype="auto", enforce_eager=True)
    return plan_as_asked(Request(model=SOURCE.spec, group=group, pins=pins, context=None, users=None), repo=SOURCE.repo, served_name="x")


def test_the_interval_of_the_cache_is_wider_and_the_total_is_called_estimated():
    def noted(plan):
        return {row.name: row.note for row in sums(plan)}

    guessed = planned(GpuGroup(gpu=find_gpu("rtx4080"), count=1), 8192)
    assert [line.how for line in lines(guessed) if line.key == "kv_cache"] == [How.ESTIMATED]
    choice, total = guessed.choice, find_gpu("rtx4080").cuda_total_bytes
    assert noted(guessed)["requested"] == f"0.9 of {total / GIB:.2f} GiB (estimated)"
    assert choice.expected.requested_bytes - choice.conservative.requested_bytes == pytest.approx(0.9 * 190 * MIB, abs=1)
    assert choice.optimistic.requested_bytes - choice.expected.requested_bytes == pytest.approx(0.9 * 0.006 * find_gpu("rtx4080").memory_bytes, abs=2)
    assert "estimated" not in noted(planned(GpuGroup(gpu=find_gpu("rtx5080"), count=1), 8192))["requested"]


def test_at_the_edge_a_guess_does_not_surely_start():
    """The longest context that starts if the total is as estimated may be too long if it is not."""
    guess = GpuGroup(gpu=find_gpu("rtx4080"), count=1)
    measured = replace(guess, gpu=replace(guess.gpu, cuda_total_estimated=False))

    longest = min(planned(measured, 2048).choice.conservative.longest_max_model_len, SOURCE.spec.max_position_embeddings)
    assert longest < SOURCE.spec.max_position_embeddings
    assert (planned(measured, longest).verdict, planned(guess, longest).verdict) == ("starts", "tight")


@pytest.mark.parametrize("engine", ["vllm", "llama.cpp"])
def test_json_says_it(engine, plan_json):
    for card, estimated in (("rtx4080", True), ("rtx4090", False)):
        _, found = plan_json("--gpu", card, "--model", "qwen3-4b", "--engine", engine)
        assert found["hardware"]["cuda_total_estimated"] is estimated
    _, found = plan_json("--gpu", "rtx4080", "--model", "qwen3-4b", "--engine", engine, "--host", "wsl2")
    assert found["hardware"]["cuda_total_estimated"] is False

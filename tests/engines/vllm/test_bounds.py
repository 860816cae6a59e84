"""Parts outside the ledger that are bounded: the answer is sure where it is the same with all that they may take and with all that they may spare."""

import pytest

from planner.questions.check import check, find_server, group_for

MOE = "vllm serve openai/gpt-oss-20b"


def judged(command, gpu="h100", count=1):
    return check(server := find_server(command), group_for(server, gpu, count, "server"))


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ("--max-model-len 8192", "starts"),
        ("--max-model-len 8192 --moe-backend triton", "tight"),  # a tenth of 13 GiB more still fits
        ("--max-model-len 131072 --gpu-memory-utilization 0.15 --moe-backend triton", "does_not_start"),  # needs more than a tenth of the weights
        ("--max-model-len 8192 --moe-backend triton --compilation-config.compile_mm_encoder true", "tight"),  # no picture: nothing to compile
    ],
)
def test_a_bounded_part_does_not_hide_what_is_sure(more, verdict):
    assert judged(f"{MOE} {more}").verdict == verdict


def test_it_hides_what_it_decides():
    """Somewhere between the two ends nobody can say: one of the budgets lies there."""
    verdicts = [judged(f"{MOE} --max-model-len 32768 --moe-backend triton --gpu-memory-utilization {share / 100}").verdict for share in range(14, 40, 1)]
    assert "unknown" in verdicts
    assert [rank for rank, _ in sorted(enumerate(verdicts), key=lambda pair: ["does_not_start", "unlikely", "unknown", "tight"].index(pair[1]))] == list(
        range(len(verdicts))
    )


def test_what_nothing_bounds_stays_unknown():
    assert judged("vllm serve Qwen/Qwen3-8B --max-model-len 8192 --enable-dbo").verdict == "unknown"

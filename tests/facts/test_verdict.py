"""A verdict has one rule, one order, one exit code and one set of words, whichever engine it is said of."""

import json
from itertools import product

import numpy as np
import pytest
from conftest import run_plan
from test_memory import choice, ledger

from planner.engines.budget import Budget
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.plan import reject
from planner.facts.plan import How, Line
from planner.facts.verdict import ONLY_AT_LOWEST, Verdict, rank_of, verdict_of, worst

FITS = {(True, True, True): "starts", (False, True, True): "tight", (False, False, True): "unlikely", (False, False, False): "does_not_start"}


@pytest.mark.parametrize(("fits", "verdict"), FITS.items())
def test_the_widest_outlook_that_fits_decides(fits, verdict):
    assert verdict_of(fits) == verdict


def test_a_grid_has_the_same_rule():
    outlooks = list(product((True, False), repeat=3))
    ranks = rank_of(*(np.array(column) for column in zip(*outlooks, strict=True)))
    assert [tuple(Verdict)[rank] for rank in ranks] == [verdict_of(fits) for fits in outlooks]


def test_servers_together_start_as_surely_as_the_worst_of_them():
    order = [Verdict(word) for word in ("does_not_start", "unlikely", "unknown", "tight", "starts")]
    assert sorted(Verdict) == order  # not by the alphabet
    assert [verdict.exit_code for verdict in order] == [1, 1, 4, 0, 0]
    assert [verdict.falls_short for verdict in order] == [True, True, False, False, False]
    for pair in product(order, repeat=2):
        assert worst(pair) is order[min(map(order.index, pair))]


def test_json_holds_the_word():
    assert json.dumps({"verdict": Verdict.UNLIKELY}) == '{"verdict": "unlikely"}'


def test_what_only_the_lowest_overheads_let_start_is_refused_by_the_expected_shortage():
    """310 needed, with a block that nobody gets 320, of 300 expected; the optimistic cache holds 320."""
    short = choice(kv_cache_needed_bytes=310)
    found = choice({Outlook.OPTIMISTIC: ledger(kv_cache_needed_bytes=310, kv_cache_bytes=320, kv_cache_blocks=32)}, kv_cache_needed_bytes=310)
    assert found.verdict is Verdict.UNLIKELY
    rejection, surely = reject(found), reject(short)
    assert rejection.reason == f"{surely.reason}; {ONLY_AT_LOWEST}"
    assert (rejection.code, rejection.short_by_bytes) == (surely.code, surely.short_by_bytes) == ("kv-cache-too-small", 20)


@pytest.mark.parametrize(("blocks", "users"), [(29, 9), (25, 8), (24, 7)])
def test_users_are_counted_as_surely_as_the_server_starts(blocks, users):
    """A request needs three blocks of 10 and one is nobody's: 28, 24 or 23 of the conservative cache are for requests, 29 of the expected."""
    found = choice({Outlook.CONSERVATIVE: ledger(kv_cache_needed_bytes=30, kv_cache_bytes=10 * blocks, kv_cache_blocks=blocks)}, kv_cache_needed_bytes=30)
    assert found.verdict is Verdict.STARTS
    assert [found.holds(asked) for asked in (None, users, users + 1)] == [True, True, False]
    tight = choice({Outlook.CONSERVATIVE: ledger(kv_cache_needed_bytes=30, requested_bytes=951)}, kv_cache_needed_bytes=30)
    assert (tight.verdict, tight.holds(9), tight.holds(10)) == ("tight", True, False)


def test_the_other_runtimes_have_the_same_rule():
    for low, expected, high, verdict in ((70, 80, 90, "starts"), (70, 100, 101, "tight"), (100, 101, 120, "unlikely"), (101, 102, 120, "does_not_start")):
        line = Line(key="weights", name="weights", bytes=expected, low_bytes=low, high_bytes=high, how=How.DERIVED, note="")
        found = Budget((line,), available_bytes=100, conservative_available_bytes=90)
        assert found.verdict == verdict
        assert (found.rejection is not None and found.rejection.reason.endswith(ONLY_AT_LOWEST)) == (verdict == "unlikely")


def test_an_unlikely_command_ends_with_1_and_is_mended(tmp_path):
    done = run_plan("check", "vllm serve Qwen/Qwen3-8B", "--gpu", "rtx4090", "--format", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"], answer["headline"]) == (1, "unlikely", "unlikely to start")
    assert ONLY_AT_LOWEST in answer["problems"][0]["message"]
    assert answer["problems"][0]["fix"]

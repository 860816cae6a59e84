"""Sessions of agents: the closed form against a simulation of every turn with an LRU cache, its laws, and what the command says."""

import json
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.engines.vllm.pace import paces
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.questions.capacity import Limits
from planner.questions.sessions import Session, Turns, sessions_for
from planner.speed.estimate import Pace
from planner.speed.roofline import Load
from tests.agent_sessions import simulate
from tests.questions.test_capacity import planned

SESSION = Session(prompt=12_000, answer=200, tool=600, turns=10, pause_s=6.0)


@cache
def pace() -> Pace:
    return paces(planned("h100", "qwen3-8b", context=32_768))[1]


def turns_of(session: Session = SESSION, *, slots: int = 500, warm: float = 60.0, host: float = 0.0, reload_s: float = 0.1, at_random: bool = True) -> Turns:
    return Turns(pace(), session, slots=slots, warm=warm, host=host, reload_s=reload_s, at_random=at_random)


def stay_s(session: Session, active: int, turn: int, *, found: bool) -> float:
    """A turn of so many at once, without the planner's means over turns."""
    work, before = pace().work, session.prompt + turn * (session.answer + session.tool)
    new = session.tool if turn and found else before
    flops = work.attention_flops(float(before)) - work.attention_flops(float(before - new))
    seen = pace().seen_of(Load(max(1.0, active), float(new), float(session.answer), 0, work.cache_bytes(before + session.answer / 2), flops))
    return seen.first_token_s + (session.answer - 1) * seen.per_token_s


@pytest.mark.parametrize(("conversations", "warm"), [(20, 60), (50, 60), (50, 25), (40, 10), pytest.param(120, 60, marks=pytest.mark.slow)])
def test_another_simulation_sees_the_same(conversations, warm):
    sizes = [SESSION.prompt + turn * (SESSION.answer + SESSION.tool) + SESSION.answer for turn in range(SESSION.turns)]
    room = warm * sum(sizes) / len(sizes)
    seen = simulate(lambda active, turn, found: stay_s(SESSION, active, turn, found=found), sizes, conversations, room, warm, SESSION.pause_s, 300.0)
    told = turns_of(warm=warm, slots=warm).turn(float(conversations))
    assert told.warm_share == pytest.approx(seen.warm_share, abs=0.08)
    assert told.active == pytest.approx(seen.active, rel=0.15)
    assert told.first_token_s + (SESSION.answer - 1) * told.per_token_s == pytest.approx(seen.stay_s, rel=0.15)


COUNTS = st.integers(1, 400)


@given(COUNTS, COUNTS, st.floats(1, 200), st.floats(0, 200), st.booleans())
@settings(max_examples=40, deadline=None)
def test_more_sessions_are_never_better_and_more_room_never_worse(one, other, warm, host, at_random):
    fewer, more = sorted((one, other))
    turns = turns_of(warm=warm, host=host, at_random=at_random, reload_s=0.01)
    few, many = turns.turn(float(fewer)), turns.turn(float(more))
    assert few.warm_share >= many.warm_share
    assert few.active <= many.active * (1 + 1e-6)
    assert few.first_token_s <= many.first_token_s * (1 + 1e-6)
    wide = turns_of(warm=warm * 2, host=host, at_random=at_random, reload_s=0.01).turn(float(more))
    assert wide.warm_share >= many.warm_share
    assert wide.first_token_s <= many.first_token_s * (1 + 1e-6)
    if more <= warm:
        assert many.warm_share == 1


@given(COUNTS, st.floats(0.1, 100))
@settings(max_examples=30, deadline=None)
def test_who_is_at_once_follows_from_stay_and_pause(conversations, pause_s):
    """The interactive response time law: active = sessions x stay / (stay + pause), or all places are taken."""
    session = replace(SESSION, pause_s=pause_s)
    turn = turns_of(session, slots=50).turn(float(conversations))
    stay = turn.first_token_s + (session.answer - 1) * turn.per_token_s
    assert turn.active <= 50
    assert turn.active == pytest.approx(conversations * stay / (stay + pause_s), rel=1e-3) or turn.active == 50
    assert turns_of(replace(session, pause_s=pause_s * 2), slots=50).turn(float(conversations)).active <= turn.active * (1 + 1e-6)


def test_a_history_that_is_found_is_not_computed_again():
    warm, cold = (turns_of().alone(warm=warm) for warm in (True, False))
    assert warm < cold / 3
    assert turns_of(replace(SESSION, turns=1)).alone(warm=True) == turns_of(replace(SESSION, turns=1)).alone(warm=False)


@given(st.integers(1, 5000), st.integers(1, 9000), st.integers(1, 3000), st.integers(1, 3000))
def test_turns_are_sampled_from_the_first_to_the_last(turns, prompt, answer, tool):
    session = Session(prompt=prompt, answer=answer, tool=tool, turns=turns, pause_s=1.0)
    asked = session.asked()
    assert asked[0] == (prompt, prompt)
    assert asked[-1][0] + answer == session.longest
    assert all(new == tool for _, new in asked[1:])


def said(capsys, monkeypatch, *words: str) -> tuple[int, dict, str]:
    from planner.cli.main import main

    monkeypatch.setattr("sys.argv", ["plan", "capacity", "--gpu", "h100", "--model", "qwen3-8b", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    return ended.value.code, json.loads(shown.out) if "--json" in words and shown.out else {}, shown.out + shown.err


def test_the_command_says_what_stays_warm(capsys, monkeypatch):
    code, answer, _ = said(capsys, monkeypatch, "--turns", "10", "--input", "8000", "--users", "4", "--json")
    (option,) = answer["options"]
    assert (code, answer["requirements_met"], answer["session"]["longest_tokens"]) == (0, True, 8000 + 10 * 500 + 9 * 500)
    low, kept = option["conservative"], option["expected"]
    assert 4 <= low["warm"] <= kept["warm"]
    assert kept["ttft_warm_s"] < kept["ttft_cold_s"] / 3
    assert kept["at_users"]["warm_share"] == 1
    _, beside, _ = said(capsys, monkeypatch, "--turns", "10", "--input", "8000", "--subagents", "3", "--json")
    assert beside["options"][0]["expected"]["warm"] == pytest.approx(kept["warm"] / 4, abs=1)
    _, offloaded, _ = said(capsys, monkeypatch, "--turns", "10", "--input", "8000", "--kv-offloading-size", "64", "--json")
    option = offloaded["options"][0]
    assert option["expected"]["warm_with_host"] > option["expected"]["warm"] == kept["warm"]
    assert option["argv"][-2:] == ["--kv-offloading-size", "64"]
    code, _, text = said(capsys, monkeypatch, "--turns", "10", "--input", "8000", "--users", "5000")
    assert code == 1
    assert "5000 sessions: not held" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--pause", "3s"), "--pause is of sessions, and --turns is not given"),
        (("--turns", "5", "--rate", "3"), "--rate is of single requests"),
        (("--turns", "5", "--trace", "x"), "--turns and --trace both say"),
        (("--turns", "100", "--input", "20000"), "100 turns"),
        (("--turns", "5", "--engine", "llama.cpp"), "sessions are told of vLLM"),
        (("--turns", "0"), "0 is not in the range"),
        (("--turns", "3", "--kv-offloading-size", "-1"), "-1"),
    ],
)
def test_what_is_no_session_is_one_line(words, says, capsys, monkeypatch):
    code, _, text = said(capsys, monkeypatch, *words)
    assert code == 2
    assert says in text
    assert "Traceback" not in text


def test_states_of_recurrent_layers_are_not_told():
    with pytest.raises(PlannerError, match="recurrent layers"):
        sessions_for(StackRow(gpu="h100", services=[ServiceRow(model="qwen3.6-27b")]), SESSION, Limits(first_token_s=5.0, per_token_s=0.1))


def test_sessions_stay_on_their_server():
    """Replicas add up."""
    limits = Limits(first_token_s=5.0, per_token_s=0.1)
    one, two = (sessions_for(StackRow(gpu="h100", count=count, services=[ServiceRow(model="qwen3-8b")]), SESSION, limits).options for count in (1, 2))
    split = next(way for way in two if way.replicas == 2)
    assert split.expected == one[0].expected

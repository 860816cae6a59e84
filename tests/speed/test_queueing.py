"""The scheduler's steps, by hand: a prompt computes one second a token, a step with somebody decoding takes one second."""

from dataclasses import replace

import pytest

from planner.speed.queueing import CLOSE, Requests, Server, Waits, _highest_kept, _neighbourhood, highest_rate, serve, simulate


def server(**changed) -> Server:
    facts = {"steps_s": [0.0, 1.0, 1.0, 1.0], "prompt_s": 4.0, "prompt": 4, "answer": 100, "slots": 3, "batch": 4}
    return Server(**(facts | changed))


def at_once(of: Server, count: int) -> Requests:
    """So many requests that wait at time 0, and nobody else comes."""
    return Requests(arrivals_s=[0.0] * count, prompts=[of.prompt] * count, prompts_s=[of.prompt_s] * count, outputs=[of.answer] * count)


def first_tokens(of: Server, count: int) -> list[float]:
    return serve(of, at_once(of, count))[0]


def test_sequences_that_decode_take_their_tokens_off_a_batch():
    """Step 1 computes the first prompt, 4 s. One decodes then: three tokens of the second are left, 1 + 3 s; then one more, 1 + 1 s."""
    assert first_tokens(server(), 2) == [4.0, 10.0]


def test_a_batch_takes_as_many_prompts_as_it_has_tokens_for():
    """Eight tokens: both prompts at once, 8 s; six: the second has two left, 4 + 2 s, then 1 + 2 s."""
    assert first_tokens(server(batch=8), 2) == [8.0, 8.0]
    assert first_tokens(server(batch=6), 2) == [6.0, 9.0]


def test_a_batch_full_of_decoding_still_moves_a_prompt_on():
    """Two sequences decode in a batch of two: one token a step is left, whatever."""
    assert first_tokens(server(batch=2, prompt=2, prompt_s=2.0), 3) == [2.0, 2 + 2 * 2.0, 6 + 2 * 2.0]


def test_who_has_no_slot_waits_for_one():
    """One slot, an answer of three: 4 s for the prompt, two steps of 1 s, then the next prompt: 6 + 4."""
    asked = server(slots=1, answer=3)
    assert serve(asked, at_once(asked, 2)) == ([4.0, 10.0], [6.0, 12.0])


def test_who_finds_no_room_in_the_cache_waits_for_it():
    """A prompt of 4 and an output of 3 take seven tokens: thirteen hold one such request, fourteen two, and one that nothing holds runs alone."""
    asked = server(answer=3, batch=8)
    assert serve(replace(asked, cache_tokens=13), at_once(asked, 2)) == ([4.0, 10.0], [6.0, 12.0])
    assert serve(replace(asked, cache_tokens=14), at_once(asked, 2)) == serve(asked, at_once(asked, 2)) == ([8.0, 8.0], [10.0, 10.0])
    assert serve(replace(asked, cache_tokens=1), at_once(asked, 2)) == ([4.0, 10.0], [6.0, 12.0])


def test_each_request_has_its_own_lengths():
    """The first of 4 tokens is computed at 4 s, the second of 2 in the step after it, 1 + 1 s; its output of 2 ends at 7, the other's of 5 at 9."""
    asked = Requests(arrivals_s=[0.0, 0.0], prompts=[4, 2], prompts_s=[4.0, 1.0], outputs=[5, 2])
    assert serve(server(), asked) == ([4.0, 6.0], [9.0, 7.0])


def test_an_answer_of_one_token_leaves_with_its_prompt():
    asked = server(answer=1)
    assert serve(asked, at_once(asked, 1)) == ([4.0], [4.0])


def test_no_queue_survives_more_than_prompts_and_full_batches_allow():
    """Three slots: three prompts of 4 s and 99 steps of 1 s for every three requests."""
    assert server().most_per_s == pytest.approx(3 / (12 + 99))


@pytest.mark.parametrize(("share", "seconds"), [(0.0, 1.0), (0.5, 6.0), (0.95, 10.0), (1.0, 10.0)])
def test_a_percentile_is_what_so_many_do_not_exceed(share, seconds):
    assert Waits(first_token_s=[float(n) for n in range(1, 11)], per_token_s=0.0, in_flight=0.0).percentile_s(share) == seconds


def test_the_first_tenth_meets_an_empty_server_and_is_not_counted():
    seen = simulate(server(answer=2), 1e-6, 100)
    assert len(seen.first_token_s) == 90
    assert set(map(round, seen.first_token_s)) == {4}
    assert seen.per_token_s == pytest.approx(1.0)


@pytest.mark.parametrize(("first_token_s", "per_token_s"), [(3.9, 2.0), (100.0, 0.9)])
def test_where_a_lone_request_breaks_a_limit_no_rate_keeps_it(first_token_s, per_token_s):
    assert highest_rate(server(), first_token_s, per_token_s, share=0.95, requests=100) == 0.0


def test_the_highest_rate_keeps_the_limits_and_a_little_more_breaks_one():
    asked = server(answer=4)
    rate = highest_rate(asked, 12.0, 3.0, share=0.9, requests=3000)
    kept, broken = simulate(asked, rate, 3000), simulate(asked, rate * 1.03, 3000)
    assert kept.percentile_s(0.9) <= 12.0
    assert kept.per_token_s <= 3.0
    assert broken.percentile_s(0.9) > 12.0 or broken.per_token_s > 3.0


def test_limits_that_nothing_breaks_allow_all_that_the_server_has_time_for():
    asked = server(answer=4)
    assert highest_rate(asked, 1e9, 1e9, share=0.9, requests=500) == pytest.approx(asked.most_per_s)


def test_the_same_arrivals_come_whenever_it_is_asked():
    assert simulate(server(answer=3), 0.05, 200) == simulate(server(answer=3), 0.05, 200)


def test_requests_in_the_server_are_their_rate_times_their_stay():
    """Little: one in a million seconds, each there for 5, its prompt's 4 and one more token."""
    assert simulate(server(answer=2), 1e-6, 1000).in_flight == pytest.approx(5e-6, rel=0.1)


def test_the_mean_time_per_token_may_bind_instead_of_the_first():
    """A step takes a second for each who decodes: alone 1 s, and the limit of 1.5 is broken long before three are full."""
    asked = server(answer=10, steps_s=[0.0, 1.0, 2.0, 3.0], prompt_s=0.1)
    rate = highest_rate(asked, 1e9, 1.5, share=0.9, requests=3000)
    assert 0 < rate < asked.most_per_s
    assert simulate(asked, rate, 3000).per_token_s == pytest.approx(1.5, rel=0.02)
    assert simulate(asked, rate, 3000).per_token_s <= 1.5


@pytest.mark.parametrize(
    ("guess", "most", "root"),
    [
        (3.0, 10.0, 3.0),
        (2.0, 10.0, 3.0),  # keeps the limit: further up
        (5.0, 10.0, 3.0),  # breaks it: further down
        (1.5, 2.5, 2.5),  # more than the server could ever do
        (9.0, 2.5, 2.5),
    ],
)
@pytest.mark.parametrize("steep", [1, 3, 8])
@pytest.mark.parametrize("growth", [0.5, 2.0, 10.0])
def test_the_rate_whose_excess_is_nothing_is_found_from_below_to_a_percent(guess, most, root, steep, growth):
    """Nothing is in excess at 3: shallow, steep and very steep there, whatever was thought of it."""
    asked = []

    def excess(rate: float) -> float:
        asked.append(rate)
        return (rate / 3.0) ** steep - 1

    found = _highest_kept(excess, guess, growth, most)
    assert excess(found) <= 0
    assert root * (1 - 2 * CLOSE) <= found <= root
    assert max(asked) <= most
    assert len(asked) <= 15


def test_a_close_search_is_short():
    """A guess that is close enough is taken; one that is off by a tenth of a straight line, whose growth is known, is mended at once."""
    asked = []

    def line(rate: float) -> float:
        asked.append(rate)
        return (rate - 3.0) / 3.0

    assert _highest_kept(line, 2.99, 1.0, 10.0) == 2.99
    assert asked == [2.99]
    for guess in (2.7, 3.3):
        asked.clear()
        assert _highest_kept(line, guess, guess / 3.0, 10.0) == pytest.approx(3.0 * (1 - CLOSE / 2), rel=CLOSE / 2)
        assert len(asked) == 2


def test_where_only_a_jump_breaks_the_limit_its_lower_side_is_found():
    """No straight line leads there; the bracket is closed to a percent."""
    found = _highest_kept(lambda rate: -0.5 if rate < 3.0 else 0.5, 2.5, 2.0, 10.0)
    assert 3.0 * 0.9 <= found < 3.0


def test_two_rates_say_where_the_limit_lies_between_them():
    """From (2, -0.2) to (4, 0.6): nothing in excess at 2.5, where doubling the rate adds 0.4 x 2.5 = 1; where one was not tried, the other is all."""
    assert _neighbourhood((2.0, -0.2), (4.0, 0.6)) == pytest.approx((2.5, 1.0))
    assert _neighbourhood((2.0, -0.2), (4.0, 0.0))[0] == 2.0
    assert _neighbourhood((0.0, 0.0), (4.0, 0.6))[0] == 2.0

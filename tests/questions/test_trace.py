"""A recorded load: read from the files that people have, replayed as another simulation does, refused in one line where it cannot be one."""

import json
import random
from itertools import pairwise

import pytest

from planner.errors import PlannerError
from planner.questions import trace as traces
from planner.questions.replay import mean_lengths
from planner.questions.trace import read_trace
from planner.speed.queueing import Requests, Server, percentile, serve
from tests.conftest import run_plan
from tests.token_server import Sequence, run

MOONCAKE = (
    '{"timestamp": 1000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n{"timestamp": 3000, "input_length": 7322, "output_length": 1}\n'
)
BURST_GPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,0,1087,Conversation log\n118,ChatGPT,417,276,693,API log\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9305900,396,109\n"
DETAILED = json.dumps({"backend": "vllm", "start_times": [12.5, 10.0], "input_lens": [30, 20], "output_lens": [3, 2], "ttfts": [0.1, 0.2]})


@pytest.mark.parametrize(
    ("text", "arrivals", "prompts", "outputs", "left_out"),
    [
        (MOONCAKE, [0.0, 2.0], [6758, 7322], [500, 1], 0),
        (BURST_GPT, [0.0, 113.0], [472, 417], [18, 276], 1),
        (AZURE, [0.0, 4.25], [374, 396], [44, 109], 0),
        (DETAILED, [0.0, 2.5], [20, 30], [2, 3], 0),
        (json.dumps(json.loads(DETAILED), indent=1), [0.0, 2.5], [20, 30], [2, 3], 0),
        ("\n" + MOONCAKE + "\n\n", [0.0, 2.0], [6758, 7322], [500, 1], 0),
    ],
)
def test_the_files_that_people_have(tmp_path, text, arrivals, prompts, outputs, left_out):
    path = tmp_path / "trace"
    path.write_text(text)
    seen = read_trace(path)
    assert (list(seen.arrivals_s), list(seen.prompts), list(seen.outputs), seen.left_out) == (pytest.approx(arrivals), prompts, outputs, left_out)
    assert seen.longest == max(prompt + output for prompt, output in zip(prompts, outputs, strict=True))


LINE = '{"timestamp": 5, "input_length": 3, "output_length": 2}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("hello\n", "no header that is known"),
        (LINE + LINE.replace("5", "4"), "line 2: arrives 0.001 s before the request above it; sort"),
        (LINE + "\n" + LINE.replace('"input_length": 3, ', ""), "line 3: input_length is missing"),
        (LINE + '{"timestamp": 5, "input_len', "line 2 is no request"),
        (LINE.replace("5", "NaN"), "line 1: 'nan' is no time"),
        (LINE.replace("5", "1e400"), "line 1: 'inf' is no time"),
        (LINE.replace("3", "0"), "line 1: '0' is no number of prompt tokens"),
        (LINE.replace("2", "-2"), "line 1: '-2' is no number of output tokens"),
        (LINE.replace("2", "1000000000000"), "tokens"),
        (LINE.replace("3", "true"), "'True' is no number"),
        (LINE.replace(": 2", ": 0"), "no request with an output"),
        (BURST_GPT.replace("45,GPT-4,1087,0,1087", "45,GPT-4"), "line 3 has 3 columns"),
        (AZURE.replace("2023-11-16 18:15:50.9305900", "yesterday"), "'yesterday' is no time"),
        (DETAILED.replace("start_times", "times"), "timestamp is missing"),
        ("{\n" + DETAILED[1:].replace("input_lens", "x"), "input_lens is missing"),
        ("{\n", "neither JSON lines nor"),
    ],
)
def test_what_is_no_trace_is_one_line(tmp_path, text, said):
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(PlannerError) as refused:
        read_trace(path)
    assert said in f"{refused.value.message}; {refused.value.hint}"


def test_a_trace_without_end_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(traces, "MOST_REQUESTS", 3)
    path = tmp_path / "trace"
    path.write_text(LINE * 4)
    with pytest.raises(PlannerError, match="more than 3 requests"):
        read_trace(path)


def test_the_cache_is_read_as_every_decoded_token_finds_it(tmp_path):
    """A prompt of 100 with 300 outputs, 250 tokens before each on average; one of 1,000 with 100, 1,050: (300 x 250 + 100 x 1,050) / 400 = 450."""
    path = tmp_path / "trace"
    path.write_text(
        "".join(json.dumps({"timestamp": 0, "input_length": prompt, "output_length": output}) + "\n" for prompt, output in ((100, 300), (1000, 100)))
    )
    lengths = mean_lengths(read_trace(path))
    assert (lengths.answer, lengths.prompt + lengths.answer / 2) == (200, 450)


def generated(count: int, rate: float, seed: int) -> Requests:
    """Bursts, long and short requests: arrivals at random at a rate that doubles for a while."""
    drawn, now, arrivals = random.Random(seed), 0.0, []
    for number in range(count):
        now += drawn.expovariate(rate * (2 if number % 1000 < 200 else 1))
        arrivals.append(now)
    prompts = [min(8000, max(1, int(drawn.lognormvariate(6, 1)))) for _ in range(count)]
    outputs = [min(400, max(1, int(drawn.lognormvariate(2.8, 0.8)))) for _ in range(count)]
    return Requests(arrivals_s=arrivals, prompts=prompts, prompts_s=[1e-5 * prompt + 1e-9 * prompt**2 for prompt in prompts], outputs=outputs)


def both(asked: Requests, server: Server) -> tuple[tuple[list[float], list[float]], tuple[list[float], list[float]]]:
    """Sorted times to first token and mean times per further one, by the queue and token by token."""
    first, last = serve(server, asked)
    rows = zip(asked.arrivals_s, asked.prompts, asked.prompts_s, asked.outputs, strict=True)
    done = run(server.steps_s.__getitem__, server.slots, server.batch, server.cache_tokens, [Sequence(*row) for row in rows], len(asked.outputs))
    ours = [seen - came for seen, came in zip(first, asked.arrivals_s, strict=True)]
    rests = [(end - seen) / (output - 1) for seen, end, output in zip(first, last, asked.outputs, strict=True) if output > 1]
    theirs = [one.first_s - one.arrival_s for one in done], [(one.last_s - one.first_s) / (one.answer - 1) for one in done if one.answer > 1]
    return (sorted(ours), sorted(rests)), (sorted(theirs[0]), sorted(theirs[1]))


def check(count: int, rate: float, seed: int) -> None:
    server = Server(
        steps_s=[0.0] + [0.008 + 0.0002 * number for number in range(1, 65)], prompt_s=0.0, prompt=1, answer=1, slots=64, batch=2048, cache_tokens=20_000
    )
    ours, theirs = both(generated(count, rate, seed), server)
    for mine, others in zip(ours, theirs, strict=True):
        for share in (0.5, 0.95, 0.99):
            assert percentile(mine, share) == pytest.approx(percentile(others, share), rel=0.02)


@pytest.mark.parametrize("rate", [5.0, 60.0])
def test_a_trace_waits_as_another_simulation_says(rate):
    check(1500, rate, seed=1)


@pytest.mark.slow
def test_a_trace_of_a_hundred_thousand_requests_waits_as_another_simulation_says():
    check(100_000, 50.0, seed=2)


def test_the_command(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps({"timestamp": 100 * number, "input_length": 1000, "output_length": 50}) + "\n" for number in range(200)))
    asked = ("capacity", "--gpu", "h100", "--count", "2", "--model", "qwen3-32b-fp8", "--trace", str(path))
    done = run_plan(*asked, "--format", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert answer["trace"] == {"requests": 200, "left_out": 0, "seconds": 19.9, "prompt_tokens": 200_000, "output_tokens": 10_000}
    assert {(option["tensor_parallel_size"], option["replicas"]) for option in answer["options"]} == {(2, 1), (1, 2)}
    for option in answer["options"]:
        for outlook in ("conservative", "expected", "optimistic"):
            assert 0 < option[outlook]["ttft_s"]["p50"] <= option[outlook]["ttft_s"]["p95"] <= option[outlook]["ttft_s"]["p99"]
        waits = [option[outlook]["ttft_s"]["p95"] for outlook in ("optimistic", "expected", "conservative")]
        assert all(low < high for low, high in pairwise(waits))
    assert run_plan(*asked, "--ttft", "1ms", cwd=tmp_path).returncode == 1
    for flag, value in (("--rate", "1"), ("--input", "5"), ("--users", "3")):
        refused = run_plan(*asked, flag, value, cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"{flag} and --trace both say" in refused.stderr

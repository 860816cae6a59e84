"""A short measurement of a running server through its OpenAI API: one user alone, then several at once. The only code that talks to a server.

Every prompt begins with words of its own, so that no prefix is cached. Times are taken where the text arrives: the client's and the
server's front end are in them, as they are for a user.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import httpx

from planner.errors import PlannerError, WorldError
from planner.facts.document import JsonObject, JsonValue, json_list, json_object
from planner.facts.record import dataclass

WORDS = "time light water field stone river house wind paper clock garden window letter music winter bridge"
TOKENS_A_WORD = 1.05  # of these words, with most tokenizers; the server says how many it counted
ALONE = 3  # runs of one user; the median counts
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One streamed answer."""

    first_token_s: float
    whole_s: float
    prompt_tokens: int
    answer_tokens: int

    @property
    def per_token_s(self) -> float:
        """Seconds of a further token."""
        return (self.whole_s - self.first_token_s) / max(1, self.answer_tokens - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benched:
    """What was measured: one user alone (medians), and `users` at once."""

    model: str
    prompt_tokens: int
    answer_tokens: int
    first_token_s: float
    per_token_s: float
    users: int
    together_tokens_per_s: float
    together_first_token_s: float
    together_per_token_s: float


def _prompt(tokens: int, seed: int) -> str:
    rng = random.Random(seed)  # noqa: S311 - words, not secrets
    words = WORDS.split()
    return " ".join(rng.choice(words) for _ in range(max(1, round(tokens / TOKENS_A_WORD))))


def _events(response: httpx.Response) -> Iterator[JsonObject]:
    for line in response.iter_lines():
        if line.startswith("data:") and line[5:].strip() != "[DONE]":
            try:
                event = json.loads(line[5:])
            except ValueError:
                raise WorldError(f"the server streams something else than JSON: {line[:80]}") from None
            if isinstance(event, dict):
                yield event


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0


def ask(client: httpx.Client, model: str, prompt: str, answer: int) -> Answered:
    """One streamed completion of exactly `answer` tokens, where the server can be told so. Raises WorldError."""
    body = {
        "model": model, "prompt": prompt, "max_tokens": answer, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True}, "ignore_eos": True,
    }  # fmt: skip
    start, first, chunks = time.perf_counter(), 0.0, 0
    usage: JsonObject = {}
    try:
        with client.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise WorldError(f"the server answers HTTP {response.status_code}: {' '.join(response.text.split())[:160]}", "is --model what it serves?")
            for event in _events(response):
                usage = json_object(event.get("usage")) or usage
                if any(json_object(choice).get("text") for choice in json_list(event.get("choices"))):
                    first = first or time.perf_counter()
                    chunks += 1
    except httpx.HTTPError as error:
        raise WorldError(f"{client.base_url}: {error or type(error).__name__}", "does the server run, and is --url its address?") from None
    whole = time.perf_counter() - start
    if not first or chunks < 2:
        raise WorldError("the server streamed no text that could be timed", "a chat model, and --answer 32 or more")
    counted = _count(usage.get("completion_tokens")) or chunks
    return Answered(first_token_s=first - start, whole_s=whole, prompt_tokens=_count(usage.get("prompt_tokens")), answer_tokens=counted)


def served_model(client: httpx.Client) -> str:
    """The first model that the server names. Raises WorldError."""
    try:
        listed = client.get("/v1/models").json()
        return str(listed["data"][0]["id"])
    except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
        raise WorldError(f"{client.base_url}: /v1/models is not answered ({type(error).__name__})", "is --url an OpenAI server's address?") from None


def bench(url: str, key: str | None, prompt: int, answer: int, users: int) -> Benched:
    """Measure a server: a warm-up, a user alone, then all at once. Raises WorldError and PlannerError."""
    if not url.startswith(("http://", "https://")):
        raise PlannerError(f"--url {url[:60]!r} is no address", "--url http://127.0.0.1:8000")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=users + 1)
    with httpx.Client(base_url=url.removesuffix("/").removesuffix("/v1"), headers=headers, timeout=TIMEOUT_S, limits=limits) as client:
        model = served_model(client)
        ask(client, model, _prompt(prompt, 0), min(answer, 16))
        alone = [ask(client, model, _prompt(prompt, 1 + number), answer) for number in range(ALONE)]
        start = time.perf_counter()
        with ThreadPoolExecutor(users) as pool:
            together = list(pool.map(lambda number: ask(client, model, _prompt(prompt, 100 + number), answer), range(users)))
        seconds = time.perf_counter() - start
    return Benched(
        model=model,
        prompt_tokens=round(median(reply.prompt_tokens for reply in alone)) or prompt,
        answer_tokens=round(median(reply.answer_tokens for reply in alone)),
        first_token_s=median(reply.first_token_s for reply in alone),
        per_token_s=median(reply.per_token_s for reply in alone),
        users=users,
        together_tokens_per_s=sum(reply.answer_tokens for reply in together) / seconds,
        together_first_token_s=median(reply.first_token_s for reply in together),
        together_per_token_s=median(reply.per_token_s for reply in together),
    )

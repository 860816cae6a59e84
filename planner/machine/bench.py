"""A short measurement of a running server through its OpenAI API, at several numbers of requests at once. The only code that talks to a server.

Every prompt begins with words of its own, so that no prefix is cached. Times are taken where the text arrives: the client's and the
server's front end are in them, as they are for a user. Each user asks again as soon as the answer is there.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean, median

import httpx

from planner.errors import PlannerError, WorldError
from planner.facts.document import JsonObject, JsonValue, json_list, json_object
from planner.facts.record import dataclass
from planner.facts.speed import Point

WORDS = "time light water field stone river house wind paper clock garden window letter music winter bridge"
TOKENS_A_WORD = 1.05  # of these words, with most tokenizers; the server says how many it counted
ALONE, ROUNDS = 3, 3  # answers of one user alone, and of each of several
TIMEOUT_S = 600.0  # of one answer
SILENCE_S = 120.0  # until something arrives: a prompt of 100,000 tokens on a slow card takes as long
MOST_LINE = 1 << 20  # characters of one event
PATHS = {"/v1/completions": "text", "/v1/chat/completions": "content"}
REASONING = ("reasoning_content", "reasoning")  # what a chat streams before its answer, by server


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


class Asking:
    """A server that is asked for one model. Every call raises WorldError where it does not answer as an OpenAI server does."""

    def __init__(self, client: httpx.Client, model: str) -> None:
        self._client, self._model = client, model
        self._path = next(iter(PATHS))

    def find_path(self, prompt: str) -> None:
        """A first short answer, which warms the server up: of completions or, where it has none, of a chat."""
        try:
            self.ask(prompt, 16)
        except _NoSuchPathError as refused:
            self._path = list(PATHS)[1]
            try:
                self.ask(prompt, 16)
            except _NoSuchPathError:
                raise refused from None

    def ask(self, prompt: str, answer: int) -> Answered:
        """One streamed answer of exactly so many tokens, where the server can be told so."""
        body = {
            "model": self._model, "max_tokens": answer, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True,
        }  # fmt: skip
        body |= {"prompt": prompt} if PATHS[self._path] == "text" else {"messages": [{"role": "user", "content": prompt}]}
        start = time.perf_counter()
        try:
            with self._client.stream("POST", self._path, json=body) as response:
                if response.status_code != httpx.codes.OK:
                    raise _refused(response)
                return _timed(response, start, answer)
        except httpx.TimeoutException:
            raise WorldError(f"{_address(self._client)}: nothing arrived for {SILENCE_S:g} s", "a shorter --input, or a look at the server's log") from None
        except httpx.RemoteProtocolError:
            raise WorldError(f"{_address(self._client)}: the server broke an answer off", "the server's log says why") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise WorldError(f"{_address(self._client)}: {error or type(error).__name__}", "does the server run, and is --url its address?") from None


class _NoSuchPathError(WorldError):
    """The server does not know the path, or the model."""


def _refused(response: httpx.Response) -> WorldError:
    said = b""
    for part in response.iter_raw():
        said += part
        if len(said) > MOST_LINE:
            break
    kind = _NoSuchPathError if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED) else WorldError
    words = " ".join(said.decode("utf-8", "replace").split())[:160]
    return kind(f"the server answers HTTP {response.status_code}: {words}", "the server's log says more")


def _timed(response: httpx.Response, start: float, answer: int) -> Answered:
    """The times of one stream."""
    first, last, chunks, done = 0.0, 0.0, 0, False
    usage: JsonObject = {}
    for event in _events(response):
        now = time.perf_counter()
        if event is None:
            done = True
            break
        usage = json_object(event.get("usage")) or usage
        choices = [json_object(choice) for choice in json_list(event.get("choices"))]
        done = done or any(choice.get("finish_reason") for choice in choices)
        if any(_text(choice) for choice in choices):
            first, last, chunks = first or now, now, chunks + 1
        if fault := event.get("error"):
            raise WorldError(f"the server broke an answer off: {' '.join(str(fault).split())[:160]}", "the server's log says why")
        if chunks > 2 * answer + 16 or now - start > TIMEOUT_S:
            raise WorldError(f"the answer does not end: {chunks:,} pieces in {now - start:.0f} s where {answer:,} tokens were asked", "is it an OpenAI server?")
    if not done:
        raise WorldError(f"the server broke an answer off after {chunks:,} pieces", "the server's log says why")
    if not first or chunks < 2:
        raise WorldError("the server streamed no text that could be timed", "a chat model, and --output-tokens 32 or more")
    return Answered(
        first_token_s=first - start,
        whole_s=last - start,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        answer_tokens=_count(usage.get("completion_tokens")) or chunks,
    )


def _text(choice: JsonObject) -> bool:
    """Whether a piece of a completion or of a chat holds text."""
    said = json_object(choice.get("delta"))
    return bool(choice.get("text") or said.get("content") or any(said.get(name) for name in REASONING))


def _events(response: httpx.Response) -> Iterator[JsonObject | None]:
    """The events of a stream; None at its end."""
    for line in _lines(response):
        if not line.startswith("data:"):
            continue
        if line[5:].strip() == "[DONE]":
            yield None
            return
        try:
            event = json.loads(line[5:])
        except (ValueError, RecursionError):
            raise WorldError(f"the server streams something else than JSON: {line[:80]}") from None
        if isinstance(event, dict):
            yield event


def _lines(response: httpx.Response) -> Iterator[str]:
    """Whole lines as they arrive; one without end is refused."""
    rest = ""
    for part in response.iter_text():
        *lines, rest = (rest + part).split("\n")
        yield from lines
        if len(rest) > MOST_LINE:
            raise WorldError("the server streams a line without end", "is --url an OpenAI server's address?")
    if rest:
        yield rest


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) and 0 < value < 1 << 40 else 0


def _prompt(tokens: int, seed: int) -> str:
    rng = random.Random(seed)  # noqa: S311 - words, not secrets
    words = WORDS.split()
    return " ".join(rng.choice(words) for _ in range(max(1, round(tokens / TOKENS_A_WORD))))


def served_models(client: httpx.Client) -> list[str]:
    """The models that the server names. Raises WorldError."""
    try:
        listed = client.get("/v1/models").json()
        names = [str(row["id"]) for row in listed["data"]]
    except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise WorldError(
            f"{_address(client)}: /v1/models is not answered ({type(error).__name__})", "does the server run, and is --url an OpenAI server's address?"
        ) from None
    if not names:
        raise WorldError(f"{_address(client)} serves no model", "load one, then ask again")
    return names


def chosen(served: Sequence[str], wanted: Sequence[str], named: str | None) -> str:
    """Which of the served models is asked: the named one, else the one that the plan is of. Raises PlannerError where none is."""
    if named is not None:
        if named not in served:
            raise PlannerError(f"the server has no model {named[:80]!r}", f"it serves {_some(served)}")
        return named
    keys = {_key(name) for name in wanted}
    if match := next((name for name in served if name in wanted or _key(name) in keys), None):
        return match
    raise PlannerError(f"the plan is of {wanted[0][:80]}, the server has {_some(served)}", "--served-name NAME measures another name of the same model")


def _address(client: httpx.Client) -> str:
    """Where a server is, without the password that an address may hold."""
    return str(client.base_url.copy_with(username=None, password=None)).rstrip("/")


def _some(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:5]) + (", …" if len(names) > 5 else "")


def _key(name: str) -> str:
    """What is left of a model's name whatever stands before it: a folder, a registry, an owner."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    return last.removesuffix(".gguf").removesuffix(":latest")


def bench(
    url: str, key: str | None, *, prompt: int, answer: int, points: Sequence[int], wanted: Sequence[str], named: str | None = None
) -> tuple[str, list[Point]]:
    """The model that was asked and what it showed at each number of users, after a warm-up. Raises WorldError and PlannerError."""
    if not url.startswith(("http://", "https://")):
        raise PlannerError(f"--url {url[:60]!r} is no address", "--url http://127.0.0.1:8000")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=max(points) + 1)
    try:
        client = httpx.Client(base_url=url.rstrip("/").removesuffix("/v1"), headers=headers, timeout=SILENCE_S, limits=limits, follow_redirects=False)
    except (httpx.InvalidURL, ValueError):  # the key is not told: a header that holds it may be what is wrong
        raise PlannerError(f"--url {url[:60]!r} or the key cannot be sent", "--url http://127.0.0.1:8000") from None
    with client:
        model = chosen(served_models(client), wanted, named)
        asking = Asking(client, model)
        asking.find_path(_prompt(prompt, 0))
        return model, [_at_once(asking, prompt, answer, users, 1000 * (1 + place)) for place, users in enumerate(points)]


def _at_once(asking: Asking, prompt: int, answer: int, users: int, seed: int) -> Point:
    """So many users, each of whom asks again as soon as the answer is there."""

    def one_after_another(number: int) -> list[Answered]:
        rounds = ALONE if users == 1 else ROUNDS
        return [asking.ask(_prompt(prompt, seed + number * rounds + turn), answer) for turn in range(rounds)]

    start = time.perf_counter()
    with ThreadPoolExecutor(users) as pool:
        replies = [reply for replies in pool.map(one_after_another, range(users)) for reply in replies]
    seconds = time.perf_counter() - start
    return Point(
        users=users,
        prompt_tokens=round(median(reply.prompt_tokens for reply in replies)) or prompt,
        answer_tokens=round(median(reply.answer_tokens for reply in replies)),
        first_token_s=median(reply.first_token_s for reply in replies),
        per_token_s=fmean(reply.per_token_s for reply in replies),
        tokens_per_s=sum(reply.answer_tokens for reply in replies) / seconds,
    )

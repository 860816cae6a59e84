#!/usr/bin/env bash
# Load for qwen3-vl:30b and qwen3-embedding:0.6b on 1x GeForce RTX 4090 with ollama, through the proxy; needs what setup.sh installs, nothing else.
#   ./bench.sh             1 at a time, prompts of about 2000 tokens
#   ./bench.sh full        the same with prompts that fill the context of 40960 tokens
#   ./bench.sh problems [FILE...]   five problems side by side, or those of files, a log each below experiments/
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH="${here}/.venv-litellm/bin:${PATH}"
: "${LITELLM_MASTER_KEY:?export the master key of the proxy first}"
export OPENAI_API_KEY="${LITELLM_MASTER_KEY}"
model=qwen3-vl-30b-a3b
proxy=${PLAN_BENCH_URL:-http://127.0.0.1:8080}

client() {
  python3 - "$@" <<'PYTHON'
"""Load on an OpenAI server, or problems side by side with a log each; any Python 3 of today runs it, with nothing installed.

Arguments: load URL MODEL USERS REQUESTS PROMPT_TOKENS ANSWER_TOKENS TIMEOUT TASK, or problems URL MODEL FOLDER MAX_TOKENS TIMEOUT [FILE...].
The key is read from OPENAI_API_KEY.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "was",
    "for",
    "on",
    "that",
    "with",
    "as",
    "at",
    "by",
    "it",
    "from",
    "his",
    "an",
    "were",
    "are",
    "which",
    "this",
    "also",
    "be",
    "had",
    "first",
    "one",
    "not",
    "but",
    "has",
    "who",
    "their",
    "after",
    "new",
]
WORDS_PER_TOKEN = 0.75  # fewer than any tokenizer of today makes of such words: the prompt fits
PROBLEMS = {
    "arithmetic": "A train leaves at 9:40 and travels 315 km at 126 km/h, waits 25 minutes, then returns at 105 km/h. When is it back? Show each step.",
    "code": "Write a Python function that merges overlapping intervals given as pairs, with type hints, and three assertions that test it.",
    "logic": "Five people sit in a row. Ann is left of Bob, Cem is at an end, Dee is next to Ann and not next to Eli, and Eli is right of Bob. Who sits where?",
    "biology": "A cell line loses a tumour suppressor and gains resistance to one drug. Propose three mechanisms, and an experiment that tells them apart.",
    "plan": "Plan in numbered steps how you would find duplicate records in a table of ten million patients without a common key, and check the result.",
}


class Seen(NamedTuple):
    """An answer: its text, tokens of the prompt and of it, seconds to the first and to the last of them."""

    text: str
    prompt: int
    answer: int
    first: float
    last: float


LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy of the network


def post(url: str, body: dict[str, object], timeout: float) -> Iterator[bytes]:
    """The lines of an answer."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}
    with LOCAL.open(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=timeout) as answer:  # noqa: S310 - the proxy
        yield from answer


def text_of(tokens: int) -> str:
    """A text of at most so many tokens, another each time, so that no cache answers."""
    return " ".join(random.choices(WORDS, k=max(1, int(tokens * WORDS_PER_TOKEN))))  # noqa: S311 - no secret


def chat(url: str, body: dict[str, object], timeout: float) -> Seen:
    """A streamed answer."""
    began, first, text = time.monotonic(), 0.0, ""
    usage: dict[str, int] = {}
    for line in post(f"{url}/v1/chat/completions", body | {"stream": True, "stream_options": {"include_usage": True}}, timeout):
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            part = (delta.get("reasoning_content") or delta.get("reasoning") or "") + (delta.get("content") or "")
            first = first or (time.monotonic() - began if part else 0.0)
            text += part
    last = time.monotonic() - began
    return Seen(text, usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, first or last, last)


def embed(url: str, model: str, tokens: int, timeout: float) -> Seen:
    """One text embedded."""
    began = time.monotonic()
    data = json.loads(b"".join(post(f"{url}/v1/embeddings", {"model": model, "input": [text_of(tokens)]}, timeout)))
    last = time.monotonic() - began
    return Seen("", (data.get("usage") or {}).get("prompt_tokens") or 0, 0, last, last)


def median(values: list[float]) -> float:
    """The middle of values."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0


def load(url: str, model: str, *numbers: str) -> int:
    """Requests by so many users at a time, and what each saw."""
    users, count, prompt, answer = map(int, numbers[:4])
    timeout, task = float(numbers[4]), numbers[5]

    def ask(_: int) -> Seen | str:
        try:
            if task == "embedding":
                return embed(url, model, prompt, timeout)
            return chat(url, {"model": model, "messages": [{"role": "user", "content": text_of(prompt)}], "max_tokens": answer}, timeout)
        except (OSError, ValueError) as error:
            return f"{error}" if not isinstance(error, urllib.error.HTTPError) else f"HTTP {error.code}: {error.read(300).decode('utf-8', 'replace')}"

    began = time.monotonic()
    with ThreadPoolExecutor(users) as pool:
        answers = list(pool.map(ask, range(count)))
    seconds = time.monotonic() - began
    good = [each for each in answers if isinstance(each, Seen)]
    for fault in sorted({each for each in answers if isinstance(each, str)}):
        print(f"failed: {' '.join(fault.split())}", file=sys.stderr)
    if good:
        made = sum(each.answer for each in good)
        print(f"{len(good)} of {count} requests, {users} at a time, {seconds:.1f} s")
        print(f"prompt tokens (median)       {median([each.prompt for each in good]):10.0f}")
        print(f"time to first token (median) {median([each.first for each in good]):10.2f} s")
        print(f"a request (median)           {median([each.last for each in good]):10.2f} s")
        if made:
            rates = [(max(0, each.answer - 1)) / (each.last - each.first) for each in good if each.last > each.first]
            print(f"tokens a second, one user    {median(rates):10.1f}")
            print(f"tokens a second, all         {made / seconds:10.1f}")
    return 0 if len(good) == count else 1


def problems(url: str, model: str, folder: str, *words: str) -> int:
    """All problems at once, each with a log of its own."""
    most, timeout, files = int(words[0]), float(words[1]), words[2:]
    asked = {Path(file).stem: Path(file).read_text("utf-8") for file in files} or PROBLEMS
    logs, failed, told = Path(folder), [], threading.Lock()
    logs.mkdir(parents=True, exist_ok=True)

    def solve(name: str) -> None:
        log = logs / f"{name}.log"
        log.write_text(f"{model}\n\n{asked[name]}\n\n", "utf-8")
        try:
            seen = chat(url, {"model": model, "messages": [{"role": "user", "content": asked[name]}], "max_tokens": most}, timeout)
            words = f"{seen.answer} tokens in {seen.last:.1f} s, the first after {seen.first:.1f} s"
            rest = seen.text
        except (OSError, ValueError) as error:
            words, rest = f"failed: {error}", ""
            failed.append(name)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{rest}\n\n{words}\n")
        with told:
            print(f"{name}: {words}: {log}", flush=True)

    with ThreadPoolExecutor(len(asked)) as pool:
        list(pool.map(solve, asked))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit((load if sys.argv[1] == "load" else problems)(*sys.argv[2:]))
PYTHON
}

case ${1:-load} in
  load)
    client load "${proxy}" "${model}" 1 4 2000 500 6000 chat
    ;;
  full)
    client load "${proxy}" "${model}" 1 4 39872 1024 6000 chat
    ;;
  problems)
    stamp=$(date +%Y%m%d-%H%M%S)
    client problems "${proxy}" "${model}" "${here}/experiments/parallel_benchmark_${model//[^A-Za-z0-9._-]/-}_${stamp}" 10240 6000 "${@:2}"
    ;;
  *)
    echo "usage: bench.sh [load | full | problems [FILE...]]" >&2
    exit 2
    ;;
esac

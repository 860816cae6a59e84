"""A recorded load: when each request came, tokens of its prompt and of its output. Read line by line from the files that people have.

- JSON lines with `timestamp` in milliseconds, `input_length`, `output_length`: Mooncake's traces, and what `vllm bench serve --dataset-name timed_trace`
  replays (vllm/benchmarks/datasets/datasets.py of 0.33);
- what `vllm bench serve --save-result --save-detailed` writes: one JSON object with `start_times` in seconds, `input_lens`, `output_lens`
  (vllm/benchmarks/serve.py of 0.33);
- CSV with a header: BurstGPT's (`Timestamp` in seconds, `Request tokens`, `Response tokens`) or Azure's (`TIMESTAMP` as a date, `ContextTokens`,
  `GeneratedTokens`).
"""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TextIO

from planner.errors import FileError, PlannerError
from planner.facts.record import dataclass
from planner.reader import open_file

MOST_REQUESTS, MOST_TOKENS = 2_000_000, 100_000_000
MOST_LINE, MOST_DETAILS = 1 << 20, 1 << 29  # bytes of a line, and of a file that must be read whole
_Row = tuple[object, object, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests in the order of arrival: seconds since the first, tokens."""

    arrivals_s: array[float]
    prompts: array[int]
    outputs: array[int]
    left_out: int
    """Requests without an output: failed ones, as such files hold them."""

    @property
    def longest(self) -> int:
        """Tokens of the longest request."""
        return max(prompt + output for prompt, output in zip(self.prompts, self.outputs, strict=True))

    @property
    def seconds(self) -> float:
        """From the first arrival to the last."""
        return self.arrivals_s[-1]


def read_trace(path: Path) -> Trace:
    """The requests of a file. Raises PlannerError with the line that cannot be one, or where the file cannot be read."""
    try:
        with TextIOWrapper(open_file(path), encoding="utf-8", newline="") as file:
            return _trace(_rows(path, file))
    except csv.Error as error:
        raise PlannerError(f"{path} is no CSV that is read here ({error})") from None
    except UnicodeDecodeError:
        raise PlannerError(f"{path} is no text", "a trace is JSON lines, CSV, or a benchmark's --save-detailed result") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from None


def _trace(rows: Iterable[tuple[str, _Row]]) -> Trace:
    arrivals, prompts, outputs, left_out = array("d"), array("q"), array("q"), 0
    start = before = 0.0
    for place, (came, prompt, output) in rows:
        now = _seconds(place, came)
        if not arrivals and not left_out:
            start = before = now
        if now < before:
            raise PlannerError(f"{place}: arrives {before - now:g} s before the request above it", "sort the trace by its timestamps")
        before = now
        answered = _tokens(place, "output", output, least=0)
        asked = _tokens(place, "prompt", prompt, least=1)
        if not answered:
            left_out += 1
            continue
        if len(arrivals) == MOST_REQUESTS:
            raise PlannerError(f"the trace holds more than {MOST_REQUESTS:,} requests", f"take a part of it: head -n {MOST_REQUESTS}")
        arrivals.append(now - start)
        prompts.append(asked)
        outputs.append(answered)
    if not arrivals:
        raise PlannerError("the trace holds no request with an output")
    return Trace(arrivals_s=arrivals, prompts=prompts, outputs=outputs, left_out=left_out)


def _rows(path: Path, file: TextIO) -> Iterator[tuple[str, _Row]]:
    """Where each request stands, and its arrival in seconds, prompt and output as they are written there."""
    lines = _lines(path, file)
    place, first = next(((place, line) for place, line in lines if line.strip()), ("", ""))
    if not first:
        raise PlannerError(f"{path} is empty")
    if not first.lstrip().startswith("{"):
        yield from _table(path, first, lines)
        return
    try:
        detailed = "start_times" in json.loads(first)
    except (ValueError, RecursionError):
        detailed = True  # an object over several lines
    if detailed:
        yield from _details(path, file)
        return
    for where, line in chain([(place, first)], lines):
        if line.strip():
            yield where, _json_line(where, line)


def _lines(path: Path, file: TextIO) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(iter(partial(file.readline, MOST_LINE), ""), 1):
        if len(line) == MOST_LINE and path.stat().st_size > MOST_DETAILS:
            raise PlannerError(f"{path} line {number} is longer than {MOST_LINE:,} letters")
        yield f"{path} line {number}", line


def _json_line(place: str, line: str) -> _Row:
    try:
        row = json.loads(line)
        return row["timestamp"] / 1000, row["input_length"], row["output_length"]
    except KeyError as error:
        raise PlannerError(f"{place}: {error.args[0]} is missing", 'a line is like {"timestamp": 0, "input_length": 2000, "output_length": 500}') from None
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise PlannerError(f"{place} is no request: {line.strip()[:60]}") from None


def _details(path: Path, file: TextIO) -> Iterator[tuple[str, _Row]]:
    """What vllm bench saved, by start: it lists requests as they were sent, each with its own clock's time."""
    if path.stat().st_size > MOST_DETAILS:
        raise PlannerError(f"{path} is larger than {MOST_DETAILS >> 20} MiB", "leave its generated_texts out, or write JSON lines")
    file.seek(0)
    try:
        saved = json.load(file)
        columns = [saved[name] for name in ("start_times", "input_lens", "output_lens")]
        rows = sorted(zip(*columns, strict=True))
    except KeyError as error:
        raise PlannerError(f"{path}: {error.args[0]} is missing", "--save-result --save-detailed writes it") from None
    except (ValueError, TypeError, RecursionError):
        raise PlannerError(f"{path} is neither JSON lines nor a benchmark's --save-detailed result") from None
    for number, row in enumerate(rows, 1):
        yield f"{path} request {number}", row


def _date(text: str) -> float:
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


_TABLES: Mapping[tuple[str, str, str], Callable[[str], float]] = {
    ("Timestamp", "Request tokens", "Response tokens"): float,
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens"): _date,
}


def _table(path: Path, header: str, lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, _Row]]:
    names = next(csv.reader([header]))
    known = next((columns for columns in _TABLES if set(columns) <= set(names)), None)
    if known is None:
        heads = " or ".join(",".join(columns) for columns in _TABLES)
        raise PlannerError(f"{path} begins with no header that is known: {header.strip()[:60]}", f"JSON lines, or CSV with {heads}")
    places, clock = [names.index(name) for name in known], _TABLES[known]
    for where, line in lines:
        if not line.strip():
            continue
        cells = next(csv.reader([line]))
        if len(cells) <= max(places):
            raise PlannerError(f"{where} has {len(cells)} columns; the header has {len(names)}")
        came, prompt, output = (cells[place] for place in places)
        try:
            yield where, (clock(came), prompt, output)
        except ValueError:
            raise PlannerError(f"{where}: {came[:40]!r} is no time") from None


def _seconds(place: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
        return float(value)
    raise PlannerError(f"{place}: {str(value)[:40]!r} is no time")


def _tokens(place: str, what: str, value: object, *, least: int) -> int:
    try:
        number = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else -1
    except ValueError:
        number = -1
    if not least <= number <= MOST_TOKENS:
        raise PlannerError(f"{place}: {str(value)[:40]!r} is no number of {what} tokens")
    return number

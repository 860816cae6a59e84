"""Tables at the width of a real terminal: no line is wider, nothing is cut, every value and every word to type is there whole."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from planner.report.chart import scatter
from planner.report.table import Column, Fitted, Row, Typed
from planner.report.text import Piece
from tests.conftest import run_plan

ROOT = Path(__file__).parents[2]
WIDER = (100, 120, 200)  # tried where tables are widest; what a width does to any table is tried below


def in_terminal(*arguments: str, width: int, cwd: Path) -> str:
    """What the command prints to a terminal of so many columns, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    env = kept | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    process = subprocess.Popen([sys.executable, "-m", "planner", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=env, close_fds=True)
    os.close(theirs)
    read = b"".join(_chunks(ours))
    os.close(ours)
    assert process.wait() in (0, 1), read.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read.decode()).replace("\r\n", "\n")


def _chunks(ours: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # Linux says so where the other end is closed
            return
        if not chunk:
            return
        yield chunk


def lines_fit(text: str, width: int) -> None:
    for line in text.splitlines():
        assert cell_len(line) <= width, (width, line)
    assert "…" not in text


def whole(values: Iterator[str], text: str) -> None:
    """Each value stands there; one of several words may go on in the next line, a word never; behind words to type a backslash says so."""
    flat = " ".join(text.replace(" \\\n", "\n").split())
    for value in values:
        assert " ".join(value.split()) in flat, value


def money(amount: float) -> str:
    return f"${amount:,.0f}" if amount >= 100 else f"${amount:.2f}"


def rounded(count: float) -> str:
    return f"{count:,.0f}" if count >= 100 or count == int(count) else f"{count:.1f}"


def _choose(answer: dict) -> Iterator[str]:
    for one in answer["models"]:
        yield from (one["command"], f"{one['context']:,}", one["model"], rounded(one["at_once"]), one["settings"])
        yield from [f"{one['tokens_per_s']:,g}"] if one["tokens_per_s"] else []


def _machines(answer: dict) -> Iterator[str]:
    for one in answer["machines"]:
        yield from (f"{one['count']}x {one['gpu']}", one["command"], rounded(one["at_once"]))
        yield from (money(one[key]) for key in ("rent_usd_per_hour", "buy_usd") if one[key] is not None)
        yield from [f"{one['speed']['tokens_per_s']['expected']:g}"] if one["speed"] else []


def _front(answer: dict) -> Iterator[str]:
    for one in answer["front"][:30]:
        yield from (f"{one['count']}x {one['gpu']}", one["model"], f"{one['context']:,}", str(one["users"]), f"${one['usd_per_hour']:.2f}")


def _capacity(answer: dict) -> Iterator[str]:
    for one in answer["options"]:
        yield from (str(one["expected"]["users"]), f"{one['expected']['requests_per_s']:g}", one["expected"]["bound_by"], f"{one['gpus']}")


def _plan(answer: dict) -> Iterator[str]:
    yield from (answer["model"]["id"], answer["headline"])
    yield from (
        f"{answer['settings'][name]}" for name in answer["reasons"] if name in answer["settings"] and answer["verdict"] not in ("does_not_start", "unlikely")
    )
    yield from (one.get("command") or one["arguments"] for one in answer["alternatives"])
    yield from (one["change"] for one in answer["alternatives"])
    yield from (warning["message"] for warning in answer["warnings"])
    yield from (one["name"] for one in answer["services"] if len(answer["services"]) > 1)
    if answer["verdict"] not in ("does_not_start", "unlikely"):
        yield f"{answer['memory']['weights_bytes'] / 1024**3:.2f}"
        yield f"{answer['memory']['kv_cache_bytes'] / 1024**3:.2f}"


def _check(answer: dict) -> Iterator[str]:
    yield from (answer["model"]["id"], f"{answer['memory']['weights_bytes'] / 1024**3:.2f}")
    yield from (one["arguments"] for one in answer["alternatives"])
    yield from (warning["message"] for warning in answer["warnings"])


def _compare(answer: dict) -> Iterator[str]:
    for one in answer.get("comparisons", [answer]):
        for row in one["runtimes"]:
            yield from (
                row["engine"],
                f"{row['bits']} bits" if row["quantization"] in ("", "16-bit") else row["quantization"],
                f"{row['context']:,}" if row["verdict"] == "starts" else row["refusal"],
            )
        for best in one["best"]:
            yield from best["commands"][:1] if len(best["commands"]) == 1 else ()


QUESTIONS = {
    "choose": (("--gpu", "rtx4090", "--count", "2"), _choose),
    "choose for agents": (("--gpu", "rtx3060", "--for", "agent", "--top", "0"), _choose),
    "choose on a Mac": (("--gpu", "m4-max-128gb"), _choose),
    "machines": (("--model", "qwen3-vl-32b", "--context", "128k", "--users", "10"), _machines),
    "front": (("front", "--model", "qwen3-32b"), _front),
    "compare": (("compare", "--gpu", "rtx4090", "--count", "1,2", "--model", "qwen3-14b"), _compare),
    "compare on a Mac": (("compare", "--gpu", "m4-max-64gb", "--model", "qwen3-vl-32b"), _compare),
    "capacity": (("capacity", "--gpu", "h100", "--count", "2", "--model", "qwen3-32b-fp8"), _capacity),
    "plan": (("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--users", "20", "--context", "64k", "--dry-run"), _plan),
    "plan, failing": (("--gpu", "rtx4090", "--model", "qwen3-32b", "--dry-run"), _plan),
    "several servers": (("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--with", "qwen3-embedding-0.6b", "--dry-run"), _plan),
    "Ollama": (("--gpu", "rtx3060", "--model", "qwen3-32b", "--engine", "ollama", "--dry-run"), _plan),
    "check": (("check", "vllm serve Qwen/Qwen3-32B-AWQ --max-model-len 16384", "--gpu", "rtx4090"), _check),
    "check, failing": (("check", "vllm serve Qwen/Qwen3-8B --max-model-len 40960", "--gpu", "rtx4090"), _check),
}


LONG = ("choose", "choose for agents", "choose on a Mac", "compare")  # seconds each; the others have the same tables


@cache
def answer_of(name: str, folder: Path) -> dict:
    return json.loads(run_plan(*QUESTIONS[name][0], "--format", "json", cwd=folder).stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize(
    ("name", "width"),
    [
        *(pytest.param(name, 80, marks=pytest.mark.slow if name in LONG else ()) for name in QUESTIONS),
        *(pytest.param(name, width, marks=pytest.mark.slow) for name in ("choose", "machines") for width in WIDER),
    ],
)
def test_a_table_fits_the_terminal_and_loses_nothing(name, width, folder):
    arguments, values = QUESTIONS[name]
    text = in_terminal(*arguments, width=width, cwd=folder)
    lines_fit(
        "\n".join(line for line in text.splitlines() if "vllm serve" not in line and "ollama serve" not in line), width
    )  # a command is one line, to be copied
    whole(values(answer_of(name, folder)), text)


NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=30)
WORDS = st.lists(NAMES, max_size=12).map(" ".join)


@given(st.data(), st.integers(40, 200))
def test_no_table_loses_a_value_at_any_width(data, width):
    count = data.draw(st.integers(1, 9))
    columns = [Column(data.draw(NAMES), data.draw(st.integers(0, 5)), is_left=data.draw(st.booleans())) for _ in range(count)]
    columns[0] = Column(columns[0].name, 0)
    rows = [Row([data.draw(NAMES), *(data.draw(WORDS) for _ in columns[1:])], [data.draw(WORDS)]) for _ in range(data.draw(st.integers(1, 4)))]
    text = text_of(Fitted(columns, rows), width)
    longest = max(cell_len(word) for row in rows for cell in (*row.cells, *row.below, *(column.name for column in columns)) for word in cell.split(" "))
    if longest + 4 + max(cell_len(column.name) for column in columns) < width:
        lines_fit(text, width)
    whole((cell for row in rows for cell in (*row.cells, *row.below)), text)


def text_of(piece: Piece, width: int) -> str:
    return "".join(f"{line.plain}\n" for line in piece.lines(width))


POSITIVE = st.floats(0.01, 1e6)


@given(st.lists(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=20), min_size=1, max_size=5), st.integers(40, 200))
def test_a_chart_takes_the_width_there_is(series, width):
    drawn = scatter([(f"series {number}", points) for number, points in enumerate(series)], x_label="dollars", y_label="users", width=width)
    assert all(len(line) <= width for line in drawn.splitlines())
    assert "10^" not in drawn
    for number in range(len(series)):
        assert f"series {number}" in drawn


@settings(max_examples=60)
@given(
    words=st.lists(
        st.sampled_from(["plan", "--gpu", "rtx4090", "--users", "20", "--no-enforce-eager", "-tp", "'a b'", "--with", "qwen3-embedding-0.6b:context=8k"])
    ),
    width=st.integers(40, 130),
)
def test_words_to_type_can_be_pasted_at_any_width(words, width):
    text = text_of(Typed(" ".join(["plan", *words])), width)
    lines_fit(text, width)
    said = subprocess.run(["sh", "-c", f"set -- {text.strip()}\nprintf '%s\\n' \"$@\""], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == shlex.split(" ".join(["plan", *words]))


def test_a_change_that_needs_two_lines_is_one_command(tmp_path):
    question = "--gpu rtx4090 --count 2 --model qwen3-vl-32b-awq --context 80k --with qwen3-embedding-0.6b --users 3"
    text = in_terminal(*question.split(), "--dry-run", width=80, cwd=tmp_path)
    wanted = [one["command"] for one in json.loads(run_plan(*question.split(), "--dry-run", "--json", cwd=tmp_path).stdout)["alternatives"]]
    typed = re.sub(r" \\\n +", " ", text)
    assert wanted
    assert all(f"    {command}\n" in typed for command in wanted)


@pytest.mark.parametrize("name", ["plan", pytest.param("choose on a Mac", marks=pytest.mark.slow), "check, failing"])
def test_a_terminal_gets_the_lines_of_a_pipe(name, tmp_path):
    """One layout: Rich paints the lines and changes none."""
    piped = run_plan(*QUESTIONS[name][0], cwd=tmp_path).stdout
    painted = run_plan(*QUESTIONS[name][0], cwd=tmp_path, FORCE_COLOR="1", TERM="xterm-256color").stdout
    assert "\x1b[" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == piped

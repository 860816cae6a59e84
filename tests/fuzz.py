"""Every reader of what strangers wrote, with inputs bent from the findings of `hostile.CASES`: none may raise anything but PlannerError, or take long.

    python -m tests.fuzz --seconds 600 [--reader gguf] [--seed 7]

An input that breaks one is kept in build/fuzz/, which later runs start from too; those of earlier runs lie in tests/data/fuzz/.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hostile import CASES

from planner.catalogue import resolve
from planner.catalogue.prices import read_prices
from planner.errors import PlannerError
from planner.questions.check import check, chosen, group_for
from planner.questions.check_proxy import check_proxy
from planner.questions.explain import explain_log
from planner.questions.find_commands import find_commands
from planner.questions.plan_file import read_deployment
from planner.questions.stack_file import read_stack
from planner.questions.trace import read_trace
from planner.reader import lines_of

KEPT = Path(__file__).parents[1] / "build" / "fuzz"
SAVED = Path(__file__).parent / "data" / "fuzz"  # what broke a reader once, and what it was bent from
SECONDS = 5.0  # of one input
MOST_BYTES = 20_000  # of an input: what is long is tried in CASES
PLANS = sorted((Path(__file__).parents[1] / "outputs").rglob("plan.json"))[:3]
NUMBERS = [
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 30,
    b"9" * 401,
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"0.1",
    b"\xff",
    b"\x00",
    b"\x1b",
    "\u202e".encode(),
    "²".encode(),
]


def _folder(name: str) -> Callable[[bytes, Path], object]:
    def read(data: bytes, place: Path) -> object:
        (place / "config.json").write_text(CASES["checkpoint-one-of-17"].files["m/config.json"])
        (place / name).write_bytes(data)
        return resolve.find_source(str(place))

    return read


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def write_and_read(data: bytes, place: Path) -> object:
        (place / name).write_bytes(data)
        return read(place / name)

    return write_and_read


def _script(data: bytes, _: Path) -> None:
    text = data.decode(errors="replace")
    commands = find_commands(text)
    if commands:
        command = chosen(commands, 1)
        check(command, group_for(command, "rtx4090", 1, "server"))


def _proxy(data: bytes, _: Path) -> None:
    check_proxy(data.decode(errors="replace"))


def _log(data: bytes, _: Path) -> None:
    lines = iter(data.decode(errors="replace").splitlines(keepends=True))
    explain_log(lines_of(lambda most: next(lines, "")[:most], 20_000), gpu="rtx4090")


def _llama(path: Path) -> object:
    from planner.engines.llamacpp.stored import from_header

    return from_header(resolve.read_gguf(path), "m")


READERS: dict[str, Callable[[bytes, Path], object]] = {
    "config": _folder("config.json"),
    "hf_quant": _folder("hf_quant_config.json"),
    "index": _folder("model.safetensors.index.json"),
    "safetensors": _folder("model.safetensors"),
    "gguf": _file("m.gguf", _llama),
    "stack": _file("s.yaml", read_stack),
    "prices": _file("p.yaml", read_prices),
    "plan": _file("plan.json", read_deployment),
    "trace": _file("t.jsonl", read_trace),
    "script": _script,
    "proxy": _proxy,
    "log": _log,
}
ENDS = {  # which files of CASES a reader starts from
    "config": "config.json",
    "hf_quant": "config.json",
    "index": "index.json",
    "safetensors": "model.safetensors",
    "gguf": ".gguf",
    "stack": "s.yaml",
    "prices": "p.yaml",
    "script": ("s.sh", "c.yaml"),
    "proxy": "c.yaml",
    "log": "l.log",
}
OWN = {
    "stack": b"gpu: rtx4090\ncount: 2\nservices:\n  - model: qwen3-8b\n    context: 32k\n",
    "prices": b"prices:\n  - {gpu: rtx4090, buy: 1800, date: 2026-01-01, source: here}\n",
    "index": b'{"weight_map": {"a": "model.safetensors"}}',
    "trace": b'{"timestamp": 0, "input_length": 10, "output_length": 5}\n{"timestamp": 9, "input_length": 10, "output_length": 5}\n',
    "hf_quant": b'{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}',
    "script": b"export A=1\nvllm serve qwen3-8b --max-model-len 8192 --kv-cache-dtype fp8 -tp 1 && llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -c 8192\n",
}


def seeds(reader: str) -> list[bytes]:
    """Inputs to begin with: the findings, a good one, what broke it before."""
    found = []
    for case in CASES.values():
        for name, content in case.files.items():
            if reader in ENDS and name.endswith(ENDS[reader]) and isinstance(content, str | bytes):
                found.append((content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))[:MOST_BYTES])
    found += [path.read_bytes() for path in PLANS] if reader == "plan" else []
    return [*found, *filter(None, [OWN.get(reader)]), *(path.read_bytes() for place in (SAVED, KEPT) for path in sorted(place.glob(f"{reader}-*")))]


def bent(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """An input with a few changes: bytes, cuts, doublings, numbers of another kind, a piece of another input."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(7)
        if kind == 0 and changed:
            changed[min(at, len(changed) - 1)] = chance.randrange(256)
        elif kind == 1:
            del changed[at : at + chance.choice((1, 2, 8, 100))]
        elif kind == 2:
            changed[at:at] = chance.choice(NUMBERS)
        elif kind == 3:
            end = at + chance.choice((1, 4, 20))
            changed[at:at] = changed[at:end] * chance.choice((2, 20))
        elif kind == 4:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            changed[at:at] = other[start : start + chance.choice((4, 40, 400))]
        elif kind == 5:
            digits = next((place for place in range(at, min(at + 200, len(changed))) if 48 <= changed[place] <= 57), None)
            if digits is not None:
                end = digits
                while end < len(changed) and 48 <= changed[end] <= 57:
                    end += 1
                changed[digits:end] = chance.choice(NUMBERS)
        else:
            changed[at : at + 8] = (
                chance.randrange(1 << 64).to_bytes(8, "little") if chance.random() < 0.5 else chance.choice((0, 1, 255)).to_bytes(8, "little")
            )
    return bytes(changed[: 2 * MOST_BYTES])


@dataclass(frozen=True, slots=True)
class Broken:
    """An input that breaks a reader, and how."""

    reader: str
    data: bytes
    why: str


def tried(reader: str, data: bytes, place: Path) -> Broken | None:
    """One input: what is wrong with how it ended."""
    before = time.process_time()
    try:
        READERS[reader](data, place)
    except PlannerError:
        pass
    except Exception:
        return Broken(reader, data, traceback.format_exc())
    spent = time.process_time() - before
    return Broken(reader, data, f"{spent:.1f} s") if spent > SECONDS else None


def fuzz(reader: str, seconds: float = float("inf"), seed: int = 0, *, most: float = float("inf")) -> Iterator[Broken]:
    """Inputs that break a reader, for so many seconds of processor time or so many inputs; each way once. A seed gives the same inputs everywhere."""
    chance, start = random.Random(f"{reader}-{seed}"), seeds(reader)
    end, known = time.process_time() + seconds, set()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        count = 0
        while time.process_time() < end and count < most:
            data = start[count] if count < len(start) else bent(chance.choice(start), start, chance)
            count += 1
            if (broken := tried(reader, data, Path(name))) and (way := "\n".join(broken.why.splitlines()[-3:-1])) not in known:
                known.add(way)
                yield broken


def main() -> int:
    """Fuzz each reader for so many seconds; keep what breaks one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reader", choices=READERS, action="append")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    count = 0
    for reader in asked.reader or READERS:
        for broken in fuzz(reader, asked.seconds, asked.seed):
            count += 1
            KEPT.mkdir(parents=True, exist_ok=True)
            path = KEPT / f"{reader}-{asked.seed}-{count}"
            path.write_bytes(broken.data)
            print(f"{path}\n{broken.why}", flush=True)
        print(f"{reader}: done (seed {asked.seed})", flush=True)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())

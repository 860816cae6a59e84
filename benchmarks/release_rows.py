"""Frozen answers of vLLM asked anew of another release: commands, weights and plans. `benchmarks.release` prints what differs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.engines.vllm.versions import DEFAULT_VERSION

if TYPE_CHECKING:
    from benchmarks.release import Release

DATA = Path(__file__).parent.parent / "tests" / "data"
COMPARED = ("weight_bytes", "block_bytes", "needed_bytes", "blocks", "tokens")
TOLD = 20  # differences of a kind that are listed
Row = dict[str, Any]


def frozen(name: str) -> list[Row]:
    """The rows of a file."""
    return [json.loads(line) for line in (DATA / f"vllm_{DEFAULT_VERSION}_{name}.jsonl").read_text().splitlines()]


def commands(asked: Release) -> Iterator[str]:
    """Commands that the newest known release takes and this one refuses, or the other way round."""
    rows = [row for row in frozen("commands") if not any("nosuch" in word for word in row["words"])]
    answers = asked.ask("h100", [{"argv": ["vllm", "serve", *row["words"]]} for row in rows])
    apart = [(row, answer) for row, answer in zip(rows, answers, strict=True) if row["taken"] != answer["valid"]]
    yield f"- {len(rows)} commands; {len(rows) - len(apart)} are judged as by vLLM {DEFAULT_VERSION}"
    for row, answer in apart[:TOLD]:
        yield f"- `{' '.join(row['words'])}`: {answer.get('error', 'is taken')}"


def recipes(asked: Release) -> Iterator[str]:
    """Official commands that its parser refuses (github.com/vllm-project/recipes)."""
    lines = (DATA / "vllm_recipes_commands.jsonl").read_text().splitlines()
    told = {json.dumps(row["argv"]): row["recipe"] for row in map(json.loads, lines)}
    answers = asked.ask("h100", [{"argv": json.loads(words)} for words in told])
    refused = Counter((told[words], answer["error"][:200]) for words, answer in zip(told, answers, strict=True) if not answer["valid"])
    yield f"- {len(told)} commands; {sum(refused.values())} are refused"
    yield from (f"- {recipe} ({number}): {error}" for (recipe, error), number in sorted(refused.items()))


def questions(name: str, *, every_row: bool) -> Iterator[tuple[str, int, Row, Row]]:
    """GPU, number of GPUs, question and frozen answer of each row of a file, or of each model's first."""
    asked: set[str] = set()
    for row in frozen(name):
        if not every_row and row["model"] in asked:
            continue
        asked.add(row["model"])
        stem = DATA / "configs" / row["model"].replace("/", "--")
        quantization = stem.with_name(f"{stem.name}.hf_quant.json")
        tp, pp = row.get("tp", 1), row.get("pp", 1)
        words = ["vllm", "serve", "x", "-tp", str(tp), "-pp", str(pp), *(["--enable-expert-parallel"] if row.get("ep") else [])]
        words += ["--kv-cache-dtype", row.get("kv_cache_dtype", "auto"), "--max-model-len", str(row.get("max_model_len", 512))]
        question = {
            "config": json.loads(stem.with_name(f"{stem.name}.json").read_text()),
            "hf_quant": json.loads(quantization.read_text()) if quantization.exists() else None,
            "argv": words,
            "plan": True,
            "available_bytes": row.get("available_bytes", 20 * 2**30),
            "stage": row.get("stage", 0),
        }
        yield row.get("gpu", "h100"), tp * pp, question, row


def rows(asked: Release) -> Iterator[str]:
    """Weights, blocks and plans that differ from those that are frozen, and what this release cannot build."""
    for name in ("judged", "weights", "encoders"):
        groups: dict[tuple[str, int], list[tuple[Row, Row]]] = defaultdict(list)
        for gpu, count, question, row in questions(name, every_row=asked.every_row):
            groups[gpu, count].append((question, row))
        equal, apart, refused = 0, [], Counter()
        for (gpu, count), pairs in groups.items():
            for (question, row), answer in zip(pairs, asked.ask(gpu, [question for question, _ in pairs], count), strict=True):
                if not answer["valid"]:
                    refused[f"{row['model']}: {answer['error'][:160]}"] += 1
                    continue
                differing = [key for key in COMPARED if key in row and row[key] != answer.get(key)]
                equal += not differing
                if differing:
                    words = " ".join(question["argv"][3:])
                    apart.append(f"{row['model']} `{words}`: " + ", ".join(f"{key} {answer.get(key)} (frozen {row[key]})" for key in differing))
        yield f"- {name}: {equal} equal, {len(apart)} differ, {sum(refused.values())} are not built"
        yield from (f"  - {line}" for line in apart[:TOLD])
        yield from (f"  - not built ({number}): {line}" for line, number in refused.most_common(TOLD))

"""What a running server showed beside what was predicted: for the terminal, as JSON, and as rows of the speed table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from planner.engines import ENGINES, first_engine
from planner.facts.hardware import Calibrated
from planner.facts.speed import NoSpeed, Point, significant
from planner.report.head import HEAD
from planner.report.table import Column, Fitted, Row
from planner.report.text import Piece, Text
from planner.units import tokens

if TYPE_CHECKING:
    from planner.questions.experiment import Compared, Experiment, Held
    from planner.report.listings import BenchJson, BenchPointJson, BenchRowJson

# The columns in which speeds that others published are collected.
TABLE: Sequence[str] = (  # noqa: SIM905 - as the file begins
    "id,source,gpu,engine,model,quant,count,tp,concurrency,input_len,output_len,stat,version,kv_dtype,interconnect,ttft_ms,tpot_ms,ep,note,aic_id,precision,"
    "batch_size,output_tok_s,itl_ms,enforce_eager,power_limit_w,instances,total_tok_s,num_prompts,dp,request_rate,concurrency_kind,implied_concurrency,"
    "median_ttft_ms,req_s,section,hw,pp,spec_decode,median_tpot_ms,cmd,prefill_tok_s,suspect,e2e_ms,reported_speed_tok_s,decode_only,gen_only,split,prefill_only,"
    "dataset,mem_gb,suspect_prefill,decode_tok_s,sec_per_question,time_s,mem_delta_gb,max_num_seqs"
).split(",")
_NAMES = {"ttft_s": "TTFT", "tpot_s": "TPOT", "output_tokens_per_s": "together"}


def row_of(experiment: Experiment, point: Point) -> BenchRowJson:
    """A measurement as the table has them; of a model or a card that the catalogue does not have only what kind it is."""
    plan, settings = experiment.plan, dict(experiment.plan.settings)
    engine = ENGINES[plan.engine]
    own = "gguf-" if engine.reads_gguf else "" if engine is first_engine() else f"{engine.name}-"
    return {
        "id": f"bench-{point.users}",
        "source": "plan bench",
        "gpu": experiment.public_gpu,
        "engine": plan.service.engine,
        "model": experiment.public_model,
        "quant": own + (plan.model.quantization or "bf16").lower(),
        "count": plan.group.count,
        "tp": int(settings.get("tensor_parallel_size") or 1),
        "concurrency": point.users,
        "input_len": point.prompt_tokens,
        "output_len": point.answer_tokens,
        "version": plan.version,
        "kv_dtype": str(next((settings[name] for name in ("kv_cache_dtype", "kv_cache_type", "kv_bits") if name in settings), "")),
        "ttft_ms": round(point.first_token_s * 1000, 1),
        "tpot_ms": round(point.per_token_s * 1000, 2),
        "output_tok_s": round(point.tokens_per_s, 1),
    }


def table_text(experiment: Experiment, *, head: bool = True) -> str:
    """The measurements as lines of the table, with its head where it begins one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, TABLE, restval="", lineterminator="\n")
    if head:
        writer.writeheader()
    settings = dict(experiment.plan.settings)
    for compared in experiment.compared:
        beside = {
            "stat": "mean",
            "concurrency_kind": "max-concurrency",
            "pp": settings.get("pipeline_parallel_size", ""),
            "dp": settings.get("data_parallel_size", ""),
        }
        beside |= {"enforce_eager": settings.get("enforce_eager", ""), "max_num_seqs": settings.get("max_num_seqs", "")}
        writer.writerow(row_of(experiment, compared.point) | beside)
    return text.getvalue()


def bench_json(experiment: Experiment, *, is_kept: bool) -> BenchJson:
    """The JSON object of `plan bench`."""
    first, last, kept = experiment.compared[0], experiment.compared[-1], experiment.kept
    return {
        **HEAD,
        "alone": row_of(experiment, first.point),
        "together": row_of(experiment, last.point),
        "points": [_point(experiment, compared) for compared in experiment.compared],
        "measured_over_predicted": (kept.step, kept.first_token) if isinstance(kept, Calibrated) else None,
        "speed_reason": kept.reason if isinstance(kept, NoSpeed) else None,
        "kept": is_kept,
    }


def _point(experiment: Experiment, compared: Compared) -> BenchPointJson:
    return {
        "measured": row_of(experiment, compared.point),
        "predictions": [
            {"metric": held.metric, "measured": held.measured, "low": held.low, "expected": held.expected, "high": held.high, "inside": held.inside, "off": held.off}
            for held in compared.predictions
        ],
        "speed_reason": compared.speed.reason if isinstance(compared.speed, NoSpeed) else None,
    }  # fmt: skip


_COLUMNS = (
    Column("concurrency"),
    Column("", is_left=True),
    Column("measured"),
    Column("predicted", 1, is_left=True),
    Column("holds", is_left=True),
)


def render(experiment: Experiment) -> list[Piece]:
    """The report: each number of users with what was measured and predicted, and how many predictions hold."""
    plan, first = experiment.plan, experiment.compared[0].point
    predictions = [held for compared in experiment.compared for held in compared.predictions]
    pieces: list[Piece] = [
        Text().append(plan.model.id, "bold").append(f" {plan.where}; the server was asked for {experiment.served}"),
        Text(f"Prompts of {tokens(first.prompt_tokens)} and answers of {tokens(first.answer_tokens)} tokens; each user asks again when the answer is there."),
        Text(),
        Fitted(_COLUMNS, [row for compared in experiment.compared for row in _rows(compared)]),
        Text(),
    ]
    if predictions:
        inside = sum(held.inside for held in predictions)
        is_good = inside >= 0.8 * len(predictions)
        pieces.append(
            Text(f"{inside} of {len(predictions)} predictions hold: they are within their intervals of 80 %.", "bold green" if is_good else "bold yellow")
        )
    reasons = dict.fromkeys(compared.speed.reason for compared in experiment.compared if isinstance(compared.speed, NoSpeed))
    return [*pieces, *(Text(f"Nothing is predicted: {reason} (docs/speed.md).", "yellow") for reason in reasons)]


def _rows(compared: Compared) -> Iterator[Row]:
    point, by_name = compared.point, {str(held.metric): held for held in compared.predictions}
    seen = {"ttft_s": point.first_token_s, "tpot_s": point.per_token_s, "output_tokens_per_s": point.tokens_per_s}
    for place, (metric, value) in enumerate(seen.items()):
        held = by_name.get(metric)
        users = f"{point.users}" if not place else ""
        yield Row((users, _NAMES[metric], _figure(metric, value), _ends(held) if held else "", _word(held) if held else ""))


def _figure(metric: str, value: float) -> str:
    if metric == "output_tokens_per_s":
        return f"{significant(value):g} tokens/s"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def _ends(held: Held) -> str:
    return f"{_figure(held.metric, held.expected)} ({_figure(held.metric, held.low)} to {_figure(held.metric, held.high)})"


def _word(held: Held) -> str:
    return f"{'yes' if held.inside else 'NO'}, {abs(held.off):.0%} {'more' if held.off >= 0 else 'less'}"

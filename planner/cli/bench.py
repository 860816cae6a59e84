"""`plan bench`: a minute's measurement of a running server, beside what was predicted; it calibrates this machine."""

from __future__ import annotations

import csv
import io
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from planner.cli.command import command, option, output_options
from planner.cli.options import question, read_machine
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json
from planner.cli.values import BenchValues, values_of
from planner.engines import first_engine
from planner.errors import PlannerError, require
from planner.report.head import HEAD

if TYPE_CHECKING:
    from planner.engines.vllm.plan import Plan
    from planner.facts.speed import NoSpeed
    from planner.machine.bench import Benched

KEY = "OPENAI_API_KEY"
COLUMNS = (
    "id", "source", "gpu", "engine", "model", "quant", "count", "tp", "concurrency", "input_len", "output_len", "version", "kv_dtype", "ttft_ms", "tpot_ms", "output_tok_s",
)  # fmt: skip


@command("bench")
@question(vllm_only=True, without=("users", "kv_cache_memory_bytes", "skip_mm_profiling"))
@option("--url", default="http://127.0.0.1:8000", show_default=True, help=f"The server's address; a key is taken from {KEY}.")
@option("--input", "prompt", default=2000, show_default=True, type=click.IntRange(16, 100_000), help="Tokens of a prompt, about.")
@option("--answer", default=200, show_default=True, type=click.IntRange(16, 10_000), help="Tokens of an answer.")
@option("--at-once", default=8, show_default=True, type=click.IntRange(1, 256), help="Users of the second part.")
@option("--save-calibration", is_flag=True, help="Let later plans for these GPUs use what was measured.")
@own_rows(group="Question")
@output_options
@click.pass_context
def bench_command(ctx: click.Context, /, **options: object) -> None:
    """Measure a server that vLLM runs with this model on these GPUs: one user alone, then several. Prints a row of measurements and the prediction."""
    require("plan bench", "httpx")
    from planner.cli.question import lone_row
    from planner.engines.vllm.pace import measured_factors
    from planner.engines.vllm.plan import plan_as_asked
    from planner.facts.speed import NoSpeed
    from planner.machine.bench import bench
    from planner.questions.plan import request_of

    values = read_machine(ctx, values_of(BenchValues, options))
    request, source = request_of(lone_row(values))
    plan = plan_as_asked(request, repo=source.repo, served_name=source.served_name)
    seen = bench(values.url, os.environ.get(KEY), values.prompt, values.answer, values.at_once)
    factors = measured_factors(plan, seen.prompt_tokens, seen.answer_tokens, seen.first_token_s, seen.per_token_s)
    saved = None
    if values.save_calibration:
        from planner.machine.calibration import save_speed

        if isinstance(factors, NoSpeed):
            raise PlannerError(
                f"nothing is predicted for {plan.model.name} on {request.group.label}, so that nothing can be calibrated: {factors.reason}", "docs/speed.md"
            )
        saved = save_speed(request.group, *factors, model=source.served_name)
    if values.style == "json":
        row = dict(zip(COLUMNS, _row(plan, seen, 1), strict=True))
        print_json(
            {
                **HEAD,
                "alone": row,
                "together": dict(zip(COLUMNS, _row(plan, seen, seen.users), strict=True)),
                "measured_over_predicted": None if isinstance(factors, NoSpeed) else factors,
                "speed_reason": factors.reason if isinstance(factors, NoSpeed) else None,
            }
        )
        return
    _show(plan, seen, factors)
    if saved:
        click.echo(f"kept in {saved}; later plans for {request.group.label} use it")


def _row(plan: Plan, seen: Benched, users: int) -> list[str | int | float]:
    """A row as tests/data/speed_cases.csv has them."""
    alone, now = users == 1, datetime.now(UTC).strftime("%Y-%m-%d")
    first, per_token = (seen.first_token_s, seen.per_token_s) if alone else (seen.together_first_token_s, seen.together_per_token_s)
    rate = seen.answer_tokens / (seen.first_token_s + (seen.answer_tokens - 1) * seen.per_token_s) if alone else seen.together_tokens_per_s
    config, gpu = plan.config, plan.request.group.gpu
    head: list[str | int | float] = [
        f"bench-{now}-{users}",
        "plan bench",
        gpu.name,
        first_engine().name,
        plan.repo,
        plan.model.quantization or "bf16",
        plan.request.group.count,
        config.tensor_parallel_size,
    ]
    return [
        *head,
        users,
        seen.prompt_tokens,
        seen.answer_tokens,
        config.vllm_version,
        config.kv_cache_dtype,
        round(first * 1000, 1),
        round(per_token * 1000, 2),
        round(rate, 1),
    ]


def _show(plan: Plan, seen: Benched, factors: tuple[float, float] | NoSpeed) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, _row(plan, seen, 1), _row(plan, seen, seen.users)])
    sys.stdout.write(text.getvalue())
    if not isinstance(factors, tuple):
        click.echo(f"nothing is predicted: {factors.reason} (docs/speed.md)")
        return
    step, first = factors
    click.echo(f"measured over predicted: a further token {step:.2f}, the first token {first:.2f} (1 is as predicted, 2 twice as long)")

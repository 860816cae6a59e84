"""`plan verify`: the plan beside what the engine itself says."""

from __future__ import annotations

from dataclasses import asdict

import click

from planner.cli.command import command, option
from planner.cli.options import STYLE, question, read_machine
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, tell
from planner.cli.question import lone_row
from planner.cli.values import VerifyValues, values_of
from planner.engines import first_engine
from planner.engines.vllm.plan import make_plan
from planner.engines.vllm.verify import verify
from planner.questions.plan import request_of
from planner.report.head import HEAD


@command("verify")
@question(vllm_only=True)
@own_rows(group="Question")
@option("--python", help="The Python where the engine is installed; else this one's.")
@STYLE
@click.pass_context
def verify_command(ctx: click.Context, /, **options: object) -> None:
    """Ask vLLM itself about the plan: parser, engine config, weights, KV planner; agreement line by line. Exit 1 where they differ."""
    values = read_machine(ctx, values_of(VerifyValues, options))
    request, source = request_of(lone_row(values))
    plan = make_plan(request, repo=source.repo, served_name=source.served_name)
    agreements = verify(plan, source.config, source.hf_quant, values.python)
    if values.style == "json":
        print_json({**HEAD, "agreements": [{**asdict(line), "agrees": line.agrees} for line in agreements]})
    for line in () if values.style == "json" else agreements:
        tell(f"agrees   {line.what}: {line.ours}" if line.agrees else f"DIFFERS  {line.what}: {line.ours} here, {first_engine().title} says {line.theirs}")
    ctx.exit(0 if all(line.agrees for line in agreements) else 1)

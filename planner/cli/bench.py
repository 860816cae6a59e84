"""`plan bench`: a plan as an experiment. What a running server shows beside what was predicted; it calibrates this machine."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from errno import ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from planner.cli.command import command, is_quiet, option, output_options, typed
from planner.cli.names import EngineName
from planner.cli.options import QUESTION, own_settings, question, read_machine
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, print_report, tell
from planner.cli.question import lone_row
from planner.cli.values import BenchValues, values_of
from planner.engines import ENGINES, usual_words
from planner.errors import PlannerError, WorldError, require
from planner.facts.command_line import flag_of
from planner.facts.hardware import Calibrated
from planner.facts.question import StackRow
from planner.machine.calibration import save_speed
from planner.questions.fields import OF_SOME
from planner.reader import open_file

if TYPE_CHECKING:
    from planner.facts.deployment import Service
    from planner.questions.experiment import Experiment

KEY = "OPENAI_API_KEY"
PROMPT, ANSWER, MOST_AT_ONCE = 2000, 200, 256
HERE, ANY_HOST = ("127.0.0.1", "localhost", "::1"), ("0.0.0.0", "::")  # noqa: S104 - a server that listens everywhere listens here


class Counts(click.ParamType[tuple[int, ...]]):
    """Numbers of users, with commas."""

    name = "N,N,…"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Each once, the fewest first."""
        parts = [str(part).strip() for part in (value.split(",") if isinstance(value, str) else value if isinstance(value, tuple) else ())]
        if wrong := [part for part in parts if not (part.isascii() and part.isdigit() and 1 <= int(part[:6]) <= MOST_AT_ONCE)]:
            self.fail(f"{wrong[0][:40]!r} is not a whole number from 1 to {MOST_AT_ONCE}", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


@command("bench")
@click.argument("plan", type=click.Path(path_type=Path), required=False)
@question(without=("kv_cache_memory_bytes", "skip_mm_profiling"))
@option("--engine", type=EngineName(), group="Question", says=lambda: f"{', '.join(ENGINES)}; else {usual_words()}.")
@own_settings("Question", [setting.name for setting in OF_SOME])
@option("--url", metavar="URL", group="Experiment", help=f"The server's address, else as the plan says; a key is taken from {KEY}.")
@option("--input", "prompt", type=click.IntRange(16, 1_000_000), group="Experiment", help=f"Tokens of a prompt, about: {PROMPT:,}, or what the context holds.")
@option("--output-tokens", "--answer", "answer", type=click.IntRange(16, 100_000), group="Experiment", help=f"Tokens of an answer: {ANSWER}.")
@option(
    "--concurrency",
    "--at-once",
    "points",
    type=Counts(),
    default=(),
    group="Experiment",
    help="Users at once, e.g. 1,8,32; else one alone, the plan's users, and as many as fit.",
)
@option("--served-name", metavar="NAME", group="Experiment", help="What the server calls the model, where that is not what the plan calls it.")
@option("--export", type=click.Path(path_type=Path, dir_okay=False), group="Experiment", help="Add the rows to this CSV file, without names and addresses.")
@option(
    "--save-calibration/--no-save-calibration",
    default=None,
    group="Experiment",
    help="Let later plans for as many of these GPUs use what was measured: as by default where the server is on this machine.",
)
@own_rows(group="Question")
@output_options
@click.pass_context
def bench_command(ctx: click.Context, /, **options: object) -> None:
    """Measure a running server beside its plan: a plan.json (or its folder), or the question's own options.

    One user alone, the plan's users, and as many as fit, each with TTFT, TPOT and tokens a second, and which predictions hold.
    Exit 0 once it is measured, whether they hold or not.
    """
    require("plan bench", "httpx")
    from planner.machine.bench import bench
    from planner.questions.experiment import experiment, points_of, with_load
    from planner.questions.plan import plan_as_asked

    values = values_of(BenchValues, options)
    row, url = _asked(ctx, values)
    prompt, answer = values.prompt or PROMPT, values.answer or ANSWER
    plan = plan_as_asked(row)
    if prompt + answer > plan.context:
        if values.prompt:
            raise PlannerError(
                f"a prompt of {prompt:,} and an answer of {answer:,} tokens exceed the context of {plan.context:,}", "shorten --input or --output-tokens"
            )
        answer = min(answer, max(16, plan.context // 2))
        prompt = max(16, plan.context - answer)
    row = with_load(row, prompt, answer)
    points = tuple(sorted({1, *values.points})) if values.points else points_of(plan, prompt + answer)
    url = values.url or url or _address(plan.service, ENGINES[plan.engine].first_port)
    wanted = tuple(dict.fromkeys((plan.service.served_name, plan.service.alias, plan.service.model, plan.model.id, row.services[0].model)))
    if not is_quiet(ctx):
        tell(f"plan: measuring {', '.join(map(str, points))} at once, prompts of about {prompt:,} and answers of {answer:,} tokens", err=True)
    served, seen = bench(
        url, os.environ.get(KEY) if values.url or _is_here(url) else None, prompt=prompt, answer=answer, points=points, wanted=[name for name in wanted if name], named=values.served_name
    )  # fmt: skip
    made = experiment(row, plan, served, seen)
    is_kept, note = _kept(values, url, made)
    notes = [note, *_exported(values.export, made)]
    from planner.report.bench import bench_json, render

    if values.style == "json":
        print_json(bench_json(made, is_kept=is_kept))
        return
    print_report(render(made))
    for line in filter(None, notes):
        tell(line)


def _asked(ctx: click.Context, values: BenchValues) -> tuple[StackRow, str]:
    """The question and, of a plan.json, where its server listens. Raises PlannerError."""
    if values.plan is None:
        return replace(lone_row(read_machine(ctx, values)), engine=values.engine), ""
    from planner.cli.output import question_in
    from planner.questions.plan_file import read_deployment
    from planner.questions.stack_file import stack_row

    if twice := next((name for name in typed() if name in (*QUESTION, "engine")), None):
        raise PlannerError(f"{flag_of(twice)} and {values.plan} both say what is planned", "leave one out")
    main, asked = read_deployment(values.plan).main, question_in(values.plan) or {}
    said = {name: value for name, value in asked.items() if name in {field.name for field in fields(StackRow)}}
    row = stack_row(said, str(values.plan), lambda index: f"{values.plan}: services[{index}]")
    return replace(row, services=row.services[:1]), _address(main)


def _address(service: Service, usual_port: int = 0) -> str:
    """Where a server of a plan listens, as it is asked from this machine."""
    port = service.port or usual_port
    host = HERE[0] if service.host in ANY_HOST else service.host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_here(url: str) -> bool:
    """Whether an address is of this machine."""
    try:
        return urlsplit(url).hostname in HERE
    except ValueError:
        return False


def _kept(values: BenchValues, url: str, made: Experiment) -> tuple[bool, str]:
    """Keep what was measured where it is of this machine, or is to be kept; whether it was, and what is to be said of it. Raises PlannerError."""
    wish, kept, group = values.save_calibration, made.kept, made.plan.group
    if not isinstance(kept, Calibrated):
        if wish:
            about = f"nothing is predicted for {made.plan.model.id} on {group.label}, so that nothing can be calibrated"
            raise PlannerError(f"{about}: {kept.reason}", "docs/speed.md")
        return False, ""
    if wish is False or (wish is None and not _is_here(url)):
        return False, ""
    if wish is None and made.is_far:
        return False, f"not kept: a step took {kept.step:.2g}, a first token {kept.first_token:.2g} times as long as predicted (--save-calibration keeps it)"
    path = save_speed(group.gpu.name, kept)
    factors = f"a further token took {kept.step:.2f}, the first one {kept.first_token:.2f} times as long as predicted"
    return True, f"kept in {path}: {factors}; later plans for {group.label} count with it and say so (--no-save-calibration keeps nothing)"


def _exported(path: Path | None, made: Experiment) -> list[str]:
    """Add the rows to a table, which begins with its head. Raises PlannerError for another file."""
    if path is None:
        return []
    from planner.report.bench import TABLE, table_text

    try:
        size = path.stat().st_size if path.exists() else 0
        if path.exists():
            with open_file(path) as there:
                if size and there.readline(4096).decode(errors="replace").rstrip("\n") != ",".join(TABLE):
                    raise PlannerError(f"{path} is another file: it does not begin as the table of speeds does", "name a new file")
        with path.open("ab", buffering=0) as file:
            try:
                file.write(rows := table_text(made, head=not size).encode())
                if file.tell() < size + len(rows):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror or error}") from None
    return [f"wrote {path}: {len(made.compared)} rows, no names of yours, no addresses"]

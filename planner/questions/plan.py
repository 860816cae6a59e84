"""What can this machine serve: a question about one or several servers -> a plan of each, and what to start."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from planner.catalogue import resolve
from planner.engines import ENGINES, Engine, first_engine
from planner.errors import PlannerError, UnsupportedError
from planner.facts.alternatives import Alternative
from planner.facts.deployment import PROXY_PORT, Deployment
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.plan import Plan
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict, Warn, worst
from planner.questions.machine import machine_of
from planner.questions.question import Question, engine_of, question_of, typed
from planner.units import gib

if TYPE_CHECKING:
    from planner.engines.catalogue import Source
    from planner.engines.vllm.choice import Request


# Fields of a question that every engine reads, each in its own way.
FOR_ALL = frozenset(
    [
        "model",
        "name",
        "port",
        "context",
        "users",
        "input",
        "output_tokens",
        "concurrency",
        "max_model_len",
        "kv_cache_dtype",
        "quantization",
        "gpu",
        "services",
        "count",
        "nodes",
        "host",
        "bind",
        "proxy_port",
        "vllm_version",
        "engine",
        "comment",
        "vram",
        "bandwidth",
        "compute_capability",
        "vendor",
        "total_gib",
        "free_gib",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Planned servers in the order in which they start, the last of which is the main one; what starts them; what would do where one does not."""

    plans: tuple[Plan, ...]
    deployment: Deployment
    question: Question
    alternatives: tuple[Alternative, ...] = ()
    warnings: tuple[Warn, ...] = ()

    @property
    def main(self) -> Plan:
        """The plan that the question was about."""
        return self.plans[-1]

    @property
    def verdict(self) -> Verdict:
        """The worst of the servers'."""
        return worst([plan.verdict for plan in self.plans])

    @property
    def starts(self) -> bool:
        """Whether all servers are to be run."""
        return all(plan.starts for plan in self.plans)

    @property
    def requirements_met(self) -> bool:
        """Whether all that was asked is met."""
        return all(plan.requirements_met for plan in self.plans)


def answer_for(row: StackRow, first_port: int | None = None, formats: tuple[str, ...] = (), *, others: bool = True) -> Answer:
    """Answer one question, of which the formats of its files are a part. Raises PlannerError where it cannot be asked so.

    `others`: where the engine that is meant cannot, other engines are asked too, which takes some hundredths of a second.
    """
    machine = machine_of(row)
    engine = ENGINES[engine_of(row.engine, machine.gpu)]
    _refuse_foreign(row, engine)
    _refuse_cards(machine, engine)
    question = question_of(row, first_port, formats)
    try:
        placed = engine.plan(row, machine, first_port or engine.first_port, resolve)
    except UnsupportedError as error:
        from planner.questions.elsewhere import instead

        if error.hint or not others or not (other := instead(row, machine, engine, FOR_ALL)):
            raise
        [other] = typed([other], question)
        raise UnsupportedError(error.message, f"{other.change} works: {other.command or other.arguments}") from None
    changes = placed.alternatives
    if others and not placed.plans[-1].requirements_met:
        from planner.questions.elsewhere import with_others

        changes = with_others(changes, row, machine, engine, FOR_ALL)
    return Answer(
        plans=placed.plans,
        deployment=deployment_of(placed.plans, machine, engine, bind=row.bind, proxy_port=row.proxy_port),
        question=question,
        alternatives=typed(changes, question),
        warnings=(*placed.warnings, *_of_cards(machine, engine)),
    )


def plan_as_asked(row: StackRow) -> Plan:
    """The plan of a row's one server alone, without what else would do: many are asked in a comparison. Raises PlannerError as `answer_for`."""
    machine = machine_of(row)
    engine = ENGINES[engine_of(row.engine, machine.gpu)]
    _refuse_foreign(row, engine)
    _refuse_cards(machine, engine)
    return engine.as_asked(row, machine, resolve)


def request_of(row: StackRow) -> tuple[Request, Source]:
    """The question about the one model of a row, for commands that measure or verify what the default engine does. Raises PlannerError."""
    from planner.engines.vllm.ask import request_of as request

    machine = machine_of(replace(row, nodes=1))
    _refuse_cards(machine, first_engine())
    return request(row.services[0], machine, row.vllm_version, resolve)


def _refuse_cards(machine: GpuGroup, engine: Engine) -> None:
    """Refuse a card that an engine does not run on, and cards of two makers where it needs equal shares."""
    for gpu in machine.cards or (machine.gpu,):
        if why := engine.refuses(gpu):
            raise PlannerError(f"{gpu.title}: {why}", _others(*(machine.cards or (gpu,))))
    if len(makers := sorted({gpu.vendor for gpu in machine.cards})) > 1 and not engine.splits_by_memory:
        raise PlannerError(f"{engine.title} runs on the GPUs of one maker, and these are of {' and '.join(makers)}", _splitting())


def _of_cards(machine: GpuGroup, engine: Engine) -> tuple[Warn, ...]:
    """What an engine that gives every GPU an equal share leaves unused of cards that differ."""
    if not machine.cards or engine.splits_by_memory:
        return ()
    unused = sum(card.cuda_total_bytes - machine.gpu.cuda_total_bytes for card in machine.cards)
    text = f"{engine.title} gives every GPU an equal share: planned with what each has, the memory of the {machine.gpu.title} and the slowest bandwidth"
    return (Warn(code="cards-differ", message=f"{text}; {gib(unused)} of the others stay unused. {_splitting()} splits by memory"),)


def _splitting() -> str:
    return f"--engine {' or '.join(name for name, engine in ENGINES.items() if engine.splits_by_memory)}"


def _refuse_foreign(row: StackRow, engine: Engine) -> None:
    """Refuse what only another engine has: it is not passed over."""
    given = [field.name for rows in (row.services, [row]) for asked in rows for field in fields(asked) if getattr(asked, field.name) != field.default]
    foreign = [name for name in given if name not in FOR_ALL and name not in engine.own_settings]
    for other in ENGINES.values() if foreign else ():  # engines are imported where they are asked
        if name := next((name for name in foreign if name in other.own_settings), None):
            flag = f"--{name.replace('_', '-')}"
            raise PlannerError(
                f"{flag} is {other.title}'s; {engine.title} has no such setting", "--context, --users, --kv-cache-dtype and --quantization go for all"
            )


def _others(*gpus: GpuSpec) -> str:
    """The engines that GPUs run, as a hint."""
    *names, last = [name for name, engine in ENGINES.items() if not any(map(engine.refuses, gpus))]
    return f"--engine {', '.join(names)} or {last}" if names else f"--engine {last}"


def deployment_of(plans: tuple[Plan, ...], machine: GpuGroup, engine: Engine, *, bind: str = "127.0.0.1", proxy_port: int = PROXY_PORT) -> Deployment:
    """What to run, the small servers first."""
    gpu, by = machine.gpu, "" if engine.name == next(iter(ENGINES)) else f" with {engine.name}"
    return Deployment(
        title=" and ".join(plan.model.id for plan in reversed(plans)) + f" on {machine.label}{by}",
        gpu=gpu.name,
        gpu_title=gpu.title,
        vendor=gpu.vendor,
        count=machine.count,
        services=tuple(plan.service for plan in plans),
        nodes=machine.nodes,
        bind=bind,
        proxy_port=proxy_port,
    )

"""What one server of a runtime with slots holds (llama.cpp, Ollama, MLX): how many are fixed at its start, each with a cache for whole requests."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from planner.engines import ENGINES, Engine
from planner.errors import PlannerError
from planner.facts.plan import Plan
from planner.facts.question import StackRow
from planner.facts.speed import NoSpeed, SpeedEstimate
from planner.questions.at_once import MOST_SLOTS, most_at_once
from planner.questions.capacity import END_REQUESTS, REQUESTS, Capacity, Lengths, Limits, OneServer, Places, held
from planner.questions.machine import gpus_of
from planner.questions.plan import plan_as_asked
from planner.questions.question import engine_of
from planner.units import CONTEXT_STEP, round_up

BATCH = 2048  # tokens of a step: llama-server's --batch-size, mlx-lm's --prefill-step-size


def measure_slots(row: StackRow, lengths: Lengths, limits: Limits) -> Capacity:
    """What a server on the GPUs of a question holds with as many slots as surely fit. Raises PlannerError where it does not start or its speed is not known."""
    main, tokens = row.services[0], lengths.prompt + lengths.answer
    context = main.context_tokens or round_up(tokens, CONTEXT_STEP)

    main = replace(main, port=main.port or ENGINES[engine_of(row.engine, gpus_of(row.gpu, row)[0])].first_port)

    @cache
    def planned(slots: int) -> Plan:
        service = replace(main, context=context, users=slots, input=lengths.prompt, output_tokens=lengths.answer)
        return plan_as_asked(replace(row, services=[service]))

    if tokens > context:
        raise PlannerError(f"a prompt of {lengths.prompt:,} and an answer of {lengths.answer:,} tokens exceed the context of {context:,}", "a longer --context")
    slots = max(1, most_at_once(planned))
    plan = planned(slots)
    engine = ENGINES[plan.engine]
    known = engine.paces(plan)
    if isinstance(known, NoSpeed):
        raise PlannerError(f"nothing is known of the capacity of {plan.model.id} on {plan.group.label}: {known.reason}", "docs/speed.md says what was measured")
    places = Places(count=slots, bound_by="memory" if slots < MOST_SLOTS else "slots", batch=BATCH)
    conservative, expected, optimistic = (held(pace, places, lengths, limits, REQUESTS if pace is known[1] else END_REQUESTS) for pace in known)
    of_several = plan.speed if isinstance(plan.speed, SpeedEstimate) else None
    if of_several is None:
        raise PlannerError(f"nothing is known of the capacity of {plan.model.id} on {plan.group.label}", "docs/speed.md says what was measured")
    return Capacity(
        server=_in_words(planned(max(1, min(slots, main.users or expected.users))), engine, slots),
        replicas=1,
        grade=of_several.grade,
        because=of_several.because,
        conservative=conservative,
        expected=expected,
        optimistic=optimistic,
        paces=known,
    )


def _in_words(plan: Plan, engine: Engine, slots: int) -> OneServer:
    variables = [f"{name}={value}" for name, value in plan.service.env.items()]
    return OneServer(
        engine=engine.title,
        version=plan.version,
        model=plan.model.id,
        group=plan.group,
        tensor_parallel_size=1,
        pipeline_parallel_size=1,
        max_model_len=plan.context,
        max_num_seqs=slots,
        argv=(*(("env", *variables) if variables else ()), *plan.service.argv),
    )

"""What replicas of vLLM's server hold: its places are what the KV cache admits, at most max_num_seqs."""

from __future__ import annotations

from planner.engines import first_engine
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.pace import basis_of, paces, slots
from planner.engines.vllm.plan import Plan
from planner.errors import PlannerError
from planner.facts.speed import NoSpeed
from planner.questions.capacity import END_REQUESTS, REQUESTS, Capacity, Lengths, Limits, OneServer, Places, held
from planner.speed.estimate import Pace


def known_paces(plan: Plan) -> tuple[Pace, Pace, Pace]:
    """The plan's conservative, expected and optimistic pace. Raises PlannerError with the reason where it is not known, or only that of decoding."""
    known = paces(plan)
    if isinstance(known, NoSpeed):
        about = f"nothing is known of the capacity of {plan.model.name} on {plan.request.group.label}"
        raise PlannerError(f"{about}: {known.reason}", "docs/speed.md says what was measured")
    return known


def places_of(plan: Plan, ledger: MemoryBreakdown, lengths: Lengths) -> Places:
    """Requests of these lengths that run at once at one outlook."""
    count = slots(plan, ledger, lengths.prompt + lengths.answer)
    bound_by = "max-num-seqs" if count == plan.config.max_num_seqs else "KV cache"
    return Places(count=count, bound_by=bound_by, batch=plan.config.max_num_batched_tokens)


def server_in_words(plan: Plan) -> OneServer:
    """The server as a report names it."""
    config, engine = plan.config, first_engine()
    return OneServer(
        engine=engine.title,
        version=config.vllm_version,
        model=plan.repo,
        group=plan.request.group,
        tensor_parallel_size=config.tensor_parallel_size,
        pipeline_parallel_size=config.pipeline_parallel_size,
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_num_seqs,
        argv=tuple(plan.argv),
    )


def measure(plan: Plan, replicas: int, lengths: Lengths, limits: Limits) -> Capacity:
    """What replicas of a plan hold. Raises PlannerError where its speed is not known."""
    known, choice = known_paces(plan), plan.choice
    near = basis_of(plan, known[1].work)
    conservative, expected, optimistic = (
        held(pace, places_of(plan, ledger, lengths), lengths, limits, REQUESTS if ledger is choice.expected else END_REQUESTS)
        for pace, ledger in zip(known, (choice.conservative, choice.expected, choice.optimistic), strict=True)
    )
    return Capacity(
        server=server_in_words(plan),
        replicas=replicas,
        grade=near.grade,
        because=near.because,
        conservative=conservative,
        expected=expected,
        optimistic=optimistic,
        paces=known,
    )

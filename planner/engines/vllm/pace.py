"""What one rank of a vLLM server does in a step, and how long users then wait."""

from __future__ import annotations

from functools import lru_cache

from planner.engines.vllm.dtypes import SLOTS
from planner.engines.vllm.expert_rules import with_experts
from planner.engines.vllm.layouts import cache_layout
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.plan import Plan
from planner.engines.vllm.rules import dtype_bits, with_kernels
from planner.engines.work import cache_reads, weights
from planner.facts.record import Same, replace
from planner.facts.speed import Load, NoSpeed, Range, SpeedEstimate, full_load, no_start, significant, slowest_s
from planner.facts.verdict import Grade
from planner.speed.constants import rates
from planner.speed.estimate import Basis, Pace, Seen, basis, links, measured_here, no_answers, no_bandwidth, no_cap, no_compute, outlooks, waiting
from planner.speed.links import AllReduce, all_reduce
from planner.speed.roofline import step
from planner.speed.work import Drafts, Work, arithmetic, is_narrow, peak, shape_of
from planner.units import ceil_div

MOST_USERS = 16  # of that load


# Issues that measured both: Project-MONAI/VLM-Surgical-Agent-Framework#5 (4.1 times, A6000), vllm-project/vllm-omni#7960 (1.7 to 4.3, A800 and
# H200), tonyd2wild/GLM-5.3-Flash-NVFP4-1M-KV-4x-DGX-Spark#5 (1.2, four GB10).
EAGER = "CUDA graphs are off, and how long kernels then take to start was not measured here; others saw decoding 1.2 to 4.3 times slower than with graphs"


# Seconds that a step with drafts takes beside the kernels of target and drafter (sampling and rejecting, starting the drafter's passes from Python, slower
# kernels of recurrent layers): what a tenth of twelve published pairs exceeds, their median, what nine tenths exceed (tests/data/speculative_pairs.csv).
DRAFTED_STEP_S = (0.033, 0.0053, 0.0014)


def _not_measured(plan: Plan) -> NoSpeed | None:
    """Why nothing can be said of a plan, whatever its GPU; None where something can."""
    config, nodes = plan.config, plan.request.group.nodes
    if plan.verdict.falls_short:
        return no_start(plan.verdict)
    if reason := no_answers(plan.model):
        return reason
    if reason := no_cap(plan.request.group):
        return reason
    if nodes > 1:
        return NoSpeed(f"the network between {nodes} machines was not measured")
    if config.kv_cache_dtype in SLOTS:
        return NoSpeed(f"how long attention takes to unpack a cache of {config.kv_cache_dtype} was not measured")
    return NoSpeed(EAGER) if config.enforce_eager else None


def vllm_work(plan: Plan) -> Work | NoSpeed:
    """What one rank of this server does, or why that is not known."""
    return _work(Same(plan))


@lru_cache(maxsize=32)
def _work(same: Same[Plan]) -> Work | NoSpeed:
    plan = same.thing
    if reason := _not_measured(plan):
        return reason
    model, config, gpu = plan.model, plan.config, plan.request.group.gpu
    bits = dtype_bits(model, gpu, config.dtype)
    kind, widened = arithmetic(model, gpu)
    best = peak(gpu, kind, link_of(plan))
    if best is None:
        return no_bandwidth(gpu)
    tp, stages = config.tensor_parallel_size, config.pipeline_parallel_size
    work = Work(
        engine="vllm",
        weights=weights(model, with_kernels(with_experts(config.parallel, model), gpu, config.vllm_version), bits),
        reads=cache_reads(model, tp, cache_layout(model, gpu, config.kv_cache_dtype, dtype_bits=bits, version=config.vllm_version, options=config.options)),
        peak=best,
        shape=shape_of(model, kind),
        tensor_parallel_size=tp,
        engines=_in_step(plan),
        stages=stages,
        batches=stages,
        prompt_batch=config.max_num_batched_tokens,
        weight_only=widened,
        narrow=is_narrow(model),
    )
    return _with_drafts(work, plan) if plan.request.load.acceptance_length else work


def _with_drafts(work: Work, plan: Plan) -> Work:
    """A server whose steps verify what its drafter guesses; of the drafter's caches each pass reads what there is, and prompts are computed once."""
    drafter, length = plan.model.drafter, plan.request.load.acceptance_length
    if drafter is None or length is None:
        return work
    tokens, model = drafter.num_speculative_tokens, drafter.model
    if model is None:
        return replace(work, drafts=Drafts(tokens=tokens, length=length, step_s=DRAFTED_STEP_S[1]))
    gpu, config = plan.request.group.gpu, plan.config
    bits, tp = dtype_bits(model, gpu, config.dtype), config.tensor_parallel_size
    layout = cache_layout(model, gpu, config.kv_cache_dtype, dtype_bits=bits, version=config.vllm_version, options=config.options)
    reads = cache_reads(model, tp, layout)
    held = weights(model, with_kernels(with_experts(config.parallel, model), gpu, config.vllm_version), bits)
    passes = replace(work, weights=held, reads=reads, shape=shape_of(model, arithmetic(model, gpu)[0]), stages=1, batches=1)
    each = tuple(replace(read, bytes_per_token=read.bytes_per_token * tokens) for read in reads)
    return replace(work, reads=(*work.reads, *each), drafts=Drafts(tokens=tokens, length=length, work=passes, step_s=DRAFTED_STEP_S[1]))


def link_of(plan: Plan) -> AllReduce:
    """What an all-reduce of this server's ranks costs."""
    group = plan.request.group
    return all_reduce(group.gpu, plan.config.tensor_parallel_size * _in_step(plan), group.link_bytes_per_s)


def _in_step(plan: Plan) -> int:
    """Engines that compute one layer of experts together; 1 where each is a server of its own."""
    return plan.config.data_parallel_size if plan.model.experts_per_token else 1


def basis_of(plan: Plan, work: Work) -> Basis:
    """How near the plan is to what was measured: pipelines and engines that share their experts are computed, nobody measured them here."""
    known = basis(work, plan.model, plan.request.group, link_of(plan))
    shared = [f"{work.stages} pipeline stages"] * (work.stages > 1) + [f"{int(work.engines)} engines that share their experts"] * (int(work.engines) > 1)
    if work.drafts:
        shared.append(f"steps that verify {work.drafts.tokens} drafted token{'s' * (work.drafts.tokens > 1)} and give {work.drafts.length:g}, as asked,")
    if not shared or (known.grade is Grade.MEASURED_HERE and not work.drafts):
        return known
    because = f"{known.because}; {' and '.join(shared)} are computed, not measured"
    return replace(known, grade=Grade.EXTRAPOLATED, because=because, unseen=("class",))


def paces(plan: Plan) -> tuple[Pace, Pace, Pace] | NoSpeed:
    """A plan at the conservative, the expected and the optimistic outlook, or why prompts or the whole of it cannot be bounded."""
    work = vllm_work(plan)
    if isinstance(work, NoSpeed):
        return work
    if int(work.engines) > 1:
        return NoSpeed(f"{int(work.engines)} engines that share their experts: how a queue divides between them was not measured")
    if not work.peak.computes:
        return NoSpeed(f"{no_compute(plan.request.group.gpu)}, so that the time of a prompt cannot be told")
    return _outlooks(plan, work)


def _outlooks(plan: Plan, work: Work) -> tuple[Pace, Pace, Pace]:
    group = plan.request.group
    works = (work, work, work) if measured_here(group, work.engine) else links(work, link_of(plan), group.gpu.vendor)
    if drafts := work.drafts:
        slow, likely, fast = (replace(each, drafts=replace(drafts, step_s=step_s)) for each, step_s in zip(works, DRAFTED_STEP_S, strict=True))
        works = (slow, likely, fast)
    return outlooks(works, basis_of(plan, work), group)


def estimate(plan: Plan) -> SpeedEstimate | NoSpeed:
    """The speed of a plan, or why none is said; of a GPU whose arithmetic is not known only the decoding of one user."""
    return _estimated(Same(plan), plan.request.load)


@lru_cache(maxsize=32)
def _estimated(same: Same[Plan], asked: Load) -> SpeedEstimate | NoSpeed:
    plan = same.thing
    work = vllm_work(plan)
    if isinstance(work, NoSpeed):
        return work
    known, whole = _outlooks(plan, work), work.peak.computes
    prompt, answer = asked.lengths(plan.config.max_model_len)
    engines = plan.config.data_parallel_size
    alike = engines // _in_step(plan)  # servers of their own, each of which has its part of the users
    places = slots(plan, plan.choice.surest, prompt + answer) * engines
    if why := asked.beyond(plan.config.max_model_len) or _not_at_once(plan, asked, places, whole=whole):
        return NoSpeed(why)
    users = (asked.concurrency or plan.request.users or _users_that_fit(plan, prompt + answer)) if whole else 1
    held = places if asked.concurrency else users
    near = waiting(basis_of(plan, work), users, held)
    alone, together = ([_seen(pace, count, (prompt, answer), held, alike) for pace in known] for count in (1, users))
    return SpeedEstimate(
        grade=near.grade,
        because=near.because,
        prompt_tokens=prompt,
        answer_tokens=answer,
        users=users,
        tokens_per_s=Range(*(significant(1 / seen.per_token_s) for seen in alone)),
        total_tokens_per_s=Range(*(significant(seen.total_tokens_per_s) for seen in together)) if whole else None,
        time_to_first_token_s=Range(*(significant(seen.first_token_s) for seen in alone)) if whole else None,
        tpot_s=Range(*(significant(seen.per_token_s) for seen in together)),
        ttft_s=Range(*(significant(seen.first_token_s) for seen in together)) if whole else None,
        bound_by=step(work, rates(work), float(min(users, held)), work.cache_bytes(prompt + answer / 2)).longest,
        prompt_share=together[1].prompt_share if whole else None,
        at_once=min(users, held),
    )


def _seen(pace: Pace, users: int, lengths: tuple[int, int], places: int, alike: int) -> Seen:
    """What so many users see of so many engines alike, between which they are divided."""
    each = ceil_div(users, alike)
    seen = pace.seen(each, *lengths, ceil_div(places, alike))
    return replace(seen, total_tokens_per_s=seen.total_tokens_per_s * users / each)


def slowest_answer_s(plan: Plan, answer: int) -> int:
    """Seconds until the last of the users that fit has a prompt that fills the context answered with so many tokens; 0 where no speed is said."""
    return slowest_s(_estimated(Same(plan), full_load(plan.config.max_model_len, answer)))


def _not_at_once(plan: Plan, asked: Load, places: int, *, whole: bool) -> str:
    """Why the speed of so many requests at once cannot be told; empty where it can, and where no number is asked."""
    if (asked.concurrency or 1) == 1:
        return ""
    if not whole:
        return f"{no_compute(plan.request.group.gpu)}, so that only one request alone can be told (--concurrency 1)"
    return "" if places else "the KV cache is not sure to hold even one such request"


def _users_that_fit(plan: Plan, tokens: int) -> int:
    """Users whose request of so many tokens fits the KV cache at once, at most those that a small group would be."""
    return max(1, min(slots(plan, plan.choice.conservative, tokens) * plan.config.data_parallel_size, MOST_USERS))


def slots(plan: Plan, ledger: MemoryBreakdown, tokens: int) -> int:
    """Sequences of so many tokens that run at once without preemption: what the KV cache holds, at most max_num_seqs."""
    return max(0, int(min(ledger.admitted_at(tokens), plan.config.max_num_seqs)))

"""Several servers on one group of GPUs: which GPUs each gets, in which order they start, what share of memory each may ask for.

vLLM asks for `total x utilization` and refuses to start where less is free (v1/worker/utils.py request_memory); its CUDA context and
NCCL's buffers lie outside that. So every server but the first of the question gets the smallest share that surely starts and serves what
was asked, they start first, one after the other, and the main one takes what they leave. What all hold never exceeds the GPU, so each
can be restarted beside the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from planner.engines.alternatives import NO_MARKET, Market
from planner.engines.vllm.choice import Request
from planner.engines.vllm.plan import Plan, plan_as_asked
from planner.engines.vllm.replicas import Replicas, replicas
from planner.engines.vllm.splits import cannot_split
from planner.errors import PlannerError
from planner.facts.alternatives import WITHOUT, Alternative
from planner.facts.context import POOLING_CONTEXT, USEFUL_CONTEXT
from planner.facts.hardware import GpuGroup
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict, Warn, worst

SHARE_STEP = 1000  # utilizations are rounded up to three decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One server that is wanted; `request.group` is the whole machine."""

    name: str
    request: Request
    repo: str
    served_name: str
    market: Market = NO_MARKET
    host: str = "127.0.0.1"
    port: int = 8000

    def plan(self, request: Request) -> Plan:
        """Plan this server for another request."""
        return plan_as_asked(request, repo=self.repo, served_name=self.served_name, others=self.market.variants, host=self.host, port=self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One server with its plan and the GPUs it runs on."""

    name: str
    plan: Plan
    gpus: tuple[int, ...]

    @property
    def held_bytes(self) -> int:
        """The most that it holds of each of its GPUs, context and NCCL included."""
        ledger, group = self.plan.choice.conservative, self.plan.request.group
        return group.process_bytes(self.plan.config.ranks) + ledger.taken_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Servers in the order in which they start; the last is the main one."""

    group: GpuGroup
    servers: tuple[Placed, ...]
    alternatives: tuple[Alternative, ...] = ()
    replicas: Replicas | None = None  # smaller servers that would give all users more

    @property
    def main(self) -> Plan:
        """The plan of the server that the question is about."""
        return self.servers[-1].plan

    @property
    def verdict(self) -> Verdict:
        """The worst of the servers' verdicts."""
        return worst(server.plan.verdict for server in self.servers)

    @property
    def meets_wish(self) -> bool:
        """Whether every server meets its own."""
        return all(server.plan.meets_wish for server in self.servers)

    def held_bytes(self, gpu: int) -> int:
        """The most that all servers hold of one GPU."""
        return sum(server.held_bytes for server in self.servers if gpu in server.gpus)


def alone(plan: Plan) -> Stack:
    """One planned server with its GPUs to itself."""
    group = plan.request.group
    name = "embedding" if plan.model.pooling else "chat"
    return Stack(group=group, servers=(Placed(name=name, plan=plan, gpus=tuple(range(group.count))),), alternatives=plan.alternatives)


def place_servers(asks: Sequence[Ask], group: GpuGroup) -> Stack:
    """Place servers on GPUs, the first asked for with all that the others leave. Raises PlannerError where one can run on no such GPU."""
    stack = _best(asks, group)
    failed = next((server for server in stack.servers if not server.plan.meets_wish), None)
    if failed is None:
        return replace(stack, replicas=replicas(stack.main, asks[0].plan)) if len(asks) == 1 else stack
    from planner.engines.vllm.alternatives import alternatives

    number = [ask.name for ask in asks].index(failed.name)
    if len(asks) == 1:
        return replace(stack, alternatives=alternatives(failed.plan.request, failed.plan.choice, asks[0].market))

    def meets(request: Request) -> bool:
        """Whether all servers start as asked where this one is asked for so."""
        if request.group.nodes > 1:
            return False
        changed = [replace(ask, request=request if ask is asks[number] else replace(ask.request, group=request.group)) for ask in asks]
        try:
            again = _best(changed, request.group)
        except PlannerError:
            return False
        return again.verdict is Verdict.STARTS and again.meets_wish

    changes = alternatives(asks[number].request, failed.plan.choice, asks[number].market, meets)
    return replace(stack, alternatives=(*(replace(change, server=number) for change in changes), *_without_one(asks, group)))


def _best(asks: Sequence[Ask], group: GpuGroup) -> Stack:
    return max((_arranged(asks, group, count) for count in _main_counts(asks, group)), key=_rank)


def _without_one(asks: Sequence[Ask], group: GpuGroup) -> Iterator[Alternative]:
    """Which server is too much: those without which the others start as asked."""
    for number, extra in enumerate(asks[1:], 1):
        fewer = _best([ask for ask in asks if ask is not extra], group)
        if fewer.verdict is Verdict.STARTS and fewer.meets_wish:
            words = f"without --with {extra.served_name}"
            yield Alternative(change=f"without {extra.name}", arguments=words, verdict=Verdict.STARTS, changed=((WITHOUT, number),))


def _rank(stack: Stack) -> tuple[int, bool, bool, float, int]:
    """A sure start, the wish met, CUDA graphs, then what the main server holds; of equals the one on more GPUs."""
    main = stack.main
    ledger = main.choice.expected
    held = ledger.max_concurrency if main.request.context else ledger.kv_cache_tokens
    return stack.verdict.rank, stack.meets_wish, not main.config.enforce_eager, held, main.config.parallel.world_size_across_dp


def _main_counts(asks: Sequence[Ask], group: GpuGroup) -> list[int]:
    """How many GPUs the main server may have: all of them, or fewer where others could have the rest for themselves."""
    pins = asks[0].request.pins
    if pins.tensor_parallel_size or pins.pipeline_parallel_size or len(asks) == 1:
        return (
            [min(group.count, (pins.tensor_parallel_size or 1) * (pins.pipeline_parallel_size or 1) * (pins.data_parallel_size or 1))]
            if len(asks) > 1
            else [group.count]
        )
    halves = [group.count >> times for times in range(1, group.count.bit_length())]  # a half, a quarter, …: others divide what is left as evenly
    return [group.count, *(count for count in halves if not cannot_split(asks[0].request, count, 1))]


def _arranged(asks: Sequence[Ask], group: GpuGroup, main_count: int) -> Stack:
    loads = [0] * group.count
    main, *others = asks
    servers = []
    for ask in others:
        placed = _beside(ask, group, loads, main_count)
        servers.append(placed)
        for gpu in placed.gpus:
            loads[gpu] += placed.held_bytes
    used = replace(group, count=main_count, taken_bytes=max(loads[:main_count]))
    plan = main.plan(replace(main.request, group=used))
    return Stack(group=group, servers=(*servers, Placed(name=main.name, plan=plan, gpus=tuple(range(main_count)))))


def _beside(ask: Ask, group: GpuGroup, loads: list[int], main_count: int) -> Placed:
    """One server on as many GPUs, and those, that leave the main server most; each with the smallest share that serves what is asked."""
    options = []
    for gpus in _gpu_sets(ask, group, loads, main_count):
        used = replace(group, count=len(gpus), taken_bytes=max(loads[gpu] for gpu in gpus))
        placed = Placed(name=ask.name, plan=smallest(ask, used), gpus=gpus)
        after = [load + (placed.held_bytes if gpu in gpus else 0) for gpu, load in enumerate(loads)]
        options.append(((placed.plan.verdict is Verdict.STARTS, -max(after[:main_count]), -sum(after)), placed))
    if not options:
        raise PlannerError(f"{ask.name}: {ask.served_name} cannot be split over 1 to {group.count} GPUs as asked")
    return max(options, key=lambda option: option[0])[1]


def _gpu_sets(ask: Ask, group: GpuGroup, loads: list[int], main_count: int) -> Iterator[tuple[int, ...]]:
    """For each tensor parallel size the GPUs that have least on them, those that the main server does not use first."""
    free_first = sorted(range(group.count), key=lambda gpu: (gpu < main_count, loads[gpu], -gpu))
    pinned = ask.request.pins.tensor_parallel_size
    for size in range(1, group.count + 1):
        if (pinned is None or size == pinned) and not cannot_split(ask.request, size, 1):
            yield tuple(sorted(free_first[:size]))


def smallest(ask: Ask, group: GpuGroup) -> Plan:
    """A server with the smallest share of memory that surely starts and holds what is asked: its users, or one request at full length."""
    request, model = ask.request, ask.request.model
    default = min(model.max_position_embeddings, POOLING_CONTEXT if model.pooling else USEFUL_CONTEXT)
    pins = replace(request.pins, tensor_parallel_size=group.count, pipeline_parallel_size=1)
    if model.pooling and pins.enforce_eager is None:
        pins = replace(pins, enforce_eager=True)  # graphs would take more than a small server's cache
    asked = replace(request, group=group, pins=pins, context=request.context or pins.max_model_len or default)
    plan = ask.plan(asked)
    if pins.gpu_memory_utilization is not None or plan.verdict.falls_short:
        return plan
    share = ceil(plan.choice.conservative.budget_for(request.users or 1) / group.total_bytes * SHARE_STEP) / SHARE_STEP
    config = plan.config
    fixed = replace(
        pins,
        gpu_memory_utilization=min(1.0, max(1 / SHARE_STEP, share)),
        kv_cache_dtype=config.kv_cache_dtype,
        enforce_eager=config.enforce_eager,
        max_num_seqs=config.max_num_seqs,
    )
    return _reasoned(ask.plan(replace(asked, pins=fixed)), plan, request)


def _reasoned(plan: Plan, free: Plan, request: Request) -> Plan:
    """The plan with the reasons of its free form: only what the user pinned is called so."""
    reasons = dict(free.choice.reasons) | {
        "tensor_parallel_size": "pinned" if request.pins.tensor_parallel_size else "leaves the main server most memory",
        "pipeline_parallel_size": "no pipeline needed",
        "gpu_memory_utilization": f"the least that holds the model and {request.users or 'one'} full-length request{'s' if (request.users or 1) > 1 else ''}",
        "max_model_len": _why_context(request),
    }
    if request.model.pooling and request.pins.enforce_eager is None:
        reasons["enforce_eager"] = "graphs would take more memory than a small server's cache"
    if request.model.pooling and request.pins.max_num_seqs is None:
        reasons["max_num_seqs"] = "short texts are read together; without a sampler they cost no memory"
    return replace(plan, choice=replace(plan.choice, reasons=tuple(reasons.items())))


def _why_context(request: Request) -> str:
    """Why a server beside the main one has the context it has."""
    if request.pins.max_model_len:
        return "pinned"
    if request.context:
        return "as asked"
    return "enough for passages; NAME:context=8k for longer texts" if request.model.pooling else "enough for most; NAME:context=… for more"


def stack_warnings(stack: Stack) -> tuple[Warn, ...]:
    """What the user should know: each server's warnings once, and what it means to share GPUs."""
    warns = [warning for server in reversed(stack.servers) for warning in server.plan.warnings if server.plan is stack.main or not warning.main_only]
    if len(stack.servers) > 1 and any(stack.held_bytes(gpu) > server.held_bytes for server in stack.servers for gpu in server.gpus):
        order = ", ".join(server.name for server in stack.servers)
        warns.append(Warn(code="shared-gpus", message=f"start them in this order, each once the one before it is healthy: {order}; stack.sh does"))
    if stack.replicas is not None:
        warns.append(stack.replicas.warn)
    return tuple(dict.fromkeys(warns))

"""vLLM's own plan in the types that every engine answers in: the ledger's terms in vLLM's order, what they come to, what binds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines import Placement
from planner.engines.catalogue import Catalogue
from planner.engines.vllm.ask import asks, request_of
from planner.engines.vllm.host import HostMemory, host_memory
from planner.engines.vllm.loaded import loading
from planner.engines.vllm.memory import place
from planner.engines.vllm.pace import estimate, slowest_answer_s
from planner.engines.vllm.placement import Placed, Stack, place_servers, stack_warnings
from planner.engines.vllm.plan import Plan, not_covered, plan_as_asked
from planner.engines.vllm.rules import BITSANDBYTES
from planner.engines.vllm.service import service
from planner.engines.vllm.settings import ServeConfig, reported
from planner.facts import plan as facts
from planner.facts.deployment import Sampling, Service
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.plan import How, Line, PlannedModel, Sum
from planner.facts.question import StackRow
from planner.facts.settings import Value
from planner.facts.speed import Range
from planner.facts.verdict import Verdict
from planner.units import GIB, counted, gib, tokens

if TYPE_CHECKING:
    from planner.engines.vllm.check import Checked

DIVISION = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "gpu_memory_utilization",
)  # what is told also of a server that does not start

_READ = "derived: its class was read, not compared"


def placement(question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue) -> Placement:
    """The servers of a question on its machine. Raises PlannerError where it cannot be asked so."""
    asked = asks(question, machine, first_port, catalogue)
    stack = place_servers([ask for ask, _ in asked], machine)
    sampling = {ask.name: source.sampling for ask, source in asked}
    plans = tuple(planned(server, stack, sampling[server.name]) for server in stack.servers)
    return Placement(plans=plans, alternatives=stack.alternatives, warnings=stack_warnings(stack))


def alone(question: StackRow, machine: GpuGroup, catalogue: Catalogue) -> facts.Plan:
    """The only server of a question on the whole machine, as it is asked. Raises PlannerError where it cannot be asked so."""
    service_row = question.services[0]
    request, source = request_of(service_row, machine, question.vllm_version, catalogue)
    plan = plan_as_asked(request, repo=source.repo, served_name=source.served_name)
    server = Placed(name="chat", plan=plan, gpus=tuple(range(plan.config.ranks)))
    return planned(server, Stack(group=machine, servers=(server,)), source.sampling)


def planned(server: Placed, stack: Stack, sampling: Sampling) -> facts.Plan:
    """One placed server as its readers see it."""
    process = service(server, stack, sampling)
    return _plan_of(server, replace(process, slowest_answer_s=slowest_answer_s(server.plan, process.longest_answer)))


def where(group: GpuGroup, config: ServeConfig) -> str:
    """The machine and the release, in words."""
    return f"on {group.label} with vLLM {config.vllm_version}"


def planned_model(repo: str, model: ModelSpec) -> PlannedModel:
    """What is served."""
    return PlannedModel(
        id=repo,
        architecture=model.architecture,
        quantization=model.quantization,
        max_position_embeddings=model.max_position_embeddings,
        keeps_cache=not model.is_encoder,
    )


def _plan_of(server: Placed, process: Service) -> facts.Plan:
    plan, choice = server.plan, server.plan.choice
    ledger, config, group, request = choice.expected, plan.config, plan.request.group, plan.request
    need = host_need(plan)
    missing = not_covered(plan.model, config)
    concurrency = Range(choice.conservative.max_concurrency, ledger.max_concurrency, choice.optimistic.max_concurrency)
    return facts.Plan(
        engine="vllm",
        version=config.vllm_version,
        backend=plan.backend,
        model=planned_model(plan.repo, plan.model),
        where=where(group, config),
        group=group,
        gpus=server.gpus,
        verdict=Verdict.UNKNOWN if missing else plan.verdict,
        lines=tuple(lines(plan)),
        sums=tuple(sums(plan)),
        room_bytes=ledger.total_bytes,
        room="a GPU",
        available_bytes=group.free_at_start_bytes(config.ranks),
        used_bytes=ledger.used_bytes,
        held_bytes=server.held_bytes,
        total_bytes=process_bytes(plan),
        memory=memory(plan),
        settings=settings(plan),
        reasons=choice.reasons,
        told=tuple(name for name, reason in choice.reasons if name in DIVISION),
        context=config.max_model_len,
        context_asked=request.context or 0,
        users=0 if plan.model.is_encoder else choice.surest.admitted_requests * config.data_parallel_size,
        users_asked=0 if plan.meets_wish else request.users or 0,
        longest_context=choice.conservative.longest_max_model_len,
        concurrency=None if plan.model.is_encoder else concurrency,
        binds=binds(plan),
        host_bytes=need.total_bytes,
        requirements_met=plan.meets_wish,
        rejection=plan.rejection,
        warnings=plan.warnings,
        not_covered=missing,
        alternatives=plan.alternatives,
        speed=estimate(plan),
        service=process,
        own=plan,
    )


def host_need(plan: Plan) -> HostMemory:
    """What the server keeps in the main memory of each of its machines."""
    request = plan.request
    return host_memory(plan.config, place(request.model, request.group, plan.config), request.group.nodes)


def settings(plan: Plan) -> tuple[tuple[str, Value], ...]:
    """The settings that every answer reports, by name."""
    return tuple(reported(plan.config).items())


def process_bytes(plan: Plan) -> tuple[int, int, int]:
    """What the process takes of one GPU, least, expected, most: its context, its budget or what it holds, late CUDA graphs."""
    beside = plan.request.group.process_bytes(plan.config.ranks)
    outlooks = (plan.choice.optimistic, plan.choice.expected, plan.choice.conservative)
    low, expected, high = (beside + ledger.taken_bytes for ledger in outlooks)
    return low, expected, high


def memory(plan: Plan) -> dict[str, int | float]:
    """The ledger's numbers by the contract's keys."""
    ledger = plan.choice.expected
    return {
        "requested_bytes": ledger.requested_bytes,
        "weights_bytes": ledger.weights_bytes,
        "buffers_bytes": ledger.buffers_bytes,
        "activation_bytes": ledger.activation_bytes,
        "non_torch_bytes": ledger.non_torch_bytes,
        "cuda_graph_bytes": ledger.cuda_graph_bytes,
        **({"drafter_bytes": ledger.drafter_bytes} if ledger.drafter_bytes else {}),
        **({"lora_bytes": ledger.lora_bytes} if ledger.lora_bytes else {}),
        **({"offloaded_bytes": ledger.offloaded_bytes} if ledger.offloaded_bytes else {}),
        "kv_cache_bytes": ledger.kv_cache_bytes,
        "kv_cache_bytes_low": plan.choice.conservative.kv_cache_bytes,
        "kv_cache_bytes_high": plan.choice.optimistic.kv_cache_bytes,
        "kv_block_bytes": ledger.kv_block_bytes,
        "kv_cache_blocks": ledger.kv_cache_blocks,
        "kv_cache_tokens": ledger.kv_cache_tokens,
        "max_concurrency": ledger.max_concurrency,
        "kv_cache_needed_bytes": ledger.kv_cache_needed_bytes,
        "longest_max_model_len": ledger.longest_max_model_len,
    }


def lines(plan: Plan) -> Iterator[Line]:
    """The ledger's terms in vLLM's order; they sum to what is requested."""
    low, ledger, high = plan.choice.optimistic, plan.choice.expected, plan.choice.conservative
    weights = facts.exactly("weights", "weights", ledger.weights_bytes, _weights_note(plan))
    read_only = plan.model.quantization is not None and loading(plan.request.group.gpu, plan.config.vllm_version).is_derived
    if not plan.model.judged or plan.model.quantization == BITSANDBYTES:  # the release that judges has no such method
        weights = replace(weights, how=How.DERIVED, note=_READ)
    if plan.model.typed:
        weights = replace(weights, how=How.DERIVED, note="derived: its config was typed from public facts")
    yield replace(weights, how=How.DERIVED, note="derived: what kernels make of them was read, not run") if read_only else weights
    if ledger.drafter_bytes and plan.model.drafter:
        drafter, model = facts.exactly("drafter", "drafter", ledger.drafter_bytes, f"{plan.model.drafter.method}, exact"), plan.model.drafter.model
        yield drafter if model is None or model.judged else replace(drafter, how=How.DERIVED, note=f"{plan.model.drafter.method}, {_READ}")
    if ledger.lora_bytes:
        yield facts.exactly("lora", "LoRA adapters", ledger.lora_bytes, f"{plan.config.max_loras} of rank {plan.config.max_lora_rank}, exact")
    yield facts.exactly("buffers", "buffers", ledger.buffers_bytes, "rotary tables, exact")
    yield _calibrated("non_torch", "outside torch", (low.non_torch_bytes, ledger.non_torch_bytes, high.non_torch_bytes))
    yield _calibrated("activation", "activation", (low.activation_bytes, ledger.activation_bytes, high.activation_bytes))
    yield _calibrated("cuda_graph", "CUDA graphs", (low.cuda_graph_bytes, ledger.cuda_graph_bytes, high.cuda_graph_bytes))
    cache = (high.kv_cache_bytes, ledger.kv_cache_bytes, low.kv_cache_bytes)
    left = _calibrated("kv_cache", "left over" if plan.model.is_encoder else "KV cache", cache, _cache_note(plan))
    is_guess = plan.request.group.total_is_estimated and plan.config.kv_cache_memory_bytes is None
    yield replace(left, how=How.ESTIMATED) if is_guess else left


def _calibrated(key: str, name: str, ends: tuple[int, int, int], note: str = "calibrated") -> Line:
    low, expected, high = ends
    return Line(key=key, name=name, bytes=expected, low_bytes=min(low, expected), high_bytes=max(high, expected), how=How.CALIBRATED, note=note)


def _weights_note(plan: Plan) -> str:
    checkpoint = plan.model.checkpoint
    return "exact" if checkpoint is None or checkpoint.stored_bytes == checkpoint.derived_bytes else "from the checkpoint's tensors"


def _cache_note(plan: Plan) -> str:
    choice = plan.choice
    if plan.config.kv_cache_memory_bytes is not None:
        return "pinned"
    if plan.model.is_encoder:
        return "an encoder does not use it"
    return f"{max(0, choice.conservative.kv_cache_bytes) / GIB:.2f} to {choice.optimistic.kv_cache_bytes / GIB:.2f}; {tokens(choice.expected.kv_cache_blocks)} blocks"


def sums(plan: Plan) -> Iterator[Sum]:
    """Of a server that starts what is requested and what one request needs; of one that does not, need against what there is."""
    ledger = plan.choice.expected
    if plan.rejection is None:
        yield Sum("requested", ledger.requested_bytes, _share(plan))
    need = host_need(plan)
    if need.total_bytes:
        yield Sum("main memory", need.total_bytes, need.note)
    if not plan.model.is_encoder:
        yield Sum("one request", ledger.kv_cache_needed_bytes, "KV cache it needs")
    yield from _need(plan)


def _share(plan: Plan) -> str:
    estimated = " (estimated)" if plan.request.group.total_is_estimated else ""
    return f"{plan.config.gpu_memory_utilization:g} of {gib(plan.choice.expected.total_bytes)}{estimated}"


def _need(plan: Plan) -> Iterator[Sum]:
    """What the limit that is hit needs, what there is of it, and the difference."""
    if plan.rejection is None:
        return
    ledger, short = plan.choice.expected, plan.rejection.short_by_bytes
    of_free = plan.rejection.code in ("free-memory", "out-of-memory")
    there = ledger.free_at_start_bytes if of_free else ledger.requested_bytes
    loading = there + short == ledger.loaded_bytes
    needs = {"free-memory": "asked for at start", "out-of-memory": "weights and buffers" if loading else "once KV cache and CUDA graphs are there"}
    yield Sum("needed", there + short, needs.get(plan.rejection.code, "with the KV cache that is needed"))
    yield Sum("there is", there, "free at start" if of_free else _share(plan))
    yield Sum("short by", short)


def binds(plan: Plan) -> str:
    """What keeps the server from more users, in one line; empty where nothing can be said."""
    ledger = plan.choice.surest
    if plan.verdict.falls_short or plan.model.is_encoder or not ledger.kv_cache_needed_bytes:
        return ""
    held = ledger.admitted_requests
    if held >= plan.config.max_num_seqs:
        return f"--max-num-seqs {plan.config.max_num_seqs} binds: further requests wait, though the KV cache holds {held:,}."
    missing, there = ledger.cache_bytes_for(held + 1) - ledger.kv_cache_bytes, gib(ledger.kv_cache_bytes)
    surely = "surely " if plan.verdict is Verdict.STARTS else ""
    return f"Memory binds: the {there} of KV cache on each GPU {surely}hold {counted(held, 'user')} at full length; one more needs {gib(missing)} beyond them."


def judged(checked: Checked) -> facts.Plan:
    """A checked command as its readers see it: the ledger of what it says, and what is wrong with it in vLLM's order."""
    from planner.engines.vllm.bounds import with_parts  # and what moves a ledger's limits: no plan needs it

    request, config = checked.request, checked.config
    group, model = request.group, request.model
    name = "embedding" if model.pooling else "chat"
    process = Service(
        name=name,
        task="embedding" if model.pooling else "chat",
        engine="vllm",
        version=config.vllm_version,
        model=checked.repo,
        served_name=checked.repo,
        alias=name,
        argv=checked.argv,
        host="",
        port=0,
    )
    told = tuple(reported(config).items())
    if checked.plan is None:
        return facts.Plan(
            engine="vllm",
            version=config.vllm_version,
            model=planned_model(checked.repo, model),
            where=where(group, config),
            group=group,
            gpus=(),
            verdict=checked.verdict,
            lines=(),
            sums=(),
            room_bytes=group.total_bytes,
            room="a GPU",
            available_bytes=group.free_at_start_bytes(config.ranks),
            used_bytes=0,
            held_bytes=0,
            total_bytes=(0, 0, 0),
            memory={},
            settings=told,
            reasons=(),
            context=config.max_model_len,
            users=0,
            service=process,
            problems=checked.problems,
            not_covered=checked.not_covered,
            warnings=checked.remarks,
            requirements_met=False,
        )
    server = Placed(name=name, plan=checked.plan, gpus=tuple(range(config.parallel.world_size_across_dp)))
    plan = with_parts(_plan_of(server, process), config, checked.not_covered)
    warnings = (*checked.remarks, *plan.warnings)
    return replace(plan, verdict=checked.verdict, problems=checked.problems, not_covered=checked.not_covered, warnings=warnings, own=checked)

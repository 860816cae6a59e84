"""From the command line's question to the answer: which servers, on which GPUs, what is printed and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from planner.catalogue.resolve import find_source
from planner.engines.catalogue import Source
from planner.engines.vllm.choice import Request
from planner.engines.vllm.dtypes import KV_CACHE_DTYPES
from planner.engines.vllm.rules import quantization_problem
from planner.engines.vllm.settings import Pins, pins_of
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS
from planner.errors import PlannerError, did_you_mean
from planner.facts.deployment import Deployment
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.facts.question import ServiceRow, StackRow
from planner.facts.verdict import Verdict
from planner.questions.deploy import deployment
from planner.questions.placement import Ask, Stack, check_names_and_ports, place_servers
from planner.questions.question import FIRST_PORT, Question, engine_of, question_of, typed

if TYPE_CHECKING:
    from planner.questions.local import LocalAnswer


@dataclass(frozen=True)
class Answer:
    """What the command line prints and writes about placed vLLM servers."""

    stack: Stack
    deployment: Deployment
    question: Question

    @property
    def verdict(self) -> Verdict:
        """The worst of the servers'."""
        return self.stack.verdict

    @property
    def meets_wish(self) -> bool:
        """Whether all that was asked is met."""
        return self.stack.meets_wish


def answer_for(row: StackRow, first_port: int = FIRST_PORT, to: tuple[str, ...] = ()) -> Answer | LocalAnswer:
    """Answer one question, of which formats are a part, for whichever runtime it names. Raises PlannerError where it cannot be asked so."""
    from planner.catalogue.load import find_gpu

    engine = engine_of(row.engine, find_gpu(row.gpu))
    question = question_of(row, first_port, to)
    if engine == "vllm":
        if any(service.gpu_layers is not None for service in row.services) or row.wired_limit_mb is not None:
            raise PlannerError("--gpu-layers and --wired-limit-mb are not vLLM's", "--engine llama.cpp, ollama or mlx")
        return answer_row(row, question, first_port)
    from planner.questions.local import answer_local, unused_pins

    if row.link_gb_per_s is not None:
        raise PlannerError(f"--link-gb-per-s is about vLLM's all-reduces; {engine} has none", "leave it out")
    if pins := unused_pins(row):
        raise PlannerError(
            f"--{pins[0].replace('_', '-')} is vLLM's; {engine} has no such setting", "--context, --users, --kv-cache-dtype and --quantization go for all"
        )
    return answer_local(row, engine, question, first_port)


def answer_row(row: StackRow, question: Question, first_port: int = FIRST_PORT) -> Answer:
    """Answer one question for vLLM. Raises PlannerError where it cannot be asked so."""
    group = _group(row, row.nodes)
    if row.nodes > 1 and len(row.services) > 1:
        raise PlannerError("several servers share one machine only", "plan the main model with --nodes and the others on a machine of their own")
    asked = _asks(row, group, first_port)
    asks = [ask for ask, _ in asked]
    check_names_and_ports(asks, row.proxy_port)
    stack = place_servers(asks, group)
    sampling = {ask.name: source.sampling for ask, source in asked}
    stack = replace(stack, alternatives=typed(stack.alternatives, question))
    return Answer(stack, deployment(stack, bind=row.bind, proxy_port=row.proxy_port, sampling=sampling), question)


def request_of(row: StackRow) -> tuple[Request, Source]:
    """The question about the one model of a row, for who asks vLLM itself."""
    return _request(row.services[0], _group(row, 1), row.vllm_version)


def _group(row: StackRow, nodes: int) -> GpuGroup:
    from planner.catalogue.load import find_gpu
    from planner.machine.calibration import calibrated

    gpu = find_gpu(row.gpu)
    if gpu.vendor == "apple":
        raise PlannerError(f"{gpu.title}: vLLM needs an NVIDIA or AMD GPU", "--engine mlx, llama.cpp or ollama")
    link = int((row.link_gb_per_s or 0.0) * 1e9)
    return GpuGroup(gpu=calibrated(gpu), count=row.count * nodes, host=Host(row.host), nodes=nodes, link_bytes_per_s=link)


def _asks(row: StackRow, group: GpuGroup, first_port: int) -> list[tuple[Ask, Source]]:
    asks: list[tuple[Ask, Source]] = []
    names = {service.name for service in row.services if service.name}
    ports = {service.port for service in row.services if service.port} | {row.proxy_port}
    for service in row.services:
        request, source = _request(service, group, row.vllm_version)
        name = service.name or _free_name("embedding" if request.model.pooling else "chat", names)
        port = service.port or next(port for port in range(first_port, first_port + 1000) if port not in ports)
        names.add(name)
        ports.add(port)
        ask = Ask(
            name=name,
            request=request,
            repo=source.repo,
            served_name=source.served_name,
            market=replace(source.market, cards=partial(_cards, group.gpu)),
            host=row.bind,
            port=port,
        )
        asks.append((ask, source))
    return asks


def _cards(gpu: GpuSpec) -> Sequence[GpuSpec]:
    from planner.catalogue.prices import cards_of_the_price

    return cards_of_the_price(gpu)


def _free_name(kind: str, names: set[str]) -> str:
    return next(name for name in (kind, *(f"{kind}-{number}" for number in range(2, 100))) if name not in names)


def _request(service: ServiceRow, group: GpuGroup, version: str | None) -> tuple[Request, Source]:
    source = find_source(service.model, service.quantization)
    if (version or DEFAULT_VERSION) not in VERSIONS:
        raise PlannerError(f"vLLM {version} is not known", did_you_mean(str(version), VERSIONS) or f"known: {', '.join(VERSIONS)}")
    fixed = pins_of(service, version or DEFAULT_VERSION)
    _check_pins(fixed, source.spec.quantization)
    context: Any = service.context
    return Request(model=source.spec, group=group, pins=fixed, context=context, users=service.users), source


def _check_pins(pins: Pins, quantization: str | None) -> None:
    """Refuse pins that vLLM refuses (engine/arg_utils.py, config/model.py:1457)."""
    if problem := quantization_problem(pins.quantization, quantization):
        hint = "leave it out; vLLM detects what a checkpoint is, and quantizes a 16-bit one by fp8, fp8_per_block or fp8_per_channel"
        raise PlannerError(problem, hint)
    if pins.kv_cache_dtype is not None and pins.kv_cache_dtype not in KV_CACHE_DTYPES:
        raise PlannerError(f"--kv-cache-dtype {pins.kv_cache_dtype!r} is not known", f"known: {', '.join(KV_CACHE_DTYPES)}")
    if pins.max_num_seqs and pins.max_num_batched_tokens and pins.max_num_batched_tokens < pins.max_num_seqs:
        raise PlannerError(
            f"--max-num-batched-tokens {pins.max_num_batched_tokens} is below --max-num-seqs {pins.max_num_seqs}",
            "every sequence needs at least one token a step",
        )

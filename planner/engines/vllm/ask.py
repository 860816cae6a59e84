"""A question's row -> a request for vLLM: which checkpoint, what is pinned, on which GPUs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from planner.engines.catalogue import Catalogue, Source
from planner.engines.naming import named
from planner.engines.vllm.choice import Request
from planner.engines.vllm.dtypes import KV_CACHE_DTYPES
from planner.engines.vllm.placement import Ask
from planner.engines.vllm.rules import heard_tokens, least_batch, quantization_problem, unsaid_quantization
from planner.engines.vllm.settings import Pins, pins_of
from planner.engines.vllm.speculation import read, with_tokens
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS
from planner.errors import BadValueError, PlannerError, did_you_mean
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.question import ServiceRow, StackRow

FIRST_PORT = 8000


def asks(row: StackRow, group: GpuGroup, first_port: int, catalogue: Catalogue) -> list[tuple[Ask, Source]]:
    """The servers that are wanted, the main one first. Raises PlannerError for what vLLM cannot be asked."""
    if any(service.gpu_layers is not None for service in row.services) or row.wired_limit_mb is not None:
        raise PlannerError("--gpu-layers and --wired-limit-mb are not vLLM's", "--engine llama.cpp, ollama or mlx")
    if row.nodes > 1 and len(row.services) > 1:
        raise PlannerError("several servers share one machine only", "plan the main model with --nodes and the others on a machine of their own")
    requests = [request_of(service, group, row.vllm_version, catalogue) for service in row.services]
    rows = named(row.services, [request.model.pooling for request, _ in requests], first_port=first_port, proxy_port=row.proxy_port)
    return [(_ask(service, request, source, row.bind, catalogue), source) for service, (request, source) in zip(rows, requests, strict=True)]


def _ask(service: ServiceRow, request: Request, source: Source, host: str, catalogue: Catalogue) -> Ask:
    market = replace(source.market, cards=partial(catalogue.cards_of_the_price, request.group.gpu))
    return Ask(name=service.name or "", request=request, repo=source.repo, served_name=source.served_name, market=market, host=host, port=service.port or 0)


def request_of(service: ServiceRow, group: GpuGroup, version: str | None, catalogue: Catalogue) -> tuple[Request, Source]:
    """What is asked of one server, and the model it is asked of. Raises PlannerError for what vLLM refuses."""
    source = catalogue.find_source(service.model, service.quantization)
    if (version or DEFAULT_VERSION) not in VERSIONS:
        raise PlannerError(f"vLLM {version} is not known", did_you_mean(str(version), VERSIONS) or f"known: {', '.join(VERSIONS)}")
    pins = pins_of(service, version or DEFAULT_VERSION)
    _check_pins(pins, source.spec.quantization)
    model = source.spec
    if pins.speculative_config:
        from planner.engines.vllm.drafter import drafting

        try:
            made = drafting(source, read(pins.speculative_config, pins.vllm_version), catalogue, service.quantization)
        except BadValueError as error:
            raise PlannerError(f"--speculative-config: {error}", "for example mtp:3, ngram:5 or eagle3:OWNER/NAME:3") from None
        if made.missing:
            raise PlannerError(f"{made.missing.what} are not known here", "a drafter of `plan list models`, or a folder with its config.json")
        model, pins = made.model, replace(pins, speculative_config=with_tokens(pins.speculative_config, made.tokens))
    _check_acceptance(service.acceptance_length, model)
    _check_batch(pins, model)
    context = service.context if isinstance(service.context, int) else None
    return Request(model=model, group=group, pins=pins, context=context, users=service.users, load=service.load), source


def _check_batch(pins: Pins, model: ModelSpec) -> None:
    """Refuse a batch that cannot hold what is never divided, as vLLM does (v1/core/encoder_cache_manager.py)."""
    least = max(least_batch(model, VERSIONS[pins.vllm_version]), heard_tokens(model))
    if pins.max_num_batched_tokens and pins.max_num_batched_tokens < least:
        raise PlannerError(
            f"--max-num-batched-tokens {pins.max_num_batched_tokens} does not hold the {least:,} tokens of a film or a sound, which this model takes in one step",
            f"--max-num-batched-tokens {least}",
        )


def _check_acceptance(length: float | None, model: ModelSpec) -> None:
    """Refuse a mean of tokens that no step can give."""
    if length is None:
        return
    if model.drafter is None:
        raise PlannerError("--acceptance-length is about drafted tokens, and nothing drafts", "--speculate mtp:3, ngram:5 or eagle3:OWNER/NAME:3")
    drafted = model.drafter.num_speculative_tokens
    if not 1 <= length <= drafted + 1:
        raise PlannerError(f"--acceptance-length {length:g}: a step gives from 1 to {drafted + 1} tokens, {drafted} drafted ones and its own")


def _check_pins(pins: Pins, quantization: str | None) -> None:
    """Refuse pins that vLLM refuses (engine/arg_utils.py, config/model.py:1457)."""
    if problem := quantization_problem(pins.quantization, quantization, pins.vllm_version):
        hint = "leave it out; vLLM detects what a checkpoint is, and quantizes a 16-bit one by fp8, fp8_per_block or fp8_per_channel"
        raise PlannerError(problem, hint)
    if unsaid := unsaid_quantization(pins.quantization, quantization, pins.vllm_version):
        raise PlannerError(unsaid[0], f"in a command, which plan check judges: {unsaid[1]}")
    if pins.kv_cache_dtype is not None and pins.kv_cache_dtype not in KV_CACHE_DTYPES:
        raise PlannerError(f"--kv-cache-dtype {pins.kv_cache_dtype!r} is not known", f"known: {', '.join(KV_CACHE_DTYPES)}")
    if pins.max_num_seqs and pins.max_num_batched_tokens and pins.max_num_batched_tokens < pins.max_num_seqs:
        raise PlannerError(
            f"--max-num-batched-tokens {pins.max_num_batched_tokens} is below --max-num-seqs {pins.max_num_seqs}",
            "every sequence needs at least one token a step",
        )

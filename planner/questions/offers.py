"""The catalogue's models as offers for one machine: every variant that vLLM serves, FP8 while loading, or MLX's quantizations on a Mac."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from planner.catalogue.load import Entry, model_rows
from planner.catalogue.rows import ModelRow
from planner.engines.mlx.ask import MlxAsk
from planner.engines.mlx.memory import read_format
from planner.engines.mlx.plan import plan_mlx
from planner.engines.vllm.alternatives import NATIVE_FP8, ONLINE
from planner.engines.vllm.choice import Request
from planner.engines.vllm.pace import estimate
from planner.engines.vllm.plan import plan_as_asked
from planner.engines.vllm.settings import Pins
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.facts.hardware import GpuGroup
from planner.questions.choose import Fit, Offer, Wish, cannot_fit, suits
from planner.text import slug

MLX_FORMATS = ((16, "bf16"), (8, "8bit"), (4, "4bit"))
Variants = list[tuple[int, Callable[[Wish], Fit]]]


def offers(group: GpuGroup, purpose: str, version: str = DEFAULT_VERSION) -> Iterator[Offer]:
    """What the catalogue has for a purpose that is not surely too large for these GPUs."""
    for row in model_rows():
        offer = offer_of(row)
        if suits(offer, purpose):
            total = group.count * group.gpu.cuda_total_bytes
            variants = _mlx_variants(row, group) if group.gpu.vendor == "apple" else _vllm_variants(row, group, version)
            kept = [(bits, fit) for bits, fit in variants if not cannot_fit(row.parameters, bits, total)]
            yield replace(offer, variants=sorted(kept, key=lambda variant: -variant[0]))


def offer_of(row: ModelRow) -> Offer:
    """What the catalogue says of a model, before its variants are looked at."""
    return Offer(
        name=row.name,
        kind=row.kind,
        released=row.released,
        released_at_least=row.released_at_least,
        for_code=row.made_for_code,
        takes_tools=row.tool_parser is not None,
        parameters=row.parameters,
        variants=(),
    )


def _vllm_variants(row: ModelRow, group: GpuGroup, version: str) -> Variants:
    entries = [Entry(row, variant) for variant in row.variants if variant.is_checkpoint and variant.name != "base"]
    own = row.config.get("quantization_config") or {}
    variants: Variants = []
    for entry in entries:
        variants.append((entry.bits, partial(_vllm_fit, entry, group, Pins(vllm_version=version))))
    native = group.gpu.vendor == "nvidia" and group.gpu.capability >= NATIVE_FP8
    if native and row.kind != "embedding" and not any(bits == 8 for bits, _ in variants):
        variants += [
            (8, partial(_vllm_fit, entry, group, Pins(quantization=ONLINE, vllm_version=version)))
            for entry in entries
            if not (entry.variant.quantization or own)
        ][:1]
    return variants


def _vllm_fit(entry: Entry, group: GpuGroup, pins: Pins, wish: Wish) -> Fit:
    model = entry.spec(pins.quantization)
    request = Request(model=model, group=group, pins=pins, context=wish.wanted_context(model.max_position_embeddings), users=wish.users)
    plan = plan_as_asked(request, repo=entry.variant.repo, served_name=slug(entry.name))
    ledger, config = plan.choice.conservative, plan.config
    split = f"tp {config.tensor_parallel_size}" + (f" x pp {config.pipeline_parallel_size}" if config.pipeline_parallel_size > 1 else "")
    return Fit(
        model=model,
        arguments=f"--model {entry.name}" + (f" --quantization {pins.quantization}" if pins.quantization else ""),
        repo=entry.variant.repo,
        verdict=plan.verdict,
        context=config.max_model_len,
        longest_context=ledger.longest_max_model_len,
        at_once=ledger.max_concurrency,
        users=ledger.admitted_requests,
        weights_bytes=ledger.weights_bytes,
        settings=split + (", FP8 KV cache" if config.kv_cache_dtype != "auto" else "") + (", no CUDA graphs" if config.enforce_eager else ""),
        graphs=model.is_encoder or not config.enforce_eager,
        speed=estimate(plan),
    )


def _mlx_variants(row: ModelRow, group: GpuGroup) -> Variants:
    entry = Entry(row, next((variant for variant in row.variants if variant.default), row.variants[0]))
    return [(bits, partial(_mlx_fit, entry, group, form)) for bits, form in MLX_FORMATS]


def _mlx_fit(entry: Entry, group: GpuGroup, form: str, wish: Wish) -> Fit:
    plain = replace(entry, variant=replace(entry.variant, quantization={}))
    model = plain.spec()
    context = wish.wanted_context(model.max_position_embeddings)
    ask = MlxAsk(
        model=model, group=group, repo=entry.variant.repo, served_name=slug(entry.name), form=read_format(form), context=context, users=wish.users or 1
    )
    plan = plan_mlx(ask)
    weights = int(plan.memory["weights_bytes"])
    return Fit(
        model=model,
        arguments=f"--model {entry.row.name} --quantization {form}",
        repo=f"{plan.model.id} in {form}",
        verdict=plan.verdict,
        context=plan.context,
        longest_context=plan.longest_context,
        at_once=float(plan.users),
        users=plan.users,
        weights_bytes=weights,
        settings=plan.service.engine,
        speed=plan.speed,
    )

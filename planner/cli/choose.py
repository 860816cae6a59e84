"""`plan --gpu …` without a model, and `plan --model …` without a GPU: what to run, and what to run it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from planner.errors import PlannerError, UnsupportedError
from planner.facts.document import json_object
from planner.facts.hardware import GpuSpec, Host

if TYPE_CHECKING:
    from rich.console import RenderableType

    from planner.cli.values import PlanValues
    from planner.questions.machines import Stored

DEFAULT_CONTEXT = 8192  # of a model whose machine is asked for


def is_choice(values: PlanValues) -> bool:
    """Whether the question leaves the model or the GPU open."""
    return values.stack_file is None and (values.gpu is None) != (values.model is None)


def run_choice(values: PlanValues) -> int:
    """Answer it; the exit code."""
    return _machines(values, values.model) if values.model else _models(values, values.gpu or "")


def _print(style: str, found: Callable[[], object], rendered: Callable[[], RenderableType]) -> None:
    if style == "json":
        click.echo(json.dumps(found(), indent=2))
        return
    from planner.report.console import console

    console().print(rendered(), crop=False)


def _models(values: PlanValues, gpu: str) -> int:
    from planner.catalogue.load import find_gpu
    from planner.facts.hardware import GpuGroup
    from planner.facts.verdict import Verdict
    from planner.machine.calibration import calibrated
    from planner.questions.choose import Wish, choose
    from planner.questions.offers import offers
    from planner.report.chosen import models_json, render_models

    group = GpuGroup(gpu=calibrated(find_gpu(gpu)), count=values.count, host=Host(values.host_kind))
    if group.gpu.vendor != "apple":
        _refuse_old(group.gpu, values.vllm_version)
    wish = Wish(purpose=values.purpose or "chat", context=values.service.context_tokens, users=values.service.users)
    found = choose(offers(group, wish.purpose, values.vllm_version), wish, values.top or None)
    if not found:
        raise PlannerError(f"no model of the catalogue starts on {group.label} for {wish.purpose} as asked", "a shorter --context, or --for chat")
    _print(values.style, lambda: models_json(found, group, wish), lambda: render_models(found, group, wish))
    return 0 if found[0].meets and found[0].fit.verdict is Verdict.STARTS else 1


def _refuse_old(gpu: GpuSpec, version: str) -> None:
    """A GPU that no model runs on is the answer, not that no model was found."""
    from planner.engines.vllm import rules
    from planner.engines.vllm.versions import newest_for

    try:
        rules.check_gpu(gpu, version)
    except UnsupportedError as error:
        older = newest_for(gpu.capability)
        raise PlannerError(str(error), f"--vllm-version {older}" if older else "llama.cpp may: plan --engine llama.cpp --model …") from None


def _machines(values: PlanValues, name: str) -> int:
    from planner.catalogue.load import gpu_rows
    from planner.catalogue.prices import read_prices
    from planner.questions.machines import Need, machines
    from planner.report.chosen import machines_json, render_machines

    prices = read_prices(values.prices)
    stored = stored_ways(name, values.service.quantization)
    limit = stored[0].model.max_position_embeddings
    need = Need(values.service.context_tokens or min(limit, DEFAULT_CONTEXT), values.service.users or 1)
    if need.context > limit:
        raise PlannerError(f"a context of {need.context:,} is beyond the model's {limit:,}", f"use --context {limit}")
    gpus = [row.spec() for row in gpu_rows() if row.vendor != "apple"]
    found, could = machines(stored, gpus, need, prices, values.top or len(gpus))
    _print(values.style, lambda: machines_json(found, could, name, need), lambda: render_machines(found, could, name, need))
    return 0


def stored_ways(name: str, online: str | None) -> list[Stored]:
    """The ways to store the model: all of the catalogue's where the plain name is given, else the one that is named."""
    from planner.architecture.quantization import weight_bits
    from planner.catalogue.load import Entry, find_model
    from planner.catalogue.resolve import find_source
    from planner.questions.machines import Stored
    from planner.text import slug

    source = find_source(name, online)
    entry = find_model(name)
    if entry is None or online or not entry.variant.default:
        quantization = json_object(source.config.get("quantization_config"))
        return [Stored(source.served_name, source.repo, 8 if online else weight_bits(quantization), source.spec)]
    siblings = [Entry(entry.row, variant) for variant in entry.row.variants if variant.runtime == "vllm" and variant.name != "base"]
    own = entry.row.config.get("quantization_config") or {}
    return [Stored(slug(one.name), one.variant.repo, weight_bits(one.variant.quantization or own), one.spec()) for one in siblings]

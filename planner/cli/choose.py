"""`plan --gpu …` without a model, and `plan --model …` without a GPU: what to run, and what to run it on."""

from __future__ import annotations

import json
from typing import Any

import click

from planner.errors import PlannerError, UnsupportedError
from planner.facts.hardware import GpuSpec, Host

DEFAULT_CONTEXT = 8192  # of a model whose machine is asked for


def is_choice(options: dict[str, Any]) -> bool:
    """Whether the question leaves the model or the GPU open."""
    return options["stack_file"] is None and (options["gpu"] is None) != (options["model"] is None)


def run_choice(options: dict[str, Any]) -> int:
    """Answer it; the exit code."""
    return _machines(options) if options["model"] else _models(options)


def _print(style: str, found: Any, rendered: Any) -> None:
    if style == "json":
        click.echo(json.dumps(found(), indent=2))
        return
    from planner.report.console import console

    console().print(rendered(), crop=False)


def _models(options: dict[str, Any]) -> int:
    from planner.catalogue.load import find_gpu
    from planner.facts.hardware import GpuGroup
    from planner.machine.calibration import calibrated
    from planner.questions.choose import Wish, choose
    from planner.questions.offers import offers
    from planner.report.chosen import models_json, render_models

    group = GpuGroup(gpu=calibrated(find_gpu(options["gpu"])), count=options["count"], host=Host(options["host_kind"]))
    if group.gpu.vendor != "apple":
        _refuse_old(group.gpu, options["vllm_version"])
    wish = Wish(purpose=options["purpose"] or "chat", context=options["context"], users=options["users"])
    found = choose(offers(group, wish.purpose, options["vllm_version"]), wish, options["top"] or None)
    if not found:
        raise PlannerError(f"no model of the catalogue starts on {group.label} for {wish.purpose} as asked", "a shorter --context, or --for chat")
    _print(options["style"], lambda: models_json(found, group, wish), lambda: render_models(found, group, wish))
    return 0 if found[0].meets and found[0].fit.verdict == "starts" else 1


def _refuse_old(gpu: GpuSpec, version: str) -> None:
    """A GPU that no model runs on is the answer, not that no model was found."""
    from planner.engines.vllm import rules
    from planner.engines.vllm.versions import newest_for

    try:
        rules.check_gpu(gpu, version)
    except UnsupportedError as error:
        older = newest_for(gpu.capability)
        raise PlannerError(str(error), f"--vllm-version {older}" if older else "llama.cpp may: plan --engine llama.cpp --model …") from None


def _machines(options: dict[str, Any]) -> int:
    from planner.catalogue.load import gpu_rows
    from planner.catalogue.prices import read_prices
    from planner.questions.machines import Need, machines
    from planner.report.chosen import machines_json, render_machines

    prices = read_prices(options["prices"])
    stored = stored_ways(options["model"], options["quantization"])
    limit = stored[0].model.max_position_embeddings
    need = Need(options["context"] or min(limit, DEFAULT_CONTEXT), options["users"] or 1)
    if need.context > limit:
        raise PlannerError(f"a context of {need.context:,} is beyond the model's {limit:,}", f"use --context {limit}")
    gpus = [row.spec() for row in gpu_rows() if row.vendor != "apple"]
    found, could = machines(stored, gpus, need, prices, options["top"] or len(gpus))
    name = options["model"]
    _print(options["style"], lambda: machines_json(found, could, name, need), lambda: render_machines(found, could, name, need))
    return 0


def stored_ways(name: str, online: str | None) -> list[Any]:
    """The ways to store the model: all of the catalogue's where the plain name is given, else the one that is named."""
    from planner.architecture.quantization import weight_bits
    from planner.catalogue.load import Entry, find_model
    from planner.catalogue.resolve import find_source, slug
    from planner.questions.machines import Stored

    source = find_source(name, online)
    entry = find_model(name)
    if entry is None or online or not entry.variant.default:
        quantization: Any = source.config.get("quantization_config") or {}
        return [Stored(source.served_name, source.repo, 8 if online else weight_bits(quantization), source.spec)]
    siblings = [Entry(entry.row, variant) for variant in entry.row.variants if variant.runtime == "vllm" and variant.name != "base"]
    own = entry.row.config.get("quantization_config") or {}
    return [Stored(slug(one.name), one.variant.repo, weight_bits(one.variant.quantization or own), one.spec()) for one in siblings]

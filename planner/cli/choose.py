"""`plan --gpu …` without a model, and `plan --model …` without a GPU: what to run, and what to run it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cli.printing import print_json, print_report
from planner.facts.hardware import GpuGroup, Host

if TYPE_CHECKING:
    from planner.cli.values import PlanValues


def is_choice(values: PlanValues) -> bool:
    """Whether the question leaves the model or the GPU open."""
    return values.stack_file is None and (values.gpu is None) != (values.model is None)


def run_choice(values: PlanValues) -> int:
    """Answer it; the exit code."""
    return _machines(values, values.model) if values.model else _models(values, values.gpu or "")


def _models(values: PlanValues, gpu: str) -> int:
    from planner.catalogue.load import find_gpu
    from planner.machine.calibration import calibrated
    from planner.questions.choose import Wish
    from planner.questions.shortlist import models_for
    from planner.report.chosen import models_json, render_models

    group = GpuGroup(gpu=calibrated(find_gpu(gpu)), count=values.count, host=Host(values.host_kind), ram_bytes=values.ram or 0)
    wish = Wish(purpose=values.purpose or "chat", context=values.service.context_tokens, users=values.service.users, min_tokens_per_s=values.min_speed)
    answer = models_for(group, wish, engine=values.engine, version=values.vllm_version, top=values.top or None)
    if values.style == "json":
        print_json(models_json(answer))
    else:
        print_report(render_models(answer))
    return 0 if answer.requirements_met else 1


def _machines(values: PlanValues, name: str) -> int:
    from planner.questions.shortlist import machines_for
    from planner.report.machines import machines_json, render_machines

    service = values.service
    answer = machines_for(
        name,
        values.prices,
        quantization=service.quantization,
        context=service.context_tokens,
        users=service.users,
        min_tokens_per_s=values.min_speed,
        top=values.top or None,
    )
    if values.style == "json":
        print_json(machines_json(answer))
    else:
        print_report(render_machines(answer))
    return 0

"""The options of the command line as one question."""

from __future__ import annotations

from planner.cli.command import words
from planner.cli.values import PlanValues, QuestionValues
from planner.errors import PlannerError
from planner.facts.question import StackRow
from planner.questions.stack_file import address, read_stack, with_row


def question_row(values: PlanValues) -> StackRow:
    """The question as one row, whichever way it was asked."""
    if values.stack_file is not None:
        return read_stack(values.stack_file)
    gpu = _gpu(values)
    try:
        address(values.bind)
    except ValueError as error:
        raise PlannerError(f"--bind {values.bind[:60]!r}: {error}") from None
    return StackRow(
        gpu=gpu,
        count=values.count,
        nodes=values.nodes,
        host=values.host_kind,
        bind=values.bind,
        proxy_port=values.proxy_port,
        vllm_version=values.vllm_version,
        engine=values.engine,
        ram=values.ram,
        vram=values.vram,
        bandwidth=values.bandwidth,
        compute_capability=values.compute_capability,
        vendor=values.vendor,
        total_gib=values.total_gib,
        free_gib=values.free_gib,
        wired_limit_mb=values.wired_limit_mb,
        link_gb_per_s=values.link_gb_per_s,
        power_limit_w=values.power_limit_w,
        services=[values.service, *(with_row(text) for text in values.beside)],
    )


def lone_row(values: QuestionValues) -> StackRow:
    """The question about one model of a command that takes neither several servers nor several machines."""
    return StackRow(
        gpu=_gpu(values),
        count=values.count,
        host=values.host_kind,
        vllm_version=values.vllm_version,
        link_gb_per_s=values.link_gb_per_s,
        power_limit_w=values.power_limit_w,
        services=[values.service],
    )


def _gpu(values: QuestionValues) -> str:
    """The GPU that is named. Raises PlannerError where it or the model is not."""
    if values.gpu and values.service.model:
        return values.gpu
    lacking = ({} if values.gpu else {"gpu": "rtx4090"}) | ({} if values.service.model else {"model": "qwen3-8b"})
    raise PlannerError(f"--{next(iter(lacking))} is missing", f"try: {words(lacking)}")

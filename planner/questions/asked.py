"""A question as a program asks it, by keyword arguments: their types, and the row that they are, every value checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from typing_extensions import TypedDict

from planner.engines.vllm.versions import VERSIONS
from planner.errors import PlannerError
from planner.facts.command_line import AUTO
from planner.facts.hardware import GpuGroup
from planner.facts.question import HostName, StackRow
from planner.questions.choose import CONTEXTS
from planner.questions.fields import FIELDS
from planner.questions.stack_file import stack_row
from planner.units import parse_seconds

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Purpose = Literal["agent", "chat", "code", "vision", "embedding"]
File = str | Path
Host = HostName


class CapacityPins(TypedDict, total=False):
    """Settings of vLLM's server that are fixed, named as its flags; the others are chosen."""

    tensor_parallel_size: int | None
    pipeline_parallel_size: int | None
    data_parallel_size: int | None
    decode_context_parallel_size: int | None
    cpu_offload_gb: float | None
    gpu_memory_utilization: float | None
    kv_cache_dtype: str | None
    kv_cache_memory_bytes: int | str | None
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    enforce_eager: bool | None
    enable_expert_parallel: bool
    skip_mm_profiling: bool
    dtype: str
    quantization: str | None
    """vLLM's method, a GGUF mix (Q4_K_M), or MLX's (4bit, 8bit-g32, mxfp4)."""
    speculative_config: str | None
    """What drafts tokens: mtp:3, ngram:5, eagle3:OWNER/NAME:3, or vLLM's JSON."""
    acceptance_length: float | None
    """For the speed: tokens that a step with drafts gives on average, its own counted."""
    enable_lora: bool
    max_loras: int | None
    max_lora_rank: int | None
    fully_sharded_loras: bool


class Pins(CapacityPins, total=False):
    """Settings that are fixed; of the context (`context`) this one is vLLM's own."""

    max_model_len: int | str | None


class ServerSettings(TypedDict, total=False):
    """Settings that only some engines' servers have, named as the options (`plan --help`)."""

    parallel: int | str | None
    """Slots, each with its own cache; auto: four that share one."""
    kv_unified: bool | None
    batch_size: int | None
    ubatch_size: int | None
    flash_attn: Literal["on", "off", "auto"] | None
    cache_type_k: str | None
    cache_type_v: str | None
    split_mode: Literal["none", "layer", "row", "tensor"] | None
    device: str | None
    main_gpu: int | None
    tensor_split: str | None
    cpu_moe: bool | None
    n_cpu_moe: int | None
    override_tensor: str | None
    spec_type: str | None
    spec_draft_n_max: int | None
    model_draft: str | None
    n_gpu_layers_draft: int | None
    cache_type_k_draft: str | None
    cache_type_v_draft: str | None
    mmproj: bool | None
    image_min_tokens: int | None
    image_max_tokens: int | None
    engine_version: str | None
    gpu_layers: int | None


class MachineSettings(TypedDict, total=False):
    """What is said of a machine beside its GPU's name, named as the options."""

    ram: int | str | None
    """Main memory: 64GiB."""
    vram: int | str | None
    """Of a card that is described (gpu="custom"), as are the next three."""
    bandwidth: float | None
    compute_capability: str | None
    vendor: Literal["nvidia", "amd", "intel"] | None
    total_gib: float | None
    free_gib: float | None
    power_limit_w: float | None
    """What each GPU is held to (nvidia-smi -pl)."""


class PlanSettings(Pins, ServerSettings, MachineSettings, total=False):
    """All that a plan may fix."""


class OwnRows(TypedDict, total=False):
    """Files of a person's own rows beside the catalogue's."""

    gpus: File | None
    models: File | None


def group_of(row: StackRow) -> GpuGroup:
    """The GPUs of a question, with what was observed on them before. Raises PlannerError for one that is not known."""
    from planner.questions.machine import machine_of

    return machine_of(row)


def refuse_both(gpu: str | None, model: str | None) -> None:
    """Raise PlannerError where a choice leaves neither the GPU nor the model open, or both."""
    if (gpu is None) == (model is None):
        raise PlannerError("choose() takes either gpu or model", "plan() takes both")


def purpose_of(purpose: str) -> str:
    """What a model is chosen for. Raises PlannerError for what nothing is chosen for."""
    if purpose not in CONTEXTS:
        raise PlannerError(f"purpose is {purpose[:60]!r}", f"one of {', '.join(CONTEXTS)}")
    return purpose


@contextmanager
def naming(gpu: str | None, count: int | None, gpus: File | None, models: File | None) -> Iterator[int]:
    """Let names mean what own files and this machine say, as long as a question is answered; the number of GPUs that is meant."""
    from planner.catalogue.load import current, using

    catalogue = current()
    if gpus or models:
        from planner.catalogue.own import own_catalogue

        catalogue = own_catalogue(Path(gpus) if gpus else None, Path(models) if models else None)
    if gpu == AUTO:
        from planner.machine.detect import this_machine

        here = this_machine()
        catalogue, count = replace(catalogue, here=here.gpu), here.count if count is None else count
    with using(catalogue):
        yield 1 if count is None else count


def needed(name: str, value: str | None, example: str) -> str:
    """What a question cannot do without. Raises PlannerError where it is not given."""
    if value:
        return value
    raise PlannerError(f"{name} is missing", f'{name}="{example}"')


def row_of(where: str, machine: Mapping[str, object], service: Mapping[str, object]) -> StackRow:
    """The question, every value of it checked; what is None is not said."""
    said = {name: value for name, value in machine.items() if value is not None}
    if isinstance(slots := service.get("parallel"), int) and not isinstance(slots, bool):
        service = {**service, "parallel": str(slots)}
    return stack_row(said | {"services": [{name: value for name, value in service.items() if value is not None}]}, where, lambda _: where)


def release(version: str | None) -> str | None:
    """A release whose rules are known. Raises PlannerError."""
    if version is not None and version not in VERSIONS:
        raise PlannerError(f"vllm_version is {version[:60]!r}", f"one of {', '.join(VERSIONS)}")
    return version


def whole(name: str, value: int) -> int:
    """A whole number within the bounds of an option. Raises PlannerError."""
    try:
        return FIELDS[name].bounded(value)
    except ValueError as error:
        raise PlannerError(f"{name} is {str(value)[:60]!r}: {error}") from None


def within(name: str, value: float, least: float, most: float) -> float:
    """A number within bounds. Raises PlannerError."""
    if not least <= value <= most:  # no NaN is
        raise PlannerError(f"{name} is {value}: expected a number from {least:g} to {most:g}")
    return value


def seconds(name: str, value: float | str) -> float:
    """A time in seconds, or as people write it: 50ms. Raises PlannerError."""
    try:
        return parse_seconds(value if isinstance(value, str) else f"{value}s")
    except ValueError as error:
        raise PlannerError(f"{name} is {str(value)[:60]!r}: {error}") from None


def public(kind: Callable[..., T], answer: DataclassInstance) -> T:
    """A question's answer as the one of its fields that a program gets."""
    return kind(**{field.name: getattr(answer, field.name) for field in fields(answer)})

"""The fields of the page's forms: what each is called there, what may be chosen, what an empty one stands for. Bounds are those of every other door."""

from __future__ import annotations

from functools import cache
from typing import Literal

from planner.catalogue import load
from planner.catalogue.load import Catalogue, Entry
from planner.catalogue.rows import GpuRow
from planner.engines import ENGINES, usual_words
from planner.facts.command_line import flag_of
from planner.facts.question import HOSTS
from planner.facts.record import dataclass
from planner.facts.settings import Kind, Setting
from planner.questions.choose import CONTEXTS
from planner.questions.command_line import SETTINGS
from planner.questions.machine import CUSTOM, VENDORS
from planner.report.chosen import PURPOSES

BESIDE = ("beside", "beside_2", "beside_3")
Source = Literal["", "gpu", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field: `names` says whose names are offered, `choices` are all there are, `rows` are those of a text of several lines."""

    name: str
    label: str
    placeholder: str = ""
    names: Source = ""
    choices: tuple[tuple[str, str], ...] = ()
    rows: int = 0


_LABELS = {
    "gpu": ("GPU or Mac", "rtx4090"),
    "count": ("How many", "1"),
    "model": ("Model", "qwen3-8b, or owner/name"),
    "context": ("Context", "the longest"),
    "users": ("Users", "1"),
    "input": ("Prompt tokens", "2000"),
    "output_tokens": ("Output tokens", "500"),
    "concurrency": ("Requests at once", "as many as fit"),
    "beside": ("Second server", "none"),
    "beside_2": ("Third server", "none"),
    "beside_3": ("Fourth server", "none"),
    "vram": ("Memory", "16GiB"),
    "bandwidth": ("Bandwidth, GB/s", "672"),
    "compute_capability": ("Compute capability", "8.9"),
    "free_gib": ("Free, GiB", "all of it"),
    "total_gib": ("Total for CUDA, GiB", "the catalogue's"),
    "ram": ("Main memory", "64GiB"),
    "min_speed": ("At least tokens/s", "reading speed"),
    "top": ("How many to show", "10"),
    "ttft": ("First token within", "2s"),
    "tpot": ("A further one within", "50ms"),
    "rate": ("Requests a second", "as many as it holds"),
    "percentile": ("Share of first tokens, %", "95"),
    "turns": ("Turns of a session", "no sessions"),
    "pause": ("A tool takes", "5s"),
    "tool_tokens": ("Tokens of its result", "500"),
    "subagents": ("Conversations beside it", "0"),
    "kv_offloading_size": ("Cache in main memory, GiB", "0"),
    "documents": ("Documents in all", "none"),
    "rent_usd_per_hour": ("Rent, $ an hour", "the price that is known"),
    "buy_usd": ("To buy, $", "the price that is known"),
    "years": ("Years it serves", "3"),
    "utilization": ("Share of paid hours that serve", "1"),
    "usd_per_kwh": ("$ a kWh", "not counted"),
    "watts": ("It draws, W", "the GPUs' limit"),
    "idle_watts": ("Idle it draws, W", "not counted"),
    "api": ("API to compare with", "the cheapest, or PROVIDER:MODEL"),
    "quantization": ("Quantization", "as published"),
    "kv_cache_dtype": ("KV cache", "the best that fits"),
    "tensor_parallel_size": ("Tensor parallel", "what suits"),
    "gpu_memory_utilization": ("Memory utilization", "what suits"),
    "server": ("Which server", "the only one"),
    "engine_version": ("Release", "the newest"),
    "nodes": ("Machines", "1"),
}
_OPEN = {"context": "what it is for", "users": "1"}
_SEVERAL = {"gpu": "rtx4090, or several with commas", "count": "1, or 1,2,4", "model": "qwen3-14b, or several with commas"}


def setting_of(name: str) -> Setting | None:
    """The setting that a field is, None where no engine has it."""
    return SETTINGS.get(name)


def flag(name: str) -> str:
    """The flag of the command line that a field stands for."""
    if name in BESIDE:
        return flag_of("beside")
    return flag_of({"host": "host_kind"}.get(name, name))


def field_of(name: str, *, several: bool = False) -> Field:
    """A field as a form shows it; `several` names may stand in it with commas."""
    label, placeholder = _LABELS.get(name, (name.replace("_", " ").capitalize(), ""))
    names: Source = "gpu" if name == "gpu" else "model" if name in ("model", *BESIDE) else ""
    if several:
        placeholder = _SEVERAL.get(name, placeholder)
    rows = {"command": 7, "log": 12}.get(name, 0)
    if rows:
        label = {"command": "A command, or the text of a file that starts one", "log": "The log, its last lines or one line of it"}[name]
        placeholder = next(iter(ENGINES.values())).example if name == "command" else ""
    return Field(name=name, label=label, placeholder=placeholder, names=names, choices=_choices(name), rows=rows)


def _choices(name: str) -> tuple[tuple[str, str], ...]:
    if name == "host":
        return tuple((host, host) for host in HOSTS)
    if name == "engine":
        return tuple((engine, engine or usual_words()) for engine in ("", *ENGINES))
    if name == "purpose":
        return tuple((purpose, PURPOSES[purpose]) for purpose in sorted(CONTEXTS, key=list(PURPOSES).index))
    if name == "vendor":
        return (("", "nvidia"), *((vendor, vendor) for vendor in VENDORS[1:]))
    setting = SETTINGS.get(name)
    if setting and setting.kind is Kind.SWITCH:
        return (("", "what suits"), ("yes", "yes"), ("no", "no"))
    return (("", "what suits"), *((choice, choice) for choice in setting.choices)) if setting and setting.choices else ()


def known_names() -> dict[str, list[str]]:
    """The names that may be typed: of GPUs, of models."""
    return _names_of(load.current())


@cache
def _names_of(catalogue: Catalogue) -> dict[str, list[str]]:
    gpus = [name for row in catalogue.gpu_rows() for name in _gpu_names(row)]
    models = [Entry(row, variant).name for row in catalogue.model_rows() for variant in row.variants if variant.is_listed]
    return {"gpu": [*gpus, CUSTOM], "model": models}


def _gpu_names(row: GpuRow) -> list[str]:
    return [f"{row.name}-{size}gb" for size in row.memory_options_gb] or [row.name]

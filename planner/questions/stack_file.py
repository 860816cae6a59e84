"""What a person asks of several servers: `--with NAME:key=value,…`, or a stack file. Plain YAML, no anchors, every key known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TypeVar

from planner.engines import ENGINES
from planner.engines.vllm.settings import PINS
from planner.errors import PlannerError, did_you_mean
from planner.facts.hardware import Host
from planner.facts.question import ServiceRow, StackRow
from planner.facts.settings import asked_text
from planner.facts.speed import MOST_DRAFTED
from planner.questions.fields import FIELDS, MOST_LINK_GB_PER_S, MOST_POWER_W

MAX_FILE_BYTES, MAX_SERVICES = 64 * 1024, 32
_NAME = r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?\Z"  # a label in DNS, Kubernetes, a systemd unit, a shell function and YAML
_ADDRESS = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})\Z|[0-9a-fA-F:.]{2,45}\Z"
Row = TypeVar("Row", ServiceRow, StackRow)
_WITH = r"(?s)\A(.*?)(?::([A-Za-z_-]+=.*))?\Z"


def _up_to(most: int, unit: str) -> Callable[[object], float]:
    """What reads a number of a unit, above zero."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not most >= value > 0:
            raise ValueError(f"expected a number of {unit} up to {most}")
        return float(value)

    return read


def _label(value: object) -> str:
    if not isinstance(value, str) or not is_label(value):
        raise ValueError("expected lower case letters, digits and dashes, a letter first, at most 40 of them")
    return value


def address(value: object) -> str:
    """An address to listen on: it goes into scripts and URLs. Raises ValueError for what is none."""
    if not isinstance(value, str) or not re.match(_ADDRESS, value):
        raise ValueError("expected an address like 127.0.0.1, ::1 or a host name")
    return value


def is_label(value: str) -> bool:
    """Whether a name is safe in DNS, Kubernetes, systemd, shell and YAML."""
    return re.match(_NAME, value) is not None


_READERS: dict[str, Callable[[object], object]] = {
    **{setting.name: setting.asked for setting in (*FIELDS.values(), *PINS)},
    "name": _label,
    "bind": address,
    "link_gb_per_s": _up_to(MOST_LINK_GB_PER_S, "GB/s"),
    "acceptance_length": _up_to(MOST_DRAFTED + 1, "tokens a step"),
    "power_limit_w": _up_to(MOST_POWER_W, "watts"),
}


def _read(data: Mapping[str, object], row_type: type, where: str) -> dict[str, object]:
    """The values of a mapping by the keys of a row. Raises PlannerError for a key that is unknown or missing, and for a bad value."""
    known = {item.name: item for item in fields(row_type)}
    values: dict[str, object] = {}
    for key, value in data.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise PlannerError(f"{where}: unknown key {str(key)[:60]!r}", did_you_mean(name, known) or f"known: {', '.join(known)}")
        if name in values:
            raise PlannerError(f"{where}: {name} is given twice")
        try:
            reader: Callable[[object], object] = _READERS.get(name, asked_text)
            values[name] = reader(value) if name not in ("services", "comment") else value
        except (ValueError, TypeError, OverflowError) as error:
            raise PlannerError(f"{where}: {name} is {str(value)[:60]!r}: {error}") from None
    missing = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING and name not in values]
    if missing:
        raise PlannerError(f"{where}: {missing[0]} is missing")
    return values


def _made(row_type: Callable[..., Row], values: Mapping[str, object]) -> Row:
    """A row of values that were read for it."""
    return row_type(**values)


def with_row(text: str) -> ServiceRow:
    """The server that `--with NAME:key=value,…` asks for. A model's own tag (qwen3-embedding:0.6b) is no setting."""
    model, pinned = next(iter(re.findall(_WITH, text)), ("", ""))
    settings: dict[str, object] = {"model": model}
    for part in pinned.split(",") if pinned else ():
        key, equals, value = part.partition("=")
        if not equals or key.strip() in settings:
            raise PlannerError(f"--with {text[:80]}: {part!r} is not one key=value", "NAME:key=value,key=value")
        settings[key.strip()] = _number(value.strip())
    return _made(ServiceRow, _read(settings, ServiceRow, f"--with {model[:60]}"))


def _number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def read_stack(path: Path) -> StackRow:
    """A stack file. Raises PlannerError with what is wrong in it."""
    from planner.catalogue.yaml_file import read_yaml

    data = read_yaml(path, MAX_FILE_BYTES)
    if not isinstance(data, dict):
        raise PlannerError(f"{path}: expected a mapping with gpu and services", "`plan schema stack` prints what it may hold")
    return stack_row(data, str(path), lambda index: f"{path}: services[{index}]")


def stack_row(data: Mapping[str, object], where: str, service_at: Callable[[int], str]) -> StackRow:
    """The question that a mapping holds, every value checked; `where` and `service_at` begin what is said of a fault. Raises PlannerError."""
    row = _read(data, StackRow, where)
    services = row.pop("services")
    if not isinstance(services, list) or not services or not all(isinstance(service, dict) for service in services):
        raise PlannerError(f"{where}: services: expected a list of mappings, each with a model")
    if len(services) > MAX_SERVICES:
        raise PlannerError(f"{where}: {len(services)} services; at most {MAX_SERVICES} share a machine")
    if row.get("host", "server") not in [str(host) for host in Host]:
        raise PlannerError(f"{where}: host is {row['host']!r}", f"one of {', '.join(Host)}")
    if row.get("engine") not in (None, *ENGINES):
        raise PlannerError(f"{where}: engine is {row['engine']!r}", f"one of {', '.join(ENGINES)}")
    return _made(StackRow, {**row, "services": [_made(ServiceRow, _read(service, ServiceRow, service_at(index))) for index, service in enumerate(services)]})

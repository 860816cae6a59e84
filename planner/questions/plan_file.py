"""Reading a plan.json, which may be a stranger's: every field is checked before anything is made of it, since it goes into scripts.

A field has a pattern or a range of its own below, or else that of its type: a new text is one printable line, a new number is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from planner.engines import ENGINES, known_programs, serving_of
from planner.engines.naming import RESERVED_NAMES
from planner.errors import FileError, PlannerError
from planner.facts.deployment import Deployment, Service
from planner.facts.document import json_object
from planner.questions.fields import MOST_CONTEXT, MOST_COUNT, MOST_NODES, MOST_PORT, MOST_USERS
from planner.questions.stack_file import MAX_SERVICES, address, is_label
from planner.reader import parse_json, read_bytes
from planner.text import is_line, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_FILE_BYTES = 4 * 1024 * 1024
MOST_NUMBER = 1 << 60
MOST_WORDS, MOST_TEXT = 1000, 4096
# Whose variables a service may set beside its engines' own: others (PATH, LD_PRELOAD, BASH_ENV, PYTHONPATH) decide which code runs.
_LIBRARIES = ("CUDA", "HIP", "ROCR", "HSA", "NCCL", "HF", "PYTORCH", "TOKENIZERS", "OMP")
_VARIABLE = re.compile(r"[A-Z0-9]{1,20}_[A-Z0-9_]{1,60}\Z")
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}\Z")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,199}\Z")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}\Z")
_HEALTH = re.compile(r"/[A-Za-z0-9._/-]{0,99}\Z")
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,59}\Z")
_WHOLE_SETTINGS = ("max_model_len", "hidden_bytes_per_token", "max_num_batched_tokens", "gpu_layers_pinned")  # what emitters count with
Check = Callable[..., bool]  # of a field whose type pydantic has checked


def _text(value: object) -> bool:
    """One printable line."""
    return isinstance(value, str) and len(value) <= MOST_TEXT and is_line(value)


def _word(value: object) -> bool:
    """A line that no command takes for a flag."""
    return isinstance(value, str) and _text(value) and bool(value.strip()) and not value.startswith("-")


def _like(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.match(value) is not None


def _within(least: float, most: float, value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most)  # no NaN is


def _address(value: object) -> bool:
    try:
        address(value)
    except ValueError:
        return False
    return True


def _settings(value: Mapping[str, object]) -> bool:
    counted = [value[name] for name in _WHOLE_SETTINGS if name in value]
    within = all(isinstance(number, int) and 0 <= number <= MOST_CONTEXT for number in counted)
    return within and bool(value.get("max_model_len")) and all(_like(_SETTING, name) and _any(setting) for name, setting in value.items())


def _env(value: Mapping[str, str]) -> bool:
    owners = {*_LIBRARIES, *(variable for engine in ENGINES.values() for serving in engine.serving.values() for variable in serving.variables)}
    return all(_like(_VARIABLE, name) and name.partition("_")[0] in owners and _text(text) for name, text in value.items())


def _words(value: tuple[object, ...]) -> bool:
    return len(value) <= MOST_WORDS and all(map(_text, value))


def _any(value: object) -> bool:
    """What has no check of its own, by its type."""
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        return _within(-MOST_NUMBER, MOST_NUMBER, value)
    return _words(value) if isinstance(value, tuple) else _text(value)


_CHECKS: dict[str, Check] = {
    "title": lambda value: bool(value.strip()) and _text(value),
    "gpu": partial(_like, _GPU),
    "count": partial(_within, 1, MOST_COUNT),
    "nodes": partial(_within, 1, MOST_NODES),
    "bind": _address,
    "host": _address,
    "port": partial(_within, 1, MOST_PORT),
    "proxy_port": partial(_within, 1, MOST_PORT),
    "services": lambda value: 1 <= len(value) <= MAX_SERVICES,
    "name": is_label,
    "engine": lambda value: value in known_programs(),
    "version": partial(_like, _VERSION),
    "model": _word,
    "served_name": _word,
    "alias": partial(_like, _ALIAS),
    "argv": _words,
    "env": _env,
    "health": partial(_like, _HEALTH),
    "gpus": lambda value: len(set(value)) == len(value) and all(_within(0, MOST_COUNT - 1, gpu) for gpu in value),
    "settings": _settings,
    "weights_bytes": partial(_within, 0, 1 << 50),
    "users": partial(_within, 1, MOST_USERS),
    "slowest_answer_s": partial(_within, 0, MOST_NUMBER),
    "temperature": partial(_within, 0, 10),
    "top_p": partial(_within, 0, 1),
    "top_k": partial(_within, -1, 1_000_000),
    "min_p": partial(_within, 0, 1),
    "presence_penalty": partial(_within, -10, 10),
    "max_tokens": partial(_within, 1, MOST_CONTEXT),
}


def read_deployment(path: Path) -> Deployment:
    """What a plan.json says is to run where. Raises PlannerError for a file that holds no plan, or one that `plan` would not write."""
    from pydantic import ValidationError

    from planner.catalogue.validation import adapter

    try:
        if path.is_dir():
            path = path / "plan.json"
        data = json_object(parse_json(read_bytes(path, MAX_FILE_BYTES, "a plan"), path))
        deployment: Deployment = adapter(Deployment).validate_json(json.dumps(data["deployment"]))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        where = f": {'.'.join(map(str, error.errors()[0]['loc']))}" if isinstance(error, ValidationError) else ""
        raise _no_plan(path, where) from None
    if fault := next(faults(deployment), None):
        raise _no_plan(path, f": {fault}")
    return deployment


def _no_plan(path: Path, where: str) -> PlannerError:
    return PlannerError(f"{path} is no plan.json of this version{shown(where, 100)}", "`plan … --output DIR` writes one")


def faults(deployment: Deployment) -> Iterator[str]:
    """The fields that no plan has so, each with its place; what belongs together is looked at once each is good."""
    alone = list(_fields(deployment, ""))
    yield from alone or _together(deployment)


def _fields(row: DataclassInstance, where: str) -> Iterator[str]:
    for item in fields(row):
        value, place = getattr(row, item.name), f"{where}{item.name}"
        if is_dataclass(value) and not isinstance(value, type):
            yield from _fields(value, f"{place}.")
            continue
        if not _CHECKS.get(item.name, _any)(value):
            yield place
        elif item.name == "services":
            for index, service in enumerate(value):
                yield from _fields(service, f"{place}.{index}.")


def _together(deployment: Deployment) -> Iterator[str]:
    """What holds between fields."""
    processes = deployment.processes
    names, ports = [service.name for service in deployment.services], [process.port for process in processes]
    places = {(process.engine, process.host, process.port) for process in processes}
    if deployment.count % deployment.nodes:
        yield "count"
    if not deployment.main.is_process and not serving_of(deployment.main.engine).shares_process:
        yield "services"
    if len({*names, *RESERVED_NAMES}) < len(names) + len(RESERVED_NAMES) or len({*ports, deployment.proxy_port}) <= len(ports):
        yield "services: two of one name or port"
    for index, service in enumerate(deployment.services):
        if service.is_process and not _command(service):
            yield f"services.{index}.argv"
        if not service.is_process and (service.engine, service.host, service.port) not in places:
            yield f"services.{index}.port"
        if any(gpu >= deployment.count for gpu in service.gpus):
            yield f"services.{index}.gpus"


def _command(service: Service) -> bool:
    """Whether a command starts its own engine, where the service says, with flags behind the model."""
    argv = service.argv
    serving = serving_of(service.engine)
    own, words = argv[: len(serving.command)], argv[len(serving.command) :]
    if own != serving.command:
        return False
    if serving.takes_model_first and (words[:1] != (service.model,) or not (words[1:2] or ("",))[0].startswith("--")):
        return False
    told = [(flag, argv[at + 1 : at + 2]) for at, flag in enumerate(argv) if flag in ("--host", "--port")]
    return all(value == ((service.host,) if flag == "--host" else (str(service.port),)) for flag, value in told)

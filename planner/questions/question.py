"""A question in its normal form: what was asked, however it was spelled. It names the folder of the files, and plan.json keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path

from planner.catalogue import load
from planner.catalogue.data import RowData
from planner.engines import ENGINES
from planner.engines.catalogue import form_key
from planner.engines.vllm.settings import PINS
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.facts.alternatives import WITHOUT, Alternative
from planner.facts.command_line import AUTO
from planner.facts.hardware import GpuSpec
from planner.facts.question import ServiceRow, StackRow
from planner.questions.command_line import command_line
from planner.questions.fields import FIELDS
from planner.questions.machine import gpus_of
from planner.text import shown, slug

Question = RowData
"""What differs from the defaults, by the keys of a stack file; beside them `first_port`, `read_here` (--gpu auto) and `to` (formats)."""

# Settings of the main server that a folder's name says in words; whatever else was asked is in the digits behind them.
READABLE = {setting.name: setting.short for setting in (*FIELDS.values(), *PINS) if setting.short}
MOST_LABEL, DIGITS = 80, 8


def engine_of(named: str | None, gpu: GpuSpec) -> str:
    """The engine that is asked for; where none is named the first that is the usual one of such a GPU."""
    return named or next(name for name, engine in ENGINES.items() if gpu.vendor in engine.usual_on)


def question_of(row: StackRow, first_port: int | None = None, formats: Iterable[str] = ()) -> Question:
    """The normal form: names as the catalogue has them, numbers as numbers, what is as by default left out. Raises PlannerError for an unknown GPU."""
    gpus = gpus_of(row.gpu, row)
    gpu, count = gpus[0], row.count
    if len({card.name for card in gpus}) == 1:
        gpus, count = gpus[:1], row.count * len(gpus)
    named = ",".join(card.name for card in gpus)
    engine = ENGINES[engine_of(row.engine, gpu)]
    main, *others = (_normal(service) for service in row.services)
    if main.port is None:
        main = replace(main, port=first_port)
    if main.port == engine.first_port:
        main = replace(main, port=None)
    is_default = engine.name == engine_of(None, gpu)
    version = None if row.vllm_version == DEFAULT_VERSION else row.vllm_version
    whole = replace(row, gpu=named, count=count, engine=None if is_default else row.engine, vllm_version=version, comment="", services=[])
    question = {"gpu": named} | said_of(whole) | {"services": [said_of(service) for service in (main, *others)]}
    if first_port not in (None, engine.first_port) and others:
        question["first_port"] = first_port
    if row.gpu == AUTO:
        question["read_here"] = True
    catalogue = load.current()
    question |= {name: file for name, file in (("own_gpus", catalogue.gpus_file), ("own_models", catalogue.models_file)) if file}
    if wanted := sorted(set(formats)):
        question["to"] = wanted
    return question


def said_of(row: StackRow | ServiceRow) -> dict[str, object]:
    """The fields of a row that are not as by default."""
    return {name: value for name, default in _defaults(type(row)).items() if (value := getattr(row, name)) != default}


def _defaults(row_type: type) -> dict[str, object]:
    return {item.name: item.default for item in fields(row_type) if item.default_factory is MISSING and item.name != "services"}


def _normal(service: ServiceRow) -> ServiceRow:
    return replace(service, model=_model(service.model), quantization=form_key(service.quantization) or None)


def _model(name: str) -> str:
    """A model's name in the catalogue, a path with its ./ or / before it, or the name on the Hub."""
    path = Path(name)
    try:
        is_path = path.suffix == ".gguf" or path.exists()
        path = path.parent if path.suffix in (".safetensors", ".json") and path.is_file() else path
    except (OSError, ValueError):  # too long for a path
        is_path = False
    if is_path:
        return str(path) if path.is_absolute() else f"./{path}"
    entry = load.find_model(name)
    return entry.name if entry else name


def folder_name(question: Question) -> str:
    """The name of the folder for a question's files: readable where that holds all of it, else with a few digits of its digest."""
    rest = {key: value for key, value in question.items() if key not in ("gpu", "count", "services", "engine", "read_here")}
    main, *others = ({**service} for service in question["services"])
    models = [service.pop("model") for service in (main, *others)]
    settings = [f"{word}{main.pop(key)}" for key, word in READABLE.items() if key in main]
    label = "-with-".join(map(_short, models))
    machine = f"{question['gpu'].replace(',', '-')}x{question.get('count', 1)}"
    words = [machine, *([question["engine"]] if "engine" in question else []), *(["auto"] if "read_here" in question else []), *settings]
    is_whole = not (rest or main or any(others)) and len(label) <= MOST_LABEL and all(map(_is_plain, models))
    return "-".join([label[:MOST_LABEL].strip("-."), *words, *([] if is_whole else [digits(question)])])


def digits(question: Question) -> str:
    """A few hexadecimal digits that stand for the whole question."""
    import hashlib

    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _short(model: str) -> str:
    return slug(model.rpartition("/")[2])


def _is_plain(model: str) -> bool:
    """Whether a model's name is the catalogue's, so that its short form stands for nothing else."""
    return "/" not in model and _short(model) == model and load.find_model(model) is not None


def differences(theirs: object, mine: Question) -> tuple[str, str]:
    """What two questions ask differently, each in its own words: ("context 131072, users 4", "context 65536, no users"); empty where nothing is.

    `theirs` comes out of a file: anything may be in it.
    """
    there, here = _flat(theirs), _flat(mine)
    keys = [key for key in dict.fromkeys((*here, *there)) if here.get(key) != there.get(key)]
    return ", ".join(_words(key, there.get(key)) for key in keys), ", ".join(_words(key, here.get(key)) for key in keys)


def _flat(question: object) -> dict[str, object]:
    """A question without nesting: the main server's settings beside the machine's, the other servers as --with names them."""
    if not isinstance(question, Mapping):
        return {}
    flat = {str(key): value for key, value in question.items() if key != "services"}
    services = question.get("services")
    main, *others = [service for service in services if isinstance(service, Mapping)] or [{}] if isinstance(services, list) else [{}]
    return flat | {str(key): value for key, value in main.items()} | ({"with": [_beside(service) for service in others]} if others else {})


def _beside(service: Mapping[str, object]) -> str:
    """A further server as --with names it."""
    settings = ",".join(f"{key}={value}" for key, value in service.items() if key != "model")
    return f"{service.get('model')}" + (f":{settings}" if settings else "")


def _words(key: str, value: object) -> str:
    default = _defaults(StackRow).get(key) or _defaults(ServiceRow).get(key)
    said = default if value is None and default is not MISSING else value
    text = " ".join(map(str, said)) if isinstance(said, list) else str(said)
    words = key.replace("_", " ")
    return shown(f"no {words}" if said is None else f"{words} {text}", 80)


def words(question: Question) -> str:
    """The command line that asks a question, without a path of who asked it: files and folders by their last name only."""
    machine = {key: value for key, value in question.items() if key not in ("gpu", "count", "services", "host", "read_here", "first_port")}
    machine |= {key: Path(question[key]).name for key in ("own_gpus", "own_models") if key in question}
    main, *others = ({**service, "model": _last_name(service["model"])} for service in question["services"])
    model, name = main.pop("model"), main.pop("name", None)
    if name or "first_port" in question:  # only a stack file says these
        return "plan -f FILE"
    asked = {"gpu": AUTO if "read_here" in question else question["gpu"], "count": question.get("count"), "model": model, **main}
    return command_line({**asked, "host_kind": question.get("host"), "beside": [_beside(beside) for beside in others], **machine})


def typed(alternatives: Iterable[Alternative], question: Question) -> tuple[Alternative, ...]:
    """Alternatives with the whole command line that asks each; none where no line of options can (a stack file, names of servers)."""
    return tuple(replace(alternative, command=asked_otherwise(question, dict(alternative.changed), alternative.server)) for alternative in alternatives)


def asked_otherwise(question: Question, changed: Mapping[str, object], server: int = 0) -> str:
    """The command line of a question with other values for some options; empty where only a stack file can ask it."""
    machine = {key: value for key, value in question.items() if key not in ("gpu", "count", "services", "host", "read_here")}
    main, *others = question["services"]
    if "name" in main or "first_port" in question:
        return ""
    left_out = changed.get(WITHOUT)
    of_machine = {name: value for name, value in changed.items() if name in _defaults(StackRow)}
    of_server = {name: value for name, value in changed.items() if name not in (*of_machine, WITHOUT)}
    if server:
        others[server - 1] = {name: value for name, value in {**others[server - 1], **of_server}.items() if value is not None}
        of_server = {}
    beside = [_beside(service) for number, service in enumerate(others, 1) if number != left_out]
    asked = {"gpu": AUTO if "read_here" in question else question["gpu"], "count": question.get("count"), **main, **machine}
    asked |= {"host_kind": question.get("host"), "beside": beside}
    return command_line(asked, {**of_machine, **of_server})


def _last_name(model: str) -> str:
    is_path = model.startswith(("/", "./", "../"))
    return model.rstrip("/").rpartition("/")[2] or model if is_path else model

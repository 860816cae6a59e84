"""What was observed on this machine's GPUs, kept in the user's configuration folder; later plans use it and say so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.catalogue.load import find_gpu
from planner.catalogue.user_file import user_file
from planner.errors import FileError, PlannerError, PlanWarning, WorldError
from planner.facts.document import JsonObject, json_list, json_object
from planner.facts.hardware import Calibrated, GpuSpec
from planner.units import GIB
from planner.writing import locked, made, write_whole

if TYPE_CHECKING:
    from planner.facts.observed import Explained, Observed

SCHEMA, MOST_COUNT = 1, 1024
SAME_CARD = 0.04  # share by which totals of one card differ: what CUDA sees, what the driver says, what WSL keeps
MOST_BYTES = 4 * 1024 * 1024
MOST_USERS = 1 << 20


def calibration_path() -> Path:
    """Where the observations lie."""
    return user_file("calibration.json")


def _read(path: Path) -> JsonObject:
    """What was observed. Raises FileError for what is no calibration file."""
    if not os.path.lexists(path):
        return {"schema": SCHEMA, "gpus": {}}
    from planner.reader import only_texts, parse_json, read_bytes

    with only_texts(False):  # our own
        data = json_object(parse_json(read_bytes(path, MOST_BYTES, "a calibration"), path))
    if data.get("schema") != SCHEMA or not isinstance(data.get("gpus"), dict):
        raise FileError(path, "is no calibration of this version of plan")
    return data


def save(explained: Explained) -> Path:
    """Keep by how much the log's KV cache is smaller than predicted. Raises PlannerError where the log does not tell."""
    seen, predicted = explained.observed, explained.predicted
    if predicted is None or "requested_bytes" not in predicted.memory or seen.kv_cache_bytes is None:  # the cache is what others leave of a budget
        raise PlannerError("the log does not hold what a calibration needs", "it must reach 'Available KV cache memory', of a known model and GPU")
    gpu, path = predicted.group.gpu, calibration_path()
    if other := _other_card(seen, gpu):
        raise PlannerError(f"the log is of {other}, not of {gpu.title}: nothing is kept for it", "name the card that wrote it with --gpu")
    shift = int(predicted.memory["kv_cache_bytes"]) - seen.kv_cache_bytes
    _keep(path, gpu.name, lambda entry: entry | {"shift_bytes": shift, "model": seen.model, "vllm_version": seen.version})
    return path


def _other_card(seen: Observed, gpu: GpuSpec) -> str:
    """The card that a log names, or its memory, where that is not this one; empty where it is, or the log does not tell."""
    if seen.gpu:
        with suppress(PlannerError):
            if (card := find_gpu(seen.gpu)).name != gpu.name:
                return card.title
    if seen.total_bytes and abs(seen.total_bytes - gpu.memory_bytes) > SAME_CARD * gpu.memory_bytes:
        return f"a card of {seen.total_bytes / GIB:.2f} GiB"
    return ""


def _keep(path: Path, gpu: str, changed: Callable[[JsonObject], JsonObject]) -> None:
    """Change a GPU's entry: one process at a time, and the file is replaced whole. Raises PlannerError."""
    try:
        with made(path.parent), locked(path.with_name(path.name + ".lock")):
            data = _read_or_set_aside(path)
            gpus = json_object(data["gpus"])
            gpus[gpu] = changed(json_object(gpus.get(gpu)))
            write_whole(path, json.dumps(data, indent=1) + "\n")
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror or error}") from None


def _read_or_set_aside(path: Path) -> JsonObject:
    """What was observed; a file that is none is kept beside it under another name."""
    try:
        return _read(path)
    except FileError:
        path.replace(path.with_name(f"{path.name}.damaged"))
        return _read(path)


def save_speed(gpu: str, kept: Calibrated) -> Path:
    """Keep by how much longer than predicted steps and first tokens took, in place of what the same engine took on as many of these GPUs. Raises PlannerError."""
    path = calibration_path()

    def among_others(entry: JsonObject) -> JsonObject:
        others = [other for other in _speeds(entry) if (other.engine, other.count) != (kept.engine, kept.count)]
        return entry | {"speeds": [asdict(each) for each in (*others, kept)]}

    _keep(path, gpu, among_others)
    return path


def calibrated(gpu: GpuSpec) -> GpuSpec:
    """The GPU with what was observed on this machine; a file that cannot be used is passed over, with a warning."""
    try:
        kept = json_object(_read(calibration_path())["gpus"])
    except FileError as error:
        import warnings

        warnings.warn(f"{error.message}; passed over, `plan explain LOG --save-calibration` makes a new one", PlanWarning, stacklevel=2)
        return gpu
    entry = json_object(kept.get(gpu.name))
    if not entry:
        return gpu
    shift = entry.get("shift_bytes")
    usable = shift if isinstance(shift, int) and not isinstance(shift, bool) and abs(shift) < gpu.memory_bytes else None
    return replace(gpu, calibrated_shift_bytes=usable, calibrated_speeds=_speeds(entry))


def _speeds(entry: JsonObject) -> tuple[Calibrated, ...]:
    """What `plan bench` kept, one of an engine and a number of GPUs."""
    speeds = [kept for row in json_list(entry.get("speeds")) if (kept := _speed(json_object(row)))]
    return tuple({(kept.engine, kept.count): kept for kept in speeds}.values())


def _speed(row: JsonObject) -> Calibrated | None:
    """One of them; nothing where somebody wrote something else there."""
    factors = {name: row.get(name, 1.0) for name in ("step", "first_token", "crowd_step", "crowd_first_token", "crowd_total")}
    count, users, engine = row.get("count"), row.get("users", 1), row.get("engine")
    told = {name: float(value) for name, value in factors.items() if isinstance(value, int | float) and 0.01 < value < 100}
    if (
        not isinstance(count, int)
        or not isinstance(users, int)
        or not 1 <= users <= MOST_USERS
        or len(told) < len(factors)
        or not {"step", "first_token"} <= row.keys()
    ):
        return None
    if isinstance(count, bool) or not 1 <= count <= MOST_COUNT:
        return None
    return Calibrated(**told, count=count, users=users, engine=str(engine)[:40], model=str(row.get("model"))[:200])

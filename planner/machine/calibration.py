"""What was observed on this machine's GPUs, kept in the user's configuration folder; later plans use it and say so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.catalogue.user_file import user_file
from planner.errors import PlannerError
from planner.facts.document import JsonObject, json_object
from planner.facts.hardware import Calibrated, GpuGroup, GpuSpec

if TYPE_CHECKING:
    from planner.facts.observed import Explained

SCHEMA = 1
MOST_BYTES = 4 * 1024 * 1024


def calibration_path() -> Path:
    """Where the observations lie."""
    return user_file("calibration.json")


def _read(path: Path) -> JsonObject:
    if not path.exists():
        return {"schema": SCHEMA, "gpus": {}}
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(path)
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise PlannerError(f"{path} is not a calibration file", "delete it; `plan explain LOG --save-calibration` makes a new one") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("gpus"), dict):
        raise PlannerError(f"{path} is of another version of plan", "delete it; `plan explain LOG --save-calibration` makes a new one")
    return data


def save(explained: Explained) -> Path:
    """Keep by how much the log's KV cache is smaller than predicted. Raises PlannerError where the log does not tell."""
    seen, predicted = explained.observed, explained.predicted
    if predicted is None or "requested_bytes" not in predicted.memory or seen.kv_cache_bytes is None:  # the cache is what others leave of a budget
        raise PlannerError("the log does not hold what a calibration needs", "it must reach 'Available KV cache memory', of a known model and GPU")
    gpu, path = predicted.group.gpu, calibration_path()
    shift = int(predicted.memory["kv_cache_bytes"]) - seen.kv_cache_bytes
    _keep(path, gpu.name, {"shift_bytes": shift, "model": seen.model, "vllm_version": seen.version})
    return path


def _keep(path: Path, gpu: str, entry: JsonObject) -> None:
    """Add to a GPU's entry: one process at a time, and the file is replaced whole. Raises PlannerError."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(path.name + ".lock")):
            data = _read(path)
            gpus = json_object(data["gpus"])
            gpus[gpu] = json_object(gpus.get(gpu)) | entry
            part.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
            part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise PlannerError(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        with suppress(ImportError):  # Windows: nobody is kept out
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def save_speed(group: GpuGroup, step: float, first_token: float, *, model: str) -> Path:
    """Keep how much longer than predicted steps and first tokens took. Raises PlannerError."""
    path = calibration_path()
    _keep(path, group.gpu.name, {"speed": {"step": step, "first_token": first_token, "count": group.count, "model": model}})
    return path


def calibrated(gpu: GpuSpec) -> GpuSpec:
    """The GPU with what was observed on this machine. Raises PlannerError for a file that cannot be used."""
    entry = json_object(json_object(_read(calibration_path())["gpus"]).get(gpu.name))
    if not entry:
        return gpu
    shift, speed = entry.get("shift_bytes"), _speed(json_object(entry.get("speed")))
    usable = shift if isinstance(shift, int) and abs(shift) < gpu.memory_bytes else None
    return replace(gpu, calibrated_shift_bytes=usable, calibrated_speed=speed)


def _speed(kept: JsonObject) -> Calibrated | None:
    """What `plan bench` kept; nothing where somebody wrote something else there."""
    step, first_token, count, model = (kept.get(key) for key in ("step", "first_token", "count", "model"))
    if not isinstance(step, int | float) or not isinstance(first_token, int | float) or not isinstance(count, int):
        return None
    return Calibrated(step, first_token, count, str(model)) if 0.01 < step < 100 and 0.01 < first_token < 100 else None

"""Several models of one Ollama: which its scheduler keeps loaded together, which it swaps, and for how long one stays.

Sources: ollama @fb307609 (v0.33) server/sched.go (processPending, load, findRunnerToUnload: before a further model is loaded its predicted size is held
against 80 % of what is free; where it is more, one that is idle is unloaded, that with the shortest keep-alive first), envconfig/config.go KeepAlive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from planner.engines.llamacpp.ollama import ONE_GPU_SHARE
from planner.facts.record import dataclass
from planner.facts.verdict import Warn
from planner.text import shown
from planner.units import gib

KEEP_ALIVE = "OLLAMA_KEEP_ALIVE"
_KEPT_S = 300.0
_MODELS_A_GPU = 3  # that stay loaded where nobody says how many
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model as Ollama has it loaded, alone on its machine."""

    name: str
    predicted_bytes: int
    """What Ollama thinks that it takes, of all its GPUs together."""
    held_bytes: int
    """The most that it takes of each of its GPUs."""
    gpus: int
    is_whole: bool
    """Whether all of it is on the GPUs."""
    is_pinned: bool = False
    """Whether fewer layers are asked for by hand (num_gpu): then its size is not held against what is free."""


def keep_alive_s(text: str) -> float | None:
    """Seconds without a request after which a model is unloaded, below 0 never; None for what Ollama cannot read, which is its default then."""
    text = text.strip().strip("\"'")
    if not text:
        return _KEPT_S
    sign, plain = (-1 if text[0] == "-" else 1), text[1:] if text[0] in "+-" else text
    if re.fullmatch(r"[0-9]{1,18}", plain):
        return float(sign * int(plain))
    if re.fullmatch(f"(?:{_PART})+", plain, re.ASCII):
        return sign * sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, plain))
    return None


def of_idle_ones(env: Mapping[str, str]) -> Iterator[Warn]:
    """What the environment says of models that nobody asks."""
    text = env.get(KEEP_ALIVE, "")
    seconds = keep_alive_s(text)
    if seconds is None:
        message = f"Ollama cannot read {KEEP_ALIVE}={shown(text)} and unloads a model after 5 minutes without a request; -1 keeps it, 30m is half an hour"
        yield Warn(code="bad-variable", message=message)
    elif text:
        if seconds < 0:
            message = "a model is not unloaded when it is idle, only where another model needs its room"
        elif seconds == 0:
            message = "a model is unloaded after each answer, and each request loads it anew"
        else:
            message = f"a model is unloaded after {_time(seconds)} without a request, which frees its memory; the next request loads it anew"
        yield Warn(code="keep-alive", message=f"{KEEP_ALIVE}={shown(text)}: {message}")


def remarks(model: Loaded, beside: Sequence[Loaded], *, free: Sequence[int], env: Mapping[str, str], process_bytes: int = 0) -> list[Warn]:
    """Whether a model and others of the same Ollama stay loaded together.

    `free`: bytes of each GPU before any of them is loaded; `process_bytes`: what each further process takes of a GPU beside its model.
    """
    together = (model, *beside)
    kept = keep_alive_s(env.get(KEEP_ALIVE, ""))
    if not beside or kept == 0:
        return []
    said = env.get("OLLAMA_MAX_LOADED_MODELS", "")
    limit = int(said) if re.fullmatch(r"0*[1-9][0-9]{0,8}", said) else _MODELS_A_GPU * len(free)
    if limit < len(together):
        why = f"OLLAMA_MAX_LOADED_MODELS={limit}" if said else f"Ollama keeps {limit} models at once where OLLAMA_MAX_LOADED_MODELS does not say"
        return [_swapped(f"{why}, and {len(together)} are asked for: a further one unloads one that is idle")]
    by_name = {last.name: (last, _left(free, [other for other in together if other is not last], process_bytes)) for last in together}
    evicting = [(last, _room(last, left)) for last, left in by_name.values() if _evicts(last, left)]
    if evicting:
        last, room = evicting[0]
        others = [name for name in by_name if name not in {loaded.name for loaded, _ in evicting}]
        message = f"asked for {shown(last.name)} while the others are loaded, Ollama unloads one that is idle: it predicts {gib(last.predicted_bytes)}, more than 80 % of the {gib(room)} then free"
        return [_swapped(message + (f"; {', '.join(map(shown, others))} is then loaded beside it" if others else ""))]
    pushed = [last for last, left in by_name.values() if last.is_whole and last.held_bytes > min(sorted(left, reverse=True)[: last.gpus])]
    if pushed:
        message = f"loaded last, {shown(pushed[0].name)} gets layers on the CPU: Ollama predicts only {gib(pushed[0].predicted_bytes)} of it, and so unloads none of the others"
        return [Warn(code="models-crowded", message=f"{message}; OLLAMA_MAX_LOADED_MODELS={len(together) - 1} swaps them instead")]
    used = sum(loaded.held_bytes * loaded.gpus for loaded in together) + process_bytes * (len(together) - 1)
    until = (
        "until Ollama stops" if kept is not None and kept < 0 else f"each for {_time(_KEPT_S if kept is None else kept)} after its last answer ({KEEP_ALIVE})"
    )
    names = ", ".join(shown(loaded.name) for loaded in beside)
    return [Warn(code="loaded-together", message=f"{names} stay{'s' * (len(beside) == 1)} loaded beside it, {gib(used)} of {gib(sum(free))} together, {until}")]


def never_together(models: Sequence[Loaded], *, free: Sequence[int], process_bytes: int = 0) -> list[Warn]:
    """What no order of requests keeps loaded together, not even the largest first."""
    loaded: list[Loaded] = []
    for last in sorted(models, key=lambda model: model.predicted_bytes, reverse=True):
        left = _left(free, loaded, process_bytes)
        if loaded and _evicts(last, left):
            message = f"in no order do all models stay loaded: Ollama predicts {gib(last.predicted_bytes)} of {shown(last.name)}, more than 80 % of the {gib(_room(last, left))} that the others leave, and unloads one that is idle"
            return [_swapped(message)]
        loaded.append(last)
    return []


def _evicts(last: Loaded, left: Sequence[int]) -> bool:
    """Whether another model is unloaded before this one is loaded into what is left."""
    return not last.is_pinned and last.predicted_bytes > _share(_room(last, left))


def _swapped(message: str) -> Warn:
    return Warn(code="models-swapped", message=f"{message}; each change loads a model anew, none fails")


def _share(size: int) -> int:
    return size * ONE_GPU_SHARE[0] // ONE_GPU_SHARE[1]


def _room(model: Loaded, left: Sequence[int]) -> int:
    """What is free of the GPUs that Ollama takes for a model: of one where 80 % of it suffice, else of all."""
    return max(left) if model.predicted_bytes <= _share(max(left)) else sum(left)


def _left(free: Sequence[int], loaded: Sequence[Loaded], process_bytes: int) -> list[int]:
    """What models leave free of each GPU, those on one GPU each where most is free."""
    left = list(free)
    for model in sorted(loaded, key=lambda model: model.gpus, reverse=True):
        for place in sorted(range(len(left)), key=lambda place: left[place], reverse=True)[: model.gpus]:
            left[place] = max(0, left[place] - model.held_bytes - process_bytes)
    return left


def _time(seconds: float) -> str:
    """A time in the largest unit that keeps it whole."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number:,} {unit}{'s' * (number != 1)}"
    return f"{seconds:,g} s"

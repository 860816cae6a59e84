"""The machine we run on: its GPUs and what of their memory is free now, from NVML, ROCm's tool or macOS."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from typing import Protocol, cast

from planner.catalogue.load import find_card, find_gpu
from planner.errors import FileError, WorldError
from planner.facts.hardware import CONTEXT_BYTES, GpuSpec
from planner.facts.record import dataclass
from planner.reader import parse_json
from planner.units import GIB

TIMEOUT_S = 20
MOST_BYTES = 1 << 45  # of a GPU: who says more says nothing


@dataclass(frozen=True, slots=True)
class Seen:
    """One GPU as its driver reports it; bytes that no process holds now."""

    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """The GPUs that a plan may use: equal ones, with what is free on the fullest; what else was seen, in words."""

    gpu: GpuSpec
    count: int
    note: str


def this_machine() -> ThisMachine:
    """Read this machine. Raises WorldError where it has no GPU that can be read and PlannerError for one that the catalogue lacks."""
    seen = _nvidia() or _amd()
    if seen:
        return _equal(seen)
    if mac := _apple():
        return mac
    raise WorldError("no GPU was found here: NVML, rocm-smi and sysctl know none", "name one: --gpu rtx4090 (`plan list gpus`)")


def _equal(seen: list[Seen]) -> ThisMachine:
    name, count = Counter(card.name for card in seen).most_common(1)[0]
    ours = [card for card in seen if card.name == name]
    spec = find_card(name, ours[0].total_bytes)
    free = min(card.free_bytes for card in ours)
    # vLLM looks once its own CUDA context is there
    now = replace(spec, free_at_start_bytes=free - CONTEXT_BYTES, wsl2_free_at_start_bytes=free - CONTEXT_BYTES, most_free_bytes=None, free_is_told=True)
    others = [card.name for card in seen if card.name != name]
    note = f"{count}x {name}, {free / GIB:.2f} of {ours[0].total_bytes / GIB:.2f} GiB free now" + (f"; not used: {', '.join(others)}" if others else "")
    return ThisMachine(now, count, note)


def _nvidia() -> list[Seen]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [_nvml(pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetMemoryInfo(handle)) for handle in handles]
    except pynvml.NVMLError as error:
        raise WorldError(f"NVML: {error}", "nvidia-smi says more") from None
    finally:
        pynvml.nvmlShutdown()


class _Memory(Protocol):
    """Of a GPU, in bytes, as NVML says."""

    total: int
    free: int


def _nvml(name: str | bytes, memory: _Memory) -> Seen:
    return Seen(name.decode(errors="replace") if isinstance(name, bytes) else name, int(memory.total), int(memory.free))


def _output(*command: str) -> str | None:
    """What a tool prints, None where it is not there or fails."""
    if not (path := shutil.which(command[0])):
        return None
    try:
        done = subprocess.run([path, *command[1:]], capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _amd() -> list[Seen]:
    """rocm-smi's JSON: a card each, with its series and VRAM in bytes."""
    text = _output("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json")
    try:
        cards = cast("dict[str, dict[str, str]]", parse_json(text or "{}", "rocm-smi"))
        devices = []
        for card in cards.values():
            name = card.get("Card Series") or card.get("Card series") or card.get("Card Model")
            total, used = int(card["VRAM Total Memory (B)"]), int(card["VRAM Total Used Memory (B)"])
            if not 0 <= used <= total < MOST_BYTES:
                raise ValueError
            devices.append(Seen(str(name).replace("OAM", "").strip(), total, total - used))
    except (FileError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise WorldError("rocm-smi answers something that is not understood", "name the GPU: --gpu mi300x") from None
    return devices


def _apple() -> ThisMachine | None:
    """A Mac's chip and memory; what is free there is for macOS to say (iogpu.wired_limit_mb)."""
    chip, memory = _output("sysctl", "-n", "machdep.cpu.brand_string"), _output("sysctl", "-n", "hw.memsize")
    if not chip or not memory or not chip.startswith("Apple") or not memory.strip().isdecimal() or len(memory) > 20:
        return None
    size = int(memory) // GIB
    return ThisMachine(find_gpu(f"{chip.strip()} {size}gb"), 1, f"{chip.strip()} with {size} GB")

"""A log of llama-server or Ollama -> what it took, or the first error that matters.

Formats: llama.cpp of 2024 to @0c1e57098 (src/llama-model.cpp load_tensors, llama-kv-cache.cpp, llama-context.cpp, ggml-cuda.cu, ggml-metal), alone or
as Ollama's runner; Ollama's own engine until 0.24 (ml/backend/ggml.go "model weights", "kv cache", "compute graph"), llm/llama_server.go since.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import field
from itertools import chain, islice

from planner.engines.causes import Finding, plain
from planner.engines.llamacpp.causes import LLAMA_CPP, OLLAMA
from planner.engines.llamacpp.ps import read_table
from planner.facts.observed import Cause, Observed
from planner.facts.record import dataclass
from planner.units import GIB, MIB

_HOST = re.compile(r"^(?:CPU|.*_Host|Host|BLAS)")
_BUFFER = re.compile(
    r"\b((?:CUDA|ROCm|Vulkan|SYCL|Metal|MTL|CPU|Host|BLAS)\w*)\s+(model|KV|RS|compute|output)?\s*buffer size\s*+=\s*+(\d{1,9}(?:\.\d{0,9})?) MiB"
)
_GO_BUFFER = re.compile(
    r'msg="(model weights|kv cache|compute graph)" (?:backend=\w+ )?(?:buffer|device|buffer_type)=(\w+).{0,40} size="(\d{1,9}(?:\.\d{0,9})?) ([KMG]?i?B)"'
)
_GO_KINDS = {"model weights": "model", "kv cache": "KV", "compute graph": "compute"}
_UNITS = {"B": 1, "KiB": 1024, "MiB": MIB, "GiB": GIB}
_COMMAND = re.compile(r'msg="starting (?:llama-server|llama server|runner)" cmd="((?:[^"\\]++|\\.)*+)"')
_TEXT = (
    ("version", re.compile(r"\b(?:build|version): (\d{3,6}) \(")),
    ("version", re.compile(r"\bbuild_info:? b?(\d{3,6})-")),
    ("model", re.compile(r"loaded meta data with .{1,80} from (\S.{0,400}?\.gguf|\S{0,400}sha256-\w{1,100})")),
    ("model", re.compile(r"load_model: loading model '([^']{1,400})'")),
    ("gpu", re.compile(r"Device 0: (?:NVIDIA |AMD )?([^,]{1,80}), (?:compute capability|gfx)")),
    ("gpu", re.compile(r"using device \w{1,40} \((?:NVIDIA )?([^)]{1,80})\)")),
    ("gpu", re.compile(r"GPU name:\s+(Apple .+)")),
)
_NUMBERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("ctx_size", re.compile(r"\b(?:llama_context|llama_new_context_with_model|new_context): n_ctx\s+= (\d{1,12})|\bn_ctx\s+= (\d{1,12})")),
    ("parallel", re.compile(r"\bn_seq_max\s+= (\d{1,9})|n_slots = (\d{1,9})")),
    ("ubatch_size", re.compile(r"\bn_ubatch\s+= (\d{1,9})")),
)
_OLLAMA_VERSION = re.compile(r"Listening on \S+ \(version ([\w.+-]+)\)")
_OFFLOADED = re.compile(r"offloaded (\d{1,6})/(\d{1,6}) layers to GPU")
_SHORT = 20  # lines: a table or what somebody pastes, no log
_ANSWERED = re.compile(r"\[GIN\].{1,60}\| 200 \|\s+(?:\d+m\d|[2-9]\d\.\d+s).{1,60}/(?:api|v1)/\S+")
_FREE = re.compile(r"using device \w{1,40} \([^)]{0,80}\)(?: \([^)]{0,80}\)){0,4} - (\d{1,9}) MiB free")
_TYPES = re.compile(r"\bK \((\w+)\): .{1,30}V \((\w+)\):")
_FILE_TYPE = re.compile(r"file type\s+= (\S+)(?: - (Small|Medium|Large))?")
_NAME = re.compile(r"general\.name\s+str\s+= (.{1,120})")


@dataclass(slots=True)
class _Buffers:
    """Bytes of each kind by device; what is said again for a device adds up (two caches), but a compute buffer is reserved anew."""

    sizes: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in ("model", "KV", "RS", "compute", "output")})

    def take(self, device: str, kind: str, size: int) -> None:
        if kind == "compute":
            self.sizes[kind][device] = max(self.sizes[kind][device], size)
        else:
            self.sizes[kind][device] += size

    def on_gpu(self, *kinds: str) -> int | None:
        """Of the fullest GPU; None where no GPU is named."""
        devices = {device for kind in kinds for device in self.sizes[kind] if not _HOST.match(device)}
        return max((sum(self.sizes[kind][device] for kind in kinds) for device in devices), default=None)

    def on_host(self) -> int | None:
        """Weights and cache that lie in main memory."""
        held = [size for kind in ("model", "KV", "RS") for device, size in self.sizes[kind].items() if _HOST.match(device)]
        return sum(held) if held else None


def read_log(lines: Iterable[str], *, is_ollama: bool) -> Observed:
    """Read a log from its first line to its last."""
    source = iter(lines)
    head = list(islice(source, _SHORT))
    if is_ollama and (table := read_table(map(plain, head))):
        return table
    lines = chain(head, source)
    seen, buffers = Observed(), _Buffers()
    finding, listens = Finding(OLLAMA if is_ollama else LLAMA_CPP), False
    is_ollamas = False
    for line in lines:
        text = plain(line)
        finding.take(text)
        is_ollamas = is_ollamas or bool(OLLAMA.own.search(text))
        listens = listens or (is_ollama and bool(_OLLAMA_VERSION.search(text)))
        _take(seen, buffers, text)
    if finding.is_own and (is_ollama or not is_ollamas):  # Ollama's logs hold llama.cpp's lines
        seen.engine = "ollama" if is_ollama else "llama.cpp"
    seen.started = finding.started or (listens and finding.cause is None)
    seen.root_cause = finding.cause or (_slow(head) if is_ollama and len(head) < _SHORT else None)
    seen.weights_bytes, seen.kv_cache_bytes = buffers.on_gpu("model"), buffers.on_gpu("KV", "RS")
    seen.compute_bytes, seen.host_bytes = buffers.on_gpu("compute"), buffers.on_host()
    return seen


def _slow(lines: list[str]) -> Cause | None:
    """An answer of minutes, where somebody pastes no more than its line."""
    slow = [match for line in lines if (match := _ANSWERED.search(plain(line)))]
    return Cause("slow-load", slow[0][0]) if slow else None


def _take(seen: Observed, buffers: _Buffers, text: str) -> None:
    if match := _BUFFER.search(text):
        buffers.take(match[1], match[2] or "model", int(float(match[3]) * MIB))
        _take_device(seen, match[1])
    elif match := _GO_BUFFER.search(text):
        buffers.take(match[2], _GO_KINDS[match[1]], int(float(match[3]) * _UNITS.get(match[4], 1)))
    for name, pattern in _TEXT:
        if getattr(seen, name) is None and (match := pattern.search(text)):
            setattr(seen, name, match[1].strip())
    for name, pattern in _NUMBERS:
        if name not in seen.flags and (match := pattern.search(text)):
            seen.flags[name] = int(next(filter(None, match.groups())))
    if match := _OLLAMA_VERSION.search(text):
        seen.version = match[1]
    if seen.layers is None and (match := _OFFLOADED.search(text)):
        seen.layers_on_gpu, seen.layers = int(match[1]), int(match[2])
    if seen.free_at_start_bytes is None and (match := _FREE.search(text)):
        seen.free_at_start_bytes = int(match[1]) * MIB
    if "cache_type_k" not in seen.flags and (match := _TYPES.search(text)):
        seen.flags |= {"cache_type_k": match[1], "cache_type_v": match[2]}
    _take_names(seen, text)


def _take_device(seen: Observed, device: str) -> None:
    """Devices whose backend a card has beside another."""
    named = [name for name in str(seen.flags.get("device", "")).split(",") if name]
    if re.fullmatch(r"Vulkan\d{1,2}", device) and device not in named:
        seen.flags["device"] = ",".join(sorted([*named, device]))


def _take_names(seen: Observed, text: str) -> None:
    """The model's name and quantization in its metadata, and the command that Ollama starts."""
    if "file_type" not in seen.flags and (match := _FILE_TYPE.search(text)):
        seen.flags["file_type"] = match[1] + (f"_{match[2][0]}" if match[2] else "")
    if "name" not in seen.flags and (match := _NAME.search(text)):
        seen.flags["name"] = match[1].strip()
    if "argv" not in seen.flags and (match := _COMMAND.search(text)):
        try:
            seen.flags["argv"] = shlex.split(match[1].replace('\\"', '"'))
        except ValueError:
            return

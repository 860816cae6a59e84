"""Why a server of mlx-lm or mlx-vlm fails, by the messages it writes, and what helps.

Messages: mlx 0.32 metal/allocator.cpp and metal/device.cpp, mlx-lm 0.32.2 utils.py and server.py, mlx-vlm 0.7.10, argparse, huggingface_hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from planner.engines.causes import causes, disk_full, downloading, is_killed, killed, model_access, port_in_use
from planner.errors import did_you_mean
from planner.facts.observed import Cause, Remedy
from planner.units import GB, gib

# What --kv-bits says where a model's cache cannot be quantized: heads that are no whole groups (mx.quantize), windows (models/cache.py), sinks
# (models/base.py), scores that a class composes of arrays (models/gemma2.py, deepseek_v3.py).
QUANTIZED_CACHE = (
    r"\[quantize\] The last dimension of the matrix needs to be divisible|KVCache Quantization NYI|Quantized SDPA does not support attention sinks"
    r"|'(?:list|tuple)' object has no attribute 'swapaxes'"
)
ANYBODY_S = "has no attribute 'swapaxes'"
"""A message of any program with arrays: MLX's beside another sign of it alone."""
SERVES = r"Starting httpd at|Uvicorn running on|Application startup complete"
"""What servers say once they answer, whatever becomes of a request."""
ANSWERED = r"\b(?:Prompt|Generation): \d+ tokens, \d+(?:\.\d+)? tokens-per-sec"
"""What a program of one conversation says of its answer."""
CAUSES = causes(
    (
        ("unknown-flag", r"error: unrecognized arguments"),
        ("bad-value", r"mlx_[lv]l?m\.server: error: |error: argument |invalid choice"),
        ("unsupported", r"Model type .{1,80} not supported|Received \d+ parameters not in model|Missing \d+ parameters|Unsupported model"),
        ("unsupported", QUANTIZED_CACHE),
        ("out-of-memory", r"\[metal::malloc\] Attempting to allocate|\[metal::malloc\] Resource limit|Unable to allocate \d+ bytes"),
        ("out-of-memory", r"Insufficient Memory|kIOGPUCommandBufferCallbackErrorOutOfMemory"),
        (
            "toolchain",
            r"Tokenizer class \S+ does not exist|has no attribute 'all_special_tokens|instantiate the backend tokenizer|any variant of untagged enum ModelWrapper",
        ),
        ("toolchain", r"No module named '?mlx|libmlx\.(?:so|dylib)|No Metal device|Unable to load kernel|Failed to load the default metallib"),
        ("model-access", r"does not appear to have a file|couldn't connect to|LocalEntryNotFoundError|No safetensors found|is not a local folder"),
    ),
    started=rf"{SERVES}|Generating with a model that requires|{ANSWERED}",
    own=r"\bmlx[_-]v?lm\b|\bmlx\.core\b|site-packages/mlx\b|\[METAL\]|\[metal::|libmlx|Starting httpd at|\[Errno 48\]"
    r"|\[quantize\] The last dimension|KVCache Quantization NYI|Quantized SDPA|Generating with a model that requires|" + ANSWERED,
)
_BUFFER = re.compile(r"allocate (\d{1,20}) bytes which is greater than the maximum allowed buffer size of (\d{1,20})")
_FLAG = re.compile(r"unrecognized arguments: (--[\w-]{1,80})")


def remedies(cause: Cause) -> tuple[Remedy, ...]:
    """What a message calls for, least effort first."""
    usual: Callable[[str], Iterator[Remedy]] = _BY_CODE.get(cause.code, _other)
    return tuple(usual(cause.message))


def _out_of_memory(text: str) -> Iterator[Remedy]:
    if is_killed(text):
        yield from killed()
        return
    if "Resource limit" in text:  # a number of buffers, not of bytes: mlx-lm#1672
        yield Remedy("Metal holds no more buffers: restart the server; a newer mlx and mlx-lm free them between requests (pip install -U mlx mlx-lm)")
        return
    if match := _BUFFER.search(text):
        asked, most = int(match[1]), int(match[2])
        yield Remedy(
            f"one buffer of {gib(asked)} ({asked / GB:.2f} GB) is asked for, Metal's largest is {gib(most)}: a prompt shorter by {1 - most / asked:.0%}"
        )
    yield Remedy("smaller steps of the prompt, whose scores take the most", "--prefill-step-size 512")
    yield Remedy("one prompt at a time (mlx_lm.server)", "--prompt-concurrency 1 --decode-concurrency 1")
    yield Remedy("weights of fewer bits, or a shorter conversation; plan --engine mlx says what fits")
    if not match:
        yield Remedy("let the GPU wire more of the memory: sudo sysctl iogpu.wired_limit_mb=N, below the RAM by some GiB")


def near_the_limit(weights_bytes: int, recommended_bytes: int) -> Remedy:
    """What mlx-lm's warning of a large model calls for (generate.py wired_limit)."""
    return Remedy(
        f"its weights of {gib(weights_bytes)} lie near or above the {gib(recommended_bytes)} that the GPU wires by default, which makes it slow:"
        f" sudo sysctl iogpu.wired_limit_mb=N, above {weights_bytes >> 20} and below the RAM by some GiB, or weights of fewer bits"
    )


def _unknown_flag(text: str) -> Iterator[Remedy]:
    from planner.engines.mlx.flags import known_flags

    flag = match[1] if (match := _FLAG.search(text)) else ""
    yield Remedy(f"leave {flag or 'it'} out" + (f", or {near}" if flag and (near := did_you_mean(flag, known_flags())) else ""))


def _bad_value(text: str) -> Iterator[Remedy]:
    yield Remedy("correct the value that the message names; --help says what it takes")


def _unsupported(text: str) -> Iterator[Remedy]:
    if re.search(QUANTIZED_CACHE, text):
        yield Remedy("leave out --kv-bits: this model's cache stays in 16 bits; plan --engine mlx says which context fits so")
        return
    yield Remedy("a newer mlx-lm or mlx-vlm: pip install -U mlx-lm mlx-vlm; models that see are mlx_vlm.server's")


def _toolchain(text: str) -> Iterator[Remedy]:
    if re.search(r"[Tt]okenizer|ModelWrapper", text):
        yield Remedy(
            "a released transformers that knows this tokenizer: pip install -U transformers mlx-lm mlx-vlm in the server's environment, no development version"
        )
        return
    yield Remedy("pip install -U mlx mlx-lm mlx-vlm, in a native (arm64) Python of macOS 14 or later")


def _port(text: str) -> Iterator[Remedy]:
    yield from port_in_use(text, 8080, "--port")


def _disk(text: str) -> Iterator[Remedy]:
    yield from disk_full()


def _other(text: str) -> Iterator[Remedy]:
    yield Remedy("look at the lines above: this one says only that something failed before it")


_BY_CODE: dict[str, Callable[[str], Iterator[Remedy]]] = {
    "out-of-memory": _out_of_memory,
    "unknown-flag": _unknown_flag,
    "bad-value": _bad_value,
    "unsupported": _unsupported,
    "model-access": model_access,
    "toolchain": _toolchain,
    "port-in-use": _port,
    "disk-full": _disk,
    "downloading": downloading,
}

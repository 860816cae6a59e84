"""What to do about a failed start where nothing but its message is known: the flags it calls for, with the numbers it gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import floor

from planner.engines.causes import is_killed, killed
from planner.errors import did_you_mean
from planner.facts.observed import Cause, Remedy
from planner.units import GIB, tokens

_FREE = re.compile(r"\(([\d.]{1,12})/([\d.]{1,12}) GiB\) on startup")
_LONGEST = re.compile(r"estimated maximum model length is (\d{1,9})")
_STORED = re.compile(r"maximum number of tokens that can be stored in KV cache \((\d{1,9})\)")
_NEEDED = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) GiB KV cache is needed")
_LIMIT = re.compile(r"max_position_embeddings[=:]? ?(\d{1,9})|model_max_length[=:]? ?(\d{1,9})")
_DIVISIBLE = re.compile(r"\(?(\d{1,9})\)? (?:is not|must be) divisible by (?:tensor parallel size )?\(?(\d{1,6})")
_FLAG = re.compile(r"unrecognized arguments: (--[\w-]{1,80})")
_ASKED = re.compile(r"(?:you requested|request(?:ed)? has|prompt \(length) (\d{1,9})\b")
_PORT = re.compile(r"\('[^']{0,100}', (\d{1,5})\)|\d\.\d{1,3}:(\d{1,5})\b")


def longest_that_fits(message: str) -> int | None:
    """The longest context that vLLM's own message says would fit; None where it says none, or none fits."""
    match = _LONGEST.search(message) or _STORED.search(message)
    return int(match[1]) or None if match else None


def needed_bytes(message: str) -> int | None:
    """The KV cache that one request needs by vLLM's own message; None where it says none."""
    match = _NEEDED.search(message)
    return int(float(match[1]) * GIB) if match else None


def remedies(cause: Cause) -> tuple[Remedy, ...]:
    """What a message calls for, least effort first."""
    return tuple(_BY_CODE[cause.code](cause.message))


def _free_memory(message: str) -> Iterator[Remedy]:
    if match := _FREE.search(message):
        free, total = float(match[1]), float(match[2])
        if total > 0 and (share := floor(free / total * 100) / 100) > 0:
            yield Remedy("ask for no more than is free now", f"--gpu-memory-utilization {share:g}")
        yield Remedy(f"free the GPU: other processes hold {total - free:.2f} of {total:.2f} GiB (nvidia-smi names them)")
    else:
        yield Remedy("wait until no other process starts or ends on this GPU, then start again")


def _kv_memory(message: str) -> Iterator[Remedy]:
    if longest := longest_that_fits(message):
        yield Remedy(f"a context of {tokens(longest)}, the longest that fits by vLLM's own count", f"--max-model-len {longest}")
    yield Remedy("an FP8 KV cache, half as large", "--kv-cache-dtype fp8")
    yield Remedy("smaller batches, which leave the cache more", "--max-num-batched-tokens 2048 --max-num-seqs 16")
    yield Remedy("a larger share of the GPU, where that much is free", "--gpu-memory-utilization 0.95")
    yield Remedy("more GPUs, or weights in fewer bits")


def _out_of_memory(message: str) -> Iterator[Remedy]:
    if is_killed(message):
        yield from killed()
        return
    yield Remedy("fewer and smaller batches", "--max-num-batched-tokens 2048 --max-num-seqs 16")
    yield Remedy("a smaller share for the cache, so that graphs and workspaces outside it fit", "--gpu-memory-utilization 0.85")
    yield Remedy("no CUDA graphs", "--enforce-eager")
    yield Remedy("more GPUs, or weights in fewer bits, where it fails while loading")


def _not_divisible(message: str) -> Iterator[Remedy]:
    if match := _DIVISIBLE.search(message):
        number, size = int(match[1]), int(match[2])
        fitting = next((fewer for fewer in range(min(size - 1, 1024), 0, -1) if number % fewer == 0), 1)
        yield Remedy(f"{fitting} divides {number:,}", f"--tensor-parallel-size {fitting}")
    yield Remedy("pipeline stages instead: as many as there are GPUs", "--tensor-parallel-size 1 --pipeline-parallel-size N")


def _unsupported(message: str) -> Iterator[Remedy]:
    if "float16 is only supported" in message:
        yield Remedy("16-bit floats that this GPU has", "--dtype half")
    elif "KV cache" in message or "kv_cache" in message or "attention" in message:
        yield Remedy("a 16-bit KV cache", "--kv-cache-dtype auto")
    elif "architecture" in message:
        yield Remedy("a newer vLLM and transformers: this release does not know the model")
    yield Remedy("another quantization of the model, or a newer GPU; `plan check` says which go together")


def _unknown_flag(message: str) -> Iterator[Remedy]:
    from planner.engines.vllm.flags import SUCCESSORS, known_flags

    flag = match[1] if (match := _FLAG.search(message)) else ""
    if flag in SUCCESSORS:
        yield Remedy(f"{flag} is gone; now: {SUCCESSORS[flag]}")
    yield Remedy(f"leave {flag or 'it'} out" + (f", or {near}" if (near := did_you_mean(flag, known_flags())) and flag not in SUCCESSORS else ""))


def _toolchain(message: str) -> Iterator[Remedy]:
    if "ninja" in message.lower():
        yield Remedy("pip install ninja, in the server's own environment")
    elif "nvcc" in message:
        yield Remedy("install the CUDA toolkit (nvcc), and name it in CUDA_HOME")
        yield Remedy("a 16-bit KV cache, which needs no compiler", "--kv-cache-dtype auto")
    else:
        yield Remedy("apt-get install build-essential python3-dev: kernels are compiled at the first start")


def _model_access(message: str) -> Iterator[Remedy]:
    if "connect" in message or "LocalEntryNotFound" in message:
        yield Remedy("let the machine reach the Hub, or download the model beforehand and name its folder")
    elif "Too Many Requests" in message:
        yield Remedy("wait, or log in (hf auth login): anonymous downloads are limited")
    elif "404" in message or "valid model identifier" in message or "RepositoryNotFound" in message:
        yield Remedy("check the model's name on the Hub; of a private one, log in with hf auth login")
    yield Remedy("accept the model's licence on its page, then hf auth login with a token that may read gated repositories")


def _port(message: str) -> Iterator[Remedy]:
    port = int(next(filter(None, match.groups()))) if (match := _PORT.search(message)) else 8000
    yield Remedy("another port", f"--port {port + 1 if port < 65_535 else 8000}")
    yield Remedy(f"end what listens there: ss -ltnp 'sport = :{port}' names it")


def _bad_value(message: str) -> Iterator[Remedy]:
    if "max_model_len" in message and (match := _LIMIT.search(message)):
        limit = next(filter(None, match.groups()))
        yield Remedy("the model's own limit", f"--max-model-len {limit}")
    yield Remedy("correct the value that the message names; vllm serve --help says what it takes")


def _no_gpu(message: str) -> Iterator[Remedy]:
    if "device driver" in message:
        yield Remedy("install the NVIDIA Container Toolkit, then sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker")
    yield Remedy("nvidia-smi must list the GPU where the server runs: a driver on the machine, --gpus all for docker run, no empty CUDA_VISIBLE_DEVICES")
    yield Remedy("a build of vLLM for this kind of machine: the wheels of PyPI are for NVIDIA GPUs")


def _disk_full(message: str) -> Iterator[Remedy]:
    yield Remedy("make room (df -h): the model's files, twice while they are downloaded; HF_HOME names another disk for them")
    yield Remedy("in a container, shared memory may be what is full: docker run --ipc=host, or --shm-size 8g")


def _refused_request(message: str) -> Iterator[Remedy]:
    if "tool choice" in message:
        yield Remedy(
            "the server runs; restart it with --enable-auto-tool-choice --tool-call-parser NAME: the command of `plan --gpu … --model …` has the model's parser"
        )
        return
    yield Remedy("the server runs; ask for less: a shorter prompt, or fewer max_tokens")
    if match := _ASKED.search(message):
        yield Remedy("or restart it with a context that holds this request, where the memory does", f"--max-model-len {match[1]}")


def _other(message: str) -> Iterator[Remedy]:
    if "See root cause above" in message or "initialization failed" in message:
        yield Remedy("this line only says that another process failed: paste the lines above it, from the first ERROR on")
    else:
        yield Remedy("paste the lines around it, from the first ERROR on; the cause often stands before the last line")


_BY_CODE: dict[str, Callable[[str], Iterator[Remedy]]] = {
    "free-memory": _free_memory,
    "no-kv-memory": _kv_memory,
    "kv-cache-too-small": _kv_memory,
    "out-of-memory": _out_of_memory,
    "not-divisible": _not_divisible,
    "unsupported": _unsupported,
    "unknown-flag": _unknown_flag,
    "toolchain": _toolchain,
    "port-in-use": _port,
    "model-access": _model_access,
    "bad-value": _bad_value,
    "no-gpu": _no_gpu,
    "disk-full": _disk_full,
    "refused-request": _refused_request,
    "other": _other,
}

"""Why llama-server or Ollama fails, by the messages they write, and what helps.

Messages: llama.cpp @0c1e57098 common/arg.cpp, src/llama*.cpp, ggml/src/gguf.cpp, ggml-cuda, ggml-vulkan, ggml-metal, tools/server;
ollama @fb307609 llm/llama_server.go, server/routes.go, and of its releases before 0.24 llm/server.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from planner.engines.causes import causes, disk_full, downloading, is_killed, killed, model_access, port_in_use, unreachable
from planner.errors import did_you_mean
from planner.facts.observed import Cause, Remedy

_NO_ROOM = (
    r"cudaMalloc failed: out of memory|(?:CUDA|HIP|ROCm) error: out of memory|hipMalloc failed|ErrorOutOfDeviceMemory|kIOGPUCommandBufferCallbackErrorOutOfMemory"
    r"|(?:failed|unable) to allocate .{0,60}buffer|failed to allocate buffer for (?:kv|rs) cache|Requested buffer size exceeds device buffer size limit"
)
_SHARED = (
    ("unknown-flag", r"error: invalid argument: -|the argument has been removed"),
    ("bad-value", r"error while handling (?:argument|environment variable)|expected value for argument|Unsupported cache type|V cache requires flash_attn"),
    ("bad-value", r"V cache quantization requires flash|quantized V cache .{0,40}requires|SPLIT_MODE_TENSOR requires flash_attn"),
    ("unsupported", r"CUDA error: no kernel image|does not support split buffers|SPLIT_MODE_TENSOR not implemented for architecture"),
    ("unsupported", r"unknown model architecture|unknown pre-tokenizer type|wrong number of tensors|invalid ggml type|missing tensor|key not found in model"),
    (
        "model-access",
        r"invalid magic (?:characters|number)|is not within the file bounds|model is corrupted or incomplete|failed to open GGUF file|failed to load GGUF",
    ),
    ("model-access", r"failed to download model|no GGUF files found|error: failed to get manifest|gguf_init_from_file_?i?m?p?l?: failed to open"),
    ("out-of-memory", _NO_ROOM),
    (
        "refused-request",
        r"exceeds the available context size|input (?:\(\d+ tokens\) )?is too large to process|context shift is disabled|Context size has been exceeded",
    ),
    ("refused-request", r"Cannot have 2 or more assistant messages|the prompt is longer than the context length currently available"),
    ("unsupported", r"image input is not supported|does not support (?:image|multimodal)"),
    (
        "toolchain",
        r"error while loading shared libraries|version `GLIBC_[\d.]+' not found|no CUDA-capable device is detected|CUDA driver version is insufficient"
        r"|no usable GPU found",
    ),
)
LLAMA_CPP = causes(
    (
        *_SHARED,
        ("port-in-use", r"couldn't bind HTTP server socket"),
        ("other", r"error loading model|failed to load model|GGML_ASSERT|failed to initialize the context|exiting due to model loading error"),
    ),
    started=r"server is listening on|\blistening on (?:http|\S+:\d)|all slots are idle|\bmodel loaded\b",
    own=r"\b(?:llama_model_loader|load_tensors|llm_load_\w+|llama_context|llama_kv_cache\w*|llama_model_load\w*|ggml_\w+|llama_init_from_model|common_\w+|print_info"
    r"|llama_new_context_with_model|alloc_tensor_range|gguf_init_from_file\w*|llama_params_fit\w*|llama_memory_recurrent)\s*:|llama-server\b|\bsrv +\w+:"
    r"|error: invalid argument: -|error while handling (?:argument|environment variable)|expected value for argument|cudaMalloc failed|ErrorOutOfDeviceMemory|(?:CUDA|ROCm|Vulkan)\d buffer"
    r"|increase the physical batch size|image input is not supported|SPLIT_MODE_TENSOR|does not support split buffers|\bggml_cuda_\w+|ggml-cuda",
)
OLLAMA = causes(
    (
        ("out-of-memory", r"model requires more (?:system|gpu) memory|reported out-of-memory during startup"),
        ("unsupported", r"not supported by your version of Ollama|requires a newer version of Ollama|pull model manifest: 412|unable to load model"),
        ("model-access", r"model .{1,200} not found|pull model manifest: file does not exist|pull model manifest"),
        ("unknown-flag", r"unknown (?:shorthand )?flag:|unknown command"),
        *_SHARED,
        ("out-of-memory", r"model runner has unexpectedly stopped"),
        ("timeout", r"timed out waiting for llama (?:runner|server) to start"),
        ("unreachable", r"could not connect to (?:a running Ollama|ollama app)|[Ff]ailed to connect to \S+ port 11434"),
        ("truncated", r"truncating input prompt"),
        ("empty-answer", r'"role":\s*"assistant",\s*"content":\s*"",?\s*\}?.{0,200}"(?:done|finish_reason)"|empty response.{0,40}after tool'),
        ("other", r"llama(?: runner|-server) process has terminated|error loading model|failed to load model"),
    ),
    started=r"llama(?: runner|-server) started in",
    own=r"\bollama\b|\bOllama\b|\bsource=\w+\.go:\d+|\[GIN\]|llama runner|model requires more (?:system|gpu) memory|\bOLLAMA_[A-Z]|\bport 11434\b"
    r"|listen tcp \S+: bind:",
)
_FLAG = re.compile(r"invalid argument: (-{1,2}[\w-]{1,80})")
_NOT_FOUND = re.compile(r"model \\?['\"]?([\w./:-]{1,120}?)\\?['\"]? not found")
_TOKENS = re.compile(r"input \((\d{1,7}) tokens\)|prompt=(\d{1,7})\b|request \((\d{1,7}) tokens\)")
_NEEDED = re.compile(r"requires more \w+ memory \(([\d.]+ [KMG]iB)\) than is available \(([\d.]+ [KMG]iB)\)")


def remedies(cause: Cause, *, is_ollama: bool) -> tuple[Remedy, ...]:
    """What a message calls for, least effort first."""
    usual: Callable[[str, bool], Iterator[Remedy]] = _BY_CODE.get(cause.code, _other)
    return tuple(usual(cause.message, is_ollama))


def _out_of_memory(text: str, is_ollama: bool) -> Iterator[Remedy]:
    if is_killed(text):
        yield from killed()
        return
    if not is_ollama:
        yield Remedy("a shorter context for all slots together, half of it for example", "--ctx-size 8192")
        yield Remedy("an 8-bit cache, which flash attention allows", "--flash-attn on --cache-type-k q8_0 --cache-type-v q8_0")
        yield Remedy("leave --n-gpu-layers out: llama.cpp then puts on the GPU what fits; of a model with experts, keep these in main memory", "--cpu-moe")
        yield Remedy("a mix of fewer bits; plan --engine llama.cpp says what fits")
        return
    if match := _NEEDED.search(text):
        yield Remedy(f"{match[1]} are asked for, {match[2]} are there: close what else holds memory, or a smaller tag of the model")
    yield Remedy("a shorter context (OLLAMA_CONTEXT_LENGTH=8192, or PARAMETER num_ctx in a Modelfile), and one request at a time (OLLAMA_NUM_PARALLEL=1)")
    yield Remedy("an 8-bit cache: OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q8_0; a tag of fewer bits; plan --engine ollama says what fits")


def _unknown_flag(text: str, is_ollama: bool) -> Iterator[Remedy]:
    from planner.engines.llamacpp.flags import grammar

    if is_ollama:
        yield Remedy("leave it out: `ollama serve` is set by variables (OLLAMA_…), a model by its Modelfile")
        return
    flag = match[1] if (match := _FLAG.search(text)) else ""
    if successor := grammar().gone.get(flag):
        yield Remedy(f"{flag} is gone; now: {successor}")
    elif flag in grammar().spellings:
        yield Remedy(f"a newer llama.cpp: {grammar().release} has {flag}")
    else:
        yield Remedy(f"leave {flag or 'it'} out" + (f", or {near}" if flag and (near := did_you_mean(flag, grammar().spellings)) else ""))


def _bad_value(text: str, is_ollama: bool) -> Iterator[Remedy]:
    if "SPLIT_MODE_TENSOR" in text:
        yield Remedy("tensors in parts need flash attention", "--flash-attn on")
        return
    if "value for --flash-attn" in text:
        yield Remedy("--flash-attn takes a value since August 2025, and took the flag behind it for one", "--flash-attn on")
        return
    if "flash" in text:
        yield Remedy("a quantized cache needs flash attention", "" if is_ollama else "--flash-attn on")
    yield Remedy("correct the value that the message names; llama-server --help says what it takes")


def _unsupported(text: str, is_ollama: bool) -> Iterator[Remedy]:
    if "kernel image" in text:
        yield Remedy("a build with kernels for this GPU: made where it is, by cmake -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native, or one for Vulkan")
        return
    if "image" in text or "multimodal" in text:
        yield Remedy("the server runs without the model's vision projector", "" if is_ollama else "--mmproj FILE.gguf")
        return
    if "split buffers" in text or "SPLIT_MODE_TENSOR" in text:
        yield Remedy("whole layers on each GPU, which every model and every build takes", "--split-mode layer")
        return
    yield Remedy("a newer Ollama: its llama.cpp does not know this model" if is_ollama else "a newer build of llama.cpp: this one does not know the model")
    yield Remedy("another file of it, made for this build; files of forks (ik_llama.cpp) hold tensors that llama.cpp does not read")


def _access(text: str, is_ollama: bool) -> Iterator[Remedy]:
    if re.search(r"magic|bounds|corrupted", text):
        yield Remedy("download the file again: it is no GGUF file, or not whole (a page of the Hub saved under its name, a pointer of git-lfs)")
        return
    if is_ollama:
        named = match[1] if (match := _NOT_FOUND.search(text)) else "MODEL"
        yield Remedy(f"ollama pull {named}, with a tag that its library has; ollama list shows what is here")
        return
    yield from model_access(text)


def _port(text: str, is_ollama: bool) -> Iterator[Remedy]:
    if is_ollama:
        yield Remedy("an Ollama runs there already, often as a service: use it, or systemctl stop ollama")
    yield from port_in_use(text, 11434 if is_ollama else 8080, "OLLAMA_HOST=127.0.0.1" if is_ollama else "--port")


def _disk(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield from disk_full()


def _refused(text: str, is_ollama: bool) -> Iterator[Remedy]:
    if "assistant" in text:
        yield Remedy("the server runs; the client must not end with two assistant messages")
    elif "too large" in text:
        size = max(2048, 1 << (_asked(text) - 1).bit_length()) if _asked(text) else 8192
        yield Remedy("the server runs; embeddings need the whole prompt in one step", f"--batch-size {size} --ubatch-size {size}")
    else:
        yield Remedy("the server runs; a longer context (all slots share --ctx-size, fewer of them have more each)", "" if is_ollama else "--parallel 1")


def _asked(text: str) -> int:
    """The tokens of a prompt that a message names; 0 where it does not."""
    match = _TOKENS.search(text)
    return int(next(filter(None, match.groups()))) if match else 0


def _truncated(text: str, is_ollama: bool) -> Iterator[Remedy]:
    asked = _asked(text)
    most = 1 << asked.bit_length() if asked else 32768
    yield Remedy(
        f"the prompt of {asked or 'more'} tokens was cut, without a word to the client: PARAMETER num_ctx {most}, or OLLAMA_CONTEXT_LENGTH={most} where `ollama serve` starts"
    )


def _timeout(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield Remedy(
        "the model loads from a slow disk, or swaps: OLLAMA_LOAD_TIMEOUT=30m where `ollama serve` starts, and OLLAMA_KEEP_ALIVE=-1 so that it loads once"
    )


def _slow(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield Remedy('the first request loads the model, which then stays five minutes: OLLAMA_KEEP_ALIVE=-1 keeps it, `ollama run MODEL ""` loads it before')
    yield Remedy("if every answer is slow, `ollama ps` says how much of it runs on the CPU: plan explain reads its table")


def _empty(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield Remedy("templates merge messages of one role (ollama#5775, #10273), so that an answer after a tool may be empty: end with a user or tool message")
    yield Remedy("a model that Ollama renders itself (qwen3-vl, qwen3-coder, gemma4), or an engine that is safe for agents: plan compare says which")


def _unreachable(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield from unreachable("Ollama", "ollama serve; as a service: systemctl start ollama; on a Mac its app")


def _downloading(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield from downloading(text)


def _partly(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield Remedy(
        "a shorter context (PARAMETER num_ctx, OLLAMA_CONTEXT_LENGTH), one request at a time (OLLAMA_NUM_PARALLEL=1), or an 8-bit cache (OLLAMA_KV_CACHE_TYPE=q8_0)"
    )
    yield Remedy("a tag of fewer bits; plan --engine ollama says up to which context all of it is on the GPU")


def _toolchain(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield Remedy("a build for this system and its driver: nvidia-smi must list the GPU, and its CUDA version be no older than the build's")


def _other(text: str, is_ollama: bool) -> Iterator[Remedy]:
    yield Remedy("look at the lines above: this one says only that something failed before it")


_BY_CODE: dict[str, Callable[[str, bool], Iterator[Remedy]]] = {
    "out-of-memory": _out_of_memory,
    "unknown-flag": _unknown_flag,
    "bad-value": _bad_value,
    "unsupported": _unsupported,
    "model-access": _access,
    "port-in-use": _port,
    "disk-full": _disk,
    "refused-request": _refused,
    "toolchain": _toolchain,
    "truncated": _truncated,
    "timeout": _timeout,
    "slow-load": _slow,
    "empty-answer": _empty,
    "unreachable": _unreachable,
    "downloading": _downloading,
    "layers-on-cpu": _partly,
}

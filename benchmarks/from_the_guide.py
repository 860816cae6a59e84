"""Every command block and configuration file of the guide this product grew from, and what `plan` emits in its place.

The second part of docs/guide.md (`python -m benchmarks.guide`). Each counterpart is what one `plan` command really writes.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from planner.catalogue.load import find_gpu
from planner.catalogue.resolve import find_source
from planner.engines.vllm.choice import Request
from planner.engines.vllm.placement import Ask, Stack, place_servers
from planner.engines.vllm.settings import Pins
from planner.facts.hardware import GpuGroup

Files = dict[str, str]
Part = Callable[[Files], tuple[str, str]]

EMBED = "--with qwen3-embedding-0.6b"
STACK = f"--gpu rtx4090 --count 2 --model qwen3-vl-32b-awq --context 80k {EMBED}"
MINISTRAL = f"--gpu rtx4090 --count 2 --model ministral-3-14b-awq --context 128k {EMBED}"
OLLAMA = f"--gpu rtx4090 --engine ollama --model qwen3-vl-30b-a3b --context 40k {EMBED}"
MAC = f"--gpu m4-max-128gb --model qwen3-vl-30b-a3b --context 128k {EMBED} --with ministral-3-14b"


@dataclass(frozen=True)
class Block:
    """One block of the guide: its place among all of them, the heading above it, its first line that is no comment; and ours."""

    heading: str
    first: str
    command: str
    part: Part
    changed: str


def whole(name: str, language: str) -> Part:
    """A whole file."""
    return lambda files: (language, f"# {name}\n" + files[name] if language != "python" else files[name])


def command_of(*services: str) -> Part:
    """The commands of some services, from plan.json."""

    def part(files: Files) -> tuple[str, str]:
        lines = []
        for command in json.loads(files["plan.json"])["commands"]:
            if command["service"] in services:
                env = "".join(f"{name}={shlex.quote(value)} " for name, value in command["env"].items())
                lines.append(env + shlex.join(command["argv"]).replace(" --", " \\\n  --"))
        return "sh", "\n".join(lines)

    return part


def matching(name: str, start: str, end: str = "") -> Part:
    """The lines of a file from one that begins so to one that begins so."""

    def part(files: Files) -> tuple[str, str]:
        lines = files[name].splitlines()
        first = next(index for index, line in enumerate(lines) if line.startswith(start))
        last = next((index for index, line in enumerate(lines) if index > first and line.startswith(end)), first) if end else first
        return "sh", "\n".join(lines[first : last + 1])

    return part


def usage(*words: str) -> Part:
    """How an emitted script is called."""
    return lambda files: ("sh", "\n".join(word for word in words if word.split()[0].removeprefix("./") in files or not word.startswith("./")))


BLOCKS = [
    Block("Setup (vLLM)", "uv venv .venv-vllm --python 3.12", STACK, matching("setup.sh", "install .venv-vllm"), "A release is pinned: memory rules change with each. Python 3.11 or later; without uv the script takes python3 -m venv."),
    Block("Setup (vLLM)", "source .venv-vllm/bin/activate", STACK, matching("stack.sh", "PATH="), "Nothing is activated: the scripts put the environments beside them on PATH, ninja with them."),
    Block("Qwen3-VL Models", "source .venv-vllm/bin/activate", "--gpu rtx4090 --count 2 --model qwen3-vl-30b-a3b-awq --context 32k", command_of("chat"), "As it stands it starts. What vLLM would choose by the GPU is written out, the server listens on 127.0.0.1 only, and the share of memory is what is free at start."),
    Block("Embedding Model: GPU Configurations", "source .venv-vllm/bin/activate", "--gpu rtx4090 --model qwen3-embedding-0.6b --context 512", command_of("embedding"), "`vllm serve` in place of the deprecated module; `--runner pooling`, without which the class is served as a chat model; the whole GPU, since it is alone on it."),
    Block("Embedding Model: GPU Configurations", "source .venv-vllm/bin/activate", STACK, command_of("chat", "embedding"), "The guide's shares (0.04 and 0.90, split over both cards) leave the embedding server nothing for its cache, and both processes' contexts lie outside them. One GPU for the embedding server leaves the chat model more; 96K in place of 128K is what surely starts beside it."),
    Block("Embedding Model: GPU Configurations", "source .venv-vllm/bin/activate", f"--gpu l40s --count 2 --model qwen3-vl-32b {EMBED}", command_of("chat", "embedding"), "0.03 of an L40S does not hold the embedding model with its activations; beside it the chat model in 16 bits starts with the context written here, not with 128K."),
    Block("Ministral-3 Models", "source .venv-vllm/bin/activate", "--gpu rtx4090 --count 2 --model ministral-3-14b-awq --context 128k", command_of("chat"), "A 16-bit cache fits, so none is quantized; the guide's own command starts too."),
    Block("Ministral-3 Models", "source .venv-vllm/bin/activate", "--gpu rtx4090 --count 2 --model ministral-3-14b-fp8", command_of("chat"), "The repository holds FP8 weights, not full precision, and far more than 32K fits. The three mistral flags are not needed: vLLM finds the format."),
    Block("GPU-Specific Configurations", "vllm serve QuantTrio/Qwen3-VL-32B-Instruct-AWQ \\", "--gpu rtx3090 --count 2 --model qwen3-vl-32b-awq --context 128k", command_of("chat"), "0.95 in place of 0.90: at 0.90 a start is not sure."),
    Block("GPU-Specific Configurations", "vllm serve Qwen/Qwen3-VL-32B-Instruct \\", "--gpu l40s --count 2 --model qwen3-vl-32b-awq --context 128k", command_of("chat"), "In 16 bits one request of 128K needs 16 GiB of cache a GPU, and 9 are left: it does not start. The AWQ model does, with a 16-bit cache."),
    Block("GPU-Specific Configurations", "vllm serve QuantTrio/Qwen3-VL-32B-Instruct-AWQ \\", "--gpu a100-80 --model qwen3-vl-32b", command_of("chat"), "On the A100 40GB the AWQ model starts with 64K as the guide has it. In 16 bits on the 80 GB card 128K need 32 GiB of cache where 9 are left; this is the longest context that surely starts."),
    Block("Setup LiteLLM for vLLM", "uv venv .venv-litellm --python 3.12", STACK, matching("setup.sh", "install .venv-litellm"), "`litellm` alone is the library; the proxy is its extra."),
    Block("Start the Servers", "source .venv-vllm/bin/activate", STACK, usage('export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 24)"', "./stack.sh start", "./stack.sh status", "./stack.sh stop"), "Three terminals become one script, which starts in order, waits for health, and stops everything where one fails."),
    Block("Configuration Files", "model_list:", MINISTRAL, whole("litellm.yaml", "yaml"), "The proxy refuses to start without a master key. `merge_consecutive_messages` is no key of LiteLLM's: it would be forwarded into the server's request; `health_check_mode` is read nowhere. The embedding entry has its mode. Only what is served is listed; sampling is what Mistral recommends."),
    Block("Configuration Files", "from litellm.integrations.custom_logger import CustomLogger", MINISTRAL, whole("custom_callbacks.py", "python"), "It looks at the deployment's model, not at an alias, and works for streams too."),
    Block("Running the Agent (via LiteLLM)", "conda activate spatialagent", STACK, whole("agent.env", "sh"), "EMPTY is no key: the agent has the proxy's, from the environment."),
    Block("Running the Agent (via LiteLLM)", "from spatialagent.agent import SpatialAgent, make_llm", STACK, whole("try.sh", "sh"), "The agent is its own program; this asks each model what an agent would."),
    Block("Parallel Benchmarking", "chmod +x run_benchmark_parallel.sh", STACK, whole("bench.sh", "sh"), "`./bench.sh problems` sends five problems side by side and keeps a log of each below experiments/; those of the agent's own are named as files. Without a word it is a load test with the plan's own users, `full` fills the context. Nothing but Python is needed."),
    Block("Setup (Ollama)", "brew install ollama", OLLAMA, matching("setup.sh", "make_models", "}"), "Each model is made anew from its tag with the planned context, so that nothing depends on Ollama's default."),
    Block("Configure Context Length (128K)", "export OLLAMA_CONTEXT_LENGTH=131072", OLLAMA, whole("ollama.override.conf", "ini"), "A drop-in, not an edit of the unit. Ollama's default is 4K, 32K or 256K by the memory of all GPUs, not 2K; 128K of this model's cache are 12 GiB in 16 bits. ollama.env holds the same for a shell."),
    Block("Running the Agent (Ollama)", "conda activate spatialagent", OLLAMA, whole("agent.env", "sh"), "Through the proxy, as with the other runtimes."),
    Block("Running the Agent (Ollama)", "from spatialagent.agent import SpatialAgent, make_llm", OLLAMA, whole("Modelfile.chat", "dockerfile"), "What the agent's model is, with its context and sampling. Ollama's own renderer of Qwen3-VL continues a trailing assistant message; the issue that the guide names was closed in 2024."),
    Block("1. Create the LLM Server Environment", "uv venv .venv-llm --python 3.12", MAC, matching("setup.sh", "install .venv-mlx"), "Stock servers do: no file of requirements, no release candidate."),
    Block("2. Create the Agent Environment", "conda create -n spatialagent python=3.12 -y", MAC, whole("agent.env", "sh"), "The agent's conda environment is made as the guide says: its packages are its own, and none of the servers' lies in it. All it needs of the servers is this, sourced in its shell."),
    Block("Quick Start (Recommended)", "./start_local_servers.sh", MAC, usage('export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 24)"', "./stack.sh start", "./stack.sh logs -f", "./stack.sh stop"), "The same script as on Linux, written for the bash of macOS."),
    Block("Terminal 1: MLX VLM Server (Vision models)", "source .venv-llm/bin/activate", MAC, command_of("chat"), "Its default address is 0.0.0.0: anybody on the network could use it. The guide's one server loads the model that a request names and unloads the one before; here each model has a server and its memory, so that a plan which starts serves all of them at once, and no request waits for 30 GB to be read again."),
    Block("Terminal 2: MLX LM Server (Text-only models)", "source .venv-llm/bin/activate", MAC, command_of("chat-2"), "mlx-vlm serves Ministral 3 today, with its vision; mlx_lm.server is what text models get."),
    Block("Terminal 3: Embeddings Server", "source .venv-llm/bin/activate", MAC, command_of("embedding"), "mlx-vlm's server has /v1/embeddings; no server of one's own is needed."),
    Block("Terminal 4: LiteLLM Proxy", "source .venv-llm/bin/activate", MAC, matching("stack.sh", "run_litellm()", "}"), "Bound to 127.0.0.1; its default is 0.0.0.0."),
    Block("Running the Agent", "conda activate spatialagent", MAC, whole("agent.env", "sh"), "With the proxy's key."),
    Block("Running the Agent", "from spatialagent.agent import SpatialAgent, make_llm", MAC, whole("try.sh", "sh"), "The agent is its own program; this asks each model what an agent would."),
    Block("Configuration", "model_list:", MAC, whole("litellm.yaml", "yaml"), "`health_check_model: skip` makes /health ask for a model named skip; `disable_background_health_check` is the key that is meant. A base with /v1 works as well."),
    Block("How the Ministral callback works", 'if messages and messages[-1].get("role") == "assistant":', MINISTRAL, whole("custom_callbacks.py", "python"), "As above."),
]  # fmt: skip


@cache
def emitted(command: str) -> tuple[tuple[str, str], ...]:
    """The files that `plan COMMAND` writes."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "planner", *shlex.split(command), "--output", folder]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"plan {command}: {done.stderr or done.stdout}")
        return tuple((path.name, path.read_text()) for path in sorted(Path(folder).iterdir()))


TABLE = [
    ("2x RTX 4090", "rtx4090", 2, "qwen3-vl-32b-awq", 2, 0.04, 0.90),
    ("2x RTX 3090", "rtx3090", 2, "qwen3-vl-32b-awq", 2, 0.04, 0.90),
    ("2x L40S", "l40s", 2, "qwen3-vl-32b", 1, 0.03, 0.95),
    ("A100 40GB", "a100-40", 1, "qwen3-vl-32b-awq", 1, 0.03, 0.92),
    ("A100 80GB", "a100-80", 1, "qwen3-vl-32b", 1, 0.02, 0.95),
]


def _stack(gpu: str, count: int, model: str, chat: Pins, embedding: Pins) -> Stack:
    group = GpuGroup(gpu=find_gpu(gpu), count=count)
    asks = []
    for name, wanted, pins in (("chat", model, chat), ("embedding", "qwen3-embedding-0.6b", embedding)):
        source = find_source(wanted)
        request = Request(model=source.spec, group=group, pins=pins)
        asks.append(Ask(name=name, request=request, repo=source.repo, served_name=source.served_name, market=source.market))
    return place_servers(asks, group)


def co_location() -> list[str]:
    """The guide's table of shares: its own, whether they start, and ours."""
    lines = ["| GPUs | the guide: embedding, chat | it | ours: embedding, chat | context of the chat model |", "|---|---|---|---|---|"]
    for title, gpu, count, model, split, small, large in TABLE:
        pinned = Pins(tensor_parallel_size=split, gpu_memory_utilization=small, enforce_eager=True, max_model_len=512)
        theirs = _stack(gpu, count, model, Pins(gpu_memory_utilization=large, tensor_parallel_size=count), pinned)
        ours = _stack(gpu, count, model, Pins(), Pins())
        fates = [
            f"{server.name}: {server.plan.rejection.reason}" if server.plan.rejection else f"{server.name} {server.plan.verdict}" for server in theirs.servers
        ]
        shares = ", ".join(f"{server.plan.config.gpu_memory_utilization:g} on GPU {'+'.join(map(str, server.gpus))}" for server in ours.servers)
        lines.append(f"| {title} | tp {split} {small:g}, {large:g} | {'; '.join(fates)} | {shares} | {ours.main.config.max_model_len:,} |")
    return lines


def part() -> list[str]:
    """The lines of the part."""
    lines = [
        "## Its blocks, and what `plan` emits in their place",
        "",
        "Each command block and configuration file of the guide, in its order. The blocks themselves are not repeated; they are named by heading and first line.",
        "",
        "### Several servers on the same GPUs",
        "",
        "The guide's table of shares, with an embedding context of 512 as it has it, and what `plan` chooses:",
        "",
        *co_location(),
        "",
    ]
    for number, block in enumerate(BLOCKS, 1):
        language, text = block.part(dict(emitted(block.command)))
        lines += [f"### {number}. {block.heading}", "", f"The guide: `{block.first}` …", "", block.changed, "", "```sh", f"plan {block.command}", "```", ""]
        lines += [f"```{language}", text.rstrip("\n"), "```", ""]
    return lines

"""Options that several commands share: the question about GPUs, a model, wishes and pins; types that read what people write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from typing import Any

import click

from planner.cli.command import is_quiet, option, output_options, words
from planner.cli.names import Name
from planner.engines.vllm.dtypes import KV_CACHE_DTYPES
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS
from planner.errors import PlannerError
from planner.facts.command_line import ANY, AUTO
from planner.facts.hardware import Host
from planner.units import parse_context, parse_seconds, parse_size


class Number(click.ParamType[int]):
    """Tokens (`context`) or bytes (`size`); people write 128k and mean 131072, so k and K are both 1024."""

    def __init__(self, name: str) -> None:
        self.name, self.read = name, parse_context if name == "context" else parse_size

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows."""
        return "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        try:
            number = self.read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if number < 1:
            self.fail(f"{value} is below 1", param, ctx)
        return number


CONTEXT, SIZE = Number("context"), Number("size")


class Finite(click.FloatRange):
    """A number in a range; NaN compares with nothing, so that click would let it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        if not isfinite(number := super().convert(value, param, ctx)):
            self.fail(f"{value} is not a number", param, ctx)
        return number


class Seconds(click.ParamType[float]):
    """A time such as 2s or 50ms."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        try:
            return parse_seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


STYLE = output_options
PURPOSES = ("agent", "chat", "code", "vision", "embedding")
_pin = partial(option, group="Pins: settings of the server, named as vLLM's flags", common=False)
_gpu = partial(option, "--gpu", type=Name("gpu"), group="Question")
_quantization = partial(option, "--quantization", group="Question", metavar="NAME")
_kinds: Any = {"type": click.Choice([str(host) for host in Host]), "default": "server", "show_default": True}
_host = partial(option, "--host", "--machine", "host_kind", group="Question", **_kinds)
_ONLINE = "fp8, fp8_per_block or fp8_per_channel, while loading"
QUESTION: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "gpu": _gpu(help="The GPU: rtx4090, a100-80, m4-max-64gb … (`plan list gpus`); auto reads this machine, any leaves it open."),
    "count": option("--count", default=1, show_default=True, type=click.IntRange(1, 1024), group="Question", help="How many of them."),
    "model": option(
        "--model", type=Name("model"), group="Question", help="A catalogue name (`plan list models`), owner/name on the Hub, or a folder with a config.json."
    ),
    "context": option("--context", type=CONTEXT, group="Question", help="The context wanted, e.g. 128k (131,072); else the longest that surely starts."),
    "users": option("--users", type=click.IntRange(1, 100_000), group="Question", help="How many people at once, each at full context."),
    "host_kind": _host(help="The kind of machine, not an address (that is --bind): what is free at start."),
    "link_gb_per_s": option(
        "--link-gb-per-s",
        type=Finite(0, 10_000, min_open=True),
        group="Question",
        common=False,
        help="What an all-reduce reaches here: nccl-tests' bus bandwidth, where measured.",
    ),
    "quantization": _quantization(help=f"vLLM: {_ONLINE}; GGUF: Q4_K_M, Q8_0, …; MLX: 8bit, 4bit, mxfp4."),
    "tensor_parallel_size": _pin(
        "--tensor-parallel-size", "-tp", "--tp", "tensor_parallel_size", type=click.IntRange(1, 1024), help="GPUs that share each layer."
    ),
    "pipeline_parallel_size": _pin(
        "--pipeline-parallel-size", "-pp", "--pp", "pipeline_parallel_size", type=click.IntRange(1, 1024), help="Groups of GPUs, some layers each."
    ),
    "max_model_len": _pin("--max-model-len", type=CONTEXT, help="32k is 32,768 here, as in --context."),
    "gpu_memory_utilization": _pin("--gpu-memory-utilization", type=Finite(0, 1, min_open=True), help="The share of a GPU's memory that vLLM takes."),
    "kv_cache_dtype": _pin(
        "--kv-cache-dtype", metavar="NAME", help=f"vLLM: {', '.join(KV_CACHE_DTYPES)}; llama.cpp and Ollama: f16, q8_0, q4_0; MLX: bf16, q8, q4."
    ),
    "kv_cache_memory_bytes": _pin("--kv-cache-memory-bytes", type=SIZE, help="The cache's size, e.g. 8GiB."),
    "max_num_seqs": _pin("--max-num-seqs", type=click.IntRange(1, 100_000), help="Requests at once."),
    "max_num_batched_tokens": _pin("--max-num-batched-tokens", type=click.IntRange(1, 10_000_000), help="Tokens of one step."),
    "enforce_eager": _pin("--enforce-eager/--no-enforce-eager", default=None, help="Without CUDA graphs, or with them."),
    "enable_expert_parallel": _pin("--enable-expert-parallel", is_flag=True, help="Whole experts on each GPU."),
    "skip_mm_profiling": _pin("--skip-mm-profiling", is_flag=True, help="Leave the vision tower's profiling peak out of the budget, as vLLM's flag does."),
    "dtype": _pin("--dtype", type=click.Choice(["auto", "bfloat16", "float16", "half", "float32"]), default="auto", help="Of the weights."),
    "vllm_version": _pin(
        "--vllm-version", type=click.Choice(list(VERSIONS)), default=DEFAULT_VERSION, show_default=True, metavar="0.11..0.33", help="The release."
    ),
}
_OF_VLLM = {
    "gpu": _gpu(help="The GPU: rtx4090, a100-80 … (`plan list gpus`); auto reads this machine."),
    "host_kind": _host(help="The kind of machine, not an address: what is free at start."),
    "quantization": _quantization(help=f"{_ONLINE}."),
    "kv_cache_dtype": _pin("--kv-cache-dtype", metavar="NAME", help=f"{', '.join(KV_CACHE_DTYPES)}."),
}


def read_machine(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options with the GPUs of this machine in place of `--gpu auto`: all of them, unless a count is given.

    `--gpu any` leaves the GPU open: none is in its place. Raises PlannerError for it where a further command needs one.
    """
    if options.get("gpu") == ANY:
        if ctx.parent is not None:
            raise PlannerError(f"--gpu any leaves the GPU open, and plan {ctx.info_name} is about one", f"try: {words({'gpu': 'rtx4090'})}")
        return options | {"gpu": None}
    if options.get("gpu") != AUTO:
        return options
    from planner.catalogue.load import know_gpu
    from planner.machine.detect import this_machine

    here = this_machine()
    know_gpu(AUTO, here.gpu)
    if not is_quiet(ctx):
        click.echo(f"plan: this machine has {here.note}", err=True)
    given = ctx.get_parameter_source("count") is not click.core.ParameterSource.DEFAULT
    return options | {"count": options["count"] if given else here.count}


def question(*, vllm_only: bool = False, without: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of the question: which GPUs, which model, what is wished and pinned; `without` those that mean nothing to the command."""
    wanted = {name: one for name, one in (QUESTION | (_OF_VLLM if vllm_only else {})).items() if name not in without}

    def add(run: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed(wanted.values()):
            run = one(run)
        return run

    return add

"""Options that several commands share: the question about GPUs, a model, wishes and pins; types that read what people write."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import click

from planner.engines.versions import DEFAULT_VERSION, VERSIONS
from planner.engines.vllm import KV_CACHE_DTYPES
from planner.hardware import Host
from planner.units import parse_context, parse_count, parse_seconds


class Count(click.ParamType[int]):
    """A number with vLLM's suffixes; `context` reads 128k as 131072."""

    name = "number"

    def __init__(self, *, context: bool = False) -> None:
        self.read = parse_context if context else parse_count

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        try:
            number = self.read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if number < 1:
            self.fail(f"{value} is below 1", param, ctx)
        return number


COUNT, CONTEXT = Count(), Count(context=True)


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


STYLE = click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
QUESTION = (
    click.option("--gpu", help="The GPU: rtx4090, a100-80, h100, ... (`plan list gpus`); auto reads this machine."),
    click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1024), help="How many of them."),
    click.option("--model", help="A catalogue name (`plan list models`), owner/name on the Hub, or a folder with a config.json."),
    click.option("--context", type=CONTEXT, help="The context wanted, e.g. 128k; else the longest that surely starts."),
    click.option("--users", type=click.IntRange(1, 100_000), help="How many people at once, each at full context."),
    click.option(
        "--host",
        "host_kind",
        type=click.Choice([str(h) for h in Host]),
        default="server",
        show_default=True,
        help="The kind of machine: decides what is free at start.",
    ),
    click.option("--link-gb-per-s", type=Finite(0, 10_000, min_open=True), help="What an all-reduce reaches here: nccl-tests' bus bandwidth, where measured."),
    click.option("--tensor-parallel-size", "-tp", type=click.IntRange(1, 1024), help="Pin it, as every option below."),
    click.option("--pipeline-parallel-size", "-pp", type=click.IntRange(1, 1024)),
    click.option("--max-model-len", type=COUNT),
    click.option("--gpu-memory-utilization", type=Finite(0, 1, min_open=True)),
    click.option("--kv-cache-dtype", help=f"vLLM: {', '.join(KV_CACHE_DTYPES)}; llama.cpp and Ollama: f16, q8_0, q4_0; MLX: bf16, q8, q4."),
    click.option("--kv-cache-memory-bytes", type=COUNT),
    click.option("--max-num-seqs", type=click.IntRange(1, 100_000)),
    click.option("--max-num-batched-tokens", type=click.IntRange(1, 10_000_000)),
    click.option("--enforce-eager/--no-enforce-eager", default=None),
    click.option("--enable-expert-parallel", is_flag=True),
    click.option("--skip-mm-profiling", is_flag=True, help="Leave the vision tower's profiling peak out of the budget, as vLLM's flag does."),
    click.option("--dtype", type=click.Choice(["auto", "bfloat16", "float16", "half", "float32"]), default="auto"),
    click.option("--quantization", help="vLLM: fp8, fp8_per_block or fp8_per_channel, while loading; GGUF: Q4_K_M, Q8_0, …; MLX: 8bit, 4bit, mxfp4."),
    click.option("--vllm-version", type=click.Choice(list(VERSIONS)), default=DEFAULT_VERSION, show_default=True, metavar="0.11..0.33"),
)


AUTO = "auto"


def read_machine(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options with the GPUs of this machine in place of `--gpu auto`: all of them, unless a count is given."""
    if options.get("gpu") != AUTO:
        return options
    from planner.catalog import know_gpu
    from planner.detect import this_machine

    here = this_machine()
    know_gpu(AUTO, here.gpu)
    click.echo(f"plan: this machine has {here.note}", err=True)
    given = ctx.get_parameter_source("count") is not click.core.ParameterSource.DEFAULT
    return options | {"count": options["count"] if given else here.count}


def question(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the question: which GPUs, which model, what is wished and pinned."""
    for option in reversed(QUESTION):
        command = option(command)
    return command

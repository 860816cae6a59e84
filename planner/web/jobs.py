"""The jobs of the page, one form each: what may be asked there, what stands in the form, what a first visit shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields

from planner.engines import ENGINES
from planner.facts.question import ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.web.fields import BESIDE

_MACHINE = tuple(item.name for item in fields(StackRow) if item.name not in ("services", "bind", "proxy_port", "comment", "link_gb_per_s"))
_SERVICE = tuple(item.name for item in fields(ServiceRow) if item.name not in ("name", "port"))
_OWN_CARD = ("vram", "bandwidth", "compute_capability", "vendor", "free_gib", "total_gib", "ram")
_CARD = "Another card, or less of it"
_LIMITS = ("ttft", "tpot", "percentile", "rate")
_SESSIONS = ("turns", "pause", "tool_tokens", "subagents", "kv_offloading_size")
_MONEY = ("rent_usd_per_hour", "buy_usd", "years", "utilization", "usd_per_kwh", "watts", "idle_watts", "api")
_COMPARED = ("input", "output_tokens", "years", "utilization", "usd_per_kwh")
Groups = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One form of the page; `command` is that of the command line, `pasted` the field of a text of any length."""

    name: str
    title: str
    asks: str
    button: str
    shown: tuple[str, ...]
    groups: Groups = ()
    """Fields that are folded away, under the words that open them."""
    accepts: tuple[str, ...]
    first: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """Fields that a link from another job's question fills from `first`."""
    command: str = ""
    pasted: str = ""
    is_heavy: bool = False
    """Whether an answer takes longer than a keystroke may: it is asked for when a field is left, and computed beside the others."""
    several: bool = False

    @property
    def path(self) -> str:
        """Its address, from any page."""
        return "./" if self.name == PLAN else self.name


PLAN = "plan"
_COMMAND = next(iter(ENGINES.values())).example.replace("MODEL", "qwen3-8b")
_PLANNED = (*_MACHINE, *_SERVICE, *BESIDE)
_MORE = ("host", "engine", "input", "output_tokens", "concurrency", "quantization", "kv_cache_dtype", "tensor_parallel_size", "nodes")
_ALL = (
    Job(
        name=PLAN,
        title="Plan",
        asks="What can this hardware serve?",
        button="Plan",
        shown=("gpu", "count", "model", "context", "users"),
        groups=(("Load, runtime, settings", _MORE), (_CARD, _OWN_CARD)),
        accepts=_PLANNED,
        first={"gpu": "rtx4090", "count": "2", "model": "qwen3-vl-32b-awq"},
        needs=("gpu", "model"),
    ),
    Job(
        name="models",
        title="Models",
        asks="Which models should this machine run?",
        button="Choose",
        shown=("gpu", "count", "purpose", "context", "users", "min_speed"),
        groups=(("Runtime", ("host", "engine", "top")), (_CARD, _OWN_CARD)),
        accepts=(*_MACHINE, "purpose", "context", "users", "min_speed", "top"),
        first={"gpu": "rtx4090", "count": "2"},
        needs=("gpu",),
        is_heavy=True,
    ),
    Job(
        name="machines",
        title="Machines",
        asks="What to rent or buy for a model?",
        button="Find",
        shown=("model", "context", "users", "min_speed"),
        groups=(("More", ("quantization", "top")),),
        accepts=("model", "context", "users", "quantization", "min_speed", "top"),
        first={"model": "qwen3-32b", "context": "32k", "users": "10"},
        needs=("model",),
        is_heavy=True,
    ),
    Job(
        name="stack",
        title="Several servers",
        asks="Which models fit side by side on the same GPUs?",
        button="Plan",
        shown=("gpu", "count", "model", "context", "users", *BESIDE),
        groups=(("Load, runtime, settings", _MORE), (_CARD, _OWN_CARD)),
        accepts=_PLANNED,
        first={"gpu": "rtx4090", "count": "2", "model": "qwen3-vl-32b-awq", "beside": "qwen3-embedding-0.6b"},
        needs=("gpu", "model", "beside"),
    ),
    Job(
        name="capacity",
        title="Capacity",
        asks="How many people does it hold within limits of time?",
        button="Ask",
        shown=("gpu", "count", "model", "input", "output_tokens", "ttft", "tpot", "users", "rate"),
        groups=(
            ("Sessions of agents", _SESSIONS),
            ("Limits, runtime, settings", ("percentile", "context", "host", "engine", "quantization", "kv_cache_dtype", "tensor_parallel_size")),
        ),
        accepts=("gpu", "count", "host", "engine", "vllm_version", *_SERVICE, *_LIMITS, *_SESSIONS),
        first={"gpu": "h100", "count": "1", "model": "qwen3-32b-fp8"},
        needs=("gpu", "model"),
        command="capacity",
        is_heavy=True,
    ),
    Job(
        name="cost",
        title="Cost",
        asks="What do a million tokens cost, rented, bought, by an API?",
        button="Reckon",
        shown=("gpu", "count", "model", "input", "output_tokens", "concurrency", "rent_usd_per_hour", "buy_usd", "documents"),
        groups=(
            ("More of the money", _MONEY[2:]),
            ("Load, runtime, settings", ("rate", "context", "host", "engine", "quantization", "kv_cache_dtype", "tensor_parallel_size")),
        ),
        accepts=("gpu", "count", "host", "engine", "vllm_version", *(name for name in _SERVICE if name != "users"), "rate", "documents", *_MONEY),
        first={"gpu": "h100", "count": "1", "model": "qwen3-32b-fp8"},
        needs=("gpu", "model"),
        command="cost",
        is_heavy=True,
    ),
    Job(
        name="compare",
        title="Compare",
        asks="Which runtime, what does a second GPU add, and what does it cost?",
        button="Compare",
        shown=("gpu", "count", "model", "context", "users", "host"),
        groups=(("Load, money", _COMPARED),),
        accepts=("gpu", "count", "model", "context", "users", "host", *_COMPARED),
        first={"gpu": "rtx4090", "model": "qwen3-14b"},
        needs=("gpu", "model"),
        command="compare",
        is_heavy=True,
        several=True,
    ),
    Job(
        name="check",
        title="Check",
        asks="Does this command start?",
        button="Check",
        shown=("command", "gpu", "count"),
        groups=(("More", ("host", "server", "model", "engine_version")), (_CARD, _OWN_CARD)),
        accepts=("command", "gpu", "count", "host", "server", "model", "engine_version", *_OWN_CARD),
        first={"gpu": "rtx4090"},
        needs=("gpu",),
        command="check",
        pasted="command",
    ),
    Job(
        name="explain",
        title="Explain",
        asks="Why did it not start?",
        button="Explain",
        shown=("log", "gpu", "model", "count"),
        accepts=("log", "gpu", "model", "count"),
        command="explain",
        pasted="log",
    ),
)
JOBS = {job.name: job for job in _ALL}
"""By name, in the order of the navigation."""
EXAMPLES = {
    "check": {"command": f"{_COMMAND} --max-model-len 40960", "gpu": "rtx4090"},
    "explain": {"log": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "gpu": "rtx4090", "model": "qwen3-8b"},
}
"""What may be tried where nothing was pasted yet."""

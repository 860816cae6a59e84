"""One model on one machine under every runtime that can serve it there: does it fit, how much context, for whom, and is it safe for agents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.cli_local import LocalAnswer
from planner.errors import PlannerError
from planner.estimate import NoSpeed, estimate, expected_tokens_per_s
from planner.gguf import ollama


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One runtime's answer; `refusal` instead where it cannot serve the model here. Bytes are of the fullest GPU."""

    engine: str
    quantization: str = ""
    verdict: str = ""
    context: int = 0
    users: float = 0.0
    used_bytes: int = 0
    available_bytes: int = 0
    tokens_per_s: float | None = None
    speed_reason: str | None = None  # why there are no tokens_per_s
    layers_on_cpu: int = 0
    agent_safe: str = ""
    agent_note: str = ""
    steps: tuple[str, ...] = ()
    refusal: str = ""


AGENTS = {
    "vllm": ("yes", "continue_final_message is honoured; the proxy's callback sets it for Mistral models"),
    "mlx": ("yes", "two assistant messages in a row are answered (mlx-lm 0.32.2, tried); nothing is continued"),
    "llama.cpp": ("no", "two assistant messages at the end are refused with HTTP 400 (tools/server/server-common.cpp)"),
    "ollama": ("partly", "Go templates merge assistant messages (ollama#10273), Jinja templates refuse two at the end with HTTP 400"),
    "ollama rendered": ("yes", "Ollama's own renderer continues a trailing assistant message (model/renderers)"),
}
STEPS = {
    "vllm": ("./setup.sh", "export LITELLM_MASTER_KEY=…", "./stack.sh start"),
    "mlx": ("./setup.sh", "export LITELLM_MASTER_KEY=…", "./stack.sh start"),
    "llama.cpp": ("install llama.cpp", "get or make the GGUF file", "./setup.sh", "export LITELLM_MASTER_KEY=…", "./stack.sh start"),
    "ollama": ("install Ollama", "./setup.sh", "export LITELLM_MASTER_KEY=…", "./stack.sh start"),
}


def agent_safety(engine: str, architecture: str) -> tuple[str, str]:
    """Whether an agent may send assistant messages in a row, and why; with its source."""
    rendered = engine == "ollama" and ollama.has_renderer(architecture)
    return AGENTS["ollama rendered" if rendered else engine]


def runtimes(vendor: str) -> tuple[str, ...]:
    """The runtimes of a kind of machine."""
    return ("mlx", "ollama", "llama.cpp") if vendor == "apple" else ("vllm", "ollama", "llama.cpp")


def compare(engines: tuple[str, ...], ask: Callable[[str], object]) -> list[Compared]:
    """Ask each runtime the same question; `ask` answers for one engine, or raises PlannerError with what it cannot do."""
    found = []
    for engine in engines:
        try:
            found.append(_compared(engine, ask(engine)))
        except PlannerError as error:
            found.append(Compared(engine=engine, refusal=" ".join(f"{error.message}; {error.hint}".split()).rstrip("; ")))
    return found


def _compared(engine: str, answer: object) -> Compared:
    if isinstance(answer, LocalAnswer):
        plan = answer.main
        safe, note = agent_safety(engine, plan.architecture)
        return Compared(
            engine=f"{engine} ({plan.engine})" if engine == "mlx" else engine,
            quantization=plan.quantization,
            verdict=plan.verdict,
            context=plan.context,
            users=float(plan.users),
            used_bytes=plan.used_bytes,
            available_bytes=plan.available_bytes,
            tokens_per_s=expected_tokens_per_s(plan.speed),
            speed_reason=plan.speed.reason if isinstance(plan.speed, NoSpeed) else None,
            layers_on_cpu=plan.layers - plan.layers_on_gpu,
            agent_safe=safe,
            agent_note=note,
            steps=STEPS[engine],
        )
    from planner.cli_stack import Answer

    if not isinstance(answer, Answer):
        raise TypeError(f"{type(answer).__name__} is no answer")
    vllm = answer.stack.main
    safe, note = agent_safety(engine, vllm.model.architecture)
    ledger, speed = vllm.choice.expected, estimate(vllm)
    return Compared(
        engine=engine,
        quantization=vllm.model.quantization or "16-bit",
        verdict=vllm.verdict,
        context=vllm.config.max_model_len,
        users=ledger.max_concurrency,
        used_bytes=ledger.used_bytes,
        available_bytes=ledger.free_at_start_bytes,
        tokens_per_s=expected_tokens_per_s(speed),
        speed_reason=speed.reason if isinstance(speed, NoSpeed) else None,
        agent_safe=safe,
        agent_note=note,
        steps=STEPS[engine],
    )


__all__ = ["Compared", "agent_safety", "compare", "runtimes"]

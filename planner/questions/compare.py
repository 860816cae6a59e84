"""One model on one machine under every runtime that can serve it there: does it fit, how much context, for whom, and is it safe for agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp import ollama
from planner.engines.vllm.pace import estimate
from planner.engines.vllm.plan import Plan
from planner.errors import PlannerError
from planner.facts.speed import NoSpeed, expected_tokens_per_s
from planner.facts.verdict import Engine
from planner.questions.comparison import Compared
from planner.questions.local import LocalAnswer
from planner.questions.ways import Way
from planner.units import largest

MOST_USERS, USUAL_CONTEXT = 256, 8192


def usual_context(model: str) -> int:
    """The context of which users are counted where none is asked: 8,192 tokens, or all that the model has."""
    if model.endswith(".gguf"):
        return USUAL_CONTEXT
    return min(USUAL_CONTEXT, find_plain(model).spec.max_position_embeddings)


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


def runtimes(vendor: str) -> tuple[Engine, ...]:
    """The runtimes of a kind of machine."""
    return ("mlx", "ollama", "llama.cpp") if vendor == "apple" else ("vllm", "ollama", "llama.cpp")


Ask = Callable[[Way, int | None, int | None], object]
"""Answers for one way, a context and a number of users, or raises PlannerError with what it cannot do."""


def compare(rows: Sequence[Sequence[Way]], ask: Ask, context: int | None, users: int | None, users_context: int) -> list[Compared]:
    """Ask each runtime the same question for each class of weights: of the ways that a row may be served, the first that is not refused."""
    return [_row(ways, ask, context, users, users_context) for ways in rows]


def _row(ways: Sequence[Way], ask: Ask, context: int | None, users: int | None, users_context: int) -> Compared:
    refusals = []
    for way in ways:
        try:
            found = _compared(way.engine, ask(way, context, users))
        except PlannerError as error:
            refusals.append(" ".join(f"{error.message}; {error.hint}".split()).rstrip("; "))
            continue
        found = replace(found, bits=way.bits, arguments=way.arguments)
        return _held(found, way, ask, users_context) if found.is_sure else found
    return Compared(engine=ways[0].engine, bits=ways[0].bits, refusal=refusals[0])


def _held(found: Compared, way: Way, ask: Ask, context: int) -> Compared:
    """The longest context of one user, and how many users of a shorter one are surely held."""
    longest = ask(way, None, None)
    if not isinstance(longest, LocalAnswer):
        of_one, of_many = _vllm(longest).choice.conservative, _vllm(ask(way, context, None)).choice.conservative
        held = min(MOST_USERS, int(of_many.max_concurrency))
        return replace(found, longest_context=of_one.longest_max_model_len, users_context=context, users_held=held)

    def holds(users: int) -> bool:
        answer = ask(way, context, users)
        return isinstance(answer, LocalAnswer) and answer.main.verdict == "starts" and answer.main.is_whole

    return replace(found, longest_context=longest.main.longest_context, users_context=context, users_held=largest(MOST_USERS, holds))


def _vllm(answer: object) -> Plan:
    from planner.questions.vllm import Answer

    if not isinstance(answer, Answer):
        raise TypeError(f"{type(answer).__name__} is no answer")
    return answer.stack.main


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
    vllm = _vllm(answer)
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


__all__ = ["agent_safety", "compare", "runtimes", "usual_context"]

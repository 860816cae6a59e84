"""What a program may ask: each question of `planner.api` with the schema of its arguments and of its answer, both from the types that stand in the code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Protocol, cast, get_args, get_overloads, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planner.api import capacity as capacities
from planner.api import choose as choosing
from planner.api import cost as costs
from planner.api import plan as plans
from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.record import dataclass
from planner.questions.asked import File
from planner.questions.fields import FIELDS
from planner.report import capacity, chosen, cost, explained, machines, proxy, terminal
from planner.report.schemas import json_schema
from planner.report.text import Piece
from planner.text import told

WIDTH = 120  # of the answer as text
MOST_FAULTS = 3  # that a refusal names
_FILES = frozenset({"gpus", "models", "prices", "trace"})
"""Arguments that name files of the machine that answers: a program that asks from elsewhere has no business there."""
_WORDS = {
    "model": "A name of the catalogue (qwen3-8b), or owner/name on the Hugging Face Hub.",
    "gpu": "A name of the catalogue: rtx4090, h100, m4-max-64gb; auto for the GPUs of the machine that answers.",
    "count": "GPUs; else 1, or as many as a judged container is given.",
    "context": "Tokens of one request, prompt and answer: 131072, or 128k; else the longest that fits.",
    "users": "Requests that must fit at full context; else 1.",
    "input": "Tokens of a prompt.",
    "output_tokens": "Tokens of an answer.",
    "concurrency": "Requests at once that the speed is for.",
    "acceptance_length": "Tokens that a step with drafts gives on average, its own counted.",
    "rate": "Requests a second.",
    "engine": f"{', '.join(ENGINES)}; else what runs there.",
    "beside": "Further models on the same GPUs, each with its settings: qwen3-embedding-0.6b:gpu_memory_utilization=0.1",
    "command": "The command line, or the text of a script, compose file, Kubernetes manifest, Modelfile or LiteLLM configuration.",
    "log": "The server's log, whole or its last lines.",
    "purpose": "What the model is for.",
    "min_speed": "Tokens a second that each user sees at least.",
    "top": "How many to answer with.",
    "server": "Which one, where the text starts several.",
    "free_gib": "GiB that are free on each GPU now.",
    "ram": "Main memory of the machine: 64GiB.",
    "ttft": "Limit of the time to first token: seconds, or 500ms.",
    "tpot": "Limit of the time for each further token.",
    "link_gb_per_s": "What one GPU sends another, GB/s, where it was measured.",
    "power_limit_w": "What each GPU is held to, in watts (nvidia-smi -pl).",
    "quantization": "The weights: awq, fp8, Q4_K_M, 4bit; else what the model is published in.",
    "host": "The kind of machine.",
}


class Answer(Protocol):
    """What a question is answered with."""

    def to_dict(self) -> Mapping[str, object]:
        """What the command prints with `--json`."""


class Arguments(BaseModel):
    """What a question takes, of the types it says; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer for programs (`json`, what the command prints with `--json`) and for who reads (`text`)."""

    json: Mapping[str, object]
    text: str


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A question: its name, what it takes, who answers, and how the answer reads."""

    name: str
    schema: str
    """The JSON Schema of its answer, as `plan schema` names it."""
    says: str
    ask: Callable[..., Answer]
    report: Callable[..., Iterable[Piece]]
    example: Mapping[str, object]
    """Arguments that are answered, without the network."""
    takes: Callable[..., object] | None = None
    """Whose arguments it takes; else those of `ask`."""

    @cached_property
    def arguments(self) -> type[Arguments]:
        """Its arguments, from the function's own annotations; what names a file is left out."""
        taken = dict(_taken(self.takes or self.ask))
        hints = {name: hint for name, (hint, _) in taken.items()}
        defaults = {name: Field(default, description=_description(name)) for name, (_, default) in taken.items()}
        return cast("type[Arguments]", type(self.name, (Arguments,), {"__module__": __name__, "__annotations__": hints, **defaults}))

    @cached_property
    def input_schema(self) -> dict[str, object]:
        """JSON Schema of its arguments."""
        return self.arguments.model_json_schema()

    @cached_property
    def output_schema(self) -> dict[str, object]:
        """JSON Schema of its answer: an object, whichever of its forms."""
        return {"type": "object"} | json_schema(self.schema)

    def answer(self, arguments: Mapping[str, object]) -> Answered:
        """The answer. Raises PlannerError, also for arguments that it does not take."""
        try:
            asked = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise PlannerError(_faults(error), f"arguments: {', '.join(self.arguments.model_fields)}") from None
        answer = self.ask(**{name: getattr(asked, name) for name in sorted(asked.model_fields_set)})
        lines = (line.plain for piece in self.report(answer) for line in piece.lines(WIDTH))
        return Answered(json=answer.to_dict(), text=told("\n".join(lines)))


def _taken(function: Callable[..., object]) -> Iterator[tuple[str, tuple[object, object]]]:
    """The arguments of a function that name no file: types and defaults (`...` where there is none)."""
    hints = get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            (settings,) = get_args(hints[name])
            yield from ((key, (hint, None)) for key, hint in get_type_hints(settings).items() if key not in _FILES)
        elif name not in _FILES:
            yield name, (str if hints[name] == File else hints[name], ... if parameter.default is parameter.empty else parameter.default)


def _description(name: str) -> str | None:
    return _WORDS.get(name) or (FIELDS[name].help if name in FIELDS else "") or None


def _faults(error: ValidationError) -> str:
    """What is wrong with the arguments, without repeating them at length."""
    faults = [f"{'.'.join(map(str, fault['loc']))[:60]}: {fault['msg'][:120]}" for fault in error.errors(include_url=False, include_input=False)]
    more = len(faults) - MOST_FAULTS
    return "; ".join(faults[:MOST_FAULTS]) + (f"; and {more} more" if more > 0 else "")


def _checked(answer: plans.CheckAnswer) -> Iterable[Piece]:
    if answer.plan is not None:
        return terminal.render_check(answer.plan)
    return proxy.render_proxy(answer.proxy) if answer.proxy else ()


_MODELS, _MACHINES = get_overloads(choosing.choose)
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            name="plan",
            schema="plan",
            says="Whether these GPUs can serve a model, before anything is downloaded: verdict, memory by part, exact flags and commands, context, users, "
            "speed with its interval, and the nearest setting that works where it does not start.",
            example={"gpu": "rtx4090", "count": 2, "model": "qwen3-vl-32b-awq", "context": "64k"},
            ask=plans.plan,
            report=terminal.render,
        ),
        Tool(
            name="check",
            schema="check",
            says="Whether somebody's command (or script, compose file, Kubernetes manifest, Modelfile, LiteLLM configuration) starts on a GPU, and if not, "
            "why and which flag mends it. Nothing is run.",
            example={"gpu": "rtx4090", "command": next(iter(ENGINES.values())).example.replace("MODEL", "qwen3-8b")},
            ask=plans.check,
            report=_checked,
        ),
        Tool(
            name="explain",
            schema="explain",
            says="What happened in a server's log: the cause of a failed start, remedies, and what was observed beside what was predicted.",
            example={"gpu": "rtx4090", "model": "qwen3-8b", "log": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"},
            ask=plans.explain,
            report=lambda answer: explained.render(answer.explained, answer.gpu),
        ),
        Tool(
            name="choose_models",
            schema="chosen-models",
            says="Which models a machine should run, best first, each with its memory, speed and reason.",
            example={"gpu": "rtx4090", "purpose": "agent", "top": 3},
            ask=choosing.choose,
            report=chosen.render_models,
            takes=_MODELS,
        ),
        Tool(
            name="choose_machines",
            schema="chosen-machines",
            says="Which GPUs serve a model, cheapest first, with prices an hour.",
            example={"model": "qwen3-8b", "context": "32k", "top": 3},
            ask=choosing.choose,
            report=machines.render_machines,
            takes=_MACHINES,
        ),
        Tool(
            name="capacity",
            schema="capacity",
            says="How many users at once and requests a second stay within limits of time; with users or rate and no count: how many GPUs that takes.",
            example={"gpu": "rtx4090", "model": "qwen3-8b", "users": 4},
            ask=capacities.capacity,
            report=capacity.render,
        ),
        Tool(
            name="cost",
            schema="cost",
            says="What a million tokens cost on GPUs that are rented or bought, beside an API's price.",
            example={"gpu": "rtx4090", "model": "qwen3-8b", "concurrency": 4},
            ask=costs.cost,
            report=cost.render,
        ),
    )
}
"""The questions by name."""

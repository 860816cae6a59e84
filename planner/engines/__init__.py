"""What serves models: one package an engine, behind one protocol. The only place that lists them.

A question is answered in the same types by every engine; what one cannot answer it says (`Unanswered`). An engine never imports another; what
several need lies beside this file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from planner.errors import PlannerError
from planner.facts.record import dataclass

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue, Checkpoints
    from planner.facts.alternatives import Alternative
    from planner.facts.command import Command
    from planner.facts.curve import Curve
    from planner.facts.hardware import GpuGroup, GpuSpec
    from planner.facts.model import ModelSpec
    from planner.facts.observed import Explained, Observed
    from planner.facts.plan import Plan
    from planner.facts.question import StackRow
    from planner.facts.serving import Serving
    from planner.facts.settings import Setting
    from planner.facts.speed import NoSpeed
    from planner.facts.verdict import Warn
    from planner.speed.estimate import Pace


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question that an engine has no answer to, and why, in words that follow its title."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The servers of a question on its machine, in the order in which they start; the last is the main one."""

    plans: tuple[Plan, ...]
    alternatives: tuple[Alternative, ...] = ()
    warnings: tuple[Warn, ...] = ()
    """Of all servers together, each said once."""


class Engine(Protocol):
    """What an engine answers. Methods raise PlannerError where the question itself is wrong for it."""

    name: str
    """As a question and the JSON name it."""
    title: str
    """As its makers write it."""
    versions: Sequence[str]
    """Releases whose rules are known, the newest last."""
    settings: Sequence[Setting]
    """What its command may say of memory."""
    own_settings: Sequence[str]
    """Names of a question's fields that not every engine reads: they are refused, not passed over, where another is asked."""
    first_port: int
    usual_on: Sequence[str]
    """Vendors of GPUs on which it is meant where no engine is named."""
    serving: Mapping[str, Serving]
    """How containers, scripts and the proxy treat its servers, by the name of the program that serves (`Service.engine`)."""

    splits_by_memory: bool
    """Whether GPUs that differ each take what they hold; else every one takes what the smallest does."""
    whole_cache: str
    """The --kv-cache-dtype of as many bits as the activations."""
    reads_gguf: bool
    """Whether a GGUF file is served as it is."""
    forms: Mapping[str, str]
    """What settings of every engine may be for it, by their names: words of the help."""
    steps: Sequence[str]
    """What a person does to run a plan of it."""
    example: str
    """A command of its server, for who is asked for one."""

    def refuses(self, gpu: GpuSpec) -> str:
        """Why it does not run on a GPU: its vendor, its compute capability or its instruction set; empty where it runs."""

    def plan(self, question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue) -> Placement:
        """Place the servers of a question on its machine: a plan for each, and what would do where one does not start."""

    uses_main_memory: bool
    """Whether it serves what no GPU holds from main memory."""

    def as_asked(self, question: StackRow, machine: GpuGroup, catalogue: Catalogue) -> Plan:
        """The plan of a question's only server, without what would do where it does not start."""

    def in_short(self, plan: Plan) -> str:
        """How a plan of its is set, in few words."""

    def ways(self, model: Checkpoints, bits: int, gpu: GpuSpec) -> Sequence[tuple[str, str | None]]:
        """How it serves a model in a class of weights: names of models, each with a quantization where one is made; the most usual first."""

    def stored_bytes(self, model: ModelSpec, form: str) -> int:
        """What the weights of a model take in a format of its; of a checkpoint, whose format is its own, when they are loaded on one GPU."""

    def agent_safety(self, architecture: str) -> tuple[str, str]:
        """Whether an agent may send assistant messages in a row (yes, partly, no), and why."""

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        """The arguments of its server, where the words of a command line start one; behind `run`, those of its image."""

    def find_file(self, text: str) -> Command | None:
        """What a file of its own stands for, which is no command: a Modelfile; None for another text."""

    def read_command(self, command: Command) -> Command | Unanswered:
        """A command with its settings, its model and what is wrong with its flags."""

    def check(self, command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan | Unanswered:
        """Whether a command starts: its plan with the problems in the order in which the engine would hit them."""

    def read_log(self, lines: Iterable[str]) -> Observed | Unanswered:
        """What a log of its server says; whose it is stays open where no line tells."""

    def explain(self, observed: Observed, *, model: str, gpu: GpuSpec | None, count: int, catalogue: Catalogue) -> Explained:
        """What a log calls for, beside the prediction for the command that wrote it; `model`, `gpu`, `count`: what is known beyond it, or nothing."""

    def curves(self, plan: Plan) -> tuple[Curve, ...] | Unanswered:
        """Pictures of a plan: what it holds and how fast it is over users and lengths."""

    def paces(self, plan: Plan) -> tuple[Pace, Pace, Pace] | NoSpeed:
        """A plan of its at the conservative, the expected and the optimistic outlook, or why the time of prompts or of anything cannot be told."""


class _Engines(MutableMapping[str, Engine]):
    """Engines by name; each package is imported when it is first asked for."""

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = dict(homes)
        self._known: dict[str, Engine] = {}

    def __getitem__(self, name: str) -> Engine:
        if name not in self._known:
            module, _, attribute = self._homes[name].partition(":")
            self._known[name] = getattr(import_module(module), attribute)
        return self._known[name]

    def __setitem__(self, name: str, engine: Engine) -> None:
        self._homes.setdefault(name, "")
        self._known[name] = engine

    def __delitem__(self, name: str) -> None:
        del self._homes[name]
        self._known.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)


ENGINES: MutableMapping[str, Engine] = _Engines(
    {
        "vllm": "planner.engines.vllm.engine:VLLM",
        "mlx": "planner.engines.mlx.engine:MLX",
        "ollama": "planner.engines.llamacpp.engine:OLLAMA",
        "llama.cpp": "planner.engines.llamacpp.engine:LLAMA_CPP",
    }
)


def first_engine() -> Engine:
    """The engine that is meant where none can be named: the one that plan verify asks and checkpoints are published for."""
    return ENGINES[next(iter(ENGINES))]


def usual_words() -> str:
    """The engines that are meant where none is named, in words: on GPUs of servers, and on machines that are another kind altogether."""
    first, *others = (engine for engine in ENGINES.values() if engine.usual_on)
    names = {"apple": "a Mac"}
    return ", ".join([first.title, *(f"on {names[vendor]} {engine.title}" for engine in others for vendor in engine.usual_on if vendor in names)])


def titles_with(setting: str) -> str:
    """The engines that have a setting of their own, in words."""
    return " and ".join(engine.title for engine in ENGINES.values() if setting in engine.own_settings)


def servings(programs: Collection[str]) -> dict[str, Serving]:
    """How programs are treated, in the order of their engines. Raises PlannerError for a program that no engine has."""
    left = set(programs)
    ours: dict[str, Serving] = {}
    for engine in ENGINES.values():
        ours |= {program: serving for program, serving in engine.serving.items() if program in left}
        if left <= ours.keys():
            return ours
    unknown = min(left - ours.keys())
    raise PlannerError(f"no engine has the program {unknown[:40]!r}", f"known: {', '.join(known_programs())}")


def serving_of(program: str) -> Serving:
    """How one program is treated. Raises PlannerError for a program that no engine has."""
    return servings((program,))[program]


def title_of(program: str) -> str:
    """The name of a program's engine as its makers write it. Raises PlannerError for a program that no engine has."""
    serving_of(program)
    return next(engine.title for engine in ENGINES.values() if program in engine.serving)


def known_programs() -> tuple[str, ...]:
    """The programs of all engines."""
    return tuple(program for engine in ENGINES.values() for program in engine.serving)

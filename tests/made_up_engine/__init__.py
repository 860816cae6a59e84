"""An engine that nobody has: what a package behind the seam needs, in one file. `toyserve MODEL --context N --host H --port P` serves in 16 bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from planner.engines import Placement, Unanswered
from planner.engines.beside import differences
from planner.engines.budget import Budget, budgeted
from planner.engines.catalogue import Catalogue, Checkpoints, Plain
from planner.engines.causes import Finding, causes, plain
from planner.engines.decided import decided
from planner.engines.naming import named
from planner.engines.sequence import one_after_another
from planner.engines.shards import modules_bytes, token_bytes
from planner.engines.words import Grammar, read_words
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.config import CacheLayout, Parallel
from planner.facts.curve import Curve
from planner.facts.deployment import Service
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.observed import Explained, Observed
from planner.facts.plan import Plan, PlannedModel, exactly
from planner.facts.plan import longest_context as longest
from planner.facts.question import ServiceRow, StackRow
from planner.facts.serving import Container, Serving
from planner.facts.settings import Kind, Setting, read_flags
from planner.facts.speed import NoSpeed

VERSION, PROGRAM = "1.0", "toyserve"
SETTINGS = (Setting(name="context", flag="--context", kind=Kind.TOKENS, default=4096, least=1, is_pin=False),)
GRAMMAR = Grammar(
    program=PROGRAM, release=VERSION, table={"--context": {"takes": 1, "reads": "int"}, "--host": {"takes": 1}, "--port": {"takes": 1}}, is_argparse=True
)
CAUSES = causes([("out-of-memory", r"toyserve: no room")], started=r"toyserve: ready", own=r"toyserve:")
SERVING = Serving(
    command=(PROGRAM,),
    proxy_prefix="hosted_toy",
    variables=("TOY",),
    container=Container(images={"": "toy/serve:{version}"}),
    packages=("toyserve=={version}",),
    environment=".venv-toy",
)


def weights_bytes(model: ModelSpec) -> int:
    modules = [*model.first, *model.tower, *model.every, *model.last, *(module for group in model.layers for _ in group.indices for module in group.modules)]
    return modules_bytes(modules, Parallel())


def cache_bytes(model: ModelSpec, context: int) -> int:
    layout = CacheLayout(backend="")
    return context * sum(len(group.indices) * token_bytes(cache, 1, layout) for group in model.layers for cache in group.caches)


def planned(model: Plain, group: GpuGroup, row: ServiceRow, host: str = "127.0.0.1") -> Plan:
    """One server: weights, and the cache of each user."""
    spec, users, free = model.spec, row.users or 1, group.free_at_start_bytes(1) - group.taken_bytes
    weights = weights_bytes(spec)
    fitting = longest(spec.max_position_embeddings, lambda tokens: weights + users * cache_bytes(spec, tokens) <= free)
    context = row.context_tokens or fitting or 4096
    lines = (exactly("weights", "weights", weights), exactly("kv_cache", "KV cache", users * cache_bytes(spec, context)))
    argv = (PROGRAM, model.repo, "--context", str(context), "--host", host, "--port", str(row.port))
    plan = budgeted(
        Budget(lines, free, free),
        engine="toy",
        version=VERSION,
        model=PlannedModel(id=model.repo, architecture=spec.architecture, quantization="bf16", max_position_embeddings=spec.max_position_embeddings),
        group=group,
        settings=(("context", context), ("parallel", users)),
        reasons=(("context", "as asked" if row.context else "the longest that fits"), ("parallel", "one for each user")),
        context=context,
        users=users,
        longest_context=fitting,
        service=Service(
            name=str(row.name), task="embedding" if spec.pooling else "chat", engine=PROGRAM, version=VERSION, model=model.repo, served_name=model.name,
            alias=model.name, argv=argv, host=host, port=row.port or 0, gpus=(0,), settings={"max_model_len": context}, weights_bytes=weights, users=users,
        ),
    )  # fmt: skip
    return replace(plan, speed=NoSpeed(reason="nobody measured a toy"))


class Toy:
    """The engine."""

    name, title, versions, settings, serving = "toy", "Toy", (VERSION,), SETTINGS, {PROGRAM: SERVING}
    own_settings: Sequence[str] = ()
    first_port, usual_on, splits_by_memory, reads_gguf, whole_cache = 9000, (), False, False, "auto"
    uses_main_memory = False
    forms: Mapping[str, str] = {}
    steps, example = ("./setup.sh", "./stack.sh start"), "toyserve MODEL --context N"

    def refuses(self, gpu: GpuSpec) -> str:
        return "Toy runs on NVIDIA's GPUs" if gpu.vendor != "nvidia" else ""

    def plan(self, question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue) -> Placement:
        models = {row.model: catalogue.find_plain(row.model) for row in question.services}
        pooling = [models[row.model].spec.pooling for row in question.services]
        rows = named(question.services, pooling, first_port=first_port, proxy_port=question.proxy_port)
        return one_after_another(rows, machine, lambda row, group, is_main: planned(models[row.model], group, row, question.bind))

    def as_asked(self, question: StackRow, machine: GpuGroup, catalogue: Catalogue) -> Plan:
        row = question.services[0]
        return planned(catalogue.find_plain(row.model), machine, row, question.bind)

    def in_short(self, plan: Plan) -> str:
        return "as it is"

    def ways(self, model: Checkpoints, bits: int, gpu: GpuSpec) -> Sequence[tuple[str, str | None]]:
        return [(model.name, None)] if bits == 16 else []

    def stored_bytes(self, model: ModelSpec, form: str) -> int:
        return weights_bytes(model)

    def agent_safety(self, architecture: str) -> tuple[str, str]:
        return "yes", "it answers whatever comes"

    def find(self, words: Sequence[str]) -> Sequence[str] | None:
        return next((words[index + 1 :] for index, word in enumerate(words) if word.rpartition("/")[2] == PROGRAM), None)

    def find_file(self, text: str) -> Command | None:
        return None

    def read_command(self, command: Command) -> Command:
        words = read_words(command.words, GRAMMAR, command.unresolved)
        settings, _ = read_flags(SETTINGS, words.values)
        return replace(command, program=(PROGRAM,), model=" ".join(words.rest[:1]), settings=settings, faults=tuple(words.faults))

    def check(self, command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan:
        read = self.read_command(command)
        if not read.model:
            raise PlannerError("the command names no model", self.example)
        context = read.settings.get("context")
        row = ServiceRow(model=read.model, name="chat", port=self.first_port, context=context if isinstance(context, int) else 4096)
        return decided(planned(catalogue.find_plain(read.model), group, row), read, missing=(), warnings=(), fix="a shorter --context")

    def read_log(self, lines: Iterable[str]) -> Observed:
        finding = Finding(CAUSES)
        for line in lines:
            finding.take(plain(line))
        return Observed(engine="toy" if finding.is_own else "", started=finding.started, root_cause=finding.cause)

    def explain(self, observed: Observed, *, model: str, gpu: GpuSpec | None, count: int, catalogue: Catalogue) -> Explained:
        group, words = GpuGroup(gpu=gpu, count=1) if gpu else None, (model,) if model else ()
        predicted = self.check(Command(engine="toy", words=words), group, catalogue) if group and words else None
        return Explained(observed=observed, argv=(PROGRAM, *words) if words else (), predicted=predicted, differences=differences(observed, predicted, {}))

    def curves(self, plan: Plan) -> tuple[Curve, ...] | Unanswered:
        return Unanswered("nobody measured a toy")


TOY = Toy()

"""The ways to store a model for which machines are sought: its checkpoints, 16 bits quantized while loading, what other engines make of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.catalogue.cards import cards
from planner.catalogue.load import Entry, find_model
from planner.catalogue.resolve import find_plain, find_source, source_bits
from planner.engines import ENGINES, Engine, first_engine
from planner.engines.catalogue import Checkpoints
from planner.engines.work import weights
from planner.errors import PlannerError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ModelSpec
from planner.facts.question import ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.questions.plan import plan_as_asked
from planner.questions.ways import CLASSES, known
from planner.text import slug


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One way to store the model: how `plan` names it, the repository, bits of most weights; `form` where its engine quantizes it."""

    name: str
    repo: str
    bits: int
    model: ModelSpec
    form: str | None = None
    least_capability: int = 0
    engine: str = ""
    """Another engine than the first, which is asked about single cards."""
    size_bytes: int = 0
    """Of what another engine loads."""
    share: float = 1.0
    """Of the bytes of `model`, those that are loaded."""


def stored_ways(name: str, form: str | None) -> list[Stored]:
    """The ways to store a model: all that are known where the plain name is given, else the one that is named. Raises PlannerError for a form that no engine has."""
    if form is not None:
        return _in_form(name, form)
    source = find_source(name)
    entry = find_model(name)
    if entry is None or not entry.variant.default:
        return [Stored(name=source.served_name, repo=source.repo, bits=source_bits(source), model=source.spec)]
    siblings = [Entry(entry.row, variant) for variant in entry.row.variants if variant.is_checkpoint and variant.is_the_model]
    stored = [Stored(name=slug(one.name), repo=one.variant.repo, bits=one.bits, model=one.spec()) for one in siblings]
    if source.spec.pooling or source.spec.is_encoder:
        return stored
    checkpoints = known(name)
    return [*stored, *_while_loading(checkpoints), *_of_others(checkpoints)]


def _while_loading(checkpoints: Checkpoints) -> Iterator[Stored]:
    """What the first engine quantizes while loading, from the compute capability on that it does so at."""
    engine, gpus = first_engine(), sorted(cards(), key=lambda gpu: gpu.capability)
    bits = next(bits for bits in CLASSES if bits < CLASSES[0])
    for gpu in gpus:
        for name, form in engine.ways(checkpoints, bits, gpu) if not engine.refuses(gpu) else ():
            if form is not None:
                source = find_source(name, form)
                yield Stored(name=name, repo=source.repo, bits=bits, model=source.spec, form=form, least_capability=gpu.capability)
                return


def _of_others(checkpoints: Checkpoints) -> Iterator[Stored]:
    """What other engines make of it in fewer bits than it is published in."""
    for engine, gpu in list(_engines())[1:]:
        for bits in CLASSES[1:]:
            if bits in checkpoints.by_bits or bits < max(checkpoints.by_bits):
                for name, form in engine.ways(checkpoints, bits, gpu):
                    if form is not None and (stored := _other(name, form, engine.name, bits)):
                        yield stored


def _other(name: str, form: str, engine: str, bits: int = 0) -> Stored | None:
    """One form of another engine; None where it cannot store the model so. Bits are told by its size where they are not said."""
    plain = find_plain(name)
    try:
        size_bytes = ENGINES[engine].stored_bytes(plain.spec, form)
    except PlannerError:
        return None
    held = weights(plain.spec, Parallel())
    share = size_bytes / max(1, held.dense_bytes + held.head_bytes + held.expert_bytes)
    nearest = min(CLASSES, key=lambda each: abs(each - CLASSES[0] * share))
    return Stored(name=name, repo=plain.repo, bits=bits or nearest, model=plain.spec, form=form, engine=engine, size_bytes=size_bytes, share=min(1.0, share))


def _in_form(name: str, form: str) -> list[Stored]:
    """The ways of the engines that have such a form of the model."""
    if not name.endswith(".gguf"):
        find_plain(name)  # a model that nobody knows is refused as such
    stored: list[Stored] = []
    for engine, gpu in _engines():
        try:
            plan_as_asked(StackRow(gpu=gpu.name, engine=engine.name, services=[ServiceRow(model=name, quantization=form)]))
        except PlannerError:
            continue
        if engine.name == first_engine().name:
            source = find_source(name, form)
            is_made = source.spec.quantization is not None and find_source(name).spec.quantization is None
            stored.append(Stored(name=name, repo=source.repo, bits=8 if is_made else source_bits(source), model=source.spec, form=form))
        elif of_other := _other(name, form, engine.name):
            stored.append(of_other)
    if not stored:
        forms = {engine.title: engine.forms["quantization"] for engine, _ in _engines() if "quantization" in engine.forms}
        told = "; ".join(f"{title}: {words}" for title, words in forms.items())
        raise PlannerError(f"--quantization {form[:40]}: no engine of cards stores {name} so", told)
    return stored


def _engines() -> Iterator[tuple[Engine, GpuSpec]]:
    """The engines that run on cards, each with the one of most memory: what it refuses there it refuses everywhere."""
    held = sorted(cards(), key=lambda gpu: (gpu.memory_bytes, gpu.capability), reverse=True)
    for engine in ENGINES.values():
        if (gpu := next((gpu for gpu in held if not engine.refuses(gpu)), None)) is not None:
            yield engine, gpu


def in_words(stored: Sequence[Stored]) -> str:
    """Which engines were asked, and with which weights."""
    first, *others = ENGINES.values()
    own = [f"{store.name}{f' ({store.form} while loading)' if store.form else ''}" for store in stored if not store.engine]
    told = [f"{first.title} with {', '.join(own)}"] if own else []
    for engine in others:
        forms = [str(store.form) for store in stored if store.engine == engine.name]
        told += [f"{engine.title} with {', '.join(forms)} on one card"] if forms else []
    return "; ".join(told)

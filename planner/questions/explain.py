"""A server's log, of whichever engine -> what happened, beside the prediction for the command that wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain, islice
from typing import TYPE_CHECKING

from planner.engines import ENGINES, Engine, Unanswered
from planner.engines.causes import MAX_LINE
from planner.errors import PlannerError
from planner.facts.hardware import GpuSpec
from planner.facts.observed import Explained, Observed
from planner.facts.record import dataclass
from planner.units import MIB

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue

SAME_TOTAL = 0.004  # share by which totals of one card differ between drivers
_HEAD = 2000  # lines by which a log's engine is told


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainAnswer:
    """What happened to a server, and its GPU where that is known."""

    explained: Explained
    gpu: GpuSpec | None


def lines_of(text: str) -> Iterator[str]:
    """The lines of a log, of bounded length."""
    return (line[:MAX_LINE] for line in StringIO(text))


def explain_log(lines: Iterable[str], *, gpu: str | None = None, model: str | None = None, count: int | None = None) -> tuple[Explained, GpuSpec | None]:
    """What a log says, and the GPU of the machine that wrote it where that is known. `gpu` and `model` are names for what it does not say.

    Raises PlannerError for a text that is no log of any engine, and for names that nobody knows.
    """
    source = iter(lines)
    head = list(islice(source, _HEAD))
    if proxy := _of_proxy(head, source):
        return proxy, None
    engine, observed = read_any(chain(head, source))
    spec = _gpu(observed, gpu)
    explained = engine.explain(observed, model=_repository(model) if model else "", gpu=spec, count=count or 0, catalogue=_catalogue())
    return explained, spec


def _of_proxy(head: list[str], rest: Iterator[str]) -> Explained | None:
    """What the log of a proxy says, which quotes those of servers; None where none wrote it, or a server's own error stands beside it."""
    from planner.questions.proxy.log import explain, read_log

    observed = read_log(head)
    if observed is None or any(_told_more(engine, head) for engine in ENGINES.values()):
        return None
    return explain(read_log(chain(head, rest)) or observed, _catalogue())


def _told_more(engine: Engine, head: list[str]) -> bool:
    """Whether a log is an engine's own, with an error that it knows, or with what it took."""
    observed = engine.read_log(head)
    if isinstance(observed, Unanswered) or observed.engine != engine.name:
        return False
    is_known = observed.root_cause is not None and observed.root_cause.code not in ("other", "model-access", "refused-request", "port-in-use")
    return is_known or observed.weights_bytes is not None or observed.kv_cache_bytes is not None


def read_any(lines: Iterable[str]) -> tuple[Engine, Observed]:
    """The engine that wrote a log, and what it reads in it. Raises PlannerError where no engine does.

    Most lines name their engine; of a pasted line that many write, the first engine that knows an error in it is taken.
    """
    source = iter(lines)
    head = list(islice(source, _HEAD))
    seen = [(engine, observed) for engine in ENGINES.values() if not isinstance(observed := engine.read_log(head), Unanswered)]
    told = [pair for pair in seen if pair[1].engine == pair[0].name]
    known = [pair for pair in seen if (cause := pair[1].root_cause) is not None and cause.code != "other"]
    some = [pair for pair in seen if pair[1].root_cause is not None]
    candidates = told or known or some
    if not candidates:
        titles = ", ".join(engine.title for engine in ENGINES.values())
        what = head[0].strip()[:60] if head else ""
        raise PlannerError(
            f"{what!r} is not a log of a server of {titles}, and no known error is in it", "give the server's output, or the line with the error"
        )
    engine, observed = candidates[0]
    rest = list(islice(source, 1))
    if rest:
        whole = engine.read_log(chain(head, rest, source))
        observed = observed if isinstance(whole, Unanswered) else whole
    observed.engine = engine.name
    return engine, observed


def _repository(name: str) -> str:
    """What an engine is told to load for a catalogue's name; another name as it is."""
    from planner.catalogue.load import find_model

    entry = find_model(name)
    return entry.variant.repo if entry else name


def _gpu(observed: Observed, named: str | None) -> GpuSpec | None:
    """The GPU that was named, that the log names, or whose total memory is the log's."""
    from planner.catalogue.cards import served
    from planner.catalogue.load import find_gpu

    if named:
        return find_gpu(named)
    if observed.gpu:
        words = observed.gpu.replace("NVIDIA_", "").replace("_", " ").split()
        for length in range(len(words), 0, -1):
            try:
                return find_gpu(" ".join(words[:length]))
            except PlannerError:
                continue
    total = observed.total_bytes
    if total is None:
        return None
    specs = list(served())

    def distance(spec: GpuSpec) -> tuple[int, bool, int]:
        """Cards with one total are told apart by what the engine chose for them."""
        return abs(spec.cuda_total_bytes - total) // (256 * MIB), observed.suits is not None and not observed.suits(spec), len(spec.name)

    near = min(specs, key=distance)
    return near if abs(near.cuda_total_bytes - total) <= SAME_TOTAL * total else None


def _catalogue() -> Catalogue:
    from planner.catalogue import resolve

    return resolve

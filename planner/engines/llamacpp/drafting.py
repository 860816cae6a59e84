"""What a command says of drafting: which model or layers draft, and what of that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines.llamacpp.builds import STATES_ROLLED_BACK
from planner.engines.llamacpp.drafter import DRAFTED, MTP, NGRAM_DRAFTED, SIMPLE, Drafter, head_of, rolled_back
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.engines.llamacpp.named import NamedModel, by_file, by_repository
from planner.errors import PlannerError
from planner.facts.not_covered import NotCovered
from planner.facts.record import dataclass
from planner.facts.settings import Value

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue

_UNKNOWN = NotCovered(flag="--model-draft", what="weights and cache of the draft model", effect="adds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """Kinds of --spec-type, how many tokens at a time, the drafter where one is held, and what is not in the ledger."""

    kinds: tuple[str, ...] = ()
    drafted: int = 0
    drafter: Drafter | None = None
    missing: tuple[NotCovered, ...] = ()

    def applied(self, config: LlamaCppConfig, model: GgufModel) -> LlamaCppConfig:
        """A configuration with it."""
        states = rolled_back(model, self.kinds, self.drafted) if config.build >= STATES_ROLLED_BACK else 0
        return replace(config, drafted=self.drafted, drafter=self.drafter, snapshots=states)


def drafting_of(settings: Mapping[str, Value], model: GgufModel, catalogue: Catalogue, *, is_here: bool) -> Drafting:
    """What a command's settings say of it."""
    said = tuple(kind for kind in str(settings.get("spec_type") or "").split(",") if kind not in ("", "none"))
    named = settings.get("model_draft") or settings.get("hf_repo_draft")
    kinds = said or ((SIMPLE,) if named else ())
    if not kinds:
        return Drafting()
    most = int(settings.get("spec_draft_n_max") or DRAFTED)
    drafted = max([most] * any(kind.startswith("draft-") for kind in kinds) + [NGRAM_DRAFTED] * any(kind.startswith("ngram-") for kind in kinds) or [most])
    keys, values = _types(settings)
    unknown = [kind for kind in kinds if not _is_known(kind)]
    drafter, missing = None, [NotCovered(flag=f"--spec-type {kind}", what="what this kind of drafting keeps", effect="adds") for kind in unknown]
    if MTP in kinds and not named:
        head = head_of(model)
        drafter = Drafter(model=head, is_head=True, kv_type=keys, value_type=values) if head else None
        missing += [] if head else [NotCovered(flag=f"--spec-type {MTP}", what="the cache of this model's predicting layers", effect="adds")]
    elif named and SIMPLE in kinds:
        other = _other(settings, catalogue, is_here=is_here)
        drafter = Drafter(model=other.model, gpu_layers=_layers(settings), kv_type=keys, value_type=values) if other else None
        missing += other.not_covered if other else [_UNKNOWN]
    elif named:
        missing.append(_UNKNOWN)
    return Drafting(kinds=kinds, drafted=drafted, drafter=drafter, missing=tuple(missing))


def _other(settings: Mapping[str, Value], catalogue: Catalogue, *, is_here: bool) -> NamedModel | None:
    """The draft model; None for one that nobody here knows: the server's own is still judged."""
    repo = settings.get("hf_repo_draft")
    try:
        return by_repository({"hf_repo": repo}, catalogue) if repo else by_file({"model": settings["model_draft"]}, catalogue, is_here=is_here)
    except PlannerError:
        return None


def _is_known(kind: str) -> bool:
    return kind in (SIMPLE, MTP) or kind.startswith("ngram-")


def _types(settings: Mapping[str, Value]) -> tuple[str, str]:
    keys, values = (str(settings.get(name) or "f16") for name in ("cache_type_k_draft", "cache_type_v_draft"))
    keys, values = (kind if kind in KV_TYPES else "f16" for kind in (keys, values))
    return keys, "" if keys == values else values


def _layers(settings: Mapping[str, Value]) -> int | None:
    text = str(settings.get("n_gpu_layers_draft") or "auto")
    return int(text) if text.isdecimal() and len(text) < 6 else None

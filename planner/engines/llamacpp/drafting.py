"""What a command says of drafting: which model or layers draft, and what of that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from planner.engines.llamacpp.drafter import DRAFTED, MTP, NGRAM_DRAFTED, SIMPLE, Drafter, Drafting, head_of
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.model import GgufModel, find_mix
from planner.engines.llamacpp.named import NamedModel, by_file, by_repository
from planner.engines.llamacpp.published import on_the_hub, usual_form
from planner.errors import PlannerError
from planner.facts.not_covered import NotCovered
from planner.facts.question import ServiceRow
from planner.facts.settings import Value

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue

DRAFTS = ("spec_type", "spec_draft_n_max", "model_draft", "hf_repo_draft", "n_gpu_layers_draft", "cache_type_k_draft", "cache_type_v_draft")
# draft_num_predict of Ollama's builds that predict, by the beginnings of their tags (public file 69522401455, Ollama 0.33.3).
_LIBRARY_DRAFTED = {"qwen3.8": 4, "qwen3.6:27b": 3, "qwen3.6:35b": 2}
_PREDICTS = ("qwen3.8", "qwen3.8:27b")  # tags that are such builds though their names don't say so
_UNKNOWN = NotCovered(flag="--model-draft", what="weights and cache of the draft model", effect="adds")


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
    said_of_it = tuple((name, value) for name in DRAFTS if (value := settings.get(name)) is not None)
    return Drafting(kinds=kinds, drafted=drafted, drafter=drafter, missing=tuple(missing), settings=said_of_it)


def by_ollama(tag: str, said: int | None, model: GgufModel) -> Drafting:
    """What Ollama drafts with: the predicting layers of a file, where the Modelfile or the tag's own parameters say how many tokens (routes.go modelOptions).

    Source: ollama @fb307609 llm/llama_server.go appendDraftArgs; a build of hf.co has none of its own, and drafts nothing.
    """
    base = tag.lower().removesuffix(":latest")
    is_built = base in _PREDICTS or "-mtp" in base or model.predicting_bytes > 0
    own = next((count for start, count in _LIBRARY_DRAFTED.items() if base.startswith(start)), 0) if is_built else 0
    most = own if said is None else said
    head = head_of(model) if is_built and most > 0 else None
    return Drafting(kinds=(MTP,), drafted=most, drafter=Drafter(model=head, is_head=True)) if head else Drafting()


def drafting_asked(service: ServiceRow, model: GgufModel, catalogue: Catalogue) -> Drafting:
    """What a question asks of it. Raises PlannerError for a draft model that is neither a file nor known to be on the Hub, and for a file without predicting layers."""
    settings: dict[str, Value] = {name: value for name in DRAFTS if name != "hf_repo_draft" and (value := getattr(service, name)) is not None}
    if named := service.model_draft:
        del settings["model_draft"]
        if not named.endswith(".gguf"):
            settings["hf_repo_draft"] = _repository(named, catalogue)
        elif Path(named).is_file():
            settings["model_draft"] = named
        else:
            raise PlannerError(f"--model-draft: {named[:100]} does not exist")
    drafting = drafting_of(settings, model, catalogue, is_here=True)
    if MTP in drafting.kinds and model.mix == "file" and not model.predicting_bytes:
        raise PlannerError(
            f"--spec-type {MTP}: {model.name} has no layers that predict further tokens", "a file that has them, often named -MTP-, or --model-draft"
        )
    return drafting


def _repository(named: str, catalogue: Catalogue) -> str:
    """What --hf-repo-draft takes for a name of the catalogue, with or without a quantization, or for a repository."""
    name, _, mix = named.partition(":")
    try:
        plain = catalogue.find_plain(name)
    except PlannerError:
        if "/" in name:
            return named
        raise
    form = find_mix(mix) if mix else usual_form(plain.repo) or "Q8_0"
    if repo := on_the_hub(plain.repo, form):
        return repo
    raise PlannerError(f"--model-draft {name[:80]}: nobody is known to publish it as {form}", "a GGUF file, or user/repository:quantization")


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
    text = str(settings.get("n_gpu_layers_draft", "auto"))
    return int(text) if text.isdecimal() and len(text) < 6 else None

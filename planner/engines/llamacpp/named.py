"""The GGUF model that a command names: a file by its header, a file that lies elsewhere or a repository by its name, a tag of Ollama's library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.engines.llamacpp.ask import DEFAULT_MIX
from planner.engines.llamacpp.builds import DEFAULT_BUILD, LATENT_IS_KEPT
from planner.engines.llamacpp.dynamic import dynamic, name_of
from planner.engines.llamacpp.ggml import MIXES
from planner.engines.llamacpp.model import GgufModel, by_heads, converted, in_library, of_somebody
from planner.engines.llamacpp.published import original
from planner.engines.llamacpp.spelling import is_qat, library_names, spelled, spellings
from planner.engines.llamacpp.stored import from_header
from planner.errors import PlannerError
from planner.facts.deployment import Sampling
from planner.facts.model import ModelSpec
from planner.facts.not_covered import NotCovered
from planner.facts.record import dataclass
from planner.facts.settings import Value
from planner.facts.verdict import Warn
from planner.text import shown

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue, Plain

USUAL_MIX = "Q4_K_M"  # of --hf-repo without one (common/download.cpp), and of Ollama's tags
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_PREDICTING = re.compile(r"(?i)[-_.]MTP$")  # files that keep the layers which predict further tokens
_NEAR_ENOUGH = 0.2  # a tag's size is a round number
_NEAR = {"MXFP4": "MXFP4_MOE", "Q8_K": "Q8_0"}
_MIX = re.compile(r"(?i)[-._:]((?:UD[-_])?(?:I?Q\d[\w]*|T?Q\d_\d|F16|F32|BF16|MXFP4[\w]*))$")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model with the file or tag that is served, and what is not known of it."""

    model: GgufModel
    source: str
    tag: str = ""
    origin: ModelSpec | None = None
    sampling: Sampling = field(default_factory=Sampling)
    has_vision: bool = False
    warnings: tuple[Warn, ...] = ()
    not_covered: tuple[NotCovered, ...] = ()


def by_file(settings: Mapping[str, Value], catalogue: Catalogue, *, is_here: bool, build: int = DEFAULT_BUILD) -> NamedModel:
    """The model of `--model FILE`: by its header where the file lies here, else by its name, as a build read it. Raises PlannerError where neither tells it."""
    path = Path(str(settings["model"]))
    mmproj = Path(str(settings["mmproj"])) if settings.get("mmproj") else None
    if is_here and path.is_file():
        projector = catalogue.read_gguf(mmproj) if mmproj and mmproj.is_file() else None
        model = from_header(catalogue.read_gguf(path), path.stem, projector)
        lacking = (NotCovered(flag="--mmproj", what="the vision projector, whose file is not here,", effect="adds"),) if mmproj and projector is None else ()
        return NamedModel(model=model, source=str(path), has_vision=projector is not None, not_covered=lacking)
    stem = _SHARD.sub("", path.name.removesuffix(".gguf"))
    base, mix = _parted(stem)
    base = _PREDICTING.sub("", base)
    plain = _meant(base, catalogue) if mix and base else None
    if plain is None:
        raise PlannerError(f"{path} is not here, and its name tells no model and quantization of the catalogue", "give the file, whose header is read")
    named = _published(_read_by(plain, build), mix, base, str(path), "--model")
    named = replace(named, model=of_somebody(named.model))
    note = Warn(code="by-name", message=f"{shown(path.name, 100)} is not here: it is taken for llama.cpp's own {named.model.mix} of {plain.name}")
    return replace(named, has_vision=mmproj is not None and plain.spec.vision is not None, warnings=(note,))


def by_repository(settings: Mapping[str, Value], catalogue: Catalogue, build: int = DEFAULT_BUILD) -> NamedModel:
    """The model of `--hf-repo user/repository:quantization`, as a build read it. Raises PlannerError for one that the catalogue does not know."""
    repo, _, mix = str(settings["hf_repo"]).partition(":")
    if settings.get("hf_file"):
        mix = _parted(_SHARD.sub("", Path(str(settings["hf_file"])).name.removesuffix(".gguf")))[1]
    base = original(repo) or _PREDICTING.sub("", re.sub(r"(?i)[-_.]GGUF$", "", repo.rpartition("/")[2]))
    base, within = _parted(base) if not mix else (base, "")
    plain = _meant(base, catalogue)
    if plain is None:
        raise PlannerError(f"{shown(repo, 100)}: unknown model", "download the file and name it with --model: its header is read")
    mix = mix or within or DEFAULT_MIX.get(plain.spec.architecture, USUAL_MIX)
    named = _published(_read_by(plain, build), mix, base, f"{repo}:{mix}", "--hf-repo")
    named = replace(named, model=of_somebody(named.model))
    has_vision = plain.spec.vision is not None and bool(settings.get("mmproj_auto", True))
    return replace(named, has_vision=has_vision)


def by_tag(tag: str, catalogue: Catalogue) -> NamedModel:
    """The model of `ollama run TAG`. Raises PlannerError for one that the catalogue does not know."""
    if tag.startswith(("hf.co/", "huggingface.co/")):
        return replace(by_repository({"hf_repo": tag.partition("/")[2]}, catalogue), tag=tag)
    base, mix = tag.removesuffix(":latest"), ""
    try:
        plain = catalogue.find_plain(base)
    except PlannerError:
        base, mix = _parted(base)
        plain = _of_library(_PREDICTING.sub("", base), catalogue)
    variant = plain.variant("ollama")
    form = mix or (variant.format if variant and variant.format else USUAL_MIX)
    named = _converted(replace(plain, spec=in_library(plain.spec)), form, tag, tag)
    return replace(named, tag=tag, has_vision=plain.spec.vision is not None)


def _read_by(plain: Plain, build: int) -> Plain:
    """A model as a build kept it."""
    return plain if build >= LATENT_IS_KEPT else replace(plain, spec=by_heads(plain.spec))


def _of_library(base: str, catalogue: Catalogue) -> Plain:
    """The model of a tag without its mix, as it stands in the catalogue or by another of its names, if that has as many weights as the tag says.

    Raises PlannerError where no such model is known.
    """
    try:
        return catalogue.find_plain(base)
    except PlannerError:
        for name, billions in library_names(base) if "/" not in base else ():
            try:
                plain = catalogue.find_plain(name)
            except PlannerError:
                continue
            if not billions or abs(converted(plain.spec, "F16").file_bytes / 2e9 / billions - 1) <= _NEAR_ENOUGH:
                return plain
        raise


def _meant(base: str, catalogue: Catalogue) -> Plain | None:
    """The model that a file's or a repository's name means, however its publisher spells it; None for one that nobody here knows."""
    for name in spellings(base):
        try:
            return catalogue.find_plain(name)
        except PlannerError:
            continue
    return None


_PLAIN_Q4 = {"Phi3ForCausalLM": USUAL_MIX}  # Microsoft's files of "q4", to the byte in a log of July 2025


_QAT_PERMILLE = 20  # Unsloth's UD-Q4_K_XL of Gemma 4 26B as it was trained for four bits takes 13.3 GiB, Q4_0 13.4


def _published(plain: Plain, mix: str, base: str, source: str, flag: str) -> NamedModel:
    """A model in the mix that its file's or repository's name means: of a model that was trained for four bits "q4" and Unsloth's are Q4_0."""
    if is_qat(base) and spelled(mix) == "UD-Q4_K_XL":
        named = _converted(plain, "Q4_0", source, flag)
        return replace(named, model=replace(named.model, exact=False, weights_error_permille=_QAT_PERMILLE))
    if plain.spec.architecture.startswith("Qwen3_5Moe") and source.lower().startswith("unsloth/") and spelled(mix) == USUAL_MIX:
        mix = f"UD-{USUAL_MIX}"  # a log of the 122B's file names its types
    if mix.lower() == "q4":
        mix = "Q4_0" if is_qat(base) else _PLAIN_Q4.get(plain.spec.architecture, mix)
    return _converted(plain, mix, source, flag)


def _parted(name: str) -> tuple[str, str]:
    """A name without the quantization at its end, and that; empty where it has none."""
    match = _MIX.search(name)
    return (name[: match.start()], match[1]) if match else (name, "")


def _converted(plain: Plain, mix: str, source: str, flag: str) -> NamedModel:
    """A model in a mix of llama.cpp's; another's mix, such as Unsloth's, is taken for the nearest, which says less than a header."""
    if known := name_of(spelled(mix)):
        return NamedModel(model=dynamic(plain.spec, known), source=source, origin=plain.spec, sampling=plain.sampling)
    wanted = spelled(mix).replace("-", "_")
    own = wanted.removeprefix("UD_").replace("_XL", "_M")
    short = own.removesuffix("_M")  # of Q2_K_XL and Q6_K_XL llama.cpp has one size
    own = own if own in MIXES else _NEAR.get(short) or next((name for name in MIXES if short and name.startswith(short)), "")
    if not own:
        raise PlannerError(f"the GGUF quantization {shown(mix)!r} is not known", f"known: {', '.join(MIXES)}; of a file that is here the header is read")
    differs = () if wanted in (own, "MXFP4") else (NotCovered(flag=f"{flag} …:{shown(mix)}", what="tensors of a mix that is not llama.cpp's", effect="either"),)
    return NamedModel(model=converted(plain.spec, own), source=source, origin=plain.spec, sampling=plain.sampling, not_covered=differs)

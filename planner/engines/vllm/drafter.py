"""The drafter of a server: what is loaded for it beside its target, and how the target's states grow for its tokens.

Sources: vLLM 0.33 config/speculative.py, v1/worker/gpu/spec_decode/eagle/utils.py (what is shared), layers/mamba/mamba_utils.py (states).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines.vllm.speculation import FLAG, WITH_MODEL, WITHOUT_WEIGHTS, Speculation, read, said, with_tokens
from planner.errors import BadValueError, PlannerError
from planner.facts.attention import Attention, RecurrentState
from planner.facts.model import Drafter, LayerGroup, ModelSpec
from planner.facts.modules import Axis, Module, Tensor
from planner.facts.not_covered import NotCovered
from planner.facts.record import dataclass

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """A model with its drafter, the tokens that it drafts, and what of it nobody here knows."""

    model: ModelSpec
    tokens: int
    missing: NotCovered | None = None


def drafted(values: Mapping[str, str | bool], source: Source, catalogue: Catalogue, release: str) -> tuple[dict[str, str | bool], Drafting]:
    """A command's values with what it drafts in one flag, and the model with its drafter. Raises BadValueError for what vLLM refuses."""
    told = said(values)
    if not (text := told.get(FLAG)):
        return told, Drafting(model=source.spec, tokens=0)
    quantization = values.get("--quantization")
    made = drafting(source, read(str(text), release), catalogue, str(quantization) if quantization else None)
    return told | {FLAG: with_tokens(str(text), made.tokens)}, made


def drafting(source: Source, asked: Speculation, catalogue: Catalogue, online: str | None = None) -> Drafting:
    """The target with what drafts for it. Raises BadValueError for what vLLM refuses."""
    target = source.spec
    if asked.method in WITHOUT_WEIGHTS:
        return _with(target, Drafter(method=asked.method, num_speculative_tokens=asked.tokens))
    if asked.method == "mtp" and asked.model in (None, source.repo):
        return _own_layers(source, asked, online)
    if asked.method not in WITH_MODEL and asked.method != "mtp":
        return _unknown(target, asked, f"weights and cache of a drafter of the method {asked.method}")
    from planner.engines.vllm.draft_rules import target_problem

    if problem := target_problem(target, asked.method):
        raise BadValueError(problem)
    try:
        drafter = catalogue.find_source(asked.model or "")
        if asked.method == "dspark" and not asked.tokens:
            asked = replace(asked, tokens=_block(drafter))
        spec = drafter.spec if asked.method == "draft_model" else _as_asked(drafter, source, asked.method)
    except BadValueError:
        raise
    except PlannerError:
        what = f"the drafter {asked.model}" if asked.model else "a drafter that its checkpoint may bring"
        return _unknown(target, asked, f"weights and cache of {what}")
    return _separate(target, spec, asked)


def _block(drafter: Source) -> int:
    """Tokens that DSpark drafts where a command leaves them to its checkpoint; 0 where that does not say."""
    from planner.architecture import Config

    return Config(dict(drafter.config), drafter.repo).optional("block_size", "dspark_block_size", low=1) or 0


def _as_asked(drafter: Source, target: Source, method: str) -> ModelSpec:
    """A checkpoint as the class builds it that its method makes of its name, for a target of so many words. Raises PlannerError."""
    from planner.architecture import Config, build_model
    from planner.architecture.draft_configs import TARGETS_QUANTIZATION, UNQUANTIZED, asked_config
    from planner.architecture.eagle import TARGET_WORDS

    config = asked_config(Config(dict(drafter.config), drafter.repo), method)
    data, stored = {**config.data, TARGET_WORDS: target.spec.vocab_size}, drafter.hf_quant
    if config.texts("architectures")[0] in TARGETS_QUANTIZATION:
        text = target.config.get("text_config")
        stored, sections = target.hf_quant, (target.config, text if isinstance(text, Mapping) else {})
        data["quantization_config"] = next((section["quantization_config"] for section in sections if section.get("quantization_config")), None)
    if config.texts("architectures")[0] in UNQUANTIZED:
        data["quantization_config"], stored = None, None
    return build_model(Config(data, config.path), drafter.spec.name, Config(dict(stored), drafter.repo) if stored else None)


def _unknown(target: ModelSpec, asked: Speculation, what: str) -> Drafting:
    made = _with(target, Drafter(method=asked.method, num_speculative_tokens=asked.tokens or 1))
    return Drafting(model=made.model, tokens=made.tokens, missing=NotCovered(flag=FLAG, what=what, effect="adds"))


def _own_layers(source: Source, asked: Speculation, online: str | None) -> Drafting:
    """The layers that a checkpoint brings to predict further tokens: words and heads are the target's once loaded."""
    from planner.architecture import Config, build_model
    from planner.architecture.draft_configs import as_targets, draft_config
    from planner.architecture.drafters import HOLDS_HEADS, WORDLESS, depth, without_shared, words_of

    config = draft_config(Config(dict(source.config), source.repo))
    if config is None:
        raise BadValueError(f"Unsupported speculative method: 'mtp': {source.spec.architecture} brings no layers that predict further tokens")
    hf_quant = Config(dict(source.hf_quant), source.repo) if source.hf_quant else None
    text = config.section("text_config") if config.has("text_config") else config
    if text.optional("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules") == 0:
        raise BadValueError("Unsupported speculative method: 'mtp': the checkpoint's config has 0 layers that predict further tokens")
    try:
        whole = build_model(as_targets(config, source.spec.architecture), source.spec.name, hf_quant, online=online)
    except PlannerError:
        return _unknown(source.spec, asked, f"weights and cache of the layers of {source.spec.architecture} that predict further tokens")
    built = without_shared(whole, head=whole.architecture not in HOLDS_HEADS)
    words = () if whole.architecture in WORDLESS else words_of(whole)
    predicted = depth(text)
    tokens = asked.tokens or predicted
    if tokens > predicted and tokens % predicted:
        raise BadValueError(f"num_speculative_tokens:{tokens} must be divisible by n_predict={predicted}")
    return _with(source.spec, Drafter(method="mtp", num_speculative_tokens=tokens, model=built, words=words, own_words=True))


def _separate(target: ModelSpec, drafter: ModelSpec, asked: Speculation) -> Drafting:
    """A drafter with a checkpoint of its own. EAGLE's and DFlash's take the target's words where they are of one width; a small model shares nothing.

    `draft_tensor_parallel_size` 1 changes no byte of any (0.33): ranks are those of the target's group.
    """
    from planner.architecture.drafters import output_words, without_shared, words_of
    from planner.engines.vllm.draft_rules import keeps_words

    if not asked.tokens:
        raise BadValueError("A speculative model was provided, but `num_speculative_tokens` was not provided")
    words: tuple[Module, ...] = ()
    if asked.method == "draft_model":
        if drafter.vocab_size != target.vocab_size:
            raise BadValueError(
                f"Target and draft model should have the same vocabulary size. Target model vocab_size={target.vocab_size}. "
                f"Draft model vocab_size={drafter.vocab_size}."
            )
        held = drafter
    else:
        shares = drafter.hidden_size == target.hidden_size
        head = asked.method in ("eagle", "mtp") or (asked.method in ("dflash", "dspark") and output_words(drafter) == target.vocab_size)
        held = without_shared(drafter, embedding=shares, head=head)
        if keeps_words(target, asked.method):
            words = words_of(target)
        elif shares:
            words = words_of(drafter)
    return _with(target, Drafter(method=asked.method, num_speculative_tokens=asked.tokens, model=held, words=words))


def _with(target: ModelSpec, drafter: Drafter) -> Drafting:
    """The target whose convolutions, and those of its drafter, keep the drafted tokens too (mamba_utils.py: conv_kernel - 1 + num_spec)."""
    tokens = drafter.num_speculative_tokens
    model = drafter.model and _kept_longer(drafter.model, tokens)
    return Drafting(model=replace(_kept_longer(target, tokens), drafter=replace(drafter, model=model)), tokens=tokens)


def _kept_longer(model: ModelSpec, tokens: int) -> ModelSpec:
    """A model whose convolutions keep so many tokens more; one that has none as it is."""
    if not model.has_state:
        return model

    def longer(cache: Attention) -> Attention:
        if not isinstance(cache, RecurrentState):
            return cache
        tensors = (_longer(tensor, tokens) if tensor.name == "conv" else tensor for tensor in cache.tensors)
        return replace(cache, tensors=tuple(tensors))

    groups = tuple(LayerGroup(indices=group.indices, modules=group.modules, caches=tuple(map(longer, group.caches))) for group in model.layers)
    return replace(model, layers=groups)


def _longer(tensor: Tensor, tokens: int) -> Tensor:
    kernel, *others = tensor.axes
    return replace(tensor, axes=(Axis(kernel.size + tokens, kernel.split, kernel.units), *others))

"""From a config.json to a ModelSpec: how the layers of a family become groups, its ends the stages' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from planner.architecture.blocks import Scope, embedding, norm, plain
from planner.architecture.config import MAX_LENGTH, Config
from planner.architecture.defaults import completed
from planner.architecture.families import FAMILIES, OWN_NAMES
from planner.architecture.family import Family
from planner.architecture.formats import Quantization
from planner.architecture.quantization import read_quantization
from planner.architecture.rope import no_rope, rope_settings
from planner.architecture.text import Dims, Layer, read_dims
from planner.errors import PlannerError, UnknownArchitectureError, UnsupportedModelError, did_you_mean
from planner.facts.attention import Attention, CacheKind, cache_kind
from planner.facts.model import LayerGroup, ModelSpec
from planner.facts.modules import Axis, Module, Tensor
from planner.facts.storage import Encoding

_EXPERTS_PER_TOKEN = ("num_experts_per_tok", "top_k_experts", "moe_topk", "moe_top_k", "moe_k")
# where null differs from a missing key, which has the default of the Hugging Face class
QUANTIZED_AS = "quantized_as"  # not of the file: the class whose quantization a drafter's layers are made with
_NULLABLE = ("sliding_window", "hidden_size_per_layer_input")


def build_model(config: Config, name: str, hf_quant: Config | None = None, *, online: str | None = None) -> ModelSpec:
    """Derive a ModelSpec from a config.json (and a ModelOpt hf_quant_config.json beside it).

    `online` is the method by which vLLM is to quantize a 16-bit checkpoint while loading it; one that is quantized stays as it is.

    Raises UnsupportedModelError for an architecture or quantization that is not known, PlannerError for values that cannot be.
    """
    if config.has("dim") and config.has("n_layers") and not config.has("architectures"):
        from planner.architecture.mistral_params import from_params

        config = from_params(config)
    architecture = (config.texts("architectures") or [""])[0]
    family = FAMILIES.get(architecture)
    if family is None:
        from planner.architecture.draft_configs import published

        if drafter := published(config):
            return build_model(drafter, name, hf_quant, online=online)
        raise _unknown(architecture, config.path)
    config = completed(_opened(family, config))
    raw = config.section("text_config") if config.has("text_config") else config
    names = [architecture, *(family.text(raw) if family.text else ())]
    if family.text:
        family = _with_text(family, names[1:], raw)
    section = _with_defaults(family, raw, config)
    quantization = _quantization(names, _quantization_section(family.methods, config, raw), hf_quant, config.text(QUANTIZED_AS, default=architecture))
    if online and quantization.name is None:
        from planner.architecture.online import online_quantization

        quantization = online_quantization(online) or quantization
    quantization = quantization if family.scaled else replace(quantization, attention_scales=())
    dims, scope = read_dims(section, attends=family.attends), Scope(section, quantization)
    dims = replace(dims, layers=family.depth(section)) if family.depth else dims
    layers = _layers(family, scope, dims)
    if quantization.has_cache_scheme:
        from planner.architecture.cache_scales import with_cache_scheme  # few checkpoints have one

        layers, quantization = with_cache_scheme(layers, quantization, dims)
    tower = family.tower(Scope(config, quantization), config, dims) if family.tower and _has_tower(config) else None
    tied = _is_tied(family, config, section)
    ends = _ends(family, scope, dims, tied=tied)
    experts = section.largest(*_EXPERTS_PER_TOKEN, default=0, low=0)
    if experts and not any("experts" in module.name for layer in layers for module in layer.modules):
        experts = 0  # by its class's default a dense Nemotron-H has two
    own = {end: tuple(modules) for end, modules in ends.items() if end not in family.whole_stages | {"every"}}
    return ModelSpec(
        name=name,
        architecture=architecture,
        quantization=quantization.name,
        max_position_embeddings=_max_length(section, dims),
        hidden_size=dims.hidden,
        intermediate_size=dims.intermediate,
        vocab_size=dims.vocab,
        attention_heads=dims.heads,
        kv_heads=dims.kv_heads,
        head_dim=dims.head_dim,
        first=own.get("embedding", ()),
        layers=_grouped(layers),
        last=own.get("norm", ()) + own.get("head", ()),
        tower=tower.modules if tower else (),
        tower_shared_out=tower.shared_out if tower else None,
        tower_on_every_stage=tower is not None and tower.on_every_stage,
        every=tuple(module for end in sorted(family.whole_stages | {"every"}) for module in ends[end]) + (tower.every if tower else ()),
        tied_copy=own.get("embedding", ()) if tied else (),
        buffers=family.rope(section, dims) + (tower.buffers if tower else ()) + _scale_buffers(layers),
        experts_per_token=experts,
        expert_intermediate=section.largest("moe_intermediate_size", default=dims.intermediate) if experts else 0,
        dtype=config.text("dtype", "torch_dtype", default=section.text("dtype", "torch_dtype", default="bfloat16")),
        kv_cache_dtype=quantization.kv_cache_dtype,
        scales_by_head=quantization.scales_by_head,
        vision=tower.spec if tower else None,
        bidirectional_images=tower is not None and (family.bidirectional_images or section.data.get("use_bidirectional_attention") == "vision"),
        residual_streams=section.integer("hc_mult", default=1, high=1024),
        bytes_per_batched_token=family.batched(section, dims, tower is not None) if family.batched else 0,
        endless=_is_endless(family, raw),
        pooling=not family.head,
        pipeline=family.pipeline
        and (family.pipeline_tied or not tied)
        and not section.items("ple_layer_ids"),  # later stages are not told the words (models/config.py)
        family=family.name,
        judged=family.judged,
    )


def _unknown(architecture: str, path: str) -> UnknownArchitectureError:
    """Why an architecture is refused: dropped, a plugin's, not read here, or never heard of, with the nearest that is known."""
    from planner.architecture.families.dropped import fate

    what, told = f"architecture {architecture!r} is not supported" if architecture else "it names no architecture", fate(architecture)
    nearest = "" if told else did_you_mean(architecture, FAMILIES)
    return UnknownArchitectureError(f"{path}: {told or what}", nearest or f"{len(FAMILIES)} architectures are known; plan refuses to guess at others")


def stored_bits(config: Config, hf_quant: Config | None = None) -> int:
    """Bits of most weights of a checkpoint, by what its quantization says. Raises UnsupportedModelError for a method that is not known."""
    family = FAMILIES.get((config.texts("architectures") or [""])[0])
    text = config.section("text_config") if config.has("text_config") else config
    return read_quantization(_quantization_section(family.methods if family else {}, config, text), hf_quant).main.bits


def _opened(family: Family, config: Config) -> Config:
    """The config of the whole model, where it is a section of the file."""
    if not family.inside:
        return config
    inner = config.section(family.inside)
    whole = {"architectures": config.data.get("architectures"), "tie_word_embeddings": config.flag("tie_word_embeddings", default=family.tied)}
    return Config({**config.data, **inner.data, **whole}, inner.path)


def _with_defaults(family: Family, raw: Config, whole: Config) -> Config:
    """The text model's config with the usual keys, its class's defaults where one is missing."""
    renamed = {family.renamed.get(key, key): value for key, value in raw.data.items()}
    outer = {key: whole.data[key] for key in family.outer if whole.has(key)}
    section = Config({**family.defaults, **outer, **{k: v for k, v in renamed.items() if v is not None or k in _NULLABLE}}, raw.path)
    return family.adapted(section) if family.adapted else section


def _is_tied(family: Family, config: Config, section: Config) -> bool:
    """Whether head and embedding are one: the whole config decides before the text model's (config/vllm.py with_hf_config)."""
    if family.ties is not None:
        return family.ties
    first, second = (section, config) if family.tied_by_text else (config, section)
    tied = first.flag("tie_word_embeddings", default=second.flag("tie_word_embeddings", default=family.tied))
    if tied and family.never_tied:
        raise UnsupportedModelError(f"{config.path}: tie_word_embeddings is not supported for {family.never_tied} models")
    return tied


def _ends(family: Family, scope: Scope, dims: Dims, *, tied: bool) -> dict[str, list[Module]]:
    """What lies before and behind the layers, and what every stage has beside them."""
    width = scope.config.integer(family.word_width, default=dims.hidden) if family.word_width else dims.hidden
    ends: dict[str, list[Module]] = {
        "embedding": [plain("embed_tokens", dims.vocab, width) if family.whole_words else embedding(dims.vocab, width)] if family.words else [],
        "norm": norm("norm", dims.hidden) if family.norm else [],
        "head": _head(scope if family.head_quantized and not (tied and family.head_shared) else scope.plain(), dims, width, family.head_name, tied=tied)
        if family.head
        else [],
        "every": [],
    }
    return {end: [*modules, *(family.more[end](scope, dims) if end in family.more else [])] for end, modules in ends.items()}


def _head(scope: Scope, dims: Dims, width: int, name: str, *, tied: bool) -> list[Module]:
    """The output head; where it is the embedding, what a quantization of floats had made beside its weight (ParallelLMHead.tie_weights)."""
    head = scope.head(dims.vocab, width, name=name) if name else scope.unnamed().head(dims.vocab, width)
    if not tied:
        return [head]
    integers = (Encoding.AWQ, Encoding.GPTQ, Encoding.PACKED, Encoding.INT8)
    beside = head.storage.planes[1:] if head.storage.encoding not in integers else ()
    return [
        Tensor(
            name="lm_head.weight_scale",
            axes=(head.outputs[0] if plane.row_block == 1 else Axis(1), Axis(width // plane.column_block if plane.column_block else 1)),
            bits=plane.bits,
        )
        for plane in beside
    ]


def _with_text(family: Family, names: Sequence[str], config: Config) -> Family:
    """The family of the text model, with what the whole model adds to it."""
    text = next((FAMILIES[name] for name in names if name in FAMILIES), None)
    if text is None:
        raise UnsupportedModelError(f"{config.path}: text model {config.data.get('model_type', '')!r} is not supported here")
    if family.tower is None:  # the class itself, as the Transformers backend builds it: its ends on their own stages, no rotary tables
        from planner.architecture.moe import plain_routers  # no dense model needs it

        text = replace(text, layers=plain_routers(text.layers), whole_stages=frozenset(), rope=no_rope)
    return replace(
        text,
        tower=family.tower,
        more={**text.more, **family.more},
        bidirectional_images=family.bidirectional_images,
        tied_by_text=family.tied_by_text,
        ties=text.ties if family.ties is None else family.ties,
        pipeline=family.pipeline and text.pipeline,
        pipeline_tied=family.pipeline_tied and text.pipeline_tied,
        head=family.head and text.head,
        outer=family.outer,
        judged=family.judged and text.judged,
    )


def _quantization(names: Sequence[str], section: Config, hf_quant: Config | None, mapping: str) -> Quantization:
    """Who is stored how, asked by what the model's class, or its text model's, calls its modules; `mapping` is the class that maps a checkpoint's names."""
    quantization = read_quantization(section, hf_quant, mapped=lambda: _is_mapped(mapping))
    if quantization.name is None or OWN_NAMES.isdisjoint(names):
        return quantization
    from planner.architecture.class_names import as_its_class_names

    return as_its_class_names(quantization, names)


def _is_mapped(architecture: str) -> bool:
    """Whether the class maps the names of a checkpoint to its own."""
    from planner.architecture.class_names import UNMAPPED
    from planner.architecture.families.conversions import base_name

    return architecture not in UNMAPPED and not base_name(architecture, UNMAPPED)


def _quantization_section(methods: Mapping[str, str], config: Config, text_config: Config) -> Config:
    for section in (config, text_config):
        for key in ("quantization_config", "compression_config"):
            if section.has(key):
                own_section = section.section(key)
                method, layout = (own_section.text(key, default="") for key in ("quant_method", "format"))
                meant = methods.get(method) or methods.get(f"{method}/{layout}")
                own = {"quant_method": meant, "expert_dtype": config.data.get("expert_dtype")} if meant else {}
                return Config({**own_section.data, **own}, own_section.path)
    return Config({}, config.path)


_TOWERS = (
    "vision_config",
    "text_config",
    "audio_config",
    "encoder_layers",
    "img_processor",
    "embd_layer",
    "vit_config",
    "embedding_size",
    "kimia_adaptor_input_dim",
)  # signs of one


def _has_tower(config: Config) -> bool:
    return any(config.has(key) for key in _TOWERS)


def _layers(family: Family, scope: Scope, dims: Dims) -> list[Layer]:
    build = family.layers(scope.config, dims)
    return [build(scope.at(f"layers.{index}."), index) for index in range(dims.layers)]


def _grouped(layers: list[Layer]) -> tuple[LayerGroup, ...]:
    indices: dict[Layer, list[int]] = {}
    known: dict[int, list[int]] = {}  # by the very object, which costs less to tell than an equal one
    for index, layer in enumerate(layers):
        if id(layer) not in known:
            known[id(layer)] = indices.setdefault(layer, [])
        known[id(layer)].append(index)
    return tuple(LayerGroup(indices=tuple(where), modules=layer.modules, caches=layer.attention) for layer, where in indices.items())


def _scale_buffers(layers: list[Layer]) -> tuple[Tensor, ...]:
    """Four float32 scalars an attention layer, also without a quantized cache (vllm attention.py set_default_quant_scales)."""
    count = sum(1 for layer in layers if layer.attention and _has_default_scales(layer.attention[-1]))
    return (Tensor(name="attn.default_scales", axes=(Axis(4 * count),), bits=32),) if count else ()


def _has_default_scales(cache: Attention) -> bool:
    """Whether a layer's class registers them: DeepSeek V4's and recurrent layers do not."""
    match cache_kind(cache):
        case CacheKind.PER_HEAD | CacheKind.LATENT:
            return True
        case CacheKind.COMPRESSED | CacheKind.STATE:
            return False
        case kind:
            assert_never(kind)


_LENGTH_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# their factor does not lengthen the context: max_position_embeddings has it in already, or is the whole truth
_UNSCALED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")


def _is_endless(family: Family, raw: Config) -> bool:
    """Whether nothing in a file says how long a context may be (config/model.py _get_and_verify_max_len)."""
    return not any(raw.has(key) and family.renamed.get(key, key) in (*_LENGTH_KEYS, "model_max_length") for key in raw.data)


def _max_length(config: Config, dims: Dims) -> int:
    """The longest context vLLM derives from a config (model_arch_config_convertor.py:374, config/model.py _get_and_verify_max_len)."""
    lengths = [length for key in _LENGTH_KEYS if (length := config.optional(key, low=1)) is not None]
    length = config.optional("model_max_length") or min(lengths, default=dims.max_length)
    if "gemma3" in config.text("model_type", default=""):
        return length
    factor = 1.0
    for scaling in rope_settings(config):
        if scaling.text("rope_type", "type", default="default") not in _UNSCALED:
            factor = scaling.number("factor", default=1.0)
    if not 0 < factor < MAX_LENGTH:
        raise PlannerError(f"{config.path}: the rope scaling factor is {factor:g}; expected a number above 0")
    return max(1, int(length * factor))

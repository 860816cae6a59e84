"""Prints what vLLM's configuration classes (transformers' and its own) take where a config.json says nothing; run by the judge's own Python.

One JSON object: class -> {"values": {key: default}, "names": {attribute: the key it stands for}, "sections": {key: {"kind": …, "auto": …, "values": …, "optional": …}},
"tied_by_text": true, "decoder": the architecture that serves it as a text model}. A class is named by its model_type, or by its own name where several share one.
"""

import dataclasses
import inspect
import json

import vllm.model_executor.models.registry as registry
from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from vllm.transformers_utils.config import _CONFIG_REGISTRY

# what no memory rests on
IDLE = ("_token", "token_", "dropout", "initializer", "_act", "activation_", "eps", "use_cache", "softcap", "return_", "output_", "chunk_size_feed")
IDLE += ("pretraining_tp", "aux_loss", "transformers_version", "problem_type", "layerdrop", "drop_path", "_std", "scaling_factor", "is_decoder", "_lambda")
TRANSFORMERS = dict(CONFIG_MAPPING.items())
COMMON = {field.name for field in dataclasses.fields(PretrainedConfig)} - {"tie_word_embeddings"}


def kept(key, value):
    """Whether a default is of a kind that a builder may read."""
    plain = (isinstance(value, bool | int | float | str) and value != "auto") or (
        isinstance(value, list | tuple) and len(value) <= 8 and all(isinstance(v, int | bool) for v in value)
    )
    return plain and key not in COMMON and not any(word in key for word in IDLE)


def values(cls):
    """The defaults that a class declares, as fields or as arguments; what it works out of other values is none."""
    declared = {}
    if dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            if field.default is not dataclasses.MISSING:
                declared[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                declared[field.name] = field.default_factory()
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            declared[name] = parameter.default
    return {key: list(value) if isinstance(value, tuple) else value for key, value in declared.items() if kept(key, value)}


def named(cls):
    """A class's model_type, its name where that says another class."""
    kind = cls.model_type
    known = _CONFIG_REGISTRY[kind] if kind in _CONFIG_REGISTRY else TRANSFORMERS.get(kind)
    return kind if known is cls else cls.__name__


def made(cls, **keys):
    """An instance, None where the class cannot be made of so little."""
    try:
        return cls(**keys)
    except Exception:
        return None


def sections(cls):
    """The nested configs: of which class each is, whether the file's own model_type decides, and what it holds where it is missing altogether."""
    nested = {}
    for key, spec in (getattr(cls, "sub_configs_defaults", None) or {}).items():
        inner = TRANSFORMERS[spec.model_type] if spec.config_class is AutoConfig else spec.config_class
        nested[key] = (
            inner,
            spec.config_class is AutoConfig,
            {} if spec.optional else {k: v for k, v in spec.init_kwargs.items() if kept(k, v)},
            spec.optional,
        )
    instance = made(cls)
    for key, value in vars(instance).items() if instance is not None else ():
        if isinstance(value, PretrainedConfig) and key not in nested:
            nested[key] = (type(value), type(value).model_type in TRANSFORMERS and cls.__module__.startswith("vllm"), {}, False)
    return nested


def table():
    """Every class that vLLM's registry can meet, and those nested in them."""
    names = set(registry._VLLM_MODELS)
    kinds = set(_CONFIG_REGISTRY)
    for attribute, mapping in vars(modeling_auto).items():
        if attribute.endswith("MAPPING_NAMES") and hasattr(mapping, "items"):
            kinds |= {kind for kind, made_by in mapping.items() if {made_by} & names or (not isinstance(made_by, str) and set(made_by) & names)}
    waiting = [_CONFIG_REGISTRY[kind] if kind in _CONFIG_REGISTRY else TRANSFORMERS[kind] for kind in sorted(kinds)]
    waiting += [
        TRANSFORMERS[kind] for kind in ("siglip_vision_model", "clip_vision_model", "siglip2_vision_model", "pixtral", "phimoe", "qwen2_audio_encoder", "bert")
    ]
    rows = {}
    while waiting:
        cls = waiting.pop()
        if named(cls) in rows:
            continue
        row = rows[named(cls)] = {"values": values(cls)}
        if cls.attribute_map:
            row["names"] = dict(cls.attribute_map)
        if (decoder := modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(named(cls))) in names:
            row["decoder"] = decoder
        nested = sections(cls)
        if nested:
            row["sections"] = {}
        for key, (inner, auto, own, optional) in nested.items():
            section = {"kind": named(inner)} | ({"auto": True} if auto else {}) | ({"values": own} if own else {}) | ({"optional": True} if optional else {})
            row["sections"][key] = section
            waiting.append(inner)
        if "text_config" in nested:
            tied, untied = (made(cls, text_config={"tie_word_embeddings": value}, tie_word_embeddings=False) for value in (True, False))
            if tied is not None and untied is not None and tied.tie_word_embeddings and not untied.tie_word_embeddings:
                row["tied_by_text"] = True
    return dict(sorted(rows.items()))


print(json.dumps(table()))

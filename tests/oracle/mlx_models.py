"""mlx-lm itself about the bytes of a conversion and of its caches: questions in as JSON lines, bytes out. MLX evaluates nothing that nobody reads."""

import json
import sys

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.generate import maybe_quantize_kv_cache
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes, quantize_model

# What transformers' configs say where a config.json leaves it out, and mlx-lm's arguments ask for.
DEFAULTS = {
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e4,
    "partial_rotary_factor": 1.0,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "logits_scaling": 1.0,
    "attention_multiplier": 1.0,
    "embedding_multiplier": 1.0,
    "residual_multiplier": 1.0,
}


def model_of(config):
    config = DEFAULTS | config
    if "text_config" in config:
        config["text_config"] = DEFAULTS | config["text_config"]
    model_class, arguments = _get_classes(config)
    return model_class(arguments.from_dict(config)), config


def weights(config, bits):
    model, config = model_of(config)
    is_cast = getattr(model, "cast_predicate", lambda name: True)
    if bits < 16:
        model, _ = quantize_model(model, dict(config), 64, bits)
    leaves = tree_flatten(model.parameters())
    return sum(leaf.nbytes if leaf.dtype == mx.uint32 else leaf.size * (2 if is_cast(name) else 4) for name, leaf in leaves)


def caches(config, bits, tokens, step):
    model, _ = model_of(config)
    model.set_dtype(mx.bfloat16)
    held = make_prompt_cache(model)
    for start in range(0, tokens, step):
        model(mx.ones((1, min(step, tokens - start)), dtype=mx.int32), cache=held)
        maybe_quantize_kv_cache(held, 0, 64, bits if bits < 16 else None)
    return sum(cache.nbytes for cache in held)


for line in sys.stdin:
    asked = json.loads(line)
    print("bytes", {"weights": weights, "caches": caches}[asked.pop("what")](**asked), flush=True)

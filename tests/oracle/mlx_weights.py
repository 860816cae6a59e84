"""mlx-lm itself about the bytes of a conversion: configs in as JSON lines, bytes out; nothing is computed, since MLX evaluates no weight that nobody reads."""

import json
import sys

import mlx.core as mx
from mlx.utils import tree_flatten
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


def held(config, bits):
    model_class, arguments = _get_classes(config)
    model = model_class(arguments.from_dict(config))
    is_cast = getattr(model, "cast_predicate", lambda name: True)
    if bits < 16:
        model, _ = quantize_model(model, dict(config), 64, bits)
    leaves = tree_flatten(model.parameters())
    return sum(leaf.nbytes if leaf.dtype == mx.uint32 else leaf.size * (2 if is_cast(name) else 4) for name, leaf in leaves)


for line in sys.stdin:
    asked = json.loads(line)
    config = DEFAULTS | asked["config"]
    if "text_config" in config:
        config["text_config"] = DEFAULTS | config["text_config"]
    print("bytes", held(config, asked["bits"]), flush=True)

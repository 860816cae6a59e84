"""mlx-lm itself about a checkpoint of AutoAWQ's: writes a small one into a folder that has a config.json, loads it and says its bytes."""

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes, load_model

folder = Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text())
group = config["quantization_config"]["group_size"]
model_class, arguments = _get_classes(config)
weights = {}
for name, leaf in tree_flatten(model_class(arguments.from_dict(config)).parameters()):
    base = name.removesuffix(".weight")
    if leaf.ndim == 2 and "_proj" in name:
        outputs, inputs = leaf.shape
        weights[f"{base}.qweight"] = mx.zeros((inputs, outputs // 8), dtype=mx.int32)
        weights[f"{base}.qzeros"] = mx.zeros((inputs // group, outputs // 8), dtype=mx.int32)
        weights[f"{base}.scales"] = mx.ones((inputs // group, outputs), dtype=mx.float16)
    else:
        weights[name] = mx.zeros(leaf.shape, dtype=mx.float16)
if sys.argv[2:]:
    weights[sys.argv[2]] = mx.zeros((4,), dtype=mx.int32)
mx.save_safetensors(str(folder / "model.safetensors"), weights)
model, _ = load_model(folder)
print("bytes", sum(leaf.nbytes for _, leaf in tree_flatten(model.parameters())))

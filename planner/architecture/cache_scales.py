"""How a checkpoint's scheme of the cache is heard: by attention layers that register its scales, of which there may be one for each head.

Source: vllm/model_executor/layers/attention/attention.py, quantization/compressed_tensors/compressed_tensors.py CompressedTensorsKVCacheMethod, 0.33.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.architecture.formats import Quantization
from planner.architecture.text import Dims, Layer
from planner.facts.attention import per_head
from planner.facts.modules import Axis, Module, Split, Tensor, TensorRole


def with_cache_scheme(layers: Sequence[Layer], quantization: Quantization, dims: Dims) -> tuple[list[Layer], Quantization]:
    """The layers with such scales as the scheme has, and the quantization, which says nothing of the cache where no layer has any (MLA's do not)."""
    if not any(_is_scale(module) for layer in layers for module in layer.modules):
        return list(layers), replace(quantization, kv_cache_dtype="auto")
    if not quantization.scales_by_head:
        return list(layers), quantization
    return [replace(layer, modules=tuple(_by_head(module, layer, dims) for module in layer.modules)) for layer in layers], quantization


def _is_scale(module: Module) -> bool:
    return isinstance(module, Tensor) and module.role is TensorRole.CACHE_SCALE


def _by_head(module: Module, layer: Layer, dims: Dims) -> Module:
    """A scale of a layer's cache as one for each key-value head of a rank; anything else as it is."""
    if not isinstance(module, Tensor) or not _is_scale(module):
        return module
    heads = next((cache.kv_heads for attention in layer.attention if (cache := per_head(attention))), dims.kv_heads)
    return replace(module, axes=(Axis(heads, Split.HEADS, heads),))

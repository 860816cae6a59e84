"""A model of an architecture that nobody here knows: its tensors' bytes are its weights, the cache follows from its config's own figures.

How it divides over ranks is not known either: every rank is given its share, and no pipeline.
"""

from __future__ import annotations

from planner.architecture.config import Config
from planner.architecture.text import full_attention, read_dims
from planner.facts.model import LayerGroup, ModelSpec
from planner.facts.modules import Axis, Split, Tensor
from planner.units import round_up

_WAYS = 64  # the widest group of ranks that a share is whole for


def stored_model(config: Config, name: str, stored_bytes: int) -> ModelSpec:
    """The model of a config.json whose architecture is not known, of so many bytes of tensors.

    Raises FileError where the config lacks its number of layers, of heads, its width or its words: then nothing can be said of its cache.
    """
    text = config.section("text_config") if config.has("text_config") else config
    text.integer("num_hidden_layers")
    dims = read_dims(text)
    weights = Tensor(name="tensors", axes=(Axis(round_up(stored_bytes, _WAYS), Split.TP),), bits=8)
    architecture = (config.texts("architectures") or [""])[0]
    method = config.section("quantization_config").data.get("quant_method")
    return ModelSpec(
        name=name,
        architecture=architecture,
        quantization=method if isinstance(method, str) else None,
        max_position_embeddings=dims.max_length,
        hidden_size=dims.hidden,
        intermediate_size=dims.intermediate,
        vocab_size=dims.vocab,
        attention_heads=dims.heads,
        kv_heads=dims.kv_heads,
        head_dim=dims.head_dim,
        first=(weights,),
        layers=(LayerGroup(indices=tuple(range(dims.layers)), modules=(), caches=(full_attention(dims),)),),
        last=(),
        dtype=text.text("dtype", "torch_dtype", default=config.text("dtype", "torch_dtype", default="bfloat16")),
        pipeline=False,
        not_known="the layout of its layers, of which only the tensors' bytes and the config's figures are known,",
    )

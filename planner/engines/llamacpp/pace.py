"""What a step reads of a GGUF file."""

from __future__ import annotations

from dataclasses import replace

from planner.engines.llamacpp.model import GgufModel
from planner.engines.work import weights
from planner.facts.config import Parallel
from planner.facts.model import ModelSpec
from planner.speed.work import Weights


def gguf_weights(model: ModelSpec, file: GgufModel) -> Weights:
    """Bytes as a GGUF file stores them; experts and the rest share a layer's by how many weights they have, what is multiplied does not change."""
    plain, layers = weights(model, Parallel()), sum(file.layer_bytes)
    experts = layers * plain.expert_macs // (plain.dense_macs + plain.expert_macs)
    return replace(plain, dense_bytes=layers - experts, head_bytes=file.output_bytes, expert_bytes=experts)

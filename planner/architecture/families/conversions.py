"""What vLLM makes of a generative class that is asked to embed or to classify: the same layers without the output head, a score where there are labels.

Source: vllm/config/model.py _SUFFIX_TO_DEFAULTS, model_executor/models/{registry,adapters}.py, 0.33.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from planner.architecture import heads
from planner.architecture.blocks import Scope
from planner.architecture.family import Family
from planner.architecture.text import Dims
from planner.facts.modules import Module

_GENERATE = ("ForCausalLM", "ForConditionalGeneration", "ChatModel", "LMHeadModel")
_CLASSIFY = ("ForSequenceClassification", "ForTokenClassification", "ClassificationModel")
_EMBED = ("ForTextEncoding", "EmbeddingModel", "ForRewardModeling", "RewardModel", "Model")


def without_head(family: Family) -> Family:
    """The same layers, which embed."""
    return replace(family, head=False)


def with_head(family: Family, head: heads.Head) -> Family:
    """The same layers, with a pooling head on every stage in place of the output head."""
    other = family.more.get("every")

    def both(scope: Scope, dims: Dims) -> list[Module]:
        return [*(other(scope, dims) if other else []), *head(scope, dims)]

    return replace(family, head=False, more={**family.more, "every": both})


def base_name(name: str, known: Container[str]) -> str:
    """The generative class that `name` is a conversion of, or an empty string."""
    suffix = next((suffix for suffix in (*_CLASSIFY, *_EMBED) if name.endswith(suffix)), "")
    stem = name.removesuffix(suffix)
    return next((stem + other for other in _GENERATE if stem + other in known), "") if suffix and stem else ""


def converted(name: str, family: Family) -> Family:
    """The family of the generative class as the class `name` has it."""
    return with_head(family, heads.score) if name.endswith(_CLASSIFY) else without_head(family)

"""EAGLE, EAGLE-3 and DFlash: small decoders that read what the target hides.

Source: vllm/model_executor/models/{llama_eagle,mistral_eagle,minicpm_eagle,llama_eagle3,qwen3_eagle3,deepseek_eagle3,qwen3_dflash}.py, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.architecture.blocks import Scope, addend, norm, plain, unquantized
from planner.architecture.config import Config
from planner.architecture.drafters import Layers
from planner.architecture.text import Dims, Layer, LayerBuilder
from planner.facts.modules import Axis, Linear, Module, Role

TARGET_WORDS = "target_vocab_size"  # not of the file: told where a drafter is built for a target


def eagle_projection(*, divided: bool = False, quantized: bool = True, bias: bool = False) -> Callable[[Scope, Dims], list[Module]]:
    """EAGLE: words and hidden states projected together, the inputs divided (Mistral's) or whole."""

    def build(scope: Scope, dims: Dims) -> list[Module]:
        if divided:
            return [scope.row("fc", 2 * dims.hidden, dims.hidden, role=Role.PROJECTION)]
        if quantized:
            return [scope.replicated("fc", 2 * dims.hidden, (dims.hidden,), role=Role.PROJECTION), *([addend("fc.bias", dims.hidden)] if bias else [])]
        return [unquantized("fc", 2 * dims.hidden, dims.hidden, role=Role.PROJECTION)]

    return build


def eagle(target: Layers) -> Layers:
    """EAGLE's layers: the first has no norm before attention (llama_eagle.py)."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        inner = target(config, dims)

        def build(scope: Scope, index: int) -> Layer:
            layer = inner(scope, index)
            return replace(layer, modules=tuple(m for m in layer.modules if index or m.name != "input_layernorm"))

        return build

    return bind


def eagle3(target: Layers) -> Layers:
    """EAGLE-3's layers: the first reads words and hidden states side by side, each has a norm more (llama_eagle3.py)."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        inner = target(config, dims)

        def build(scope: Scope, index: int) -> Layer:
            layer = inner(scope, index)
            widened = (_doubled(m) if index == 0 else m for m in layer.modules)
            return replace(layer, modules=(*widened, *norm("hidden_norm", dims.hidden)))

        return build

    return bind


def _doubled(module: Module) -> Module:
    """What reads the layer's input in attention, its inputs doubled; anything else as it is."""
    reads = module.name.rpartition(".")[2] in ("qkv_proj", "fused_qkv_a_proj", "kv_a_proj_with_mqa", "q_proj")
    return replace(module, inputs=Axis(2 * module.inputs.size)) if reads and isinstance(module, Linear) else module


def hidden_states(config: Config) -> int:
    """How many of the target's layers an EAGLE-3 drafter looks at, three where it does not say."""
    section = config.section("eagle_config")
    listed = config.items("eagle_aux_hidden_state_layer_ids") or section.items("eagle_aux_hidden_state_layer_ids")
    return config.integer("num_aux_layers", "num_aux_hidden_states", default=len(listed) or 3, high=1000)


def latent_projection(scope: Scope, dims: Dims) -> list[Module]:
    """The same of DeepSeek's, which know no norm before it."""
    return [module for module in eagle3_projection(scope, dims) if module.name != "input_norm"]


def eagle3_projection(scope: Scope, dims: Dims) -> list[Module]:
    """The target's hidden states projected to the drafter's width, with norms where its config says so."""
    config = scope.config
    section = config.section("eagle_config")
    if not section.flag("use_aux_hidden_state", default=True):
        return []
    count, width = hidden_states(config), config.integer("target_hidden_size", default=dims.hidden)
    modules: list[Module] = [scope.replicated("fc", count * width, (dims.hidden,), role=Role.PROJECTION)]
    if section.flag("norm_before_fc", default=config.flag("norm_before_fc", default=False)):
        modules += norm("input_norm", count * width)
    if config.flag("fc_norm", default=False):
        modules += [module for index in range(count) for module in norm(f"fc_norm.{index}", width)]
    return modules


def draft_head(scope: Scope, dims: Dims) -> list[Module]:
    """A head over the drafter's own vocabulary, and which of the target's words each is where those are not as many."""
    words, target = draft_words(scope.config, dims)
    return [scope.plain().head(words, dims.hidden), *([plain("draft_id_to_target_id", words, bits=64)] if words != target else [])]


def draft_words(config: Config, dims: Dims) -> tuple[int, int]:
    """Words that a drafter writes, and its target's (its own where no target is named)."""
    return config.optional("draft_vocab_size") or dims.vocab, config.integer(TARGET_WORDS, default=dims.vocab)


def two_norms(*names: str) -> Callable[[Scope, Dims], list[Module]]:
    """A projection of words and hidden states behind a norm of each."""
    return lambda scope, dims: [*eagle_projection(quantized=False)(scope, dims), *(m for name in names for m in norm(name, dims.hidden))]


def dflash_projection(scope: Scope, dims: Dims) -> list[Module]:
    """DFlash: as many hidden states of the target as its config names, their norm, and what stands for a masked word."""
    config = scope.config
    section = config.section("dflash_config")
    count = len(section.items("target_layer_ids") or config.items("target_layer_ids") or config.items("eagle_aux_hidden_state_layer_ids")) or dims.layers
    width = config.integer("target_hidden_size", default=dims.hidden)
    looks = section.flag("use_aux_hidden_state", default=config.flag("use_aux_hidden_state", default=True))
    return [
        plain("mask_embedding", dims.hidden),
        *([scope.replicated("fc", count * width, (dims.hidden,), role=Role.PROJECTION)] if looks else []),
        *norm("hidden_norm", dims.hidden),
    ]


def dflash_windows(config: Config) -> Config:
    """The kinds of DFlash's layers: by `layer_types`, all windowed under `use_swa`, else all full."""
    section = config.section("dflash_config")
    layers = config.integer("num_hidden_layers")
    types = config.texts("layer_types") or ["sliding_attention" if section.flag("use_swa", default=False) else "full_attention"] * layers
    windows = {"use_sliding_window": "sliding_attention" in types}
    return Config({**config.data, "layer_types": types, **windows}, config.path)


def experts_only(config: Config) -> Config:
    """EAGLE's layers of DeepSeek stand behind the target's, so that none is among its first, dense ones (deepseek_eagle.py)."""
    return Config({**config.data, "first_k_dense_replace": 0}, config.path)


def dense_only(config: Config) -> Config:
    """DeepSeek's EAGLE-3 layers route to no experts."""
    return Config({**config.data, "n_routed_experts": 0}, config.path)

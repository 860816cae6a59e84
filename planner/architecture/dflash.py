"""What later drafters put on DFlash's layers: DSpark, XPress, DFlash 2, Laguna's; and Gemma 4's, which reads its target's caches.

Source: vllm/model_executor/models/{qwen3_dspark,qwen3_xpress,qwen3_dflash2,laguna_dflash,gemma4_mtp}.py, models/beam/nvidia/dflash2.py, 0.33.
"""

from __future__ import annotations

from dataclasses import replace

from planner.architecture.blocks import Scope, addend, norm, plain, unquantized
from planner.architecture.config import Config
from planner.architecture.drafters import Layers
from planner.architecture.eagle import dflash_projection, draft_words
from planner.architecture.rope import gemma4_rope
from planner.architecture.text import Dims, Layer, LayerBuilder, full_attention
from planner.facts.modules import Axis, Module, Role, Split, Tensor


def dspark_heads(scope: Scope, dims: Dims) -> list[Module]:
    """DSpark: a Markov head of low rank, whole on every rank, and one of confidence where its config has it."""
    config = scope.config
    rank, words = config.integer("markov_rank"), config.optional("draft_vocab_size") or dims.vocab
    head = scope.head(words, rank, name="markov_head.markov_w2")
    whole = replace(head, outputs=(Axis(words),), role=Role.PROJECTION)  # disable_tp
    modules: list[Module] = [plain("markov_head.markov_w1", dims.vocab, rank), whole]
    if config.flag("enable_confidence_head", default=False):
        inputs = dims.hidden + (rank if config.flag("confidence_head_with_markov", default=False) else 0)
        modules += [plain("confidence_head.proj", inputs, bits=32), addend("confidence_head.proj.bias", 1, bits=32)]
    return [*dflash_projection(scope, dims), *modules]


def dspark_head(scope: Scope, dims: Dims) -> list[Module]:
    """DSpark's output head: its words are looked up in the target's where they are fewer."""
    words, target = draft_words(scope.config, dims)
    return [scope.plain().head(words, dims.hidden), *([plain("draft_id_to_target_id", words, bits=64)] if words < target else [])]


def plain_head(scope: Scope, dims: Dims) -> list[Module]:
    """A head over all of the target's words."""
    return [scope.plain().head(dims.vocab, dims.hidden)]


def xpress_head(scope: Scope, dims: Dims) -> list[Module]:
    """XPress: a refiner over a block of tokens, torch's own."""
    config = scope.config
    rank, width = config.integer("xpress_rank", default=256), config.integer("xpress_mlp_hidden", default=512)
    block = config.optional("xpress_block_size") or config.integer("num_speculative_steps", default=15) + 1
    return [
        *dflash_projection(scope, dims),
        *(plain(f"xpress_head.{name}", dims.vocab, rank) for name in ("w1", "w2")),
        *(plain(f"xpress_head.{name}", rank, dims.hidden) for name in ("down_h", "down_g")),
        plain("xpress_head.in_proj", rank, 3 * rank),
        plain("xpress_head.mix_L", rank, block, block),
        *(plain(f"xpress_head.{name}", width, rank) for name in ("mlp_gate", "mlp_up", "mlp_down")),
    ]


def dflash2(target: Layers) -> Layers:
    """DFlash 2's layers: a convolution over groups of the width before and behind attention, and of the MLP."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        inner, section = target(config, dims), config.section("dflash_config")
        taps, group = section.integer("conv_kernel_size", high=1024), section.integer("conv_group_size")

        def build(scope: Scope, index: int) -> Layer:
            layer = inner(scope, index)
            convolutions = [
                module
                for name in ("attention_conv", "mlp_conv")
                for module in (
                    plain(f"{name}.base_kernel", 2, taps, dims.hidden),
                    scope.replicated(f"{name}.kernel_projection", dims.hidden, (2 * taps * (dims.hidden // group),), role=Role.PROJECTION),
                )
            ]
            return replace(layer, modules=(*layer.modules, *convolutions))

        return build

    return bind


def selector(scope: Scope, dims: Dims) -> list[Module]:
    """What DFlash 2 picks among its candidates by."""
    rank = scope.config.section("dflash_config").integer("selector_rank")
    return [
        *dflash_projection(scope, dims),
        *(plain(f"candidate_selector.{name}_codebook", dims.vocab, rank) for name in ("predecessor", "successor")),
        unquantized("candidate_selector.hidden_projection", dims.hidden, rank, role=Role.PROJECTION),
    ]


def beam_selector(scope: Scope, dims: Dims) -> list[Module]:
    """Beam's: as DFlash 2's, nothing stands for a masked word."""
    return [module for module in selector(scope, dims) if module.name != "mask_embedding"]


def whole_contexts(target: Layers) -> Layers:
    """Laguna's DFlash layers: they keep every token, also where they look at a window."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        inner = target(config, dims)
        return lambda scope, index: replace(inner(scope, index), attention=(full_attention(dims),))

    return bind


def normed_projection(scope: Scope, dims: Dims) -> list[Module]:
    """Laguna's: each of the target's hidden states is normed by itself."""
    section = scope.config.section("dflash_config")
    width = scope.config.integer("target_hidden_size", default=dims.hidden)
    count = len(section.items("target_layer_ids"))
    projections = (module for module in dflash_projection(scope, dims) if module.name != "mask_embedding")  # a buffer there
    return [*projections, *(module for index in range(count) for module in norm(f"aux_hidden_norms.{index}", width))]


def shared_caches(config: Config) -> Config:
    """Gemma 4's assistant: every layer attends to a cache of the target's."""
    own = {"num_kv_shared_layers": config.integer("num_hidden_layers"), "hidden_size_per_layer_input": 0, "num_experts": 0, "use_double_wide_mlp": False}
    return Config({**config.data, **own}, config.path)


def assistant_ends(scope: Scope, dims: Dims) -> list[Module]:
    """Gemma 4's assistant: projections from and to the target's width, a head of its own, centroids of words where its config orders them."""
    config = scope.config
    width = config.integer("backbone_hidden_size", default=dims.hidden)
    ordered = config.flag("use_ordered_embeddings", default=False)
    return [
        scope.column("pre_projection", 2 * width, (dims.hidden,), role=Role.PROJECTION),
        scope.row("post_projection", dims.hidden, width, role=Role.PROJECTION),
        Tensor(name="lm_head", axes=(Axis(dims.vocab, Split.VOCAB), Axis(dims.hidden))),
        *([plain("masked_embedding.centroids", config.integer("num_centroids", default=2048), dims.hidden)] if ordered else []),
    ]


def assistant_tables(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """Its rotary tables, and where each of the ordered words stands."""
    ordering = Tensor(name="masked_embedding.token_ordering", axes=(Axis(dims.vocab),), bits=64)
    return (*gemma4_rope(config, dims), *((ordering,) if config.flag("use_ordered_embeddings", default=False) else ()))

"""Towers of GLM-4V, Molmo and Phi-4 multimodal.

Sources: vllm/model_executor/models/{glm4v,molmo,phi4mm,phi4mm_audio,vision_siglip_navit}.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, addend, embedding, norm, plain
from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED
from planner.architecture.text import Dims
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose, siglip
from planner.architecture.towers.tower import Tower
from planner.facts.modules import Linear, Module, Role

_MOLMO_EXTRA = 128  # rows of the embedding for its own tokens (molmo.py ADDITIONAL_VOCAB_SIZE)


def glm4v_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """GLM-4V: EVA2-CLIP, a convolution that merges patches, a gated projector as wide as the text model's MLP."""
    config, at = top.section("vision_config"), "vision"
    block = Block(
        hidden=config.integer("hidden_size", default=1792),
        width=config.integer("intermediate_size", default=15_360),
        heads=config.integer("num_heads", default=16),
        names=("attention.query_key_value", "attention.dense", "mlp.fc1", "mlp.fc2"),
    )
    patch, positions = config.integer("patch_size", default=14), config.integer("num_positions", default=6401)
    modules = [
        plain(f"{at}.boi", dims.hidden),
        plain(f"{at}.eoi", dims.hidden),
        plain(f"{at}.patch_embedding.cls_embedding", block.hidden),
        *convolution(f"{at}.patch_embedding.proj", block.hidden, config.integer("in_channels", default=3), patch, patch),
        plain(f"{at}.patch_embedding.position_embedding", positions, block.hidden),
        *encoder(scope, f"{at}.transformer.layers", config.integer("num_hidden_layers", default=63, high=500), block),
        scope.replicated(f"{at}.linear_proj.linear_proj", dims.hidden, (dims.hidden,), role=Role.PROJECTION),
        *norm(f"{at}.linear_proj.norm1", dims.hidden, bias=True),
        scope.column(f"{at}.linear_proj.merged_proj", dims.hidden, (dims.intermediate,) * 2, role=Role.GATE_UP, parts=("gate_proj", "dense_h_to_4h")),
        scope.row(f"{at}.linear_proj.dense_4h_to_h", dims.intermediate, dims.hidden, role=Role.DOWN),
        *convolution(f"{at}.conv", dims.hidden, block.hidden, 2, 2),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // 4))


def molmo_sizes(config: Config) -> Config:
    """Molmo counts gate and up as one width, and its embedding by another key."""
    vocab = config.integer("embedding_size", default=config.integer("vocab_size"))
    tied = config.flag("weight_tying", default=False)
    return Config({**config.data, "intermediate_size": config.integer("intermediate_size") // 2, "vocab_size": vocab, "tie_word_embeddings": tied}, config.path)


def molmo_words(scope: Scope, dims: Dims) -> list[Module]:
    """Rows of the embedding for Molmo's own tokens."""
    return [embedding(_MOLMO_EXTRA, dims.hidden)]


def _apart(scope: Scope, module: Module) -> list[Module]:
    """Queries, keys and values, which this tower's class does not fuse, as three matrices; a checkpoint's list names each."""
    if not isinstance(module, Linear) or len(module.outputs) != 3:
        return [module]
    stem = module.name.removesuffix("qkv")
    return [scope.linear(stem + part, module.inputs, [axis], role=module.role, bias=module.bias) for part, axis in zip("qkv", module.outputs, strict=True)]


def molmo(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Molmo: CLIP's large tower of 336 pixels up to its last but one layer, two of its layers pooled by attention; one size in every checkpoint."""
    block, at = Block(hidden=1024, width=4096, heads=16, names=("attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w2")), "vision_backbone"
    pooled = 2 * block.hidden
    modules = [
        plain(f"{at}.pad_embed", 2, pooled),
        plain(f"{at}.image_vit.class_embedding", block.hidden),
        plain(f"{at}.image_vit.positional_embedding", 577, block.hidden),
        loose(f"{at}.image_vit.patch_embedding", 588, block.hidden, bias=False),
        *norm(f"{at}.image_vit.pre_ln", block.hidden, bias=True),
        *(part for module in encoder(scope, f"{at}.image_vit.transformer.resblocks", 23, block) for part in _apart(scope, module)),
        *(scope.column(f"{at}.image_pooling_2d.w{name}", pooled, (block.hidden,), bias=True, role=Role.PROJECTION) for name in "qkv"),
        scope.row(f"{at}.image_pooling_2d.wo", block.hidden, block.hidden, bias=True, role=Role.PROJECTION),
        scope.column(f"{at}.image_projector.merged_linear", block.hidden, (dims.intermediate,) * 2, role=Role.GATE_UP, parts=("gate_proj", "up_proj")),
        scope.row(f"{at}.image_projector.down_proj", dims.intermediate, dims.hidden, role=Role.DOWN),
    ]
    return Tower(tuple(modules), batch(block, patches=13 * 577, tokens=13 * 144))


def phi4_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Phi-4 multimodal: SigLIP So400m of 448 pixels up to its last but one layer, never quantized; one size in every checkpoint."""
    at = "vision_encoder"
    modules, block = siglip(Scope(top, UNQUANTIZED), Config({}, top.path), f"{at}.img_processor", positions=1024, depth=26, post_norm=False)
    modules += [
        plain(f"{at}.glb_GN", block.hidden),
        plain(f"{at}.sub_GN", block.hidden),
        loose(f"{at}.img_projection.0", block.hidden, dims.hidden),
        loose(f"{at}.img_projection.2", dims.hidden, dims.hidden),
    ]
    return Tower(tuple(modules), batch(block, patches=37 * 1024, tokens=37 * 256))


def _conformer_layer(at: str, hidden: int, width: int, kernel: int) -> list[Module]:
    """Two gated halves of an MLP around attention and a gated convolution."""

    def feed(name: str) -> list[Module]:
        return [
            *norm(f"{at}.{name}.layer_norm", hidden, bias=True),
            loose(f"{at}.{name}.net.0.linear", hidden, 2 * width),
            loose(f"{at}.{name}.net.2", width, hidden),
        ]

    return [
        *feed("feed_forward_in"),
        *(loose(f"{at}.self_attn.linear_{name}", hidden, hidden) for name in ("q", "k", "v", "out")),
        *norm(f"{at}.conv.layer_norm", hidden, bias=True),
        addend(f"{at}.conv.glu.b1", hidden),
        addend(f"{at}.conv.glu.b2", hidden),
        *convolution(f"{at}.conv.glu.ext_pw_conv_1d", 2 * hidden, hidden, 1),
        *convolution(f"{at}.conv.ext_pw_conv_1d", hidden, hidden, 1),
        *convolution(f"{at}.conv.dw_sep_conv_1d.dw_conv", hidden, 1, kernel),
        *convolution(f"{at}.conv.dw_sep_conv_1d.pw_conv", hidden, hidden, 1),
        *feed("feed_forward_out"),
        *norm(f"{at}.layer_norm_att", hidden, bias=True),
        *norm(f"{at}.layer_norm", hidden, bias=True),
    ]


def phi4_audio(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Phi-4 multimodal: a conformer behind three strided convolutions, projected once for sound and once for sound beside images."""
    config, at = top.section("audio_processor").section("config"), "embed_tokens_extend"
    hidden, bins = config.integer("attention_dim", default=1024), config.integer("input_size", default=80)
    channels = config.section("nemo_conv_settings").integer("conv_channels", default=1024)
    heads, farthest = (
        config.integer("attention_heads", default=16),
        config.section("relative_attention_bias_args").integer("t5_bias_max_distance", default=1000),
    )
    strides = max(1, config.integer("time_reduction", default=8).bit_length() - 1)
    spectrum = bins
    for _ in range(strides):
        spectrum = (spectrum + 1) // 2
    width, kernel = config.integer("linear_units", default=1536), config.integer("kernel_size", default=3)
    modules: list[Module] = [
        *convolution(f"{at}.encoder.embed.conv.0", channels, 1, 3, 3),
        *(
            module
            for index in range(1, strides)
            for module in (
                *convolution(f"{at}.encoder.embed.conv.{3 * index - 1}", channels, 1, 3, 3),
                *convolution(f"{at}.encoder.embed.conv.{3 * index}", channels, channels, 1, 1),
            )
        ),
        loose(f"{at}.encoder.embed.out", channels * spectrum, hidden),
        plain(f"{at}.encoder.relative_attention_bias_layer.bias_values", 2 * farthest, heads),
        plain(f"{at}.encoder.encoder_embedding.global_mean", bins),
        plain(f"{at}.encoder.encoder_embedding.global_invstd", bins),
    ]
    for index in range(config.integer("num_blocks", default=24, high=500)):
        modules += _conformer_layer(f"{at}.encoder.encoders.{index}", hidden, width, kernel)
    for name in ("audio_projection", "audio_projection_for_vision"):
        modules += [loose(f"{at}.{name}.0", hidden, dims.hidden), loose(f"{at}.{name}.2", dims.hidden, dims.hidden)]
    return Tower(tuple(modules), batch(Block(hidden=hidden, width=width, heads=heads), patches=500, tokens=500))


def molmo2_words(scope: Scope, dims: Dims) -> list[Module]:
    """Rows of the embedding for Molmo 2's own tokens."""
    return [embedding(extra, dims.hidden)] if (extra := scope.config.integer("additional_vocab_size", default=_MOLMO_EXTRA, low=0)) else []


def molmo2(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Molmo 2: SigLIP up to the deepest layer that is read, those layers pooled by attention into a gated projector."""
    config, adapter, at = top.section("vit_config", "vision_config"), top.section("adapter_config"), "vision_backbone"
    total = config.integer("num_hidden_layers", default=27, high=500)
    read = adapter.integers("vit_layers", low=-500) if adapter.has("vit_layers") else [-3, -9]
    hidden, head = config.integer("hidden_size", default=1152), adapter.integer("head_dim", default=72)
    block = Block(
        hidden=hidden,
        width=config.integer("intermediate_size", default=4304),
        heads=config.integer("num_attention_heads", default=16),
        names=("attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w2"),
    )
    pooled, out = hidden * len(read), adapter.integer("hidden_size", default=1152)
    queries, keys = (head * adapter.integer(key, default=16) for key in ("num_attention_heads", "num_key_value_heads"))
    width, patch = adapter.integer("intermediate_size", default=18_944), config.integer("image_patch_size", "patch_size", default=14)
    positions = config.integer("image_num_pos", "num_position_embeddings", default=729)
    modules = [
        plain(f"{at}.image_vit.positional_embedding", positions, hidden),
        loose(f"{at}.image_vit.patch_embedding", 3 * patch**2, hidden),
        *encoder(scope, f"{at}.image_vit.transformer.resblocks", max(total + level + 1 if level < 0 else level + 1 for level in read), block),
        scope.column(f"{at}.image_pooling_2d.q_proj", pooled, (queries,), bias=True, role=Role.PROJECTION),
        scope.column(f"{at}.image_pooling_2d.merged_kv", pooled, (keys, keys), bias=True, role=Role.PROJECTION),
        scope.row(f"{at}.image_pooling_2d.o_proj", queries, out, bias=True, role=Role.PROJECTION),
        scope.column(f"{at}.image_projector.merged_linear", out, (width, width), role=Role.GATE_UP),
        scope.row(f"{at}.image_projector.down_proj", width, dims.hidden, role=Role.DOWN),
    ]
    return Tower(tuple(modules), batch(block, patches=9 * positions, tokens=9 * positions // 4))

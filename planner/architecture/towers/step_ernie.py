"""Towers of Step 3, Step 3 VL 10B, Step 3.7 and ERNIE 4.5 VL.

Sources: vllm/model_executor/models/{step3_vl,step_vl,step3p7,ernie45_vl}.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, norm, plain
from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED
from planner.architecture.text import Dims
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose, square_patches
from planner.architecture.towers.tower import Tower
from planner.facts.modules import Module, Role

_CLIP_NAMES = ("self_attn.qkv_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")


def step3(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Step 3: EVA-CLIP without its last norm, two strided convolutions, one projection."""
    config, at = top.section("vision_config"), "vision_model"
    block = Block(
        hidden=config.integer("hidden_size", default=1792),
        width=config.integer("intermediate_size", default=3072),
        heads=config.integer("num_attention_heads", default=16),
        names=_CLIP_NAMES,
    )
    patch, out = config.integer("patch_size", default=14), config.integer("output_hidden_size", default=4096)
    patches = square_patches(config, image=728)
    modules = [
        plain(f"{at}.embeddings.class_embedding", block.hidden),
        *convolution(f"{at}.embeddings.patch_embedding", block.hidden, config.integer("num_channels", default=3), patch, patch),
        plain(f"{at}.embeddings.position_embedding", patches + 1, block.hidden),
        *encoder(scope.plain(), f"{at}.transformer.layers", config.integer("num_hidden_layers", default=63, high=500), block),
        *convolution("vit_downsampler", out, block.hidden, 2, 2),
        *convolution("vit_downsampler2", 2 * out, out, 3, 3),
        loose("vit_large_projector", 2 * out, dims.hidden, bias=top.flag("projector_bias", default=False)),
    ]
    return Tower(tuple(modules), batch(block, patches=7 * patches, tokens=7 * 169), (plain("position_ids", patches + 1, bits=64),))


def perception(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Step 3 VL 10B and Step 3.7: the Perception Encoder with layer scales, two strided convolutions, one projection."""
    config, at = top.section("vision_config"), "vision_model"
    width = config.integer("width", "hidden_size", default=1536)
    scaled = config.has("ls_init_value")
    block = Block(
        hidden=width,
        width=int(width * config.number("mlp_ratio", default=8960 / 1536)),
        heads=config.integer("heads", "num_attention_heads", default=16),
        vectors=(width, width) if scaled else (),
        names=("attn.qkv_proj", "attn.out_proj", "mlp.fc1", "mlp.fc2"),
    )
    patch, words = config.integer("patch_size", default=14), config.flag("use_cls_token", default=False)
    patches = square_patches(config, image=728)
    modules: list[Module] = [
        *convolution(f"{at}.conv1", width, 3, patch, patch, bias=False),
        *([plain(f"{at}.class_embedding", width)] if words else []),
        *([plain(f"{at}.positional_embedding", patches + int(words), width)] if config.flag("use_abs_posemb", default=True) else []),
        *(norm(f"{at}.ln_pre", width, bias=True) if config.flag("use_ln_pre", default=True) else []),
        *(norm(f"{at}.ln_post", width, bias=True) if config.flag("use_ln_post", default=False) else []),
        *encoder(scope, f"{at}.transformer.resblocks", config.integer("layers", "num_hidden_layers", default=47, high=500), block),
        *convolution(f"{at}.vit_downsampler1", 2 * width, width, 3, 3),
        *convolution(f"{at}.vit_downsampler2", 4 * width, 2 * width, 3, 3),
        scope.column("vit_large_projector", 4 * width, (dims.hidden,), bias=top.flag("projector_bias", default=False), role=Role.PROJECTION),
    ]
    return Tower(tuple(modules), batch(block, patches=7 * patches, tokens=7 * patches // 16))


def ernie(scope: Scope, top: Config, dims: Dims) -> Tower:
    """ERNIE 4.5 VL: a plain ViT at any resolution, patches joined over space and time in a resampler that is never quantized."""
    config, at = top.section("vision_config"), "vision_model"
    hidden = config.integer("embed_dim", "hidden_size", default=1280)
    block = Block(
        hidden=hidden,
        width=int(hidden * config.number("mlp_ratio", default=4)),
        heads=config.integer("num_heads", default=16),
        names=("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"),
    )
    space = top.integer("pixel_hidden_size", default=hidden) * top.integer("spatial_conv_size", default=2) ** 2
    whole, timed = Scope(top, UNQUANTIZED), top.flag("use_temporal_conv", default=True)
    patch, name = config.integer("patch_size", default=14), "resampler_model"

    def column(part: str, inputs: int, outputs: int) -> Module:
        return whole.column(f"{name}.{part}", inputs, (outputs,), bias=True, role=Role.PROJECTION)

    time: list[Module] = [
        column("temporal_linear1", space * top.integer("temporal_conv_size", default=2), space),
        column("temporal_linear2", space, space),
        *norm(f"{name}.temporal_norm", space, bias=True),
    ]
    modules = [
        loose(f"{at}.patch_embed.proj", config.integer("in_channels", default=3) * patch**2, hidden, bias=False),
        *encoder(scope, f"{at}.blocks", config.integer("depth", default=32, high=500), block),
        *norm(f"{at}.ln", hidden, bias=True),
        column("spatial_linear1", space, space),
        column("spatial_linear2", space, space),
        *norm(f"{name}.spatial_norm", space, bias=True),
        *(time if timed else []),
        column("mlp", space, dims.hidden),
        *norm(f"{name}.after_norm", dims.hidden),
    ]
    return Tower(tuple(modules), batch(block, patches=65_536, tokens=16_384), (plain("rotary_pos_emb.inv_freq", hidden // block.heads // 4, bits=32),))

"""Towers of SigLIP's kind that differ in what joins them to the text model: Aya and Command A Vision, LFM2-VL, Aria, EXAONE 4.5.

Sources: vllm/model_executor/models/{cohere2_vision,lfm2_vl,lfm2_siglip2,aria,exaone4_5}.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, norm, plain
from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED
from planner.architecture.text import Dims
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose, siglip, square_patches
from planner.architecture.towers.tower import Tower
from planner.facts.modules import Module, Role


def cohere2_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Aya Vision and Command A Vision: SigLIP, four patches joined into a gated projector."""
    config = top.section("vision_config")
    patches, factor = square_patches(config, patch=16), top.integer("downsample_factor", default=2)
    modules, block = siglip(scope, config, "vision_tower.vision_model", positions=patches)
    half, whole = top.integer("alignment_intermediate_size", default=36_864) // 2, Scope(top, UNQUANTIZED)
    modules += [
        whole.column("multi_modal_projector.linear_1", block.hidden * factor**2, (half, half), bias=True, role=Role.PROJECTION),
        whole.row("multi_modal_projector.linear_2", half, dims.hidden, bias=True, role=Role.PROJECTION),
    ]
    return Tower(tuple(modules), batch(block, patches=13 * patches, tokens=13 * patches // factor**2), (plain("position_ids", patches, bits=64),))


def lfm2_vl(scope: Scope, top: Config, dims: Dims) -> Tower:
    """LFM2-VL: SigLIP 2 at any shape, patches joined into a two-layer projector."""
    config, at = top.section("vision_config"), "vision_tower.vision_model"
    positions, factor = config.integer("num_patches", default=256), top.integer("downsample_factor", default=2)
    patch, hidden = config.integer("patch_size", default=16), config.integer("hidden_size", default=768)
    flat = Config({**config.data, "patch_size": patch, "hidden_size": hidden}, config.path)
    modules, block = siglip(scope, flat, at, positions=positions, tiled=False)
    inputs, out = hidden * factor**2, top.integer("projector_hidden_size", default=2560)
    bias = top.flag("projector_bias", default=True)
    modules += [
        *(norm("multi_modal_projector.layer_norm", inputs, bias=True) if top.flag("projector_use_layernorm", default=True) else []),
        loose("multi_modal_projector.linear_1", inputs, out, bias=bias),
        loose("multi_modal_projector.linear_2", out, dims.hidden, bias=bias),
    ]
    return Tower(tuple(modules), batch(block, patches=11 * 1024, tokens=11 * 1024 // factor**2))


def aria(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Aria: Idefics' SigLIP without its last norm, read by learned queries."""
    config, at = top.section("vision_config"), "multi_modal_projector"
    patches = square_patches(config, image=980)
    modules, block = siglip(scope, config, "vision_tower", positions=patches, post_norm=False, tiled=False)
    hidden, whole = block.hidden, Scope(top, UNQUANTIZED)
    queries = top.section("projector_patch_to_query_dict").data.values()
    attention: list[Module] = [
        *(loose(f"{at}.cross_attn.{name}_proj", hidden, hidden, bias=False) for name in "qkv"),
        loose(f"{at}.cross_attn.multihead_attn.in_proj", hidden, 3 * hidden),
        loose(f"{at}.cross_attn.multihead_attn.out_proj", hidden, hidden),
        loose(f"{at}.cross_attn.linear", hidden, hidden),
        *norm(f"{at}.cross_attn.layer_norm", hidden, bias=True),
        *norm(f"{at}.cross_attn.layer_norm_kv", hidden, bias=True),
        *norm(f"{at}.layer_norm", hidden, bias=True),
    ]
    modules += [
        plain(f"{at}.query", max((size for size in queries if isinstance(size, int)), default=256), hidden),
        *attention,
        whole.column(f"{at}.feed_forward.linear_in", hidden, (dims.hidden,), role=Role.PROJECTION),
        whole.row(f"{at}.feed_forward.linear_out", dims.hidden, dims.hidden, role=Role.PROJECTION),
    ]
    return Tower(tuple(modules), batch(block, patches=patches, tokens=256))


def exaone45(scope: Scope, top: Config, dims: Dims) -> Tower:
    """EXAONE 4.5: Qwen2.5-VL's tower with fewer heads for keys and values."""
    config = top.section("vision_config")
    hidden, heads = config.integer("hidden_size", default=2048), config.integer("num_heads", default=32)
    patch, merge = config.integer("patch_size", default=14), config.integer("spatial_merge_size", default=2)
    joined = hidden * merge**2
    block = Block(
        hidden=hidden,
        width=config.integer("intermediate_size", default=5120),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", default=8),
        gated=True,
        norm_bias=False,
        names=("attn.qkv", "attn.proj", "mlp.gate_up_proj", "mlp.down_proj"),
        mlp_parts=("gate_proj", "up_proj"),
    )
    channels, frames = config.integer("in_channels", "in_chans", default=3), config.integer("temporal_patch_size", default=2)
    modules = [
        *convolution("visual.patch_embed.proj", hidden, channels, frames, patch, patch, bias=False),
        *encoder(scope, "visual.blocks", config.integer("depth", default=28, high=500), block),
        *norm("visual.merger.ln_q", hidden),
        scope.column("visual.merger.mlp.0", joined, (joined,), bias=True, role=Role.PROJECTION),
        scope.row("visual.merger.mlp.2", joined, config.integer("out_hidden_size", default=dims.hidden), bias=True, role=Role.PROJECTION),
    ]
    return Tower(tuple(modules), batch(block, patches=65_536, tokens=16_384), (plain("visual.rotary_pos_emb", 8192, hidden // heads // 2),))

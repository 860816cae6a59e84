"""Towers of Phi-3 Vision, Keye and Ovis.

Sources: vllm/model_executor/models/{phi3v,keye,keye_vl1_5,ovis,ovis2_5,aimv2,siglip2navit}.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, embedding, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose, siglip, square_patches
from planner.architecture.towers.llava import clip_encoder
from planner.architecture.towers.tower import Tower, TowerBuilder
from planner.facts.modules import Module, Role

_CLIP_336 = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "image_size": 336, "patch_size": 14}


def phi3_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Phi-3 and 3.5 Vision: CLIP's large tower of 336 pixels, and the embedding of words once more."""
    level = top.section("img_processor").integer("layer_idx", default=-2, low=-500)
    tower, at = clip_encoder(scope, Config(_CLIP_336, top.path), "vision_embed_tokens.img_processor.vision_model", levels=[level]), "vision_embed_tokens"
    joined = 4 * tower.hidden
    modules = [
        embedding(dims.vocab, dims.hidden),
        *tower.modules,
        plain(f"{at}.glb_GN", joined),
        plain(f"{at}.sub_GN", joined),
        loose(f"{at}.img_projection.0", joined, dims.hidden),
        loose(f"{at}.img_projection.2", dims.hidden, dims.hidden),
    ]
    return Tower(tuple(modules), tower.spec(17, tower.patches // 4), tower.buffers)


def keye(*, joined_norm: bool) -> TowerBuilder:
    """Keye: SigLIP with a second table of positions; 1.5 norms four patches together."""

    def build(scope: Scope, top: Config, dims: Dims) -> Tower:
        config, at = top.section("vision_config"), "visual.vision_model"
        patches = square_patches(config, image=384)
        modules, block = siglip(scope, config, at, positions=patches)
        joined = 4 * block.hidden
        modules += [
            plain(f"{at}.embeddings.packing_position_embedding", 32_768, block.hidden),
            *norm("mlp_AR.pre_norm", joined if joined_norm else block.hidden, bias=True),
            scope.column("mlp_AR.linear_1", joined, (joined,), bias=True, role=Role.PROJECTION),
            scope.row("mlp_AR.linear_2", joined, dims.hidden, bias=True, role=Role.PROJECTION),
        ]
        buffers = (plain("position_ids", patches, bits=64), plain("rotary_pos_emb.inv_freq", block.hidden // block.heads // 4, bits=32))
        return Tower(tuple(modules), batch(block, patches=16_384, tokens=4096), buffers)

    return build


def _visual_words(inputs: int, words: int, reserved: int, dims: Dims) -> list[Module]:
    """Ovis turns patches into shares of visual words, which have an embedding of their own."""
    kept = words - reserved
    return [
        loose("visual_tokenizer.head.0", inputs, kept, bias=False),
        *norm("visual_tokenizer.head.1", kept, bias=True),
        plain("vte", words, dims.hidden),
    ]


def _aimv2(scope: Scope, config: Config, at: str) -> tuple[list[Module], Block]:
    bias, mlp_bias = config.flag("qkv_bias", default=False), config.flag("mlp_bias", "use_bias", default=False)
    block = Block(
        hidden=config.integer("hidden_size", default=1024),
        width=config.integer("intermediate_size", default=2816),
        heads=config.integer("num_attention_heads", default=8),
        qkv_bias=bias,
        output_bias=mlp_bias,
        mlp_bias=mlp_bias,
        gated=True,
        norm_bias=False,
        names=("attn.qkv", "attn.proj", "mlp.fc13", "mlp.fc2"),
    )
    patch = config.integer("patch_size", default=14)
    modules = [
        *convolution(f"{at}.preprocessor.patchifier.proj", block.hidden, config.integer("num_channels", default=3), patch, patch),
        *norm(f"{at}.preprocessor.patchifier.norm", block.hidden),
        plain(f"{at}.preprocessor.pos_embed", square_patches(config), block.hidden),
        *encoder(scope, f"{at}.trunk.blocks", config.integer("num_hidden_layers", default=24, high=500), block),
    ]
    return modules, block


def ovis(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Ovis 1.6 and 2: SigLIP or AIMv2 (without its last norm) before visual words."""
    config = top.section("visual_tokenizer_config")
    backbone, at = config.section("backbone_config"), "visual_tokenizer.backbone"
    patches, stride = square_patches(backbone), config.integer("hidden_stride", default=1)
    if backbone.text("model_type", default="aimv2_vision_model") == "siglip_vision_model":
        modules, block = siglip(scope, backbone, f"{at}.vision_model", positions=patches)
    else:
        modules, block = _aimv2(scope, backbone, at)
    modules += _visual_words(block.hidden * stride**2, config.integer("vocab_size", default=16_384), 5, dims)
    return Tower(tuple(modules), batch(block, patches=10 * patches, tokens=10 * patches // stride**2))


def ovis25(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Ovis 2.5 and 2.6: SigLIP 2 at any resolution before visual words."""
    config, at = top.section("vit_config"), "visual_tokenizer.vit.vision_model"
    count = config.integer("num_patches", default=-1, low=-1)
    positions = count if count > 0 else square_patches(config, image=512, patch=16)
    stride = config.integer("hidden_stride", default=2)
    modules, block = siglip(scope, Config({"patch_size": 16, **config.data}, config.path), at, positions=positions, tiled=False)
    modules += _visual_words(block.hidden * stride**2, top.integer("visual_vocab_size", default=65_536), 4, dims)
    buffers = (plain("rotary_pos_emb.inv_freq", block.hidden // block.heads // 4, bits=32),)
    return Tower(tuple(modules), batch(block, patches=12_544, tokens=12_544 // stride**2), buffers)

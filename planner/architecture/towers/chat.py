"""Towers of chat models whose config comes with their own code: InternVL and its kin, MiniCPM-V and -o, Eagle 2.5, Bee, R-VL, Muse Glimmer.

Sources: vllm/model_executor/models/{internvl,intern_vit,h2ovl,skyworkr1v,nvlm_d,minicpmv,minicpmo,eagle2_5_vl,bee,rvl,muse_glimmer}.py, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.architecture.blocks import Scope, cast, norm, plain
from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED
from planner.architecture.text import Dims
from planner.architecture.towers.audio import whisper_block, whisper_layers
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose, siglip, square_patches
from planner.architecture.towers.llava import clip_encoder, feature_levels
from planner.architecture.towers.tower import Tower, TowerBuilder
from planner.facts.modules import Module, Role, Split

Joint = Callable[[Scope, int, Dims], list[Module]]


def _select(top: Config, config: Config, default: int) -> int:
    """Layers up to the one whose output is taken; negative ones count from the end."""
    depth, level = config.integer("num_hidden_layers", default=default, high=500), top.integer("select_layer", default=-1, low=-500)
    return depth + level + 1 if level < 0 else level + 1


def _joined(top: Config) -> int:
    return int(1 / min(1.0, max(0.01, top.number("downsample_ratio", default=0.5)))) ** 2


def two_layers(scope: Scope, inputs: int, dims: Dims) -> list[Module]:
    """A norm and two matrices of torch's own."""
    return [*norm("mlp1.0", inputs, bias=True), loose("mlp1.1", inputs, dims.hidden), loose("mlp1.3", dims.hidden, dims.hidden)]


def skywork_layers(scope: Scope, inputs: int, dims: Dims) -> list[Module]:
    """The same as layers of vLLM, which a checkpoint may quantize."""
    return [
        *norm("mlp1.0", inputs, bias=True),
        scope.replicated("mlp1.1", inputs, (dims.hidden,), bias=True, role=Role.PROJECTION),
        scope.replicated("mlp1.3", dims.hidden, (dims.hidden,), bias=True, role=Role.PROJECTION),
    ]


def wide_layers(scope: Scope, inputs: int, dims: Dims) -> list[Module]:
    """NVLM: through the width of the text model's MLP, without biases."""
    return [
        *norm("mlp1.0", inputs, bias=True),
        loose("mlp1.1", inputs, dims.intermediate, bias=False),
        loose("mlp1.3", dims.intermediate, dims.hidden, bias=False),
    ]


def intern_vit(joint: Joint, *, dummy_heads: int = 0) -> TowerBuilder:
    """InternViT and what joins it: attention split where ranks divide the heads (NVLM adds some so that they do), the MLP always."""

    def build(scope: Scope, top: Config, dims: Dims) -> Tower:
        config, at = top.section("vision_config"), "vision_model"
        hidden, heads = config.integer("hidden_size", default=3200), config.integer("num_attention_heads", default=25)
        inner = hidden // heads * (heads + dummy_heads)
        block = Block(
            hidden=hidden,
            width=config.integer("intermediate_size", default=12_800),
            heads=heads + dummy_heads,
            inner=inner,
            qkv_bias=config.flag("qkv_bias", default=False),
            norm_bias=config.text("norm_type", default="rms_norm") == "layer_norm",
            vectors=(hidden, hidden, *((inner, inner) if config.flag("qk_normalization", default=True) else ())),
            split=Split.EVEN,
            mlp_split=Split.TP,
        )
        patch, patches = config.integer("patch_size", default=14), square_patches(config)
        modules = [
            plain(f"{at}.embeddings.class_embedding", hidden),
            *convolution(f"{at}.embeddings.patch_embedding", hidden, 3, patch, patch),
            plain(f"{at}.embeddings.position_embedding", patches + 1, hidden),
            *encoder(scope, f"{at}.encoder.layers", _select(top, config, 48), block),
            *joint(scope, hidden * _joined(top), dims),
        ]
        return Tower(tuple(modules), batch(block, patches=13 * (patches + 1), tokens=13 * patches // _joined(top)))

    return build


def qianfan(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Qianfan-OCR: InternViT under the keys of Hugging Face's class (qianfan_ocr.py)."""
    config = top.section("vision_config")
    squares = {key: value[0] for key in ("image_size", "patch_size") if isinstance(value := config.data.get(key), list) and value}
    renamed = {"qkv_bias": config.flag("attention_bias", default=True), "qk_normalization": config.flag("use_qk_norm", default=False)}
    same = {"norm_type": "layer_norm", **renamed, **config.data, **squares}
    held = scope.plain() if scope.quantization.name == "fp8" else scope  # that reader's alone is told to leave the tower out
    return intern_vit(two_layers)(held, Config({**top.data, "vision_config": same}, top.path), dims)


def eagle(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Eagle 2.5: SigLIP, four patches joined and projected twice."""
    config = top.section("vision_config")
    depth, total = _select(top, config, 27), config.integer("num_hidden_layers", default=27, high=500)
    patches = square_patches(config, image=448)
    modules, block = siglip(scope, config, "vision_model.vision_model", positions=patches, depth=depth, post_norm=depth == total)
    modules += two_layers(scope, block.hidden * _joined(top), dims)
    return Tower(tuple(modules), batch(block, patches=13 * patches, tokens=13 * patches // _joined(top)), (plain("position_ids", patches, bits=64),))


def normed_onevision(width: int) -> TowerBuilder:
    """Bee and R-VL: LLaVA-OneVision with a norm before two matrices, `width` times the text model's size between them."""

    def build(scope: Scope, top: Config, dims: Dims) -> Tower:
        at, patches = "multi_modal_projector", square_patches(top.section("vision_config"), image=384)
        tower = clip_encoder(scope, top.section("vision_config"), "vision_tower.vision_model", levels=feature_levels(top))
        projector = (
            *norm(f"{at}.pre_norm", tower.hidden, bias=True),
            loose(f"{at}.linear_1", tower.hidden, dims.hidden * width),
            loose(f"{at}.linear_2", dims.hidden * width, dims.hidden),
        )
        return Tower(tuple(tower.modules), tower.spec(10, patches), tower.buffers, every=projector)

    return build


def minicpmv_text(config: Config) -> list[str]:
    """The text model of a MiniCPM-V or -o, which its version decides (minicpmv.py get_version_by_config, minicpmo.py)."""
    version = str(config.data.get("version", "2.5"))
    return [{"2.5": "LlamaForCausalLM", "4.0": "LlamaForCausalLM", "2.6": "Qwen2ForCausalLM", "4.5": "Qwen3ForCausalLM"}.get(version, "")]


def _resampler(scope: Scope, inputs: int, dims: Dims, queries: int) -> list[Module]:
    """Learned queries that read the patches; torch's own attention."""
    at, hidden = "resampler", dims.hidden
    return [
        plain(f"{at}.query", queries, hidden),
        cast(scope.replicated(f"{at}.kv_proj", inputs, (hidden,), role=Role.PROJECTION)),
        loose(f"{at}.attn.in_proj", hidden, 3 * hidden),
        loose(f"{at}.attn.out_proj", hidden, hidden),
        *(module for name in ("ln_q", "ln_kv", "ln_post") for module in norm(f"{at}.{name}", hidden, bias=True)),
        plain(f"{at}.proj", hidden, hidden),
    ]


def minicpmv(scope: Scope, top: Config, dims: Dims) -> Tower:
    """MiniCPM-V: SigLIP at any shape, 64 queries a tile."""
    config = top.section("vision_config")
    dropped = int(top.flag("drop_vision_last_layer", default=True))
    depth = config.integer("num_hidden_layers", default=27, high=500) - dropped
    patches, queries = square_patches(config, image=980), top.integer("query_num", default=64)
    modules, block = siglip(scope, config, "vpm", positions=patches, depth=depth, tiled=False)
    modules += _resampler(scope, block.hidden, dims, queries)
    return Tower(tuple(modules), batch(block, patches=10 * 1024, tokens=10 * queries))


def minicpmo_audio(scope: Scope, top: Config, dims: Dims) -> Tower:
    """MiniCPM-o: transformers' Whisper encoder and a two-layer projector."""
    config = top.section("audio_config")
    block = replace(whisper_block(config), loose=True, key_bias=False)
    positions, inputs = config.integer("max_source_positions", default=1500), block.width // 4
    modules = [
        *whisper_layers(scope, config, block, "apm"),
        plain("apm.embed_positions", positions, block.hidden),
        loose("audio_projection_layer.linear1", inputs, dims.hidden),
        loose("audio_projection_layer.linear2", dims.hidden, dims.hidden),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // 4))


def minicpmv46(scope: Scope, top: Config, dims: Dims) -> Tower:
    """MiniCPM-V 4.6 and 4.7: SigLIP, windows of patches merged inside the tower, a merger behind it."""
    config = top.section("vision_config")
    patches = square_patches(config, image=980)
    modules, block = siglip(scope, config, "vpm", positions=patches, tiled=False)
    hidden, joined, at = block.hidden, 4 * block.hidden, "vit_merger"
    modules += [
        scope.column(f"{at}.self_attn.qkv_proj", hidden, (hidden, hidden, hidden), bias=True, parts=("q_proj", "k_proj", "v_proj"), role=Role.QKV),
        scope.row(f"{at}.self_attn.out_proj", hidden, hidden, bias=True, role=Role.ATTENTION_OUTPUT),
        *norm(f"{at}.layer_norm1", hidden, bias=True),
        *norm(f"{at}.pre_norm", joined, bias=True),
        loose(f"{at}.linear_1", joined, 4 * block.width),
        loose(f"{at}.linear_2", 4 * block.width, hidden),
        *norm("merger.mlp.0.pre_norm", joined, bias=True),
        loose("merger.mlp.0.linear_1", joined, joined),
        loose("merger.mlp.0.linear_2", joined, dims.hidden),
    ]
    return Tower(tuple(modules), batch(block, patches=10 * 1024, tokens=640))


def muse_glimmer(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Muse Glimmer: a ViT over pairs of frames, attention split where ranks divide the heads, four patches joined and projected twice; never quantized.

    The longest item is a film of 48 pairs, 144 embeddings each (transformers video_processing_muse_glimmer.py, 5.20).
    """
    config, whole = top.section("vision_config"), Scope(top, UNQUANTIZED)
    hidden, width = config.integer("hidden_size", default=1536), config.integer("intermediate_size", default=8960)
    heads = config.integer("num_attention_heads", default=16)
    block = Block(
        hidden=hidden, width=width, heads=heads, split=Split.EVEN, mlp_split=Split.WHOLE, names=("attn.qkv_proj", "attn.o_proj", "mlp.c_fc", "mlp.c_proj")
    )
    patch, frames = config.integer("patch_size", default=14), config.integer("patch_temporal", default=2)
    positions = config.integer("pos_emb_height", default=32) * config.integer("pos_emb_width", default=32)
    joined, between = top.integer("out_hidden_size", default=6144), top.integer("projector_hidden_size", default=4096)
    modules = [
        loose("vision_encoder.conv1_linear", 3 * frames * patch**2, hidden, bias=False),
        plain("vision_encoder.positional_embedding_vlm", positions, hidden),
        *norm("vision_encoder.ln_pre", hidden, bias=True),
        *encoder(whole, "vision_encoder.transformer", config.integer("num_hidden_layers", default=50, high=500), block),
        *norm("vision_encoder.ln_post", hidden, bias=True),
        loose("vision_adapter.c_fc", joined, between, bias=False),
        loose("vision_adapter.c_proj", between, between, bias=False),
        loose("vision_projection", between, dims.hidden, bias=False),
    ]
    return Tower(tuple(modules), batch(block, patches=4 * 48 * 144, tokens=48 * 144))

"""Towers of models that read documents: PaddleOCR-VL, GLM-OCR, DeepSeek-OCR and DeepSeek-VL2, dots.ocr.

Sources: vllm/model_executor/models/{paddleocr_vl,glm_ocr,deepencoder,deepseek_ocr,deepseek_vl2,dots_ocr}.py, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from planner.architecture.blocks import Scope, cast, norm, plain
from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED
from planner.architecture.text import Dims
from planner.architecture.towers import held
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose, siglip, square_patches
from planner.architecture.towers.tower import Tower
from planner.errors import UnsupportedModelError
from planner.facts.modules import Linear, Module, Role
from planner.facts.storage import BF16


def paddleocr(scope: Scope, top: Config, dims: Dims) -> Tower:
    """PaddleOCR-VL: SigLIP at any resolution, four patches joined and projected twice."""
    config = top.section("vision_config")
    patches = square_patches(config, image=384)
    modules, block = siglip(scope, config, "visual.vision_model", positions=patches)
    joined = 4 * block.hidden
    modules += [
        *norm("mlp_AR.pre_norm", block.hidden, bias=True),
        loose("mlp_AR.linear_1", joined, joined),
        loose("mlp_AR.linear_2", joined, dims.hidden),
    ]
    buffers = (plain("position_ids", patches, bits=64), plain("rotary_pos_emb.inv_freq", block.hidden // block.heads // 4, bits=32))
    return Tower(tuple(modules), batch(block, patches=16_384, tokens=4096), buffers)


def glm_ocr(scope: Scope, top: Config, dims: Dims) -> Tower:
    """GLM-OCR: as GLM-4V with norms of queries and keys, biases, no learned positions; the merger is as wide as the text model's MLP."""
    config = top.section("vision_config")
    hidden, out = config.integer("hidden_size", default=1024), config.integer("out_hidden_size", default=1536)
    heads, patch, merge = config.integer("num_heads", default=16), config.integer("patch_size", default=14), config.integer("spatial_merge_size", default=2)
    head = hidden // heads
    block = Block(
        hidden=hidden,
        width=config.integer("intermediate_size", default=4096),
        heads=heads,
        gated=True,
        norm_bias=False,
        vectors=(head, head),
        names=("attn.qkv_proj", "attn.proj", "mlp.gate_up_proj", "mlp.down_proj"),
        parts=("q_proj", "k_proj", "v_proj"),
        mlp_parts=("gate_proj", "up_proj"),
    )
    modules = [
        *convolution("visual.patch_embed.proj", hidden, 3, config.integer("temporal_patch_size", default=2), patch, patch),
        *encoder(scope, "visual.blocks", config.integer("depth", default=24, high=500), block),
        scope.column("visual.merger.proj", out, (out,), role=Role.PROJECTION),
        *norm("visual.merger.post_projection_norm", out, bias=True),
        *scope.gated_mlp("visual.merger", out, dims.intermediate),
        *convolution("visual.downsample", out, hidden, merge, merge),
        *norm("visual.post_layernorm", hidden),
    ]
    return Tower(tuple(modules), batch(block, patches=65_536, tokens=16_384), (plain("visual.rotary_pos_emb", 8192, head // 2),))


def _projector(top: Config, dims: Dims) -> list[Module]:
    """DeepSeek's projector: one matrix, or several over joined patches."""
    config = top.section("projector_config")
    inputs, out = config.integer("input_dim", default=1152), config.integer("n_embed", default=2048)
    kind = config.text("projector_type", default="downsample_mlp_gelu")
    if kind == "linear":
        return [loose("projector.layers", inputs, out)]
    if kind != "downsample_mlp_gelu":
        raise UnsupportedModelError(f"{config.path}: a {kind} projector is not supported here", "expected linear or downsample_mlp_gelu")
    width, depth = out * config.integer("mlp_ratio", default=1), config.integer("depth", default=2, high=100)
    sizes = [inputs * config.integer("downsample_ratio", default=2) ** 2, *[width] * (depth - 1), out]
    return [loose(f"projector.layers.{index}", first, second) for index, (first, second) in enumerate(pairwise(sizes))]


def line_ends(*names: str) -> Callable[[Scope, Dims], list[Module]]:
    """What DeepSeek puts behind rows and views of an image: parameters of the whole model, which every pipeline stage builds."""
    return lambda scope, dims: [plain(name, dims.hidden) for name in names]


def deepseek_vl2(scope: Scope, top: Config, dims: Dims) -> Tower:
    """DeepSeek-VL2: timm's SigLIP So400m of 384 pixels, whatever the config says; its pooling head is built, used or not.

    Where ranks divide it, and only there, its MLPs become vLLM's own, which a checkpoint may quantize; all of it is then brought to the model's dtype.
    """
    block, patches = Block(hidden=1152, width=4304, heads=16), 27**2

    def mlp(at: str) -> list[Module]:
        """Two matrices, known to a quantization without the tower's name."""
        pair = scope.plain_mlp(f"{at}.mlp.fc1", f"{at}.mlp.fc2", block.hidden, block.width, bias=True)
        return [replace(cast(module), name=f"vision.{module.name}", whole_storage=BF16) for module in pair if isinstance(module, Linear)]

    def layer(at: str) -> list[Module]:
        return [
            loose(f"vision.{at}.attn.qkv", block.hidden, 3 * block.hidden),
            loose(f"vision.{at}.attn.proj", block.hidden, block.hidden),
            *mlp(at),
            *norm(f"vision.{at}.norm1", block.hidden, bias=True),
            *norm(f"vision.{at}.norm2", block.hidden, bias=True),
        ]

    modules = [
        *convolution("vision.patch_embed.proj", block.hidden, 3, 14, 14),
        plain("vision.pos_embed", patches, block.hidden),
        *(module for index in range(27) for module in layer(f"blocks.{index}")),
        *norm("vision.norm", block.hidden, bias=True),
        plain("vision.attn_pool.latent", block.hidden),
        loose("vision.attn_pool.q", block.hidden, block.hidden),
        loose("vision.attn_pool.kv", block.hidden, 2 * block.hidden),
        loose("vision.attn_pool.proj", block.hidden, block.hidden),
        *norm("vision.attn_pool.norm", block.hidden, bias=True),
        *mlp("attn_pool"),
        *_projector(top, dims),
    ]
    return Tower(tuple(modules), batch(block, patches=10 * patches, tokens=10 * patches // 4))


def _sam(scope: Scope, last: int) -> list[Module]:
    """SAM's base encoder with relative positions, its neck and two more convolutions."""
    hidden, at = 768, "sam_model"
    modules: list[Module] = [*convolution(f"{at}.patch_embed.proj", hidden, 3, 16, 16), plain(f"{at}.pos_embed", 64, 64, hidden)]
    for index in range(12):
        window = 64 if index in (2, 5, 8, 11) else 14
        block = Block(hidden=hidden, width=4 * hidden, heads=12, loose=True, vectors=((2 * window - 1) * 64,) * 2)
        modules += encoder(scope, f"{at}.blocks.{index}", 1, block)
    return [
        *modules,
        *convolution(f"{at}.neck.0", 256, hidden, 1, 1, bias=False),
        *norm(f"{at}.neck.1", 256, bias=True),
        *convolution(f"{at}.neck.2", 256, 256, 3, 3, bias=False),
        *norm(f"{at}.neck.3", 256, bias=True),
        *convolution(f"{at}.net_2", 512, 256, 3, 3, bias=False),
        *convolution(f"{at}.net_3", last, 512, 3, 3, bias=False),
    ]


def deepseek_ocr(scope: Scope, top: Config, dims: Dims) -> Tower:
    """DeepSeek-OCR: SAM's encoder before CLIP's large one; both of one size in every checkpoint."""
    block = Block(
        hidden=1024,
        width=4096,
        heads=16,
        names=("self_attn.qkv_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"),
        parts=("q_proj", "k_proj", "v_proj"),
    )
    at = "vision_model"
    modules = [
        *_sam(scope, 1024),
        plain(f"{at}.embeddings.class_embedding", block.hidden),
        *convolution(f"{at}.embeddings.patch_embedding", block.hidden, 3, 14, 14, bias=False),
        plain(f"{at}.embeddings.position_embedding", 257, block.hidden),
        *norm(f"{at}.pre_layrnorm", block.hidden, bias=True),
        *encoder(scope, f"{at}.transformer.layers", 24, block),
        *_projector(top, dims),
    ]
    return Tower(tuple(modules), batch(block, patches=4096, tokens=1156), (plain("position_ids", 257, bits=64),))


def deepseek_ocr2(scope: Scope, top: Config, dims: Dims) -> Tower:
    """DeepSeek-OCR 2: SAM's encoder before a small Qwen2 that reads learned queries, whole on every rank."""
    block = Block(hidden=896, width=4864, heads=14, kv_heads=2, output_bias=False, mlp_bias=False, gated=True, norm_bias=False, loose=True)
    at = "qwen2_model"
    modules = [
        *_sam(scope, 896),
        *encoder(scope, f"{at}.model.layers", 24, block),
        *norm(f"{at}.model.norm", block.hidden),
        plain(f"{at}.query_768", 144, block.hidden),
        plain(f"{at}.query_1024", 256, block.hidden),
        *_projector(top, dims),
    ]
    return Tower(tuple(modules), batch(block, patches=4096, tokens=1120))


def dots_ocr(scope: Scope, top: Config, dims: Dims) -> Tower:
    """dots.ocr: gated MLPs and RMS norms at any resolution, a merger that is never quantized."""
    config, at = top.section("vision_config"), "vision_tower"
    bias = config.flag("use_bias", default=False)
    block = Block(
        hidden=config.integer("embed_dim", default=1536),
        width=config.integer("intermediate_size", default=4224),
        heads=config.integer("num_attention_heads", default=12),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        gated=True,
        norm_bias=False,
        names=("attn.qkv", "attn.proj", "mlp.fc13", "mlp.fc2"),
        mlp_parts=("fc1", "fc3"),
    )
    patch, merge = config.integer("patch_size", default=14), config.integer("spatial_merge_size", default=2)
    joined, out, whole = block.hidden * merge**2, config.integer("hidden_size", default=1536), Scope(config, UNQUANTIZED)
    modules = [
        *convolution(f"{at}.patch_embed.patchifier.proj", block.hidden, config.integer("num_channels", default=3), patch, patch),
        *norm(f"{at}.patch_embed.patchifier.norm", block.hidden),
        *encoder(scope, f"{at}.blocks", config.integer("num_hidden_layers", default=42, high=500), block),
        *(norm(f"{at}.post_trunk_norm", block.hidden) if config.flag("post_norm", default=True) else []),
        *norm(f"{at}.merger.ln_q", block.hidden, bias=True),
        whole.column(f"{at}.merger.mlp.0", joined, (joined,), bias=True, role=Role.PROJECTION),
        whole.row(f"{at}.merger.mlp.2", joined, out, bias=True, role=Role.PROJECTION),
    ]
    buffers = (plain("rotary_pos_emb.inv_freq", block.hidden // block.heads // 4, bits=32),)
    pixels = config.integer("num_channels", default=3) * patch**2 * config.integer("temporal_patch_size", default=1)
    spec = batch(block, patches=57_600, tokens=14_400)
    return Tower(tuple(modules), replace(spec, peaks=held.dots(block.hidden, block.width, pixels, block.hidden // block.heads)), buffers)

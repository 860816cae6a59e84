"""More vision towers, as vLLM 0.33 builds them: Kimi's MoonViT, GLM-4V."""

from __future__ import annotations

from dataclasses import replace

from planner.architecture.blocks import Scope, addend, cast, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.architecture.towers.tower import Tower
from planner.facts.model import VisionSpec
from planner.facts.modules import Axis, Linear, Module, Role, Split


def kimi_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Kimi-VL, K2.5 and K3: MoonViT (with time since K2.5) and a patch-merger projector; never quantized. Defaults are MoonViTConfig's."""
    config = top.section("vision_config")
    hidden, width = config.integer("vt_hidden_size", "hidden_size", default=1152), config.integer("vt_intermediate_size", "intermediate_size", default=4304)
    depth, patch = config.integer("vt_num_hidden_layers", "num_hidden_layers", default=27, high=500), config.integer("patch_size", default=14)
    heads = config.integer("vt_num_attention_heads", "num_attention_heads", default=16)
    qkv = config.integer("qkv_hidden_size", default=hidden)
    kernel = config.integers("merge_kernel_size", low=1, count=2) if config.has("merge_kernel_size") else [2, 2]
    merged = hidden * kernel[0] * kernel[1]
    height, wide = config.integer("init_pos_emb_height", default=64), config.integer("init_pos_emb_width", default=64)
    bias, attention_bias, rms = config.flag("linear_bias", default=True), config.flag("attn_bias", default=True), config.data.get("norm_type") == "rmsnorm"
    after = config.data.get("mm_projector_type") == "patchmergerv2"
    # K2.5's may be quantized, but by compressed-tensors (kimi_k25.py _maybe_ignore_quant_config)
    whole = scope if config.has("vt_hidden_size") and scope.quantization.name != "compressed-tensors" else scope.plain()
    modules: list[Module] = [
        plain("vision_tower.patch_embed.proj", hidden, 3, patch, patch),
        *([addend("vision_tower.patch_embed.proj.bias", hidden)] if config.flag("patch_embed_proj_bias", default=True) else []),
        plain("vision_tower.patch_embed.pos_emb", height, wide, hidden),
        *norm("vision_tower.encoder.final_layernorm", hidden, bias=not rms),
        *(norm("mm_projector.post_norm", dims.hidden) if after else norm("mm_projector.pre_norm", hidden, bias=True)),
        cast(whole.replicated("mm_projector.linear_1", merged, (merged,), bias=not after, role=Role.PROJECTION)),
        cast(whole.replicated("mm_projector.linear_2", merged, (dims.hidden,), bias=not after, role=Role.PROJECTION)),
    ]
    for index in range(depth):
        at = f"vision_tower.encoder.blocks.{index}"
        divided = [
            *whole.plain_mlp(f"{at}.mlp.fc0", f"{at}.mlp.fc1", hidden, width, bias=bias),
            whole.column(f"{at}.wqkv", hidden, (qkv, qkv, qkv), bias=attention_bias, role=Role.QKV),
            whole.row(f"{at}.wo", qkv, hidden, bias=attention_bias, role=Role.ATTENTION_OUTPUT),
        ]
        modules += [*norm(f"{at}.norm0", hidden, bias=not rms), *norm(f"{at}.norm1", hidden, bias=not rms)]
        modules += [_even(module, heads) for module in divided] if config.has("vt_hidden_size") else divided
    spec = VisionSpec(
        hidden_size=hidden, intermediate_size=width, heads=heads, max_patches=height * wide, tokens_per_item=height * wide // (kernel[0] * kernel[1])
    )
    time_bits = 32 if after else 16
    times = (plain("time_weight", config.integer("init_pos_emb_time", default=4), 1, hidden, bits=time_bits),) if config.has("vt_hidden_size") else ()
    return Tower(tuple(modules), spec, times)


def _even(module: Module, heads: int) -> Module:
    """The same module, replicated where ranks do not divide the heads (model_executor/models/vision.py is_vit_use_data_parallel)."""

    def axis(axis: Axis) -> Axis:
        return Axis(axis.size, Split.EVEN, heads) if axis.split is Split.TP else axis

    return replace(module, inputs=axis(module.inputs), outputs=tuple(map(axis, module.outputs))) if isinstance(module, Linear) else module


def glm4_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """GLM-4.1V and 4.5V: gated MLPs as wide as the text model, a convolution that merges patches. Defaults are Glm4vVisionConfig's."""
    config = top.section("vision_config")
    hidden, depth = config.integer("hidden_size", default=1536), config.integer("depth", default=24, high=500)
    out, width = config.integer("out_hidden_size", default=4096), config.integer("intermediate_size", default=13_696)
    patch, merge = config.integer("patch_size", default=14), config.integer("spatial_merge_size", default=2)
    patches, heads = (config.integer("image_size", default=336) // patch) ** 2, config.integer("num_heads", default=12)
    modules: list[Module] = [
        plain("visual.patch_embed.proj", hidden, 3, config.integer("temporal_patch_size", default=2), patch, patch),
        addend("visual.patch_embed.proj.bias", hidden),
        plain("visual.embeddings.position_embedding", patches, hidden),
        *norm("visual.post_conv_layernorm", hidden),
        *norm("visual.post_layernorm", hidden),
        plain("visual.downsample", out, hidden, merge, merge),
        addend("visual.downsample.bias", out),
        scope.column("visual.merger.proj", out, (out,), role=Role.PROJECTION),
        *norm("visual.merger.post_projection_norm", out, bias=True),
        *scope.gated_mlp("visual.merger", out, width),
    ]
    for index in range(depth):
        at = f"visual.blocks.{index}"
        modules += [
            *norm(f"{at}.norm1", hidden),
            *norm(f"{at}.norm2", hidden),
            scope.column(f"{at}.attn.qkv", hidden, (hidden, hidden, hidden), parts=("qkv",), role=Role.QKV, heads=heads),
            scope.row(f"{at}.attn.proj", hidden, hidden, role=Role.ATTENTION_OUTPUT),
            *scope.gated_mlp(f"{at}.mlp", hidden, out),
        ]
    spec = VisionSpec(hidden_size=hidden, intermediate_size=2 * out, heads=heads, max_patches=65_536, tokens_per_item=16_384)
    buffers = (plain("visual.rotary_pos_emb", 8192, hidden // heads // 2), plain("visual.embeddings.position_ids", patches, bits=64))
    return Tower(tuple(modules), spec, buffers)

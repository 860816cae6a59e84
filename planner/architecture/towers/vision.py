"""Vision towers and projectors, as vLLM 0.33 builds and splits them (model_executor/models/<tower>.py).

Every pipeline stage builds the tower; a tensor-parallel rank holds its share of the projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.architecture.blocks import Scope, addend, norm, plain, unquantized
from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED
from planner.architecture.text import Dims
from planner.architecture.towers import held
from planner.architecture.towers.tower import Tower
from planner.facts.model import VisionSpec
from planner.facts.modules import Module, Role, Tensor

# Two frames make one; of at most 14 frames, each as large as a picture (vLLM model_executor/models/qwen2_vl.py _MAX_FRAMES_PER_VIDEO, 0.11 to 0.33).
FILM_SLICES = 7


def _pixels(config: Config, patch: int, temporal: int = 0) -> int:
    """Numbers of a patch that goes into the tower."""
    return config.integer("in_channels", default=3) * (temporal or config.integer("temporal_patch_size", default=2)) * patch**2


Mergers = tuple[str, str, str]
"""What a class calls the two matrices of a merger, and the mergers of its deepstack levels."""


def _merger(scope: Scope, name: str, matrices: Sequence[str], sizes: tuple[int, int, int]) -> list[Module]:
    (first, second), (inputs, outputs, norm_size) = matrices, sizes
    return [
        *norm(f"{name}.norm", norm_size, bias=True),
        scope.column(f"{name}.{first}", inputs, (inputs,), bias=True, role=Role.PROJECTION),
        scope.row(f"{name}.{second}", inputs, outputs, bias=True, role=Role.PROJECTION),
    ]


def qwen3_vision(scope: Scope, top: Config, dims: Dims, mergers: Mergers = ("linear_fc1", "linear_fc2", "deepstack_merger_list")) -> Tower:
    """Qwen3-VL and Qwen3.5: patches of 16, learned positions, one merger, one more for each deepstack level."""
    *matrices, levels_at = mergers
    config = top.section("vision_config")
    hidden, depth, width = config.integer("hidden_size"), config.integer("depth", high=500), config.integer("intermediate_size")
    patch, temporal = config.integer("patch_size"), config.integer("temporal_patch_size", default=2)
    merge = config.integer("spatial_merge_size", default=2)
    merged = hidden * merge**2
    out = config.integer("out_hidden_size")
    modules: list[Module] = [
        plain("visual.patch_embed.proj", hidden, config.integer("in_channels", default=3), temporal, patch, patch),
        addend("visual.patch_embed.proj.bias", hidden),
        plain("visual.pos_embed", config.integer("num_position_embeddings"), hidden),
        *_merger(scope, "visual.merger", matrices, (merged, out, hidden)),
    ]
    levels = config.integers("deepstack_visual_indexes")
    for level, _ in enumerate(levels):
        modules += _merger(scope, f"visual.{levels_at}.{level}", matrices, (merged, out, merged))
    for index in range(depth):
        at = f"visual.blocks.{index}"
        modules += [
            *norm(f"{at}.norm1", hidden, bias=True),
            *norm(f"{at}.norm2", hidden, bias=True),
            scope.column(f"{at}.attn.qkv", hidden, (hidden, hidden, hidden), bias=True, parts=("qkv",), role=Role.QKV, heads=config.integer("num_heads")),
            scope.row(f"{at}.attn.proj", hidden, hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *scope.plain_mlp(f"{at}.mlp.linear_fc1", f"{at}.mlp.linear_fc2", hidden, width, bias=True),
        ]
    heads = config.integer("num_heads")
    rope = plain("visual.rotary_pos_emb", 8192, hidden // heads // 2)
    spec = VisionSpec(
        hidden_size=hidden,
        intermediate_size=width,
        heads=heads,
        max_patches=65_536,  # preprocessor size.longest_edge 16,777,216 pixels / 16^2 (facts: from memory of the processor's default)
        tokens_per_item=65_536 // merge**2,
        extra_outputs=len(levels),
        token_side=patch * merge,
        peaks=held.qwen3(hidden, width, _pixels(config, patch, temporal) + len(levels) * out // merge**2),
    )
    return Tower(tuple(modules), spec, (rope,))


def qwen3_omni_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Qwen3-Omni: as Qwen3-VL but for the names of its mergers, its positions a square as large as `image_size` says."""
    config = top.section("vision_config")
    side = config.integer("image_size", default=768) // config.integer("patch_size", default=16)
    squared = Config({"vision_config": {**config.data, "num_position_embeddings": side**2}}, top.path)
    return qwen3_vision(scope, squared, dims, ("mlp.0", "mlp.2", "merger_list"))


def qwen25_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Qwen2.5-VL: gated MLPs, RMS norms, a two-layer merger."""
    config = top.section("vision_config")
    hidden, depth, width = config.integer("hidden_size"), config.integer("depth", high=500), config.integer("intermediate_size")
    patch, merge = config.integer("patch_size", default=14), config.integer("spatial_merge_size", default=2)
    merged = hidden * merge**2
    modules: list[Module] = [
        plain("visual.patch_embed.proj", hidden, 3, config.integer("temporal_patch_size", default=2), patch, patch),
        *norm("visual.merger.ln_q", hidden),
        scope.column("visual.merger.mlp.0", merged, (merged,), bias=True, role=Role.PROJECTION),
        scope.row("visual.merger.mlp.2", merged, config.integer("out_hidden_size"), bias=True, role=Role.PROJECTION),
    ]
    for index in range(depth):
        at = f"visual.blocks.{index}"
        modules += [
            *norm(f"{at}.norm1", hidden),
            *norm(f"{at}.norm2", hidden),
            scope.column(f"{at}.attn.qkv", hidden, (hidden, hidden, hidden), bias=True, parts=("qkv",), role=Role.QKV, heads=config.integer("num_heads")),
            scope.row(f"{at}.attn.proj", hidden, hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *scope.gated_mlp(f"{at}.mlp", hidden, width, bias=True),
        ]
    heads = config.integer("num_heads")
    spec = VisionSpec(
        hidden_size=hidden,
        intermediate_size=width,
        heads=heads,
        max_patches=65_536,
        tokens_per_item=16_384,
        token_side=patch * merge,
        film_slices=FILM_SLICES,
        peaks=held.qwen25(hidden, width, _pixels(config, patch)),
    )
    return Tower(tuple(modules), spec, (plain("visual.rotary_pos_emb", 8192, hidden // heads // 2),))


def still_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Qwen2.5-VL's tower where another processor makes the films: Qwen2.5-Omni's and OpenCUA's are not larger than a picture."""
    tower = qwen25_vision(scope, top, dims)
    return replace(tower, spec=replace(tower.spec, film_slices=0))


def qwen25_projected(scope: Scope, top: Config, dims: Dims) -> Tower:
    """HyperCLOVA X Vision 2: Qwen2.5-VL's tower and a projection behind it."""
    tower, out = still_vision(scope, top, dims), top.section("vision_config").integer("out_hidden_size")
    return Tower((*tower.modules, unquantized("mm_projector", out, dims.hidden, bias=True, role=Role.PROJECTION)), tower.spec, tower.buffers)


def openpangu_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """openPangu-VL: biased layers with RMS norms, a merger for each layer whose output is taken, one projection (openpangu_vl.py)."""
    config = top.section("vision_config")
    hidden, depth, width = config.integer("hidden_size"), config.integer("depth", high=500), config.integer("intermediate_size")
    patch, merge = config.integer("patch_size", default=14), config.integer("spatial_merge_size", default=2)
    merged, out, gated = hidden * merge**2, config.integer("out_hidden_size"), config.text("hidden_act", default="silu") == "silu"
    modules: list[Module] = [
        plain("visual.patch_embed.proj", hidden, config.integer("in_channels", default=3), config.integer("temporal_patch_size", default=2), patch, patch),
        *norm("visual.final_layernorm", hidden),
        unquantized("visual.vision_projection.fc1", out, dims.hidden, bias=True, role=Role.PROJECTION),
    ]
    for index in range(len(config.items("mm_unit_vision_select_layer")) or 2):
        at = f"visual.merger.{index}"
        modules += [
            *norm(f"{at}.ln_q", hidden),
            scope.column(f"{at}.mlp.0", merged, (merged,), bias=True, role=Role.PROJECTION),
            scope.row(f"{at}.mlp.2", merged, out, bias=True, role=Role.PROJECTION),
        ]
    for index in range(depth):
        at = f"visual.blocks.{index}"
        modules += [
            *norm(f"{at}.norm1", hidden),
            *norm(f"{at}.norm2", hidden),
            scope.column(f"{at}.attn.qkv", hidden, (hidden, hidden, hidden), bias=True, parts=("qkv",), role=Role.QKV, heads=config.integer("num_heads")),
            scope.row(f"{at}.attn.proj", hidden, hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *(
                scope.gated_mlp(f"{at}.mlp", hidden, width, bias=True)
                if gated
                else scope.plain_mlp(f"{at}.mlp.up_proj", f"{at}.mlp.down_proj", hidden, width, bias=True)
            ),
        ]
    heads = config.integer("num_heads")
    spec = VisionSpec(hidden_size=hidden, intermediate_size=width, heads=heads, max_patches=65_536, tokens_per_item=65_536 // merge**2)
    return Tower(tuple(modules), spec, (plain("visual.rotary_pos_emb.inv_freq", hidden // heads // 4, bits=32),))


def qwen2_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Qwen2-VL: plain MLPs, layer norms, a two-layer merger. Defaults are Qwen2VLVisionConfig's."""
    config = top.section("vision_config")
    hidden, depth = config.integer("embed_dim", default=1280), config.integer("depth", default=32, high=500)
    width, heads = hidden * config.integer("mlp_ratio", default=4), config.integer("num_heads", default=16)
    patch, merge = config.integer("patch_size", default=14), config.integer("spatial_merge_size", default=2)
    merged = hidden * merge**2
    modules: list[Module] = [
        plain("visual.patch_embed.proj", hidden, 3, config.integer("temporal_patch_size", default=2), patch, patch),
        *norm("visual.merger.ln_q", hidden, bias=True),
        scope.column("visual.merger.mlp.0", merged, (merged,), bias=True, role=Role.PROJECTION),
        scope.row("visual.merger.mlp.2", merged, config.integer("hidden_size", default=3584), bias=True, role=Role.PROJECTION),
    ]
    for index in range(depth):
        at = f"visual.blocks.{index}"
        modules += [
            *norm(f"{at}.norm1", hidden, bias=True),
            *norm(f"{at}.norm2", hidden, bias=True),
            scope.column(f"{at}.attn.qkv", hidden, (3 * hidden,), bias=True, role=Role.QKV, heads=heads),
            scope.row(f"{at}.attn.proj", hidden, hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *scope.plain_mlp(f"{at}.mlp.fc1", f"{at}.mlp.fc2", hidden, width, bias=True),
        ]
    spec = VisionSpec(
        hidden_size=hidden,
        intermediate_size=width,
        heads=heads,
        max_patches=65_536,
        tokens_per_item=16_384,
        token_side=patch * merge,
        film_slices=FILM_SLICES,
        peaks=held.qwen2(hidden, width, _pixels(config, patch)),
    )
    return Tower(tuple(modules), spec, (plain("visual.rotary_pos_emb", 8192, hidden // heads // 2),))


def encoder_layers(scope: Scope, at: str, depth: int, sizes: Sequence[int], *, tiled: bool = False) -> list[Module]:
    """Layers of CLIP and SigLIP of hidden size, width and heads: biases, two layer norms; SigLIP's MLP is quantized in whole tiles only."""
    hidden, width, heads = sizes
    modules, parts = list[Module](), ("q_proj", "k_proj", "v_proj")
    of_mlp = scope.if_tiled(hidden, width) if tiled else scope
    for index in range(depth):
        layer = f"{at}.encoder.layers.{index}"
        modules += [
            scope.column(f"{layer}.self_attn.qkv_proj", hidden, (hidden, hidden, hidden), bias=True, parts=parts, role=Role.QKV, heads=heads),
            scope.row(f"{layer}.self_attn.out_proj", hidden, hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *norm(f"{layer}.layer_norm1", hidden, bias=True),
            *of_mlp.plain_mlp(f"{layer}.mlp.fc1", f"{layer}.mlp.fc2", hidden, width, bias=True),
            *norm(f"{layer}.layer_norm2", hidden, bias=True),
        ]
    return modules


def siglip_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Gemma 3: SigLIP with learned positions, one projection to the text width."""
    config = top.section("vision_config")
    hidden, depth = config.integer("hidden_size", default=768), config.integer("num_hidden_layers", default=12, high=500)
    width, patch = config.integer("intermediate_size", default=3072), config.integer("patch_size", default=16)
    patches = (config.integer("image_size", default=224) // patch) ** 2
    at, heads = "vision_tower.vision_model", config.integer("num_attention_heads", default=12)
    modules: list[Module] = [
        plain(f"{at}.embeddings.patch_embedding", hidden, 3, patch, patch),
        addend(f"{at}.embeddings.patch_embedding.bias", hidden),
        plain(f"{at}.embeddings.position_embedding", patches, hidden),
        *norm(f"{at}.post_layernorm", hidden, bias=True),
        *encoder_layers(scope, at, depth, (hidden, width, heads), tiled=True),
        plain("multi_modal_projector.mm_input_projection_weight", hidden, dims.hidden),
        *norm("multi_modal_projector.mm_soft_emb_norm", hidden),
    ]
    spec = VisionSpec(
        hidden_size=hidden,
        intermediate_size=width,
        heads=heads,
        max_patches=patches,
        tokens_per_item=top.integer("mm_tokens_per_image", default=256),
    )
    return Tower(tuple(modules), spec, (plain("position_ids", patches, bits=64),))


def pixtral_layers(scope: Scope, config: Config, merge: int = 1) -> tuple[list[Module], int, VisionSpec, tuple[Tensor, ...]]:
    """Pixtral without projector: modules, hidden size, profiling batch (of tokens merged `merge` by `merge`), buffers."""
    hidden, depth = config.integer("hidden_size", default=1024), config.integer("num_hidden_layers", default=24, high=500)
    width, patch = config.integer("intermediate_size", default=4096), config.integer("patch_size", default=16)
    heads, parts = config.integer("num_attention_heads", default=16), ("q_proj", "k_proj", "v_proj")
    modules: list[Module] = [plain("vision_tower.patch_conv", hidden, 3, patch, patch), *norm("vision_tower.ln_pre", hidden)]
    for index in range(depth):
        at = f"vision_tower.transformer.layers.{index}"
        modules += [
            *norm(f"{at}.attention_norm", hidden),
            scope.column(f"{at}.attention.qkv_proj", hidden, (hidden, hidden, hidden), parts=parts, role=Role.QKV, heads=heads),
            scope.row(f"{at}.attention.o_proj", hidden, hidden, role=Role.ATTENTION_OUTPUT),
            *scope.gated_mlp(f"{at}.feed_forward", hidden, width),
            *norm(f"{at}.ffn_norm", hidden),
        ]
    patches = (config.integer("image_size", default=1540) // patch) ** 2
    spec = VisionSpec(hidden_size=hidden, intermediate_size=width, heads=heads, max_patches=patches, tokens_per_item=patches // merge**2)
    return modules, hidden, spec, (plain("patch_positional_embedding.inv_freq", hidden // heads // 2, bits=32),) * 2


def pixtral_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Mistral 3: Pixtral with gated MLPs, a patch merger and a two-layer projector."""
    merge, bias = top.integer("spatial_merge_size", default=2), top.flag("multimodal_projector_bias", default=False)
    modules, hidden, spec, buffers = pixtral_layers(scope, top.section("vision_config"), merge)
    modules += [
        *norm("multi_modal_projector.norm", hidden),
        unquantized("multi_modal_projector.patch_merger.merging_layer", hidden * merge**2, hidden, role=Role.PROJECTION),
        scope.column("multi_modal_projector.linear_1", hidden, (dims.hidden,), bias=bias, role=Role.PROJECTION),
        scope.row("multi_modal_projector.linear_2", dims.hidden, dims.hidden, bias=bias, role=Role.PROJECTION),
    ]
    return Tower(tuple(modules), spec, buffers)


def pixtral_native(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Pixtral as Mistral's own params.json describes it: an adapter of two layers, a merger of patches where the file says so."""
    config = top.section("vision_config")
    modules, hidden, spec, _ = pixtral_layers(scope.plain(), config, config.integer("spatial_merge_size", default=1))
    bias, merge = config.flag("adapter_bias", default=True), config.integer("spatial_merge_size", default=1)
    merged = config.text("mm_projector_id", default="") == "patch_merge"
    modules += [
        unquantized("vision_language_adapter.w_in", hidden, dims.hidden, bias=bias, role=Role.PROJECTION),
        unquantized("vision_language_adapter.w_out", dims.hidden, dims.hidden, bias=bias, role=Role.PROJECTION),
        *([unquantized("patch_merger.merging_layer", hidden * merge**2, hidden, role=Role.PROJECTION)] if merged else []),
        *(norm("pre_mm_projector_norm", hidden) if config.flag("add_pre_mm_projector_layer_norm", default=False) else []),
    ]
    return Tower(tuple(modules), spec)


def llama4_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Llama 4: a ViT with class token, a pixel-shuffle adapter and one projection; never quantized. Defaults are the class's."""
    config = top.section("vision_config")
    hidden, depth = config.integer("hidden_size", default=768), config.integer("num_hidden_layers", default=34, high=500)
    width, patch = config.integer("intermediate_size", default=5632), config.integer("patch_size", default=14)
    tokens = (config.integer("image_size", default=448) // patch) ** 2 + 1
    out, adapter = config.integer("projector_output_dim", default=7680), config.integer("projector_input_dim", default=4096)
    scope, heads = Scope(config, UNQUANTIZED), config.integer("num_attention_heads", default=16)
    modules: list[Module] = [
        plain("vision_model.class_embedding", hidden),
        plain("vision_model.positional_embedding_vlm", tokens, hidden),
        scope.column("vision_model.patch_embedding.linear", 3 * patch**2, (hidden,), role=Role.PROJECTION),
        *norm("vision_model.layernorm_pre", hidden, bias=True),
        *norm("vision_model.layernorm_post", hidden, bias=True),
        scope.column("vision_model.vision_adapter.mlp.fc1", width, (adapter,), role=Role.PROJECTION),
        scope.row("vision_model.vision_adapter.mlp.fc2", adapter, adapter, role=Role.PROJECTION),
        scope.column("multi_modal_projector.linear_1", config.integer("vision_output_dim", default=out), (dims.hidden,), role=Role.PROJECTION),
    ]
    for index in range(depth):
        at = f"vision_model.model.layers.{index}"
        modules += [
            scope.column(f"{at}.self_attn.qkv_proj", hidden, (hidden, hidden, hidden), bias=True, role=Role.QKV, heads=heads),
            scope.row(f"{at}.self_attn.o_proj", hidden, hidden, bias=True, role=Role.ATTENTION_OUTPUT),
            *scope.plain_mlp(f"{at}.mlp.fc1", f"{at}.mlp.fc2", hidden, width, bias=True),
            *norm(f"{at}.input_layernorm", hidden, bias=True),
            *norm(f"{at}.post_attention_layernorm", hidden, bias=True),
        ]
    spec = VisionSpec(hidden_size=hidden, intermediate_size=width, heads=heads, max_patches=17 * tokens, tokens_per_item=17 * (tokens - 1) // 4)
    return Tower(tuple(modules), spec, (plain("rotary_emb", tokens, hidden // heads // 2, bits=64),))

"""MiniMax-M3: block-sparse attention chosen by an indexer with a key cache of its own, experts, a vision tower.

Sources: vllm/models/minimax_m3/{nvidia/model,common/indexer,common/vision_tower}.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, correction_bias, gate, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, full_attention, qk_norms, two_norms
from planner.architecture.towers.tower import Tower
from planner.architecture.towers.vision import encoder_layers
from planner.facts.attention import Attention, CompressedCache
from planner.facts.model import VisionSpec
from planner.facts.modules import Axis, Module, Role, Split
from planner.facts.storage import FP32

_BLOCK_SIZE = 128  # the only one of its kernels (indexer.py get_supported_kernel_block_sizes)


def sparse_attention(scope: Scope, sparse: Config, dims: Dims) -> tuple[list[Module], tuple[Attention, ...]]:
    """Fused q, k, v and index q, k; index queries are shared out as key-value heads are, the index key is whole and kept in 16 bits."""
    heads, width = sparse.integer("sparse_num_index_heads"), sparse.integer("sparse_index_dim")
    qkv = scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim)
    outputs = [*qkv.outputs, Axis(heads * width, Split.HEADS, heads), Axis(width)]
    modules = [
        scope.linear("self_attn.qkv_proj", qkv.inputs, outputs, parts=("q_proj", "k_proj", "v_proj"), role=Role.QKV),
        *norm("self_attn.index_q_norm", width),
        *norm("self_attn.index_k_norm", width),
    ]
    return modules, (CompressedCache(entry_bytes=2 * width, block_size=_BLOCK_SIZE), full_attention(dims))


def minimax_m3(config: Config, dims: Dims) -> LayerBuilder:
    """The text model: the first layers dense and fully attentive, the others sparse in both."""
    sparse = config.section("sparse_attention_config")
    sparse_layers = sparse.integers("sparse_attention_freq", count=dims.layers) if sparse.has("sparse_attention_freq") else [0] * dims.layers
    moe_layers = config.integers("moe_layer_freq", count=dims.layers) if config.has("moe_layer_freq") else [1] * dims.layers
    experts, shared = config.integer("num_local_experts"), config.integer("n_shared_experts", default=0, low=0)

    def experts_mlp(scope: Scope) -> list[Module]:
        modules: list[Module] = [gate("block_sparse_moe.gate", experts, dims.hidden, storage=FP32)]
        if config.flag("use_routing_bias", default=False):
            modules.append(correction_bias("block_sparse_moe.e_score_correction_bias", experts))
        if shared:
            modules.extend(scope.gated_mlp("block_sparse_moe.shared_experts", dims.hidden, shared * dims.intermediate))
        return [*modules, scope.experts("block_sparse_moe.experts", experts, dims.hidden, dims.intermediate)]

    def build(scope: Scope, index: int) -> Layer:
        if sparse_layers[index]:
            modules, caches = sparse_attention(scope, sparse, dims)
        else:
            modules, caches = (
                [scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, dims.kv_heads, dims.head_dim), *scope.attention_scales()],
                (full_attention(dims),),
            )
        modules += [scope.row("self_attn.o_proj", dims.heads * dims.head_dim, dims.hidden, role=Role.ATTENTION_OUTPUT), *qk_norms(dims), *two_norms(dims)]
        modules += experts_mlp(scope) if moe_layers[index] else scope.gated_mlp("mlp", dims.hidden, config.integer("dense_intermediate_size"))
        return Layer(tuple(modules), caches)

    return build


def minimax_m3_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """CLIP layers with rotary positions over patches of two frames, a projector, then a merger of neighbouring patches."""
    config = top.section("vision_config")
    hidden, width = config.integer("hidden_size"), config.integer("intermediate_size")
    depth, patch = config.integer("num_hidden_layers", high=500), config.integer("patch_size")
    compression = config.section("img_token_compression_config")
    frames, merge = compression.integer("temporal_patch_size", default=2), compression.integer("spatial_merge_size", default=2)
    projected = top.integer("projector_hidden_size", default=dims.hidden)
    at = "vision_tower.vision_model"
    heads = config.integer("num_attention_heads")
    modules: list[Module] = [
        plain(f"{at}.embeddings.patch_embedding", hidden, config.integer("num_channels", default=3), frames, patch, patch),
        *norm(f"{at}.pre_layrnorm", hidden, bias=True),
        *encoder_layers(scope, at, depth, (hidden, width, heads)),
        scope.column("vision_tower.multi_modal_projector.linear_1", hidden, (projected,), bias=True, role=Role.PROJECTION),
        scope.row("vision_tower.multi_modal_projector.linear_2", projected, dims.hidden, bias=True, role=Role.PROJECTION),
        scope.column("vision_tower.patch_merge_mlp.linear_1", dims.hidden * merge**2, (projected,), bias=True, role=Role.PROJECTION),
        scope.row("vision_tower.patch_merge_mlp.linear_2", projected, dims.hidden, bias=True, role=Role.PROJECTION),
    ]
    patches = (config.integer("image_size") // patch) ** 2
    spec = VisionSpec(hidden_size=hidden, intermediate_size=width, heads=heads, max_patches=patches, tokens_per_item=patches // merge**2)
    frequencies = 2 * (hidden // heads // 2) // 3 // 2
    return Tower(tuple(modules), spec, tuple(plain(f"{at}.inv_freq_{axis}", frequencies, bits=32) for axis in "thw"))

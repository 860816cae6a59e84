"""Decoders with multi-head latent attention: DeepSeek V2 and V3, V3.2 with its sparse indexer, Kimi K2, GLM-5, GLM-4.7-Flash, LongCat Flash."""

from __future__ import annotations

from collections.abc import Callable

from planner.architecture.blocks import Scope, correction_bias, embedding, gate, norm, plain, unquantized
from planner.architecture.config import Config
from planner.architecture.experts import deepseek_moe
from planner.architecture.moe import routed_or_dense
from planner.architecture.text import Dims, Layer, LayerBuilder, two_norms
from planner.facts.attention import Attention, LatentAttention
from planner.facts.modules import Module, Role
from planner.facts.storage import BF16, FP32, Storage


def sees_both_ways(config: Config) -> bool:
    """Whether tokens see each other in both directions: such layers are no MLA, their first projections are apart, and they keep no cache (use_mla)."""
    return not config.flag("is_causal", default=True)


def latent_modules(scope: Scope, config: Config, dims: Dims, at: str = "self_attn", *, output: str = "o_proj") -> list[Module]:
    """The projections of one MLA layer: down projections replicated, up projections split by head; `output` is the name of the last."""
    latent, rope = config.integer("kv_lora_rank"), config.integer("qk_rope_head_dim")
    nope, value = config.integer("qk_nope_head_dim"), config.integer("v_head_dim")
    rank, both_ways = config.integer("q_lora_rank", default=0, low=0), sees_both_ways(config)
    modules: list[Module] = []
    if rank:
        if both_ways:
            modules.append(scope.replicated(f"{at}.q_a_proj", dims.hidden, (rank,), role=Role.LATENT))
            modules.append(scope.replicated(f"{at}.kv_a_proj_with_mqa", dims.hidden, (latent + rope,), role=Role.LATENT))
        else:
            fused = ("q_a_proj", "kv_a_proj_with_mqa")
            modules.append(scope.replicated(f"{at}.fused_qkv_a_proj", dims.hidden, (rank, latent + rope), parts=fused, role=Role.LATENT))
        modules.extend(norm(f"{at}.q_a_layernorm", rank))
        modules.append(scope.column(f"{at}.q_b_proj", rank, (dims.heads * (nope + rope),), role=Role.LATENT))
    else:
        modules.append(scope.replicated(f"{at}.kv_a_proj_with_mqa", dims.hidden, (latent + rope,), role=Role.LATENT))
        modules.append(scope.column(f"{at}.q_proj", dims.hidden, (dims.heads * (nope + rope),), role=Role.QUERY))
    modules.extend(norm(f"{at}.kv_a_layernorm", latent))
    modules.append(scope.column(f"{at}.kv_b_proj", latent, (dims.heads * (nope + value),), role=Role.LATENT))
    modules.append(scope.row(f"{at}.{output}", dims.heads * value, dims.hidden, role=Role.ATTENTION_OUTPUT))
    modules.extend(scope.attention_scales() if both_ways else scope.quantization.latent_scales)
    return modules


def indexer_modules(scope: Scope, config: Config, dims: Dims) -> list[Module]:
    """The sparse attention indexer of DeepSeek V3.2: replicated, its key projection in 16 bits."""
    heads, width = config.integer("index_n_heads"), config.integer("index_head_dim")
    return [
        scope.replicated("self_attn.indexer.wq_b", config.integer("q_lora_rank"), (heads * width,), role=Role.PROJECTION),
        unquantized("self_attn.indexer.wk_weights_proj", dims.hidden, width + heads, role=Role.PROJECTION),
        *norm("self_attn.indexer.k_norm", width, bias=True, bits=32),
    ]


def deepseek(
    *,
    router: Storage = BF16,
    more_norms: tuple[str, ...] = (),
    experts_key: str = "n_routed_experts",
    shared_key: str = "n_shared_experts",
    correction_key: str = "",
) -> Callable[[Config, Dims], LayerBuilder]:
    """DeepSeek V2/V3 and everything built on them; `router` is how its weights are stored, `correction_key` the flag of its bias, else `topk_method`."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        if not any(config.integer(key, default=1, low=0) for key in ("qk_nope_head_dim", "qk_rope_head_dim")):
            return deepseek_moe(config, dims)  # deepseek_v2.py use_mha: DeepSeek-OCR, the smallest DeepSeek-VL2
        experts = config.integer(experts_key, default=0, low=0)
        dense = config.integer("first_k_dense_replace", default=0, low=0)
        frequency = config.integer("moe_layer_freq", default=1)
        kinds = [] if config.has("first_k_dense_replace") else config.texts("mlp_layer_types")
        sparse = config.has("index_topk")
        indexed = set(indexer_layers(config, dims)) if sparse else set()
        latent = LatentAttention(latent_dim=config.integer("kv_lora_rank"), rope_dim=config.integer("qk_rope_head_dim"), sparse=sparse)
        both_ways = sees_both_ways(config)
        correction = config.flag(correction_key, default=True) if correction_key else config.text("topk_method", default="") == "noaux_tc"

        def build(scope: Scope, index: int) -> Layer:
            modules = latent_modules(scope, config, dims)
            attention: tuple[Attention, ...] = () if both_ways else (latent,)
            if index in indexed:
                modules.extend(indexer_modules(scope, config, dims))
                attention = (indexer_cache(config), latent)
            routed = kinds[index] == "sparse" if index < len(kinds) else index >= dense and index % frequency == 0
            modules += routed_or_dense(
                scope, dims, routed=routed and bool(experts), router=router, correction=correction, experts=experts_key, shared=shared_key
            )
            modules.extend([*two_norms(dims), *(m for name in more_norms for m in norm(name, dims.hidden))])
            return Layer(tuple(modules), attention)

        return build

    return bind


def longcat(config: Config, dims: Dims) -> LayerBuilder:
    """LongCat Flash: two MLA blocks and two dense MLPs a layer beside one bank of experts, some of them empty (longcat_flash.py)."""
    experts, empty = config.integer("n_routed_experts"), config.integer("zero_expert_num", default=0, low=0)
    latent = LatentAttention(latent_dim=config.integer("kv_lora_rank"), rope_dim=config.integer("qk_rope_head_dim"))

    def build(scope: Scope, index: int) -> Layer:
        modules: list[Module] = [
            gate("mlp.router.classifier", experts + empty, dims.hidden, storage=FP32),
            correction_bias("mlp.router.e_score_correction_bias", experts + empty),
            scope.experts("mlp.experts", experts, dims.hidden, config.integer("moe_intermediate_size")),
        ]
        for part in range(2):
            modules += latent_modules(scope, config, dims, f"self_attn.{part}")
            modules += scope.gated_mlp(f"mlps.{part}", dims.hidden, dims.intermediate)
            modules += two_norms(dims)
        return Layer(tuple(modules), (latent, latent))

    return build


def ngram_embedding(scope: Scope, dims: Dims) -> list[Module]:
    """LongCat Flash Lite: hashed embeddings of the last few words, their tables one behind the other, and a projection of each (longcat_flash_ngram.py)."""
    config = scope.config
    if not config.has("ngram_vocab_size_ratio"):
        return []
    neighbours, splits = config.integer("emb_neighbor_num", high=64), config.integer("emb_split_num", high=1024)
    count, rows = splits * (neighbours - 1), config.number("ngram_vocab_size_ratio") * dims.vocab
    width = dims.hidden // max(1, count)
    return [
        embedding(sum(int(rows + 2 * index + 1) for index in range(count)), width, "ngram_embeddings.oe_embedder"),
        plain("ngram_embeddings.oe_projection", count, width, dims.hidden),
    ]


def indexer_layers(config: Config, dims: Dims) -> list[int]:
    """The layers that run the indexer themselves; GLM-5.2 shares one among several layers."""
    types = config.texts("indexer_types")
    if types:
        return [index for index, kind in enumerate(types[: dims.layers]) if kind == "full"]
    return list(range(dims.layers))


def indexer_cache(config: Config) -> LatentAttention:
    """The indexer's own cache: FP8 keys with a float32 scale each 128 (vllm deepseek_v2.py DeepseekV32IndexerCache)."""
    width = config.integer("index_head_dim")
    return LatentAttention(latent_dim=0, rope_dim=0, index_dim=width + width // 128 * 4, sparse=True)

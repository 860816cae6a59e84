"""DeepSeek V4: a window of latent keys, beside it entries compressed 4 or 128 to one; hyper-connections; hashed first routers.

Sources: vllm/models/deepseek_v4/{attention,compressor,nvidia/model}.py, 0.33; vllm/v1/attention/backends/mla/sparse_swa.py.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, correction_bias, gate, norm, plain, rope_cache, unquantized
from planner.architecture.config import Config
from planner.architecture.rope import rope_tables
from planner.architecture.text import Dims, Layer, LayerBuilder, layer_types
from planner.errors import UnsupportedModelError
from planner.facts.attention import Attention, CompressedCache
from planner.facts.modules import Axis, Module, Role, Split, Tensor, TensorRole

_RATIOS = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
_LATENT_BYTES = 584  # 448 FP8, 64 bfloat16 for the rotated part, 8 scales (attention.py get_kv_cache_spec)
_PAGE_MULTIPLE = 576
_BLOCK_SIZE = 256
_WINDOW_BLOCK_SIZE = 64
_STATE_BLOCK_SIZES = {4: 4, 128: 8}  # compressor.py: as long as the entries' pages
_KERNEL_HEADS = 64  # query heads of the FP8 kernel (flashmla.py get_padded_num_q_heads); sinks are padded to them


def _cache(entry_bytes: int, block_size: int, *, ratio: int = 1, window: int = 0) -> CompressedCache:
    return CompressedCache(entry_bytes=entry_bytes, block_size=block_size, tokens_per_entry=ratio, window=window, page_multiple=_PAGE_MULTIPLE)


def compressor(name: str, hidden: int, width: int, ratio: int) -> tuple[list[Module], CompressedCache]:
    """What turns `ratio` tokens into one entry: its weights, and the raw keys and scores that it keeps, in 32 bits. Overlapping at 4."""
    parts = 2 if ratio == 4 else 1
    modules: list[Module] = [
        plain(f"{name}.ape", ratio, parts * width, bits=32),
        unquantized(f"{name}.fused_wkv_wgate", hidden, 2 * parts * width, role=Role.PROJECTION),
        *norm(f"{name}.norm", width),
    ]
    return modules, _cache(2 * parts * width * 4, _STATE_BLOCK_SIZES[ratio], window=parts * ratio)


def indexer(scope: Scope, config: Config, dims: Dims) -> tuple[list[Module], tuple[Attention, ...]]:
    """What picks the entries that a query attends to: FP8 keys with a float32 scale each 128, compressed 4 to one."""
    heads, width = config.integer("index_n_heads"), config.integer("index_head_dim")
    modules, state = compressor("attn.indexer.compressor", dims.hidden, width, 4)
    own = [
        scope.replicated("attn.indexer.wq_b", config.integer("q_lora_rank"), (heads * width,), role=Role.PROJECTION),
        unquantized("attn.indexer.weights_proj", dims.hidden, heads, role=Role.PROJECTION),
    ]
    return own + modules, (_cache(width + width // 128 * 4, _BLOCK_SIZE, ratio=4), state)


def attention(scope: Scope, config: Config, dims: Dims, ratio: int) -> tuple[list[Module], tuple[Attention, ...]]:
    """One layer's projections and caches: the window always, compressed entries where the ratio is not 0."""
    rank, groups = config.integer("q_lora_rank"), config.integer("o_groups")
    out_rank = config.integer("o_lora_rank")
    width = dims.heads * dims.head_dim
    modules: list[Module] = [
        Tensor(
            name="attn.attn_sink",
            axes=(Axis(max(dims.heads, _KERNEL_HEADS), Split.HEADS, max(1, dims.heads // _KERNEL_HEADS)),),
            bits=32,
            role=TensorRole.ADDEND,
        ),
        scope.replicated("attn.fused_wqa_wkv", dims.hidden, (rank, dims.head_dim), parts=("wq_a", "wkv"), role=Role.LATENT),
        *norm("attn.q_norm", rank),
        scope.column("attn.wq_b", rank, (width,), role=Role.LATENT),
        *norm("attn.kv_norm", dims.head_dim),
        scope.column("attn.wo_a", width // groups, (groups * out_rank,), role=Role.LATENT),
        scope.row("attn.wo_b", groups * out_rank, dims.hidden, role=Role.LATENT),
    ]
    caches: tuple[Attention, ...] = (_cache(_LATENT_BYTES, _WINDOW_BLOCK_SIZE, window=config.integer("sliding_window", default=128)),)
    if ratio == 4:
        more, indexed = indexer(scope, config, dims)
        modules, caches = modules + more, caches + indexed
    if ratio:
        more, state = compressor("attn.compressor", dims.hidden, dims.head_dim, ratio)
        modules, caches = modules + more, (*caches, _cache(_LATENT_BYTES, _BLOCK_SIZE, ratio=ratio), state)
    return modules, caches


def mlp(scope: Scope, config: Config, dims: Dims, *, hashed: bool) -> list[Module]:
    """Router, shared and routed experts; the first layers route by token id through a table instead of a biased router."""
    experts, intermediate = config.integer("n_routed_experts"), config.integer("moe_intermediate_size")
    modules: list[Module] = [gate("ffn.gate", experts, dims.hidden)]
    if hashed:
        modules.append(plain("ffn.gate.tid2eid", dims.vocab, config.integer("num_experts_per_tok"), bits=32))
    elif config.text("topk_method", default="") == "noaux_tc":
        modules.append(correction_bias("ffn.gate.e_score_correction_bias", experts))
    shared = config.integer("n_shared_experts", default=0, low=0)
    if shared:
        modules.extend(scope.gated_mlp("ffn.shared_experts", dims.hidden, shared * intermediate))
    return [*modules, scope.experts("ffn.experts", experts, dims.hidden, intermediate)]


def hyper_connections(name: str, config: Config, dims: Dims, *, head: bool = False) -> list[Module]:
    """The float32 maps that mix `hc_mult` residual streams before and after a block, or (head) into one."""
    streams = config.integer("hc_mult", default=4, high=1024)
    rows, scales = (streams, 1) if head else (streams * (2 + streams), 3)
    return [plain(f"{name}_fn", rows, streams * dims.hidden, bits=32), plain(f"{name}_base", rows, bits=32), plain(f"{name}_scale", scales, bits=32)]


def stream_head(scope: Scope, dims: Dims) -> list[Module]:
    """What merges the residual streams before the output head; built on every pipeline stage."""
    return hyper_connections("hc_head", scope.config, dims, head=True)


def compression_ratios(config: Config, dims: Dims) -> list[int]:
    """Tokens of an entry of each layer: 0 (no entries), 4 or 128; from `compress_ratios` or `layer_types`."""
    if config.has("compress_ratios"):
        ratios = config.integers("compress_ratios", count=dims.layers)[: dims.layers]
    else:
        ratios = [_RATIOS.get(kind, -1) for kind in layer_types(config, dims)]
    if len(ratios) < dims.layers or set(ratios) - set(_RATIOS.values()):
        raise UnsupportedModelError(f"{config.path}: DeepSeek V4 layers are compressed 0, 4 or 128 to one; compress_ratios or layer_types say otherwise")
    return ratios


def deepseek_v4(config: Config, dims: Dims) -> LayerBuilder:
    """DeepSeek V4 Flash and Pro."""
    ratios, hashed = compression_ratios(config, dims), config.integer("num_hash_layers", default=3, low=0)

    def build(scope: Scope, index: int) -> Layer:
        modules, caches = attention(scope, config, dims, ratios[index])
        modules = [
            *hyper_connections("hc_attn", config, dims),
            *hyper_connections("hc_ffn", config, dims),
            *modules,
            *mlp(scope, config, dims, hashed=index < hashed),
            *norm("attn_norm", dims.hidden),
            *norm("ffn_norm", dims.hidden),
        ]
        return Layer(tuple(modules), caches)

    return build


def deepseek_v4_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """A plain table for layers without entries and a scaled one for those with them, in 32 bits (common/rope.py)."""
    width, ratios = config.integer("qk_rope_head_dim", default=64), compression_ratios(config, dims)
    plain_table = (rope_cache(dims.max_length, width, bits=32),) if 0 in ratios else ()
    return plain_table + (rope_tables(config, dims, rotary_dim=width, yarn_bits=32) if any(ratios) else ())

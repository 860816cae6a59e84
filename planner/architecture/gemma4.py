"""Gemma 4: full attention layers with their own heads and width, keys reused as values, dense and expert MLPs side by side.

The small ones (E2B, E4B) add an embedding for every layer, and their last layers attend to the caches of earlier ones.
Source: vllm/model_executor/models/gemma4.py, gemma4_mm.py, gemma4_unified.py; the towers are Hugging Face's (transformers/models/gemma4).
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, embedding, gate, norm, plain, unquantized
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, layer_types, two_norms
from planner.architecture.towers.tower import Tower
from planner.facts.attention import FullAttention, SlidingWindow
from planner.facts.model import VisionSpec
from planner.facts.modules import Axis, Linear, Module, Role, Tensor


def per_layer_width(config: Config) -> int:
    """Width of the embedding that each layer has of its own; transformers' default is 256 where the key is missing, null is none."""
    if "hidden_size_per_layer_input" in config.data:
        return config.optional("hidden_size_per_layer_input") or 0
    return 256


def per_layer_rows(config: Config, dims: Dims, seen: bool) -> int:
    """Bytes that are set aside for each token of a batch, in 16 bits: its rows of the per-layer embedding, where the model has a tower (gemma4_mm.py)."""
    return per_layer_width(config) * dims.layers * 2 if seen else 0


def per_layer_embedding(scope: Scope, dims: Dims) -> list[Module]:
    """The model's own part of the per-layer embeddings, where it has them."""
    width = per_layer_width(scope.config)
    if not width:
        return []
    vocab = scope.config.integer("vocab_size_per_layer_input", default=dims.vocab)
    return [
        embedding(vocab, width * dims.layers, "embed_tokens_per_layer"),
        scope.column("per_layer_model_projection", dims.hidden, (width * dims.layers,), role=Role.PROJECTION),
        *norm("per_layer_projection_norm", width),
    ]


def gemma4(config: Config, dims: Dims) -> LayerBuilder:
    """Every Gemma 4: dense, with experts, with per-layer embeddings and shared caches."""
    types = layer_types(config, dims, every=6)
    experts = config.integer("num_experts", default=0, low=0)
    window = config.integer("sliding_window", default=512)
    first_shared = dims.layers - config.integer("num_kv_shared_layers", default=0, low=0, high=dims.layers)
    wide_after = first_shared if config.flag("use_double_wide_mlp", default=False) and first_shared else dims.layers
    own_width, bias = per_layer_width(config), config.flag("attention_bias", default=False)

    def attention_of(index: int) -> SlidingWindow | FullAttention:
        if types[index] == "sliding_attention" and index + 1 < dims.layers:  # transformers makes the last layer full
            return SlidingWindow(kv_heads=dims.kv_heads, head_dim=dims.head_dim, head_dim_v=dims.head_dim, window=window)
        head_dim = config.integer("global_head_dim", default=512)
        kv_heads = config.integer("num_global_key_value_heads", default=dims.kv_heads) if config.flag("attention_k_eq_v") else dims.kv_heads
        return FullAttention(kv_heads=kv_heads, head_dim=head_dim, head_dim_v=head_dim)

    def projections(scope: Scope, attention: SlidingWindow | FullAttention, *, shared: bool) -> list[Module]:
        width = dims.heads * attention.head_dim
        if shared:
            return [scope.column("self_attn.q_proj", dims.hidden, (width,), bias=bias, role=Role.QUERY), *norm("self_attn.q_norm", attention.head_dim)]
        norms = [*norm("self_attn.q_norm", attention.head_dim), *norm("self_attn.k_norm", attention.head_dim)]
        return [scope.qkv("self_attn.qkv_proj", dims.hidden, dims.heads, attention.kv_heads, attention.head_dim, bias=bias), *norms]

    def routed(scope: Scope) -> list[Module]:
        return [
            Tensor(name="router.scale", axes=(Axis(dims.hidden),)),
            Tensor(name="router.per_expert_scale", axes=(Axis(experts),)),
            gate("router.proj", experts, dims.hidden),
            scope.experts("experts", experts, dims.hidden, config.integer("moe_intermediate_size", "expert_intermediate_size")),
            *norm("post_feedforward_layernorm_1", dims.hidden),
            *norm("post_feedforward_layernorm_2", dims.hidden),
            *norm("pre_feedforward_layernorm_2", dims.hidden),
        ]

    def own_embedding(scope: Scope) -> list[Module]:
        return [
            scope.replicated("per_layer_input_gate", dims.hidden, (own_width,), role=Role.PROJECTION),
            scope.replicated("per_layer_projection", own_width, (dims.hidden,), role=Role.PROJECTION),
            *norm("post_per_layer_input_norm", dims.hidden),
        ]

    def build(scope: Scope, index: int) -> Layer:
        attention, shared = attention_of(index), index >= first_shared
        modules: list[Module] = [
            *projections(scope, attention, shared=shared),
            scope.row("self_attn.o_proj", dims.heads * attention.head_dim, dims.hidden, bias=bias, role=Role.ATTENTION_OUTPUT),
            *scope.attention_scales(),
            *scope.gated_mlp("mlp", dims.hidden, dims.intermediate * (2 if index >= wide_after else 1)),
            *two_norms(dims),
            *norm("pre_feedforward_layernorm", dims.hidden),
            *norm("post_feedforward_layernorm", dims.hidden),
            *(routed(scope) if experts else []),
            *(own_embedding(scope) if own_width else []),
        ]
        return Layer(tuple(modules), () if shared else (attention,))

    return build


def _tower_scope(scope: Scope, *sizes: int) -> Scope:
    """A tower's layers are quantized in whole tiles only, but by compressed-tensors (gemma4_mm.py _get_tower_quant_config)."""
    return scope if scope.quantization.name == "compressed-tensors" else scope.if_tiled(*sizes)


def _vision(scope: Scope, config: Config, dims: Dims) -> tuple[list[Module], VisionSpec]:
    """The image tower; defaults are those of Gemma4VisionConfig."""
    hidden, depth = config.integer("hidden_size", default=768), config.integer("num_hidden_layers", default=16, high=500)
    width, patch, heads = (
        config.integer("intermediate_size", default=3072),
        config.integer("patch_size", default=16),
        config.integer("num_attention_heads", default=12),
    )
    head_dim, scope = config.integer("head_dim", default=64), _tower_scope(scope, hidden, width)
    modules: list[Module] = [
        plain("vision_tower.patch_embedder.position_embedding_table", 2, config.integer("position_embedding_size", default=10_240), hidden),
        scope.replicated("vision_tower.patch_embedder.input_proj", 3 * patch**2, (hidden,), role=Role.PROJECTION),
        scope.replicated("embed_vision.embedding_projection", hidden, (dims.hidden,), role=Role.PROJECTION),
    ]
    for index in range(depth):
        at = f"vision_tower.encoder.layers.{index}"
        modules += [
            scope.replicated(f"{at}.self_attn.{name}_proj.linear", hidden, (heads * head_dim,), role=role)
            for name, role in zip("qkv", (Role.QUERY, Role.KEY, Role.VALUE), strict=True)
        ]
        modules += [
            scope.replicated(f"{at}.self_attn.o_proj.linear", heads * head_dim, (hidden,), role=Role.ATTENTION_OUTPUT),
            *norm(f"{at}.self_attn.q_norm", head_dim),
            *norm(f"{at}.self_attn.k_norm", head_dim),
            scope.replicated(f"{at}.mlp.gate_proj.linear", hidden, (width,), role=Role.GATE),
            scope.replicated(f"{at}.mlp.up_proj.linear", hidden, (width,), role=Role.UP),
            scope.replicated(f"{at}.mlp.down_proj.linear", width, (hidden,), role=Role.DOWN),
        ]
        names = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
        modules += [module for name in names for module in norm(f"{at}.{name}", hidden)]
    spec = VisionSpec(hidden_size=hidden, intermediate_size=width, heads=heads, max_patches=280 * 9, tokens_per_item=280)
    return modules, spec


def _audio(scope: Scope, config: Config, dims: Dims) -> list[Module]:
    """The audio tower, a conformer over 128 mel bands, quantized as the image tower; defaults are those of Gemma4AudioConfig."""
    hidden, out = config.integer("hidden_size", default=1024), config.integer("output_proj_dims", default=1536)
    channels = config.integers("subsampling_conv_channels") or [128, 32]
    first, second = channels[0], channels[-1]
    scope = _tower_scope(scope, hidden)

    def linear(name: str, inputs: int, outputs: int, *, bias: bool = False) -> Linear:
        return scope.replicated(name, inputs, (outputs,), bias=bias, role=Role.PROJECTION)

    modules: list[Module] = [
        plain("audio_tower.subsample_conv_projection.layer0", first, 1, 3, 3),
        plain("audio_tower.subsample_conv_projection.layer1", second, first, 3, 3),
        *norm("audio_tower.subsample_conv_projection.layer0.norm", first),
        *norm("audio_tower.subsample_conv_projection.layer1.norm", second),
        linear("audio_tower.subsample_conv_projection.input_proj_linear", 128 // 4 * second, hidden),
        linear("audio_tower.output_proj", hidden, out, bias=True),
        linear("embed_audio.embedding_projection", out, dims.hidden),
    ]
    for index in range(config.integer("num_hidden_layers", default=12, high=500)):
        at = f"audio_tower.layers.{index}"
        modules += [
            *(linear(f"{at}.feed_forward{block}.ffw_layer_1.linear", hidden, 4 * hidden) for block in (1, 2)),
            *(linear(f"{at}.feed_forward{block}.ffw_layer_2.linear", 4 * hidden, hidden) for block in (1, 2)),
            *(
                linear(f"{at}.self_attn.{name}", hidden, hidden)
                for name in ("q_proj.linear", "k_proj.linear", "v_proj.linear", "post.linear", "relative_k_proj")
            ),
            plain(f"{at}.self_attn.per_dim_scale", hidden // config.integer("num_attention_heads", default=8)),
            linear(f"{at}.lconv1d.linear_start.linear", hidden, 2 * hidden),
            linear(f"{at}.lconv1d.linear_end.linear", hidden, hidden),
            plain(f"{at}.lconv1d.depthwise_conv1d", hidden, 1, config.integer("conv_kernel_size", default=5)),
            *(plain(f"{at}.norms.{index}", hidden) for index in range(9)),
        ]
    return modules


def gemma4_towers(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Gemma 4: the Hugging Face towers as they are, whole on every rank; the small models hear, too."""
    vision = top.section("vision_config")
    modules, spec = _vision(scope, vision, dims)
    if top.has("audio_config"):
        modules += _audio(scope, top.section("audio_config"), dims)
    frequencies = plain("rotary_emb.inv_freq", vision.integer("head_dim", default=64) // 4, bits=32)
    return Tower(tuple(modules), spec, (plain("std_bias", spec.hidden_size), plain("std_scale", spec.hidden_size), frequencies, frequencies))


def diffusion_conditioning(scope: Scope, dims: Dims) -> list[Module]:
    """DiffusionGemma: what a step is told of the one before it (diffusion_gemma.py)."""
    width = scope.config.integer("self_conditioning_size", default=dims.intermediate)
    return [
        *norm("self_conditioning.pre_norm", dims.hidden),
        unquantized("self_conditioning.gate_proj", dims.hidden, width, role=Role.GATE),
        unquantized("self_conditioning.up_proj", dims.hidden, width, role=Role.UP),
        unquantized("self_conditioning.down_proj", width, dims.hidden, role=Role.DOWN),
    ]


def keys_as_values(config: Config) -> Config:
    """DiffusionGemma's full layers have no values of their own, whatever its config says."""
    return Config({**config.data, "attention_k_eq_v": True}, config.path)


def gemma4_unified(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Gemma 4 without towers: patches and sound frames are projected as they are; defaults are those of Gemma4UnifiedVisionConfig."""
    config = top.section("vision_config")
    width, pixels = (
        config.integer("mm_embed_dim", default=3840),
        3 * (config.integer("patch_size", default=16) * config.integer("pooling_kernel_size", default=3)) ** 2,
    )
    modules: list[Module] = [
        *norm("vision_embedder.patch_ln1", pixels, bias=True),
        scope.column("vision_embedder.patch_dense", pixels, (width,), bias=True, role=Role.PROJECTION),
        *norm("vision_embedder.patch_ln2", width, bias=True),
        *norm("vision_embedder.pos_norm", width, bias=True),
        plain("vision_embedder.pos_embedding", config.integer("mm_posemb_size", default=1120), 2, width),
        unquantized("embed_vision.embedding_projection", config.integer("output_proj_dims", default=3840), dims.hidden, role=Role.PROJECTION),
    ]
    if top.has("audio_config"):
        modules.append(
            unquantized(
                "embed_audio.embedding_projection", top.section("audio_config").integer("audio_embed_dim", default=640), dims.hidden, role=Role.PROJECTION
            )
        )
    return Tower(tuple(modules), VisionSpec(hidden_size=width, intermediate_size=width, heads=1, max_patches=280, tokens_per_item=280), on_every_stage=True)

"""Towers with convolutions inside their layers (conformers) and those read by a Q-Former: Granite Speech, BLIP-2; and further audio towers.

Sources: vllm/model_executor/models/{granite_speech,blip2,glmasr,audioflamingo3}.py, 0.33.
"""

from __future__ import annotations

from dataclasses import replace

from planner.architecture.blocks import Scope, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.architecture.towers.audio import whisper_block, whisper_layers, whisper_stack
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose
from planner.architecture.towers.tower import Tower
from planner.facts.modules import Module, Role


def qformer(config: Config, at: str, *, default_inputs: int) -> list[Module]:
    """A Q-Former: self-attention of queries, cross-attention every so many layers, all whole on every rank."""
    hidden, width = config.integer("hidden_size", default=768), config.integer("intermediate_size", default=3072)
    inputs, every = config.integer("encoder_hidden_size", default=default_inputs), config.integer("cross_attention_frequency", default=2)

    def attention(name: str, source: int) -> list[Module]:
        return [
            loose(f"{name}.attention.query", hidden, hidden),
            loose(f"{name}.attention.key", source, hidden),
            loose(f"{name}.attention.value", source, hidden),
            loose(f"{name}.output.dense", hidden, hidden),
            *norm(f"{name}.output.LayerNorm", hidden, bias=True),
        ]

    modules: list[Module] = norm(f"{at}.layernorm", hidden, bias=True)
    for index in range(config.integer("num_hidden_layers", default=12, high=500)):
        layer = f"{at}.encoder.layer.{index}"
        modules += [
            *attention(f"{layer}.attention", hidden),
            *(attention(f"{layer}.crossattention", inputs) if index % every == 0 else []),
            loose(f"{layer}.intermediate_query.dense", hidden, width),
            loose(f"{layer}.output_query.dense", width, hidden),
            *norm(f"{layer}.output_query.LayerNorm", hidden, bias=True),
        ]
    return modules


def granite_speech(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Granite Speech: a conformer that no quantization reaches with a CTC head in its middle that one does, windows of frames read by a Q-Former."""
    config, projector = top.section("encoder_config"), top.section("projector_config")
    hidden, inner = config.integer("hidden_dim", default=1024), config.integer("num_heads", default=8) * config.integer("dim_head", default=128)
    width, wide = hidden * config.integer("feedforward_mult", default=4), hidden * config.integer("conv_expansion_factor", default=2)
    out, head = config.integer("output_dim", default=42), config.integer("dim_head", default=128)
    queries = top.integer("window_size", default=15) // top.integer("downsample_rate", default=5)
    modules: list[Module] = [loose("encoder.input_linear", config.integer("input_dim", default=160), hidden)]
    for index in range(config.integer("num_layers", default=10, high=500)):
        at = f"encoder.layers.{index}"
        feed = [
            module
            for name in ("ff1", "ff2")
            for module in (
                *norm(f"{at}.{name}.pre_norm", hidden, bias=True),
                *scope.plain().plain_mlp(f"{at}.{name}.up_proj", f"{at}.{name}.down_proj", hidden, width, bias=True),
            )
        ]
        modules += [
            *feed,
            *norm(f"{at}.attn.pre_norm", hidden, bias=True),
            loose(f"{at}.attn.to_q", hidden, inner, bias=False),
            loose(f"{at}.attn.to_kv", hidden, 2 * inner, bias=False),
            loose(f"{at}.attn.to_out", inner, hidden),
            plain(f"{at}.attn.rel_pos_emb", 2 * config.integer("max_pos_emb", default=512) + 1, head),
            *norm(f"{at}.conv.norm", hidden, bias=True),
            *convolution(f"{at}.conv.up_conv", 2 * wide, hidden, 1),
            *convolution(f"{at}.conv.depth_conv.conv", wide, 1, config.integer("conv_kernel_size", default=15), bias=False),
            *norm(f"{at}.conv.batch_norm", wide, bias=True),
            *convolution(f"{at}.conv.down_conv", hidden, wide, 1),
            *norm(f"{at}.post_norm", hidden, bias=True),
        ]
    size = projector.integer("hidden_size", default=768)
    modules += [
        scope.column("encoder.out", hidden, (out,), bias=True, role=Role.PROJECTION),
        scope.row("encoder.out_mid", out, hidden, bias=True, role=Role.PROJECTION),
        plain("projector.query", queries, size),
        *qformer(projector, "projector.qformer", default_inputs=1408),
        loose("projector.linear", size, dims.hidden),
    ]
    statistics = (plain("batch_norm.running", 2 * wide), plain("batch_norm.num_batches_tracked", bits=64)) * config.integer("num_layers", default=10, high=500)
    block = Block(hidden=hidden, width=width, heads=inner // head)
    return Tower(tuple(modules), batch(block, patches=1500, tokens=1500 // 5), statistics)


def blip2(scope: Scope, top: Config, dims: Dims) -> Tower:
    """BLIP-2: EVA's ViT, read by a Q-Former with learned queries."""
    config, queries = top.section("vision_config"), top.section("qformer_config")
    bias = config.flag("qkv_bias", default=True)
    block = Block(
        hidden=config.integer("hidden_size", default=1408),
        width=config.integer("intermediate_size", default=6144),
        heads=config.integer("num_attention_heads", default=16),
        qkv_bias=bias,
        names=("self_attn.qkv", "self_attn.projection", "mlp.fc1", "mlp.fc2"),
    )
    patch = config.integer("patch_size", default=14)
    patches, size = (config.integer("image_size", default=224) // patch) ** 2, queries.integer("hidden_size", default=768)
    modules = [
        plain("vision_model.embeddings.class_embedding", block.hidden),
        plain("vision_model.embeddings.position_embedding", patches + 1, block.hidden),
        *convolution("vision_model.embeddings.patch_embedding", block.hidden, 3, patch, patch),
        *encoder(scope, "vision_model.encoder.layers", config.integer("num_hidden_layers", default=39, high=500), block),
        *norm("vision_model.post_layernorm", block.hidden, bias=True),
        *qformer(queries, "qformer", default_inputs=1408),
        loose("language_projection", size, dims.hidden),
    ]
    tokens = top.integer("num_query_tokens", default=32)
    return Tower(tuple(modules), batch(block, patches=patches + 1, tokens=tokens), every=(plain("query_tokens", tokens, size),))


def audio_flamingo(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Audio Flamingo 3 and Music Flamingo: transformers' Whisper encoder, two projections."""
    config = top.section("audio_config")
    block, positions = replace(whisper_block(config), loose=True, key_bias=False), config.integer("max_source_positions", default=1500)
    bias = top.flag("projector_bias", default=True)
    modules = [
        *whisper_layers(scope, config, block),
        plain("audio_tower.embed_positions", positions, block.hidden),
        loose("multi_modal_projector.linear_1", block.hidden, dims.hidden, bias=bias),
        loose("multi_modal_projector.linear_2", dims.hidden, dims.hidden, bias=bias),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // 2))


def glm_asr(scope: Scope, top: Config, dims: Dims) -> Tower:
    """GLM-ASR: Whisper's layers with rotary positions, four frames joined into a projector of its own width."""
    config = top.section("audio_config")
    block = whisper_block(config)
    wide = 2 * dims.hidden
    modules = [
        *whisper_layers(scope, config, block),
        scope.column("multi_modal_projector.linear_1", block.width, (wide,), bias=True, role=Role.PROJECTION),
        scope.row("multi_modal_projector.linear_2", wide, dims.hidden, bias=True, role=Role.PROJECTION),
    ]
    return Tower(tuple(modules), batch(block, patches=1500, tokens=375), (plain("rotary_emb.inv_freq", block.hidden // block.heads // 4, bits=32),))


def moss_transcribe(scope: Scope, top: Config, dims: Dims) -> Tower:
    """MOSS Transcribe Diarize: Whisper's encoder, four frames joined by an adaptor with a norm."""
    config = top.section("audio_config")
    block, positions = whisper_block(config), config.integer("max_source_positions", default=1500)
    joined = block.hidden * top.integer("audio_merge_size", default=4)
    modules = [
        *whisper_layers(scope, config, block, "whisper_encoder"),
        plain("whisper_encoder.embed_positions", positions, block.hidden),
        loose("vq_adaptor.layers.0", joined, dims.hidden),
        loose("vq_adaptor.layers.2", dims.hidden, dims.hidden),
        *norm("vq_adaptor.layers.3", dims.hidden, bias=True),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // 4), shared_out=whisper_stack(scope, config, block, "whisper_encoder"))

"""Towers that listen: Whisper's encoder and its kin, and what joins them to a text model.

Sources: vllm/model_executor/models/{whisper,qwen2_audio,qwen2_5_omni_thinker,qwen3_omni_moe_thinker,qwen3_asr,ultravox,voxtral,granite_speech}.py, 0.33.
"""

from __future__ import annotations

from dataclasses import replace

from planner.architecture.blocks import Scope, norm, plain
from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED
from planner.architecture.text import Dims
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose
from planner.architecture.towers.tower import Tower
from planner.facts.model import LayerGroup
from planner.facts.modules import Module, Role, Split

_NAMES = ("self_attn.qkv_proj", "self_attn.out_proj", "fc1", "fc2")
_PARTS = ("q_proj", "k_proj", "v_proj")


def whisper_block(config: Config) -> Block:
    """A layer of Whisper's encoder: biased everywhere but keys."""
    return Block(
        hidden=config.integer("d_model", "hidden_size", default=1280),
        width=config.integer("encoder_ffn_dim", "intermediate_size", default=5120),
        heads=config.integer("encoder_attention_heads", "num_attention_heads", default=20),
        names=_NAMES,
        parts=_PARTS,
    )


def whisper_layers(scope: Scope, config: Config, block: Block, at: str = "audio_tower") -> list[Module]:
    """Two convolutions over the spectrum, the layers, the last norm."""
    return [
        *convolution(f"{at}.conv1", block.hidden, config.integer("num_mel_bins", default=128), 3),
        *convolution(f"{at}.conv2", block.hidden, block.hidden, 3),
        *encoder(scope, f"{at}.layers", config.integer("encoder_layers", "num_hidden_layers", default=32, high=500), block),
        *norm(f"{at}.layer_norm", block.hidden, bias=True),
    ]


def whisper_stack(scope: Scope, config: Config, block: Block, at: str) -> LayerGroup:
    """Its layers where the class shares them out over pipeline stages as a text model's (whisper.py WhisperEncoder, `enable_pp`)."""
    depth = config.integer("encoder_layers", "num_hidden_layers", default=32, high=500)
    return LayerGroup(indices=tuple(range(depth)), modules=tuple(encoder(scope, f"{at}.layers", 1, block)), caches=())


def _positions(config: Config) -> int:
    return config.integer("max_source_positions", default=1500)


def whisper(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Whisper's own encoder, with positions that are kept as parameters."""
    block, length = whisper_block(top), _positions(top)
    modules = [*whisper_layers(scope, top, block, "model.encoder"), plain("model.encoder.embed_positions", length, block.hidden)]
    return Tower(tuple(modules), batch(block, patches=length, tokens=length))


def qwen2_audio(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Qwen2-Audio: transformers' Whisper encoder with learned positions, one projection."""
    config = top.section("audio_config")
    block, positions = replace(whisper_block(config), loose=True, key_bias=False), _positions(config)
    modules = [
        *whisper_layers(scope, config, block),
        plain("audio_tower.embed_positions", positions, block.hidden),
        loose("multi_modal_projector.linear", block.hidden, dims.hidden),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // 2))


def qwen25_omni_audio(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Qwen2.5-Omni: transformers' Whisper encoder with fixed positions, its projection, two tokens around a sound."""
    config = top.section("audio_config")
    block, positions = replace(whisper_block(config), loose=True, key_bias=False), _positions(config)
    out = config.integer("output_dim", default=3584)
    modules = [
        *whisper_layers(scope, config, block),
        plain("audio_tower.audio_bos_eos_token", 2, out),
        loose("audio_tower.proj", block.hidden, out),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // 2), (plain("positional_embedding", positions, block.hidden, bits=32),))


def qwen3_omni_audio(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Qwen3-Omni and Qwen3-ASR: three convolutions over the spectrum as a picture; never quantized, split where ranks divide the heads."""
    config, at = top.section("audio_config"), "audio_tower"
    block, positions = replace(whisper_block(config), split=Split.EVEN), _positions(config)
    channels = config.integer("downsample_hidden_size", default=480)
    bins = config.integer("num_mel_bins", default=128)
    for _ in range(3):
        bins = (bins + 1) // 2
    modules = [
        *convolution(f"{at}.conv2d1", channels, 1, 3, 3),
        *convolution(f"{at}.conv2d2", channels, channels, 3, 3),
        *convolution(f"{at}.conv2d3", channels, channels, 3, 3),
        loose(f"{at}.conv_out", channels * bins, block.hidden, bias=False),
        *encoder(Scope(config, UNQUANTIZED), f"{at}.layers", config.integer("encoder_layers", default=32, high=500), block),
        *norm(f"{at}.ln_post", block.hidden, bias=True),
        loose(f"{at}.proj1", block.hidden, block.hidden),
        loose(f"{at}.proj2", block.hidden, config.integer("output_dim", default=3584)),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // 2), (plain("positional_embedding", positions, block.hidden, bits=32),))


def ultravox(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Ultravox: Whisper's encoder, frames stacked into a gated projector with norms around it, or into layers of Whisper's."""
    config = top.section("audio_config")
    block, positions = whisper_block(config), _positions(config)
    stack = top.integer("stack_factor", default=8)
    projector = _layered_projector if top.integer("num_projector_layers", default=0, low=0, high=500) else _stacked_projector
    modules: list[Module] = [
        *whisper_layers(scope, config, block),
        plain("audio_tower.embed_positions", positions, block.hidden),
        *norm("multi_modal_projector.ln_pre", block.hidden * stack),
        *projector(scope, top, block, dims),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // stack))


def _stacked_projector(scope: Scope, top: Config, block: Block, dims: Dims) -> list[Module]:
    """Two matrices, the gate between them, a norm behind the first or the second."""
    inputs, middle = block.hidden * top.integer("stack_factor", default=8), top.integer("hidden_size", default=4096)
    late = not top.flag("projector_ln_mid", default=False)
    half = middle // 2 if top.text("projector_act", default="swiglu") == "swiglu" else middle
    return [
        scope.replicated("multi_modal_projector.linear_1", inputs, (middle,), role=Role.PROJECTION),
        scope.replicated("multi_modal_projector.linear_2", half, (dims.hidden,), role=Role.PROJECTION),
        *norm("multi_modal_projector.ln_post" if late else "multi_modal_projector.ln_mid", dims.hidden if late else half),
    ]


def _layered_projector(scope: Scope, top: Config, block: Block, dims: Dims) -> list[Module]:
    """Layers as the encoder's, with positions of their own (ultravox.py UltravoxTransformerProjector)."""
    at, inputs = "multi_modal_projector", block.hidden * top.integer("stack_factor", default=8)
    return [
        scope.replicated(f"{at}.linear_in", inputs, (block.hidden,), bias=True, role=Role.PROJECTION),
        plain(f"{at}.embed_positions", _positions(top.section("audio_config")), block.hidden),
        *encoder(scope, f"{at}.layers", top.integer("num_projector_layers", high=500), block),
        *norm(f"{at}.ln_post", block.hidden),
        scope.replicated(f"{at}.linear_out", block.hidden, (dims.hidden,), bias=True, role=Role.PROJECTION),
    ]


def voxtral(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Voxtral: Whisper's encoder, four frames joined and projected twice."""
    config = top.section("audio_config")
    block, positions = replace(whisper_block(config), key_bias=True), _positions(config)
    joined = top.integer("downsample_factor", default=4)
    modules = [
        *whisper_layers(scope, config, block, "whisper_encoder.whisper_encoder"),
        plain("whisper_encoder.embed_positions", positions, block.hidden, bits=32),
        loose("audio_language_adapter.w_in", block.hidden * joined, dims.hidden, bias=False),
        loose("audio_language_adapter.w_out", dims.hidden, dims.hidden, bias=False),
    ]
    shared_out = whisper_stack(scope, config, block, "whisper_encoder.whisper_encoder")
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // joined), shared_out=shared_out)


def kimi_audio(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Kimi-Audio: Whisper large v3 from a folder of its own, four frames joined, projected twice and normed."""
    config, positions = Config({}, top.path), 1500
    block = whisper_block(config)
    inputs = top.integer("kimia_adaptor_input_dim", default=5120)
    modules = [
        *whisper_layers(scope, config, block),
        plain("audio_tower.embed_positions", positions, block.hidden),
        loose("multi_modal_projector.vq_adaptor_layers_0", inputs, dims.hidden),
        loose("multi_modal_projector.vq_adaptor_layers_3", dims.hidden, dims.hidden),
        *norm("multi_modal_projector.vq_adaptor_layers_4", dims.hidden, bias=True),
    ]
    return Tower(tuple(modules), batch(block, patches=positions, tokens=positions // 4), shared_out=whisper_stack(scope, config, block, "audio_tower"))

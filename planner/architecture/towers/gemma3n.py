"""Towers of Gemma 3n: MobileNet V5 for images, the Universal Speech Model for sound, an embedder behind each.

Sources: vllm/model_executor/models/gemma3n_mm.py, 0.33; transformers' Gemma3nAudioEncoder; timm's mobilenetv5_300m_enc.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, embedding, norm, plain, unquantized
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.architecture.towers.encoder import Block, batch, convolution, loose
from planner.architecture.towers.tower import Tower
from planner.facts.modules import Module, Role, Split

_MOBILENET = 294_126_912  # parameters of timm's mobilenetv5_300m_enc, the only tower that there is


def _embedder(at: str, words: int, hidden: int, dims: Dims) -> list[Module]:
    return [
        embedding(words, hidden, f"{at}.embedding"),
        *norm(f"{at}.hard_embedding_norm", hidden),
        *norm(f"{at}.soft_embedding_norm", hidden),
        unquantized(f"{at}.embedding_projection", hidden, dims.hidden, role=Role.PROJECTION, split_in=Split.TP),
    ]


def _conformer(at: str, hidden: int, inner: int, head: int, kernel: int) -> list[Module]:
    def feed(name: str) -> list[Module]:
        return [
            *norm(f"{at}.{name}.pre_layer_norm", hidden),
            loose(f"{at}.{name}.ffw_layer_1", hidden, 4 * hidden, bias=False),
            loose(f"{at}.{name}.ffw_layer_2", 4 * hidden, hidden, bias=False),
            *norm(f"{at}.{name}.post_layer_norm", hidden),
        ]

    return [
        *feed("ffw_layer_start"),
        *norm(f"{at}.attention.pre_attn_norm", hidden),
        loose(f"{at}.attention.attn.relative_position_embedding.pos_proj", hidden, inner, bias=False),
        plain(f"{at}.attention.attn.per_dim_scale", head),
        *(loose(f"{at}.attention.attn.{name}_proj", hidden, inner, bias=False) for name in "qkv"),
        loose(f"{at}.attention.post", inner, hidden, bias=False),
        *norm(f"{at}.attention.post_norm", hidden),
        *norm(f"{at}.lconv1d.pre_layer_norm", hidden),
        loose(f"{at}.lconv1d.linear_start", hidden, 2 * hidden, bias=False),
        *convolution(f"{at}.lconv1d.depthwise_conv1d", hidden, 1, kernel, bias=False),
        *norm(f"{at}.lconv1d.conv_norm", hidden),
        loose(f"{at}.lconv1d.linear_end", hidden, hidden, bias=False),
        *feed("ffw_layer_end"),
        *norm(f"{at}.norm", hidden),
    ]


def _audio(config: Config, at: str) -> list[Module]:
    hidden, heads = config.integer("hidden_size", default=1536), config.integer("conf_num_attention_heads", default=8)
    channels = config.integers("sscp_conv_channel_size", low=1, count=2) if config.has("sscp_conv_channel_size") else [128, 32]
    head = hidden // heads
    frequencies = config.integer("input_feat_size", default=128)
    modules: list[Module] = []
    for index, (before, after) in enumerate(((1, channels[0]), (channels[0], channels[1]))):
        name = f"{at}.subsample_conv_projection.conv_{index}"
        modules += [*convolution(f"{name}.conv", after, before, 3, 3, bias=False), *norm(f"{name}.norm", after)]
        frequencies = (frequencies - 1) // 2 + 1
    modules.append(loose(f"{at}.subsample_conv_projection.input_proj_linear", channels[1] * frequencies, hidden, bias=False))
    for index in range(config.integer("conf_num_hidden_layers", default=12, high=500)):
        modules += _conformer(f"{at}.conformer.{index}", hidden, heads * head, head, config.integer("conf_conv_kernel_size", default=5))
    return modules


def gemma3n(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Both towers, whole on every rank, and their embedders."""
    vision, audio = top.section("vision_config"), top.section("audio_config")
    modules = [
        plain("vision_tower", _MOBILENET),
        *_audio(audio, "audio_tower"),
        *_embedder("embed_vision", vision.integer("vocab_size", default=128), vision.integer("hidden_size", default=2048), dims),
        *_embedder("embed_audio", audio.integer("vocab_size", default=128), audio.integer("hidden_size", default=1536), dims),
    ]
    block = Block(hidden=audio.integer("hidden_size", default=1536), width=4 * audio.integer("hidden_size", default=1536), heads=8)
    return Tower(tuple(modules), batch(block, patches=2304, tokens=256))

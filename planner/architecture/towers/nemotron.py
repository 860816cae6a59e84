"""Towers of Nemotron Nano VL and Nemotron Omni: C-RADIO for images and films, Parakeet for sound.

Sources: vllm/model_executor/models/{nano_nemotron_vl,radio,parakeet,nemotron_vl}.py, 0.33; transformers' ParakeetEncoder.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, addend, norm, plain
from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED
from planner.architecture.text import Dims
from planner.architecture.towers.chat import two_layers
from planner.architecture.towers.encoder import Block, batch, convolution, encoder, loose, siglip, square_patches
from planner.architecture.towers.tower import Tower
from planner.errors import UnsupportedModelError
from planner.facts.modules import Module, Split

# width, layers, heads, width of the MLP (transformers_utils/configs/radio.py VIT_TIMM_DIM_BY_NAME)
_RADIO = {
    "vit_small_patch16_224": (384, 12, 6, 1536),
    "vit_base_patch16_224": (768, 12, 12, 3072),
    "vit_large_patch16_224": (1024, 24, 16, 4096),
    "vit_huge_patch16_224": (1280, 32, 16, 5120),
    "vit_so400m_patch16_224": (1152, 27, 16, 4304),
}


def _radio(config: Config, *, whole: bool = False) -> tuple[list[Module], Block]:
    """C-RADIO: InternViT's layers behind patches of the largest picture's positions; never quantized, `whole` and without scales where it is torch's own."""
    given = config.section("args")
    name = given.text("model", default="vit_huge_patch16_224")
    if name not in _RADIO:
        raise UnsupportedModelError(f"{config.path}: the tower {name!r} is not known", f"expected one of {', '.join(_RADIO)}")
    hidden, depth, heads, width = _RADIO[name]
    block = Block(hidden=hidden, width=width, heads=heads, vectors=() if whole else (hidden, hidden), split=Split.EVEN, mlp_split=Split.TP, loose=whole)
    patch, frames = config.integer("patch_size", default=16), config.integer("video_temporal_patch_size", default=1)
    side = round(given.integer("cpe_max_size", default=2048) / patch)
    teachers = {str(teacher.get("name")) for teacher in given.items("teachers") if isinstance(teacher, dict)}
    words = max(1, len(teachers)) if given.flag("cls_token_per_teacher", default=False) else 1
    multiple = given.optional("register_multiple", low=1)
    registers = multiple - words % multiple if multiple else 0
    at = "vision_model.model"
    modules = [
        loose(f"{at}.patch_generator.embedder", 3 * patch**2, hidden, bias=False),
        *([loose(f"{at}.patch_generator.video_embedder", 3 * frames * patch**2, hidden, bias=False)] if frames > 1 else []),
        plain(f"{at}.patch_generator.pos_embed", side**2, hidden),
        plain(f"{at}.patch_generator.cls_token.token", words + registers, hidden),
        *encoder(Scope(config, UNQUANTIZED), f"{at}.encoder.layers", depth, block),
    ]
    return modules, block


def _parakeet(config: Config, dims: Dims) -> list[Module]:
    """Parakeet's fast conformer and its projection, whole on every rank."""
    hidden, width = config.integer("hidden_size", default=1024), config.integer("intermediate_size", default=4096)
    bias, convolved = False, config.flag("convolution_bias", default=True)  # vLLM has no bias in attention and MLP, whatever the file says
    channels, kernel = config.integer("subsampling_conv_channels", default=256), config.integer("subsampling_conv_kernel_size", default=3)
    steps = config.integer("subsampling_factor", default=8).bit_length() - 1
    bins = config.integer("num_mel_bins", default=80)
    for _ in range(steps):
        bins = (bins + 2 * ((kernel - 1) // 2) - kernel) // config.integer("subsampling_conv_stride", default=2) + 1
    at = "sound_encoder.encoder"
    modules: list[Module] = convolution(f"{at}.subsampling.layers.0", channels, 1, kernel, kernel)
    for index in range(1, steps):
        modules += convolution(f"{at}.subsampling.layers.{3 * index - 1}", channels, 1, kernel, kernel)
        modules += convolution(f"{at}.subsampling.layers.{3 * index}", channels, channels, 1, 1)
    modules.append(loose(f"{at}.subsampling.linear", channels * bins, hidden))
    for index in range(config.integer("num_hidden_layers", default=24, high=500)):
        layer = f"{at}.layers.{index}"
        feeds = [
            module
            for name in ("feed_forward1", "feed_forward2")
            for module in (loose(f"{layer}.{name}.linear1", hidden, width, bias=bias), loose(f"{layer}.{name}.linear2", width, hidden, bias=bias))
        ]
        modules += [
            *feeds,
            *(loose(f"{layer}.self_attn.{name}_proj", hidden, hidden, bias=bias) for name in "qkvo"),
            loose(f"{layer}.self_attn.relative_k_proj", hidden, hidden, bias=False),
            addend(f"{layer}.self_attn.bias_u", hidden),
            addend(f"{layer}.self_attn.bias_v", hidden),
            *convolution(f"{layer}.conv.pointwise_conv1", 2 * hidden, hidden, 1, bias=convolved),
            *convolution(f"{layer}.conv.depthwise_conv", hidden, 1, config.integer("conv_kernel_size", default=9), bias=convolved),
            *norm(f"{layer}.conv.norm", hidden, bias=True),
            *convolution(f"{layer}.conv.pointwise_conv2", hidden, hidden, 1, bias=convolved),
            *(module for part in range(5) for module in norm(f"{layer}.norm{part}", hidden, bias=True)),
        ]
    out, biased = config.integer("projection_hidden_size", default=dims.hidden), config.flag("projection_bias", default=False)
    return [
        *modules,
        *norm("sound_encoder.projection.norm", hidden),
        loose("sound_encoder.projection.linear1", hidden, out, bias=biased),
        loose("sound_encoder.projection.linear2", out, dims.hidden, bias=biased),
    ]


def nano(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Nemotron Nano VL V2 and Nemotron Omni; Parakeet where the config has sound."""
    config = top.section("vision_config")
    modules, block = _radio(config)
    joined = top.integer("vit_hidden_size", default=block.hidden) * round(1 / top.number("downsample_ratio", default=0.5)) ** 2
    width = top.integer("projector_hidden_size", default=dims.hidden)
    heads_beside = top.section("text_config").integer("num_nextn_predict_layers", default=0, low=0)
    modules += [
        *(norm("vision_final_layernorm", block.hidden, bias=True) if heads_beside else []),
        *norm("mlp1.0", joined),
        loose("mlp1.1", joined, width, bias=False),
        loose("mlp1.3", width, dims.hidden, bias=False),
        *(_parakeet(top.section("sound_config"), dims) if top.has("sound_config") else []),
    ]
    patches = (top.integer("force_image_size", default=512) // config.integer("patch_size", default=16)) ** 2
    return Tower(tuple(modules), batch(block, patches=13 * patches, tokens=13 * patches // 4))


def nano_llama(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Llama Nemotron Nano VL: C-RADIO as its own code builds it, four patches joined and projected twice."""
    config = top.section("vision_config")
    modules, block = _radio(config, whole=True)
    ratio = max(0.01, top.number("downsample_ratio", default=0.5))
    joined = top.integer("vit_hidden_size", default=block.hidden) * int(1 / ratio) ** 2
    width = top.integer("projector_hidden_size", default=dims.hidden)
    modules += [*norm("mlp1.0", joined, bias=True), loose("mlp1.1", joined, width), loose("mlp1.3", width, dims.hidden)]
    patches = (top.integer("force_image_size", default=512) // config.integer("patch_size", default=16)) ** 2
    return Tower(tuple(modules), batch(block, patches=13 * patches, tokens=13 * patches // 4))


def llama_nemotron(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Llama Nemotron VL as an embedding model or reranker: SigLIP, four patches joined and projected twice."""
    config = top.section("vision_config")
    patches = square_patches(config, image=512, patch=16)
    modules, block = siglip(scope, Config({"patch_size": 16, **config.data}, config.path), "vision_model.vision_model", positions=patches)
    ratio = max(0.01, top.number("downsample_ratio", default=0.5))
    modules += two_layers(scope, block.hidden * int(1 / ratio) ** 2, dims)
    return Tower(tuple(modules), batch(block, patches=7 * patches, tokens=7 * patches // 4), (plain("position_ids", patches, bits=64),))

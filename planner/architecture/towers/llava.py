"""Towers in the manner of LLaVA: CLIP, SigLIP, Pixtral or InternViT before a small projector; the text model is what its model_type says.

Sources: vllm/model_executor/models/{llava,llava_next,llava_onevision,internvl,idefics3,paligemma,clip,siglip}.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, addend, norm, plain, unquantized
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.architecture.towers.tower import Tower, TowerBuilder
from planner.architecture.towers.vision import encoder_layers, pixtral_layers
from planner.errors import PlannerError, UnsupportedModelError
from planner.facts.model import VisionSpec
from planner.facts.modules import Module, Role, Tensor
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tower without its projector: what it holds and the numbers its projector needs."""

    modules: list[Module]
    hidden: int
    width: int
    heads: int
    patches: int
    buffers: tuple[Tensor, ...] = ()

    def spec(self, images: int, tokens: int) -> VisionSpec:
        """The profiling batch: so many images at once, `tokens` embeddings of each."""
        return VisionSpec(
            hidden_size=self.hidden, intermediate_size=self.width, heads=self.heads, max_patches=images * self.patches, tokens_per_item=images * tokens
        )


def clip_encoder(scope: Scope, config: Config, at: str, *, levels: list[int], post_norm: bool = False, positions: bool = True) -> Encoder:
    """CLIP (with a class token) or SigLIP up to the deepest of the feature `levels`; negative ones count from the end."""
    clip = config.text("model_type", default="clip_vision_model") == "clip_vision_model"
    hidden, width = config.integer("hidden_size", default=768), config.integer("intermediate_size", default=3072)
    total, patch = config.integer("num_hidden_layers", default=12, high=500), config.integer("patch_size", default=32 if clip else 16)
    depth = max(total + level + 1 if level < 0 else level for level in levels)
    patches = (config.integer("image_size", default=224) // patch) ** 2
    tokens, heads = patches + (1 if clip else 0), config.integer("num_attention_heads", default=12)
    first = [plain(f"{at}.embeddings.class_embedding", hidden), *norm(f"{at}.pre_layrnorm", hidden, bias=True)]
    modules = [
        plain(f"{at}.embeddings.patch_embedding", hidden, 3, patch, patch),
        plain(f"{at}.embeddings.position_embedding", tokens, hidden),
        *(first if clip else [addend(f"{at}.embeddings.patch_embedding.bias", hidden)]),
        *encoder_layers(scope, at, depth, (hidden, width, heads), tiled=not clip),
        *(norm(f"{at}.post_layernorm", hidden, bias=True) if post_norm else []),
    ]
    buffers = (plain("position_ids", tokens, bits=64),) if positions else ()
    return Encoder(modules, hidden, width, heads, patches, buffers)


def feature_levels(top: Config) -> list[int]:
    """The layers whose outputs the projector reads."""
    if isinstance(top.data.get("vision_feature_layer"), list):
        return top.integers("vision_feature_layer", low=-500, count=1)
    return [top.integer("vision_feature_layer", default=-2, low=-500)]


def llava(*, images: int, divided: bool = True) -> TowerBuilder:
    """LLaVA, LLaVA-NeXT and OneVision: a two-layer projector that may read several layers; `images` tiles of one picture at most."""

    def projector(scope: Scope, inputs: int, dims: Dims, bias: bool) -> list[Module]:
        first, second = "multi_modal_projector.linear_1", "multi_modal_projector.linear_2"
        if divided:
            return [
                scope.column(first, inputs, (dims.hidden,), bias=bias, role=Role.PROJECTION),
                scope.row(second, dims.hidden, dims.hidden, bias=bias, role=Role.PROJECTION),
            ]
        return [
            unquantized(first, inputs, dims.hidden, bias=bias, role=Role.PROJECTION),
            unquantized(second, dims.hidden, dims.hidden, bias=bias, role=Role.PROJECTION),
        ]

    def build(scope: Scope, top: Config, dims: Dims) -> Tower:
        config, levels = top.section("vision_config"), feature_levels(top)
        kind = config.text("model_type", default="clip_vision_model")
        if kind == "pixtral":
            modules, hidden, spec, buffers = pixtral_layers(scope, config)
        elif kind in ("clip_vision_model", "siglip_vision_model"):
            encoder = clip_encoder(scope, config, "vision_tower.vision_model", levels=levels)
            modules, hidden, spec, buffers = encoder.modules, encoder.hidden, encoder.spec(images, encoder.patches), encoder.buffers
        else:
            raise UnsupportedModelError(f"{config.path}: a {kind} tower is not supported here", "expected clip_vision_model, siglip_vision_model or pixtral")
        bias = top.flag("multimodal_projector_bias", default=True)
        return Tower((*modules, *projector(scope, hidden * len(levels), dims, bias)), spec, buffers)

    return build


def newline(scope: Scope, dims: Dims) -> list[Module]:
    """What ends a row of an image's tokens; built on every pipeline stage."""
    return [plain("image_newline", dims.hidden)]


def idefics3(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Idefics 3 and SmolVLM: SigLIP with its last norm, neighbouring patches joined by one projection."""
    config = top.section("vision_config")
    patch = config.integer("patch_size", default=32)
    sized = Config({"hidden_size": 1152, "num_attention_heads": 16, **config.data, "patch_size": patch, "model_type": "siglip_vision_model"}, config.path)
    encoder = clip_encoder(scope, sized, "model.vision_model", levels=[-1], post_norm=True, positions=False)
    joined = top.integer("scale_factor", default=2) ** 2
    connector = scope.replicated("model.connector.modality_projection.proj", encoder.hidden * joined, (dims.hidden,), role=Role.PROJECTION)
    return Tower((*encoder.modules, connector), encoder.spec(17, max(1, encoder.patches // joined)), encoder.buffers)


def paligemma(scope: Scope, top: Config, dims: Dims) -> Tower:
    """PaliGemma: SigLIP with its last norm and one projection."""
    config = top.section("vision_config")
    sized = Config({**config.data, "model_type": "siglip_vision_model"}, config.path)
    encoder = clip_encoder(scope, sized, "vision_tower.vision_model", levels=[-1], post_norm=True)
    out = config.integer("projection_dim", default=top.integer("projection_dim", default=dims.hidden))
    projector = unquantized("multi_modal_projector.linear", encoder.hidden, out, bias=True, role=Role.PROJECTION)
    return Tower((*encoder.modules, projector), encoder.spec(1, encoder.patches), encoder.buffers)


def internvl(scope: Scope, top: Config, dims: Dims) -> Tower:
    """InternVL in Hugging Face's layout: InternViT with layer scales, pixels shuffled into a normed two-layer projector; none of it quantized."""
    scope, config = scope.plain(), top.section("vision_config")
    hidden, width = config.integer("hidden_size", default=1024), config.integer("intermediate_size", default=4096)
    patch, heads = _side(config, "patch_size", 14), config.integer("num_attention_heads", default=16)
    patches = (_side(config, "image_size", 448) // patch) ** 2
    bias, qk_norm = config.flag("attention_bias", default=False), config.flag("use_qk_norm", default=False)
    layer_norm = config.text("norm_type", default="layer_norm") == "layer_norm"
    joined = _joined(top)
    modules: list[Module] = [
        plain("vision_tower.embeddings.cls_token", hidden),
        plain("vision_tower.embeddings.position_embeddings", patches + 1, hidden),
        plain("vision_tower.embeddings.patch_embeddings.projection", hidden, 3, patch, patch),
        addend("vision_tower.embeddings.patch_embeddings.projection.bias", hidden),
        *([] if config.flag("use_mean_pooling", default=True) else norm("vision_tower.layernorm", hidden, bias=True)),
        *norm("multi_modal_projector.layer_norm", hidden * joined, bias=True),
        scope.replicated("multi_modal_projector.linear_1", hidden * joined, (dims.hidden,), bias=True, role=Role.PROJECTION),
        scope.replicated("multi_modal_projector.linear_2", dims.hidden, (dims.hidden,), bias=True, role=Role.PROJECTION),
    ]
    for index in range(config.integer("num_hidden_layers", default=24, high=500)):
        at = f"vision_tower.encoder.layer.{index}"
        modules += [
            plain(f"{at}.lambda_1", hidden),
            plain(f"{at}.lambda_2", hidden),
            scope.replicated(f"{at}.attention.qkv_proj", hidden, (hidden, hidden, hidden), bias=bias, parts=("q_proj", "k_proj", "v_proj"), role=Role.QKV),
            scope.replicated(f"{at}.attention.projection_layer", hidden, (hidden,), bias=True, role=Role.ATTENTION_OUTPUT),
            *([*norm(f"{at}.attention.q_norm", hidden), *norm(f"{at}.attention.k_norm", hidden)] if qk_norm else []),
            *scope.plain_mlp(f"{at}.mlp.fc1", f"{at}.mlp.fc2", hidden, width, bias=True),
            *norm(f"{at}.layernorm_before", hidden, bias=layer_norm),
            *norm(f"{at}.layernorm_after", hidden, bias=layer_norm),
        ]
    encoder = Encoder(modules, hidden, width, heads, patches)
    return Tower(tuple(modules), encoder.spec(13, patches // joined))


def _joined(top: Config) -> int:
    """Neighbouring patches that the pixel shuffle joins into one token. Raises PlannerError for a ratio that joins none."""
    ratio = top.number("downsample_ratio", default=0.5)
    if not 0 < ratio <= 1:
        raise PlannerError(f"{top.path}: downsample_ratio is {ratio:g}; expected more than 0 and at most 1")
    return int(1 / ratio) ** 2


def _side(config: Config, key: str, default: int) -> int:
    """One side of a square size that may be given as a pair."""
    return config.integers(key, low=1, count=1)[0] if isinstance(config.data.get(key), list) else config.integer(key, default=default)

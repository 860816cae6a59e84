"""Towers of SigLIP and CLIP before yet other projectors: Phi-4 Vision, Isaac, Bagel, Granite 4 Vision, ColModernVBERT; and the two as models of their own.

Sources: vllm/model_executor/models/{phi4siglip,lfm2_siglip2,isaac,bagel,granite4_vision,colmodernvbert,clip,siglip}.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, embedding, norm, plain
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, full_attention
from planner.architecture.towers.conformer import qformer
from planner.architecture.towers.encoder import batch, loose, siglip, square_patches
from planner.architecture.towers.llava import clip_encoder
from planner.architecture.towers.tower import Tower
from planner.architecture.towers.vision import encoder_layers
from planner.errors import PlannerError
from planner.facts.modules import Module, Role, Tensor

_SIGLIP2 = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 16, "num_patches": 256}


def _siglip2(top: Config) -> Config:
    """The section of a SigLIP 2 tower with the defaults of its class."""
    config = top.section("vision_config")
    return Config({**_SIGLIP2, **config.data}, config.path)


def phi4_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Phi-4 reasoning vision: SigLIP 2 at any shape without its last layer and norm, two matrices."""
    config = _siglip2(top)
    depth = max(1, config.integer("num_hidden_layers", high=500) - 1)
    modules, block = siglip(scope, config, "vision_tower.vision_model", positions=config.integer("num_patches"), post_norm=False, depth=depth, tiled=False)
    at, patches = "multi_modal_projector", top.integer("max_num_patches", default=3600)
    modules += [
        scope.column(f"{at}.linear_1", top.integer("mm_hidden_size"), (dims.hidden,), bias=True, role=Role.PROJECTION),
        scope.row(f"{at}.linear_2", dims.hidden, dims.hidden, bias=True, role=Role.PROJECTION),
    ]
    return Tower(tuple(modules), batch(block, patches=patches, tokens=patches))


def isaac(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Isaac: SigLIP 2 at any shape, its patches shuffled together before two matrices without biases."""
    config, at = _siglip2(top), "vision_embedding"
    modules, block = siglip(scope, config, f"{at}.transformer", positions=config.integer("num_patches"))
    joined = config.integer("pixel_shuffle_scale_factor", default=1) ** 2
    inputs, patches = block.hidden * joined, top.integer("vision_max_num_patches", default=256)
    modules += [
        scope.column(f"{at}.linear_fc1", inputs, (4 * inputs,), role=Role.PROJECTION),
        scope.row(f"{at}.linear_fc2", 4 * inputs, dims.hidden, role=Role.PROJECTION),
    ]
    return Tower(tuple(modules), batch(block, patches=patches, tokens=max(1, patches // joined)))


def bagel(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Bagel: SigLIP of 26 layers, as the checkpoint has where its config says 27; two matrices and fixed positions behind it."""
    config = top.section("vit_config")
    patches, depth = square_patches(config, image=224, patch=16), config.integer("num_hidden_layers", default=12, high=500)
    modules, block = siglip(scope, config, "vit_model.vision_model", positions=patches, depth=26 if depth == 27 else depth)
    modules += [
        scope.column("connector.fc1", block.hidden, (dims.hidden,), bias=True, role=Role.PROJECTION),
        scope.row("connector.fc2", dims.hidden, dims.hidden, bias=True, role=Role.PROJECTION),
    ]
    side = top.integer("vit_max_num_patch_per_side", default=70, high=10_000)
    buffers = (plain("position_ids", patches, bits=64), plain("vit_pos_embed", side**2, dims.hidden, bits=32))
    return Tower(tuple(modules), batch(block, patches=patches, tokens=patches), buffers)


def granite4_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """Granite 4 Vision: every layer of SigLIP, and a Q-Former over windows for each depth of the text model and each of four offsets."""
    config = top.section("vision_config")
    patches = square_patches(config, image=384)
    modules, block = siglip(scope, config, "vision_tower.vision_model", positions=patches, post_norm=False)
    query, window = _sides(top)
    inner = {
        "hidden_size": block.hidden,
        "intermediate_size": 3072,
        "num_hidden_layers": 1,
        "encoder_hidden_size": block.hidden,
        "cross_attention_frequency": 1,
    }
    count = len(top.items("deepstack_layer_map")) + 4
    for index in range(count):
        at = f"projectors.{index}"
        modules += [
            *qformer(Config(inner, config.path), f"{at}.qformer", default_inputs=block.hidden),
            *norm(f"{at}.norm", block.hidden, bias=True),
            plain(f"{at}.query", query**2, block.hidden),
            plain(f"{at}.image_positions", window**2, block.hidden),
            loose(f"{at}.out_linear", block.hidden, dims.hidden),
        ]
    tokens = max(1, patches * query**2 // window**2)
    return Tower(tuple(modules), batch(block, patches=10 * patches, tokens=10 * tokens), (plain("position_ids", patches, bits=64),))


def _sides(top: Config) -> tuple[int, int]:
    """Sides of the queries and of the window they read, of "4/8". Raises PlannerError for anything else."""
    query, _, window = top.text("downsample_rate", default="4/8").partition("/")
    if not (query.isdigit() and window.isdigit() and 0 < int(query) <= int(window) < 1000):
        raise PlannerError(f"{top.path}: downsample_rate is {top.data.get('downsample_rate')!r}; expected two sides, as in 4/8")
    return int(query), int(window)


def modernvbert(scope: Scope, top: Config, dims: Dims) -> Tower:
    """ModernVBERT: SigLIP, its patches shuffled together before one matrix."""
    config = top.section("vision_config")
    patches, joined = square_patches(config, image=224, patch=16), top.integer("pixel_shuffle_factor", default=4) ** 2
    modules, block = siglip(scope, config, "vision_model.vision_model", positions=patches)
    modules.append(loose("connector.proj", block.hidden * joined, dims.hidden, bias=False))
    return Tower(tuple(modules), batch(block, patches=patches, tokens=max(1, patches // joined)), (plain("position_ids", patches, bits=64),))


def clip_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """CLIP's images, projected to the width that both sides share."""
    tower = clip_encoder(scope, top.section("vision_config"), "vision_model", levels=[-1], post_norm=True)
    projection = loose("visual_projection", tower.hidden, top.integer("projection_dim", default=512), bias=False)
    return Tower((*tower.modules, projection), tower.spec(1, tower.patches), tower.buffers)


def siglip_vision(scope: Scope, top: Config, dims: Dims) -> Tower:
    """SigLIP's images, pooled by a learned probe."""
    config = top.section("vision_config")
    tower = clip_encoder(scope, Config({**config.data, "model_type": "siglip_vision_model"}, config.path), "vision_model", levels=[-1], post_norm=True)
    head: list[Module] = []
    if config.flag("vision_use_head", default=True):
        head = [
            plain("vision_model.head.probe", tower.hidden),
            loose("vision_model.head.attention.in_proj", tower.hidden, 3 * tower.hidden),
            loose("vision_model.head.attention.out_proj", tower.hidden, tower.hidden),
            *norm("vision_model.head.layernorm", tower.hidden, bias=True),
            *scope.plain_mlp("vision_model.head.mlp.fc1", "vision_model.head.mlp.fc2", tower.hidden, tower.width, bias=True),
        ]
    return Tower((*tower.modules, *head), tower.spec(1, tower.patches), tower.buffers)


def text_layers(config: Config, dims: Dims) -> LayerBuilder:
    """The layers of both models' texts."""
    return lambda scope, index: Layer(tuple(encoder_layers(scope, "text_model", 1, (dims.hidden, dims.intermediate, dims.heads))), (full_attention(dims),))


def text_positions(scope: Scope, dims: Dims) -> list[Module]:
    """Learned positions, divided as words are."""
    return [embedding(dims.max_length, dims.hidden, "position_embedding")]


def clip_projection(scope: Scope, dims: Dims) -> list[Module]:
    """What CLIP projects its texts by."""
    return [loose("text_projection", dims.hidden, scope.config.integer("projection_dim", default=512), bias=False)]


def siglip_projection(scope: Scope, dims: Dims) -> list[Module]:
    """SigLIP's head of texts."""
    return [loose("text_model.head", dims.hidden, scope.config.integer("projection_size", default=dims.hidden))]


def siglip_positions(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """The places of a text's tokens, counted out."""
    return (plain("text_model.embeddings.position_ids", dims.max_length, bits=64),)

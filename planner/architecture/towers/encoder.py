"""Transformer encoders of images and sound: one description of a layer for all of them, since they differ in names, biases, norms and how they are split.

Sources: vllm/model_executor/models/{whisper,intern_vit,siglip,qwen2_vl,…}.py and transformers' own audio encoders, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, norm, plain, unquantized
from planner.architecture.config import Config
from planner.facts.model import VisionSpec
from planner.facts.modules import Axis, Linear, Module, Role, Split
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One layer: sizes, which parts have biases, and how ranks share its matrices.

    `split`: TP divides them; EVEN too, where ranks divide the heads, else every rank holds all; WHOLE never. `loose` matrices
    are torch's own: whole and never quantized.
    """

    hidden: int
    width: int
    heads: int
    inner: int = 0  # of queries, where it isn't the hidden size
    kv_heads: int = 0  # where fewer than those of queries
    qkv_bias: bool = True
    key_bias: bool = True  # where queries and values have one
    output_bias: bool = True
    mlp_bias: bool = True
    gated: bool = False
    norm_bias: bool = True
    norms: int = 2
    vectors: tuple[int, ...] = ()  # layer scales, norms of queries and keys
    split: Split = Split.TP
    mlp_split: Split | None = None  # where not as the attention's
    loose: bool = False
    tiled: bool = False  # an MLP is quantized only where multiples of 64 go in and out
    names: tuple[str, str, str, str] = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    parts: tuple[str, ...] = ()  # of the checkpoint's unfused q, k and v
    mlp_parts: tuple[str, ...] = ()  # and of its gate and up


def matrix(scope: Scope, block: Block, name: str, sizes: tuple[Axis, tuple[Axis, ...]], *, bias: bool, role: Role, parts: tuple[str, ...] = ()) -> Linear:
    """One matrix of a block, quantized where the checkpoint says so and the class lets it."""
    inputs, outputs = sizes
    if block.loose:
        return Linear(name=name, role=role, inputs=inputs, outputs=outputs, bias=bias)
    return scope.linear(name, inputs, outputs, role=role, bias=bias, parts=parts)


def layer(scope: Scope, at: str, block: Block) -> list[Module]:
    """The parameters of one layer."""
    hidden, inner = block.hidden, block.inner or block.hidden
    kv = inner // block.heads * block.kv_heads if block.kv_heads else inner

    def cut(size: int, split: Split, heads: int = 0) -> Axis:
        return Axis(size, Split.WHOLE if block.loose else split, block.heads if split is Split.EVEN else heads)

    split, mlp = block.split, block.mlp_split or block.split
    keys = Axis(kv, Split.HEADS, block.kv_heads) if block.kv_heads and not block.loose else cut(kv, split)
    qkv, output, up, down = (f"{at}.{name}" for name in block.names)
    attention = (Axis(hidden), (cut(inner, split, block.heads), keys, keys))
    first = (Axis(hidden), (cut(block.width, mlp),) * (2 if block.gated else 1))
    of_mlp = scope.if_tiled(hidden, block.width) if block.tiled else scope
    no_key_bias = block.qkv_bias and not block.key_bias
    return [
        matrix(scope, block, qkv, attention, bias=block.qkv_bias and block.key_bias, role=Role.QKV, parts=block.parts),
        *([plain(f"{qkv}.bias", inner + kv)] if no_key_bias else []),
        matrix(scope, block, output, (cut(inner, split), (Axis(hidden),)), bias=block.output_bias, role=Role.ATTENTION_OUTPUT),
        matrix(of_mlp, block, up, first, bias=block.mlp_bias, role=Role.GATE_UP if block.gated else Role.UP, parts=block.mlp_parts),
        matrix(of_mlp, block, down, (cut(block.width, mlp), (Axis(hidden),)), bias=block.mlp_bias, role=Role.DOWN),
        *(module for index in range(block.norms) for module in norm(f"{at}.norm{index + 1}", hidden, bias=block.norm_bias)),
        *(plain(f"{at}.vector{index}", size) for index, size in enumerate(block.vectors)),
    ]


def encoder(scope: Scope, at: str, depth: int, block: Block) -> list[Module]:
    """So many layers."""
    return [module for index in range(depth) for module in layer(scope, f"{at}.{index}", block)]


def loose(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Linear:
    """A linear layer of torch's own: every rank holds it whole, and it is never quantized."""
    return unquantized(name, inputs, outputs, role=Role.PROJECTION, bias=bias)


def siglip(
    scope: Scope, config: Config, at: str, *, positions: int, post_norm: bool = True, depth: int | None = None, tiled: bool = True
) -> tuple[list[Module], Block]:
    """SigLIP (So400m where the config says nothing): patches with learned positions, biased layers, the last norm; `tiled` but for Idefics 2's and NaViT's."""
    block = Block(
        hidden=config.integer("hidden_size", default=1152),
        width=config.integer("intermediate_size", default=4304),
        heads=config.integer("num_attention_heads", default=16),
        tiled=tiled,
        names=("self_attn.qkv_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"),
        parts=("q_proj", "k_proj", "v_proj"),
    )
    patch = config.integer("patch_size", default=14)
    modules: list[Module] = [
        *convolution(f"{at}.embeddings.patch_embedding", block.hidden, 3, patch, patch),
        plain(f"{at}.embeddings.position_embedding", positions, block.hidden),
        *encoder(scope, f"{at}.encoder.layers", depth or config.integer("num_hidden_layers", default=27, high=500), block),
        *(norm(f"{at}.post_layernorm", block.hidden, bias=True) if post_norm else []),
    ]
    return modules, block


def square_patches(config: Config, *, image: int = 224, patch: int = 14) -> int:
    """Patches of a square image."""
    return int(config.integer("image_size", default=image) // config.integer("patch_size", default=patch)) ** 2


def convolution(name: str, outputs: int, *kernel: int, bias: bool = True) -> list[Module]:
    """A convolution of `outputs` channels; `kernel` begins with the channels that it reads."""
    return [plain(name, outputs, *kernel), *([plain(f"{name}.bias", outputs)] if bias else [])]


def batch(block: Block, *, patches: int, tokens: int) -> VisionSpec:
    """The profiling batch of a tower of such layers: patches of one item, and the embeddings that it becomes."""
    return VisionSpec(hidden_size=block.hidden, intermediate_size=block.width, heads=block.heads, max_patches=patches, tokens_per_item=tokens)

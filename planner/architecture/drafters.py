"""Drafters: layers that predict further tokens from what the target hides (MTP), and small models that do (EAGLE, EAGLE-3, DFlash).

A drafter's config is its own config.json, or the target's as vLLM rewrites it (draft_configs.py). Words and output head are the target's once
loaded (`without_shared`). Sources: vllm/v1/worker/gpu/spec_decode/eagle/utils.py, models/*_mtp.py, *_eagle*.py, qwen3_dflash.py, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from planner.architecture.blocks import Scope, norm, unquantized
from planner.architecture.config import Config
from planner.architecture.text import Dims, Layer, LayerBuilder, read_dims
from planner.facts.model import LayerGroup, ModelSpec
from planner.facts.modules import Linear, Module, Role, Tensor, TensorRole
from planner.facts.record import dataclass
from planner.facts.storage import BF16

Layers = Callable[[Config, Dims], LayerBuilder]
Adjust = Callable[[Config, int], Mapping[str, object]]
COUNTS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", "n_predict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """What stands around each predicting layer: norms by name, a projection of words and hidden states, a head of its own."""

    norms: tuple[str, ...] = ("enorm", "hnorm", "shared_head.norm")
    projection: str = "eh_proj"  # empty where one stands before all layers
    quantized: bool = False  # whether the checkpoint may quantize it
    head: bool = True
    from_zero: bool = False  # layers are counted from 0, not behind the target's
    named: str = "mtp."  # what stands before the names of those


DEEPSEEK = Predictor()
MINIMAX = Predictor(norms=("enorm", "hnorm", "final_layernorm"), quantized=True, head=False, from_zero=True, named="")
DEEPSEEK_V4 = Predictor(projection="")
HUNYUAN = Predictor(norms=("enorm", "hnorm", "final_layernorm"))
MIMO = Predictor(norms=("token_layernorm", "hidden_layernorm", "final_layernorm"), projection="input_proj", head=False)
ERNIE = Predictor(norms=("mtp_emb_norm", "mtp_hidden_norm"), projection="mtp_linear_proj", head=False)
LONGCAT = Predictor(norms=("enorm", "hnorm", "final_layernorm"), quantized=True, head=False)
MIMO_V2 = Predictor(norms=("enorm", "hnorm", "final_layernorm"), head=False, from_zero=True, named="model.mtp.")
BEHIND_ONE = Predictor(norms=(), projection="", head=False, from_zero=True)


def depth(config: Config) -> int:
    """How many layers predict, one where the config does not say."""
    return config.integer(*COUNTS, default=1, high=64)


def one_layer(config: Config) -> int:
    """A single layer, whatever the config says."""
    return 1


def predicting(target: Layers, shape: Predictor = DEEPSEEK, adjust: Adjust | None = None) -> Layers:
    """Layers of the target's kind that predict; `adjust` gives the keys of the target's config that they read otherwise."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        count = dims.layers
        whole = Config({**config.data, **(adjust(config, count) if adjust else {})}, config.path)
        target_dims = read_dims(whole)
        first = 0 if shape.from_zero else config.integer("num_hidden_layers")
        inner = target(whole, target_dims)

        def build(scope: Scope, index: int) -> Layer:
            at = Scope(whole, scope.quantization, f"{shape.named if shape.from_zero else ''}layers.{first + index}.")
            layer = inner(at, first + index)
            around: list[Module] = [module for name in shape.norms for module in norm(name, dims.hidden)]
            if shape.projection and shape.quantized:
                around.append(at.replicated(shape.projection, 2 * dims.hidden, (dims.hidden,), role=Role.PROJECTION))
            elif shape.projection:
                around.append(unquantized(shape.projection, 2 * dims.hidden, dims.hidden, role=Role.PROJECTION))
            if shape.head:
                around.append(scope.head(dims.vocab, dims.hidden, name="shared_head.head"))
            return Layer((*around, *layer.modules), layer.attention)

        return build

    return bind


def all_full(config: Config, count: int) -> Mapping[str, object]:
    """Every predicting layer attends to everything."""
    return {"layer_types": ["full_attention"] * config.integer("num_hidden_layers")}


def longer_types(config: Config, count: int) -> Mapping[str, object]:
    """The kinds of the predicting layers stand behind the target's, full where the config does not say."""
    layers = config.integer("num_hidden_layers")
    types = config.texts("layer_types")
    longer = {"layer_types": [*types, *["full_attention"] * (layers + count - len(types))]} if types else {}
    return {"num_hidden_layers": layers + count, **longer}


def dense_experts(config: Config, count: int) -> Mapping[str, object]:
    """LongCat's predicting layer routes to no experts."""
    return {"n_routed_experts": 0}


def counted(config: Config, count: int) -> Mapping[str, object]:
    """The predicting layers count as the target's; each has an indexer of its own, whatever layers of the target share one."""
    return {"num_hidden_layers": config.integer("num_hidden_layers") + count, "indexer_types": []}


def plain_residuals(config: Config, count: int) -> Mapping[str, object]:
    """Kimi K3's predicting layer weighs no residuals."""
    return {"attn_res_block_size": None}


def one_stream(config: Config, count: int) -> Mapping[str, object]:
    """HY V4's predicting layers carry one residual."""
    return {"enable_ihc": False}


def all_latent(config: Config, count: int) -> Mapping[str, object]:
    """Ling's predicting layers are latent."""
    return {"layer_group_size": 0}


def all_sparse(config: Config, count: int) -> Mapping[str, object]:
    """MiniMax-M3's predicting layers are sparse in attention and MLP."""
    layers = max(count, config.integer("num_hidden_layers"))
    sparse = {**config.section("sparse_attention_config").data, "sparse_attention_freq": [1] * layers}
    return {"num_hidden_layers": layers, "moe_layer_freq": [1] * layers, "sparse_attention_config": sparse}


def uncompressed(config: Config, count: int) -> Mapping[str, object]:
    """DeepSeek V4's predicting layers keep their window alone (attention.py: layers behind the target's)."""
    layers = config.integer("num_hidden_layers") + count
    return {"num_hidden_layers": layers, "compress_ratios": [0] * layers}


def beside(layers: Layers, more: Callable[[Scope, Dims], list[Module]]) -> Layers:
    """The same layers with further modules each."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        inner = layers(config, dims)

        def build(scope: Scope, index: int) -> Layer:
            layer = inner(scope, index)
            return replace(layer, modules=(*more(scope, dims), *layer.modules))

        return build

    return bind


def two_projections(scope: Scope, dims: Dims) -> list[Module]:
    """DeepSeek V4 projects words and hidden states each by itself."""
    return [scope.replicated(name, dims.hidden, (dims.hidden,), role=Role.PROJECTION) for name in ("e_proj", "h_proj")]


def _nemotron_pattern(config: Config) -> str:
    letters = {"attention": "*", "moe": "E"}
    return "".join(letters.get(name, "?") for name in config.texts("mtp_layers_block_type")) or config.text("mtp_hybrid_override_pattern", default="*E")


def nemotron_depth(config: Config) -> int:
    """Nemotron-H predicts each token with a few blocks."""
    return depth(config) * len(_nemotron_pattern(config))


def nemotron(target: Layers) -> Layers:
    """Nemotron-H's: the first block of a token's has norms and a projection before it, the last a norm behind (nemotron_h_mtp.py)."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        pattern = _nemotron_pattern(config)
        inner = target(Config({**config.data, "layers_block_type": None, "hybrid_override_pattern": pattern}, config.path), replace(dims, layers=len(pattern)))

        def build(scope: Scope, index: int) -> Layer:
            step = index % len(pattern)
            at = scope.at(f"mtp.layers.{index}.")
            layer = inner(at, step)
            around: list[Module] = []
            if step == 0:
                around += [*norm("enorm", dims.hidden), *norm("hnorm", dims.hidden)]
                around.append(at.column("eh_proj", 2 * dims.hidden, (dims.hidden,), role=Role.PROJECTION))
            if step == len(pattern) - 1:
                around += norm("final_layernorm", dims.hidden)
            return replace(layer, modules=(*around, *layer.modules))

        return build

    return bind


def no_experts(config: Config, count: int) -> Mapping[str, object]:
    """K-EXAONE's predicting layers are dense, and of the kinds of the target's first."""
    return {"mlp_layer_types": ["dense"] * config.integer("num_hidden_layers")}


def windowed(config: Config, count: int) -> Mapping[str, object]:
    """MiMo V2's are dense layers of the windowed kind."""
    layers = config.integer("num_hidden_layers")
    return {"hybrid_layer_pattern": [1] * layers, "moe_layer_freq": [0] * layers}


def plain_output(target: Layers) -> Layers:
    """The same layers, whose attention output is never quantized."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        inner = target(config, dims)

        def build(scope: Scope, index: int) -> Layer:
            layer = inner(scope, index)
            modules = (replace(m, storage=BF16) if isinstance(m, Linear) and m.role is Role.ATTENTION_OUTPUT else m for m in layer.modules)
            return replace(layer, modules=tuple(modules))

        return build

    return bind


def joined(scope: Scope, dims: Dims) -> list[Module]:
    """Qwen's: norms of words and hidden states and their projection, its outputs divided, before all layers."""
    return [
        scope.at("mtp.").column("fc", 2 * dims.hidden, (dims.hidden,), role=Role.PROJECTION),
        *norm("pre_fc_norm_hidden", dims.hidden),
        *norm("pre_fc_norm_embedding", dims.hidden),
    ]


def without_shared(model: ModelSpec, *, embedding: bool = True, head: bool = True) -> ModelSpec:
    """The drafter without the words and output heads that it shares with its target once loaded."""

    def own(modules: Sequence[Module]) -> tuple[Module, ...]:
        return tuple(module for module in modules if not (embedding and _is_words(module)) and not (head and _is_head(module)))

    groups = tuple(LayerGroup(indices=group.indices, modules=own(group.modules), caches=group.caches) for group in model.layers)
    return replace(model, first=own(model.first), last=own(model.last), every=own(model.every), tied_copy=(), layers=groups)


HOLDS_HEADS = ("Step3p5MTP", "Step5MTP")  # they say that their heads are their own, which keeps those of their layers (models/step3p5_mtp.py)


WORDLESS = ("BailingMoeV25MTPModel",)  # on a later stage of a pipeline they have no words (models/bailing_moe_mtp.py)


def words_of(model: ModelSpec) -> tuple[Module, ...]:
    """The words of a drafter."""
    return tuple(module for module in (*model.first, *model.every) if _is_words(module))


def output_words(model: ModelSpec) -> int:
    """Over how many words a drafter's head is."""
    heads = [module for module in (*model.last, *model.every) if _is_head(module)]
    return sum(axis.size for axis in heads[0].outputs) if heads and isinstance(heads[0], Linear) else model.vocab_size


def _is_words(module: Module) -> bool:
    return isinstance(module, Tensor) and module.role is TensorRole.EMBEDDING


def _is_head(module: Module) -> bool:
    return (isinstance(module, Linear) and module.role is Role.HEAD) or module.name.startswith("lm_head.")  # its scales, where it is the words

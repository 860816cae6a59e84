"""HY V4: MLA with a learned sink and an output gate, experts, hyper-connections around attention and MLP.

Source: vllm/models/hy_v4/, transformers_utils/configs/hy_v4.py, 0.33.
"""

from __future__ import annotations

from planner.architecture.blocks import Scope, correction_bias, gate, plain
from planner.architecture.config import Config
from planner.architecture.latent import latent_modules
from planner.architecture.text import Dims, Layer, LayerBuilder, two_norms
from planner.errors import UnsupportedModelError
from planner.facts.attention import LatentAttention
from planner.facts.modules import Axis, Module, Role, Split, Tensor, TensorRole
from planner.facts.storage import FP32


def _streams(name: str, streams: int, outputs: int, scales: int, hidden: int) -> list[Module]:
    return [plain(f"{name}.hc_scale", scales, bits=32), plain(f"{name}.hc_base", outputs, bits=32), plain(f"{name}.hc_fn", outputs, streams * hidden, bits=32)]


def hunyuan_v4(config: Config, dims: Dims) -> LayerBuilder:
    """HY V4 where every layer attends to all tokens; a sparse indexer's layers are not known."""
    if config.items("layer_types"):
        raise UnsupportedModelError(f"{config.path}: layers of HY V4 with a sparse indexer are not known")
    streams = config.integer("hc_mult", default=4, high=64)
    kinds = config.texts("mlp_layer_types")
    experts, width = config.integer("n_routed_experts"), config.integer("moe_intermediate_size")
    shared = config.integer("n_shared_experts", default=1, low=0)
    gated = dims.heads * config.integer("v_head_dim")
    latent = LatentAttention(latent_dim=config.integer("kv_lora_rank"), rope_dim=config.integer("qk_rope_head_dim"))

    def mlp(scope: Scope, index: int) -> list[Module]:
        if kinds[index] == "dense" if index < len(kinds) else index == 0:
            return scope.gated_mlp("mlp", dims.hidden, dims.intermediate)
        return [
            gate("mlp.gate", experts, dims.hidden, storage=FP32),
            correction_bias("mlp.expert_bias", experts),
            *(scope.gated_mlp("mlp.shared_experts", dims.hidden, shared * width) if shared else []),
            scope.experts("mlp.experts", experts, dims.hidden, width),
        ]

    def build(scope: Scope, index: int) -> Layer:
        modules = [*latent_modules(scope, config, dims), *mlp(scope, index), *two_norms(dims)]
        if config.flag("learnable_sink", default=True):
            modules.append(Tensor(name="self_attn.learnable_sink_param", axes=(Axis(dims.heads, Split.TP),), role=TensorRole.ADDEND))
        if config.flag("gated_mla", default=True):
            modules.append(scope.column("self_attn.linear_gate", dims.hidden, (gated,), role=Role.PROJECTION))
        if config.flag("enable_ihc", default=True):
            modules += [part for name in ("attn", "mlp") for part in _streams(f"hc_{name}_layer.hc_pre", streams, 2 * streams, 2, dims.hidden)]
        return Layer(tuple(modules), (latent,))

    return build


def stream_head(scope: Scope, dims: Dims) -> list[Module]:
    """What joins the streams after the last layer."""
    config = scope.config
    streams = config.integer("hc_mult", default=4, high=64)
    return _streams("hc_head", streams, streams, 1, dims.hidden) if config.flag("enable_ihc", default=True) else []

"""What stands on an encoder or decoder that embeds, ranks or classifies: pooling heads, most of them in 32 bits (vLLM's head_dtype).

Source: vllm/model_executor/models/{bert,roberta,modernbert,bert_with_rope,colbert,jina,jina_vl,qwen2_rm,internlm2}.py, adapters.py, 0.33.
"""

from __future__ import annotations

from collections.abc import Callable

from planner.architecture.blocks import Scope, addend, norm, plain, wide
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.facts.modules import Axis, Linear, Module, Role, Split, Tensor

Head = Callable[[Scope, Dims], list[Module]]
_COLBERT_KEYS = ("colbert_dim", "dim", "projection_dim")
COLPALI_KEYS = ("embedding_dim", "embed_dim", "dims", "dim", "projection_dim", "colbert_dim")


def label_count(config: Config) -> int:
    """Labels of a reranker or classifier, two where the config does not say (PretrainedConfig's default)."""
    return len(config.section("id2label").data) or config.integer("num_labels", default=2)


def score(scope: Scope, dims: Dims) -> list[Module]:
    """The head of a reranker or classifier, one row a label: float32 where it is not quantized."""
    return [_wide(scope.replicated("score", dims.hidden, (label_count(scope.config),), role=Role.PROJECTION))]


def whole_score(scope: Scope, dims: Dims) -> list[Module]:
    """The same where no quantization reaches it."""
    return score(scope.plain(), dims)


def _wide(linear: Linear) -> Module:
    """A matrix of a head, in 32 bits where the checkpoint does not quantize it."""
    if linear.storage.is_quantized:
        return wide(linear)
    return Tensor(name=linear.name, axes=(*linear.outputs, linear.inputs), bits=32)


def dense(name: str, inputs: int, outputs: int, *, bits: int = 32, bias: bool = True) -> list[Module]:
    """A linear layer that every rank holds whole."""
    return [plain(name, outputs, inputs, bits=bits), *([addend(f"{name}.bias", outputs, bits=bits)] if bias else [])]


def pooled_classifier(scope: Scope, dims: Dims) -> list[Module]:
    """BERT's pooler and a row for each label."""
    return [*dense("pooler.dense", dims.hidden, dims.hidden), *classifier(scope, dims)]


def gte_classifier(scope: Scope, dims: Dims) -> list[Module]:
    """The same as GTE's class has it, which a quantization reaches."""
    labels = label_count(scope.config)
    linear = _wide(scope.replicated("classifier", dims.hidden, (labels,), role=Role.PROJECTION))
    return [*dense("pooler.dense", dims.hidden, dims.hidden), linear, addend("classifier.bias", labels, bits=32)]


def classifier(scope: Scope, dims: Dims) -> list[Module]:
    """A row for each label."""
    return dense("classifier", dims.hidden, label_count(scope.config))


def roberta_classifier(scope: Scope, dims: Dims) -> list[Module]:
    """RoBERTa's two-layer classification head, as bge rerankers have it."""
    return [*dense("classifier.dense", dims.hidden, dims.hidden), *dense("classifier.out_proj", dims.hidden, label_count(scope.config))]


def scored_tokens(scope: Scope, dims: Dims) -> list[Module]:
    """A row and a bias for each label."""
    return dense("score", dims.hidden, label_count(scope.config))


def _modernbert_head(scope: Scope, dims: Dims, name: str, bits: int) -> list[Module]:
    config = scope.config
    return [
        *dense(f"{name}.dense", dims.hidden, dims.hidden, bits=bits, bias=config.flag("classifier_bias", default=False)),
        *norm(f"{name}.norm", dims.hidden, bias=config.flag("norm_bias", default=False), bits=bits),
    ]


def modernbert_sequence(scope: Scope, dims: Dims) -> list[Module]:
    """ModernBERT's head of sequences."""
    return [*_modernbert_head(scope, dims, "pooling", 32), *classifier(scope, dims)]


def modernbert_tokens(scope: Scope, dims: Dims) -> list[Module]:
    """ModernBERT's head of tokens: but for the labels in the model's dtype."""
    return [*_modernbert_head(scope, dims, "head", 16), *classifier(scope, dims)]


def masked_words(scope: Scope, dims: Dims) -> list[Module]:
    """BERT's masked language head, whole on every rank (SPLADE)."""
    return [
        *dense("mlm_head.dense", dims.hidden, dims.hidden, bits=16),
        *norm("mlm_head.layer_norm", dims.hidden, bias=True),
        *dense("mlm_head.decoder", dims.hidden, dims.vocab, bits=16),
    ]


def bge_m3(scope: Scope, dims: Dims) -> list[Module]:
    """BGE-M3's sparse and multi-vector heads."""
    return [*dense("sparse_linear", dims.hidden, 1), *dense("colbert_linear", dims.hidden, dims.hidden)]


def _width(config: Config, keys: tuple[str, ...]) -> int:
    return next((width for key in keys if (width := config.optional(key))), 0)


def colbert(scope: Scope, dims: Dims) -> list[Module]:
    """ColBERT's projection of each token, where the config tells its width."""
    width = _width(scope.config, _COLBERT_KEYS)
    return dense("colbert_linear", dims.hidden, width, bias=False) if width else []


def colpali(*, bias: bool = False, default: int = 0) -> Head:
    """ColPali's and ColQwen's projection of each token."""

    def build(scope: Scope, dims: Dims) -> list[Module]:
        width = _width(scope.config, COLPALI_KEYS) or default
        return dense("custom_text_proj", dims.hidden, width, bias=bias) if width else []

    return build


def _divided(scope: Scope, name: str, inputs: int, outputs: int) -> list[Module]:
    """Two float32 layers, the first divided by outputs, the second by inputs; their biases stay what they are where the checkpoint quantizes them."""
    inner = Axis(inputs, Split.TP)
    return [
        _wide(scope.column(f"{name}.0", inputs, (inputs,), role=Role.PROJECTION)),
        Tensor(name=f"{name}.0.bias", axes=(inner,), bits=32),
        _wide(scope.row(f"{name}.2", inputs, outputs, role=Role.PROJECTION)),
        Tensor(name=f"{name}.2.bias", axes=(Axis(outputs),), bits=32),
    ]


def two_layers(labels: int, *, quantized: bool = True) -> Head:
    """Two layers divided over ranks (Qwen2's reward models; Jina's reranker of images, whose class lets no quantization reach them)."""
    return lambda scope, dims: _divided(scope.unnamed() if quantized else scope.plain(), "score", dims.hidden, labels)


def internlm_reward(scope: Scope, dims: Dims) -> list[Module]:
    """InternLM2's value head, divided by its inputs."""
    return [Tensor(name="v_head", axes=(Axis(1), Axis(dims.hidden, Split.TP)), bits=32)]


def jina_ranking(scope: Scope, dims: Dims) -> list[Module]:
    """jina-reranker-v3's projector."""
    half, width = dims.hidden // 2, scope.config.integer("embedding_size", default=512)
    return [*dense("projector.0", dims.hidden, half, bits=16, bias=False), *dense("projector.2", half, width, bits=16, bias=False)]


def voyage(scope: Scope, dims: Dims) -> list[Module]:
    """Voyage's projection."""
    return dense("linear", dims.hidden, label_count(scope.config), bits=16, bias=False)


def time_bins(scope: Scope, dims: Dims) -> list[Module]:
    """Qwen3's forced aligner: a row for each bin of time."""
    return dense("classifier", dims.hidden, scope.config.integer("classify_num"), bits=16, bias=False)

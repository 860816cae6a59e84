"""How one architecture is built: the builder of its layers, and what sets it apart from its kin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

from planner.architecture import rope
from planner.architecture.blocks import Scope
from planner.architecture.config import Config
from planner.architecture.text import Dims, LayerBuilder
from planner.architecture.towers.tower import TowerBuilder
from planner.facts.modules import Module, Tensor
from planner.facts.record import dataclass

Rope = Callable[[Config, Dims], tuple[Tensor, ...]]
ALL_ENDS = frozenset({"embedding", "norm", "head"})
EMBEDDING = frozenset({"embedding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one architecture is built; `defaults` are those of its Hugging Face config class."""

    layers: Callable[[Config, Dims], LayerBuilder]
    tower: TowerBuilder | None = None
    more: Mapping[str, Callable[[Scope, Dims], list[Module]]] = field(default_factory=dict)  # beside "embedding", "norm", or on "every" stage
    tied: bool = False
    ties: bool | None = None  # whether its class ties head and embedding, where it does not ask tie_word_embeddings
    never_tied: str = ""  # the name of a class that refuses a head which is the embedding
    tied_by_text: bool = False  # the text_config decides whether head and embedding are tied, not the whole config
    defaults: Mapping[str, object] = field(default_factory=dict)
    rope: Rope = rope.rope_tables
    methods: Mapping[str, str] = field(default_factory=dict)  # what a quant_method (or one and its format) means for it, where not what it says
    head: bool = True
    words: bool = True  # whether it embeds words itself
    attends: bool = True  # whether any layer has attention heads
    norm: bool = True
    pipeline: bool = True
    pipeline_tied: bool = True  # and where head and embedding are one
    renamed: Mapping[str, str] = field(default_factory=dict)  # keys of its config.json that others spell differently
    name: str = ""
    bidirectional_images: bool = False
    text: Callable[[Config], Sequence[str]] | None = None  # names of the text model's architecture in its config, the first that is known counts
    adapted: Callable[[Config], Config] | None = None  # what else its config.json must be given before it is read as others are
    depth: Callable[[Config], int] | None = None  # how many layers a drafter builds, where that is not num_hidden_layers
    inside: str = ""  # the section that holds the whole model's config
    outer: tuple[str, ...] = ("id2label", "num_labels")  # keys of the whole config that its text model is given
    whole_words: bool = False  # the embedding of words is not split over ranks
    word_width: str = ""  # the key of the width of words where it is not the layers'
    batched: Callable[[Config, Dims, bool], int] | None = None  # bytes that are set aside at load for each token of a batch; whether it has a tower
    whole_stages: frozenset[str] = frozenset()  # of "embedding", "norm", "head": what every pipeline stage builds, not only its own
    head_name: str = "lm_head"  # what its class calls the output head; empty where it says no name
    head_quantized: bool = True  # whether its class lets a quantization reach the output head
    head_shared: bool = False  # its tied head is the embedding itself, which no quantization leaves anything beside
    scaled: bool = True  # whether its attention registers what a quantization keeps of the cache's scales
    judged: bool = True  # whether its weights were compared with those of the class vLLM builds


BIASES = frozenset({"attention_bias", "attention_out_bias", "bias", "mlp_bias", "qkv_bias", "use_bias", "use_qkv_bias"})


def reading(layers: Callable[[Config, Dims], LayerBuilder], *keys: str) -> Callable[[Config, Dims], LayerBuilder]:
    """The same layers of a class that asks its config for these biases alone: another key's value changes nothing, whatever it says."""

    def bind(config: Config, dims: Dims) -> LayerBuilder:
        own = Config({key: value for key, value in config.data.items() if key not in BIASES or key in keys}, config.path)
        build = layers(own, dims)
        return lambda scope, index: build(replace(scope, config=own), index)

    return bind

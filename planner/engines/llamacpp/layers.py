"""A layer as llama.cpp places it: its tensors by the names that its placement knows, and the caches that lie with it.

Source: llama.cpp common/fit.cpp get_overflow_pattern and common/arg.cpp --n-cpu-moe (b7500 and later, read at b10488's time, @08033df0).
"""

from __future__ import annotations

import re
from enum import StrEnum

from planner.facts.attention import Attention
from planner.facts.record import dataclass

MAIN_MEMORY = -1
"""Where a tensor lies that no GPU holds."""


class Part(StrEnum):
    """The tensors of a layer that may lie apart from it, by how their names begin; all others are the rest of it."""

    REST = "attn_norm.weight"
    QUERY = "attn_q.weight"
    KEY = "attn_k.weight"
    VALUE = "attn_v.weight"
    JOINED = "attn_qkv.weight"  # of a layer with a state what goes into it
    OUT = "attn_output.weight"
    MIXER_GATE = "attn_gate.weight"
    DECAY = "ssm_alpha.weight"
    LEARNED = "ssm_beta.weight"
    LAYER_INPUT = "inp_gate.weight"  # of embeddings for each layer
    LAYER_OUTPUT = "proj.weight"
    GATE = "ffn_gate.weight"  # routers too: ffn_gate_inp
    UP = "ffn_up.weight"
    DOWN = "ffn_down.weight"
    GATE_EXPERTS = "ffn_gate_exps.weight"  # fused with up where a file has them so: ffn_gate_up_exps
    UP_EXPERTS = "ffn_up_exps.weight"
    DOWN_EXPERTS = "ffn_down_exps.weight"


ATTENTION = (Part.QUERY, Part.KEY, Part.VALUE, Part.JOINED, Part.OUT)
EXPERTS = (Part.GATE_EXPERTS, Part.UP_EXPERTS, Part.DOWN_EXPERTS)
_GATES, _UPS, _DOWNS = (Part.GATE, Part.GATE_EXPERTS), (Part.UP, Part.UP_EXPERTS), (Part.DOWN, Part.DOWN_EXPERTS)


class Overflow(StrEnum):
    """What of a layer goes elsewhere, as the fit tries it (fit.cpp common_layer_fraction_t, named there by what stays)."""

    EXPERTS = "moe"
    DOWN = "gate"
    GATE_AND_DOWN = "up"
    FEED_FORWARD = "attn"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The tensors that its pattern matches."""
        match self:
            case Overflow.EXPERTS:
                return EXPERTS
            case Overflow.DOWN:
                return _DOWNS
            case Overflow.GATE_AND_DOWN:
                return _GATES + _DOWNS
            case Overflow.FEED_FORWARD:
                return _GATES + _UPS + _DOWNS


_MIXES = {str(part): part for part in (*ATTENTION, Part.MIXER_GATE, Part.DECAY, Part.LEARNED, Part.LAYER_INPUT, Part.LAYER_OUTPUT)} | {
    "attn_q_a.weight": Part.JOINED,
    "attn_q_b.weight": Part.QUERY,
    "attn_kv_a_mqa.weight": Part.KEY,
    "attn_k_b.weight": Part.VALUE,
    "attn_v_b.weight": Part.VALUE,
    "ssm_in.weight": Part.JOINED,
    "ssm_ba.weight": Part.DECAY,
    "shortconv.in_proj.weight": Part.JOINED,
    "ssm_out.weight": Part.OUT,
    "shortconv.out_proj.weight": Part.OUT,
}
_EXPERT_NAME = re.compile(r"ffn_(up|down|gate_up|gate)_(ch|)exps")


def part_of(name: str) -> Part:
    """The part to which a tensor belongs by its name in a file: "blk.3.ffn_down_exps.weight"."""
    own = name.split(".", 2)[-1]
    expert = _EXPERT_NAME.match(own)
    if own.startswith("ffn_gate"):
        return Part.GATE_EXPERTS if expert else Part.GATE
    if own.startswith(("ffn_up", "ffn_down")) and not own.startswith(("ffn_up_proj_norm", "ffn_down_norm")):
        up = own.startswith("ffn_up")
        return (Part.UP_EXPERTS if up else Part.DOWN_EXPERTS) if expert else Part.UP if up else Part.DOWN
    return _MIXES.get(own, Part.REST)


@dataclass(frozen=True, slots=True)
class Layer:
    """Bytes of each part of a layer, and what it keeps of each token."""

    parts: tuple[tuple[Part, int], ...]
    caches: tuple[Attention, ...] = ()

    @property
    def bytes(self) -> int:
        """All its weights."""
        return sum(size for _, size in self.parts)

    def bytes_of(self, wanted: tuple[Part, ...]) -> int:
        """Its weights in some parts."""
        return sum(size for part, size in self.parts if part in wanted)

    def largest(self, wanted: tuple[Part, ...]) -> int:
        """The largest of some parts."""
        return max((size for part, size in self.parts if part in wanted), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the layers lie, the output behind the last: the number of a GPU, or main memory.

    `moved` are the parts of each that do not lie with it, `moved_to` where they lie.
    """

    gpus: tuple[int, ...]
    moved: tuple[tuple[Part, ...], ...]
    moved_to: tuple[int, ...]

    @property
    def layers_on_gpu(self) -> int:
        """Layers that a GPU holds, the output counted as one, whatever of them lies elsewhere."""
        return sum(gpu != MAIN_MEMORY for gpu in self.gpus)

    @property
    def divided(self) -> int:
        """Layers on a GPU of which some part lies in main memory."""
        return sum(bool(moved) and to == MAIN_MEMORY != gpu for gpu, moved, to in zip(self.gpus, self.moved, self.moved_to, strict=True))

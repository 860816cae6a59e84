"""The building blocks of every architecture: fused projections, norms, experts, embeddings, named as vLLM names them.

vLLM fuses q, k, v and gate, up at load; a quantization config lists the checkpoint's unfused names, so each block knows both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.architecture.config import Config
from planner.architecture.formats import UNQUANTIZED, Quantization, Target
from planner.errors import PlannerError
from planner.facts.modules import Axis, Experts, Linear, Module, Role, Split, Tensor, TensorRole
from planner.facts.record import dataclass
from planner.facts.storage import BF16, FP32, Encoding, Storage

WHOLE, TP = Split.WHOLE, Split.TP
Asked = tuple[Sequence[str], Target, Storage]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where modules are being built: the config section, the quantization, the checkpoint prefix ("layers.7.")."""

    config: Config
    quantization: Quantization
    prefix: str = ""
    asked: list[Asked] | None = None
    """Where it is a list: each storage that was asked for, in order."""

    def at(self, prefix: str) -> Scope:
        """The same scope under another prefix."""
        return Scope(self.config, self.quantization, prefix)

    def storage(self, names: Sequence[str], target: Target) -> Storage:
        """How the checkpoint stores the module made of these, whose names are those under the prefix."""
        stored = self.quantization.storage([self.prefix + name for name in names], target)
        if self.asked is not None:
            self.asked.append((names, target, stored))
        return stored

    def answers(self, asked: Sequence[Asked]) -> bool:
        """Whether under this prefix everything is stored as it was there."""
        return all(self.storage(names, target) == stored for names, target, stored in asked)

    def plain(self) -> Scope:
        """The same, left out of the quantization."""
        return Scope(self.config, UNQUANTIZED, self.prefix)

    def unnamed(self) -> Scope:
        """The same for layers that their class gives no `prefix`: no list of a checkpoint leaves them out (0.33)."""
        lookup = self.quantization.lookup
        return Scope(self.config, replace(self.quantization, lookup=lambda names, target: lookup([""], target)), self.prefix)

    def if_tiled(self, *sizes: int) -> Scope:
        """The same, left out of the quantization where one of the sizes is no multiple of 64: a rule of some towers' classes (siglip.py SiglipMLP)."""
        return self if not any(size % 64 for size in sizes) else self.plain()

    def linear(
        self,
        name: str,
        inputs: Axis,
        outputs: Sequence[Axis],
        *,
        role: Role,
        bias: bool = False,
        parts: Sequence[str] = (),
    ) -> Linear:
        """A linear layer that the checkpoint may quantize; `parts` are the unfused names where they differ."""
        stem, _, last = name.rpartition(".")
        stem = stem + "." if stem else ""
        names = [stem + part for part in (parts or (last,))]
        storage = self.storage(names, Target.HEAD if role is Role.HEAD else Target.LINEAR)
        return Linear(name=name, role=role, inputs=inputs, outputs=tuple(outputs), bias=bias, storage=storage)

    def column(self, name: str, inputs: int, outputs: Sequence[int], *, role: Role, bias: bool = False, parts: Sequence[str] = (), heads: int = 0) -> Linear:
        """Column parallel: the outputs are divided, by whole `heads` where they are some, the inputs whole."""
        return self.linear(name, Axis(inputs), [Axis(size, TP, heads) for size in outputs], role=role, bias=bias, parts=parts)

    def row(self, name: str, inputs: int, outputs: int, *, role: Role, bias: bool = False) -> Linear:
        """Row parallel: the inputs are divided, outputs and bias whole."""
        return self.linear(name, Axis(inputs, TP), [Axis(outputs)], role=role, bias=bias)

    def replicated(self, name: str, inputs: int, outputs: Sequence[int], *, role: Role, bias: bool = False, parts: Sequence[str] = ()) -> Linear:
        """The same on every rank."""
        return self.linear(name, Axis(inputs), [Axis(size) for size in outputs], role=role, bias=bias, parts=parts)

    def qkv(
        self,
        name: str,
        hidden: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        *,
        head_dim_v: int = 0,
        bias: bool = False,
        gate: bool = False,
        parts: Sequence[str] = ("q_proj", "k_proj", "v_proj"),
    ) -> Linear:
        """Fused q, k, v; K and V are replicated once ranks outnumber their heads. `gate`: q carries an output gate."""
        check_heads(self.config, heads, kv_heads)
        queries = Axis(heads * head_dim * (2 if gate else 1), TP)
        keys = Axis(kv_heads * head_dim, Split.HEADS, kv_heads)
        values = Axis(kv_heads * (head_dim_v or head_dim), Split.HEADS, kv_heads)
        return self.linear(name, Axis(hidden), (queries, keys, values), role=Role.QKV, bias=bias, parts=parts)

    def gated_mlp(self, name: str, hidden: int, intermediate: int, *, bias: bool = False) -> list[Module]:
        """gate_up_proj and down_proj."""
        return [
            self.column(f"{name}.gate_up_proj", hidden, (intermediate, intermediate), role=Role.GATE_UP, bias=bias, parts=("gate_proj", "up_proj")),
            self.row(f"{name}.down_proj", intermediate, hidden, role=Role.DOWN, bias=bias),
        ]

    def plain_mlp(self, up: str, down: str, hidden: int, intermediate: int, *, bias: bool = False) -> list[Module]:
        """An MLP without gate: fc1/fc2 or up/down."""
        return [self.column(up, hidden, (intermediate,), role=Role.UP, bias=bias), self.row(down, intermediate, hidden, role=Role.DOWN, bias=bias)]

    def experts(self, name: str, experts: int, hidden: int, intermediate: int, *, shards: int = 2, bias: bool = False) -> Experts:
        """The routed experts of one layer."""
        storage = self.storage([name], Target.EXPERTS)
        bias = bias and self.quantization.keeps_bias(storage)
        bias_bits = self.quantization.bias_bits(storage)
        return Experts(name=name, experts=experts, hidden=hidden, intermediate=intermediate, shards=shards, bias=bias, bias_bits=bias_bits, storage=storage)

    def attention_scales(self) -> tuple[Tensor, ...]:
        """The KV cache scales that a quantization method registers on each attention layer."""
        left = self.quantization.leaves_cache
        return () if left and left(f"{self.prefix}self_attn.attn") else self.quantization.attention_scales

    def head(self, vocab: int, hidden: int, *, name: str = "lm_head") -> Linear:
        """The output head, split over the padded vocabulary."""
        prefixless = Scope(self.config, self.quantization)
        return prefixless.linear(name, Axis(hidden), [Axis(vocab, Split.VOCAB)], role=Role.HEAD)


def check_heads(config: Config, heads: int, kv_heads: int) -> None:
    """Refuse head counts no model can have: keys are shared by whole groups of queries."""
    if heads % kv_heads:
        raise PlannerError(
            f"{config.path}: {heads} attention heads cannot share {kv_heads} key-value heads", "num_attention_heads must be a multiple of num_key_value_heads"
        )


def embedding(vocab: int, hidden: int, name: str = "embed_tokens") -> Tensor:
    """A vocabulary-parallel embedding [padded vocabulary / tp, hidden] (vllm vocab_parallel_embedding.py:36)."""
    return Tensor(name=name, axes=(Axis(vocab, Split.VOCAB), Axis(hidden)), role=TensorRole.EMBEDDING)


def plain(name: str, *sizes: int, bits: int = 16) -> Tensor:
    """A tensor that every rank holds whole."""
    return Tensor(name=name, axes=tuple(Axis(size) for size in sizes), bits=bits)


def addend(name: str, size: int, *, bits: int = 16) -> Tensor:
    """A bias that stands beside its matrix, read by the same kernel."""
    return Tensor(name=name, axes=(Axis(size),), bits=bits, role=TensorRole.ADDEND)


def norm(name: str, size: int, *, bias: bool = False, bits: int = 16, split: Split = WHOLE, units: int = 0) -> list[Module]:
    """A layer or RMS norm."""
    axes = (Axis(size, split, units),)
    weight = Tensor(name=name, axes=axes, bits=bits)
    return [weight, weight] if bias else [weight]


def gate(name: str, experts: int, hidden: int, *, storage: Storage = BF16, bias: bool = False) -> Linear:
    """A router: replicated, never quantized."""
    return Linear(name=name, role=Role.ROUTER, inputs=Axis(hidden), outputs=(Axis(experts),), storage=storage, bias=bias)


def correction_bias(name: str, experts: int) -> Tensor:
    """The score correction bias of DeepSeek-style routers, float32."""
    return addend(name, experts, bits=32)


def unquantized(name: str, inputs: int, outputs: int, *, role: Role, bias: bool = False, split_out: Split = WHOLE, split_in: Split = WHOLE) -> Linear:
    """A linear layer that vLLM builds without a quantization config."""
    return Linear(name=name, role=role, inputs=Axis(inputs, split_in), outputs=(Axis(outputs, split_out),), bias=bias)


def wide(linear: Linear) -> Linear:
    """A matrix whose dtype is float32, not the model's: so are the scales where the checkpoint quantizes it."""
    stored = linear.storage
    wider = stored.encoding is not Encoding.NVFP4  # whose unused input scale stays as wide as the model's numbers
    planes = tuple(replace(plane, bits=32) if plane.bits == 16 and wider else plane for plane in stored.planes)
    return replace(linear, storage=replace(stored, planes=planes) if stored.is_quantized else FP32)


def cast(linear: Linear) -> Linear:
    """A matrix of a module whose floats are all brought to the model's dtype, those of a quantization too; integers stay as they are."""
    weight, *others = linear.storage.planes
    micro = linear.storage.arithmetic_since > 0  # their scales are exponents, kept as integers
    whole = replace(weight, bits=16) if linear.storage.encoding is Encoding.FP8 or (micro and weight.bits == 8) else weight
    integers = micro or linear.storage.encoding in (Encoding.AWQ, Encoding.GPTQ, Encoding.PACKED)
    return replace(linear, storage=replace(linear.storage, planes=(whole, *(others if integers else (replace(plane, bits=16) for plane in others)))))


def rope_cache(length: int, rotary_dim: int, *, bits: int = 16) -> Tensor:
    """The cos/sin table [length, rotary_dim] that every rank keeps as a buffer."""
    return Tensor(name="rotary_emb.cos_sin_cache", axes=(Axis(length), Axis(rotary_dim)), bits=bits)

"""Qwen4Exp's embeddings of n-grams in front of a layer (PLE): a table of hashed n-grams, what joins its rows to the streams, a short convolution.

Sources: vllm/models/qwen4_exp/nvidia/{ple_layer,ngram_embedding}.py, common/ngram_embedding.py, 0.33.
"""

from __future__ import annotations

from functools import cache

from planner.architecture.blocks import Scope, norm
from planner.architecture.config import Config
from planner.architecture.text import Dims
from planner.errors import PlannerError
from planner.facts.attention import RecurrentState
from planner.facts.modules import Axis, Module, Role, Split, Tensor, TensorRole
from planner.facts.storage import Encoding
from planner.units import round_up

_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)  # enough below 2**64
_QUANTIZES = ("fp8", "modelopt_mixed")  # methods by which the table may be stored (Qwen4ExpPLEEmbeddingMethod.from_quant_config)


def ngram_layers(config: Config) -> list[int]:
    """The layers with such embeddings, in order; the config counts from 1."""
    return sorted({number - 1 for number in config.integers("ple_layer_ids", low=1)})


def ngram_embedding(scope: Scope, config: Config, dims: Dims, number: int) -> tuple[list[Module], RecurrentState]:
    """The embeddings of the `number`-th such layer and the state of their convolution, the same on every rank but for the table."""
    streams, width = config.integer("hc_mult", high=1024), config.integer("ple_embed_dim", default=dims.hidden)
    kernel, reach = config.integer("ple_conv_kernel_size", default=4, high=1024), config.integer("ngram_size", default=3, low=2, high=64)
    hidden = streams * dims.hidden
    modules = [
        *_table(scope, config, width, number),
        scope.replicated("ple.kv_proj", width, (hidden, dims.hidden), parts=("ple.key_proj", "ple.value_proj"), role=Role.PROJECTION),
        *(module for part in ("key", "query", "conv") for module in norm(f"ple.norm_{part}", hidden)),
        Tensor(name="ple.conv1d", axes=(Axis(hidden), Axis(kernel))),
    ]
    conv = Tensor(name="conv", axes=(Axis((kernel - 1) * reach), Axis(hidden)))
    return modules, RecurrentState(tensors=(conv,), checkpoint_alignment=64)  # exported where the delta rule's are


def looked_up(config: Config, dims: Dims) -> int:
    """Bytes that numbers and rows looked up ahead take for each token of a batch."""
    heads, width = _heads(config), config.integer("ple_embed_dim", default=dims.hidden)
    return len(ngram_layers(config)) * (8 * heads + 2 * width)


def _heads(config: Config) -> int:
    return (config.integer("ngram_size", default=3, low=2, high=64) - 1) * config.integer("heads_per_ngram", default=8, high=1024)


def _table(scope: Scope, config: Config, width: int, number: int) -> list[Module]:
    """The rows of all heads: of each as many as a prime number says."""
    heads = _heads(config)
    if width % heads:
        raise PlannerError(f"{config.path}: ple_embed_dim {width} is not divisible by {heads} heads of n-grams")
    base = config.integer("ngram_vocab_size_base", default=20_000_000, high=2**50)
    rows = sum(_primes(base, (number + 1) * heads)[number * heads :])
    rows = round_up(rows, config.integer("make_ngram_vocab_size_divisible_by", default=128))
    encoding = _stored(scope, config, rows, width // heads)
    if encoding is Encoding.NVFP4:
        return [_rows("weight", rows, width // heads // 2), _rows("weight_scale", rows, width // heads // 16), _scale()]
    if encoding is Encoding.FP8:
        return [_rows("weight", rows, width // heads), _scale()]
    return [_rows("weight", rows, width // heads, bits=16)]


def _stored(scope: Scope, config: Config, rows: int, width: int) -> Encoding:
    asked = config.text("ple_embedding_dtype", default="")
    if asked:
        return {"nvfp4": Encoding.NVFP4, "float8_e4m3fn": Encoding.FP8}.get(asked, Encoding.OTHER)
    if scope.quantization.name not in _QUANTIZES:
        return Encoding.OTHER
    return scope.replicated("ple.ple_embedding.ngram_embedding", width, (rows,), role=Role.PROJECTION).storage.encoding


def _rows(name: str, rows: int, columns: int, *, bits: int = 8) -> Tensor:
    return Tensor(name=f"ple.ngram_embedding.{name}", axes=(Axis(rows, Split.TP), Axis(columns)), bits=bits, role=TensorRole.NGRAMS)


def _scale() -> Tensor:
    return Tensor(name="ple.ngram_embedding.global_scale", axes=(Axis(1),), bits=32)


@cache
def _primes(start: int, count: int) -> tuple[int, ...]:
    """The first `count` primes from `start` on."""
    primes: list[int] = []
    number = max(2, start)
    while len(primes) < count:
        if _is_prime(number):
            primes.append(number)
        number += 1
    return tuple(primes)


def _is_prime(number: int) -> bool:
    """Miller and Rabin's test, certain for what a config can say."""
    if number < 2 or any(number % prime == 0 for prime in _WITNESSES):
        return number in _WITNESSES
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(pow(base, odd, number), number, twos) for base in _WITNESSES)


def _passes(power: int, number: int, twos: int) -> bool:
    return power == 1 or any(pow(power, 2**step, number) == number - 1 for step in range(twos))

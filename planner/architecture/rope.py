"""The cos/sin tables that rotary embeddings keep as buffers on every rank.

Source: vllm/model_executor/layers/rotary_embedding/ (0.33): length and dtype by scaling type.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import pi

from planner.architecture.blocks import Scope, rope_cache
from planner.architecture.config import MAX_LENGTH, Config
from planner.architecture.text import Dims
from planner.errors import PlannerError
from planner.facts.modules import FILM_TABLE, Axis, Module, Split, Tensor


def rope_tables(config: Config, dims: Dims, *, rotary_dim: int | None = None, fraction: float = 1.0, yarn_bits: int = 16, mrope: int = 1) -> tuple[Tensor, ...]:
    """One table a distinct rotary setting: [length, rotary dimension].

    A config with one setting for each layer type (Gemma 3 and 4) has one table each. `mrope`: how many times longer it is where
    positions are three-dimensional (4, for video).
    """
    width = rotary_dim or int(dims.head_dim * _fraction(config, fraction))
    lengths = ((setting, dims.max_length * (mrope if setting.has("mrope_section") else 1)) for setting in rope_settings(config))
    return tuple(dict.fromkeys(_table(setting, length, width, yarn_bits) for setting, length in lengths))


def film_tables(config: Config, dims: Dims, *, fraction: float = 1.0) -> tuple[Tensor, ...]:
    """Qwen3-VL and later: three positions, whose table is as long as the model's context, or by vLLM's release as that of films (qwen3_vl.py:1818)."""
    films = not config.section("rope_parameters", "rope_scaling").data or any(setting.has("mrope_section") for setting in rope_settings(config))
    tables = rope_tables(config, dims, fraction=fraction)
    return tuple(replace(table, name=FILM_TABLE) for table in tables) if films else tables


def rope_settings(config: Config) -> list[Config]:
    """The rotary settings of a config: one, or one for each layer type."""
    parameters = config.section("rope_parameters", "rope_scaling")
    nested = [Config(v, config.path) for v in parameters.data.values() if isinstance(v, dict)] or [parameters]
    key = "original_max_position_embeddings"  # Phi-3 has it beside rope_scaling
    return [Config({key: config.data[key], **part.data}, part.path) if config.has(key) else part for part in nested]


def _fraction(config: Config, default: float) -> float:
    parameters = config.section("rope_parameters", "rope_scaling")
    share = parameters.number("partial_rotary_factor", default=config.number("partial_rotary_factor", default=default))
    if not 0 <= share <= 1:
        raise PlannerError(f"{config.path}: partial_rotary_factor is {share:g}; expected a number from 0 to 1")
    return share


def _table(scaling: Config, length: int, width: int, yarn_bits: int) -> Tensor:
    kind = scaling.text("rope_type", "type", default="default")
    factor = scaling.number("factor", default=1.0)
    if kind == "linear":
        return rope_cache(int(length * factor), width)
    original = scaling.integer("original_max_position_embeddings", default=length, high=MAX_LENGTH)
    if kind == "yarn":
        return rope_cache(int(original * factor), width, bits=yarn_bits)
    # LongRoPE keeps the table of short texts before that of long ones (phi3_long_rope_scaled_rope.py)
    return rope_cache(length + original if kind == "longrope" else length, width)


def latent_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """MLA: the rotated part only, YaRN in 32 bits; a sparse indexer has a table of its own."""
    width = config.integer("qk_rope_head_dim", low=0) or dims.head_dim  # 0: whole heads, without a latent
    tables = rope_tables(config, dims, rotary_dim=width, yarn_bits=32)
    return tables * (2 if config.has("index_topk") and tables and tables[0].bits == 32 else 1)


def gemma3_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """Gemma 3: a plain table for the windows, a scaled one for full attention."""
    local = rope_tables(Config({k: v for k, v in config.data.items() if k not in ("rope_scaling", "rope_parameters")}, config.path), dims)
    return local + (rope_tables(config, dims) if config.has("rope_scaling") else local)


def gemma4_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """Gemma 4: one table a head width."""
    wide = config.integer("global_head_dim", default=dims.head_dim)
    plain = Config({}, config.path)
    return tuple(table for width in (dims.head_dim, wide) for table in rope_tables(plain, dims, rotary_dim=width))


def no_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """No table: no rotary embedding, or one computed as it goes."""
    return ()


def rotary_dim_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """A table as wide as `rotary_dim` says."""
    return rope_tables(config, dims, rotary_dim=config.integer("rotary_dim", default=dims.head_dim))


def mimo_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """MiMo: one table for the windows, one for full attention."""
    return rope_tables(config, dims) * 2


def exact(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """One table in 32 bits."""
    return tuple(replace(table, bits=32) for table in rope_tables(config, dims))


def laguna_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """Laguna: a table for each kind of layer, each with the share of a head that its kind rotates."""
    nested = {key: Config(v, config.path) for key, v in config.section("rope_parameters").data.items() if isinstance(v, dict)}
    kinds = set(config.texts("layer_types")) or {"full_attention"}
    parts = [part for key, part in nested.items() if key in kinds] or [Config({}, config.path)]
    return tuple(dict.fromkeys(_table(part, dims.max_length, int(dims.head_dim * part.number("partial_rotary_factor", default=1.0)), 16) for part in parts))


def step_rope(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """Step 3.5: one table for each share of a head that is rotated; scaling only for the layer types that are to have it."""
    if config.has("rope_parameters"):
        nested = [Config(v, config.path) for v in config.section("rope_parameters").data.values() if isinstance(v, dict)]
        return tuple(
            dict.fromkeys(_table(part, dims.max_length, int(dims.head_dim * part.number("partial_rotary_factor", default=1.0)), 16) for part in nested)
        )
    shares = {Config({"share": share}, config.path).number("share") for share in config.items("partial_rotary_factors")} or {1.0}
    return tuple(rope_cache(dims.max_length, int(dims.head_dim * share)) for share in sorted(shares))


QUARTER, HALF = partial(rope_tables, fraction=0.25), partial(rope_tables, fraction=0.5)
VIDEO, HALF_VIDEO = partial(rope_tables, mrope=4), partial(rope_tables, fraction=0.5, mrope=4)


_FOURIER = ("fope_init_factor", "fope_sep_head", "num_inv_freq")  # any of them says that a rotation is learned (interns1_pro.py use_fope)


def fourier_frequencies(config: Config, dims: Dims) -> int:
    """How many frequencies a learned rotation keeps: as many as its settings say, else those that turn at least once; 0 where none is learned."""
    settings = next((part for part in rope_settings(config) if any(part.has(key) for key in _FOURIER)), None)
    if settings is None:
        return 0
    half, base = dims.head_dim // 2, settings.number("rope_theta", default=config.number("rope_theta", default=10_000.0))
    turning = sum(1 for index in range(half) if base ** (index / half) < dims.max_length / (2 * pi))
    return min(half, settings.optional("num_inv_freq") or turning)


def fourier_coefficients(scope: Scope, dims: Dims) -> list[Module]:
    """Intern-S1 Pro's learned sines and cosines of each key-value head (rotary_embedding/fope.py)."""
    count, heads = fourier_frequencies(scope.config, dims), Axis(dims.kv_heads, Split.HEADS, dims.kv_heads)
    return [Tensor(name=f"rotary_emb.{name}_coef", axes=(heads, Axis(count), Axis(count))) for name in ("sin", "cos")] if count else []


def fourier_tables(config: Config, dims: Dims) -> tuple[Tensor, ...]:
    """The table of a learned rotation, of each key-value head; the usual one where none is learned."""
    if not fourier_frequencies(config, dims):
        return rope_tables(config, dims)
    heads = Axis(dims.kv_heads, Split.HEADS, dims.kv_heads)
    frequencies = Tensor(name="rotary_emb.inv_freq", axes=(Axis(fourier_frequencies(config, dims)),), bits=32)
    return (Tensor(name="rotary_emb.cos_sin_cache", axes=(Axis(dims.max_length), heads, Axis(2 * dims.head_dim))), frequencies)

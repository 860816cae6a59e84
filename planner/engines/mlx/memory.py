"""How MLX holds a model on a Mac: quantized weights, the KV cache in steps (the peak of prefill: prefill.py).

Sources: mlx 0.32 `mx.quantize` (bytes read off it, tests/engines/mlx/test_mlx.py), mlx-lm 0.32 models/cache.py, utils.py quantize_model,
generate.py wired_limit; facts/runtimes.md section 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import assert_never

from planner.engines.mlx.prefill import CACHE_STEP, PREFILL_STEP, kept
from planner.errors import PlannerError
from planner.facts.attention import Attention, ChunkedLocal, CompressedCache, CrossAttention, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.model import LayerGroup, ModelSpec
from planner.facts.modules import Experts, Linear, Module, Role, Tensor, TensorRole
from planner.facts.record import dataclass
from planner.text import shown
from planner.units import GIB, gib, round_up

# Whose calls both servers read, by vLLM's names: mlx-lm 0.32.2 tokenizer_utils.py _infer_tool_parser looks at the chat template, mlx-vlm 0.7.10 asks it.
TOOL_PARSERS = ("gemma4", "glm45", "glm47", "hermes", "kimi_k2", "kimi_k3", "longcat", "minimax_m2", "mistral", "qwen3_coder", "qwen3_xml")
_FORMAT = re.compile(
    r"(?:mlx-)?(?:(?P<bits>[234568])[- ]?bit(?:-g(?P<group>32|64|128))?|(?P<mode>mxfp4|mxfp8|nvfp4)(?:-q(?P<rest>[48]))?|(?P<plain>bf16|fp16|16bit))\Z"
)
_CONVERSION = re.compile(
    r"(?i)(?:[-_]MLX)?[-_]((?:[2-8][- ]?bit(?:-g(?:32|64|128))?|mxfp4(?:-q[48])?|mxfp8|nvfp4|bf16|fp16))((?:-(?:DWQ|AWQ|mlx|AutoQuant)\w*)*)$"
)
_CONVERTERS = ("mlx-community", "lmstudio-community")
_ROUTER = re.compile(r"(?:(?:\bgate|\brouter)(?:\.(?:gate|gate_proj|proj|layer))?|shared_expert_gate|\.classifier)\Z")
_MODES = {"mxfp4": (4, 32, 8), "mxfp8": (8, 32, 8), "nvfp4": (4, 16, 8)}  # bits, group, bits of the group's scale


@dataclass(frozen=True, slots=True, kw_only=True)
class MlxFormat:
    """How matrices are stored: `bits` a weight, and for each group of a row `scale_bits` (affine: a scale and a bias of 16). Bits 16: as they are."""

    name: str
    bits: int = 16
    group: int = 64
    scale_bits: int = 32
    experts: MlxFormat | None = None  # where routed experts are stored in another one
    apart: tuple[tuple[Role, MlxFormat], ...] = ()  # matrices of other roles that are
    embedding: MlxFormat | None = None  # where the embedding is
    is_foreign: bool = False
    """Whether another converter wrote the checkpoint, which `apart` and `embedding` describe wholly."""

    def of(self, role: Role) -> MlxFormat:
        """The format of a matrix by what it does."""
        return dict(self.apart).get(role, self)

    def matrix_bytes(self, rows: int, columns: int) -> int:
        """A matrix in this format; where a row is no whole number of groups it stays in 16 bits (nn/layers/quantized.py)."""
        if self.bits == 16 or columns % self.group:
            return rows * columns * 2
        return rows * (columns * self.bits + columns // self.group * self.scale_bits) // 8


def read_format(name: str) -> MlxFormat:
    """8bit, 4bit-g32, mxfp4, bf16. Raises PlannerError for anything else."""
    match = _FORMAT.match(name.lower())
    if match is None:
        raise PlannerError(
            f"the MLX quantization {name!r} is not known", "2, 3, 4, 5, 6 or 8bit (also 4bit-g32), mxfp4, mxfp8, nvfp4, mxfp4-q8, mxfp4-q4 or bf16"
        )
    if match["plain"]:
        return MlxFormat(name="bf16")
    if match["mode"]:
        bits, group, scale = _MODES[match["mode"]]
        mode = MlxFormat(name=match["mode"], bits=bits, group=group, scale_bits=scale)
        return MlxFormat(name=f"{mode.name}-q{match['rest']}", bits=int(match["rest"]), experts=mode) if match["rest"] else mode
    group = int(match["group"] or 64)
    return MlxFormat(name=f"{match['bits']}bit" + (f"-g{group}" if group != 64 else ""), bits=int(match["bits"]), group=group)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A repository's name without its end, the format there, and the whole end where it says that weights have several widths."""

    base: str
    form: str
    mixed: str

    def elsewhere(self, name: str, model: str) -> PlannerError:
        """The answer where another engine is asked to load it, whose model the catalogue calls `model`."""
        return PlannerError(
            f"{name} is a conversion for MLX, in {self.form}",
            f"its model is planned by its own name: --model {model}; on a Mac, --engine mlx plans the conversion",
        )


def read_name(name: str) -> Conversion | None:
    """Read a repository's name (mlx-community/Qwen3-8B-4bit, gpt-oss-20b-MLX-8bit); None where it names no format of MLX.

    Others publish NVFP4, MXFP4 and 4 bits for other engines: an owner who is not known for conversions says MLX in the name.
    """
    owner, _, name = name.rpartition("/")
    match = _CONVERSION.search(name)
    if match is None or (owner and owner.lower() not in _CONVERTERS and "mlx" not in f"{owner}/{name}".lower()):
        return None
    mixed = match[0] if match[2].lower() not in ("", "-mlx") else ""
    return Conversion(base=name[: match.start()], form=match[1].lower().replace(" ", ""), mixed=mixed)


PLAIN = MlxFormat(name="bf16")
# What a conversion stores apart from the rest (mlx-lm 0.32.2, models/*.py): quant_predicate of most models keeps routers at 8 bits; those whose router is
# a parameter and no layer (class MoEGate) leave it in 16; the others have no predicate. tests/engines/mlx/test_judged_weights.py asks mlx-lm itself.
_EIGHT = MlxFormat(name="8bit", bits=8)
_ROUTERS_IN_16_BITS = ("Deepseek", "KimiK2", "KimiVL", "MistralLarge3", "Glm4Moe", "GlmMoeDsa", "Dots1", "ExaoneMo", "MiMoV2", "NemotronH", "BailingMoeV3")
_ROUTERS_AS_THE_REST = ("Mixtral", "Qwen2Moe", "Olmoe", "PhiMoE", "Phixtral", "Dbrx", "Ernie4_5_Moe", "HunYuan", "Llama4", "Mistral4")
_GUARDED = ("GraniteForCausalLM", "GraniteMoeForCausalLM")
_GUARDED_ROLES = (Role.ATTENTION_OUTPUT, Role.DOWN, Role.HEAD)
# mlx-vlm models/diffusion_gemma: the dense matrices of a layer, since Blaizzy/mlx-vlm#1359 of 27 June 2026 attention and the embedding too. The repository
# of mlx-community is of 10 June: 15.6 GB in 4 bits.
_DIFFUSION = "DiffusionGemma"
_DIFFUSION_ROLES = (Role.GATE_UP, Role.DOWN)
_DIFFUSION_ROLES_NOW = (*_DIFFUSION_ROLES, Role.QKV, Role.QUERY, Role.KEY, Role.VALUE, Role.ATTENTION_OUTPUT)
EMBEDDINGS_SINCE = "2024-05"
"""The month from which on conversions quantize embeddings: mlx-community's Meta-Llama-3-8B-Instruct of 18 April is 5.28 GB in 4 bits, its
Llama-3-8B-Instruct-1048k-8bit of the month's end and Mistral-7B-Instruct-v0.3-4bit are what quantized embeddings give (8.54 and 4.08 GB)."""


def converted(model: ModelSpec, form: MlxFormat, *, guarded: bool = False) -> MlxFormat:
    """A format with what a conversion of this model stores apart; `guarded`: as newer converters do, since mlx-lm#1836 of September 2026 Granite's outputs too."""
    if form.bits == 16 or form.is_foreign:
        return form
    architecture = model.architecture
    if architecture.startswith(_DIFFUSION):
        roles = _DIFFUSION_ROLES_NOW if guarded else _DIFFUSION_ROLES
        apart = tuple((role, _EIGHT) for role in (Role.ROUTER, *roles))
        return replace(form, apart=apart, embedding=_EIGHT if guarded else form.embedding)
    router = PLAIN if architecture.startswith(_ROUTERS_IN_16_BITS) else None if architecture.startswith(_ROUTERS_AS_THE_REST) else _EIGHT
    apart = ((Role.ROUTER, router),) if router else ()
    if guarded and architecture in _GUARDED:
        apart = (*apart, *((role, _EIGHT) for role in _GUARDED_ROLES))
    return replace(form, apart=apart)


def read_quantization(said: Mapping[str, object]) -> tuple[MlxFormat, int]:
    """What mlx_lm.convert wrote into a config.json (utils.py quantize_model): the format, and how many modules are stored otherwise than it does by itself.

    It keeps routers at 8 bits, and of experts that are in MXFP4 already the rest in another format. Raises PlannerError for a format that MLX does not have.
    """
    form = _of_config(said)
    apart = {
        path: _of_config({"group_size": 64, **each}) if isinstance(each, Mapping) else PLAIN
        for path, each in said.items()
        if isinstance(each, Mapping) or each is False
    }
    others = {path: each for path, each in apart.items() if each != form and not (each == _EIGHT and _ROUTER.search(path))}
    if (
        form.name == "mxfp4"
        and {path.rpartition(".")[2] for path in others} >= {"embed_tokens", "q_proj", "lm_head"}
        and len(rest := set(others.values())) == 1
    ):
        kept = rest.pop()
        if kept.name in ("4bit", "8bit"):
            return read_format(f"mxfp4-q{kept.bits}"), 0
    return form, len(others)


def _of_config(said: Mapping[str, object]) -> MlxFormat:
    bits, group, mode = said.get("bits"), said.get("group_size", 64), said.get("mode", "affine")
    if mode == "affine":
        return read_format(f"{bits}bit" + (f"-g{group}" if group != 64 else ""))
    form = read_format(str(mode))
    if (form.bits, form.group) != (bits, group):
        raise PlannerError(
            f"{form.name} of {shown(str(bits))} bits in groups of {shown(str(group))} is no format of MLX",
            f"{form.name} has {form.bits} in groups of {form.group}",
        )
    return form


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Bytes of weights, by when they were converted: least, expected, most; what the difference is, empty where there is none."""

    low: int
    usual: int
    high: int
    differs: str = ""


def stored(model: ModelSpec, form: MlxFormat, *, vision: bool = True, released: str = "") -> Stored:
    """All weights of a conversion whose month nobody says, of a model that was released in such a month ("2024-04"; empty: not known)."""
    usual = weights_bytes(model, form, vision=vision)
    if form.bits in (2, 4, 8) and form.scale_bits == 32 and not form.experts and released and released < EMBEDDINGS_SINCE:  # MLX's formats then
        old = weights_bytes(model, replace(form, embedding=PLAIN), vision=vision)
        return Stored(low=usual, usual=old, high=old, differs="embedding in 16 bits, as conversions before May 2024 keep it")
    guarded = weights_bytes(model, form, vision=vision, guarded=True)
    converter = "mlx-vlm of July 2026" if model.architecture.startswith(_DIFFUSION) else "mlx-lm of September 2026"
    differs = f"{gib(guarded)} where {converter} or later converted it" if guarded != usual else ""
    return Stored(low=usual, usual=usual, high=guarded, differs=differs)


def module_bytes(module: Module, form: MlxFormat) -> int:
    """One module as mlx-lm's conversion stores it."""
    match module:
        case Tensor():
            return _tensor_bytes(module, form)
        case Linear():
            rows = sum(axis.size for axis in module.outputs)
            return form.of(module.role).matrix_bytes(rows, module.inputs.size) + (rows * 2 if module.bias else 0)
        case Experts():
            kept = form.experts or form
            inner = module.shards * kept.matrix_bytes(module.intermediate, module.hidden) + kept.matrix_bytes(module.hidden, module.intermediate)
            bias = (module.shards * module.intermediate + module.hidden) * 2 if module.bias else 0
            return module.experts * (inner + bias)
        case _:
            assert_never(module)


def _tensor_bytes(tensor: Tensor, form: MlxFormat) -> int:
    match tensor.role:
        case TensorRole.EMBEDDING | TensorRole.NGRAMS:
            rows, columns = tensor.axes
            return (form.embedding or form).matrix_bytes(rows.size, columns.size)
        case TensorRole.ADDEND | TensorRole.PARAMETER:
            return prod(axis.size for axis in tensor.axes) * tensor.bits // 8
        case TensorRole.CACHE_SCALE:  # vLLM's own
            return 0
        case _:
            assert_never(tensor.role)


def weights_bytes(model: ModelSpec, form: MlxFormat, *, vision: bool = True, guarded: bool = False) -> int:
    """All weights: the text model in the format, the vision tower in 16 bits (mlx-vlm leaves it); without it as mlx-lm serves text.

    Of Gemma 3 with a tower mlx-lm then holds the embedding twice: mlx-vlm's conversions of it store a head (models/gemma3/language.py), which
    mlx_lm's models/gemma3_text.py takes for one of its own. Peaks of its 4B and 12B in 4 and 8 bits show it, those of the 1B without a tower do not.
    """
    form = converted(model, form, guarded=guarded)
    tower = model.tower if vision else ()
    total = sum(module_bytes(module, form) for module in (*model.first, *model.every, *model.last)) + sum(module_bytes(module, PLAIN) for module in tower)
    if model.architecture == "Gemma3ForConditionalGeneration" and not vision:
        total += sum(module_bytes(module, form) for module in model.every or model.first if isinstance(module, Tensor) and module.role is TensorRole.EMBEDDING)
    return total + sum(
        len(group.indices) * (sum(module_bytes(module, form) for module in group.modules) - _unheld(model, group, form)) for group in model.layers
    )


def _unheld(model: ModelSpec, group: LayerGroup, form: MlxFormat) -> int:
    """Projections of values that a layer has not whose values are made of its keys: the full ones of the larger Gemma 4 (models/gemma4_text.py use_k_eq_v)."""
    windows = [cache.kv_heads for each in model.layers for cache in each.caches if isinstance(cache, SlidingWindow)]
    whole = [cache.kv_heads for cache in group.caches if isinstance(cache, FullAttention)]
    if not (model.architecture.startswith(("Gemma4", _DIFFUSION)) and windows and whole and whole[0] < windows[0]):
        return 0
    joined = (module for module in group.modules if isinstance(module, Linear) and module.role is Role.QKV)
    return sum(form.of(Role.QKV).matrix_bytes(module.outputs[-1].size, module.inputs.size) for module in joined)


def cache_bytes(attention: Attention, tokens: int, kv_bits: int, *, step: int = PREFILL_STEP, prompt: int | None = None, state_bits: int = 32) -> int:
    """The cache of one layer for one request; `kv_bits` 16, or 8 or 4 with a scale and a bias for each group of 64.

    `prompt`: the tokens of it that were read in steps, all of them where it is not said; those that are answered go into a window one by one.
    `state_bits`: of the matrices that a recurrent layer keeps.
    """
    bits = 16.0 if kv_bits == 16 else kv_bits + 32 / 64
    held = round_up(tokens, CACHE_STEP)
    match attention:
        case FullAttention() | ChunkedLocal() | CrossAttention():
            return int(held * attention.kv_heads * (attention.head_dim + attention.head_dim_v) * bits / 8)
        case SlidingWindow():
            read = min(held if prompt is None else prompt, attention.window + step)  # a rotating cache keeps a whole prefill step beside its window
            answered = 0 if prompt is None else round_up(max(0, tokens - prompt), CACHE_STEP)
            # rotating caches are not quantized
            return max(read, min(attention.window, read + answered)) * attention.kv_heads * (attention.head_dim + attention.head_dim_v) * 2
        case LatentAttention(index_dim=index_dim) if index_dim:
            width = index_dim * 32 // 33  # vLLM's are 8 bits each with a scale of 32 for each 128
            return held * width * 2 * 2  # keys, and as many zeros for values (models/deepseek_v32.py Indexer)
        case LatentAttention():
            return held * (attention.latent_dim + attention.rope_dim) * 2
        case CompressedCache(window=window, tokens_per_entry=tokens_per_entry, entry_bytes=entry):
            return (min(held, window) if window else held) // tokens_per_entry * entry
        case RecurrentState():
            return sum(prod(axis.size for axis in tensor.axes) * (state_bits if len(tensor.axes) > 2 else 16) // 8 for tensor in attention.tensors)
        case _:
            assert_never(attention)


def state_bits(release: str) -> int:
    """Bits of the matrix of each head that a layer of the delta rule keeps: 32 since mlx-lm 0.31.2, before it 16 (models/gated_delta.py); inputs of a convolution have 16."""
    return 16 if tuple(int(part) for part in release.split(".")) < (0, 31, 2) else 32


def kv_bytes(model: ModelSpec, tokens: int, kv_bits: int = 16, *, step: int = PREFILL_STEP, prompt: int | None = None, state: int = 32) -> int:
    """The cache of all layers for one request; `state`: bits of what recurrent layers keep (`state_bits`)."""
    held = {cache: cache_bytes(cache, tokens, kv_bits, step=step, prompt=prompt, state_bits=state) for group in model.layers for cache in kept(model, group)}
    return sum(len(group.indices) * held[cache] for group in model.layers for cache in kept(model, group))


PROCESS_BYTES = 340_000_000  # Python and Metal: phys_footprint of two idle servers beside their weights (0.31 and 0.37 GB)
SYSTEM_BYTES = 8 * GIB  # what a raised limit leaves to macOS

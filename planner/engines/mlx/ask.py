"""What is asked of MLX."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path

from planner.engines.catalogue import Catalogue, Plain, form_key
from planner.engines.mlx import memory as mlx
from planner.engines.mlx.foreign import Foreign, read_foreign
from planner.engines.mlx.prefill import is_capped, kept
from planner.errors import PlannerError
from planner.facts.attention import FullAttention, RecurrentState, SlidingWindow
from planner.facts.context import USEFUL_CONTEXT
from planner.facts.deployment import Sampling
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.not_covered import NotCovered
from planner.facts.question import ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.facts.speed import Load
from planner.facts.variant import Variant
from planner.speed.estimate import is_diffusion
from planner.text import shown, slug


@dataclass(frozen=True, slots=True, kw_only=True)
class MlxAsk:
    """What is asked of MLX; None is free. The group's `taken_bytes` are wired by other servers."""

    model: ModelSpec
    group: GpuGroup
    repo: str
    served_name: str
    form: mlx.MlxFormat
    missing: tuple[NotCovered, ...] = ()
    """What of the weights is not known."""
    released: str = ""
    """The month of the model, where the catalogue knows it."""
    is_free_form: bool = False
    """Whether nobody named the format, and no repository in one is known."""
    is_guessed_repo: bool = False
    name: str = "chat"
    context: int | None = None
    users: int = 1
    load: Load = field(default_factory=Load)
    kv_bits: int | None = None
    prefill_step: int | None = None
    prompts: int = 1
    """Of mlx-lm: prompts that are read side by side (--prompt-concurrency)."""
    keeps_prompts: bool = True
    """Whether it keeps copies of conversations, as the servers do."""
    kept_bytes: int = 0
    """What its cache of old prompts may hold at most, where a command says so."""
    kept_prompts: int = 0
    """How many old prompts it may keep, where no bytes bound them."""
    server: str = ""
    """mlx-lm or mlx-vlm; empty: the one that the model needs."""
    wired_limit_mb: int | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def engine(self) -> str:
        """The stock server that serves it: mlx-vlm vision and embeddings, mlx-lm text."""
        return self.server or _engine(self.model)

    def at_once(self, kv_bits: int) -> int:
        """Requests that it answers side by side.

        mlx_lm.server answers one with a quantized cache after the other (server.py _is_batchable), mlx_vlm.server those of diffusion (server/generation.py);
        texts to embed are counted singly.
        """
        one = self.model.pooling or is_diffusion(self.model.architecture) or (kv_bits != 16 and self.engine == "mlx-lm")
        return 1 if one else self.users

    @property
    def may_quantize(self) -> bool:
        """Whether its attention takes a quantized cache.

        None with sinks (models/base.py), none whose scores are composed (models/gemma2.py), heads of whole groups of 64 (mx.quantize); mlx-lm has no
        quantized cache that rotates (models/cache.py).
        """
        caches = [cache for group in self.model.layers for cache in kept(self.model, group, self.engine)]
        if is_capped(self.model) or any(cache.head_dim % 64 or cache.head_dim_v % 64 for cache in caches if isinstance(cache, FullAttention)):
            return False
        kinds = (FullAttention, RecurrentState) if self.engine == "mlx-lm" else (FullAttention, RecurrentState, SlidingWindow)
        return not self.model.has_sinks and all(isinstance(cache, kinds) for cache in caches) and any(isinstance(cache, FullAttention) for cache in caches)


def ask_of(service: ServiceRow, group: GpuGroup, row: StackRow, catalogue: Catalogue, *, is_main: bool) -> MlxAsk:
    """One row of a question. Raises PlannerError for a cache that MLX does not have."""
    plain, conversion = find_model(service.model, catalogue)
    said = conversion.form if conversion else ""
    if is_speech(plain.spec):
        raise PlannerError(speech_refusal(plain.spec), SPEECH_FIX)
    context = service.context or service.max_model_len
    context = context if isinstance(context, int) else None
    variant = plain.variant("mlx", service.quantization or said or None)
    is_stored = Path(service.model).is_dir() or bool(plain.mlx_quantization)
    there = stored_form(plain, _engine(plain.spec)) if is_stored and not service.quantization and not said else None
    if there and there.refusal:
        raise PlannerError(
            there.refusal, "the model's original, or a conversion (mlx-community), by its name; --quantization 4bit plans what mlx_lm.convert makes of it"
        )
    is_repo = bool(said) and "/" in service.model and not service.quantization
    missing = several_widths(conversion) if conversion and is_repo else there.missing if there else ()
    form = there.form if there else mlx.read_format(service.quantization or said or _form(plain, variant))
    offered = variant.repo if variant else f"mlx-community/{plain.repo.rpartition('/')[2]}-{_ending(form)}"
    repo = service.model if is_repo else plain.repo if is_stored else offered
    kv_bits = {None: None, "auto": 16, "f16": 16, "bf16": 16, "q8": 8, "q8_0": 8, "8": 8, "q4": 4, "q4_0": 4, "4": 4}
    if service.kv_cache_dtype not in kv_bits:
        raise PlannerError(f"MLX has no KV cache of {service.kv_cache_dtype}", "bf16, q8 or q4")
    ask = MlxAsk(
        model=plain.spec,
        group=group,
        repo=repo,
        is_guessed_repo=variant is None and not is_stored and not is_repo,
        served_name=slug(plain.name),
        form=form,
        missing=missing,
        released=plain.released,
        is_free_form=not (service.quantization or said or variant or is_stored),
        name=service.name or "chat",
        context=context or (None if is_main or plain.spec.pooling else min(USEFUL_CONTEXT, plain.spec.max_position_embeddings)),
        users=service.users or 1,
        load=service.load,
        kv_bits=kv_bits[service.kv_cache_dtype],
        wired_limit_mb=row.wired_limit_mb,
        host=row.bind,
        port=service.port or 0,
        sampling=plain.sampling,
    )
    if ask.kv_bits not in (None, 16) and not ask.may_quantize:
        raise PlannerError(f"{ask.engine} keeps the cache of {plain.name} in 16 bits", "leave out --kv-cache-dtype")
    return ask


SPEECH_FIX = "mlx_vlm.server --stt-model with mlx-audio runs it, which is not planned here; vLLM serves it on a GPU"


def is_speech(model: ModelSpec) -> bool:
    """Whether it hears speech and writes it, which is mlx-audio's: neither mlx-lm 0.32.2 nor mlx-vlm 0.7.10 has a class for it."""
    return model.architecture.startswith("Whisper")


def speech_refusal(model: ModelSpec) -> str:
    """Why no server of MLX that is planned here takes it."""
    return f"neither mlx-lm nor mlx-vlm has a class for {model.architecture}, a speech model"


def find_model(name: str, catalogue: Catalogue) -> tuple[Plain, mlx.Conversion | None]:
    """The model that a name means, and the conversion that it names (mlx-community/Qwen3-8B-4bit). Raises PlannerError for an unknown one."""
    conversion = None if Path(name).exists() else mlx.read_name(name)
    if conversion is None:
        return catalogue.find_plain(name), None
    if "/" not in name:  # qwen3-32b-nvfp4 may be a row of another engine's
        with suppress(PlannerError):
            return catalogue.find_plain(name), None
    try:
        return catalogue.find_plain(conversion.base), conversion
    except PlannerError:
        return catalogue.find_plain(name), None


def several_widths(conversion: mlx.Conversion) -> tuple[NotCovered, ...]:
    """What is not known of a conversion whose name says that its weights have several widths."""
    said = shown(conversion.mixed)
    return (NotCovered(flag=f"--model …{said}", what="weights of several widths", effect="either"),) if said else ()


def stored_form(plain: Plain, engine: str) -> Foreign:
    """The format that a folder's or repository's config.json names, and what of it is not known. Raises PlannerError for one that MLX does not have."""
    said = plain.mlx_quantization
    if not said:
        return read_foreign(plain.foreign_quantization, engine) if plain.foreign_quantization else Foreign(form=mlx.PLAIN)
    form, others = mlx.read_quantization(said)
    return Foreign(form=form, missing=(NotCovered(flag="config.json", what=f"{others} modules of another width", effect="either"),) if others else ())


def _engine(model: ModelSpec) -> str:
    """The server that a model needs: mlx-vlm for images, embeddings and diffusion, mlx-lm for text."""
    return "mlx-vlm" if model.vision is not None or model.pooling or is_diffusion(model.architecture) else "mlx-lm"


def _form(plain: Plain, variant: Variant | None) -> str:
    """The format that is there already, else 8 bits: of experts that their makers publish in MXFP4, beside these."""
    if variant:
        return form_key(variant.format)
    makers = next((each.quantization.get("quant_method") for each in plain.variants if each.default), None)
    return "mxfp4-q8" if makers == "mxfp4" else "8bit"


def _ending(form: mlx.MlxFormat) -> str:
    """How mlx-community ends the name of a conversion: gpt-oss-20b-MXFP4-Q8, Qwen3-8B-4bit."""
    return form.name.upper() if form.experts else form.name


def in_form(ask: MlxAsk, form: mlx.MlxFormat) -> MlxAsk:
    """The question in another format, of the repository that is named for it."""
    base = ask.repo[: -len(ask.form.name)]  # however it is written, it is as long
    return replace(ask, form=form, repo=f"{base}{_ending(form)}" if ask.is_guessed_repo else ask.repo)

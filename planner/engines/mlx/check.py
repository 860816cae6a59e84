"""Somebody's mlx_lm.server or mlx_vlm.server -> whether its model fits what the GPU may wire, and how long a conversation may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from planner.engines.decided import decided, refuse_unresolved, sources
from planner.engines.mlx import memory as mlx
from planner.engines.mlx.ask import SPEECH_FIX, MlxAsk, is_speech, several_widths, speech_refusal, stored_form
from planner.engines.mlx.command import missing, read_command, words_of
from planner.engines.mlx.find import ALONE
from planner.engines.mlx.foreign import Foreign, read_foreign
from planner.engines.mlx.idle import idle
from planner.engines.mlx.plan import VERSIONS, plan_as_asked
from planner.engines.mlx.prefill import PREFILL_STEP, PROMPTS_AT_ONCE, is_cut
from planner.engines.mlx.prefixes import kept_bytes
from planner.engines.mlx.settings import SETTINGS
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan, Problem
from planner.facts.settings import Value
from planner.facts.verdict import Warn
from planner.speed.estimate import is_diffusion
from planner.text import shown, slug
from planner.units import tokens

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue, Plain


def check_server(command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan:
    """Judge a command. Raises PlannerError for one that names no model, or one that nobody here knows."""
    read, values = read_command(command), words_of(command).values
    refuse_unresolved(read, SETTINGS, values)
    if not read.model:
        raise PlannerError("the command names no model", f"{read.program[0]} --model MODEL …")
    engine = "mlx-vlm" if read.program[0].startswith("mlx_vlm") else "mlx-lm"
    plain, held = _model(read.model, catalogue, engine, is_here=not command.contained)
    form, differs, settings = held.form, held.missing, read.settings
    may_bound = read.program[0] == "mlx_vlm.server" or (read.program[0] in ALONE and is_cut(plain.spec, engine))
    limit = int(settings.get("max_kv_size") or 0) if may_bound else 0
    ask = _asked(read, group)(
        model=plain.spec,
        repo=read.model,
        served_name=slug(plain.name),
        form=form,
        missing=differs,
        released=plain.released,
        context=min(limit, plain.spec.max_position_embeddings) or None,
        sampling=plain.sampling,
    )
    if ask.kv_bits != 16 and not ask.may_quantize:
        message = (
            f"{ask.engine} {VERSIONS[ask.engine]} quantizes no cache of {plain.name}: it has sinks, a window, a latent, or heads that are no whole groups of 64"
        )
        read = replace(read, faults=(*read.faults, Problem(code="unsupported", message=message, fix="leave out --kv-bits")))
    if refusal := held.refusal or _unserved(ask):
        fix = (
            SPEECH_FIX
            if is_speech(plain.spec)
            else read.program[0].replace("mlx_lm", "mlx_vlm")
            if not held.refusal
            else "the original or a conversion for MLX (mlx-community)"
        )
        read = replace(read, faults=(*read.faults, Problem(code="unsupported", message=refusal, fix=fix)))
    plan = plan_as_asked(ask)
    release = VERSIONS[ask.engine]
    chosen = () if limit else ("context",)
    named = {"context": "max_kv_size", "parallel": "", "kv_bits": "kv_bits", "prefill_step_size": "prefill_step_size"}
    reasons = sources(named, settings, read.program[0], chosen)
    where = f"({form.name}) on {group.label} with {read.program[0]} {release}"
    plan = replace(plan, version=release, where=where, reasons=reasons)
    warnings = [warning for warning in plan.warnings if warning.code != "mlx-unbounded"] + list(idle(values))
    if not plain.spec.pooling and plan.rejection is None:
        warnings += _unbounded(ask, settings, plan, flag="--max-kv-size" if may_bound else "", is_alone=read.program[0] in ALONE)
    return decided(
        plan, read, missing=[*differs, *missing(values)], warnings=warnings, fix="weights of fewer bits, or let the GPU wire more (iogpu.wired_limit_mb)"
    )


def _unserved(ask: MlxAsk) -> str:
    """Why a server has no class for a model; empty where it may."""
    if is_speech(ask.model):
        return speech_refusal(ask.model)
    if ask.engine == "mlx-lm" and is_diffusion(ask.model.architecture):
        return f"mlx-lm {VERSIONS['mlx-lm']} has no class for a diffusion model ({ask.model.architecture}), mlx-vlm has"
    return ""


def _asked(read: Command, group: GpuGroup) -> Callable[..., MlxAsk]:
    """What a command asks of its server, whatever its model: users at a time, the cache's bits, the step, what is kept of old prompts."""
    settings, one = read.settings, replace(group, count=1)
    if read.program[0] == "mlx_vlm.server":
        users = int(settings.get("max_num_seqs") or 1)
        return partial(
            MlxAsk,
            server="mlx-vlm",
            users=users,
            group=one,
            kept_bytes=kept_bytes(dict(read.env), group.gpu),
            kv_bits=_kv_bits(settings),
            prefill_step=_step(settings),
        )
    if read.program[0] in ALONE:
        engine = read.program[0].partition(".")[0].replace("_", "-")
        return partial(MlxAsk, server=engine, group=one, keeps_prompts=False, kv_bits=_kv_bits(settings), prefill_step=_step(settings))
    bounds = (settings.get("decode_concurrency"), settings.get("prompt_concurrency"))
    users = max(int(bound or 1) for bound in bounds) if all(bounds) else 1  # BatchGenerator takes the larger of both
    said = settings.get("prompt_cache_bytes")
    kept = 0 if said is not None else int(settings.get("prompt_cache_size", 10) or 0)
    return partial(
        MlxAsk,
        server="mlx-lm",
        users=users,
        group=one,
        prompts=int(settings.get("prompt_concurrency") or PROMPTS_AT_ONCE),
        kept_bytes=int(said or 0),
        kept_prompts=kept,
        kv_bits=_kv_bits(settings),
        prefill_step=_step(settings),
    )


def _step(settings: Mapping[str, Value]) -> int:
    return int(settings.get("prefill_step_size") or PREFILL_STEP)


def _unbounded(ask: MlxAsk, settings: Mapping[str, Value], plan: Plan, *, flag: str, is_alone: bool) -> Iterator[Warn]:
    """What no flag of the command bounds, with the flag that would; `flag` bounds a conversation."""
    is_vlm = ask.engine == "mlx-vlm"
    if not (flag and settings.get("max_kv_size")):
        bound = f"{flag} bounds it" if flag else "no flag bounds it"
        surely = f"one conversation of {tokens(plan.longest_context)} tokens" if plan.longest_context else "no conversation"
        said = f"{surely} surely fits; a longer one takes more, {bound}"
        yield Warn(code="mlx-unbounded", message=said)
    if is_alone:
        return
    if is_vlm and not settings.get("max_num_seqs"):
        yield Warn(code="mlx-requests", message="any number of requests is answered at a time, each with a cache of its own: --max-num-seqs bounds them")
    if not is_vlm and ask.kv_bits == 16 and not (settings.get("decode_concurrency") and settings.get("prompt_concurrency")):
        most = max(int(settings.get("decode_concurrency") or 32), int(settings.get("prompt_concurrency") or PROMPTS_AT_ONCE))
        both = "--decode-concurrency and --prompt-concurrency, the larger of which counts, bound them"
        yield Warn(code="mlx-requests", message=f"up to {most} requests are answered at a time, each with a cache of its own: {both}")
    if not is_vlm and settings.get("prompt_cache_bytes") is None and ask.kept_prompts:
        yield Warn(code="mlx-prompt-cache", message=f"old prompts are kept whatever they take, up to {ask.kept_prompts}: --prompt-cache-bytes bounds them")


def _kv_bits(settings: Mapping[str, Value]) -> int:
    text = str(settings.get("kv_bits") or 16)
    return int(float(text)) if text.replace(".", "", 1).isdecimal() else 16


def _model(name: str, catalogue: Catalogue, engine: str, *, is_here: bool) -> tuple[Plain, Foreign]:
    """The model, and how its weights are stored."""
    if is_here and Path(name).is_dir():
        plain = catalogue.find_plain(name)
        return plain, stored_form(plain, engine)
    base = name.rpartition("/")[2]
    conversion = mlx.read_name(name)
    for known in (base, *((conversion.base,) if conversion else ()), name):  # the Hub is asked last
        try:
            plain = catalogue.find_plain(known)
        except PlannerError:
            continue
        variant = plain.variants[0] if plain.variants else None
        if conversion:
            return plain, Foreign(form=mlx.read_format(conversion.form), missing=several_widths(conversion))
        if variant is not None and variant.runtime == "mlx" and variant.format:
            return plain, Foreign(form=mlx.read_format(variant.format))
        if variant is not None and variant.quantization:
            return plain, read_foreign(variant.quantization, engine)
        return plain, stored_form(plain, engine)
    raise PlannerError(f"{shown(name, 100)} is not known here", "a name of `plan list models` with its bits (mlx-community/Qwen3-8B-4bit), or a folder")

"""Somebody's mlx_lm.server or mlx_vlm.server -> whether its model fits what the GPU may wire, and how long a conversation may be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.engines.decided import decided, refuse_unresolved, sources
from planner.engines.mlx import memory as mlx
from planner.engines.mlx.ask import MlxAsk
from planner.engines.mlx.command import missing, read_command, words_of
from planner.engines.mlx.plan import VERSIONS, plan_as_asked
from planner.engines.mlx.settings import SETTINGS
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Plan
from planner.facts.settings import Value
from planner.facts.verdict import Warn
from planner.text import shown, slug
from planner.units import tokens

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue, Plain

_FORM = re.compile(r"(?i)[-_]((?:[2-8][- ]?bit(?:-g(?:32|64|128))?|mxfp4(?:-q8)?|mxfp8|nvfp4|bf16|fp16))((?:-(?:DWQ|AWQ|mlx|AutoQuant)\w*)*)$")


def check_server(command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan:
    """Judge a command. Raises PlannerError for one that names no model, or one that nobody here knows."""
    read, values = read_command(command), words_of(command).values
    refuse_unresolved(read, SETTINGS, values)
    if not read.model:
        raise PlannerError("the command names no model", f"{read.program[0]} --model MODEL …")
    plain, form, differs = _model(read.model, catalogue, is_here=not command.contained)
    settings = read.settings
    limit = int(settings.get("max_kv_size") or 0)
    ask = MlxAsk(
        model=plain.spec,
        group=replace(group, count=1),
        repo=read.model,
        served_name=slug(plain.name),
        form=form,
        context=min(limit, plain.spec.max_position_embeddings) or None,
        kv_bits=_kv_bits(settings),
        prefill_step=int(settings.get("prefill_step_size") or mlx.PREFILL_STEP),
        sampling=plain.sampling,
    )
    plan = plan_as_asked(ask)
    release = VERSIONS["mlx-vlm" if "vlm" in read.program[0] else "mlx-lm"]
    chosen = () if limit else ("context",)
    reasons = sources(
        {"context": "max_kv_size", "parallel": "", "kv_bits": "kv_bits", "prefill_step_size": "prefill_step_size"}, settings, read.program[0], chosen
    )
    where = f"({form.name}) on {group.label} with {read.program[0]} {release}"
    plan = replace(plan, version=release, where=where, reasons=reasons)
    warnings = [warning for warning in plan.warnings if warning.code != "mlx-unbounded"]
    if not limit and not plain.spec.pooling and plan.rejection is None:
        bound = "no flag bounds it" if "lm.server" in read.program[0] and "vlm" not in read.program[0] else "--max-kv-size bounds it"
        warnings.append(
            Warn(code="mlx-unbounded", message=f"one conversation of {tokens(plan.longest_context)} tokens surely fits; a longer one takes more, {bound}")
        )
    return decided(
        plan, read, missing=[*differs, *missing(values)], warnings=warnings, fix="weights of fewer bits, or let the GPU wire more (iogpu.wired_limit_mb)"
    )


def _kv_bits(settings: Mapping[str, Value]) -> int:
    text = str(settings.get("kv_bits") or 16)
    return int(float(text)) if text.replace(".", "", 1).isdecimal() else 16


def _model(name: str, catalogue: Catalogue, *, is_here: bool) -> tuple[Plain, mlx.MlxFormat, Sequence[NotCovered]]:
    """The model, how its weights are stored, and what of that is not known."""
    if is_here and Path(name).is_dir():
        plain = catalogue.find_plain(name)
        return plain, _stored(plain), ()
    base = name.rpartition("/")[2]
    match = _FORM.search(base)
    for known in (base, *((base[: match.start()],) if match else ()), name):  # the Hub is asked last
        try:
            plain = catalogue.find_plain(known)
        except PlannerError:
            continue
        variant = plain.variants[0] if plain.variants else None
        if match:
            mixed = (NotCovered(flag=f"--model …{shown(match[0])}", what="weights of several widths", effect="either"),) if match[2] else ()
            return plain, mlx.read_format(match[1].lower().replace(" ", "")), mixed
        if variant is not None and variant.runtime == "mlx" and variant.format:
            return plain, mlx.read_format(variant.format), ()
        if variant is not None and variant.quantization:
            return (
                plain,
                mlx.read_format("bf16"),
                (NotCovered(flag=f"--model {shown(name)}", what="weights in a quantization of another engine's", effect="either"),),
            )
        return plain, _stored(plain), ()
    raise PlannerError(f"{shown(name, 100)} is not known here", "a name of `plan list models` with its bits (mlx-community/Qwen3-8B-4bit), or a folder")


def _stored(plain: Plain) -> mlx.MlxFormat:
    """The format that a folder's or repository's config.json names."""
    bits, group = plain.mlx_quantization.get("bits"), plain.mlx_quantization.get("group_size", 64)
    return mlx.read_format(f"{bits}bit" + (f"-g{group}" if group != 64 else "") if bits else "bf16")

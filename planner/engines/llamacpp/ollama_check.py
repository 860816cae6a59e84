"""Somebody's Ollama and the model that is asked of it -> whether it fits, and what of it runs on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines.decided import decided, refuse_unresolved
from planner.engines.llamacpp import ollama, ollama_command, ollama_own, scheduler
from planner.engines.llamacpp.backend import ollamas
from planner.engines.llamacpp.check import Machine, ask_of, margins_of, placed, visible, warnings_of
from planner.engines.llamacpp.drafting import by_ollama
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.ledger import LlamaCppLedger, free_bytes, ledger
from planner.engines.llamacpp.memory import LlamaCppConfig, with_drafts
from planner.engines.llamacpp.modelfile import Modelfile
from planner.engines.llamacpp.named import NamedModel, by_file, by_tag
from planner.engines.llamacpp.ollama_since import too_new
from planner.engines.llamacpp.one_machine import check_that_it_is_one
from planner.engines.llamacpp.plan import plan_of
from planner.engines.llamacpp.ram import narrow
from planner.engines.llamacpp.scheduler import Loaded
from planner.engines.llamacpp.settings import OLLAMA_SETTINGS
from planner.engines.llamacpp.warn import ollama_drafts
from planner.errors import PlannerError
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.verdict import Verdict, Warn
from planner.text import shown
from planner.units import tokens

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue


def check_ollama(command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan:
    """Judge Ollama with a model, and whether others that it is asked for stay loaded beside it.

    Raises PlannerError where none is named, or one that the catalogue does not know.
    """
    plan, loaded, _ = _checked(command, group, catalogue)
    beside, unknown = [], []
    for other in command.beside:
        try:
            beside.append(_checked(other, group, catalogue)[1])
        except PlannerError:
            unknown.append(ollama_command.read_command(other).model)
    env, whole = dict(command.env), visible(group, dict(command.env))
    together = scheduler.remarks(loaded, beside, free=free_bytes(whole, whole.count), env=env, process_bytes=whole.process_bytes(1))
    warnings = [*scheduler.of_idle_ones(env), *together]
    warnings += [Warn(code="not-counted", message=f"{shown(name)} is asked of the same server, and what it takes is not known") for name in unknown]
    return replace(plan, warnings=(*plan.warnings, *warnings))


def check_listed(command: Command, group: GpuGroup, catalogue: Catalogue) -> tuple[Plan, tuple[int, int]]:
    """Judge a model alone, with what `ollama ps` would show of it: bytes, and the percent of them on the CPU. Raises PlannerError as check_ollama."""
    plan, _, held = _checked(command, group, catalogue)
    return plan, ollama.listed(held)


def _checked(command: Command, group: GpuGroup, catalogue: Catalogue) -> tuple[Plan, Loaded, LlamaCppLedger]:
    """A model alone on its machine."""
    if file_name := ollama_command.missing_modelfile(command):
        raise PlannerError(f"{shown(file_name, 100)} is not here, which `ollama create` reads", "plan check PATH of the Modelfile")
    check_that_it_is_one(group, is_ollama=True)
    read, file, env = ollama_command.read_command(command), ollama_command.modelfile_of(command), dict(command.env)
    refuse_unresolved(read, OLLAMA_SETTINGS, env)
    if not read.model:
        raise PlannerError("Ollama starts without a model; which one is asked of it is not said", "add `ollama run MODEL`, or name it with --model")
    named = _named(command, read, file, catalogue)
    read = replace(read, faults=(*read.faults, *too_new(named.model, command.version, named.tag)))
    whole = visible(group, env)
    unread = ollama_own.unread(read.settings, command.version)
    read = replace(read, settings={name: value for name, value in read.settings.items() if name not in unread})
    config, reasons = _config(read, file, named, whole)
    is_earlier = ollama_own.is_earlier(command.version)
    if is_earlier:
        config = _earlier(read, named, config, whole, reasons)
    free, predicted = free_bytes(whole, 1)[0], ollama.predicted_bytes(named.model, config)
    ubatch = (file.number("num_batch") if file else None) or (ollama_own.batch(named.model, config, command.version) if is_earlier else None)
    tokens_held = config.context * config.parallel
    config = replace(config, ubatch=ubatch or ollama.batch(predicted, tokens_held, free, embeds=named.model.pooling))
    if not is_earlier:
        drafting = by_ollama(named.tag, file.number("draft_num_predict") if file else None, named.model)
        config = with_drafts(config, drafting, named.model)
    gpus = ollama.gpus_used(predicted, free, whole.count)
    if file and file.number("main_gpu") is not None:
        gpus, reasons["gpus"] = 1, "main_gpu of the Modelfile"
    else:
        reasons["gpus"] = "80 % of one GPU suffice (Ollama's rule)" if gpus < whole.count else "all of them" if gpus > 1 else "the only one"
    reasons["batch"] = "its default, or the Modelfile's" if is_earlier else "from the Modelfile" if ubatch else "Ollama's choice for this context and memory"
    machine = Machine(group=whole, gpus=gpus, margins=_margins(command, named, config, whole, gpus))
    fitted = config if config.gpu_layers is not None else _placed(named, machine, config, is_earlier=is_earlier)
    asked = replace(ask_of(named, whole, is_ollama=True, config=fitted), release=str(command.version) if is_earlier else "")
    plan = plan_of(asked, fitted, machine.gpus)
    if fitted != config and plan.verdict is Verdict.TIGHT and not narrow(plan):
        plan = replace(plan, verdict=Verdict.STARTS)
    plan = replace(plan, reasons=tuple(reasons.items()))
    warnings = [
        *ollama_command.remarks(command),
        *_remarks(read, file, named),
        *_of_release(read, unread, config),
        *named.warnings,
        *warnings_of(named, fitted, plan, has_fit=True),
        *ollama_drafts(fitted),
    ]
    missing = [*named.not_covered, *ollama_command.missing(command)]
    said = {row.flag: value for row in OLLAMA_SETTINGS if (value := env.get(row.flag))}
    loaded = Loaded(
        name=read.makes or read.model,
        predicted_bytes=predicted,
        held_bytes=plan.held_bytes,
        gpus=machine.gpus,
        is_whole=plan.is_whole,
        is_pinned=_is_partial(config, named),
    )
    held = ledger(named.model, fitted, whole, gpus=machine.gpus)
    return decided(plan, read, missing=missing, warnings=warnings, fix="a tag of fewer bits, or another GPU", env=said), loaded, held


def _earlier(read: Command, named: NamedModel, asked: LlamaCppConfig, whole: GpuGroup, reasons: dict[str, str]) -> LlamaCppConfig:
    """A configuration as a release before 0.30 held it, with what it chose by itself among the reasons."""
    says_flash = "flash_attention" in read.settings
    config = ollama_own.earlier(named.model, asked, read.version, asks_for_flash=says_flash)
    if not int(read.settings.get("num_parallel") or 0):
        ways = ollama_own.at_once(named.model, config, read.version, free_bytes(whole, whole.count))
        config = replace(config, parallel=ollama.parallel(named.model, ways))
    if not says_flash:
        reasons["flash_attention"] = "that release's choice for this model"
    if config.kv_type != asked.kv_type:
        reasons["kv_cache_type"] = "what is left where the type that is asked for cannot be had"
    if config.gpu_layers is None:
        reasons["gpu_layers"] = "Ollama's own measure" if config.own_engine else "Ollama's estimate"
    return config


def _margins(command: Command, named: NamedModel, config: LlamaCppConfig, whole: GpuGroup, gpus: int) -> tuple[int, ...]:
    """What the fit leaves free of each GPU: as the environment says, or Ollama's own."""
    if said := dict(command.env).get("LLAMA_ARG_FIT_TARGET"):
        return margins_of(said, gpus)
    held = ledger(named.model, config, whole, gpus=gpus)
    counts_drafts = not ollama_own.is_before(command.version, ollama_own.FIRST_WITH_FITTED_DRAFTS)
    return tuple(ollama.margin_bytes(held, gpu, counts_drafts=counts_drafts) for gpu in range(gpus))


def _placed(named: NamedModel, machine: Machine, config: LlamaCppConfig, *, is_earlier: bool) -> LlamaCppConfig:
    """Where the layers go: by llama.cpp's fit, or before 0.30 whole ones as Ollama itself placed them."""
    if is_earlier and machine.gpus == 1:
        return ollama_own.placed_whole(named.model, config, machine.room.free_bytes[0])
    return placed(named, machine, config)


def _is_partial(config: LlamaCppConfig, named: NamedModel) -> bool:
    """Whether fewer layers than all are asked for, of which Ollama takes no more than that (explicitPartialGPUOffload)."""
    return config.gpu_layers is not None and config.gpu_layers <= named.model.layer_count


def _named(command: Command, read: Command, file: Modelfile | None, catalogue: Catalogue) -> NamedModel:
    if file is None or not file.is_file:
        return by_tag(read.model, catalogue)
    files = {name: str(command.place(value) or value) for name, value in (("model", file.model), ("mmproj", file.projector)) if value}
    return by_file(files, catalogue, is_here=not command.contained)


def _config(read: Command, file: Modelfile | None, named: NamedModel, whole: GpuGroup) -> tuple[LlamaCppConfig, dict[str, str]]:
    """What Ollama sets for a model, and where each of it comes from: the Modelfile goes before the environment."""
    settings = read.settings
    kind = str(ollama_command.setting(settings, "kv_cache_type")).lower()
    overhead = int(text) if (text := dict(read.env).get("OLLAMA_GPU_OVERHEAD", "")).isdecimal() and len(text) < 18 else 0
    own = file.number("num_ctx") if file else None
    by_memory = ollama.default_context((whole.total_bytes - overhead) * whole.count)
    by_release = ollama_own.default_context(read.version)
    context = own or int(ollama_command.setting(settings, "context_length") or 0) or by_release or by_memory
    wanted = max(1, int(ollama_command.setting(settings, "num_parallel") or 1))
    ways = ollama.parallel(named.model, wanted)
    layers = file.number("num_gpu") if file else None
    said = dict.fromkeys(settings, "from the environment")
    reasons = {
        "context": "from the Modelfile"
        if own
        else said.get("context_length", f"default of Ollama {read.version}" if by_release else "Ollama's default for the memory of all GPUs"),
        "parallel": said.get("num_parallel", "Ollama's default") if ways == wanted else "Ollama runs one request of this model at a time",
        "kv_cache_type": said.get("kv_cache_type", "Ollama's default"),
        "flash_attention": said.get("flash_attention", "llama.cpp's choice"),
        "batch": "",
        "gpu_layers": "llama.cpp's choice" if layers is None or layers < 0 else "from the Modelfile",
    }
    config = LlamaCppConfig(
        context=min(context, named.model.max_context),
        parallel=ways,
        kv_type=kind if kind in KV_TYPES else "f16",
        flash_attention=ollama_command.has_flash_attention(dict(read.env)),
        vision=named.has_vision,
        gpu_layers=None if layers is None or layers < 0 else min(layers, named.model.layer_count + 1),
        backend=ollamas(whole.gpu.vendor, dict(read.env)),
    )
    return config, reasons


def _of_release(read: Command, unread: list[str], config: LlamaCppConfig) -> Iterator[Warn]:
    """What of the environment does nothing in a release before 0.30."""
    for row in OLLAMA_SETTINGS:
        if row.name in unread:
            yield Warn(code="does-nothing", message=f"{row.flag} does nothing: Ollama {shown(str(read.version))} does not read it yet")
    kind = str(read.settings.get("kv_cache_type", "")).lower()
    if kind and kind != config.kv_type:
        why = "gives this model no such cache" if config.flash_attention else "quantizes a cache only with flash attention"
        message = f"OLLAMA_KV_CACHE_TYPE={shown(kind)} does nothing: Ollama {shown(str(read.version))} {why}; the cache is {config.kv_type}"
        yield Warn(code="does-nothing", message=message)


def _remarks(read: Command, file: Modelfile | None, named: NamedModel) -> Iterator[Warn]:
    """What of the environment and the Modelfile does nothing for this model."""
    wanted = int(ollama_command.setting(read.settings, "num_parallel") or 1)
    if ollama.parallel(named.model, wanted) < wanted:
        yield Warn(code="does-nothing", message=f"OLLAMA_NUM_PARALLEL={wanted} does nothing for this model: Ollama runs one request of it at a time")
    context, name = (file.number("num_ctx"), "num_ctx") if file and file.number("num_ctx") else (read.settings.get("context_length"), "OLLAMA_CONTEXT_LENGTH")
    if context and int(context) > (most := named.model.max_context):
        yield Warn(
            code="does-nothing", message=f"{name} {tokens(int(context))} is more than the {tokens(most)} that the model was trained for: Ollama takes those"
        )

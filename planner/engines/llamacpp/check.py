"""Somebody's llama-server -> whether it starts: what it sets by itself, the ledger, changes that make it start.

llama.cpp makes what a command leaves open fit (common/fit.cpp): first a context that was not said, then layers. What is said it never changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines.decided import decided, refuse_unresolved, sources
from planner.engines.host import LITTLE_LEFT
from planner.engines.llamacpp import command as server
from planner.engines.llamacpp.ask import GgufAsk
from planner.engines.llamacpp.backend import backend_of
from planner.engines.llamacpp.builds import FLASH_IS_AUTO, FOUR_SLOTS, OLDEST_BUILD
from planner.engines.llamacpp.by_hand import cards_used, config_by_hand, divided, is_by_hand, uncovered
from planner.engines.llamacpp.drafting import drafting_of
from planner.engines.llamacpp.fit import Room, fits_whole, fitted, fitted_context
from planner.engines.llamacpp.flags import SERVER, stoi
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.idle import idle
from planner.engines.llamacpp.ledger import free_bytes, ledger_of
from planner.engines.llamacpp.memory import FIT_MARGIN_BYTES, LlamaCppConfig, with_drafts
from planner.engines.llamacpp.named import NamedModel, by_file, by_repository
from planner.engines.llamacpp.one_machine import check_that_it_is_one
from planner.engines.llamacpp.pins import image_tokens
from planner.engines.llamacpp.plan import plan_of
from planner.engines.llamacpp.ram import holds, narrow
from planner.engines.llamacpp.settings import AUTO_SLOTS, SETTINGS
from planner.engines.metal import wired_bytes
from planner.errors import PlannerError
from planner.facts.alternatives import Alternative
from planner.facts.command import Command
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.record import dataclass
from planner.facts.settings import Value
from planner.facts.verdict import Verdict, Warn
from planner.text import slug
from planner.units import MIB, largest, tokens

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue

LEAST_OFFERED = 4096  # tokens: a shorter context is no way out
_STEP = 1024
# The settings of an answer, each with the name in the server's table.
_NAMES = {
    "context": "ctx_size",
    "parallel": "parallel",
    "kv_cache_type": "cache_type_k",
    "flash_attention": "flash_attn",
    "batch": "ubatch_size",
    "gpu_layers": "n_gpu_layers",
    "gpus": "device",
}
_ON = ("on", "enabled", "true", "1")
_OFF = ("off", "disabled", "false", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The GPUs that a server uses, and what it leaves free of each."""

    group: GpuGroup
    gpus: int
    margins: tuple[int, ...]

    @property
    def room(self) -> Room:
        """What is free of each GPU, and the margin."""
        return Room(free_bytes(self.group, self.gpus), self.margins)

    def fits(self, named: NamedModel, config: LlamaCppConfig, *, surely: bool = False) -> bool:
        """Whether the fit would leave a configuration as it is; `surely`: also where compute buffers are as large as they may be, with what main memory holds."""
        room = self.room
        if not surely:
            return fits_whole(named.model, config, room)
        held = ledger_of(named.model, config, room.free_bytes)
        high = config.backend.error[1] - 1
        most = [gpu.total_bytes + int((gpu.compute_bytes + gpu.mmproj_compute_bytes) * high) + 2 for gpu in held.gpus]
        return room.takes(most) and holds(held, self.group)


def check_server(command: Command, group: GpuGroup, catalogue: Catalogue) -> Plan:
    """Judge a command of llama-server. Raises PlannerError for one that names no model, or one that nobody here knows."""
    check_that_it_is_one(group, is_ollama=False)
    read = server.read_command(command)
    values, _, _ = server.values_of(command)
    refuse_unresolved(read, SETTINGS, values)
    settings = read.settings
    if not (settings.get("model") or settings.get("hf_repo")):
        raise PlannerError("the command names no model that can be read", "llama-server --model FILE.gguf … or --hf-repo user/repository:quantization")
    build = server.build_of(command)
    named = by_repository(settings, catalogue, build) if settings.get("hf_repo") else by_file(settings, catalogue, is_here=not command.contained, build=build)
    machine = _machine(settings, group, dict(command.env))
    said = str(settings.get("device") or ""), command.version or ""
    backend = backend_of(machine.group.gpu.vendor, *said, env=dict(command.env))
    defaults = _defaults_of(command, is_metal=machine.group.gpu.vendor == "apple")
    asked = replace(_config({**defaults, **settings}, named), build=build, backend=backend)
    asked = config_by_hand(asked, settings, named.model, machine.gpus)
    drafting = drafting_of(settings, named.model, catalogue, is_here=not command.contained)
    asked = with_drafts(asked, drafting, named.model)
    config = _fitted(settings, named, machine, asked)
    plan = plan_of(ask_of(named, machine.group, is_ollama=False, config=config), config, machine.gpus)
    chosen = ["context"] * (config.context != asked.context) + ["gpu_layers"] * _is_open(settings)
    missing = [
        *named.not_covered,
        *drafting.missing,
        *server.missing(values),
        *uncovered(settings),
        *divided(settings.items(), machine.gpus, config, named.model),
    ]
    warnings = [
        *server.remarks(values),
        *idle(values, named.model, machine.gpus),
        *named.warnings,
        *warnings_of(named, config, plan, has_fit=_has_fit(settings)),
    ]
    changes = _changes(named, machine, config) if plan.rejection is not None else []
    is_chosen = config != asked and plan.verdict is Verdict.TIGHT and not narrow(plan)  # llama.cpp measured, and left its margin
    plan = replace(plan, reasons=sources(_NAMES, settings, "llama.cpp", chosen), verdict=Verdict.STARTS if is_chosen else plan.verdict)
    return decided(plan, read, missing=missing, warnings=warnings, fix="weights of fewer bits, or another GPU", alternatives=changes)


def _defaults_of(command: Command, *, is_metal: bool) -> dict[str, Value]:
    """What a program or an earlier build sets where nothing is said, and llama-server of today does not."""
    build, own = server.build_of(command), dict[str, Value]()
    if server.program_of(command) != SERVER or build < FOUR_SLOTS:
        own["parallel"] = 1
    if build < FLASH_IS_AUTO:
        own |= {"flash_attn": "off"} if is_metal else {"flash_attn": "off", "n_gpu_layers": "0"}
    return own


def ask_of(named: NamedModel, group: GpuGroup, *, is_ollama: bool, config: LlamaCppConfig) -> GgufAsk:
    """The question that a command puts."""
    return GgufAsk(
        model=named.model,
        group=group,
        is_ollama=is_ollama,
        served_name=slug(named.source),
        source=named.source,
        tag=named.tag,
        context=config.context,
        users=config.parallel,
        kv_type=config.kv_type,
        gpu_layers=config.gpu_layers,
        has_vision=config.vision,
        origin=named.origin,
        sampling=named.sampling,
    )


def visible(group: GpuGroup, env: Mapping[str, str]) -> GpuGroup:
    """The GPUs that the environment shows, and what Metal lets one use."""
    if group.gpu.vendor == "apple" and group.gpu.free_at_start_bytes is None:
        group = replace(group, gpu=replace(group.gpu, free_at_start_bytes=wired_bytes(group.gpu)[0]))
    listed = env.get("CUDA_VISIBLE_DEVICES", env.get("HIP_VISIBLE_DEVICES", env.get("--gpus", "all")))
    shown = len(re.findall(r"[^,\s]+", listed)) if listed != "all" and "$" not in listed else group.count
    return replace(group, count=max(1, min(group.count, shown)))


def _machine(settings: Mapping[str, Value], group: GpuGroup, env: Mapping[str, str]) -> Machine:
    used = cards_used(settings, visible(group, env), is_split=server.setting(settings, "split_mode") != "none")
    return Machine(group=used, gpus=used.count, margins=margins_of(str(server.setting(settings, "fit_target")), used.count))


def margins_of(text: str, gpus: int) -> tuple[int, ...]:
    """Bytes that are left free of each GPU (--fit-target, in MiB): one figure for all of them, or one for each."""
    sizes = [int(part) * MIB if part.isdecimal() else FIT_MARGIN_BYTES for part in text.split(",")]
    return tuple(sizes[:1] * gpus if len(sizes) == 1 else (sizes + [FIT_MARGIN_BYTES] * gpus)[:gpus])


def _has_fit(settings: Mapping[str, Value]) -> bool:
    """Whether llama.cpp fits what is open; where tensors lie in parts it does not (common/fit.cpp)."""
    return str(server.setting(settings, "fit")) not in _OFF and settings.get("split_mode") != "tensor"


def _layers(settings: Mapping[str, Value]) -> int | None:
    """The layers that a command puts on the GPU; None for all of them, or where the fit is to say."""
    text = str(server.setting(settings, "n_gpu_layers"))
    if settings.get("device") == "none":
        return 0
    number = None if text in ("auto", "all") or not re.match(r"\s*[-+]?\d", text) else stoi(text)
    return None if number is None or number < 0 else number


def _is_open(settings: Mapping[str, Value]) -> bool:
    """Whether the fit may move layers."""
    return _has_fit(settings) and str(server.setting(settings, "n_gpu_layers")) in ("auto", "-1") and settings.get("device") != "none"


def _config(settings: Mapping[str, Value], named: NamedModel) -> LlamaCppConfig:
    """The settings as the command has them, a context that it leaves open as long as the model's."""
    slots = int(server.setting(settings, "parallel") or -1)
    is_unified = slots < 0 or bool(server.setting(settings, "kv_unified"))
    slots = AUTO_SLOTS if slots < 0 else slots
    streams = 1 if is_unified else slots
    whole = int(server.setting(settings, "ctx_size") or 0)
    limit = named.model.max_context
    return LlamaCppConfig(
        context=max(1, whole // streams) if whole else limit if settings.get("ctx_size") is None and _has_fit(settings) else max(1, limit // streams),
        parallel=streams,
        sequences=slots if is_unified else 1,
        kv_type=_kind(settings, "cache_type_k"),
        value_type=_kind(settings, "cache_type_v"),
        lends=bool(server.setting(settings, "op_offload")) and settings.get("device") != "none",
        kv_on_gpu=bool(server.setting(settings, "kv_offload")),
        flash_attention=(flash := str(server.setting(settings, "flash_attn"))) not in _OFF,
        insists_on_flash=flash in _ON,
        whole_windows=bool(server.setting(settings, "swa_full")),
        ubatch=min(int(server.setting(settings, "ubatch_size") or 512), int(server.setting(settings, "batch_size") or 2048)),
        gpu_layers=_layers(settings),
        vision=named.has_vision and bool(server.setting(settings, "mmproj_offload")),
        image_tokens=image_tokens(*(int(settings[name] or 0) if name in settings else None for name in ("image_min_tokens", "image_max_tokens"))),
    )


def _kind(settings: Mapping[str, Value], name: str) -> str:
    """A cache type; of one that is refused, as a fault says, the default."""
    kind = str(server.setting(settings, name))
    return kind if kind in KV_TYPES else "f16"


def _fitted(settings: Mapping[str, Value], named: NamedModel, machine: Machine, config: LlamaCppConfig) -> LlamaCppConfig:
    """What the fit makes of what the command leaves open: the context first, then layers."""
    if not _has_fit(settings) or config.build < OLDEST_BUILD or machine.fits(named, config):
        return config
    if settings.get("ctx_size") is None:
        least = min(int(server.setting(settings, "fit_ctx") or LEAST_OFFERED), config.context)
        config = replace(config, context=fitted_context(named.model, config, machine.room, least))
    return placed(named, machine, config) if _is_open(settings) and not is_by_hand(config, machine.gpus) else config


def placed(named: NamedModel, machine: Machine, config: LlamaCppConfig) -> LlamaCppConfig:
    """A configuration as the fit places it, where it does not fit whole."""
    return config if machine.fits(named, config) else replace(config, placement=fitted(named.model, config, machine.room))


def _changes(named: NamedModel, machine: Machine, config: LlamaCppConfig) -> list[Alternative]:
    """Changes of the command that make it start, each checked, those that cost least first."""
    changes = []
    eight = replace(config, kv_type="q8_0", value_type="q8_0", flash_attention=True)
    if config.kv_type == "f16" and machine.fits(named, eight, surely=True):
        changes.append(_sure("an 8-bit cache", "--flash-attn on --cache-type-k q8_0 --cache-type-v q8_0"))
    steps = largest(config.context // _STEP, lambda count: machine.fits(named, replace(config, context=max(1, count) * _STEP), surely=True))
    if LEAST_OFFERED <= (shorter := steps * _STEP) < config.context:
        changes.append(_sure(f"a context of {tokens(shorter * config.parallel)}", f"--ctx-size {shorter * config.parallel}"))
    if config.split_tensors:
        return changes
    if named.model.has_experts and (divided := _divided(named, machine, config)):
        changes.append(_sure(f"the experts of {divided} layers in main memory, at its speed", f"--n-gpu-layers all --n-cpu-moe {divided}"))
        return changes
    layers = largest(named.model.layer_count, lambda count: machine.fits(named, replace(config, gpu_layers=count), surely=True))
    if layers:
        changes.append(_sure(f"{layers} of {named.model.layer_count + 1} layers on the GPU, the rest on the CPU at its speed", f"--n-gpu-layers {layers}"))
    return changes


def _divided(named: NamedModel, machine: Machine, config: LlamaCppConfig) -> int:
    """The fewest layers whose experts must leave the GPUs so that the rest surely fits; 0 where even all do not do."""
    count = named.model.layer_count
    whole = replace(config, gpu_layers=None)
    kept = largest(count, lambda kept: kept < count and machine.fits(named, replace(whole, cpu_moe_layers=count - kept), surely=True))
    return count - kept if kept or machine.fits(named, replace(whole, cpu_moe_layers=count), surely=True) else 0


def _sure(change: str, arguments: str) -> Alternative:
    return Alternative(change=change, arguments=arguments, verdict=Verdict.STARTS)


def warnings_of(named: NamedModel, config: LlamaCppConfig, plan: Plan, *, has_fit: bool) -> list[Warn]:
    """What is worth knowing of a start."""
    warns = [warn for warn in plan.warnings if warn.code in ("experts-on-cpu", "layers-on-cpu", "main-memory")]
    if config.context > named.model.max_context:
        warns.append(
            Warn(
                code="beyond-training",
                message=f"a context of {tokens(config.context)} is beyond the {tokens(named.model.max_context)} that the model was trained for",
            )
        )
    if config.sequences > 1:
        warns.append(
            Warn(
                code="shared-context",
                message=f"{config.sequences} slots share {tokens(config.context)} tokens of cache; --parallel 1 gives one request all of it",
            )
        )
    if few := narrow(plan):
        warns.append(Warn(code=LITTLE_LEFT, message=few))
    elif plan.verdict is Verdict.TIGHT and has_fit:
        warns.append(Warn(code="tight", message="less than 1 GiB would be left, which llama.cpp's own fit keeps free where layers are not pinned"))
    if not named.model.exact:
        warns.append(
            Warn(code="mix-estimate", message="the mix of this architecture's own tensors is not llama.cpp's to the byte; a GGUF file's header is exact")
        )
    return warns

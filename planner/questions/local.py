"""The command line's question about llama.cpp, Ollama or MLX: which servers, in which order, what each may still take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planner.catalogue.gguf import read_whole
from planner.catalogue.resolve import check_name, find_plain, slug
from planner.engines.catalogue import Plain, form_key
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.model import GgufModel, converted, find_mix, from_header
from planner.engines.llamacpp.plan import GgufAsk, plan_gguf
from planner.engines.mlx import memory as mlx
from planner.engines.mlx.plan import MlxAsk, plan_mlx
from planner.engines.vllm.settings import own_pins
from planner.errors import PlannerError
from planner.facts.context import POOLING_CONTEXT, USEFUL_CONTEXT
from planner.facts.deployment import Deployment, Sampling
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.facts.local_plan import LocalPlan
from planner.facts.question import ServiceRow, StackRow
from planner.facts.variant import Variant
from planner.facts.verdict import Verdict, worst
from planner.questions.question import OLLAMA_PORT, Question, typed

DEFAULT_MIX = {"GptOssForCausalLM": "MXFP4_MOE"}  # published in MXFP4


@dataclass(frozen=True)
class LocalAnswer:
    """What the command line prints and writes about servers of another runtime; the last plan is the main one."""

    plans: tuple[LocalPlan, ...]
    deployment: Deployment
    question: Question

    @property
    def main(self) -> LocalPlan:
        """The plan that the question was about."""
        return self.plans[-1]

    @property
    def verdict(self) -> Verdict:
        """The worst of the servers'."""
        return worst([plan.verdict for plan in self.plans])

    @property
    def meets_wish(self) -> bool:
        """Whether all that was asked is met."""
        return all(plan.meets_wish for plan in self.plans)


def answer_local(row: StackRow, engine: str, question: Question, first_port: int) -> LocalAnswer:
    """Answer one question for a runtime. Raises PlannerError for what it cannot do."""
    gpu = _gpu(row.gpu, engine, row.wired_limit_mb)
    if engine == "mlx" and row.count > 1:
        raise PlannerError("MLX plans one Mac", "leave out --count")
    if row.nodes > 1:
        raise PlannerError(f"{engine} plans one machine", "leave out --nodes")
    group = GpuGroup(gpu=gpu, count=row.count, host=Host(row.host))
    main, *others = _named(row, engine, first_port)
    plans: list[LocalPlan] = []
    for service in (*others, main):  # the small ones first: the main one has what they leave
        contexts = 0 if engine == "mlx" else len(plans) * group.process_bytes(1)  # what MLX takes beside is not wired
        used = replace(group, taken_bytes=contexts + sum(plan.most_bytes for plan in plans))
        plans.append(_plan(service, used, row, engine, is_main=service is main, shares=engine == "ollama" and service is not main))
    services = tuple(plan.service for plan in plans)
    title = " and ".join(plan.model for plan in reversed(plans)) + f" on {row.count}x {gpu.title} with {engine}"
    found = Deployment(
        title=title,
        gpu=gpu.name,
        gpu_title=gpu.title,
        vendor=gpu.vendor,  # type: ignore[arg-type]
        count=row.count,
        services=services,
        bind=row.bind,
        proxy_port=row.proxy_port,
    )
    plans[-1] = replace(plans[-1], alternatives=typed(plans[-1].alternatives, question))
    return LocalAnswer(tuple(plans), found, question)


def _gpu(name: str, engine: str, wired_limit_mb: int | None) -> GpuSpec:
    from planner.catalogue.load import find_gpu

    gpu = find_gpu(name)
    if engine == "mlx" and gpu.vendor != "apple":
        raise PlannerError(f"{gpu.title}: MLX runs on Apple silicon", "--engine vllm, llama.cpp or ollama")
    if wired_limit_mb is not None and (gpu.vendor != "apple" or wired_limit_mb * 1024**2 > gpu.memory_bytes):
        raise PlannerError(f"--wired-limit-mb {wired_limit_mb}: {gpu.title} has {gpu.memory_bytes // 1024**2} MiB", "it is a setting of macOS, below the RAM")
    if gpu.vendor == "apple" and engine != "mlx":
        return replace(gpu, free_at_start_bytes=mlx.wired_bytes(gpu, wired_limit_mb)[0])  # llama.cpp's Metal backend asks for the same limit
    return gpu


def _named(row: StackRow, engine: str, first_port: int) -> list[ServiceRow]:
    """The services with their names and ports; Ollama's models share one."""
    named: list[ServiceRow] = []
    names, ports = {service.name for service in row.services if service.name}, {service.port for service in row.services if service.port} | {row.proxy_port}
    for service in row.services:
        kind = "embedding" if _is_pooling(service) else "chat"
        name = service.name or next(each for each in (kind, *(f"{kind}-{number}" for number in range(2, 100))) if each not in names)
        if engine == "ollama":
            port = row.services[0].port or OLLAMA_PORT
        else:
            port = service.port or next(each for each in range(first_port, first_port + 1000) if each not in ports)
        if service.name and [each.name for each in row.services].count(service.name) > 1:
            raise PlannerError(f"two servers are named {service.name}", "give one another name")
        if engine != "ollama" and (port == row.proxy_port or port in [each.port for each in named]):
            raise PlannerError(f"port {port} is used twice", "give one another port")
        names.add(name)
        ports.add(port)
        named.append(replace(service, name=name, port=port))
    return named


def _is_pooling(service: ServiceRow) -> bool:
    return not service.model.endswith(".gguf") and find_plain(service.model).spec.pooling


def _plan(service: ServiceRow, group: GpuGroup, row: StackRow, engine: str, *, is_main: bool, shares: bool) -> LocalPlan:
    context: Any = service.context or service.max_model_len
    if engine == "mlx":
        return plan_mlx(_mlx_ask(service, group, row, context, is_main=is_main))
    return plan_gguf(_gguf_ask(service, group, row, context, is_ollama=engine == "ollama", is_main=is_main, shares=shares))


def _mlx_ask(service: ServiceRow, group: GpuGroup, row: StackRow, context: int | None, *, is_main: bool) -> MlxAsk:
    plain = find_plain(service.model)
    variant = plain.variant("mlx", service.quantization)
    is_folder = Path(service.model).is_dir()
    form = mlx.read_format(service.quantization or _mlx_form(plain, variant, is_folder=is_folder))
    repo = plain.repo if is_folder else variant.repo if variant else f"mlx-community/{plain.repo.rpartition('/')[2]}-{form.name}"
    kv_bits = {None: None, "auto": 16, "f16": 16, "bf16": 16, "q8": 8, "q8_0": 8, "8": 8, "q4": 4, "q4_0": 4, "4": 4}
    if service.kv_cache_dtype not in kv_bits:
        raise PlannerError(f"MLX has no KV cache of {service.kv_cache_dtype}", "bf16, q8 or q4")
    return MlxAsk(
        model=plain.spec,
        group=group,
        repo=repo,
        is_guessed_repo=variant is None and not is_folder,
        served_name=slug(plain.name),
        form=form,
        name=service.name or "chat",
        context=context or (None if is_main or plain.spec.pooling else min(USEFUL_CONTEXT, plain.spec.max_position_embeddings)),
        users=service.users or 1,
        kv_bits=kv_bits[service.kv_cache_dtype],
        wired_limit_mb=row.wired_limit_mb,
        host=row.bind,
        port=service.port or 0,
        sampling=plain.sampling,
    )


def _mlx_form(plain: Plain, variant: Variant | None, *, is_folder: bool) -> str:
    """The format that is there already, else 8 bits."""
    if is_folder:
        bits, group = plain.mlx_quantization.get("bits"), plain.mlx_quantization.get("group_size", 64)
        return f"{bits}bit" + (f"-g{group}" if group != 64 else "") if bits else "bf16"
    return form_key(variant.format) if variant else "8bit"


def _gguf_ask(service: ServiceRow, group: GpuGroup, row: StackRow, context: int | None, *, is_ollama: bool, is_main: bool, shares: bool) -> GgufAsk:
    model, source, tag, name, plain = _gguf_model(service, is_ollama=is_ollama)
    if service.kv_cache_dtype and service.kv_cache_dtype not in (*KV_TYPES, "auto"):
        raise PlannerError(f"llama.cpp has no KV cache type {service.kv_cache_dtype}", f"one of {', '.join(ollama.KV_TYPES if is_ollama else KV_TYPES)}")
    short = POOLING_CONTEXT if model.pooling else USEFUL_CONTEXT
    return GgufAsk(
        model=model,
        group=group,
        is_ollama=is_ollama,
        served_name=name,
        source=source,
        tag=tag,
        name=service.name or "chat",
        shares_process=shares,
        models=len(row.services),
        context=context or (min(short, model.max_context) if model.pooling or not is_main else None),
        users=service.users or 1,
        kv_type=None if service.kv_cache_dtype == "auto" else service.kv_cache_dtype,
        gpu_layers=service.gpu_layers,
        host=row.bind,
        port=service.port or 0,
        has_vision=plain is not None and plain.spec.vision is not None,
        sampling=plain.sampling if plain else Sampling(),
        origin=plain.spec if plain else None,
    )


def _gguf_model(service: ServiceRow, *, is_ollama: bool) -> tuple[GgufModel, str, str, str, Plain | None]:
    """The model, the file to serve, Ollama's tag or nothing, a short name, and the model it was made of where that is known."""
    check_name(service.model)
    path = Path(service.model)
    if path.suffix == ".gguf":
        if not path.exists():
            raise PlannerError(f"{path} does not exist")
        return from_header(read_whole(path), path.stem), str(path), "", slug(path.stem), None
    plain = find_plain(service.model)
    variant = plain.variant("ollama", service.quantization) if is_ollama else None
    mix = find_mix(service.quantization or (variant.format if variant and variant.format else DEFAULT_MIX.get(plain.spec.architecture, "Q4_K_M")))
    model = converted(plain.spec, mix)
    return model, f"{slug(plain.name)}-{mix}.gguf", variant.repo if variant else "", slug(plain.name), plain


def unused_pins(row: StackRow) -> Sequence[str]:
    """Settings of vLLM's that another runtime does not have; they are refused, not passed over."""
    return [name for service in row.services for name in own_pins(service)]


__all__ = ["LocalAnswer", "answer_local", "unused_pins"]

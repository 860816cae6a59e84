"""Plan an MLX server on a Mac: unified memory, quantized weights, the cache of every user, the peak of prefill."""

from __future__ import annotations

from dataclasses import replace

from planner.engines import Placement
from planner.engines.alternatives import LEAST_OFFERED, sure
from planner.engines.budget import Budget, budgeted
from planner.engines.catalogue import Catalogue
from planner.engines.metal import check_wired_limit, wired_bytes
from planner.engines.mlx import memory as mlx
from planner.engines.mlx.ask import MlxAsk, ask_of
from planner.engines.mlx.pace import mlx_weights
from planner.engines.naming import named
from planner.engines.pace import local_estimate, local_work
from planner.engines.sequence import one_after_another
from planner.errors import PlannerError
from planner.facts.alternatives import Alternative
from planner.facts.context import POOLING_CONTEXT, USEFUL_CONTEXT
from planner.facts.deployment import Service
from planner.facts.hardware import GpuGroup
from planner.facts.model import ChatFormat
from planner.facts.plan import How, Line, Plan, PlannedModel, exactly, longest_context
from planner.facts.question import StackRow
from planner.facts.speed import NoSpeed, SpeedEstimate, full_load, no_start, slowest_s
from planner.facts.verdict import Verdict, Warn, typed_config
from planner.units import GIB, MIB, ceil_div, largest, tokens

VERSIONS = {"mlx-lm": "0.32.2", "mlx-vlm": "0.7.10"}


def placement(question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue) -> Placement:
    """The servers of a question on one Mac. Raises PlannerError for what MLX cannot do."""
    if question.count > 1:
        raise PlannerError("MLX plans one Mac", "leave out --count")
    check_wired_limit(machine.gpu, question.wired_limit_mb)
    pooling = [catalogue.find_plain(service.model).spec.pooling for service in question.services]
    rows = named(question.services, pooling, first_port=first_port, proxy_port=question.proxy_port)
    return one_after_another(rows, machine, lambda row, group, is_main: plan_mlx(ask_of(row, group, question, catalogue, is_main=is_main)))


def plan_mlx(ask: MlxAsk) -> Plan:
    """Plan one server. Raises PlannerError for a context beyond the model's."""
    limit = ask.model.max_position_embeddings
    if ask.context and ask.context > limit:
        raise PlannerError(f"a context of {tokens(ask.context)} is beyond the model's {tokens(limit)}", f"use --context {limit}")
    plan = plan_as_asked(ask)
    return plan if plan.requirements_met else replace(plan, alternatives=_alternatives(ask, *_chosen(ask)))


def plan_as_asked(ask: MlxAsk) -> Plan:
    """Plan one server without looking for what would do."""
    return _plan(ask, *_chosen(ask))


def _lines(ask: MlxAsk, context: int, kv_bits: int) -> tuple[Line, ...]:
    low, usual, high = mlx.residual_bytes(ask.model, context, step=ask.prefill_step)
    cache = ask.users * mlx.kv_bytes(ask.model, context, kv_bits, step=ask.prefill_step)
    weights = exactly(
        "weights", "weights", mlx.weights_bytes(ask.model, ask.form), f"{ask.form.name}, exact" + ("; vision in 16 bits" if ask.model.vision else "")
    )
    return (
        replace(weights, how=How.DERIVED, note="derived: its config was typed from public facts") if ask.model.typed else weights,
        exactly("kv_cache", "KV cache", cache),
        Line(
            key="activation",
            name="prefill",
            bytes=usual,
            low_bytes=low,
            high_bytes=high,
            how=How.CALIBRATED,
            note="measured on an M4 Max, a step of 2,048 tokens",
        ),
    )


def _available(ask: MlxAsk) -> tuple[int, int]:
    expected, conservative = wired_bytes(ask.group.gpu, ask.wired_limit_mb)
    return expected - ask.group.taken_bytes, conservative - ask.group.taken_bytes


def _fits(ask: MlxAsk, context: int, kv_bits: int) -> bool:
    return sum(part.high_bytes for part in _lines(ask, context, kv_bits)) <= _available(ask)[1]


def _longest(ask: MlxAsk, kv_bits: int) -> int:
    """The longest context that fits with a cache of so many bits."""
    return longest_context(ask.model.max_position_embeddings, lambda tokens: _fits(ask, tokens, kv_bits))


def _chosen(ask: MlxAsk) -> tuple[int, int]:
    """16-bit cache before 8-bit: a quantized cache stops mlx-lm's batching."""
    limit = ask.model.max_position_embeddings
    choice = (ask.context or 1, 16)
    for kv_bits in (ask.kv_bits,) if ask.kv_bits else (16, 8):
        fitting = _longest(ask, kv_bits)
        wanted = ask.context or (min(fitting, POOLING_CONTEXT) if ask.model.pooling else fitting) or min(4096, limit)
        choice = (wanted, kv_bits)
        if wanted <= fitting and (ask.context or ask.model.pooling or wanted >= min(USEFUL_CONTEXT, limit)):
            break
    return choice


def _plan(ask: MlxAsk, context: int, kv_bits: int) -> Plan:
    expected, conservative = _available(ask)
    lines = _lines(ask, context, kv_bits)
    settings: tuple[tuple[str, int | float | str | bool], ...] = (
        ("context", context),
        ("parallel", ask.users),
        ("kv_bits", kv_bits),
        ("prefill_step_size", ask.prefill_step),
    )
    plan = budgeted(
        Budget(lines, expected, conservative),
        engine="mlx",
        version=VERSIONS[ask.engine],
        model=PlannedModel(
            id=ask.repo,
            architecture=ask.model.architecture,
            quantization=ask.form.name,
            max_position_embeddings=ask.model.max_position_embeddings,
        ),
        group=ask.group,
        settings=settings,
        reasons=(
            (
                "context",
                "as asked"
                if ask.context
                else "enough for passages"
                if ask.model.pooling
                else "the longest that surely fits; no flag bounds it, the agent must",
            ),
            ("parallel", "one request for each user, each with a cache of its own"),
            ("kv_bits", "pinned" if ask.kv_bits else "16-bit fits" if kv_bits == 16 else "16-bit would not fit; requests are no longer batched"),
            ("prefill_step_size", "the server's default; the peak of prefill is proportional to it"),
        ),
        context=context,
        users=ask.users,
        longest_context=_longest(ask, kv_bits),
        service=_service(ask, context, kv_bits, lines, conservative),
        host_bytes=mlx.PROCESS_BYTES,
        host_note="Python and Metal themselves, measured; not wired",
    )
    warned = replace(plan, warnings=_warnings(ask, plan))
    if plan.verdict.falls_short:
        return replace(warned, speed=no_start(plan.verdict))
    full = replace(ask, load=full_load(context, plan.service.longest_answer))
    slowest = slowest_s(_speed(full, context, kv_bits), ask.users)
    return replace(warned, speed=_speed(ask, context, kv_bits), service=replace(plan.service, slowest_answer_s=slowest))


def _speed(ask: MlxAsk, context: int, kv_bits: int) -> SpeedEstimate | NoSpeed:
    held = mlx_weights(ask.model, ask.form)
    work = local_work("mlx", ask.model, ask.group.gpu, held, kv_bits=kv_bits, widened=ask.form.bits < 16)
    return work if isinstance(work, NoSpeed) else local_estimate(work, ask.model, ask.group, context, ask.load)


def _service(ask: MlxAsk, context: int, kv_bits: int, lines: tuple[Line, ...], available: int) -> Service:
    program = "mlx_vlm.server" if ask.engine == "mlx-vlm" else "mlx_lm.server"
    argv = [program, "--embedding-model" if ask.model.pooling else "--model", ask.repo, "--host", ask.host, "--port", str(ask.port)]
    if ask.engine == "mlx-lm":
        left = max(0, available - sum(line.high_bytes for line in lines))  # old prompts' caches may use what is left, no more
        argv += ["--decode-concurrency", str(ask.users), "--prompt-cache-bytes", str(left)]
    if ask.sampling.max_tokens and not ask.model.pooling:
        argv += ["--max-tokens", str(min(ask.sampling.max_tokens, max(1, context // 4)))]
    if kv_bits != 16:
        argv += ["--kv-bits", str(kv_bits)]
    chat = ask.model.chat or ChatFormat()
    return Service(
        name=ask.name,
        task="embedding" if ask.model.pooling else "chat",
        engine="mlx-vlm" if ask.engine == "mlx-vlm" else "mlx-lm",
        version=VERSIONS[ask.engine],
        model=ask.repo,
        served_name=ask.repo,  # both servers know a model by its repository
        alias=ask.served_name,
        argv=tuple(argv),
        host=ask.host,
        port=ask.port,
        settings={"max_model_len": context, "kv_bits": kv_bits},
        notes=(f"{tokens(context)} tokens of context for each of {ask.users} at a time",),
        weights_bytes=lines[0].bytes,
        is_mistral=False,  # continue_final_message is not known to either server
        has_vision=ask.model.vision is not None,
        calls_tools=chat.tool_parser in mlx.TOOL_PARSERS,
        reasons=chat.reasoning_parser is not None,
        users=ask.users,
        sampling=ask.sampling,
    )


def _warnings(ask: MlxAsk, plan: Plan) -> tuple[Warn, ...]:
    warns = [Warn(code="mlx-unbounded", message="no flag of the MLX servers bounds the context: a longer conversation than planned takes more memory")]
    if ask.model.typed:
        warns.append(typed_config(ask.model.name))
    if ask.model.has_state:
        warns.append(
            Warn(code="mlx-state", message="prefill of models with recurrent state takes more than was measured for others (23.5 GB of granite-4.0-h-small)")
        )
    if plan.verdict is Verdict.TIGHT:
        warns.append(Warn(code="tight", message="fits what newer macOS lets the GPU wire, not what older versions do; see sysctl iogpu.wired_limit_mb"))
    if ask.is_guessed_repo:
        warns.append(Warn(code="mlx-repo", message=f"{ask.repo} follows mlx-community's naming; if it is not there, mlx_lm.convert makes it"))
    if ask.model.pooling:
        warns.append(Warn(code="mlx-embedding", message="mlx-vlm's /v1/embeddings was tried with a tiny model only, on Linux"))
    return tuple(warns)


def _alternatives(ask: MlxAsk, context: int, kv_bits: int) -> tuple[Alternative, ...]:
    """Changes that fit, least effort first, each checked."""
    changes = []
    needed = ceil_div(sum(part.high_bytes for part in _lines(ask, context, kv_bits)) + ask.group.taken_bytes, MIB)
    if ask.wired_limit_mb is None and needed * MIB <= ask.group.gpu.memory_bytes - mlx.SYSTEM_BYTES:
        words = f"let the GPU wire {needed * MIB / GIB:.1f} GiB: sudo sysctl iogpu.wired_limit_mb={needed}"
        changes.append(sure(words, (("wired_limit_mb", needed),)))
    changes += _smaller_wishes(ask, context, kv_bits)
    lighter = [form for name in ("8bit", "6bit", "4bit", "3bit") if (form := mlx.read_format(name)).bits < ask.form.bits]
    if fitting := next((form for form in lighter if _fits(replace(ask, form=form), context, kv_bits)), None):
        return (*changes, sure(f"{fitting.name} weights", (("quantization", fitting.name),)))
    for form in lighter[-2:-1]:  # 4 bits: what most people run
        both = _smaller_wishes(replace(ask, form=form), context, kv_bits)
        changes += [sure(f"{form.name} weights, with {change.change}", (("quantization", form.name), *change.changed)) for change in both]
    return tuple(changes)


def _smaller_wishes(ask: MlxAsk, context: int, kv_bits: int) -> list[Alternative]:
    """Fewer users with the same context, and a shorter context for the same users."""
    changes = []
    if ask.users > 1 and (fewer := largest(ask.users - 1, lambda users: _fits(replace(ask, users=max(1, users)), context, kv_bits))):
        changes.append(sure("one user" if fewer == 1 else f"{fewer} users at full length", (("users", fewer),)))
    fitting = _longest(ask, ask.kv_bits or 8)
    if LEAST_OFFERED <= fitting < context:
        changes.append(sure(f"a context of {tokens(fitting)}", (("context", fitting),)))
    return changes

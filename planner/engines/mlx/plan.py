"""Plan an MLX server on a Mac: unified memory, quantized weights, the cache of every user, the peak of prefill."""

from __future__ import annotations

from dataclasses import replace

from planner.engines import Placement
from planner.engines.alternatives import LEAST_OFFERED, sure
from planner.engines.budget import Budget, budgeted
from planner.engines.catalogue import Catalogue
from planner.engines.decided import plan_beyond
from planner.engines.metal import check_wired_limit
from planner.engines.mlx import memory as mlx
from planner.engines.mlx.ask import MlxAsk, ask_of, find_model, in_form
from planner.engines.mlx.ledger import Choice, Ledger
from planner.engines.mlx.pace import mlx_weights
from planner.engines.mlx.prefill import PREFILL_STEP, STEPS
from planner.engines.mlx.prefixes import automatic_budget, prefix_cache
from planner.engines.naming import named
from planner.engines.pace import LocalWork, local_estimate, local_work
from planner.engines.sequence import one_after_another
from planner.errors import PlannerError
from planner.facts.alternatives import Alternative
from planner.facts.context import USEFUL_CONTEXT
from planner.facts.deployment import Service
from planner.facts.hardware import GpuGroup
from planner.facts.model import ChatFormat
from planner.facts.plan import Plan, PlannedModel, longest_context
from planner.facts.question import StackRow
from planner.facts.speed import NoSpeed, SpeedEstimate, full_load, no_start, slowest_s
from planner.facts.verdict import Rejection, Verdict, Warn, typed_config
from planner.speed.estimate import is_diffusion
from planner.units import GIB, MIB, ceil_div, gib, largest, tokens

VERSIONS = {"mlx-lm": "0.32.2", "mlx-vlm": "0.7.10"}


def placement(question: StackRow, machine: GpuGroup, first_port: int, catalogue: Catalogue) -> Placement:
    """The servers of a question on one Mac. Raises PlannerError for what MLX cannot do."""
    if question.count > 1:
        raise PlannerError("MLX plans one Mac", "leave out --count")
    check_wired_limit(machine.gpu, question.wired_limit_mb)
    pooling = [find_model(service.model, catalogue)[0].spec.pooling for service in question.services]
    rows = named(question.services, pooling, first_port=first_port, proxy_port=question.proxy_port)
    return one_after_another(rows, machine, lambda row, group, is_main: plan_mlx(ask_of(row, group, question, catalogue, is_main=is_main)))


def alone(question: StackRow, machine: GpuGroup, catalogue: Catalogue) -> Plan:
    """The only server of a question, as it is asked. Raises PlannerError for what MLX cannot do."""
    if question.count > 1:
        raise PlannerError("MLX plans one Mac", "leave out --count")
    return plan_as_asked(ask_of(question.services[0], machine, question, catalogue, is_main=True))


def plan_mlx(ask: MlxAsk) -> Plan:
    """Plan one server. Raises PlannerError for a context beyond the model's."""
    limit = ask.model.max_position_embeddings
    if ask.context and ask.context > limit:
        raise PlannerError(f"a context of {tokens(ask.context)} is beyond the model's {tokens(limit)}", f"use --context {limit}")
    ask = _in_a_form_that_fits(ask)
    ledger = Ledger.of(ask)
    choice = ledger.choice()
    plan = _plan(ask, ledger, choice)
    plan = plan if plan.requirements_met else replace(plan, alternatives=_alternatives(ask, plan, choice))
    return plan_beyond(plan, ask.missing) if ask.missing else plan


def _in_a_form_that_fits(ask: MlxAsk) -> MlxAsk:
    """The usual format, or where nobody named one the first lighter in which the question is met at a context that is of use; else the lightest."""
    if not ask.is_free_form:
        return ask
    tried = [ask, *(in_form(ask, form) for form in _lighter(ask.form, "3bit"))]
    useful = ask.context or (None if ask.model.pooling else min(USEFUL_CONTEXT, ask.model.max_position_embeddings))
    return next((each for each in tried if _is_met(replace(each, context=useful))), tried[-1])


def _lighter(form: mlx.MlxFormat, *left_out: str) -> list[mlx.MlxFormat]:
    """Formats of fewer bits that conversions have, the heaviest first; experts in MXFP4 stay so, only what is beside them is made smaller."""
    names = ("mxfp4-q4",) if form.experts else ("8bit", "6bit", "4bit", "3bit")
    return [lighter for name in names if name not in left_out and (lighter := mlx.read_format(name)).bits < form.bits]


def _is_met(ask: MlxAsk) -> bool:
    """Whether a question is met surely: at the context that it names, or at any."""
    ledger = Ledger.of(ask)
    choice = ledger.choice()
    return ledger.fits(choice) and ask.at_once(choice.kv_bits) == ask.users


def plan_as_asked(ask: MlxAsk) -> Plan:
    """Plan one server without looking for what would do."""
    ledger = Ledger.of(ask)
    return _plan(ask, ledger, ledger.choice())


def _plan(ask: MlxAsk, ledger: Ledger, choice: Choice) -> Plan:
    expected, conservative = ledger.available_bytes
    users = ask.at_once(choice.kv_bits)
    plan = budgeted(
        Budget(ledger.lines(choice), expected, conservative),
        engine="mlx",
        version=VERSIONS[ask.engine],
        model=PlannedModel(
            id=ask.repo,
            architecture=ask.model.architecture,
            quantization=ask.form.name,
            max_position_embeddings=ask.model.max_position_embeddings,
        ),
        group=ask.group,
        settings=(("context", choice.context), ("parallel", users), ("kv_bits", choice.kv_bits), ("prefill_step_size", choice.step)),
        reasons=_reasons(ask, choice),
        context=choice.context,
        users=users,
        longest_context=ledger.longest(choice.kv_bits, choice.step),
        service=_service(ask, ledger, choice),
        host_bytes=mlx.PROCESS_BYTES,
        host_note="Python and Metal themselves, measured; not wired",
    )
    plan = _within_a_buffer(plan, ledger, choice)
    users = _texts(ask, plan) if ask.model.pooling and plan.starts else users
    plan = replace(plan, users=users, requirements_met=plan.requirements_met and users >= ask.users)
    warned = replace(plan, warnings=_warnings(ask, plan))
    if plan.verdict.falls_short:
        return replace(warned, speed=no_start(plan.verdict), own=no_start(plan.verdict))
    full = replace(ask, load=replace(full_load(choice.context, plan.service.longest_answer), concurrency=1))
    slowest = slowest_s(_speed(full, choice), ask.users)
    return replace(warned, speed=_speed(ask, choice), own=_work(ask, choice), service=replace(plan.service, slowest_answer_s=slowest))


def _within_a_buffer(plan: Plan, ledger: Ledger, choice: Choice) -> Plan:
    """The plan where the largest single buffer fits in what Metal gives, else what that says (mlx backend/metal/allocator.cpp malloc)."""
    buffer, (expected, conservative) = ledger.peak(choice).buffer, ledger.buffer_bytes
    if buffer > expected and not plan.verdict.falls_short:
        reason = f"the scores of a prompt of {tokens(choice.context)} tokens are one buffer of {gib(buffer)}, Metal gives {gib(expected)} at most"
        rejection = Rejection(code="out-of-memory", reason=reason, short_by_bytes=buffer - expected)
        return replace(plan, verdict=Verdict.DOES_NOT_START, rejection=rejection, requirements_met=False, binds="")
    if buffer > conservative and plan.verdict is Verdict.STARTS:
        return replace(plan, verdict=Verdict.TIGHT)
    return plan


def _text_bytes(plan: Plan) -> int:
    """What one text takes while it is embedded, at most: all but the weights."""
    return sum(line.high_bytes for line in plan.lines if line.key != "weights")


def _texts(ask: MlxAsk, plan: Plan) -> int:
    """Texts of those asked for that fit at once: each request is a thread of its own (mlx_vlm/server/embeddings.py), and no flag says how many."""
    weights = sum(line.bytes for line in plan.lines if line.key == "weights")
    return max(1, min(ask.users, (plan.available_bytes - weights) // max(1, _text_bytes(plan))))


def _reasons(ask: MlxAsk, choice: Choice) -> tuple[tuple[str, str], ...]:
    length = (
        "enough for passages"
        if ask.model.pooling
        else "the longest that surely fits" + ("" if ask.engine == "mlx-vlm" else "; no flag bounds it, the agent must")
    )
    users = "one request for each user, each with a cache of its own" if not ask.model.pooling else "no flag bounds how many texts are embedded at a time"
    if ask.at_once(choice.kv_bits) < ask.users:
        kind = "mlx_vlm.server answers one request of diffusion" if is_diffusion(ask.model.architecture) else "mlx_lm.server answers one with a quantized cache"
        users = f"{kind} after the other"
    bits = "pinned" if ask.kv_bits else "16-bit fits" if choice.kv_bits == 16 else "16-bit would not fit"
    if ask.prefill_step:
        step = "pinned"
    elif choice.step == PREFILL_STEP:
        step = "the server's default"
    else:
        step = "smaller steps take less: the peak of a prompt is proportional to it"
    return (("context", "as asked" if ask.context else length), ("parallel", users), ("kv_bits", bits), ("prefill_step_size", step))


def _speed(ask: MlxAsk, choice: Choice) -> SpeedEstimate | NoSpeed:
    work = _work(ask, choice)
    return work if isinstance(work, NoSpeed) else local_estimate(work, ask.group, choice.context, ask.load, slots=ask.at_once(choice.kv_bits))


def _work(ask: MlxAsk, choice: Choice) -> LocalWork | NoSpeed:
    held = mlx_weights(ask.model, ask.form)
    work = local_work("mlx", ask.model, ask.group.gpu, held, kv_bits=choice.kv_bits, widened=ask.form.bits < 16)
    return work if isinstance(work, NoSpeed) else LocalWork(work=work, model=ask.model)


def _service(ask: MlxAsk, ledger: Ledger, choice: Choice) -> Service:
    is_vlm, context, users = ask.engine == "mlx-vlm", choice.context, ask.at_once(choice.kv_bits)
    program = "mlx_vlm.server" if is_vlm else "mlx_lm.server"
    left = max(0, ledger.available_bytes[1] - ledger.most_bytes(choice))  # old prompts' caches may use what is left, no more
    argv = [program, "--embedding-model" if ask.model.pooling else "--model", ask.repo, "--host", ask.host, "--port", str(ask.port)]
    env = {}
    if not is_vlm:
        argv += ["--decode-concurrency", str(users), "--prompt-concurrency", "1", "--prompt-cache-bytes", str(left)]
    elif not ask.model.pooling:
        argv += ["--max-num-seqs", str(users), "--max-kv-size", str(context)]
        env = prefix_cache(min(left, automatic_budget(ask.group.gpu, ask.wired_limit_mb)))
    if ask.sampling.max_tokens and not ask.model.pooling:
        argv += ["--max-tokens", str(min(ask.sampling.max_tokens, max(1, context // 4)))]
    if choice.kv_bits != 16:
        argv += ["--kv-bits", str(choice.kv_bits)]
    if choice.step != PREFILL_STEP:
        argv += ["--prefill-step-size", str(choice.step)]
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
        env=env,
        host=ask.host,
        port=ask.port,
        settings={"max_model_len": context, "kv_bits": choice.kv_bits},
        notes=(f"{tokens(context)} tokens of context for each of {users} at a time",),
        weights_bytes=ledger.weights.usual,
        is_mistral=False,  # continue_final_message is not known to either server
        has_vision=ask.model.vision is not None,
        calls_tools=chat.tool_parser in mlx.TOOL_PARSERS,
        reasons=chat.reasoning_parser is not None,
        users=users,
        sampling=ask.sampling,
    )


def _warnings(ask: MlxAsk, plan: Plan) -> tuple[Warn, ...]:
    warns = []
    if ask.engine == "mlx-lm":
        warns.append(Warn(code="mlx-unbounded", message="no flag of mlx_lm.server bounds the context: a longer conversation than planned takes more memory"))
    if plan.users < ask.users and not ask.model.pooling:
        why = "mlx_vlm.server batches no diffusion" if is_diffusion(ask.model.architecture) else "mlx_lm.server batches no quantized caches"
        warns.append(Warn(code="mlx-one-by-one", message=f"{why}: {ask.users} users wait for each other"))
    if ask.model.typed:
        warns.append(typed_config(ask.model.name))
    if plan.verdict is Verdict.TIGHT:
        warns.append(Warn(code="tight", message=_why_tight(ask, plan)))
    if ask.is_guessed_repo:
        warns.append(Warn(code="mlx-repo", message=f"{ask.repo} follows mlx-community's naming; if it is not there, mlx_lm.convert makes it"))
    if ask.model.pooling:
        warns.append(Warn(code="mlx-embedding", message="mlx-vlm's /v1/embeddings was tried with a tiny model only, on Linux"))
        told = f"any number of texts is embedded at a time, and no flag bounds them; one is counted here, each more takes up to {gib(_text_bytes(plan))}"
        warns.append(Warn(code="mlx-requests", message=told))
    return tuple(warns)


def _why_tight(ask: MlxAsk, plan: Plan) -> str:
    """What of a plan that may fail is not sure, and what would make it so: the GPU's limit, the peak of a prompt, what is kept of old prompts."""
    if sum(line.high_bytes for line in plan.lines) <= plan.available_bytes:
        return "fits what newer macOS lets the GPU wire, not what older versions do; see sysctl iogpu.wired_limit_mb"
    widest = max(plan.lines, key=lambda line: line.high_bytes - line.bytes)
    said = (
        f"at their most {widest.name} take {gib(widest.high_bytes)}"
        if widest.name.endswith("s")
        else f"at its most {widest.name} takes {gib(widest.high_bytes)}"
    )
    if widest.key == "prompt_cache":
        return f"{said}: --prompt-cache-bytes bounds them"
    settings = dict(plan.settings)
    ledger = Ledger.of(ask)
    chosen = Choice(context=plan.context, kv_bits=int(settings["kv_bits"] or 16), step=int(settings["prefill_step_size"] or PREFILL_STEP))
    step = next((step for step in STEPS if step < chosen.step and ledger.fits(replace(chosen, step=step))), None)
    return f"{said}, more than is left" + (f": --prefill-step-size {step} surely fits" if step and widest.key == "activation" else "")


def _alternatives(ask: MlxAsk, plan: Plan, choice: Choice) -> tuple[Alternative, ...]:
    """Changes that fit, least effort first, each checked."""
    if plan.rejection is None:  # it starts, for fewer users than asked
        return tuple(_smaller_wishes(ask, choice))
    changes = []
    ledger = Ledger.of(ask)
    needed = ceil_div(ledger.most_bytes(choice) + ask.group.taken_bytes, MIB)
    fits_a_buffer = ledger.peak(choice).buffer <= ledger.buffer_bytes[1]
    if ask.wired_limit_mb is None and fits_a_buffer and needed * MIB <= ask.group.gpu.memory_bytes - mlx.SYSTEM_BYTES:
        words = f"let the GPU wire {needed * MIB / GIB:.1f} GiB: sudo sysctl iogpu.wired_limit_mb={needed}"
        changes.append(sure(words, (("wired_limit_mb", needed),)))
    changes += _smaller_wishes(ask, choice)
    lighter = _lighter(ask.form)
    if fitting := next((form for form in lighter if _does(replace(ask, form=form), choice.context)), None):
        return (*changes, sure(f"{fitting.name} weights", (("quantization", fitting.name),)))
    for form in (each for each in lighter if each.name in ("4bit", "mxfp4-q4")):  # what most people run
        both = _smaller_wishes(replace(ask, form=form), choice)
        changes += [sure(f"{form.name} weights, with {change.change}", (("quantization", form.name), *change.changed)) for change in both]
    return tuple(changes)


def _does(ask: MlxAsk, context: int) -> bool:
    """Whether a question with a context is met surely."""
    return _is_met(replace(ask, context=context))


def _smaller_wishes(ask: MlxAsk, choice: Choice) -> list[Alternative]:
    """Fewer users with the same context, and a shorter context for the same users."""
    changes = []
    if ask.users > 1 and (fewer := largest(ask.users - 1, lambda users: _does(replace(ask, users=max(1, users)), choice.context))):
        changes.append(sure("one user" if fewer == 1 else f"{fewer} users at full length", (("users", fewer),)))
    limit = ask.model.max_position_embeddings
    fitting = longest_context(limit, lambda length: _does(ask, length))
    if LEAST_OFFERED <= fitting < choice.context:
        changes.append(sure(f"a context of {tokens(fitting)}", (("context", fitting),)))
    return changes

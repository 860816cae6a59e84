"""Request -> Plan: the answer with its verdict, ledger, warnings and, where the wish cannot be met, what would meet it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planner.engines.alternatives import NO_MARKET, Market, Others
from planner.engines.host import LITTLE_LEFT
from planner.engines.vllm import layouts
from planner.engines.vllm.choice import Choice, Request, utilization
from planner.engines.vllm.command import serve_argv
from planner.engines.vllm.dtypes import FP8_DTYPES
from planner.engines.vllm.host import host_memory, host_warning, too_little
from planner.engines.vllm.memory import place
from planner.engines.vllm.parsers import chat_remarks
from planner.engines.vllm.search import best, evaluate
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import VERSIONS, newest_for
from planner.errors import PlannerError, UnsupportedError
from planner.facts.alternatives import Alternative
from planner.facts.hardware import Host
from planner.facts.model import ModelSpec
from planner.facts.not_covered import NotCovered
from planner.facts.record import dataclass
from planner.facts.storage import Arithmetic
from planner.facts.verdict import ONLY_AT_LOWEST, Rejection, Verdict, Warn, typed_config
from planner.speed.work import main_storage
from planner.text import shown
from planner.units import CONTEXT_STEP, gib, tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a report or an emitter needs."""

    request: Request
    repo: str
    served_name: str
    choice: Choice
    backend: str
    warnings: tuple[Warn, ...] = ()
    rejection: Rejection | None = None
    alternatives: tuple[Alternative, ...] = ()
    argv: tuple[str, ...] = ()
    needs_nvcc: bool = False
    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def config(self) -> ServeConfig:
        """The chosen settings."""
        return self.choice.config

    @property
    def model(self) -> ModelSpec:
        """The planned model."""
        return self.request.model

    @property
    def verdict(self) -> Verdict:
        """Whether it starts: surely only where main memory is left to the system too."""
        is_narrow = any(warning.code == LITTLE_LEFT for warning in self.warnings)
        return Verdict.TIGHT if is_narrow and self.choice.verdict is Verdict.STARTS else self.choice.verdict

    @property
    def meets_wish(self) -> bool:
        """Whether it starts and, where users are given, serves them at full length."""
        return not self.verdict.falls_short and self.choice.holds(self.request.users)


def make_plan(request: Request, *, repo: str, served_name: str, market: Market = NO_MARKET, host: str = "127.0.0.1", port: int = 8000) -> Plan:
    """Answer a request, with what would meet the wish where it is not met, by other weights or GPUs of the `market` too."""
    plan = plan_as_asked(request, repo=repo, served_name=served_name, others=market.variants, host=host, port=port)
    if plan.meets_wish:
        return plan
    from planner.engines.vllm.alternatives import alternatives

    return replace(plan, alternatives=alternatives(request, plan.choice, market))


def plan_as_asked(request: Request, *, repo: str, served_name: str, others: Others = (), host: str = "127.0.0.1", port: int = 8000) -> Plan:
    """Answer a request without looking for what would meet it."""
    limit = request.model.max_position_embeddings
    wanted = request.pins.max_model_len or request.context
    if wanted and wanted > limit:
        raise PlannerError(f"a context of {tokens(wanted)} is beyond the model's {tokens(limit)}", f"use --context {limit}")
    try:
        choice = best(request)
        layout = layouts.cache_layout(
            request.model, request.group.gpu, choice.config.kv_cache_dtype, version=choice.config.vllm_version, options=choice.config.options
        )
    except UnsupportedError as error:
        raise UnsupportedError(str(error), f"plan check judges the command with {error.hint}" if error.hint else _what_works(request, others)) from None
    plan = Plan(
        request=request,
        repo=repo,
        served_name=served_name,
        choice=choice,
        backend=layout.backend,
        argv=serve_argv(repo, served_name, choice.config, host=host, port=port, pooling=request.model.pooling, chat=request.model.chat),
        needs_nvcc=layouts.needs_nvcc(layout, request.group.gpu),
        host=host,
        port=port,
    )
    need = host_memory(choice.config, place(request.model, request.group, choice.config), request.group.nodes)
    if problem := too_little(need, request.group.ram_bytes):
        raise PlannerError(problem.message, problem.fix)
    missing = [Warn(code="not-covered", message=part.message) for part in not_covered(plan.model, plan.config)]
    told = (*missing, *warnings(plan), *host_warning(need, request.group), *_chat_warnings(plan))
    return replace(plan, warnings=told, rejection=reject(choice))


def _what_works(request: Request, others: Others) -> str:
    """The nearest request that this GPU does not refuse, in words; empty where none was found."""
    pins, newest = request.pins, newest_for(request.group.gpu.capability)
    gone = newest is not None and request.group.gpu.vendor == "nvidia" and VERSIONS[pins.vllm_version].least_capability > request.group.gpu.capability
    version, also = (newest, f" --vllm-version {newest}") if newest and gone else (pins.vllm_version, "")
    free = replace(request, pins=replace(pins, kv_cache_dtype=None, dtype="auto", vllm_version=version))
    pinned = [flag for flag, is_pinned in (("--kv-cache-dtype", pins.kv_cache_dtype), ("--dtype", pins.dtype != "auto")) if is_pinned]
    changes = [(f"{also.strip()} works", replace(request, pins=replace(pins, vllm_version=version)))] if also else []
    changes += [(f"without {' and '.join(pinned)}{' and with' if also else ''}{also} it works", free)] if pinned else []
    changes += [(f"--model {name}{also} works", replace(free, model=spec())) for name, spec in others]
    for words, changed in changes:
        try:
            best(changed)
        except PlannerError:
            continue
        return words
    return ""


def reject(choice: Choice) -> Rejection | None:
    """The first limit that vLLM would hit with expected overheads, in its order; None where it starts with them."""
    if not choice.verdict.falls_short:
        return None
    limit = _limit(choice)
    return replace(limit, reason=f"{limit.reason}; {ONLY_AT_LOWEST}") if choice.verdict is Verdict.UNLIKELY else limit


def _limit(choice: Choice) -> Rejection:
    """The first limit that the expected ledger does not keep."""
    ledger = choice.expected
    free, loaded = ledger.free_at_start_bytes, ledger.loaded_bytes
    if ledger.requested_bytes > free:
        share = f"a utilization of {choice.config.gpu_memory_utilization:g}"
        reason = f"{share} asks for {gib(ledger.requested_bytes)} of each GPU, {gib(free)} are free at start"
        return Rejection(code="free-memory", reason=reason, short_by_bytes=ledger.requested_bytes - free)
    if loaded > free:
        reason = f"the weights alone take {gib(loaded)} of each GPU, {gib(free)} are free: loading them runs out of memory"
        return Rejection(code="out-of-memory", reason=reason, short_by_bytes=loaded - free)
    if ledger.kv_cache_bytes <= 0:
        return Rejection(
            code="no-kv-memory",
            reason=f"nothing is left for the KV cache: the rest takes {gib(ledger.requested_bytes - ledger.kv_cache_bytes)} of the {gib(ledger.requested_bytes)} asked for",
            short_by_bytes=ledger.short_of_request_bytes,
        )
    if not ledger.fits_start:
        reason = f"{gib(ledger.taken_bytes)} of each GPU are taken once the KV cache and the CUDA graphs are there, {gib(free)} are free"
        return Rejection(code="out-of-memory", reason=reason, short_by_bytes=ledger.short_of_free_bytes)
    if not ledger.fits_request:
        reason = (
            f"one request of {tokens(choice.config.max_model_len)} tokens needs {gib(ledger.checked_need_bytes)} of KV cache, "
            f"{gib(ledger.checked_held_bytes)} are available; the longest that fits is {tokens(ledger.longest_max_model_len)}"
        )
        return Rejection(code="kv-cache-too-small", reason=reason, short_by_bytes=ledger.short_of_request_bytes)
    return Rejection(
        code="kv-cache-too-small",
        reason=f"{ledger.kv_cache_blocks} cache blocks for {choice.config.max_num_seqs} sequences with recurrent state",
        short_by_bytes=ledger.short_of_states_bytes,
    )


def not_covered(model: ModelSpec, config: ServeConfig) -> tuple[NotCovered, ...]:
    """What no ledger holds of the model and of what was asked for: the architecture, a way to quantize, a packed cache."""
    if not model.not_known and not model.scales_by_head and config.quantization is None and config.kv_cache_dtype in ("auto", *FP8_DTYPES):
        return ()
    from planner.engines.vllm.not_covered import of_the_plan

    return tuple(of_the_plan(model, config))


def _tight_reason(plan: Plan) -> str:
    """Why a start is not sure: little is left for what comes later, what is asked for may not be free, or overheads at their most do not fit."""
    if plan.choice.leaves_too_little:
        return "more than 0.95 of the memory leaves little for graphs and kernels that come later"
    if plan.choice.lacks_late and plan.choice.conservative.starts:
        late, spare = gib(plan.choice.late_bytes), gib(-plan.choice.conservative.short_of_free_bytes)
        return f"{plan.config.kv_cache_dtype} works in {late} that it takes once the cache is there, where {spare} may be left"
    if plan.request.group.is_unmeasured:
        return f"nobody measured what vLLM takes of the memory that {plan.request.group.gpu.title} shares with its processor, nor what is free of it"
    least, usual = plan.choice.conservative, plan.choice.expected
    if plan.config.kv_cache_memory_bytes is None and least.free_at_start_bytes < usual.requested_bytes <= usual.free_at_start_bytes:
        others = "; other programs of the machine take of the same memory" if plan.request.group.gpu.unified_memory else ""
        free = f"usually {gib(usual.free_at_start_bytes)} are free when it starts, at worst {gib(least.free_at_start_bytes)}"
        return f"{gib(usual.requested_bytes)} are asked for of each GPU, where {free}{others}"
    return "starts with the expected overhead, not with the conservative one"


def _copied_warning(plan: Plan) -> Iterator[Warn]:
    """Where tensor parallelism copies the cache to further GPUs, so that half of them hold as many tokens."""
    request, config = plan.request, plan.config
    if (config.tensor_parallel_size <= plan.model.kv_heads and not plan.model.is_latent) or config.tensor_parallel_size % 2 or request.group.nodes > 1:
        return
    half = replace(request, group=replace(request.group, count=request.group.count // 2))
    share, _ = utilization(half, config.ranks // 2)
    try:
        fewer = evaluate(half, replace(config, tensor_parallel_size=config.tensor_parallel_size // 2, gpu_memory_utilization=share))
    except PlannerError:
        return
    if plan.verdict is fewer.verdict is Verdict.STARTS and fewer.expected.kv_cache_tokens >= plan.choice.expected.kv_cache_tokens > 0:
        gpus = "one GPU holds" if half.group.count == 1 else f"{half.group.count} GPUs hold"
        yield Warn(code="copied-cache", message=f"each GPU keeps the same keys and values: {gpus} as many tokens, and two servers twice as many")


def warnings(plan: Plan) -> tuple[Warn, ...]:
    """What the user should know about this plan."""
    config, gpu, group = plan.config, plan.request.group.gpu, plan.request.group
    warns: list[Warn] = []
    if plan.needs_nvcc:
        warns.append(
            Warn(code="toolchain", message=f"this KV cache on {gpu.title} uses FlashInfer, which compiles at first start: nvcc and ninja must be installed")
        )
    if config.kv_cache_dtype in FP8_DTYPES and 80 <= gpu.capability < 89:
        warns.append(Warn(code="fp8-kv-ampere", message="FP8 KV cache on Ampere works through FlashInfer only; it saves memory, not time"))
    stored = main_storage(plan.model)
    if stored.arithmetic is Arithmetic.FP8 and stored.bits == 8 and 75 <= gpu.capability < 89:
        warns.append(
            Warn(
                code="fp8-weights-ampere",
                message=f"{gpu.title} has no FP8 tensor cores; users report FP8 weights failing on Ampere in vLLM 0.29 and 0.30: try it before you rely on it",
            )
        )
    if group.nodes > 1:
        hidden = plan.model.hidden_size * plan.model.residual_streams * 2
        batch = hidden * config.max_num_batched_tokens / 1e6
        warns.append(
            Warn(
                code="network",
                message=f"between machines each token sends {hidden:,} bytes over each of {group.nodes - 1} links, a full batch {batch:.1f} MB; "
                "a token waits for every link once, so latency counts more than bandwidth",
            )
        )
    if group.host is Host.WSL2:
        warns.append(Warn(code="wsl2", message="under WSL2 over 1 GiB of each GPU is gone before vLLM starts; nvidia-smi does not show it"))
    warns += [*_copied_warning(plan), *_skipping_warning(config), *_drafting_warning(plan), *_eager_warning(plan), *_length_warning(plan)]
    if plan.verdict is Verdict.TIGHT:
        warns.append(Warn(code="tight", message=f"{_tight_reason(plan)}: it may fail on your machine"))
    if plan.model.vision is not None and not config.skip_mm_profiling:
        films = ", --limit-mm-per-prompt '{\"video\": 0}' what of it films take" if plan.model.vision.film_slices > 1 else ""
        warns.append(
            Warn(
                code="vision-estimate",
                message=f"the vision tower's profiling peak is derived from shapes, not measured; --language-model-only frees it{films}",
                main_only=True,
            )
        )
    if not plan.verdict.falls_short and not plan.choice.holds(plan.request.users):
        warns.append(
            Warn(
                code="users",
                message=f"{plan.request.users} users at full length need more KV cache than there is: concurrency {plan.choice.surest.max_concurrency * plan.config.data_parallel_size:.1f}",
            )
        )
    warns += [typed_config(plan.model.name)] if plan.model.typed else []
    if plan.model.checkpoint is not None:
        warns.append(Warn(code="tensors-differ", message=plan.model.checkpoint.message))
    if gpu.calibrated_shift_bytes is not None:
        shift = gib(gpu.calibrated_shift_bytes)
        warns.append(Warn(code="calibrated", message=f"calibrated on this machine: {shift} more outside torch than the model predicts (plan explain)"))
    if gpu.vendor == "amd":
        warns.append(Warn(code="rocm-unverified", message="AMD: overheads are those measured on NVIDIA; backend and pages follow the Triton path"))
    if not plan.choice.conservative.fits_states:
        warns.append(Warn(code="state-blocks", message="fewer cache blocks than sequences: lower --max-num-seqs"))
    return tuple(warns)


EAGER_NAMED_FROM = 0.5  # of the asked context: below that, the context that would keep CUDA graphs is no answer to the question


def _skipping_warning(config: ServeConfig) -> Iterator[Warn]:
    """A word that names no layer to skip."""
    if words := config.options.no_layers:
        told = f"vLLM takes {shown(words[0], 60)} for one name, which no layer has, and skips none for it: numbers stand apart, as 0 1 2"
        yield Warn(code="skip-layers", message=f"--kv-cache-dtype-skip-layers: {told}")


def _drafting_warning(plan: Plan) -> list[Warn]:
    """What a speed does not count."""
    if plan.model.drafter is None or plan.request.load.acceptance_length:
        return []
    from planner.engines.vllm.acceptance import published

    text = "the speed is that without drafted tokens: what they gain depends on how many are accepted, which --acceptance-length of a plan says"
    told = published(plan.model.name, plan.model.drafter)
    return [Warn(code="drafting", message=f"{text}; {told}" if told else text)]


def _length_warning(plan: Plan) -> list[Warn]:
    """What a release that asks too little of the cache starts with."""
    ledger = plan.choice.expected
    if not ledger.starts or ledger.checked_bytes is None or ledger.kv_cache_needed_bytes <= ledger.kv_cache_bytes:
        return []
    most = f"longer ones than {tokens(ledger.longest_max_model_len)} tokens never end"
    message = f"vLLM {plan.config.vllm_version} starts though no request of --max-model-len fits its KV cache: {most}"
    return [Warn(code="longest", message=message)]


def _eager_warning(plan: Plan) -> list[Warn]:
    """What giving up CUDA graphs costs, where the planner did, and the context that would keep them."""
    graphs = plan.choice.longest_with_graphs
    if graphs is None or plan.verdict.falls_short or plan.model.is_encoder:
        return []
    message = "without CUDA graphs a token takes longer (1.7 to 4 times in published cases)"
    kept = graphs - graphs % CONTEXT_STEP
    if plan.request.context and plan.request.context * EAGER_NAMED_FROM <= kept < plan.request.context:
        message += f"; --context {kept} keeps them"
    return [Warn(code="eager", message=message)]


def _chat_warnings(plan: Plan) -> list[Warn]:
    """What an agent's user should know about the flags for tool calls and reasoning."""
    remarks = () if plan.model.pooling else chat_remarks(plan.model.chat, plan.config.vllm_version)
    return [Warn(code=code, message=message) for code, message in remarks]

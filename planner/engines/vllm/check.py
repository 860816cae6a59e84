"""Somebody's `vllm serve` command -> whether it starts: the ledger, the limits it hits in vLLM's order, changes that make it start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from planner.engines.alternatives import NO_MARKET, Market
from planner.engines.vllm import bounds, layouts, lora, rules
from planner.engines.vllm.admission import as_checked
from planner.engines.vllm.changes import changes, published, request_with
from planner.engines.vllm.choice import Choice, Request
from planner.engines.vllm.command import read_settings
from planner.engines.vllm.contradictions import contradictions
from planner.engines.vllm.dtypes import KV_CACHE_DTYPES
from planner.engines.vllm.engine_args import EngineArgs
from planner.engines.vllm.flag_rules import FlagFault
from planner.engines.vllm.host import host_memory, host_warning, offload_problems, too_little
from planner.engines.vllm.memory import Placement, place
from planner.engines.vllm.multimodal_rules import WHOLE_ITEMS, WHOLE_ITEMS_OR_STATES
from planner.engines.vllm.narrow import narrow
from planner.engines.vllm.not_covered import not_covered
from planner.engines.vllm.parallel_rules import layer_partition, nodes_of, parallel_problems
from planner.engines.vllm.parsers import told_remarks
from planner.engines.vllm.plan import Plan, reject, warnings
from planner.engines.vllm.search import evaluate
from planner.engines.vllm.served import as_served, only_lengths
from planner.engines.vllm.settings import BY_NAME, REPORTED, ServeConfig, defaults, reported
from planner.engines.vllm.slots import unsure_slots
from planner.engines.vllm.splits import cannot_split
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS, newest_for
from planner.errors import NotDivisibleError, PlannerError, UnsupportedError
from planner.facts.attention import RecurrentState
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Problem
from planner.facts.record import dataclass
from planner.facts.verdict import Verdict, Warn
from planner.text import shown
from planner.units import parse_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The answer about one command; without a plan where the ledger cannot be made."""

    request: Request
    config: ServeConfig
    repo: str
    argv: tuple[str, ...]
    plan: Plan | None
    problems: tuple[Problem, ...]
    not_covered: tuple[NotCovered, ...] = ()
    starts_anyway: bool = False
    """Whether it starts with all that the parts outside the ledger may take at most."""
    remarks: tuple[Warn, ...] = ()
    """What an answer says whether or not there is a plan."""
    build: str = ""
    """The version that runs, where what the nearest release refuses is all that stands against it and the version is no release."""

    @property
    def verdict(self) -> Verdict:
        """does_not_start for a problem that nothing that is not known could mend; unknown where something not in the ledger decides.

        Where the ledger's own limit is the only problem, what the ledger says: it may be unlikely.
        """
        limit = self.plan.rejection if self.plan else None
        if self.plan and limit and [problem.message for problem in self.problems] == [limit.reason]:
            return self.plan.verdict
        if self.problems:
            return Verdict.UNKNOWN if self.build else Verdict.DOES_NOT_START
        if self.starts_anyway:
            return Verdict.TIGHT
        if self.plan is None or limit or any(part.effect != "lowers" for part in self.not_covered):
            return Verdict.UNKNOWN
        return self.plan.verdict


def default_config(model: ModelSpec, group: GpuGroup, values: Mapping[str, str | bool], version: str) -> ServeConfig:
    """What vLLM sets where the command says nothing (engine/arg_utils.py get_batch_defaults)."""
    batch, seqs = rules.default_batches(group.gpu, group.total_bytes, VERSIONS[version])
    config, _ = read_settings(values, ServeConfig(max_model_len=model.max_position_embeddings))
    if config.performance_mode == "throughput":
        batch, seqs = 2 * batch, 2 * seqs
    if config.enable_chunked_prefill is False:
        batch = max(batch, config.max_model_len)
    if "--max-num-seqs" not in values and "--max-num-batched-tokens" in values:
        seqs = min(seqs, config.max_num_batched_tokens)
    if VERSIONS[version].minor >= rules.WHOLE_BY_DEFAULT:
        batch = max(batch, rules.least_batch(model, VERSIONS[version]))
    if "--max-num-seqs" in values:
        batch = min(batch, config.max_num_seqs * config.max_model_len)
    if model.is_encoder:
        batch = max(batch, config.max_model_len)
    return replace(defaults(version), max_model_len=model.max_position_embeddings, max_num_seqs=seqs, max_num_batched_tokens=batch)


def with_environment(config: ServeConfig, model: ModelSpec, env: Mapping[str, str]) -> ServeConfig:
    """The settings that variables mean, where a release reads them (envs.py)."""
    backend = env.get("VLLM_ATTENTION_BACKEND", "")
    if backend and config.attention_backend is None and VERSIONS[config.vllm_version].backend_by_environment:
        config = replace(config, attention_backend=backend)
    estimates = env.get("VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS", "").strip()
    if estimates in ("0", "1") and VERSIONS[config.vllm_version].graphs_estimated:
        config = replace(config, estimates_graphs=estimates == "1")
    runner = env.get("VLLM_USE_V2_MODEL_RUNNER", "").strip()
    if runner in ("0", "1") and VERSIONS[config.vllm_version].graphs_estimated:
        config = replace(config, second_runner=runner == "1")
    if partition := layer_partition(model, config.pipeline_parallel_size, env):
        config = replace(config, layer_partition=partition)
    return config


def check(
    values: Mapping[str, str | bool],
    faults: Sequence[FlagFault],
    model: ModelSpec,
    group: GpuGroup,
    *,
    repo: str,
    argv: Sequence[str],
    version: str,
    env: Mapping[str, str] | None = None,
    market: Market = NO_MARKET,
    unknown: Sequence[NotCovered] = (),
) -> Checked:
    """Judge a command whose flags were read by `parse_flags`, for a model on GPUs; `env` is what its script sets, `unknown` what nobody here knows of its drafter."""
    model = as_served(model, values, version)
    config, refused = read_settings(values, default_config(model, group, values, version))
    config = with_environment(config, model, env or {})
    problems = [Problem(code="bad-value" if fault.value else "unknown-flag", message=fault.message, fix=fault.fix) for fault in faults]
    problems += [Problem(code="bad-value", message=message, fix=f"correct {flag}") for flag, message in refused.items()]
    problems += value_problems(config, values, model, group, env or {})
    request = Request(model=model, group=group)
    missing = (*unknown, *not_covered(values, model, config, env=env, usual=_usual(model, group, config)))

    def answer(plan: Plan | None, *more: Problem) -> Checked:
        used = plan.config if plan else config
        return Checked(request=request, config=used, repo=repo, argv=tuple(argv), plan=plan, problems=(*problems, *more), not_covered=missing)

    if unsure := unsure_slots(model, config):
        missing = (*missing, unsure)
        return answer(None)
    try:
        if cut := _cannot_split(request, config, config.tensor_parallel_size, config.pipeline_parallel_size):
            return answer(None, _not_divisible(request, config, cut))
        if str(values.get("--max-model-len", "")) in BY_NAME["max_model_len"].automatic:
            config = _fitted(request, config)
        choice = _explained(as_checked(evaluate(request, config)), values)
    except UnsupportedError as error:
        return answer(None, Problem(code="unsupported", message=str(error), fix=error.hint or _supported(request, config)))
    except NotDivisibleError as error:  # what `_cannot_split` does not ask about
        return answer(None, Problem(code="not-divisible", message=error.message, fix="--prefill-context-parallel-size 1"))
    placed = place(model, group, config)
    problems += _block_problems(config, placed, values)
    missing = (*missing, *narrow(choice, group, model, placed.widest))
    need = host_memory(config, placed, nodes_of(values))
    if problem := too_little(need, group.ram_bytes):
        problems.append(problem)
    plan = _plan(request, choice, repo, argv, values)
    plan = replace(plan, warnings=(*plan.warnings, *host_warning(need, group), *(Warn(code="not-covered", message=part.message) for part in missing)))
    missing = tuple(bounds.bounded(part, choice.expected, group, model) for part in missing)
    if plan.rejection is None:
        return replace(answer(plan), starts_anyway=bool(missing) and bounds.starts_anyway(request, config, missing))
    if plan.rejection.code != "free-memory" and any(part.effect != "adds" for part in missing) and not bounds.fails_anyway(request, config, missing):
        reason = Warn(code=plan.rejection.code, message=f"as far as the ledger goes: {plan.rejection.reason}")
        return answer(replace(plan, warnings=(reason, *plan.warnings)))
    fixes = () if missing and plan.rejection.code != "free-memory" else tuple(changes(request, choice))[:3]
    fix = fixes[0].arguments if fixes else published(request, config, market)
    if missing and not fixes:
        fix = f"make it start without {', '.join(part.flag for part in missing)} first"
    return answer(replace(plan, alternatives=fixes), Problem(code=plan.rejection.code, message=plan.rejection.reason, fix=fix))


def _usual(model: ModelSpec, group: GpuGroup, config: ServeConfig) -> tuple[str, int]:
    """The backend and block size that vLLM chooses by itself; nothing where it refuses."""
    try:
        layout = layouts.cache_layout(model, group.gpu, config.kv_cache_dtype, version=config.vllm_version)
    except UnsupportedError:
        return "", 0
    return layout.backend, layout.block_size


def _explained(choice: Choice, values: Mapping[str, str | bool]) -> Choice:
    """Settings with where each comes from: the command, or vLLM's default."""
    said = (
        (setting.name, "from the command" if setting.flag in values else "vLLM's default") for setting in REPORTED if setting.name in reported(choice.config)
    )
    return replace(choice, reasons=tuple(said))


def _plan(request: Request, choice: Choice, repo: str, argv: Sequence[str], values: Mapping[str, str | bool]) -> Plan:
    layout = layouts.cache_layout(
        request.model, request.group.gpu, choice.config.kv_cache_dtype, version=choice.config.vllm_version, options=choice.config.options
    )
    plan = Plan(
        request=request,
        repo=repo,
        served_name=str(values.get("--served-model-name", repo)),
        choice=choice,
        backend=layout.backend,
        argv=tuple(argv),
        needs_nvcc=layouts.needs_nvcc(layout, request.group.gpu),
        rejection=reject(choice),
    )
    return replace(plan, warnings=(*warnings(plan), *_chat_warnings(plan, values), *_thousands(argv)))


def _chat_warnings(plan: Plan, values: Mapping[str, str | bool]) -> list[Warn]:
    """What the command's flags for tool calls and reasoning mean for agents."""
    remarks = () if plan.model.pooling else told_remarks(plan.model.chat, values, plan.config.vllm_version)
    return [Warn(code=code, message=message) for code, message in remarks]


def _thousands(argv: Sequence[str]) -> list[Warn]:
    """Numbers that vLLM reads otherwise than people, and `plan`, do: to it 32k is 32,000."""
    from planner.engines.vllm.flags import flag_table  # read already, for the command's own flags

    scaled = [flag for flag, entry in flag_table()["flags"].items() if str(entry.get("reads")).startswith("count")]  # human_readable_int
    words = [piece for word in argv for piece in (word.split("=", 1) if word.startswith("--") else (word,))]
    texts = [(flag, text) for flag, text in pairwise(words) if flag in scaled and re.fullmatch(r"\d{1,12}(\.\d{1,12})?[kmgt]", text)]
    return [
        Warn(code="thousands", message=f"vLLM reads {flag} {text} as {parse_count(text):,}; {text.upper()} is {parse_count(text.upper()):,}")
        for flag, text in texts
    ]


def value_problems(config: ServeConfig, values: Mapping[str, str | bool], model: ModelSpec, group: GpuGroup, env: Mapping[str, str]) -> Iterator[Problem]:
    """Values that vLLM refuses before it touches a GPU (EngineArgs.create_engine_config)."""
    if config.kv_cache_dtype not in KV_CACHE_DTYPES:
        yield Problem(code="bad-value", message=f"--kv-cache-dtype {shown(config.kv_cache_dtype)} is not known", fix=f"one of {', '.join(KV_CACHE_DTYPES)}")
    longer = model.endless or not only_lengths(values) or env.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "0") not in ("0", "")
    if config.max_model_len > model.max_position_embeddings and not longer:
        message = f"--max-model-len {config.max_model_len} is greater than the model's {model.max_position_embeddings}"
        yield Problem(code="bad-value", message=message, fix=f"--max-model-len {model.max_position_embeddings}")
    if "--max-num-seqs" in values and config.max_num_batched_tokens < config.max_num_seqs:
        message = f"--max-num-batched-tokens {config.max_num_batched_tokens} is below --max-num-seqs {config.max_num_seqs}"
        yield Problem(code="bad-value", message=message, fix=f"--max-num-batched-tokens {config.max_num_seqs}")
    yield from parallel_problems(config, values, model, group, env)
    yield from contradictions(EngineArgs(config=config, values=values, model=model, env=env, gpu=group.gpu))
    yield from offload_problems(config)
    if problem := rules.quantization_problem(config.quantization, model.quantization, config.vllm_version):
        fix = "vLLM detects it" if model.quantization else "the checkpoint stays in 16 bits; --quantization fp8 makes 8 of them"
        yield Problem(code="unsupported", message=problem, fix=f"leave --quantization out; {fix}")
    yield from _drafting_problems(config)
    if config.lora and (problem := lora.cpu_problem(config.lora, config.max_cpu_loras)):
        yield Problem(code="bad-value", message=problem, fix=f"--max-cpu-loras {config.max_loras}")
    try:
        rules.check_model(model, group.gpu, config.vllm_version)
    except UnsupportedError as error:
        older = newest_for(group.gpu.capability)
        old_gpu = group.gpu.capability < VERSIONS[config.vllm_version].least_capability
        older_works = f"use vLLM {older}" if older else "another GPU"
        other = "another GPU" if rules.heads_too_wide(model, group.gpu) else "a 16-bit checkpoint, or one quantized in another way"
        yield Problem(code="unsupported", message=str(error), fix=older_works if old_gpu else other)


def _block_problems(config: ServeConfig, placed: Placement, values: Mapping[str, str | bool]) -> Iterator[Problem]:
    """Batches shorter than a block whose states are kept for prefixes, items that no block may end in; Mamba's own kernels keep states inside a block."""
    groups = placed.cache.groups
    kept = any(isinstance(group.attention, RecurrentState) and group.attention.checkpoint_alignment > 1 for group in groups)
    release = VERSIONS[config.vllm_version]
    if kept and config.enable_prefix_caching and values.get(WHOLE_ITEMS) and release.minor >= WHOLE_ITEMS_OR_STATES:
        message = "Chunked MM input is required because we need the flexibility to schedule a multiple of block_size tokens"
        yield Problem(code="bad-value", message=message, fix=f"leave {WHOLE_ITEMS} out")
    if not (kept and config.enable_prefix_caching and release.blocks_within_batch):
        return
    block = max(group.block_size for group in groups)
    if block > config.max_num_batched_tokens:
        message = f"In Mamba cache align mode, block_size ({block}) must be <= max_num_batched_tokens ({config.max_num_batched_tokens})."
        yield Problem(code="bad-value", message=message, fix=f"--max-num-batched-tokens {block}")


def _drafting_problems(config: ServeConfig) -> Iterator[Problem]:
    """Batches too small for what is drafted (config/vllm.py _set_max_num_scheduled_tokens, engine/arg_utils.py)."""
    tokens = config.num_speculative_tokens
    if tokens and config.max_num_batched_tokens <= tokens:
        message = f"VllmConfig does not have enough slots: max_num_batched_tokens={config.max_num_batched_tokens} and num_lookahead_tokens={tokens}"
        yield Problem(code="bad-value", message=message, fix=f"--max-num-batched-tokens {tokens + 1}")
    if tokens and config.lora and config.max_num_batched_tokens < config.max_num_seqs * (tokens + 1):
        message = "Consider increasing max_num_batched_tokens or decreasing num_speculative_tokens"
        yield Problem(code="bad-value", message=message, fix=f"--max-num-batched-tokens {config.max_num_seqs * (tokens + 1)}")


def _cannot_split(request: Request, config: ServeConfig, tp: int, pp: int) -> str:
    return cannot_split(request_with(request, config), tp, pp, mm_encoder_tp_mode=config.mm_encoder_tp_mode)


def _not_divisible(request: Request, config: ServeConfig, message: str) -> Problem:
    tp, pp = config.tensor_parallel_size, config.pipeline_parallel_size
    size = next((size for size in range(min(request.group.count, tp), 0, -1) if not _cannot_split(request, config, size, 1)), 0)
    fix = f"--tensor-parallel-size {size}" if size else "another model or GPU count"
    if not _cannot_split(request, replace(config, mm_encoder_tp_mode="data"), tp, pp):
        fix = "--mm-encoder-tp-mode data"
    if request.model.experts_per_token and not _cannot_split(request, replace(config, enable_expert_parallel=True), tp, pp):
        fix = "--enable-expert-parallel"
    code = "not-divisible" if pp <= request.model.layer_count and request.model.pipeline else "unsupported"
    return Problem(code=code, message=message, fix=fix)


def _supported(request: Request, config: ServeConfig) -> str:
    for changed, words in (
        (replace(config, kv_cache_dtype="auto"), "--kv-cache-dtype auto"),
        (replace(config, dtype="auto", kv_cache_dtype="auto"), "--dtype auto"),
        (replace(config, max_lora_rank=lora.next_rank(config.max_lora_rank)), f"--max-lora-rank {lora.next_rank(config.max_lora_rank)}"),
        (replace(config, enable_lora=False), "leave --enable-lora out"),
        (replace(config, vllm_version=DEFAULT_VERSION), f"vLLM {DEFAULT_VERSION}"),
        (replace(config, block_size=None), "leave --block-size out"),
        (replace(config, disable_hybrid_kv_cache_manager=None), "leave --disable-hybrid-kv-cache-manager out"),
    ):
        try:
            place(request.model, request.group, changed)
        except PlannerError:
            continue
        return words
    return "another GPU"


def _fitted(request: Request, config: ServeConfig) -> ServeConfig:
    """--max-model-len auto: vLLM lowers the model's own limit to what fits."""
    longest = evaluate(request, config).expected.longest_max_model_len
    return replace(config, max_model_len=max(1, min(config.max_model_len, longest)))

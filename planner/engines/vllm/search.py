"""Choosing settings: which tensor parallelism, cache dtype, context, sequences, batch and utilization.

Discrete choices are looped, the context is solved for; what the user pinned is kept. `preference` is the one order in which outcomes are
compared, so that no default is worse than another plan in all that a user gets (tests/engines/vllm/test_defaults.py tries all the others).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from planner.engines.vllm import layouts, rules
from planner.engines.vllm.choice import Choice, Request, utilization
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.dtypes import SLOTS
from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.memory import Placement, breakdown, outlooks, place
from planner.engines.vllm.reasons import explained
from planner.engines.vllm.settings import ServeConfig, pinned, with_settings
from planner.engines.vllm.splits import splits, with_parallel
from planner.engines.vllm.versions import VERSIONS
from planner.errors import UnsupportedError
from planner.facts.config import Parallel
from planner.facts.context import USEFUL_CONTEXT
from planner.facts.model import ModelSpec
from planner.facts.record import dataclass, replace
from planner.facts.settings import Value
from planner.facts.verdict import Verdict
from planner.units import CONTEXT_STEP

LEAST_CONTEXT = 8_192  # below this, tokens of context are weighed against CUDA graphs and the size of a batch
GRAPHS_WORTH = 2.0  # GUESS between what people measured without graphs: 1.7 times (vllm-omni#7960) to 4 times slower (VLM-Surgical-Agent-Framework#5)
SMALLER_BATCH_COSTS = 0.8  # GUESS: what a token of context is worth at the next smaller batch, whose prompts take longer
NARROW_CACHE = "fp8_e4m3"
FEWEST_SEQS = 16
SHORT_FOR_LONG = 8  # short requests that are scheduled in the cache of one of full length


def kv_dtypes(request: Request) -> list[str]:
    """Cache dtypes to try, best first: the model's own, then FP8 where this GPU and its attention backend can."""
    if request.pins.kv_cache_dtype:
        return [request.pins.kv_cache_dtype]
    if layouts.effective_kv_dtype(request.model, "auto", request.pins.vllm_version) != "auto":
        return ["auto"]
    try:
        layouts.cache_layout(request.model, request.group.gpu, NARROW_CACHE, version=request.pins.vllm_version)
    except UnsupportedError:
        return ["auto"]
    return ["auto", NARROW_CACHE]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Tokens of a batch and least sequences that a server is tried with; `level` 0 is vLLM's batch, higher ones take less memory."""

    level: int
    max_num_batched_tokens: int
    max_num_seqs: int


def sizes(request: Request) -> list[Sizes]:
    """What is tried, largest first: the default batch, then smaller ones that free activation memory for weights and cache.

    A model with recurrent state keeps 2048 tokens: its blocks must fit a batch (config/vllm.py, mamba block size).
    """
    pins, model, release = request.pins, request.model, VERSIONS[request.pins.vllm_version]
    batch, most = rules.default_batches(request.group.gpu, request.group.total_bytes, release)
    if model.is_encoder:  # a text is read in one step (config/scheduler.py: no chunked prefill)
        batch = max(batch, pins.max_model_len or request.context or model.max_position_embeddings)
    batch = max(batch, least := max(rules.least_batch(model, release), rules.heard_tokens(model)))
    seqs = pins.max_num_seqs or request.users or min(most, FEWEST_SEQS)
    tried = [(pins.max_num_batched_tokens or batch, seqs)]
    if not model.is_encoder:
        for smaller, fewer in ((2048, FEWEST_SEQS), (1024, 4), (512, 1)):
            if smaller < 2048 and model.has_state:
                smaller = 2048  # noqa: PLW2901 - only the sequences shrink
            own = (pins.max_num_batched_tokens or max(least, min(batch, smaller)), pins.max_num_seqs or request.users or min(most, fewer))
            tried += [own] if own[0] >= own[1] else []
    return [Sizes(level, *pair) for level, pair in enumerate(dict.fromkeys(tried))]


def candidates(request: Request, parallel: Parallel) -> Iterator[tuple[ServeConfig, Placement]]:
    """Base configurations for one split with the default batch: CUDA graphs before eager mode, cache dtype by cache dtype."""
    for eager in eager_modes(request):
        yield from alike(request, parallel, sizes(request)[0], eager=eager)


def eager_modes(request: Request) -> tuple[bool, ...]:
    """CUDA graphs first, then none of them; what is pinned is kept, and what adapters want of a release."""
    if request.pins.enable_lora and request.pins.enforce_eager is None:
        from planner.engines.vllm.lora import needs_eager

        if needs_eager(request.model.architecture, request.pins.vllm_version):
            return (True,)
    return (False, True) if request.pins.enforce_eager is None else (request.pins.enforce_eager,)


def alike(request: Request, parallel: Parallel, tried: Sizes, *, eager: bool) -> Iterator[tuple[ServeConfig, Placement]]:
    """Base configurations that differ in the cache dtype only."""
    fixed = pinned(request.pins)
    share, _ = utilization(request, parallel.expert_ranks)
    for dtype in kv_dtypes(request):
        config = replace(
            with_parallel(fixed, parallel),
            gpu_memory_utilization=share,
            max_num_seqs=tried.max_num_seqs,
            max_num_batched_tokens=tried.max_num_batched_tokens,
            kv_cache_dtype=dtype,
            enforce_eager=eager,
        )
        yield config, place(request.model, request.group, config)


def evaluate(request: Request, config: ServeConfig, placement: Placement | None = None) -> Choice:
    """The ledger of a configuration at the three outlooks."""
    placed = placement or place(request.model, request.group, config)
    return Choice(config=config, at=outlooks(request.model, request.group, config, placed), late_bytes=_late_bytes(request.model, config))


def _late_bytes(model: ModelSpec, config: ServeConfig) -> int:
    if config.kv_cache_dtype not in SLOTS:
        return 0
    from planner.engines.vllm.slots import slot_workspace

    return slot_workspace(model, config)


def with_context(request: Request, config: ServeConfig, placement: Placement) -> Choice:
    """Fix the context: the wanted one, or the longest that surely starts (for every user where users are given)."""
    asked = request.pins.max_model_len or request.context
    chosen = evaluate(request, replace(config, max_model_len=asked or longest_at(request, config, placement)), placement)
    if not asked and chosen.verdict < Verdict.STARTS:
        starting = [shorter for shorter in _shorter(request, chosen, placement) if shorter.verdict is Verdict.STARTS]
        chosen = max(starting, key=lambda shorter: shorter.config.max_model_len, default=chosen)
    seqs = request.pins.max_num_seqs or sequences(request, chosen)
    if chosen.verdict < Verdict.STARTS:  # more sequences only take memory that lacks already
        seqs = min(seqs, config.max_num_seqs)
    while seqs != config.max_num_seqs:
        more = evaluate(request, replace(chosen.config, max_num_seqs=seqs), placement)
        if more.verdict >= chosen.verdict:
            return more if asked or seqs > config.max_num_seqs else _lengthened(request, more, placement)
        if seqs < config.max_num_seqs:
            break
        seqs = max(seqs // 2, config.max_num_seqs)
    return chosen


def _shorter(request: Request, choice: Choice, placement: Placement) -> Iterator[Choice]:
    """The choice with the context that is left beside the pictures that a long prompt may bring, then with films of as many slices, and of fewer.

    Each slice less frees what the tower takes of one in profiling.
    """
    yield evaluate(request, replace(choice.config, max_model_len=longest_for_users(request, choice.config, choice.conservative)), placement)
    vision = request.model.vision
    slices = min(vision.film_slices, choice.config.max_model_len // vision.tokens_per_item) if vision and not choice.config.skip_mm_profiling else 0
    for fewer in range(slices, 0, -1):
        most = min(choice.config.max_model_len, (fewer + 1) * vision.tokens_per_item - 1) if vision else 0
        probe = replace(choice.config, max_model_len=most - most % CONTEXT_STEP)
        longest = longest_for_users(request, probe, _conservative(request, probe, placement))
        yield evaluate(request, replace(probe, max_model_len=min(probe.max_model_len, longest)), placement)


def _lengthened(request: Request, choice: Choice, placement: Placement) -> Choice:
    """The choice with the context that the memory of the sequences it does without allows."""
    longest = longest_for_users(request, choice.config, choice.conservative)
    if longest <= choice.config.max_model_len:
        return choice
    longer = evaluate(request, replace(choice.config, max_model_len=longest), placement)
    return longer if longer.verdict >= choice.verdict else choice


def _conservative(request: Request, config: ServeConfig, placement: Placement) -> MemoryBreakdown:
    return breakdown(request.model, request.group, config, Outlook.CONSERVATIVE, placement)


def longest_at(request: Request, config: ServeConfig, placement: Placement) -> int:
    """The longest context of settings that say none yet."""
    probe = replace(config, max_model_len=min(request.model.max_position_embeddings, CONTEXT_STEP))
    return longest_for_users(request, probe, _conservative(request, probe, placement))


def longest_for_users(request: Request, config: ServeConfig, conservative: MemoryBreakdown) -> int:
    """The longest context, in whole steps, of which `users` requests fit with conservative coefficients; the least that is planned where none does."""
    limit = request.model.max_position_embeddings
    longest = conservative.longest_for(config.share(request.users) or 1)
    stepped = longest - longest % CONTEXT_STEP if longest < limit else limit
    return max(stepped, min(limit, CONTEXT_STEP))


def sequences(request: Request, choice: Choice) -> int:
    """How many sequences to schedule at once: the users, or eight times what fits at full length, since most requests are short."""
    _, most = rules.default_batches(request.group.gpu, request.group.total_bytes, VERSIONS[request.pins.vllm_version])
    at_once = int(SHORT_FOR_LONG * choice.conservative.max_concurrency)
    wanted = choice.config.share(request.users) or max(FEWEST_SEQS, min(most, 1 << max(0, at_once.bit_length() - 1)))
    if request.model.has_state and choice.conservative.kv_cache_blocks:
        wanted = min(wanted, max(1, choice.conservative.admitted_blocks))
    return max(1, min(wanted, choice.config.max_num_batched_tokens))


def enough(request: Request) -> int:
    """The context beyond which more is not worth a narrower cache: the asked one, or what most work needs and the model has."""
    return request.context or request.pins.max_model_len or min(USEFUL_CONTEXT, request.model.max_position_embeddings)


def keeps_graphs(request: Request, choice: Choice) -> bool:
    """Whether CUDA graphs are kept (or were decided by the user) with a context that is worth them."""
    if request.pins.enforce_eager is not None:
        return True
    least = min(LEAST_CONTEXT, request.model.max_position_embeddings)
    return not choice.config.enforce_eager and (request.context is not None or choice.config.max_model_len >= least)


def preference(request: Request, choice: Choice, level: int) -> tuple[float, ...]:
    """What is preferred, as numbers that are compared from the left; the larger is better.

    A sure start; all users held; CUDA graphs with a context worth having; tensor before data before pipeline parallelism, which is slower for a lone user;
    where the context is short, what a token more of it is worth; vLLM's own batch; context and concurrency as far as they are asked for; a
    cache that is not quantized where that context is reached; then whatever more there is of both.
    """
    config, concurrency = choice.config, choice.conservative.max_concurrency * choice.config.data_parallel_size
    return (
        choice.verdict.rank,
        choice.holds(request.users),
        keeps_graphs(request, choice),
        config.tensor_parallel_size,
        -config.pipeline_parallel_size,
        0.0 if keeps_graphs(request, choice) else config.max_model_len * (1.0 if config.enforce_eager else GRAPHS_WORTH) * SMALLER_BATCH_COSTS**level,
        -level,
        min(config.max_model_len, enough(request)),
        min(concurrency, request.users or 1),
        (config.kv_cache_dtype != NARROW_CACHE or request.pins.kv_cache_dtype is not None) and config.max_model_len >= enough(request),
        not config.enforce_eager,
        config.max_model_len,
        concurrency,
    )


def best(request: Request) -> Choice:
    """The configuration that `preference` puts first, with its reasons. Raises PlannerError and UnsupportedError where none is possible."""
    rules.check_model(request.model, request.group.gpu, request.pins.vllm_version)
    tried: list[Tried] = []
    for parallel in (divisions := splits(request)):
        for sized in sizes(request):
            for eager in eager_modes(request):
                tried += (alike := _alike_tried(request, parallel, sized, eager=eager))
                first = max(tried, key=Tried.order)
                if _is_best(request, first) or (alike == tried and _is_as_good(request, first.choice, divisions)):
                    return _explained(request, first.choice, tried)
            if not any(attempt.choice.optimistic.could_load for attempt in tried if attempt.choice.config.parallel == tried[-1].choice.config.parallel):
                break  # smaller batches cannot help where the weights alone are too large
    return _explained(request, max(tried, key=Tried.order).choice, tried)


def _explained(request: Request, choice: Choice, tried: Sequence[Tried]) -> Choice:
    """The choice with its reasons: each alternative value is planned with the other settings as they were chosen."""

    def undone(**changes: Value) -> Choice:
        config = with_settings(choice.config, changes)
        return with_context(request, config, place(request.model, request.group, config))

    wider = [attempt.choice for attempt in sorted(tried, key=Tried.order) if attempt.choice.config.tensor_parallel_size > choice.config.tensor_parallel_size]
    told = explained(request, choice, undone, wider[-1] if wider else None, kv_dtypes(request))
    if not choice.config.enforce_eager or request.pins.enforce_eager is not None:
        return told
    graphs = [
        attempt.choice.conservative.longest_for(attempt.choice.config.share(request.users) or 1) for attempt in tried if not attempt.choice.config.enforce_eager
    ]
    return replace(told, longest_with_graphs=max(graphs, default=0))


def is_possible(request: Request) -> bool:
    """Whether some configuration surely starts and holds all users, as `best` would then be one. Raises PlannerError and UnsupportedError as it does."""
    rules.check_model(request.model, request.group.gpu, request.pins.vllm_version)
    found = (choice for parallel in splits(request) if _may_start(request, parallel) for choice in _sparing(request, parallel))
    return any(choice.verdict is Verdict.STARTS and choice.holds(request.users) for choice in found)


def _may_start(request: Request, parallel: Parallel) -> bool:
    """Whether what takes least memory surely starts with the context that is asked for, or with the least."""
    length = request.pins.max_model_len or request.context or min(request.model.max_position_embeddings, CONTEXT_STEP)
    ways = alike(request, parallel, sizes(request)[-1], eager=eager_modes(request)[-1])
    return any(_conservative(request, replace(config, max_model_len=length), placement).starts for config, placement in ways)


def _sparing(request: Request, parallel: Parallel) -> Iterator[Choice]:
    """What takes least memory, divided so: a larger batch and CUDA graphs only take more."""
    for config, placement in alike(request, parallel, sizes(request)[-1], eager=eager_modes(request)[-1]):
        yield with_context(request, config, placement)


def _is_as_good(request: Request, choice: Choice, divisions: Iterable[Parallel]) -> bool:
    """Whether no other way starts more surely or holds the users where the first one, which has the larger batch and CUDA graphs, does not."""
    sparing = (other for parallel in divisions for other in _sparing(request, parallel))
    outcome = choice.verdict.rank, choice.holds(request.users)
    return keeps_graphs(request, choice) and all((other.verdict.rank, other.holds(request.users)) <= outcome for other in sparing)


@dataclass(frozen=True, slots=True)
class Tried:
    """A configuration that was looked at, and its place."""

    choice: Choice
    preference: tuple[float, ...]

    def order(self) -> tuple[float, ...]:
        """The larger is better; of equals the first tried is kept."""
        return self.preference


def _alike_tried(request: Request, parallel: Parallel, sized: Sizes, *, eager: bool) -> list[Tried]:
    chosen = [with_context(request, config, placement) for config, placement in alike(request, parallel, sized, eager=eager)]
    return [Tried(choice, preference(request, choice, sized.level)) for choice in chosen]


def _is_best(request: Request, tried: Tried) -> bool:
    """Whether what is tried later, with fewer GPUs to a layer or smaller batches, cannot be preferred."""
    return tried.choice.verdict is Verdict.STARTS and tried.choice.holds(request.users) and keeps_graphs(request, tried.choice)

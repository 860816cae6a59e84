"""Why each setting was chosen, in one line. What a line says of another value stands beside it as a claim that can be tried (tests/engines/vllm/test_defaults.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from planner.engines.vllm import layouts, rules
from planner.engines.vllm.choice import HIGHEST_UTILIZATION, Choice, Claim, Request, utilization
from planner.engines.vllm.settings import REPORTED
from planner.engines.vllm.versions import VERSIONS
from planner.facts.record import dataclass, replace
from planner.facts.verdict import Verdict
from planner.units import CONTEXT_STEP, tokens

PINNED = "pinned"
_DIVISION = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "enable_expert_parallel")
SPARE = 0.02  # of utilization: so much more is not surely free (`safe_utilization` keeps 1 % back and rounds down)


@dataclass(frozen=True, slots=True)
class Why:
    """A reason, and what it claims."""

    text: str
    claim: Claim | None = None


Undone = Callable[..., Choice]  # the choice with other values of some settings, the context solved for anew where none is asked


def explained(request: Request, choice: Choice, undone: Undone, wider: Choice | None, dtypes: Sequence[str]) -> Choice:
    """The choice with its reasons. `wider`: the best that more tensor parallelism came to; `dtypes`: cache dtypes that are possible."""
    free: Mapping[str, Callable[[], Why]] = {
        "tensor_parallel_size": lambda: _why_split(request, choice, undone, wider),
        "pipeline_parallel_size": lambda: _why_pipeline(request, choice),
        **({"data_parallel_size": lambda: _why_engines(request, choice)} if choice.config.data_parallel_size > 1 else {}),
        "gpu_memory_utilization": lambda: _why_share(request, choice),
        "max_model_len": lambda: _why_context(request, choice),
        "max_num_seqs": lambda: _why_seqs(request, choice),
        "max_num_batched_tokens": lambda: _why_batch(request, choice, undone),
        "kv_cache_dtype": lambda: _why_dtype(request, choice, undone, dtypes),
        "enforce_eager": lambda: _why_eager(request, choice, undone),
    }
    why = {
        setting.name: free[setting.name]() if getattr(request.pins, setting.name) == setting.unpinned else Why(PINNED)
        for setting in REPORTED
        if setting.name in free
    }
    return replace(
        choice,
        reasons=tuple((name, reason.text) for name, reason in why.items()),
        claims=tuple(reason.claim for reason in why.values() if reason.claim),
    )


def worse(request: Request, choice: Choice, other: Choice) -> str | None:
    """In what `other` falls short of the choice: a claim's outcome; None where it does not."""
    if other.verdict < choice.verdict:
        return "not sure"
    if choice.holds(request.users) and not other.holds(request.users):
        return "fewer users"
    return "shorter" if other.config.max_model_len < choice.config.max_model_len else None


def _claimed(request: Request, choice: Choice, other: Choice, setting: str) -> Why | None:
    """What is said of another value that falls short, with its claim; None where it does not fall short."""
    outcome = worse(request, choice, other)
    longest = other.conservative.longest_for(other.config.share(request.users) or 1)
    if outcome == "not sure" and not longest:
        text = "would not surely start"
    elif outcome == "shorter" or longest:
        who = f" for {request.users} users" if request.users and request.users > 1 else ""
        text = f"would end at {tokens(min(longest, other.config.max_model_len) if outcome == 'shorter' else longest)} tokens{who}"
    else:
        text = f"would hold {other.conservative.max_concurrency * other.config.data_parallel_size:.1f} of {request.users} users"
    value = getattr(other.config, setting)
    match outcome:
        case "not sure" | "fewer users" | "shorter":
            return Why(text, Claim(setting, ((setting, value),), outcome))
        case _:
            return None


def _why_split(request: Request, choice: Choice, undone: Undone, wider: Choice | None) -> Why:
    model, size, group = request.model, choice.config.tensor_parallel_size, request.group
    if group.count == 1:
        return Why("one GPU")
    if request.pins.data_parallel_size:
        return Why("one GPU of each engine" if size == 1 else f"the {size} GPUs of each engine")
    if wider is not None:
        split = {name: getattr(wider.config, name) for name in _DIVISION}
        claimed = _claimed(request, choice, undone(**split), "tensor_parallel_size")
        if claimed is None or claimed.claim is None:
            return Why(f"tensor parallel size {wider.config.tensor_parallel_size} gives no more so")
        return Why(f"tensor parallel size {wider.config.tensor_parallel_size} {claimed.text}", replace(claimed.claim, pins=tuple(split.items())))
    if size < group.per_node and not request.pins.pipeline_parallel_size:
        return Why(f"{model.attention_heads} attention heads and {model.kv_heads} key-value heads, or blocks of weights, divide no further")
    spread = "; experts are spread whole, for their slices would not divide" if choice.config.enable_expert_parallel and model.experts_per_token else ""
    spread = "" if request.pins.enable_expert_parallel else spread
    return Why(f"divides {model.attention_heads} attention heads and {model.kv_heads} key-value heads; each GPU holds a share of every layer{spread}")


def _why_engines(request: Request, choice: Choice) -> Why:
    each = choice.config.parallel.world_size
    gpus = "one GPU" if each == 1 else f"{each} GPUs"
    return Why(f"engines of {gpus} each: every one keeps a cache of its own, all share the experts of {request.group.count}")


def _why_pipeline(request: Request, choice: Choice) -> Why:
    if choice.config.pipeline_parallel_size == 1:
        return Why("no pipeline needed")
    if request.group.nodes > 1 and choice.config.tensor_parallel_size == request.group.per_node:
        return Why("a stage of layers to each machine; tensor parallelism stays inside")
    return Why("stages of layers over the GPUs that tensor parallelism does not use")


def _why_share(request: Request, choice: Choice) -> Why:
    share, text = utilization(request, choice.config.ranks)
    if share >= HIGHEST_UTILIZATION or share <= SPARE:
        return Why(text)
    return Why(text, Claim("gpu_memory_utilization", (("gpu_memory_utilization", round(share + SPARE, 3)),), "not sure"))


def _why_context(request: Request, choice: Choice) -> Why:
    limit, length, setting = request.model.max_position_embeddings, choice.config.max_model_len, "max_model_len"
    if request.context:
        return Why("as asked")
    if choice.verdict < Verdict.STARTS:
        return Why("the least that is planned; not even that surely fits")
    if length >= limit:
        return Why("the model's own limit fits", Claim(setting, ((setting, limit + 1),), "refused"))
    who = f"of which {request.users} requests fit at once" if request.users else "of which one request surely fits"
    longer = Claim(setting, ((setting, min(limit, length + CONTEXT_STEP)),), "fewer users" if request.users and request.users > 1 else "not sure")
    held = choice.conservative.longest_for(choice.config.share(request.users) or 1) >= length
    return Why(f"the longest {who}; {tokens(limit)} is the model's limit", longer if held else None)


def _why_seqs(request: Request, choice: Choice) -> Why:
    config = choice.config
    if request.model.is_encoder:
        return Why("texts read together")
    if request.users and config.max_num_seqs == config.share(request.users):
        return Why("one for each user" if config.data_parallel_size == 1 else "one for each user of an engine")
    if request.model.has_state and 0 < choice.conservative.admitted_blocks <= config.max_num_seqs:
        return Why("a model with recurrent state needs a cache block for each sequence")
    if choice.expected.max_concurrency <= 0:
        return Why("the fewest that are planned")
    return Why(f"{choice.expected.max_concurrency:.1f} full-length requests fit at once; shorter ones share the same cache")


def _why_batch(request: Request, choice: Choice, undone: Undone) -> Why:
    model, config, setting = request.model, choice.config, "max_num_batched_tokens"
    if model.is_encoder:
        return Why("an encoder reads each text in one step")
    default, _ = rules.default_batches(request.group.gpu, request.group.total_bytes, VERSIONS[config.vllm_version])
    default = max(default, rules.least_batch(model, VERSIONS[config.vllm_version]))
    if config.max_num_batched_tokens != default:
        if claimed := _claimed(request, choice, undone(max_num_batched_tokens=default), setting):
            return Why(f"vLLM's default of {tokens(default)} {claimed.text}", claimed.claim)
        return Why("small, so that weights and cache have the memory")
    kept = f"; windows keep {tokens(rules.in_flight_tokens(config))} tokens in flight" if model.has_window else ""
    return Why(f"vLLM's default for this GPU{kept}")


def _why_dtype(request: Request, choice: Choice, undone: Undone, dtypes: Sequence[str]) -> Why:
    model, config, setting = request.model, choice.config, "kv_cache_dtype"
    if model.is_encoder:
        return Why("no KV cache")
    if config.kv_cache_dtype != "auto":
        claimed = _claimed(request, choice, undone(kv_cache_dtype="auto"), setting)
        return Why(f"16-bit {claimed.text}", claimed.claim) if claimed else Why("FP8 keeps more requests than 16-bit")
    if layouts.effective_kv_dtype(model, "auto", request.pins.vllm_version) != "auto":
        return Why("the checkpoint asks for FP8")
    if layouts.cache_layout(model, request.group.gpu, "auto", version=request.pins.vllm_version).bits == 8:
        return Why("this model's attention keeps an FP8 cache of its own")
    if len(dtypes) == 1:
        return Why("16-bit: this GPU's attention takes no FP8 cache for this model", Claim(setting, ((setting, "fp8_e4m3"),), "refused"))
    if choice.verdict < Verdict.STARTS:
        return Why("16-bit: FP8 would not make it start surely")
    if config.max_model_len >= model.max_position_embeddings or request.context or request.pins.max_model_len:
        return Why(f"16-bit: {tokens(config.max_model_len)} tokens fit without quantizing the cache")
    narrow = undone(kv_cache_dtype=dtypes[-1]).config.max_model_len
    return Why(f"16-bit holds {tokens(config.max_model_len)} tokens; --kv-cache-dtype {dtypes[-1]} would hold {tokens(narrow)}, less precisely")


def _why_eager(request: Request, choice: Choice, undone: Undone) -> Why:
    setting = "enforce_eager"
    if not choice.config.enforce_eager:
        if request.context or request.pins.max_model_len or choice.config.max_model_len >= request.model.max_position_embeddings:
            return Why("CUDA graphs fit" if choice.verdict is Verdict.STARTS else "not even eager mode would surely start")
        longer = undone(enforce_eager=True)
        if longer.verdict is Verdict.STARTS and longer.config.max_model_len > choice.config.max_model_len:
            return Why(f"CUDA graphs fit; --enforce-eager would hold {tokens(longer.config.max_model_len)} tokens, each slower")
        return Why("CUDA graphs fit" if choice.verdict is Verdict.STARTS else "not even eager mode would surely start")
    if claimed := _claimed(request, choice, undone(enforce_eager=False), setting):
        return Why(f"CUDA graphs {claimed.text}", claimed.claim)
    return Why("without CUDA graphs more cache is left")

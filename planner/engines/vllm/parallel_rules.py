"""Parallel sizes that vLLM refuses, in its words: sizes that contradict each other, that the model does not have, that the machine's GPUs do not hold.

Sources: vLLM 0.33 config/parallel.py (_validate_parallel_config, __post_init__), engine/arg_utils.py create_engine_config (data-parallel launch options),
config/model.py verify_with_parallel_config, v1/kv_cache_interface.py (DCP), v1/worker/gpu_worker.py init_device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from planner.engines.vllm.expert_rules import eplb_problem
from planner.engines.vllm.settings import ServeConfig, redundant_experts
from planner.facts.attention import CacheKind, cache_kind, window
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.modules import Experts
from planner.facts.plan import Problem

Values = Mapping[str, str | bool]

# What shows a server fewer GPUs than the machine has: the environment; what its container is given (docker run, compose files, manifests).
VISIBLE = {
    "nvidia": ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "--gpus", "devices", "nvidia.com/gpu"),
    "amd": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "devices", "amd.com/gpu"),
}
_LAUNCH = "Invalid data-parallel launch options: "
PARTITION = "VLLM_PP_LAYER_PARTITION"


def parallel_problems(config: ServeConfig, values: Values, model: ModelSpec, group: GpuGroup, env: Mapping[str, str]) -> Iterator[Problem]:
    """What vLLM refuses of a command's parallel sizes, in its order."""
    yield from _launch(config, values, model)
    yield from _experts(config, model, group)
    yield from _partition(config, model, env)
    yield from _context(config, model)
    yield from _too_few_gpus(config, values, group, env)


def number(values: Values, flag: str) -> int | None:
    """A whole number that a command gives; None where it gives none, or only its shell knows."""
    text = str(values.get(flag, ""))
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else None


def nodes_of(values: Values) -> int:
    """Machines that a command spreads its ranks over."""
    return max(1, number(values, "--nnodes") or 1)


def _refused(message: str, fix: str, code: str = "bad-value") -> Problem:
    return Problem(code=code, message=message, fix=fix)


def _launch(config: ServeConfig, values: Values, model: ModelSpec) -> Iterator[Problem]:
    """Data-parallel launch options that contradict each other."""
    size, local, rank = config.data_parallel_size, number(values, "--data-parallel-size-local"), number(values, "--data-parallel-rank")
    external, hybrid = bool(values.get("--data-parallel-external-lb")) or rank is not None, bool(values.get("--data-parallel-hybrid-lb"))
    if hybrid and values.get("--data-parallel-external-lb"):
        both = "`--data-parallel-hybrid-lb` and `--data-parallel-external-lb` cannot be enabled together"
        yield _refused(f"{_LAUNCH}{both}. Enable only one load-balancing mode.", "leave --data-parallel-hybrid-lb out")
    yield from _nodes(config, values)
    if external and size > 1 and not model.experts_per_token:
        why = "Non-MoE models do not support external data parallel mode. For external load balancing, launch independent vLLM instances"
        yield _refused(f"{why} without --data-parallel-* arguments.", "leave the --data-parallel flags out", "unsupported")
    elif external and rank is None and nodes_of(values) == 1:
        needs = "`--data-parallel-external-lb` requires a data-parallel rank"
        yield _refused(f"{_LAUNCH}{needs}. Set `--data-parallel-rank`.", "--data-parallel-rank 0")
    elif external and local not in (1, None):
        one = f"an external data-parallel rank requires `--data-parallel-size-local 1`; got {local}"
        yield _refused(f"{_LAUNCH}{one}. Set it to 1 or omit it.", "--data-parallel-size-local 1")
    elif external and size <= 1:
        yield _refused("data_parallel_external_lb can only be set when data_parallel_size > 1", "--data-parallel-size 2, or without the rank")
    elif hybrid and local is None and nodes_of(values) == 1:
        needs = "`--data-parallel-hybrid-lb` requires `--data-parallel-size-local`"
        yield _refused(f"{_LAUNCH}{needs}. Set it to the number of data-parallel ranks on this node.", f"--data-parallel-size-local {size}")
    if local is not None and local > size:
        yield _refused(f"data_parallel_size_local ({local}) must be <= data_parallel_size ({size})", f"--data-parallel-size-local {size}")
    if rank is not None and not 0 <= rank < size:
        yield _refused(f"data_parallel_rank ({rank}) must be in the range [0, {size})", f"--data-parallel-rank {size - 1}")


def _nodes(config: ServeConfig, values: Values) -> Iterator[Problem]:
    nodes, rank, world = nodes_of(values), number(values, "--node-rank") or 0, config.parallel.world_size_across_dp
    if nodes == 1:
        return
    if (backend := str(values.get("--data-parallel-backend", "mp"))) != "mp":
        needs = f"`--nnodes {nodes}` requires `--data-parallel-backend mp`; got `--data-parallel-backend {backend}`"
        yield _refused(f"{_LAUNCH}{needs}. Use the MP backend or set `--nnodes 1`.", "--data-parallel-backend mp")
    if values.get("--distributed-executor-backend") == "ray":
        yield _refused("nnodes > 1 can only be set when distributed executor backend is mp, uni or external_launcher.", "--distributed-executor-backend mp")
    if world % nodes:
        yield _refused(f"{_LAUNCH}`--nnodes {nodes}` must evenly divide the total world size ({world}).", f"--tensor-parallel-size {nodes}, or fewer --nnodes")
    if not 0 <= rank < nodes:
        between = f"`--node-rank` must be between 0 and {nodes - 1}; got `--node-rank {rank}`"
        yield _refused(f"{_LAUNCH}{between}. Set it to this node's zero-based index.", f"--node-rank {nodes - 1}")


def layer_partition(model: ModelSpec, stages: int, env: Mapping[str, str]) -> tuple[int, ...]:
    """Layers of each pipeline stage as the environment divides them; none where it does not, or not so many layers over so many stages."""
    text = env.get(PARTITION, "")
    counts = tuple(map(int, text.split(","))) if _COUNTS.fullmatch(text) else ()
    return counts if len(counts) == stages and sum(counts) == model.layer_count else ()


_COUNTS = re.compile(r"\s*\d{1,6}\s*(,\s*\d{1,6}\s*)*")


def _partition(config: ServeConfig, model: ModelSpec, env: Mapping[str, str]) -> Iterator[Problem]:
    """Layers divided by hand (distributed/utils.py get_pp_indices, alike in every release)."""
    text, stages, layers = env.get(PARTITION), config.pipeline_parallel_size, model.layer_count
    if text is None or "$" in text or layer_partition(model, stages, env):
        return
    counts = [int(part) for part in text.split(",")] if _COUNTS.fullmatch(text) else []
    if not counts:
        message = f"Invalid partition string: {text[:60]}"
    elif len(counts) != stages:
        message = f"len(partitions)={len(counts)} does not match pp_size={stages}."
    else:
        message = f"sum(partitions)={sum(counts)} does not match num_hidden_layers={layers}."
    yield _refused(message, f"leave {PARTITION} out, or {stages} numbers that add up to {layers}")


_UNVALIDATED = "BeamForCausalLM"  # models/beam/nvidia/model.py
_UNCOUNTED = "DbrxForCausalLM"  # whose ffn_config holds the number of its experts (model_arch_config_convertor.py get_num_experts)


def _experts(config: ServeConfig, model: ModelSpec, group: GpuGroup) -> Iterator[Problem]:
    """Load balancing of experts."""
    copies = redundant_experts(config.eplb_config)
    counted = (_most_experts(model) or model.experts_per_token) and model.architecture != _UNCOUNTED
    if config.enable_expert_parallel and not counted:
        message = "Number of experts in the model must be greater than 0 when expert parallelism is enabled."
        yield _refused(message, "leave --enable-expert-parallel out")
    if model.architecture == _UNVALIDATED and (config.enable_eplb or config.parallel.whole_shared_experts):
        what = "EPLB; run without --enable-eplb." if config.enable_eplb else "sequence-parallel MoE (data parallelism with expert parallelism)."
        yield _refused(f"Beam has not been validated with {what}", "leave --enable-eplb out" if config.enable_eplb else "leave --enable-expert-parallel out")
    if config.enable_eplb and not config.enable_expert_parallel:
        yield _refused("enable_expert_parallel must be True to use EPLB.", "--enable-expert-parallel")
    elif config.enable_eplb and config.parallel.expert_ranks == 1:
        sizes = f"TP={config.tensor_parallel_size}, PCP={config.prefill_context_parallel_size}, DP={config.data_parallel_size}"
        yield _refused(f"EPLB requires tensor, prefill-context, or data parallelism, but got {sizes}.", "leave --enable-eplb out")
    elif copies and not config.enable_eplb:
        yield _refused(f"num_redundant_experts is set to {copies} but EPLB is not enabled. Either enable EPLB or unset num_redundant_experts.", "--enable-eplb")

    elif config.enable_eplb and (problem := eplb_problem(config.parallel, model, group.gpu)):
        yield _refused(problem, "a --eplb-config whose experts divide evenly", "not-divisible")


def _most_experts(model: ModelSpec) -> int:
    return max((module.experts for layers in model.layers for module in layers.modules if isinstance(module, Experts)), default=0)


def _context(config: ServeConfig, model: ModelSpec) -> Iterator[Problem]:
    """Decode and prefill context parallelism."""
    tp, prefill, decode = config.tensor_parallel_size, config.prefill_context_parallel_size, config.decode_context_parallel_size
    flag = "--decode-context-parallel-size"
    if prefill == 1 and tp % decode:
        yield _refused(f"tp_size={tp} must be divisible by dcp_size={decode}.", f"{flag} {_divisor(tp, decode)}")
        return
    if prefill > 1 and decode not in (1, prefill, tp * prefill):
        valid = sorted({1, prefill, tp * prefill})
        either = "When PCP is enabled, DCP must be disabled, span the PCP axis, or span the full TP x PCP axis"
        yield _refused(f"{either}. Got TP={tp}, PCP={prefill}, DCP={decode}; valid DCP sizes are {valid}.", f"{flag} {prefill}")
        return
    if decode == 1:
        return
    if not model.is_latent and model.kv_heads:
        yield from _grouped_heads(model, tp, decode)
    elif model.caches and all(cache_kind(cache) is CacheKind.STATE for cache in model.caches):
        yield _refused("integer division or modulo by zero: the model has no KV heads", f"{flag} 1", "unsupported")
    if any(window(cache) is not None for cache in model.caches) or any(cache_kind(cache) is CacheKind.COMPRESSED for cache in model.caches):
        yield _refused("DCP not support sliding window.", f"{flag} 1", "unsupported")


def _grouped_heads(model: ModelSpec, tp: int, decode: int) -> Iterator[Problem]:
    heads, flag = model.kv_heads, "--decode-context-parallel-size"
    per_head = model.attention_heads // heads
    if tp <= heads:
        message = f"Decode context parallelism for GQA/MQA requires `--tensor-parallel-size` ({tp}) to be greater than the model's total number of KV heads ({heads})."
        yield _refused(f"{message} Increase `--tensor-parallel-size` or set `{flag} 1`.", f"{flag} 1")
    elif decode > tp // heads:
        message = f"`{flag}` ({decode}) exceeds the maximum supported value ({tp // heads}) for `--tensor-parallel-size` ({tp}) and {heads} model KV heads."
        yield _refused(message, f"{flag} {tp // heads}")
    elif per_head % decode:
        message = f"The model's number of query heads per KV head ({per_head}) must be divisible by `{flag}` ({decode}) for GQA/MQA."
        yield _refused(message, f"{flag} {_divisor(per_head, decode)}")


def _divisor(number: int, most: int) -> int:
    return next(size for size in range(min(number, most), 0, -1) if number % size == 0)


def _too_few_gpus(config: ServeConfig, values: Values, group: GpuGroup, env: Mapping[str, str]) -> Iterator[Problem]:
    """More GPUs asked for than there are on this machine, or than the environment shows."""
    count, where = group.count, f"there {'is' if group.count == 1 else 'are'} {group.count}"
    for name, listed in [("--device-ids", str(values.get("--device-ids", "all"))), *((name, env.get(name, "all")) for name in VISIBLE[group.gpu.vendor])]:
        if (visible := _listed(listed)) < count:
            count, where = visible, f"{name} shows {visible}"
    asked = gpus_of_a_node(config, values)
    is_ray = "ray" in (values.get("--distributed-executor-backend"), values.get("--data-parallel-backend"))
    if asked <= count or (is_ray and count):
        return
    world, engines = config.parallel.world_size, config.data_parallel_size
    each = f" ({world} for each of {asked // world} engines)" if engines > 1 else ""
    message = f"{asked} GPU{'s are' if asked > 1 else ' is'} asked for{each}, {where}"
    if "shows" not in where and world > count:
        message += f": World size ({world}) is larger than the number of available GPUs ({count}) in this node"
    elif "shows" not in where:
        message += f": DP adjusted local rank {count} is out of bounds for {count} devices"
    fixes = [f"set it to {asked} GPU{'s' * (asked > 1)}"] if "shows" in where else []
    if engines > 1 and world <= count:
        fixes += [f"--data-parallel-size {count // world}"]
    elif asked > 1:
        fixes += [f"--tensor-parallel-size {max(count, 1)}"]
    yield _refused(message, ", or ".join(fixes))


def gpus_of_a_node(config: ServeConfig, values: Values) -> int:
    """GPUs that a command takes of the machine it runs on: its share of the ranks, or those of the engines that it starts there."""
    world, nodes = config.parallel.world_size, nodes_of(values)
    if "--nnodes" in values and number(values, "--nnodes") is None:
        return 0  # only the shell knows
    if nodes > 1:
        return -(-config.parallel.world_size_across_dp // nodes)
    if values.get("--data-parallel-external-lb") or number(values, "--data-parallel-rank") is not None:
        return world
    local = number(values, "--data-parallel-size-local")
    return world * (config.data_parallel_size if local is None else local)


def _listed(text: str) -> int:
    """How many GPUs a list of them shows: CUDA ignores all behind the first that is none; what only a shell knows is taken for all."""
    if text.strip() == "all" or "$" in text or "`" in text:
        return 1024
    count = 0
    for part in text.split(","):
        if not re.fullmatch(r"\d+|(?:GPU|MIG)-[\w/-]+", part.strip()):
            break
        count += 1
    return count

"""The models, GPUs and formats that published measurements name, in the catalogue's words."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any

from planner.architecture import Config, build_model
from planner.catalogue import load
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.pace import gguf_weights
from planner.engines.mlx.memory import read_format
from planner.engines.mlx.pace import mlx_weights
from planner.engines.pace import local_work
from planner.engines.vllm.rules import default_batches, with_kernels
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS
from planner.engines.work import cache_reads, weights
from planner.errors import PlannerError
from planner.facts.config import CacheLayout, Parallel
from planner.facts.hardware import GpuGroup, GpuSpec
from planner.facts.model import ModelSpec
from planner.speed.links import all_reduce
from planner.speed.power import capped
from planner.speed.work import Weights, Work, arithmetic, is_narrow, peak, shape_of

ENGINES = {"vllm": "vllm", "sglang": "sglang", "trtllm": "trtllm", "llama.cpp": "llamacpp", "ollama": "llamacpp", "mlx-lm": "mlx"}
GPUS = {
    "h100_sxm": "h100", "h200_sxm": "h200", "b200_sxm": "b200", "b300_sxm": "b300", "a100_sxm": "a100", "h20": "h20", "rtx3090": "rtx3090", "rtx4090": "rtx4090",
    "rtx_pro_6000": "rtxpro6000", "m4_max_40c": "m4max", "llamacpp:3080": "rtx3080", "llamacpp:3090": "rtx3090", "llamacpp:4070_ti": "rtx4070ti",
    "llamacpp:4080": "rtx4080", "llamacpp:4090": "rtx4090", "llamacpp:rtx_a6000": "rtxa6000", "llamacpp:rtx_6000_ada": "rtx6000ada", "llamacpp:a40": "a40",
    "llamacpp:l40s": "l40s", "llamacpp:a100_pcie": "a100-80gb-pcie", "llamacpp:a100_sxm": "a100", "llamacpp:h100_pcie": "h100-pcie", "llamacpp:m1_7_core_gpu": "m1",
    "llamacpp:m1_max_32_core_gpu": "m1max", "llamacpp:m2_ultra_76_core_gpu": "m2ultra", "llamacpp:m3_max_40_core_gpu": "m3max",
}  # fmt: skip
MODELS = (
    "qwen3.5-397b-a17b", "qwen3.6-35b-a3b", "qwen3.6-27b", "minimax-m2.5", "qwen3-235b-a22b", "qwen3-32b", "qwen3-30b-a3b", "qwen3-8b", "qwen3-4b", "qwen3-1.7b",
    "qwen3-0.6b", "deepseek-v3", "gpt-oss-120b", "gpt-oss-20b", "laguna-s-2.1",
)  # fmt: skip
OTHER_NAMES = {
    "llama-3-8b": "llama-3.1-8b", "llama-3.1-8b": "llama-3.1-8b", "llama-3-70b": "llama-3.1-70b", "llama-3.3-70b": "llama-3.1-70b", "gemma-4-12b": "gemma-4-12b",
    "ternary-bonsai-8b": "qwen3-8b", "quanttrio-awq": "qwen3.6-35b-a3b", "deepseek-r1-0528": "deepseek-v3", "glm-5.2": "glm-5.2-fp8", "glm-5": "glm-5-fp8",
    "minimax-m2.7": "minimax-m2.5", "qwen3-next-80b-a3b": "qwen3-coder-next",
}  # fmt: skip
OLD_BUILDS = "https://github.com/XiongjieDai/GPU-Benchmarks-on-LLM-Inference"  # builds of 2024
# Until ggml-org/llama.cpp#15525 (August 2025) the host compared each choice of each token with each expert, for each of a layer's three banks of experts; until #13199
# (April 2025) it then started these kernels for one expert after another: gather, quantize, multiply, sum up, scatter.
SORTED_ON_GPU, ONE_KERNEL, EXPERT_KERNELS = 6300, 5230, 5  # builds, about
COMPARED_S = (
    1e-9  # stated, not fitted: before and after #15525 (deepseek2 16B on an RTX 3090, batches of 128 and 256) differ by 16 ms over 15.3 million comparisons
)
STATED_LINKS = {  # bus bandwidth that a source measured on its own host, which `--link-gb-per-s` would state
    "local-inference-lab/rtx6kpro": 39_300_000_000,  # four ranks behind its switches (hardware/asus-esc8000a-e13p-broadcom-switches.md)
}
FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic", "modules_to_not_convert": ["lm_head", "visual"]}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}
GPTQ_INT8 = {"quant_method": "gptq", "bits": 8, "group_size": 128, "desc_act": False, "sym": True}
W8A8: dict[str, Any] = {
    "quant_method": "compressed-tensors", "format": "int-quantized", "ignore": ["lm_head"],
    "config_groups": {"group_0": {
        "targets": ["Linear"], "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
        "input_activations": {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True, "symmetric": True},
    }},
}  # fmt: skip
NVFP4: dict[str, Any] = {
    "quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head", "*self_attn*"],
    "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 16}, "input_activations": {"num_bits": 4, "group_size": 16}}},
}  # fmt: skip
PACKED_INT4: dict[str, Any] = {  # experts alone, as the FP8 checkpoints of the same models leave out the rest
    "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_expert.*", r"re:.*\.mlp\.gate$"],
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}}},
}  # fmt: skip
GGUF_MIXES = {
    "gguf-q4_0": "Q4_0", "gguf-q4_k_m": "Q4_K_M", "gguf-q5_k_m": "Q5_K_M", "gguf-q6_k": "Q6_K", "gguf-q8_0": "Q8_0", "gguf-mxfp4": "MXFP4_MOE", "gguf-f16": "F16", "f16": "F16",
    "gguf-bf16": "BF16", "gguf-q5_0": "Q5_0", "gguf-iq4_xs": "IQ4_XS", "gguf-iq4_nl": "IQ4_NL", "gguf-iq3_xxs": "IQ3_XXS", "gguf-q3_k_m": "Q3_K_M",
    "gguf-q3_k_s": "Q3_K_S", "gguf-q4_k_s": "Q4_K_S",
}  # fmt: skip


def gpu_name(name: str) -> str | None:
    """The catalogue's name of a GPU, None where it has none; of a Mac its chip, whose memory does not change its speed."""
    if name in GPUS:
        return GPUS[name]
    if name.startswith("llamacpp:"):
        name = "rtx" + name.partition(":")[2].removeprefix("rtx").replace("_", "")
    try:
        return chip if (chip := re.sub(r"-\d+gb$", "", name)).startswith("apple-") and gpu_spec(chip) else load.find_gpu(name).name
    except PlannerError:
        return None


@cache
def model_name(name: str) -> str | None:
    """The catalogue's name of a model, None where it has none."""
    lowered = name.lower()
    if (entry := load.find_model(lowered)) and entry.name == lowered:
        return lowered
    others = next((mine for theirs, mine in OTHER_NAMES.items() if theirs in lowered), None)
    return others or next((known for known in MODELS if known in lowered), None)


def _quantization(quant: str, model: str) -> dict[str, Any] | None:
    lowered = quant.lower()
    if (
        "gpt-oss" in model
        or (any(name in model for name in ("minimax", "deepseek", "glm-5")) and "fp8" in lowered)
        or ("kimi-k2" in model and lowered == "int4")
    ):
        return None  # as its repository stores it
    if "nvfp4" in lowered:
        return NVFP4
    if "int8" in lowered:
        return GPTQ_INT8 if "gptq" in lowered else W8A8
    if "compressed-tensors-int4-g32" in lowered:
        return PACKED_INT4
    if re.search("int4|awq", lowered):
        narrow = {"group_size": 32} if model == "gemma-4-26b-a4b" else {}  # whose experts are 704 wide
        return AWQ | narrow | ({"modules_to_not_convert": ["visual", "linear_attn", "shared_expert_gate"]} if model.startswith("qwen3.") else {})
    return FP8 if "fp8" in lowered else {}


@cache
def spec(model: str, quant: str) -> ModelSpec:
    """A model in the stated format. Raises PlannerError where the two do not go together."""
    entry = load.find_model(model)
    if entry is None:
        raise KeyError(model)
    own = _quantization(quant, model)
    config = entry.config if own is None else {key: value for key, value in entry.row.config.items() if key != "quantization_config"}
    beside = Config(entry.hf_quant, model) if own is None and entry.hf_quant else None
    return build_model(Config(config | ({"quantization_config": own} if own else {}), model), model, beside)


@cache
def gpu_spec(name: str) -> GpuSpec:
    """A Mac's memory does not change its speed, so its chip is enough."""
    macs = (row for row in load.gpu_rows() if row.vendor == "apple")
    return next((row.spec() for row in macs if name in (row.name, *row.aliases)), None) or load.find_gpu(name)


def architecture(row: dict[str, str]) -> str:
    """The class of its model, as config.json names it."""
    return spec(str(model_name(row["model"])), "").architecture


def work_of(row: dict[str, str]) -> Work | None:
    """The work of a row's server on one rank; None where not even the GPU's bandwidth is known. Raises PlannerError."""
    name, gpu, engine, quant = str(model_name(row["model"])), gpu_spec(str(gpu_name(row["gpu"]))), ENGINES[row["engine"]], row["quant"]
    if engine in ("llamacpp", "mlx"):
        model = spec(name, "")
        narrow_bits = 8 if row["kv_dtype"] == "q8_0" else 16
        widened = quant not in ("f16", "gguf-f16", "mlx-bf16")
        stages = int(float(row["count"] or 1)) if engine == "llamacpp" else 1
        local = local_work(
            engine, model, gpu, _local_weights(name, engine, quant), stages=stages, kv_bits=narrow_bits, widened=widened, batch=_micro_batch(row)
        )
        if not isinstance(local, Work):
            return None
        return _capped(_of_its_build(local, row) if engine == "llamacpp" else local, row, gpu)
    model = spec(name, quant)
    kind, widened = arithmetic(model, gpu)
    tp = int(row["tp"] or 1)
    stated = next((rate for source, rate in STATED_LINKS.items() if source in row["source"]), 0)
    best = peak(gpu, kind, all_reduce(gpu, tp, stated))
    if best is None:
        return None
    narrow = "fp8" in row["kv_dtype"] or (bool(row["precision"]) and row["gpu"].startswith("b"))
    parallel = Parallel(tensor_parallel_size=tp, enable_expert_parallel=float(row["ep"] or 1) > 1)
    held = weights(model, with_kernels(parallel, gpu))
    work = Work(
        engine=engine, weights=held, reads=cache_reads(model, tp, CacheLayout(backend="", bits=8 if narrow else 16)), peak=best, tensor_parallel_size=tp,
        weight_only=widened, narrow=is_narrow(model), mixes=engine != "sglang", shape=shape_of(model, kind),
        prompt_batch=default_batches(gpu, gpu.memory_bytes, VERSIONS[DEFAULT_VERSION])[0],
    )  # fmt: skip
    return _capped(work, row, gpu)


def _micro_batch(row: dict[str, str]) -> int:
    """Tokens of a prompt that a server of llama.cpp computes at once, as the row states."""
    stated = re.search(r"micro-batches of ([\d,]+) tokens|n_ubatch (\d+)", row["note"])
    return int((stated[1] or stated[2]).replace(",", "")) if stated else 512


def _of_its_build(work: Work, row: dict[str, str]) -> Work:
    """The work of a build of llama.cpp that did otherwise than today's with a prompt."""
    if row["source"].startswith(OLD_BUILDS):
        held = work.weights
        wide = 2 * int(held.dense_macs + held.expert_macs) + int(held.dense_bytes + held.expert_bytes)
        return replace(work, era="2024", unpacked_bytes=wide if work.weight_only else 0)
    build = int(stated[1]) if (stated := re.match(r"b(\d+)$", row["version"])) else 0
    if work.peak.kind == "apple" or not work.shape.experts or not 0 < build < SORTED_ON_GPU:
        return work
    banks = 3 * work.shape.moe_layers
    if build < ONE_KERNEL:
        work = replace(work, expert_starts=EXPERT_KERNELS * banks * int(work.shape.experts))
    return replace(work, sorting_s=banks * work.shape.experts * work.shape.experts_per_token * COMPARED_S)


def _capped(work: Work, row: dict[str, str], gpu: GpuSpec) -> Work:
    """The work under the cap on the power of its cards that a row states."""
    group = GpuGroup(gpu=gpu, count=int(float(row["count"] or 1)), power_limit_w=float(row["power_limit_w"] or 0))
    return capped((work, work, work), group)[1]


@cache
def _local_weights(name: str, engine: str, quant: str) -> Weights:
    model = spec(name, "")
    if engine == "llamacpp":
        return gguf_weights(model, converted(model, GGUF_MIXES[quant]))
    return mlx_weights(model, read_format("bf16" if quant == "mlx-bf16" else re.sub(r"mlx-q?(\d)(bit)?", r"\1bit", quant)))

"""Quantizations crossed with architectures and ways to divide them, before vLLM itself: `python -m benchmarks.crossing [COUNT [SEED]]` lists what we say otherwise.

A case is a real config.json of tests/data/configs with fewer layers, a quantization section as published checkpoints have it (their lists of what is
left out among them), and a division over GPUs. vLLM's own class builds it on the meta device; bytes of the weights and of a block and who refuses are
compared. Cases are drawn by SEED, so that a sample nobody has seen is one number away.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.crossing_formats import FORMATS, quantized
from benchmarks.judge_rows import CONFIGS, GPU, Row, ask
from planner.architecture import Config, build_model
from planner.catalogue.load import find_gpu
from planner.engines.vllm.check import check
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.memory import place
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.facts.modules import Linear

LAYERS, LENGTH, AVAILABLE = 8, 4096, 20 * 2**30
WAYS: tuple[tuple[str, int], ...] = (
    *((f"-tp {tp}", 0) for tp in (1, 2, 4, 8)),
    *((f"-tp {tp} -pp 2", stage) for tp in (1, 2) for stage in (0, 1)),
    *((f"-tp {tp} --enable-expert-parallel", 0) for tp in (2, 4, 8)),
    *((f"-tp {tp} -dp {8 // tp} --enable-expert-parallel", 0) for tp in (1, 2, 4)),
    ("-tp 2 -dp 2", 0),
)
DENSE = WAYS[:8]
# what vLLM makes of a params.json, which no checkpoint holds: made--mistral-large-3-params is compared, with `python -m benchmarks.judge_rows`
_UNREADABLE = {"made--mistral-large-3", "made--mistral-small-4-119b"}
# FlashInfer is none of the judge's packages: asked in an environment that has it, and frozen
_UNASKED = {"made--flint"}
_POOLED, _TRITON = ("--runner", "pooling"), ("--attention-backend", "TRITON_ATTN")
# What a class is asked with: without it the first four generate, and the last two are refused on the judge's GPU.
_ASKED = dict.fromkeys(("LlamaModel", "MistralModel", "Qwen2Model", "DeepseekV3BidirectionalModel"), _POOLED) | dict.fromkeys(
    ("Rnj1ForCausalLM", "Step1ForCausalLM"), _TRITON
)
# What the judge lacks or its stand-ins do not do; a server has it.
CANNOT_SAY = re.compile(
    r"No module named|Please install|is required for|DeepGEMM support|timm library|set_allocator|pin_memory=True|dummy base class Event|libcuda.so.1|find_runtime_libraries|'\w+' object has no attribute '(?:vit_config|hidden_act|tie_word_embeddings)'"
)
_DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions", "seq_length", "max_sequence_length")
MEMORY = ("no-kv-memory", "kv-cache-too-small", "free-memory", "out-of-memory")


def shrunk(config: Row) -> Row:
    """The same with eight layers at most: lists and patterns of one entry a layer are cut. One whose last ones share caches with those before stays whole."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    layers = next((text[key] for key in _DEPTHS if isinstance(text.get(key), int)), 0)
    shares = text.get("num_kv_shared_layers") or 0
    if layers <= LAYERS or shares >= LAYERS or "decoder_layers" in text or "hybrid_layer_ids" in text:
        return config

    def cut(value: object) -> object:
        return value[:LAYERS] if isinstance(value, list | str) and len(value) == layers else value

    short = {key: LAYERS if key in _DEPTHS else cut(value) for key, value in text.items()}
    return short if text is config else config | {"text_config": short}


def plain_configs() -> dict[str, Row]:
    """Of every architecture the configs that are there, without their quantization."""
    configs: dict[str, Row] = {}
    for path in sorted(CONFIGS.glob("*.json")):
        config = json.loads(path.read_text())
        if path.name.endswith(".hf_quant.json") or path.stem in _UNREADABLE or not config.get("architectures") or "Eagle3" in config["architectures"][0]:
            continue
        for section in (config, config.get("text_config")):
            for key in ("quantization_config", "compression_config"):
                if isinstance(section, dict):
                    section.pop(key, None)
        configs[path.stem] = shrunk(config)
    return configs


def cases(count: int, seed: int) -> Iterator[Row]:
    """So many cases: an architecture, one of its configs, a format, a division."""
    random, configs = Random(seed), plain_configs()
    by_class: dict[str, list[str]] = {}
    for stem, config in configs.items():
        if stem not in _UNASKED:
            by_class.setdefault(config["architectures"][0], []).append(stem)
    names = sorted(by_class)
    for _ in range(count):
        stem = random.choice(by_class[random.choice(names)])
        kind = random.choices(list(FORMATS), weights=list(FORMATS.values()))[0]
        config = json.loads(json.dumps(configs[stem]))
        way, stage = random.choice(WAYS if "expert" in json.dumps(config) else DENSE)
        config |= quantized(kind, config, tower_names(config), random)
        yield {"model": stem, "format": kind, "way": way, "stage": stage, "config": config}


def words(case: Row) -> list[str]:
    """The flags of a case; models that can do less than LENGTH are left at what they can do."""
    text = case["config"].get("text_config") or case["config"]
    longest = min((text[key] for key in _LENGTHS if isinstance(text.get(key), int)), default=LENGTH)
    name, remote = (case["config"].get("architectures") or [""])[0], ("--trust-remote-code",) if "auto_map" in case["config"] else ()
    return [*case["way"].split(), *remote, *_ASKED.get(name, ()), *(("--max-model-len", str(LENGTH)) if longest >= LENGTH else ())]


def tower_names(config: Row) -> list[str]:
    """The names of a tower's matrices, as checkpoints have them: q, k and v apart."""
    try:
        modules = build_model(Config(config, "config.json"), "made").tower
    except PlannerError:
        return []
    names = (module.name for module in modules if isinstance(module, Linear))
    return [stem + part for name in names for stem, parts in [_unfused(name)] for part in parts]


def _unfused(name: str) -> tuple[str, tuple[str, ...]]:
    for fused, parts in (("qkv_proj", ("q_proj", "k_proj", "v_proj")), ("gate_up_proj", ("gate_proj", "up_proj")), ("fc13", ("fc1", "fc3"))):
        if name.endswith("." + fused):
            return name.removesuffix(fused), parts
    return name, ("",)


def question(case: Row) -> Row:
    """What the judge is asked; where we refuse a pipeline, its last stage: a first one alone may well be built."""
    last = int(case["way"].partition("-pp ")[2].split()[0]) - 1 if "-pp" in case["way"] else 0
    stage = last if last and not ours(case)["valid"] else case["stage"]
    return {
        "config": case["config"],
        "hf_quant": None,
        "argv": ["vllm", "serve", "x", *words(case)],
        "plan": True,
        "available_bytes": AVAILABLE,
        "stage": stage,
        "env": case.get("env", {}),
    }


def ours(case: Row) -> Row:
    """Our answer in the judge's terms."""
    values, _, _ = parse_flags(["x", *words(case)], DEFAULT_VERSION)
    group = GpuGroup(gpu=find_gpu(GPU), count=8)
    try:
        model = build_model(Config(case["config"], "config.json"), case["model"])
        checked = check(values, [], model, group, repo="x", argv=["vllm", "serve", "x", *words(case)], version=DEFAULT_VERSION, env=case.get("env"))
        refused = [problem.message for problem in checked.problems if problem.code not in MEMORY]
        if refused:
            return {"valid": False, "error": refused[0]}
        placed = place(model, group, checked.config)
    except PlannerError as error:
        return {"valid": False, "error": str(error)}
    weights = placed.created[case["stage"]]
    if "-pp" in values or "--pipeline-parallel-size" in values:
        return {"valid": True, "weight_bytes": weights}
    return {"valid": True, "weight_bytes": weights, "block_bytes": placed.cache.block_bytes}


def difference(case: Row, theirs: Row) -> str:
    """What we say otherwise, or nothing."""
    return told(ours(case), theirs)


def told(said: Row, theirs: Row) -> str:
    """What of an answer is not theirs, or nothing."""
    if not said["valid"] and re.search(r"a rank are not a multiple of (the quantization group|\d+$)", said["error"]):
        return ""  # built by vLLM for some kernels, but no checkpoint has such groups or packs: they are loaded wrong
    if not theirs["valid"] and CANNOT_SAY.search(theirs["error"]):
        return ""
    if not said["valid"] or not theirs["valid"]:
        if said["valid"] == theirs["valid"]:
            return ""
        return f"vLLM refuses: {theirs['error']}" if said["valid"] else f"we refuse: {said['error']}"
    keys = [key for key in said if key in theirs and said[key] != theirs[key]]
    return ", ".join(f"{key} {said[key]:,} not {theirs[key]:,} ({said[key] - theirs[key]:+,})" for key in keys)


def compared(asked: Sequence[Row], answers: Sequence[Row]) -> list[str]:
    """One line for each case that we answer otherwise."""
    lines = []
    for number, (case, theirs) in enumerate(zip(asked, answers, strict=True)):
        if line := difference(case, theirs):
            lines.append(f"{number} {case['model']} {case['format']} {case['way']} stage {case['stage']}: {line}")
    return lines


def main(arguments: Sequence[str]) -> None:
    """Ask and print."""
    count, seed = (int(number) for number in (*arguments, "300", "0")[:2]) if len(arguments) != 1 else (int(arguments[0]), 0)
    asked = list(cases(count, seed))
    lines = compared(asked, ask([question(case) for case in asked]))
    print(*lines, f"{len(lines)} of {count} otherwise, seed {seed}", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])

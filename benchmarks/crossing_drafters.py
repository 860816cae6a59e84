"""Targets with what drafts for them, before vLLM itself: `python -m benchmarks.crossing_drafters [COUNT [SEED]]` lists what we say otherwise.

A case is a target's real config.json with fewer layers, a drafter (the target's own predicting layers, or a checkpoint made in the shape that its class
reads), a quantization of each, and a division over GPUs. vLLM's own loader builds both on the meta device and shares what they share; bytes of a rank's
weights, of the drafter's own among them, of a block of the cache and who refuses are compared. Cases are drawn by SEED.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from benchmarks.crossing import AVAILABLE, LENGTH, MEMORY, plain_configs, told, tower_names
from benchmarks.crossing_formats import FORMATS, quantized
from benchmarks.drafter_configs import DRAFTERS, PREDICTS, WORDS, checkpoint
from benchmarks.judge_rows import GPU, Row, ask
from planner.architecture import Config, build_model
from planner.catalogue.load import find_gpu
from planner.engines.catalogue import Source
from planner.engines.vllm.check import check
from planner.engines.vllm.drafter import drafted
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.memory import place
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup

WAYS: tuple[tuple[str, int], ...] = (
    *((f"-tp {tp}", 0) for tp in (1, 2, 4, 8)),
    *((f"-tp {tp} -pp 2", stage) for tp in (1, 2) for stage in (0, 1)),
    *((f"-tp {tp} --enable-expert-parallel", 0) for tp in (2, 4)),
)
DENSE = WAYS[:8]
BRINGS_WORDS = ("EagleMiniCPMForCausalLM", "EagleDeepSeekMTPModel")  # a later stage of their targets has no words
DRAFT_FORMATS = ("ct-fp8-dynamic", "fp8-block", "ct-w4a16", "awq", "modelopt-nvfp4")
LEFT_OUT: Mapping[str, Sequence[Sequence[str]]] = {
    "ignore": (["re:.*mtp.*"], ["re:^mtp.*"], []),
    "modules_to_not_convert": (["mtp.fc"], ["mtp"], []),
    "exclude": (["re:.*mtp.*"], []),
}


def cases(count: int, seed: int) -> Iterator[Row]:
    """So many cases: a drafter, one of its targets, formats of both, a division."""
    random, configs = Random(seed), plain_configs()
    names = sorted(DRAFTERS)
    for _ in range(count):
        yield case(random.choice(names), random, configs)


def target_config(name: str, plain: Row) -> Row:
    """A target's config with what its drafter needs of it and the file leaves out."""
    kind, target = DRAFTERS[name], json.loads(json.dumps(plain))
    text = target.get("text_config") or target
    text.update(kind.target_keys)
    target.update(kind.outer_keys)
    if name == "Step3p5MTP":  # its file tells the kinds of the predicting layers behind those of its own
        text["layer_types"] = [*text["layer_types"], *["sliding_attention"] * PREDICTS["num_nextn_predict_layers"]]
    made: Row = target
    return made


def case(name: str, random: Random, configs: Mapping[str, Row]) -> Row:
    """One case of a drafter."""
    kind = DRAFTERS[name]
    stem = random.choice([stem for stem in kind.targets if stem in configs])
    target = target_config(name, configs[stem])
    formats = random.choices(list(FORMATS), weights=list(FORMATS.values()))[0] if random.random() < 0.5 else "none"
    section = _leaving_out(quantized(formats, target, tower_names(target), random), random) if formats != "none" else {}
    drafter = checkpoint(name, target, random) if kind.is_separate else None
    draft_format = random.choice(DRAFT_FORMATS) if drafter and random.random() < 0.3 else "none"
    if drafter and draft_format != "none":
        layer = drafter.get("transformer_layer_config", drafter)
        layer |= quantized(draft_format, {"architectures": [name], **layer}, [], random)
    ways = WAYS if "expert" in json.dumps(target) else DENSE
    way, stage = random.choice(ways[:4] if kind.method == "draft_model" else ways)  # in a pipeline the class builds a stage of a small model too
    asked: Row = {"method": kind.method, "num_speculative_tokens": kind.tokens or random.choice([1, 2, 3, 4])} | ({"model": "drafter"} if drafter else {})
    if kind.is_parallel:
        asked["parallel_drafting"] = True
    return {
        "drafter": name,
        "model": stem,
        "format": formats,
        "draft_format": draft_format,
        "way": way,
        "stage": stage,
        "section": section,
        "config": target | section,
        "draft_config": drafter,
        "own": [*kind.own, *((WORDS,) if "-pp" in way and name in BRINGS_WORDS else ())],
        "asked": asked,
    }


def _leaving_out(section: Row, random: Random) -> Row:
    """The section with what lists of checkpoints say of predicting layers."""
    made = section.get("quantization_config", {})
    for key, choices in LEFT_OUT.items():
        if isinstance(made.get(key), list):
            made[key] = [*made[key], *random.choice(choices)]
    return section


def words(case: Row) -> list[str]:
    """The flags of a case."""
    return [*case["way"].split(), "--max-model-len", str(LENGTH), "--speculative-config", json.dumps(case["asked"])]


def question(case: Row) -> Row:
    """What the judge is asked; where we refuse a pipeline, its last stage: a first one alone may well be built."""
    stage = 1 if "-pp" in case["way"] and not ours(case)["valid"] else case["stage"]
    asked = {"config": case["config"], "hf_quant": None, "argv": ["vllm", "serve", "x", *words(case)], "plan": True, "available_bytes": AVAILABLE}
    return asked | {"stage": stage, "drafter": case["draft_config"], "own": case["own"]}


class Shelf:
    """A catalogue of one drafter."""

    def __init__(self, config: Row) -> None:
        self.config = config

    def find_source(self, name: str, online: str | None = None) -> Source:
        """The drafter."""
        return Source(name, name, build_model(Config(self.config, name), name, online=online), config=self.config)


def ours(case: Row) -> Row:
    """Our answer in the judge's terms."""
    values, _, _ = parse_flags(["x", *words(case)], DEFAULT_VERSION)
    group = GpuGroup(gpu=find_gpu(GPU), count=8)
    try:
        source = Source("x", "x", build_model(Config(case["config"], "x"), "x"), config=case["config"])
        values, made = drafted(values, source, Shelf(case["draft_config"] or {}), DEFAULT_VERSION)  # type: ignore[arg-type]
        if made.missing:
            return {"valid": False, "error": f"not known: {made.missing.what}"}
        checked = check(values, [], made.model, group, repo="x", argv=["vllm", "serve", "x", *words(case)], version=DEFAULT_VERSION)
        refused = [problem.message for problem in checked.problems if problem.code not in MEMORY]
        if refused:
            return {"valid": False, "error": refused[0]}
        placed = place(made.model, group, checked.config)
    except PlannerError as error:
        return {"valid": False, "error": str(error)}
    last = case["stage"] == len(placed.created) - 1
    answer = {"valid": True, "weight_bytes": placed.created[case["stage"]] + (placed.drafter_created if last else 0)}
    if "-pp" in case["way"]:
        return answer
    return answer | {"drafter_bytes": placed.drafter_created, "block_bytes": placed.cache.block_bytes}


def difference(case: Row, theirs: Row) -> str:
    """What we say otherwise, or nothing."""
    return told(ours(case), theirs)


def compared(asked: Sequence[Row], answers: Sequence[Row]) -> list[str]:
    """One line for each case that we answer otherwise."""
    lines = []
    for number, (case, theirs) in enumerate(zip(asked, answers, strict=True)):
        if line := difference(case, theirs):
            lines.append(f"{number} {case['drafter']} ({case['draft_format']}) of {case['model']} {case['format']} {case['way']} stage {case['stage']}: {line}")
    return lines


def frozen(case: Row, theirs: Row) -> Row:
    """A case as tests/data keeps it; `thawed` gives it back."""
    return {key: value for key, value in case.items() if key != "config"} | {"theirs": theirs}


def thawed(row: Row, configs: Mapping[str, Row]) -> Row:
    """The case of a frozen row."""
    return row | {"config": target_config(row["drafter"], configs[row["model"]]) | json.loads(json.dumps(row["section"]))}


def main(arguments: Sequence[str]) -> None:
    """Ask and print."""
    count, seed = (int(number) for number in (*arguments, *("300", "0")[len(arguments) :])[:2])
    asked = list(cases(count, seed))
    answers = ask([question(case) for case in asked])
    lines = compared(asked, answers)
    print(*lines, f"{len(lines)} of {count} otherwise, seed {seed}", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Flags that divide or keep otherwise, crossed with classes and quantizations, before vLLM itself: `python -m benchmarks.crossing_flags [COUNT [SEED]]`.

Stages of unequal length, decode context parallelism, balanced experts, layers whose cache keeps the model's dtype, the hybrid manager off, packed caches. What is compared
is as in benchmarks/crossing.py, cases are drawn by SEED. What torchao quantized is asked nowhere: the judge's environment has no torchao.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.crossing import compared, plain_configs, question, tower_names
from benchmarks.crossing_formats import FORMATS, quantized
from benchmarks.judge_rows import Row, ask
from planner.architecture import Config, build_model
from planner.engines.vllm.dtypes import SLOTS
from planner.errors import PlannerError

KINDS = ("partition", "uneven", "dcp", "eplb", "skipped", "one-kind", "packed")

PACKED = (*SLOTS, "nvfp4_ds_mla", "fp8_inc")  # nvfp4_4over6 is FlashInfer's, which the judge lacks


def cases(count: int, seed: int) -> Iterator[Row]:
    """So many cases, a kind each in turn."""
    random, configs = Random(seed), plain_configs()
    by_class: dict[str, list[str]] = {}
    for stem, config in configs.items():
        by_class.setdefault(config["architectures"][0], []).append(stem)
    names = sorted(by_class)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        while True:
            stem = random.choice(by_class[random.choice(names)])
            if kind != "eplb" or "expert" in json.dumps(configs[stem]):
                break
        yield case(kind, stem, configs[stem], random)


def case(kind: str, stem: str, plain: Row, random: Random) -> Row:
    """One case of a kind."""
    config = json.loads(json.dumps(plain))
    name = "none" if random.random() < 0.6 else random.choices(list(FORMATS), weights=list(FORMATS.values()))[0]
    section = quantized(name, config, tower_names(config), random)
    way, stage, env = flags(kind, layers_of(config), random)
    return {"model": stem, "format": name, "way": way, "stage": stage, "env": env, "section": section, "config": config | section, "kind": kind}


def layers_of(config: Row) -> int:
    """Layers of a model, as it is built here; eight where it is not known."""
    try:
        return build_model(Config(config, "config.json"), "made").layer_count
    except PlannerError:
        return 8


def flags(kind: str, layers: int, random: Random) -> tuple[str, int, dict[str, str]]:
    """The flags of a kind, the stage that is looked at, what is set for it."""
    tp = random.choice([1, 2, 4])
    match kind:
        case "partition":
            first = random.randrange(1, max(2, layers))
            return f"-tp {tp} -pp 2", random.choice([0, 1]), {"VLLM_PP_LAYER_PARTITION": f"{first},{layers - first}"}
        case "uneven":
            stages = random.choice([3, 5])
            return f"-tp 1 -pp {stages}", random.randrange(stages), {}
        case "dcp":
            size = random.choice([2, 4, 8])
            return f"-tp {max(size, tp)} --decode-context-parallel-size {size}", 0, {}
        case "eplb":
            copies = random.choice([0, 0, 2, 8])
            more = f" --eplb-config.num_redundant_experts {copies}" if copies else ""
            return f"-tp {random.choice([2, 4])} --enable-expert-parallel --enable-eplb{more}", 0, {}
        case "skipped":
            listed = random.choice(["0", "1", "0 3", "sliding_window", f"0 {max(0, layers - 1)}"])
            return f"-tp {tp} --kv-cache-dtype fp8 --kv-cache-dtype-skip-layers {listed}", 0, {}
        case "packed":
            return f"-tp {tp} --kv-cache-dtype {random.choice(PACKED)}", 0, {}
        case _:
            return f"-tp {tp} --disable-hybrid-kv-cache-manager", 0, {}


def main(arguments: Sequence[str]) -> None:
    """Ask and print."""
    count, seed = (int(number) for number in (*arguments, *("300", "0")[len(arguments) :])[:2])
    asked = list(cases(count, seed))
    lines = compared(asked, ask([question(case) for case in asked]))
    print(*lines, f"{len(lines)} of {count} otherwise, seed {seed}", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])

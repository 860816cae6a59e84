"""Models of other shapes, quantized in other words, before vLLM itself: `python -m benchmarks.crossing_shapes [COUNT [SEED]]` lists what we say otherwise.

A case is a case of benchmarks/crossing.py whose config was changed as fine-tuners and people who prune or merge change theirs (layers, heads, widths, words,
tied heads, experts), and whose quantization says more than one thing: groups of targets, patterns, layers of their own bits, schemes of the cache. What is
compared is the same. Cases are drawn by SEED.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from benchmarks.crossing import DENSE, WAYS, compared, plain_configs, question, tower_names
from benchmarks.crossing_formats import FORMATS, QUARK, SCHEMES, TOWERS, Row, quantized
from benchmarks.judge_rows import ask

_DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_WIDTHS = ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_hidden_size", "n_inner")
# of these the depth, the kinds of layers or the caches hang together in ways that a changed number alone does not keep
_WHOLE = ("num_kv_shared_layers", "decoder_layers", "hybrid_layer_ids", "block_configs", "hybrid_override_pattern", "n_layers")


def cases(count: int, seed: int) -> Iterator[Row]:
    """So many cases: an architecture, one of its configs changed, a format and its words, a division."""
    random, configs = Random(seed), plain_configs()
    by_class: dict[str, list[str]] = {}
    for stem, config in configs.items():
        by_class.setdefault(config["architectures"][0], []).append(stem)
    names = sorted(by_class)
    for _ in range(count):
        stem = random.choice(by_class[random.choice(names)])
        config = json.loads(json.dumps(configs[stem]))
        changed = reshaped(config, random)
        kind = random.choices(list(FORMATS), weights=list(FORMATS.values()))[0] if random.random() < 0.75 else "none"
        way, stage = random.choice(WAYS if "expert" in json.dumps(config) else DENSE)
        config |= reworded(kind, quantized(kind, config, tower_names(config), random), config, random)
        yield {"model": stem, "format": kind, "way": way, "stage": stage, "config": config, "changed": changed}


def reshaped(config: Row, random: Random) -> list[str]:
    """Change a config in one to three ways; which were."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    ways = {"depth": _depth, "words": _words, "tied": _tied, "heads": _heads, "width": _width, "experts": _experts, "biased": _biased}
    chosen = random.sample(sorted(ways), random.choice([1, 1, 2, 3]))
    return [told for name in chosen if (told := ways[name](config, text, random))]


def _depth(config: Row, text: Row, random: Random) -> str:
    key = next((key for key in _DEPTHS if isinstance(text.get(key), int)), "")
    if not key or any(text.get(name) for name in _WHOLE if name != key):
        return ""
    before, after = text[key], random.choice([3, 5, 6, 7, 9, 12])
    for name, value in text.items():
        if isinstance(value, list) and len(value) == before:
            text[name] = [value[index % before] for index in range(after)]
    text[key] = after
    return f"{key} {after}"


def _words(config: Row, text: Row, random: Random) -> str:
    if not isinstance(text.get("vocab_size"), int):
        return ""
    words = random.choice([text["vocab_size"] + 1, text["vocab_size"] + 5, 32_001, 50_257, text["vocab_size"] + 64, 151_643])
    words = max(words, text["vocab_size"])
    for section in (config, text):
        if "vocab_size" in section:
            section["vocab_size"] = words
    return f"vocab_size {words}"


def _tied(config: Row, text: Row, random: Random) -> str:
    where = random.choice(["inner", "outer", "both"])
    tied = not text.get("tie_word_embeddings", config.get("tie_word_embeddings", True))
    for section, named in ((text, "inner"), (config, "outer")):
        if where in (named, "both"):
            section["tie_word_embeddings"] = tied
    return f"tied {where} {tied}"


def _heads(config: Row, text: Row, random: Random) -> str:
    heads, kv_heads, hidden = text.get("num_attention_heads"), text.get("num_key_value_heads"), text.get("hidden_size")
    if not (isinstance(heads, int) and isinstance(kv_heads, int) and isinstance(hidden, int)) or "kv_lora_rank" in text or not kv_heads:
        return ""
    if not isinstance(text.get("head_dim"), int) or text["head_dim"] * heads == hidden:  # as wide as its heads, as such classes want it
        if hidden % heads:
            return ""
        if random.random() < 0.5 or config is not text:
            text["num_key_value_heads"] = random.choice([n for n in (1, 2, 4, 8, heads) if heads % n == 0])
            return f"num_key_value_heads {text['num_key_value_heads']}"
        more = random.choice([12, 20, 24, 40])
        text["hidden_size"], text["num_attention_heads"] = more * hidden // heads, more
        text["num_key_value_heads"] = random.choice([n for n in (1, 2, 4, 8, more) if more % n == 0])
        return f"hidden_size {text['hidden_size']} heads {more}/{text['num_key_value_heads']}"
    text["num_attention_heads"], text["num_key_value_heads"] = random.choice([(12, 2), (24, 8), (16, 4), (20, 4), (8, 1), (32, 16), (14, 2)])
    return f"heads {text['num_attention_heads']}/{text['num_key_value_heads']}"


def _width(config: Row, text: Row, random: Random) -> str:
    keys = [key for key in _WIDTHS if isinstance(text.get(key), int) and text[key]]
    if not keys:
        return ""
    key = random.choice(keys)
    text[key] = random.choice([1408, 2816, 4864, 8960, 1536, 768, 704, 6912])
    return f"{key} {text[key]}"


def _experts(config: Row, text: Row, random: Random) -> str:
    key = next((key for key in _EXPERTS if isinstance(text.get(key), int) and text[key] > 1), "")
    if not key or text.get("n_group", 1) not in (None, 1):
        return ""
    text[key] = random.choice([12, 24, 40, 60, 72, 96])
    return f"{key} {text[key]}"


def _biased(config: Row, text: Row, random: Random) -> str:
    key = next((key for key in ("attention_bias", "mlp_bias", "qkv_bias", "use_qk_norm", "norm_topk_prob", "use_bias") if isinstance(text.get(key), bool)), "")
    if not key:
        return ""
    text[key] = not text[key]
    return f"{key} {text[key]}"


def reworded(kind: str, keys: Row, config: Row, random: Random) -> Row:
    """The same section in more words, as checkpoints of mixed formats have them; half of the time as it is."""
    section = keys.get("quantization_config")
    if not section or random.random() < 0.35:
        return keys
    whole = not any(key in config for key in (*TOWERS, "text_config"))  # else each class has names of its own
    if kind in SCHEMES:
        _groups(section, random, whole)
    elif kind in QUARK:
        _layers_of_quark(section, random)
    elif kind == "awq":
        section["modules_to_not_convert"] = [
            *(section["modules_to_not_convert"] or []),
            *random.choice([["layers.0."], ["self_attn"], ["mlp.gate"], ["o_proj"]]),
        ]
    elif kind.startswith("gptq"):
        section["dynamic"] = {**section.get("dynamic", {}), **_drawn(_DYNAMIC, random, whole)}
    elif kind == "autoround":
        section["extra_config"] = {**section["extra_config"], **_drawn(_EXTRA, random, whole)}
        if whole and random.random() < 0.3:
            section["block_name_to_quantize"] = random.choice(["model.layers", ["model.layers"], "model.language_model.layers,model.layers"])
    elif kind.startswith("modelopt"):
        section["ignore"] = [*section["ignore"], *_drawn(_IGNORED, random, whole)]
    elif kind.startswith("fp8-") and whole:
        key = next((key for key in ("modules_to_not_convert", "ignored_layers") if key in section), "modules_to_not_convert")
        section[key] = [*section.get(key, []), *random.choice(_NAMED)]
    return {"quantization_config": section}


_DYNAMIC: tuple[Row, ...] = (
    {r"+:model\.layers\.[0-3]\..*": {"bits": 8, "group_size": 128}},
    {r"-:.*self_attn.*": {}},
    {r"-:.*layers\.0\..*": {}},
    {r".*down_proj.*": {"bits": 8}},
    {r"+:.*self_attn.*": {"bits": 8, "group_size": 32}, r"-:.*\.1\.mlp.*": {}},
    {"-:.*shared_expert.*": {}, "-:.*mlp.gate$": {}},
)
_EXTRA: tuple[Row, ...] = (
    {"model.layers.0.self_attn.o_proj": {"bits": 8}},
    {r".*self_attn.*": {"bits": 8, "group_size": 128}},
    {r"model\.layers\.[01]\..*": {"bits": 16}},
    {"lm_head": {"bits": 4, "group_size": 128}},
    {r".*shared_expert.*": {"bits": 16, "data_type": "float"}, r".*mlp\.gate$": {"bits": 16}},
    {"model.layers.1.mlp.down_proj": {"bits": 16}},
)
_IGNORED: tuple[Sequence[str], ...] = (
    ["model.layers.0*"],
    ["model.layers.0.self_attn*"],
    ["*.o_proj"],
    ["model.layers.1.mlp*", "model.layers.2.mlp*"],
    ["*mlp.down_proj*"],
    ["*shared_expert*"],
    ["model.layers.0.self_attn.o_proj"],
    ["*linear_attn*", "*mixer*"],
)
_PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
_NAMED: tuple[Sequence[str], ...] = (
    [f"model.layers.0.{part}" for part in _PARTS],
    ["model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj"],
    ["model.layers.1.self_attn.o_proj"],
    ["model.layers.0", "model.layers.1"],
    ["model.layers.0.mlp.gate", "model.layers.1.mlp.gate", "model.layers.2.mlp.shared_expert_gate"],
    ["model.layers.2.self_attn"],
)
_IGNORE: tuple[Sequence[str], ...] = (
    ["re:.*self_attn.*"],
    ["re:.*layers\\.0\\..*"],
    [f"model.layers.0.{part}" for part in _PARTS],
    ["re:.*o_proj"],
    ["re:.*linear_attn.*", "re:.*mixer.*", "re:.*mamba.*"],
    ["re:.*shared_expert.*", "re:.*mlp.gate$"],
    ["re:model[.]layers[.](0|1)[.]mlp[.].*"],
)


def _drawn(lists: Sequence[Any], random: Random, whole: bool) -> Any:
    """One of these; of a model with a tower, one that names no module by its whole name."""
    return random.choice([names for names in lists if whole or not re.search(r"model\\*\[?\.", str(names))])


def _groups(section: Row, random: Random, whole: bool) -> None:
    """Two groups of targets, more that is left out, a scheme of the cache."""
    drawn = random.random()
    if drawn < 0.4:
        layout, weights, inputs = SCHEMES[random.choice(sorted(SCHEMES))]
        mine = {**section["config_groups"]["group_0"]}
        words, others = random.choice(
            [("re:.*self_attn.*", "re:.*mlp.*"), ("re:.*mlp.*", "re:.*self_attn.*"), ("re:.*down_proj", "Linear"), ("re:.*o_proj$", "Linear")]
        )
        other = {"targets": [words], "weights": weights, "input_activations": inputs, "output_activations": None, "format": layout}
        section["config_groups"] = {"group_0": other, "group_1": {**mine, "targets": [others]}}
        section["format"] = "mixed-precision"
    elif drawn < 0.8:
        section["ignore"] = [*section["ignore"], *_drawn(_IGNORE, random, whole)]
    if random.random() < 0.35:
        strategy = random.choice(["tensor", "tensor", "attn_head"])
        section["kv_cache_scheme"] = {"num_bits": 8, "type": "float", "strategy": strategy, "dynamic": False, "symmetric": True}


def _layers_of_quark(section: Row, random: Random) -> None:
    """A scheme of their own for layers by pattern."""
    weight, inputs = QUARK[random.choice(sorted(QUARK))]
    pattern = random.choice(["*self_attn*", "*.o_proj", "model.layers.0.*", "*mlp.down_proj", "*shared_expert*"])
    if random.random() < 0.7:
        section["layer_quant_config"] = {pattern: {"weight": weight, "input_tensors": inputs, "bias": None, "output_tensors": None}}
    else:
        section["exclude"] = [
            *section["exclude"],
            *random.choice([["re:.*self_attn.*"], [f"model.layers.0.{part}" for part in _PARTS], ["re:.*layers[.]1[.].*"]]),
        ]


def main(arguments: Sequence[str]) -> None:
    """Ask and print."""
    count, seed = (int(number) for number in (*arguments, *("300", "0")[len(arguments) :])[:2])
    asked = list(cases(count, seed))
    lines = compared(asked, ask([question(case) for case in asked]))
    for line in lines:
        case = asked[int(line.split()[0])]
        print(line, f"[{', '.join(case['changed'])}]")
    print(f"{len(lines)} of {count} otherwise, seed {seed}")


if __name__ == "__main__":
    main(sys.argv[1:])

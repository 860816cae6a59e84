"""Since which release Ollama before 0.30 read an architecture: by the llama.cpp that it carried, or by its own engine.

Read off the sources of every release from 0.4.0 to 0.24.0: the names in llama/llama.cpp/src/llama-arch.cpp (llama/llama-arch.cpp before 0.5.13) and those
that model/models registers; the earlier of both. What 0.4.0 reads already is not listed.
"""

from __future__ import annotations

import re

from planner.engines.llamacpp.model import GgufModel
from planner.engines.llamacpp.ollama_own import is_before
from planner.facts.plan import Problem
from planner.text import shown

_AFTER_0_11 = (0, 11, 5)  # whose llama.cpp is of August 2025
# How a class of a config.json begins -> the name in a file, and the first release that knows it.
_SINCE: dict[str, tuple[str, tuple[int, ...]]] = {
    "afmoe": ("afmoe", (0, 13, 2)),
    "apertus": ("apertus", (0, 12, 6)),
    "arcee": ("arcee", _AFTER_0_11),
    "bailingmoe": ("bailingmoe", (0, 6, 6)),
    "bailingmoev2": ("bailingmoe2", (0, 12, 11)),
    "cohere2": ("cohere2", (0, 5, 5)),
    "deepseekocr": ("deepseekocr", (0, 13, 0)),
    "dots1": ("dots1", _AFTER_0_11),
    "ernie45": ("ernie4_5", _AFTER_0_11),
    "ernie45moe": ("ernie4_5-moe", _AFTER_0_11),
    "exaone4": ("exaone4", _AFTER_0_11),
    "falconh1": ("falcon-h1", _AFTER_0_11),
    "gemma3": ("gemma3", (0, 6, 0)),
    "gemma3n": ("gemma3n", (0, 9, 3)),
    "gemma4": ("gemma4", (0, 20, 0)),
    "glm4": ("glm4", (0, 6, 6)),
    "glm4moe": ("glm4moe", _AFTER_0_11),
    "glm4moelite": ("glm4moelite", (0, 14, 3)),
    "glmocr": ("glmocr", (0, 15, 5)),
    "gptoss": ("gptoss", (0, 11, 0)),
    "granitemoehybrid": ("granitehybrid", _AFTER_0_11),
    "grovemoe": ("grovemoe", (0, 12, 4)),
    "hunyuandense": ("hunyuan-dense", _AFTER_0_11),
    "hunyuanmoe": ("hunyuan-moe", _AFTER_0_11),
    "jamba": ("jamba", _AFTER_0_11),
    "lfm2": ("lfm2", _AFTER_0_11),
    "lfm2moe": ("lfm2moe", (0, 12, 6)),
    "llama4": ("llama4", (0, 6, 6)),
    "minimaxm2": ("minimax-m2", (0, 13, 2)),
    "mistral3": ("mistral3", (0, 6, 5)),
    "nemotronh": ("nemotron_h", (0, 12, 4)),
    "nemotronhmoe": ("nemotron_h_moe", (0, 13, 4)),
    "nomicbertmoe": ("nomic-bert-moe", (0, 6, 8)),
    "olmo2": ("olmo2", (0, 5, 2)),
    "olmo3": ("olmo3", (0, 13, 4)),
    "phimoe": ("phimoe", (0, 5, 13)),
    "plamo2": ("plamo2", _AFTER_0_11),
    "qwen2vl": ("qwen2vl", (0, 5, 3)),
    "qwen25vl": ("qwen25vl", (0, 7, 0)),
    "qwen3": ("qwen3", (0, 6, 6)),
    "qwen3moe": ("qwen3moe", (0, 6, 6)),
    "qwen3next": ("qwen3next", (0, 13, 2)),
    "qwen3vl": ("qwen3vl", (0, 12, 7)),
    "qwen3vlmoe": ("qwen3vlmoe", (0, 12, 7)),
    "qwen35": ("qwen35", (0, 17, 1)),
    "qwen35moe": ("qwen35moe", (0, 17, 1)),
    "seedoss": ("seed_oss", (0, 12, 4)),
    "smallthinker": ("smallthinker", _AFTER_0_11),
    "smollm3": ("smollm3", _AFTER_0_11),
}
# Names that only Ollama's own files have: others' say llama, qwen2vl, deepseek2 or olmo2, which are older.
_OF_ITS_LIBRARY = ("glm4moelite", "mistral3", "olmo3", "qwen25vl")
_OF_OTHERS = ("hf.co/", "huggingface.co/")


def too_new(model: GgufModel, version: str | None, tag: str) -> list[Problem]:
    """What a release says that does not know a model's architecture; nothing of one that does, and of what no tag of Ollama's library names and may have another name."""
    plain = re.sub(r"[_-]", "", model.architecture.lower())
    if plain.startswith("nemotronh") and model.has_experts:
        plain = "nemotronhmoe"
    if plain.startswith("nomicbert") and model.has_experts:
        plain = "nomicbertmoe"
    known = max((name for name in _SINCE if plain.startswith(name)), key=len, default="")
    name, first = _SINCE.get(known, ("", (0,)))
    if not is_before(version, first) or (known in _OF_ITS_LIBRARY and (not tag or tag.startswith(_OF_OTHERS))):
        return []
    message = f"Ollama {shown(str(version))}: unknown model architecture: '{name}'"
    return [Problem(code="unsupported", message=message, fix=f"Ollama {'.'.join(map(str, first))} or later")]

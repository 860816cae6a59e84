"""What a command's flags say of where layers and tensors lie, and on which cards.

Sources: llama.cpp common/arg.cpp --cpu-moe, --n-cpu-moe, --override-tensor, --tensor-split, --main-gpu, --device; common/fit.cpp, which leaves a model
alone whose tensors or shares are placed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from planner.engines.llamacpp.compute import has_foreign_scores
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import GgufModel
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup, mixed_group
from planner.facts.not_covered import NotCovered
from planner.facts.settings import Value

_HOST = re.compile(r"(?:CPU|[A-Za-z]+_Host)\Z")
# Architectures that --split-mode tensor refuses, by how their classes and their names in a file begin.
_NOT_IN_PARTS = (
    *("bailingmoe", "bitnet", "deepseek", "falconh1", "gemma3n", "glmdsa", "glmmoedsa", "granitehybrid", "granitemoehybrid", "grok", "hyv4", "jamba"),
    *("kimi", "mamba", "minicpm3", "minimax", "mistral4", "mpt", "nemotronh", "olmo2", "olmoe", "plamo2", "qwen3tts", "qwen4exp", "t5"),
)
# Names that a pattern for parts of the feed-forward block does not match.
_OTHERS = ("blk.0.attn_q.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output.weight", "output_norm.weight")


def config_by_hand(config: LlamaCppConfig, settings: Mapping[str, Value], model: GgufModel, gpus: int) -> LlamaCppConfig:
    """A configuration with what flags place."""
    layers = model.layer_count if settings.get("cpu_moe") else int(settings.get("n_cpu_moe") or 0)
    shares = _shares(str(settings.get("tensor_split") or ""))[:gpus]
    return replace(
        config,
        cpu_moe_layers=max(0, layers),
        overrides=tuple(pair for pair in overrides(settings) if _is_known(*pair)),
        split_tensors=gpus > 1 and settings.get("split_mode") == "tensor",
        tensor_split=(*shares, *[0.0] * (gpus - len(shares))) if any(shares) else (),
    )


def is_by_hand(config: LlamaCppConfig, gpus: int) -> bool:
    """Whether the fit leaves layers alone: tensors have their places or lie in parts, or several GPUs their shares."""
    return bool(config.cpu_moe_layers or config.overrides or config.split_tensors or (gpus > 1 and config.tensor_split))


def cards_used(settings: Mapping[str, Value], group: GpuGroup, *, is_split: bool) -> GpuGroup:
    """The cards that --device names, in its order, or where nothing is split the one that --main-gpu names."""
    named = [name for name in str(settings.get("device") or "").split(",") if name and name != "none"]
    numbers = [int(match[0]) for name in named if (match := re.search(r"\d+\Z", name))] if named else list(range(group.count))
    members = group.members
    if not is_split:
        main = int(settings.get("main_gpu") or 0)
        numbers = numbers[main : main + 1] or numbers[:1]
    cards = tuple(members[number].gpu for number in numbers if number < len(members)) or (members[0].gpu,)
    return mixed_group(cards, group)


def uncovered(settings: Mapping[str, Value]) -> list[NotCovered]:
    """Tensors that are placed where the ledger does not follow."""
    pairs = [f"{pattern}={device}" for pattern, device in overrides(settings) if not _is_known(pattern, device)]
    return [NotCovered(flag=f"--override-tensor {pairs[0]}", what="tensors placed by hand", effect="either")] if pairs else []


def divided(said: Iterable[tuple[str, Value]], gpus: int, config: LlamaCppConfig, model: GgufModel) -> tuple[NotCovered, ...]:
    """Tensors that several GPUs hold parts of, where the ledger does not follow: rows, which today's llama.cpp refuses on CUDA, or parts beside main memory."""
    if has_foreign_scores(model, config):
        return (NotCovered(flag="--flash-attn off", what="scores of a layer larger than a buffer of Vulkan can be", effect="either"),)
    mode = str(dict(said).get("split_mode") or "layer")
    if mode not in ("row", "tensor") or gpus < 2 or (config.split_tensors and _lies_in_parts(config, model)):
        return ()
    return (NotCovered(flag=f"--split-mode {mode}", what="tensors divided over GPUs", effect="either"),)


def _lies_in_parts(config: LlamaCppConfig, model: GgufModel) -> bool:
    """Whether all of a model lies in parts on GPUs, one whose architecture llama.cpp divides so (src/llama-arch.cpp llm_arch_supports_sm_tensor)."""
    layers = config.gpu_layers
    is_apart = config.cpu_moe_layers or config.overrides or config.drafter or not config.kv_on_gpu or not config.flash_attention
    is_whole = layers is None or layers > model.layer_count
    return is_whole and not is_apart and not re.sub(r"[-_]", "", model.architecture.lower()).startswith(_NOT_IN_PARTS)


def _shares(text: str) -> list[float]:
    """--tensor-split: 3,1 or 3/1; what is no number counts as nothing, as C's stof would refuse it."""
    return [float(part) if re.fullmatch(r"\s*+\d++\.?+\d*+\s*+", part) else 0.0 for part in re.split(r"[,/]+", text) if part]


def overrides(settings: Mapping[str, Value]) -> list[tuple[str, str]]:
    """--override-tensor: pattern=device, several with commas between them."""
    pairs = []
    for part in str(settings.get("override_tensor") or "").split(","):
        pattern, sign, device = part.partition("=")
        if sign:
            pairs.append((pattern, "CPU" if _HOST.match(device) else device))
    return pairs


def _is_known(pattern: str, device: str) -> bool:
    """Whether it is parts of feed-forward blocks that go to main memory."""
    from planner.patterns import foreign_pattern

    try:
        return device == "CPU" and not any(foreign_pattern(pattern).search(name) for name in _OTHERS)
    except PlannerError:
        return False

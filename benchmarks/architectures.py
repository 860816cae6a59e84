"""Which of the architectures that vLLM names are known: `python -m benchmarks.architectures` reads its registry anew and rewrites docs/architectures.md.

The registry is read off the newest release's own file where its environment is at hand; else off tests/data, where it was frozen.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.drafter_configs import NOT_COMPARED
from planner.architecture.families import FAMILIES
from planner.architecture.families.dropped import DROPPED, PLUGINS
from planner.engines.vllm.versions import DEFAULT_VERSION

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architectures.md"
FROZEN = ROOT / "tests" / "data" / f"vllm_{DEFAULT_VERSION}_registry.json"
Registry = Mapping[str, list[str]]

GROUPS = {
    "_TEXT_GENERATION_MODELS": "Text",
    "_MULTIMODAL_MODELS": "Images, sound and text",
    "_EMBEDDING_MODELS": "Embedding",
    "_LATE_INTERACTION_MODELS": "Late interaction",
    "_REWARD_MODELS": "Reward",
    "_TOKEN_CLASSIFICATION_MODELS": "Token classification",
    "_SEQUENCE_CLASSIFICATION_MODELS": "Sequence classification",
    "_SPECULATIVE_DECODING_MODELS": "Drafters",
    "_TRANSFORMERS_SUPPORTED_MODELS": "Built by the Transformers backend",
    "_TRANSFORMERS_BACKEND_MODELS": "The Transformers backend itself",
}


def newest() -> Registry:
    """The names of each group, from the release's own registry.py."""
    home = Path.home() / ".cache" / "serve-plan" / f"vllm-{DEFAULT_VERSION}" / "lib"
    tree = ast.parse(next(home.glob("python3*/site-packages/vllm/model_executor/models/registry.py")).read_text())
    groups: dict[str, list[str]] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id in GROUPS and isinstance(value := getattr(node, "value", None), ast.Dict):
            groups[GROUPS[target.id]] = sorted(str(key.value) for key in value.keys if isinstance(key, ast.Constant))
    return {title: groups[title] for title in GROUPS.values()}


def frozen() -> Registry:
    """The registry as it was read last."""
    loaded: Registry = json.loads(FROZEN.read_text())
    return loaded


def counts(registry: Registry) -> tuple[int, int]:
    """Names that are known, and all."""
    names = {name for group in registry.values() for name in group}
    return len(names & set(FAMILIES)), len(names)


def page(registry: Registry) -> str:
    """The text of docs/architectures.md."""
    known, count = counts(registry)
    parts = [
        "# Architectures\n",
        f"vLLM {DEFAULT_VERSION} names {count} architectures in its registry; of {known} the bytes of every parameter and the cache are computed.",
        "Beside them each generative class is known under the pooling names that vLLM derives from it (`…ForSequenceClassification`, `…ForTokenClassification`,",
        "`…ForRewardModeling`, `…Model`). A checkpoint of any other architecture is answered from its safetensors headers and its config's own figures, with the",
        "verdict `unknown`; without headers it is refused. This page is written by `python -m benchmarks.architectures`.\n",
    ]
    for title, names in registry.items():
        here = [name for name in names if name in set(FAMILIES)]
        missing = [name for name in names if name not in set(FAMILIES)]
        parts.append(f"## {title}: {len(here)} of {len(names)}\n")
        parts.append(f"Known: {', '.join(here) or 'none'}.\n")
        if missing:
            parts.append(f"Not known: {', '.join(missing)}.\n")
        if title == GROUPS["_SPECULATIVE_DECODING_MODELS"]:
            parts += [f"Compared with no class of vLLM's: {name} ({why}).\n" for name, why in NOT_COMPARED.items()]
    parts.append("## Dropped by vLLM\n")
    parts += [f"Last in {release}: {', '.join(names.split())}.\n" for release, names in reversed(DROPPED.items())]
    parts.append("## With a plugin only\n")
    parts += [f"{plugin}: {', '.join(names.split())}.\n" for plugin, names in PLUGINS.items()]
    return "\n".join(parts)


if __name__ == "__main__":
    try:
        FROZEN.write_text(json.dumps(newest(), indent=1) + "\n")
    except StopIteration:
        print(f"vLLM {DEFAULT_VERSION} is not here; its registry is taken as frozen")
    PAGE.write_text(page(frozen()))
    print(PAGE, *counts(frozen()))

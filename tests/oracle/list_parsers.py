"""The names in vLLM's own registries as one JSON object; run by the judge's Python."""

import json

import simulated_gpu

simulated_gpu.install("h100", (9, 0), 80 * 2**30, 1)

from vllm.reasoning import ReasoningParserManager  # noqa: E402
from vllm.tokenizers.registry import _VLLM_TOKENIZERS  # noqa: E402
from vllm.tool_parsers import ToolParserManager  # noqa: E402

names = {
    "tool_parsers": ToolParserManager.list_registered(),
    "reasoning_parsers": ReasoningParserManager.list_registered(),
    "tokenizer_modes": list(_VLLM_TOKENIZERS),
}
print(json.dumps({registry: sorted(found) for registry, found in names.items()}), flush=True)

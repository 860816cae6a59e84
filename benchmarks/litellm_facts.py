"""Make planner/questions/proxy/litellm.json from LiteLLM itself: run by the Python that LiteLLM is installed in, `python benchmarks/litellm_facts.py`.

Without its price list from the network: LITELLM_LOCAL_MODEL_COST_MAP=True.
"""

import importlib
import inspect
import json
from importlib.metadata import version
from pathlib import Path

OUT = Path(__file__).parents[1] / "planner" / "proxy" / "litellm.json"


def main() -> None:
    """Write what the judgement of a configuration needs: providers, keys of litellm_params, arguments of the router."""
    litellm = importlib.import_module("litellm")
    router = importlib.import_module("litellm.types.router")
    params = set(router.LiteLLM_Params.model_fields)
    params |= set(importlib.import_module("litellm.types.utils").all_litellm_params)
    params |= set(importlib.import_module("litellm.constants").OPENAI_CHAT_COMPLETION_PARAMS)
    facts = {
        "source": f"litellm {version('litellm')}: LlmProviders, LiteLLM_Params, all_litellm_params, OPENAI_CHAT_COMPLETION_PARAMS, Router",
        "providers": sorted(provider.value for provider in litellm.LlmProviders),
        "params": sorted(params),
        "needs_base": [
            "hosted_vllm",
            "vllm",
            "openai_like",
            "custom_openai",
            "llamafile",
            "xinference",
            "infinity",
            "triton",
        ],  # tried: no address of their own
        "needs_key": ["openai", "custom_openai", "text-completion-openai", "openai_like"],  # tried: Missing credentials
        "router": sorted(set(inspect.signature(litellm.Router.__init__).parameters) - {"self", "model_list"}),
    }
    OUT.write_text(json.dumps(facts) + "\n", "utf-8")


if __name__ == "__main__":
    main()

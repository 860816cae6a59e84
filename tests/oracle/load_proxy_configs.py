"""Loads litellm.yaml texts as the proxy does; run by LiteLLM's own Python. JSON strings in, one JSON list of problems a line out."""

import contextlib
import copy
import json
import sys

import litellm
import yaml
from litellm.proxy._types import ConfigGeneralSettings, ConfigYAML
from litellm.types.router import LiteLLM_Params

# Beside LiteLLM's own: the OpenAI API's sampling parameters, and two that it forwards because vLLM, llama.cpp and MLX know them.
SAMPLING = set(litellm.OPENAI_CHAT_COMPLETION_PARAMS) | {"top_k", "min_p"}


def problems(text):
    config = yaml.safe_load(text)
    ConfigYAML(**copy.deepcopy(config))
    router = litellm.Router(model_list=copy.deepcopy(config["model_list"]))
    found = [f"{name} is not routed" for name in {entry["model_name"] for entry in config["model_list"]} - set(router.get_model_names())]
    for entry in config["model_list"]:  # an unknown key is forwarded into the backend's request
        found += [f"litellm_params.{key} is unknown" for key in set(entry["litellm_params"]) - set(LiteLLM_Params.model_fields) - SAMPLING]
    found += [f"litellm_settings.{key} is unknown" for key in config["litellm_settings"] if not hasattr(litellm, key)]
    return found + [f"general_settings.{key} is unknown" for key in set(config["general_settings"]) - set(ConfigGeneralSettings.model_fields)]


for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        result = problems(json.loads(line))
    print(json.dumps(result), flush=True)

"""Loads litellm.yaml texts as the proxy does; run by LiteLLM's own Python. JSON strings in, one JSON list of problems a line out."""

import contextlib
import copy
import json
import sys

import litellm
import yaml
from litellm.proxy._types import ConfigGeneralSettings, ConfigYAML
from litellm.types.router import LiteLLM_Params, ModelInfo
from litellm.types.utils import ModelInfoBase

# Beside LiteLLM's own: the OpenAI API's sampling parameters, and two that it forwards because vLLM, llama.cpp and MLX know them.
SAMPLING = set(litellm.OPENAI_CHAT_COMPLETION_PARAMS) | {"top_k", "min_p"}
# What a model can do, and how the proxy treats it (proxy/health_check.py asks for the last one without declaring it).
MODEL_INFO = set(ModelInfo.model_fields) | set(ModelInfoBase.__mro__[0].__annotations__) | {"disable_background_health_check"}
for base in ModelInfoBase.__orig_bases__:
    MODEL_INFO |= set(getattr(base, "__annotations__", ()))


def problems(text):
    config = yaml.safe_load(text)
    ConfigYAML(**copy.deepcopy(config))
    router = litellm.Router(model_list=copy.deepcopy(config["model_list"]))
    found = [f"{name} is not routed" for name in {entry["model_name"] for entry in config["model_list"]} - set(router.get_model_names())]
    for entry in config["model_list"]:  # an unknown key is forwarded into the backend's request
        found += [f"litellm_params.{key} is unknown" for key in set(entry["litellm_params"]) - set(LiteLLM_Params.model_fields) - SAMPLING]
        found += [f"model_info.{key} is unknown" for key in set(entry["model_info"]) - MODEL_INFO]
    found += [f"litellm_settings.{key} is unknown" for key in config["litellm_settings"] if not hasattr(litellm, key)]
    return found + [f"general_settings.{key} is unknown" for key in set(config["general_settings"]) - set(ConfigGeneralSettings.model_fields)]


for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        result = problems(json.loads(line))
    print(json.dumps(result), flush=True)

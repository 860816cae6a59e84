"""LiteLLM callback: tell Mistral-family templates to continue an assistant message instead of starting a new one.

An agent's turn may end in an assistant message (a partial answer, a tool call). vLLM then needs continue_final_message, and
add_generation_prompt off; both are set for the deployments below only, and only then. The deployment's own model is compared,
so the alias in litellm.yaml can be any.
"""

from typing import Any

from litellm.integrations.custom_logger import CustomLogger

MODELS = {'hosted_vllm/ministral-3-14b-awq'}


class ContinueFinalMessage(CustomLogger):
    """Sets continue_final_message where the last message is the assistant's."""

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: Any
    ) -> dict[str, Any]:
        last = (kwargs.get("messages") or [{}])[-1]
        if kwargs.get("model") in MODELS and last.get("role") == "assistant":
            body = dict(kwargs.get("extra_body") or {})
            body["continue_final_message"] = True
            body["add_generation_prompt"] = False
            kwargs["extra_body"] = body
        return kwargs


proxy_handler_instance = ContinueFinalMessage()

"""LiteLLM callback: tell Mistral-family templates to continue an assistant message instead of starting a new one.

An agent's turn may end in an assistant message (a partial answer, a tool call). vLLM then needs continue_final_message, and
add_generation_prompt off; both are set for the models below only, and only then.
"""

from typing import Any

from litellm.integrations.custom_logger import CustomLogger

MODELS = {"ministral-3-14b-awq"}


class ContinueFinalMessage(CustomLogger):
    """Sets continue_final_message where the last message is the assistant's."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        last = (data.get("messages") or [{}])[-1]
        if data.get("model") in MODELS and last.get("role") == "assistant":
            body = dict(data.get("extra_body") or {})
            body["continue_final_message"] = True
            body["add_generation_prompt"] = False
            data["extra_body"] = body
        return data


proxy_handler_instance = ContinueFinalMessage()

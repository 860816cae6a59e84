"""Speculative decoding as a command says it: one canonical text of --speculative-config, its values in vLLM's bounds, methods by release.

Sources: vLLM 0.11 to 0.33 config/speculative.py (SpeculativeMethod, SpeculativeConfig), engine/arg_utils.py create_speculative_config.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from planner.engines.vllm.versions import VERSIONS
from planner.errors import BadValueError
from planner.facts.record import dataclass

# The first minor release that takes a method (0.11 where it had it already), and what it is called since: every model's own module is "mtp".
_PREDICTING = {
    "mtp": 11, "deepseek_mtp": 11, "ernie_mtp": 11, "qwen3_next_mtp": 11, "mimo_mtp": 11, "longcat_flash_mtp": 11, "glm4_moe_mtp": 12, "pangu_ultra_moe_mtp": 12,
    "exaone_moe_mtp": 14, "glm4_moe_lite_mtp": 16, "glm_ocr_mtp": 16, "step3p5_mtp": 16, "nemotron_h_mtp": 17, "qwen3_5_mtp": 17, "exaone4_5_mtp": 20, "hy_v3_mtp": 20,
    "mimo_v2_mtp": 21, "gemma4_mtp": 21, "minimax_m3_mtp": 24, "bailing_hybrid_mtp": 25, "inkling_mtp": 26, "kimi_k3_mtp": 27, "dots3_note_mtp": 28,
    "bailing_hybrid_v3_mtp": 28, "qwen4_exp_mtp": 29, "hy_v4_mtp": 29, "glm5_next_mtp": 30, "step5_mtp": 33,
}  # fmt: skip
_OTHERS = {
    "ngram": 11, "eagle": 11, "eagle3": 11, "medusa": 11, "mlp_speculator": 11, "draft_model": 11, "suffix": 12, "extract_hidden_states": 17, "ngram_gpu": 18,
    "dflash": 20, "custom_class": 22, "dspark": 25,
}  # fmt: skip
METHODS = _PREDICTING | _OTHERS
_LAST = {"medusa": 32, "mlp_speculator": 32}
WITHOUT_WEIGHTS = ("ngram", "ngram_gpu", "suffix")  # they look tokens up
WITH_MODEL = ("eagle", "eagle3", "draft_model", "dflash", "dspark")
LEAST_BATCH = 2048
_SHORT = {"--spec-method": "method", "--spec-model": "model", "--spec-tokens": "num_speculative_tokens"}
FLAG = "--speculative-config"
FLAGS = (FLAG, *_SHORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """What is drafted: the method, the repository of a drafter of its own, tokens at once (0: as many as its config says)."""

    method: str
    model: str | None = None
    tokens: int = 0
    is_parallel: bool = False


def said(values: Mapping[str, str | bool]) -> dict[str, str | bool]:
    """A command's values with what its flags of speculation say in one. Raises BadValueError where two say the same."""
    rest = {flag: value for flag, value in values.items() if flag not in _SHORT}
    named = {key: values[flag] for flag, key in _SHORT.items() if flag in values}
    if not named:
        return rest
    data = _object(str(values[FLAG])) if FLAG in values else {}
    for flag, key in _SHORT.items():
        if flag in values and key in data:
            raise BadValueError(f"{flag} and --speculative-config['{key}'] are mutually exclusive")
    data |= {key: int(str(value)) if key == "num_speculative_tokens" else value for key, value in named.items()}
    return rest | {FLAG: json.dumps(data)}


def _object(text: str) -> dict[str, object]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise BadValueError("expected a JSON object") from None
    if not isinstance(data, dict):
        raise BadValueError("expected a JSON object")
    return {str(key).replace("-", "_"): value for key, value in data.items()}


def wish(text: str) -> str:
    """What a question asks in short, mtp:3, ngram:5 or eagle3:REPOSITORY:3, or in JSON, as vLLM reads it. Raises ValueError."""
    if text.lstrip().startswith("{"):
        data = _object(text)
    else:
        method, *parts = text.split(":")
        tokens = parts.pop() if parts and parts[-1].isdecimal() else ""
        data = {"method": method}
        data |= {"model": ":".join(parts)} if parts else {}
        data |= {"num_speculative_tokens": int(tokens)} if tokens else {}
    written = json.dumps(data)
    read(written)
    return written


def with_tokens(text: str, tokens: int) -> str:
    """The JSON with the tokens that are drafted, where it leaves them to the drafter's own config."""
    data = _object(text)
    return text if data.get("num_speculative_tokens") else json.dumps(data | {"num_speculative_tokens": tokens})


@lru_cache(maxsize=256)
def read(text: str, release: str | None = None) -> Speculation:
    """What a JSON object means to a release. Raises BadValueError for what vLLM refuses, in its words."""
    data = _object(text)
    if data.get("tensor_parallel_size") is not None:
        raise BadValueError("'tensor_parallel_size' is not a valid argument in the speculative_config. Please pass 'draft_tensor_parallel_size' instead.")
    tokens, model = data.get("num_speculative_tokens"), data.get("model")
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int)):
        raise BadValueError(f"num_speculative_tokens: Input should be a valid integer, not {str(tokens)[:40]!r}")
    if isinstance(tokens, int) and tokens <= 0:
        raise BadValueError(f"num_speculative_tokens: Input should be greater than 0, not {tokens}")
    draft = data.get("draft_tensor_parallel_size")
    if draft is not None and (isinstance(draft, bool) or not isinstance(draft, int) or draft < 1):
        raise BadValueError("draft_tensor_parallel_size: Input should be greater than or equal to 1")
    method = _method(data, release)
    if method in WITH_MODEL and method != "dspark" and model is None:  # a checkpoint of DeepSeek V4 may bring DSpark's own
        raise BadValueError("num_speculative_tokens was provided but without speculative model.")
    least, most = data.get("prompt_lookup_min"), data.get("prompt_lookup_max")
    if method in ("ngram", "ngram_gpu") and isinstance(least, int) and isinstance(most, int) and least > most:
        raise BadValueError(f"prompt_lookup_min={least} must be <= prompt_lookup_max={most}")
    if tokens is None and method in WITHOUT_WEIGHTS[:2]:
        raise BadValueError("num_speculative_tokens must be provided with speculative model unless the draft model config contains an n_predict parameter.")
    default = 24 if method == "suffix" else 0  # suffix_decoding_max_tree_depth
    return Speculation(
        method=method,
        model=str(model) if model is not None else None,
        tokens=tokens or default,
        is_parallel=data.get("parallel_drafting") is True,
    )


def _method(data: Mapping[str, object], release: str | None) -> str:
    """The method, or what vLLM takes it for where none is said: by the drafter's name."""
    named, model = data.get("method"), str(data.get("model") or "").lower()
    if named is None:
        if not model:
            raise BadValueError("num_speculative_tokens was provided but without speculative model.")
        guesses = {"ngram": "ngram", "[ngram]": "ngram"}
        words = (("eagle-", "eagle"), ("eagle3", "eagle3"), ("dflash", "dflash"), ("dspark", "dspark"))
        return guesses.get(model) or next((method for word, method in words if word in model), "draft_model")
    minor = VERSIONS[release].minor if release else 33
    known = [method for method, since in METHODS.items() if since <= minor <= _LAST.get(method, 99)]
    if str(named) not in known:
        raise BadValueError(f"method: Input should be {', '.join(repr(method) for method in known)}, not {str(named)[:60]!r}")
    return "mtp" if str(named) in _PREDICTING else str(named)

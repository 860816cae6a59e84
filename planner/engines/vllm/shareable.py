"""What of a command anybody may read: settings that the table knows, each as a number within its bounds or a word of a closed list.

Whatever else a log's command holds (names, paths, addresses, keys, a drafter's repository) is left out, and where it may move memory that is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import assert_never

from planner.engines.vllm.backend_names import names
from planner.engines.vllm.cache_options import MAMBA_DTYPES
from planner.engines.vllm.not_covered import moves_nothing
from planner.engines.vllm.remedies import longest_that_fits, needed_bytes
from planner.engines.vllm.settings import COMMAND
from planner.engines.vllm.speculation import METHODS
from planner.engines.vllm.versions import MINIMUM_CAPABILITY, NEWEST, OLDEST
from planner.errors import BadValueError
from planner.facts.command_line import flag_of
from planner.facts.observed import Observed, Shareable
from planner.facts.settings import Kind, Setting
from planner.facts.speed import MOST_DRAFTED

_WORDS: Mapping[str, tuple[str, ...]] = {  # closed lists of settings whose row has none
    "attention_backend": tuple(dict.fromkeys(name for minor in range(OLDEST, NEWEST + 1) for name in names(minor))),
    "mamba_cache_dtype": MAMBA_DTYPES,
    "mamba_ssm_cache_dtype": MAMBA_DTYPES,
    "quantization": (*MINIMUM_CAPABILITY, "awq", "awq_marlin", "gptq", "gptq_marlin", "mxfp4", "bitsandbytes"),
}
_MODALITIES = ("image", "video", "audio")
_NAMES = ("model", "model_tag")  # said apart
_MOST = 1 << 50  # of a number without a bound of its own
_DIVIDED = ("--tensor-parallel-size", "--pipeline-parallel-size", "--prefill-context-parallel-size", "--data-parallel-size")


def shareable(observed: Observed, *, told: bool) -> Shareable:
    """What of a log anybody may read; `told` is whether it holds its command."""
    words, is_whole = shareable_words(observed.flags)
    if (batch := observed.max_num_batched_tokens) and "max_num_batched_tokens" not in observed.flags:
        words += ["--max-num-batched-tokens", str(batch)]
    message = observed.root_cause.message if observed.root_cause else ""
    gpus = prod(max(1, int(words[words.index(flag) + 1])) for flag in _DIVIDED if flag in words)
    return Shareable(words=tuple(words), is_whole=told and is_whole, gpus=gpus, needed_bytes=needed_bytes(message), longest=longest_that_fits(message))


def shareable_words(flags: Mapping[str, object]) -> tuple[list[str], bool]:
    """The words of a command's settings that may be shared, in the table's order, and whether no other of its settings moves memory."""
    words: list[str] = []
    is_whole = True
    for setting in COMMAND:
        said = _said(setting, flags.get(setting.name))
        words += said or ()
        is_whole = is_whole and said is not None
    known = {setting.name for setting in COMMAND}
    for name, value in flags.items():
        if name in known or name in _NAMES or flag_of(name) in moves_nothing():
            continue
        said = _of_pictures(name, value)
        words += said or ()
        is_whole = is_whole and said is not None
    return words, is_whole


def _said(setting: Setting, value: object) -> list[str] | None:
    """The words of one setting, none where it is not said; None where what is said may not be shared."""
    text = str(value)
    if value is None or text == "None":
        return []
    if text in setting.automatic:
        return [setting.flag, text]
    match setting.kind:
        case Kind.SWITCH:
            return _switch(setting, text)
        case Kind.TEXT if setting.name == "speculative_config":
            return _drafted(setting, value)
        case Kind.TEXT:
            return [setting.flag, text] if text in (setting.choices or _WORDS.get(setting.name, ())) else None
        case Kind.COUNT | Kind.TOKENS | Kind.BYTES | Kind.GIB | Kind.SHARE:
            return _number(setting, text)
        case _:
            assert_never(setting.kind)


def _switch(setting: Setting, text: str) -> list[str] | None:
    """A switch; older logs say every one, and False of one that is off goes without saying."""
    off = [] if setting.default is False else list(setting.off[:1])
    return {"True": [setting.flag], "False": off}.get(text)


def _number(setting: Setting, text: str) -> list[str] | None:
    try:
        number = setting.read(text)
    except BadValueError:
        return None
    if not isinstance(number, int | float) or not (setting.least or 0) <= number <= (setting.most or _MOST):
        return None
    return [setting.flag, f"{number:g}" if isinstance(number, float) else str(number)]


def _drafted(setting: Setting, value: object) -> list[str] | None:
    """A method of vLLM's that needs no repository of its own, and how many tokens it drafts."""
    data = _object(value)
    method, count = data.get("method"), data.get("num_speculative_tokens")
    if data.keys() - {"method", "num_speculative_tokens"} or method not in METHODS:
        return None
    if count is not None and (type(count) is not int or not 0 < count <= MOST_DRAFTED):
        return None
    return [setting.flag, json.dumps({"method": method} | ({"num_speculative_tokens": count} if count else {}))]


def _of_pictures(name: str, value: object) -> list[str] | None:
    """How many pictures a prompt may hold; None for what is not known to move nothing."""
    if name == "language_model_only" and value in (True, "True"):
        return [flag_of(name)]
    data = _object(value)
    counts = {key: count for key in _MODALITIES if type(count := data.get(key)) is int and 0 <= count < MOST_DRAFTED}
    return [flag_of(name), json.dumps(counts)] if counts and name == "limit_mm_per_prompt" and counts == data else None


def _object(value: object) -> Mapping[str, object]:
    """An object, or the text of one; an empty one for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}

"""What a config.json leaves out: the defaults of its configuration class, transformers' or vLLM's own (defaults.json, benchmarks/hf_defaults.py).

A class's attributes have other names too (GPT-2's `n_embd` is its `hidden_size`): a value can be read under each. A section that
is missing is what the class makes of nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from planner.architecture.config import Config
from planner.facts.document import Lines

Values = Mapping[str, object]


if TYPE_CHECKING:  # the types of the file, which cost a hundredth of a plan
    from typing import NotRequired, TypedDict

    class SectionDefaults(TypedDict):
        """A nested config: its class, whether its own model_type decides before that, what it holds where it is missing, whether it may be."""

        kind: str
        auto: NotRequired[bool]
        values: NotRequired[Values]
        optional: NotRequired[bool]

    class ClassDefaults(TypedDict):
        """One configuration class: its defaults, other names of its keys, its nested configs, whether a tied text model ties the whole, which decoder it is of."""

        values: Values
        names: NotRequired[Mapping[str, str]]
        sections: NotRequired[Mapping[str, SectionDefaults]]
        tied_by_text: NotRequired[bool]
        decoder: NotRequired[str]


# names under which a file holds the config of its text model (transformers_utils/config.py _CONFIG_ATTRS_MAPPING, and classes of vLLM's own)
_TEXT = ("llm_config", "language_config")
_UNKNOWN: ClassDefaults = {"values": {}}


def completed(config: Config) -> Config:
    """The same config with what its class takes where the file says nothing, its text model under `text_config`.

    Of a class that only remote code knows, the sections that say their own class are completed.
    """
    data = config.data
    text = next((name for name in _TEXT if name in data and "text_config" not in data), None)
    whole = _completed({**data, "text_config": data[text]} if text else data, _table().get(str(data.get("model_type")), _UNKNOWN))
    thinker = whole.get("thinker_config")  # of the three models of an Omni checkpoint the one that vLLM serves
    if isinstance(thinker, dict):
        whole = {**{key: value for key, value in thinker.items() if key != "tie_word_embeddings"}, **whole}
    return Config(whole, config.path)


def text_model(config: Config) -> list[str]:
    """The architectures that a text_config may mean: those that it names, else the decoder of its model_type (init_vllm_registered_model)."""
    kind = config.text("model_type", default="llama")
    return [*config.texts("architectures"), _table().get(kind, _UNKNOWN).get("decoder", "")]


@cache
def _table() -> Mapping[str, ClassDefaults]:
    return cast("Mapping[str, ClassDefaults]", Lines(Path(__file__).with_name("defaults.json").read_bytes()))


def _completed(data: Values, row: ClassDefaults) -> dict[str, object]:
    """The values of one class, those of its sections included."""
    whole, sections = dict(data), row.get("sections", {})
    tied = False  # the text model of an older file, by its class: what stands in the open is the whole model's
    for key, value in data.items():
        if key not in sections and str(key).endswith("_config") and isinstance(value, dict) and (own := _table().get(str(value.get("model_type")))):
            whole[key] = _completed(value, own)
    for key, section in sections.items():
        if key == "text_config" and key not in data and "num_hidden_layers" in data:
            text_row = _table()[section["kind"]]
            whole, tied = _filled(whole, text_row), bool(text_row["values"].get("tie_word_embeddings"))
        elif (inner := _section(data, key, section)) is not None:
            whole[key] = inner
    whole = _filled(whole, row)
    if row.get("tied_by_text") and not whole["tie_word_embeddings"]:
        text = whole.get("text_config")
        whole["tie_word_embeddings"] = tied or (isinstance(text, dict) and bool(text.get("tie_word_embeddings")))
    return whole


def _section(data: Values, key: str, section: SectionDefaults) -> dict[str, object] | None:
    """One nested config, None where there is none or it is no object."""
    own = data.get(key)
    if own is None and (key in data or section.get("optional")):
        return None
    if own is not None and not isinstance(own, dict):
        return None
    values = cast("Values", own) if own is not None else section.get("values", {})
    kind = values.get("model_type") if section.get("auto") else None
    row = _table().get(str(kind)) if kind else _table()[section["kind"]]
    return _completed({"model_type": section["kind"], **values} if section.get("auto") else values, row) if row else dict(values)


def _filled(data: Values, row: ClassDefaults) -> dict[str, object]:
    """The values with the class's defaults, each under all of its names."""
    names = row.get("names", {})
    keys = {alias: data[alias] for alias in names if alias in data}
    own = {names[alias]: value for alias, value in keys.items()}
    whole = {**row["values"], **own, **data}
    return {**{alias: whole[key] for alias, key in names.items() if key in whole}, **whole}

"""vLLM's own serve flags as JSON lines, as its parser holds them; run by the judge's Python (benchmarks/flags.py).

Of each: every spelling, what it takes, how its values are read, which spellings switch it off, the fields of a JSON value.
"""

import argparse
import dataclasses
import enum
import json
import typing

import simulated_gpu

simulated_gpu.install("h100", (9, 0), 80 * 2**30, 1)

import vllm.config  # noqa: E402
from pydantic import TypeAdapter, ValidationError  # noqa: E402
from releases import FlexibleArgumentParser, make_arg_parser  # noqa: E402

PARSER = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
TYPES = {int: "int", float: "float", json.loads: "json"}
NAMES = {"union_dict_and_str": "json or text", "parse_dataclass": "object", "human_readable_int": "count", "human_readable_int_or_auto": "count or auto"}
PROBES = {
    "string": ["x", "no such", "fp8_per_tensor"],
    "number": [3, 0, 1, 0.5],
    "boolean": [True, False],
    "object": [{}, {"a": 1}, {"a": "b"}],
    "array": [[], ["x"], [1]],
}
PLAIN = ("type", "enum", "const", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def inner(function):
    """What optional_type and parse_type (engine/arg_utils.py) wrap, and whether None is a value."""
    optional = False
    while cells := dict(zip(getattr(getattr(function, "__code__", None), "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=False)):
        if "return_type" not in cells:
            break
        optional = optional or function.__name__ == "_optional_type"
        function = cells["return_type"].cell_contents
    return function, optional


def reading(function):
    """The name of how a value is read; None where it stays text."""
    if function is None or function is str:
        return None
    if function.__name__ == "<lambda>":
        return "dashes" if "lower" in function.__code__.co_names else None
    return TYPES.get(function) or NAMES.get(function.__name__)


def bounds(cls, name):
    """How small and how large a field of a configuration class may be: what its Field(ge=…) says."""
    field = getattr(cls, "__pydantic_fields__", {}).get(name)
    told = field.metadata if field else ()
    return {word: getattr(each, key) for each in told for key, word in BOUNDS.items() if getattr(each, key, None) is not None}


def bounds_of(action):
    """Those of the configuration that a flag sets; a speculator's own fields are named as the target's."""
    classes = [cls for name, cls in vars(vllm.config).items() if isinstance(cls, type) and name != "SpeculativeConfig"]
    return next((told for cls in classes if (told := bounds(cls, action.dest))), {})


def fields(cls):
    """The fields of a dataclass that a JSON value is read into, each with its plain JSON Schema; of others the kinds of value that it refuses."""
    checked = {name for kind, info in validators(cls) if kind != "_skip_none_validation" for name in info.fields}
    known = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        try:
            schema = TypeAdapter(field.type).json_schema()
        except Exception:
            schema = {}
        options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
        plain = (
            len(options) == 1
            and not set(options[0]) - set(PLAIN) - {"title", "default", "description"}
            and options[0].get("type") not in (None, "object", "array")
        )
        if plain and field.name not in checked:
            known[field.name] = {key: value for key, value in options[0].items() if key in PLAIN} | bounds(cls, field.name)
            known[field.name] |= {"null": True} if len(options) < len(schema.get("anyOf", [schema])) or field.name in delayed(cls) else {}
        elif own := class_of(field.type):
            known[field.name] = probed(cls, field) | {"fields": fields(own)} | ({"null": True} if takes(cls, field, None) else {})
        else:
            known[field.name] = probed(cls, field)
    return known


def class_of(kind):
    """The one configuration class that a field holds, None where it holds what is none."""
    kinds = [each for each in typing.get_args(kind) or (kind,) if each is not type(None)]
    return kinds[0] if len(kinds) == 1 and dataclasses.is_dataclass(kinds[0]) else None


def takes(cls, field, value):
    """Whether a class takes a JSON value for one of its fields."""
    try:
        TypeAdapter(cls).validate_json(json.dumps({field.name: value}))
    except ValidationError as error:
        return not any(each["loc"][:1] == (field.name,) for each in error.errors())
    except Exception:
        return False
    return True


def validators(cls):
    return [(name, decorator.info) for name, decorator in cls.__pydantic_decorators__.field_validators.items()]


def delayed(cls):
    """Fields that are None until the engine sets them."""
    return {name for kind, info in validators(cls) if kind == "_skip_none_validation" for name in info.fields}


def probed(cls, field):
    """Which kinds of JSON value a field refuses, and the strings that it takes where it does not take any."""
    found = {}
    refused = [kind for kind, values in PROBES.items() if not any(takes(cls, field, value) for value in values)]
    words = [word for each in (field.type, *typing.get_args(field.type)) if typing.get_origin(each) is typing.Literal for word in typing.get_args(each)]
    if words and not takes(cls, field, "no such"):
        found = {"strings": sorted({word.lower() for word in words if isinstance(word, str) and takes(cls, field, word)})}
    elif enums := [each for each in (field.type, *typing.get_args(field.type)) if isinstance(each, type) and issubclass(each, enum.Enum)]:
        strings = [name for member in enums[0] for name in (member.name, str(member.value)) if takes(cls, field, name)]
        found = {"strings": sorted({name.lower() for name in strings})} if strings and not takes(cls, field, "no such") else {}
    elif "string" in refused and (takes(cls, field, "3") or takes(cls, field, "true")):
        refused.remove("string")
    return found | ({"refuses": refused} if refused and len(refused) < len(PROBES) else {})


def described(action):
    spellings = [name for name, other in PARSER._option_string_actions.items() if other is action]
    found = {"flags": spellings}
    if isinstance(action, argparse.BooleanOptionalAction):
        negative = getattr(action, "negative_option_strings", [name for name in spellings if name.startswith("--no-")])
        return found | {"takes": 0, "off": sorted(negative)}
    if action.nargs == 0:
        return found | {"takes": 0}
    function, optional = inner(action.type)
    found["takes"] = 1 if action.nargs is None else action.nargs
    found |= {"reads": read} if (read := reading(function)) else {}
    found |= {"optional": True} if optional else {}
    found |= {"choices": [str(choice) for choice in action.choices if choice is not None]} if action.choices else {}
    found |= {"fields": fields(function.__defaults__[0])} if found.get("reads") == "object" else {}
    found |= {"bounds": limits} if found.get("reads") in ("int", "float", "count", "count or auto") and (limits := bounds_of(action)) else {}
    kind = type(action).__name__
    return found | ({"append": True} if kind == "_AppendAction" else {"reads": "adapters"} if kind == "LoRAParserAction" else {})


for each in PARSER._actions:
    if each.option_strings and each.dest != "help":
        print(json.dumps(described(each)), flush=True)

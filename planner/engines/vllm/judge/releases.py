"""Where each release of vLLM keeps what the judge asks of it; imported by the judge's own Python, after a GPU is simulated.

A name is looked up in the modules that have held it, newest first; a function that lost or gained arguments is called with those it names.
"""

import importlib
import inspect

HOMES = {
    "make_arg_parser": ("entrypoints.common.cli_args", "entrypoints.launchers.cli_args", "entrypoints.openai.cli_args"),
    "validate_parsed_serve_args": ("entrypoints.common.cli_args", "entrypoints.launchers.cli_args", "entrypoints.openai.cli_args"),
    "validate_api_server_args": ("entrypoints.common.cli_args", "entrypoints.launchers.api_server", "entrypoints.openai.api_server"),
    "FlexibleArgumentParser": ("utils.argparse_utils", "utils"),
}


def home(name):
    """The object of this name in this release."""
    for module in HOMES[name]:
        try:
            return getattr(importlib.import_module(f"vllm.{module}"), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"vLLM {importlib.import_module('vllm').__version__} has no {name} in {', '.join(HOMES[name])}")


def called(function, **known):
    """What a function answers, given those of the known arguments that this release's signature names."""
    return function(**{name: value for name, value in known.items() if name in inspect.signature(function).parameters})


def __getattr__(name):
    if name in HOMES:
        return home(name)
    raise AttributeError(name)

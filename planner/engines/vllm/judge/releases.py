"""Where each release of vLLM keeps what the judge asks of it; imported by the judge's own Python, after a GPU is simulated.

A name is looked up in the modules that have held it, newest first; a function that lost or gained arguments is called with those it names.
"""

import importlib
import inspect
import sys

import simulated_gpu

_COMMANDS = ("entrypoints.common.cli_args", "entrypoints.launchers.cli_args", "entrypoints.openai.cli_args")
_PLANNER = ("v1.core.kv_cache_planning", "v1.core.kv_cache_utils")
HOMES = {
    "make_arg_parser": _COMMANDS,
    "validate_parsed_serve_args": _COMMANDS,
    "validate_api_server_args": ("entrypoints.common.cli_args", "entrypoints.launchers.launcher", "entrypoints.openai.api_server"),
    "FlexibleArgumentParser": ("utils.argparse_utils", "utils"),
    "get_kv_cache_groups": ("v1.core.kv_cache_utils", "v1.core.kv_cache_planning"),
    "get_global_kv_cache_groups": _PLANNER,
    "get_kv_cache_configs": _PLANNER,
    "_pool_bytes_per_block": _PLANNER,
    "_max_memory_usage_bytes_from_groups": _PLANNER,
    "_estimate_max_model_len_from_groups": _PLANNER,
    "generate_scheduler_kv_cache_config": _PLANNER[::-1],
    "get_kv_cache_capacity": _PLANNER[::-1],
    "get_max_concurrency_for_kv_cache_config": _PLANNER[::-1],
    "get_kv_cache_config_builder": ("v1.core.kv_cache_config_builder",),
    "register_all_kvcache_specs": ("v1.core.single_type_kv_cache_manager",),
    "get_supported_kv_cache_layouts": ("v1.attention.backends.utils",),
    "resolve_kv_cache_layout": ("v1.attention.backends.utils",),
}


def home(name):
    """The object of this name in this release. Raises ImportError, with what each module that has held it said."""
    said = []
    for module in HOMES[name]:
        try:
            return getattr(imported(f"vllm.{module}"), name)
        except (ImportError, AttributeError) as error:
            said.append(str(error))
    raise ImportError(f"vLLM has no {name}: {'; '.join(said)}")


def imported(module):
    """A module of vLLM; packages of others that it imports and that are not here are simulated, for they are not asked."""
    while True:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("vllm") or error.name in sys.modules:
                raise
            sys.modules[error.name] = simulated_gpu.stand_in(error.name, simulated_gpu.StandIn)


def there_is(name):
    """Whether this release has an object of this name."""
    try:
        return bool(home(name))
    except ImportError:
        return False


def called(name, **known):
    """What a function answers, given those of the known arguments that this release's signature names."""
    function = home(name)
    return function(**{key: value for key, value in known.items() if key in inspect.signature(function).parameters})


def kv_cache_groups(config, specs):
    """Groups of layers of the whole model: of one worker's specs where a release does not merge several."""
    if there_is("get_global_kv_cache_groups"):
        return home("get_global_kv_cache_groups")(config, [specs])
    return home("get_kv_cache_groups")(config, dict(specs))


def capacity(config, kv_cache_config):
    """Tokens and requests at once of a scheduler's cache, as this release logs them."""
    if there_is("get_kv_cache_capacity"):
        return home("get_kv_cache_capacity")(config, kv_cache_config)
    concurrency = home("get_max_concurrency_for_kv_cache_config")(config, kv_cache_config)
    block_size = min(group.kv_cache_spec.block_size for group in kv_cache_config.kv_cache_groups)
    return kv_cache_config.num_blocks // len(kv_cache_config.kv_cache_groups) * block_size, concurrency


def __getattr__(name):
    if name in HOMES:
        return home(name)
    raise AttributeError(name)

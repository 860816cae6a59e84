"""Asks vLLM itself; run by the judge's own Python. Questions are JSON lines on standard input, answers JSON lines on standard output.

argv: NAME MAJOR.MINOR MEMORY_BYTES COUNT of the GPU to simulate. A question is
  {"config": {...}, "hf_quant": {...} | null, "argv": ["vllm", "serve", ...]}          is this command valid, and
  {"plan": true, "available_bytes": N, ...}                                           what does vLLM plan for it (weights, blocks, tokens); "stage": N for a stage of a pipeline
  {"drafter": {...}, "own": [...], ...}                                               the config.json of its --speculative-config's model, what that brings of what it could share
  {"config": {...}, "argv": [...], "defaults": true}                                  what a server of it is set to where the command says nothing
  {"architectures": true}                                                             names of model classes
  {"argv": ["vllm", "serve", ...]}                                                    do parser and API server take it, its parsers of tool calls included
"""

import collections
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import simulated_gpu

name, capability, memory, count = sys.argv[1:5]
simulated_gpu.install(name, tuple(int(part) for part in capability.split(".")), int(memory), int(count))

import stand_ins  # noqa: E402
import vllm.model_executor.models.config as config_checks  # noqa: E402
import vllm.tokenizers as tokenizers  # noqa: E402
import vllm.tokenizers.registry as registry  # noqa: E402
from releases import FlexibleArgumentParser, make_arg_parser, validate_api_server_args, validate_parsed_serve_args  # noqa: E402
from transformers import AutoConfig, PretrainedConfig  # noqa: E402
from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: E402
from vllm.config import ModelConfig  # noqa: E402
from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: E402
from vllm.model_executor.models import ModelRegistry  # noqa: E402
from vllm.model_executor.models import registry as models  # noqa: E402
from vllm.parser.parser_manager import ParserManager  # noqa: E402
from vllm.transformers_utils import configs  # noqa: E402
from vllm.transformers_utils.config import _CONFIG_REGISTRY  # noqa: E402
from vllm.usage.usage_lib import UsageContext  # noqa: E402

PARSER = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))


class Attributes(dict):
    """A nested object whose keys are attributes too, as config classes make them."""

    def __getattr__(self, key):
        if key not in self:
            raise AttributeError(key)
        return Attributes(self[key]) if isinstance(self[key], dict) else self[key]


class RemoteConfig(PretrainedConfig):
    """Stands in for the config class that a checkpoint with remote code brings; nested configs are of their own classes where those are known."""

    max_position_embeddings = 8192
    attribute_map = {"num_hidden_layers": "num_layers"}  # noqa: RUF012 - as transformers declares it

    def __setattr__(self, key, value):
        if key == "block_configs":
            value = [Attributes(block) for block in value]
        elif key.endswith("_config") and isinstance(value, dict):
            value = nested(value)
        super().__setattr__(key, value)


# a remote class has none of the guards of transformers' own against values that differ from layer to layer
TRUSTED = {"remote code": False}
with contextlib.suppress(ImportError):
    from transformers.integrations.heterogeneity.configuration_utils import HeterogeneousConfigMixin

    HeterogeneousConfigMixin.allow_global_per_layer_attribute_access = property(lambda self: TRUSTED["remote code"])


def nested(keys):
    """The config of one part of a model."""
    kind = keys.get("model_type")
    return CONFIG_MAPPING[kind](**keys) if kind in CONFIG_MAPPING else keys if "quant_method" in keys else RemoteConfig(**keys)


class Tokenizer:
    """Stands in for the tokenizer, whose folder has none: models ask which numbers their own tokens have."""

    def __init__(self):
        self.vocab = collections.defaultdict(int)

    def get_vocab(self):
        return self.vocab

    def encode(self, *arguments, **keywords):
        return [0]

    def convert_tokens_to_ids(self, tokens):
        return 0


supports_multimodal_inputs = getattr(ModelConfig, "_supports_multimodal_inputs", None)  # not every release asks


def supports_without_processor(model_config):
    """What vLLM asks the checkpoint's processor, whose folder has none: which inputs it takes."""
    try:
        return supports_multimodal_inputs(model_config)
    except Exception:
        return not model_config.multimodal_config.language_model_only


if supports_multimodal_inputs:
    ModelConfig._supports_multimodal_inputs = supports_without_processor


# vLLM looks at a model's class in a process of its own, which has no simulated GPU and takes ten seconds
load_model_cls = models._LazyRegisteredModel.load_model_cls


def without_packages(ask, *arguments):
    """What a function answers; kernels of packages that are not here are simulated while it runs, for they are not asked."""
    absent = []
    try:
        while True:
            try:
                return ask(*arguments)
            except ModuleNotFoundError as error:
                if error.name is None or error.name.startswith("vllm") or error.name in absent:
                    raise
                absent.append(error.name)
                sys.modules[error.name] = simulated_gpu.stand_in(error.name, simulated_gpu.Package)
    finally:
        for name in absent:
            sys.modules.pop(name, None)


models._LazyRegisteredModel.load_model_cls = lambda self: without_packages(load_model_cls, self)
simulated_gpu.simulate_kernels()
models._LazyRegisteredModel.inspect_model_cls = lambda self: models._ModelInfo.from_model_cls(self.load_model_cls())
registry.cached_tokenizer_from_config = tokenizers.cached_tokenizer_from_config = lambda *arguments, **keywords: Tokenizer()


# remote classes whose very name vLLM asks for before it serves a checkpoint
ASKED_FOR = set(re.findall(r'__class__.__name__ == "(\w+)"', Path(config_checks.__file__).read_text())) | {"Step3p7Config"}  # or whose keys it reads
BORROWED = set()


def forget():
    """Classes that were borrowed for one question are not there for the next."""
    for kind in BORROWED:
        del _CONFIG_REGISTRY[kind]
    BORROWED.clear()


def know(config):
    """Transformers refuses a model_type that only remote code defines; of some vLLM has a class that is like the remote one."""
    kind, remote = config.get("model_type"), str((config.get("auto_map") or {}).get("AutoConfig")).rpartition(".")[2]
    attributes = {"model_type": kind} | ({"attribute_map": {}} if "num_hidden_layers" in config else {})
    if kind in CONFIG_MAPPING and remote in ASKED_FOR:
        like = RemoteConfig if remote == CONFIG_MAPPING[kind].__name__ else CONFIG_MAPPING[kind]
        _CONFIG_REGISTRY[kind] = type(remote, (like,), attributes if like is RemoteConfig else {"model_type": kind})
        BORROWED.add(kind)
    if kind and kind not in CONFIG_MAPPING and kind not in _CONFIG_REGISTRY:
        own = next((cls for cls in map(configs.__getattr__, configs.__all__) if getattr(cls, "model_type", "") == kind), None)
        AutoConfig.register(kind, own or type(remote if remote in ASKED_FOR else "Remote", (RemoteConfig,), attributes))


def parse(argv):
    """vLLM's parser and what the API server checks before it loads a model; the parsers of tool calls and reasoning are imported."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            arguments = PARSER.parse_args(argv[2:])
    except SystemExit:
        raise ValueError(errors.getvalue().strip().splitlines()[-1]) from None
    validate_parsed_serve_args(arguments)
    arguments.structured_outputs_config.reasoning_parser = arguments.reasoning_parser or ""  # as EngineArgs does; the API server asks there
    validate_api_server_args(arguments)
    ParserManager.get_tool_parser(arguments.tool_call_parser, arguments.enable_auto_tool_choice)
    ParserManager.get_reasoning_parser(arguments.reasoning_parser)
    return arguments


def lay_out(config, folder):
    """Write the files of a checkpoint, its weights and code left out, and say in which format they are: Mistral's own has another name."""
    own = "dim" in config
    written = {key: value for key, value in config.items() if key != "auto_map"}
    (folder / ("params.json" if own else "config.json")).write_text(json.dumps({"dtype": "bfloat16"} | written if own else written))
    for architecture in config.get("architectures") or ():
        for name, beside in stand_ins.BESIDE.get(architecture, {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(beside))
    return "mistral" if own else "hf"


def engine_config(question, folder):
    """The parser, then EngineArgs.create_engine_config, which is the real validator."""
    forget()
    know(question["config"])
    TRUSTED["remote code"] = "--trust-remote-code" in question["argv"]
    config_format = lay_out(question["config"], folder)
    if question.get("hf_quant"):
        (folder / "hf_quant_config.json").write_text(json.dumps(question["hf_quant"]))
    arguments = parse(question["argv"])
    if drafter := question.get("drafter"):
        know(drafter)
        (folder / "drafter").mkdir(exist_ok=True)
        (folder / "drafter" / "config.json").write_text(json.dumps(drafter))
        arguments.speculative_config["model"] = str(folder / "drafter")
    arguments.model = arguments.tokenizer = str(folder)
    arguments.skip_tokenizer_init, arguments.load_format = True, "dummy"
    arguments.config_format = config_format
    arguments.reasoning_parser = arguments.structured_outputs_config.reasoning_parser = ""  # VllmConfig would build it around a tokenizer; it was imported
    return AsyncEngineArgs.from_cli_args(arguments).create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)


def defaults(config):
    """The settings that a release decides."""
    cache, scheduler = config.cache_config, config.scheduler_config
    return {
        "gpu_memory_utilization": cache.gpu_memory_utilization,
        "max_num_seqs": scheduler.max_num_seqs,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
        "enable_prefix_caching": cache.enable_prefix_caching,
        "async_scheduling": bool(getattr(scheduler, "async_scheduling", False)),
        "captured_sizes": len(config.compilation_config.cudagraph_capture_sizes or ()),
    }


def planned(question, folder):
    """What vLLM plans for a command; "env" is what is set for it."""
    from plan_oracle import plan

    for name in [name for name in os.environ if name.startswith("VLLM_PP_")]:
        del os.environ[name]
    os.environ |= question.get("env", {})
    return plan(engine_config(question, folder), question["available_bytes"], question.get("stage", 0), question.get("own", ()))


def answer(question):
    with tempfile.TemporaryDirectory() as folder:
        try:
            if "architectures" in question:
                return {"valid": True, "architectures": sorted(ModelRegistry.get_supported_archs())}
            if "config" not in question:
                parse(question["argv"])
                return {"valid": True}
            if question.get("plan"):
                return without_packages(planned, question, Path(folder))
            config = engine_config(question, Path(folder))
            if question.get("defaults"):
                return {"valid": True} | defaults(config)
            return {"valid": True, "max_model_len": config.model_config.max_model_len}
        except Exception as error:
            return {"valid": False, "error": " ".join(str(error).split())[:600] or repr(error)}


for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        result = answer(json.loads(line))
    print(json.dumps(result), flush=True)

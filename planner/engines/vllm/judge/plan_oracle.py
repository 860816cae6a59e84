"""vLLM's own model class on the meta device and its own KV planner: weights of rank 0, blocks, tokens, concurrency, needed bytes."""

import contextlib
import copy
import json
import re

import releases
import stand_ins
import torch
from torch.overrides import TorchFunctionMode
from vllm.config import set_current_vllm_config
from vllm.distributed import parallel_state
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors import CompressedTensorsKVCacheMethod
from vllm.model_executor.model_loader.utils import get_model_architecture, initialize_model
from vllm.model_executor.offloader.base import BaseOffloader, set_offloader
from vllm.platforms import current_platform
from vllm.utils.torch_utils import set_default_torch_dtype


class Ranks:
    """A process group of `size` ranks seen from one of them, without processes."""

    def __init__(self, size, rank=0):
        self.world_size, self.rank, self.rank_in_group, self.local_rank = size, rank, rank, rank
        self.ranks, self.first_rank, self.last_rank = list(range(size)), 0, size - 1
        self.is_first_rank, self.is_last_rank = rank == 0, rank == size - 1
        self.device, self.use_device_communicator, self.unique_name = torch.device("cpu"), False, "oracle"

    def size(self):
        return self.world_size

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self if name in ("device_group", "cpu_group") else None


# constants of activations and slopes of ALiBi, which size nothing
NUMBERS = {
    torch.Tensor.item: lambda tensor: 0,
    torch.Tensor.cpu: lambda tensor: tensor,
    torch.Tensor.tolist: lambda tensor: torch.zeros(tensor.shape, device="cpu").tolist(),
}


class OnMeta(TorchFunctionMode):
    """Tensors meant for a GPU are made on the meta device; those pinned in main memory too, as the judge's machine may have less."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords = dict(keywords or {})
        if function in NUMBERS and arguments[0].is_meta:
            return NUMBERS[function](arguments[0])
        if keywords.pop("pin_memory", None) or "cuda" in str(keywords.get("device", "")) or type(keywords.get("device")) is int:
            keywords["device"] = "meta"
        arguments = tuple("meta" if isinstance(a, torch.device | str) and str(a).startswith("cuda") else a for a in arguments)
        return function(*arguments, **keywords)


class NoStream:
    def __init__(self, *arguments, **keywords):
        pass


torch.cuda.Stream = torch.cuda.Event = NoStream


def pretend_ranks(parallel, stage=0, engram=None):
    """Groups as distributed/parallel_state.py initialize_model_parallel makes them, of the first rank of a stage."""
    tp, dp, prefill = parallel.tensor_parallel_size, parallel.data_parallel_size, getattr(parallel, "prefill_context_parallel_size", 1)
    sizes = {
        "_TP": tp,
        "_WORLD": tp,
        "_ETP": engram.get_parallel_size(parallel) if engram else tp,
        "_DP": dp,
        "_EP": dp * prefill * tp,
        "_EPLB": dp * prefill * tp,
        "_PCP": prefill,
        "_DCP": parallel.decode_context_parallel_size,
    }
    for name in (n for n in dir(parallel_state) if re.fullmatch(r"_[A-Z]{2,}(_[A-Z]+)*", n)):
        value = getattr(parallel_state, name)
        if value is None or isinstance(value, Ranks):
            setattr(parallel_state, name, Ranks(parallel.pipeline_parallel_size, stage) if name == "_PP" else Ranks(sizes.get(name, 1)))


def keep_cache_scales():
    """The Transformers backend gives the model's dtype to what lies on the meta device, as everything does here; on a GPU these scales do not."""
    create = CompressedTensorsKVCacheMethod.create_weights

    def create_weights(self, layer):
        create(self, layer)
        for name, parameter in layer.named_parameters(recurse=False):
            if name.endswith(("_scale", "_zero_point")):
                parameter.weight_loader = getattr(parameter, "weight_loader", None)

    CompressedTensorsKVCacheMethod.create_weights = create_weights


keep_cache_scales()


class Recorder(BaseOffloader):
    """Notes what vLLM's offloaders would keep in main memory (uva.py, prefetch.py), and moves nothing."""

    supports_tower_offload = True

    def __init__(self, asked):
        self.asked, self.bytes, self.kinds = asked, 0, {}

    def wrap_modules(self, modules_generator, prefix=""):
        modules = []
        for index, module in enumerate(modules_generator):
            modules.append(module)
            for name, parameter in module.named_parameters():
                size = parameter.numel() * parameter.element_size()
                if self.takes(index, f"{prefix}.{name}"):
                    self.bytes += size
                    self.kinds[name, tuple(parameter.shape), parameter.stride(), parameter.dtype] = size
        return modules

    def takes(self, index, name):
        prefetch, uva = self.asked.prefetch, self.asked.uva
        if prefetch.offload_group_size:
            meant = index % prefetch.offload_group_size >= prefetch.offload_group_size - prefetch.offload_num_in_group
        else:
            meant = self.bytes < int(uva.cpu_offload_gb * 1024**3)
        names = prefetch.offload_params if prefetch.offload_group_size else uva.cpu_offload_params
        return meant and (not names or any(f".{part}." in f".{name}." for part in names))


@contextlib.contextmanager
def own_mappings(config):
    """What a class fuses as it is, afterwards too: vLLM adds the text model's to it, even to the empty one that all classes share; a server has one model."""
    cls, _ = get_model_architecture(config.model_config)
    shared = [vars(parent)["packed_modules_mapping"] for parent in cls.__mro__ if isinstance(vars(parent).get("packed_modules_mapping"), dict)]
    before = copy.deepcopy(shared)
    try:
        yield
    finally:
        for mapping, kept in zip(shared, before, strict=True):
            mapping.clear()
            mapping.update(kept)


def cache_specs(config):
    layers = config.compilation_config.static_forward_context
    backends = {name: layer.get_attn_backend() for name, layer in layers.items() if hasattr(layer, "get_attn_backend")}
    current_platform.update_block_size_for_backend(config)
    specs = {}
    with set_current_vllm_config(config):
        for name, layer in layers.items():
            if isinstance(layer, AttentionLayerBase) and not getattr(layer, "kv_sharing_target_layer_name", None):
                spec = layer.get_kv_cache_spec(config)
                if spec is not None:
                    customized = name in backends and hasattr(spec, "num_kv_heads") and hasattr(backends[name], "customize_spec")
                    specs[name] = backends[name].customize_spec(spec) if customized else spec
    if releases.there_is("resolve_kv_cache_layout"):
        config.cache_config.kv_cache_layout = None
        supported = [[layout.name for layout in releases.get_supported_kv_cache_layouts(set(backends.values()))]]
        releases.resolve_kv_cache_layout(config, supported, list(specs.values()))
    return specs


def drafter_of(target, config, stage, own):
    """The drafter that the last stage loads (v1/worker/gpu/model_runner.py), where there is one."""
    if getattr(config, "speculative_config", None) is None or stage < config.parallel_config.pipeline_parallel_size - 1:
        return None
    import drafter_oracle

    return drafter_oracle.build(target, config, own)


def bytes_of(*models):
    """Bytes of the parameters of modules, each once."""
    held = {id(parameter): parameter for model in models if model is not None for parameter in model.parameters()}
    return sum(parameter.numel() * parameter.element_size() for parameter in held.values())


def plan(config, available_bytes, stage=0, own=()):
    """The plan of one rank of a pipeline stage, as JSON-ready values; `own` is what a drafter's checkpoint brings of what it could share."""
    pretend_ranks(config.parallel_config, stage, getattr(config, "engram_config", None))
    recorder = Recorder(config.offload_config)
    set_offloader(recorder)
    with (
        own_mappings(config),
        stand_ins.checkpoint(config),
        set_current_vllm_config(config),
        set_default_torch_dtype(config.model_config.dtype),
        torch.device("meta"),
        OnMeta(),
    ):
        model = initialize_model(config)
        drafter = drafter_of(model, config, stage, own)
    weights = bytes_of(model, drafter)
    specs = cache_specs(config)
    if not specs:  # an encoder keeps no cache
        return {"valid": True, "weight_bytes": weights}
    if releases.there_is("register_all_kvcache_specs"):
        releases.register_all_kvcache_specs(config)
    groups = releases.kv_cache_groups(config, specs)
    known = {"vllm_config": config, "kv_cache_groups": groups}
    if releases.there_is("get_kv_cache_config_builder"):
        known["builder"] = releases.get_kv_cache_config_builder(config)
    block = releases.called("_pool_bytes_per_block", **known)
    result = {
        "valid": True,
        "weight_bytes": weights,
        **({"drafter_bytes": weights - bytes_of(model)} if drafter is not None else {}),
        "block_bytes": block,
        "needed_bytes": releases.called("_max_memory_usage_bytes_from_groups", **known),
        "in_flight": getattr(config, "max_in_flight_tokens", config.scheduler_config.max_num_batched_tokens),
    }
    if recorder.bytes:
        buffers = (
            config.offload_config.prefetch.offload_prefetch_step * sum(recorder.kinds.values()) if config.offload_config.prefetch.offload_group_size else 0
        )
        result |= {"offloaded_bytes": recorder.bytes, "offload_buffer_bytes": buffers}
    memory = {"kv_cache_specs": [specs], "available_memory": [available_bytes], "global_kv_cache_groups": groups}
    try:
        planned = releases.called("get_kv_cache_configs", **known, **memory)
        scheduler = releases.generate_scheduler_kv_cache_config(planned)
        tokens, concurrency = releases.capacity(config, scheduler)
        result |= {"blocks": scheduler.num_blocks, "tokens": tokens, "concurrency": concurrency}
    except ValueError:
        result["longest"] = releases.called("_estimate_max_model_len_from_groups", **known, available_memory=available_bytes - block)
    return json.loads(json.dumps(result))

"""The drafter of a server beside its target: vLLM's own speculator loads it, on the meta device. Only parameters that the target does not hold are its own."""

import sys

import torch
from vllm.model_executor import model_loader
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.utils.torch_utils import set_default_torch_dtype

WITHOUT_WEIGHTS = ("ngram", "ngram_gpu", "suffix", "custom_class", "extract_hidden_states")


class Loader:
    """Stands in for a speculator: of the real one only what loads the drafter, nothing of what it allocates for a batch."""

    def __init__(self, kind, vllm_config):
        self.speculator = object.__new__(kind)
        self.speculator.__dict__ |= {
            "vllm_config": vllm_config,
            "speculative_config": vllm_config.speculative_config,
            "draft_model_config": vllm_config.speculative_config.draft_model_config,
            "draft_logits": None,
            "enable_adaptive_verification": False,
        }


def build(target, config, own):
    """The drafter's module, what it shares with its target shared; `own` are the parts that its checkpoint brings itself. None where nothing is loaded."""
    asked = config.speculative_config
    if asked is None or asked.method in WITHOUT_WEIGHTS:
        return None

    def made(*, vllm_config, model_config=None, prefix="", load_config=None):
        model_config = model_config or vllm_config.model_config
        with set_default_torch_dtype(model_config.dtype):
            model = initialize_model(vllm_config, model_config=model_config, prefix=prefix)
        for flag in own:  # as its loader notes it (models/utils.py process_eagle_weight)
            if hasattr(model, flag):
                setattr(model, flag, True)
        return model

    model_loader.get_model = made
    torch.equal = lambda *tensors: False  # a checkpoint that brings a part brings another than its target's
    torch.cuda.Event = torch.Event = type(torch.cuda.Stream)("Event", (), {"__init__": lambda self, *a, **k: None})
    from vllm.v1.worker.gpu.spec_decode import init_speculator
    from vllm.v1.worker.gpu.spec_decode.eagle.eagle3_utils import requires_aux_hidden_states, set_eagle3_aux_hidden_state_layers
    from vllm.v1.worker.gpu.spec_decode.speculator import DraftModelSpeculator

    for module in list(sys.modules.values()):
        if (getattr(module, "__name__", "") or "").startswith("vllm.v1.") and "get_model" in vars(module):
            module.get_model = made
    DraftModelSpeculator.__new__ = lambda kind, vllm_config, *arguments: Loader(kind, vllm_config)
    layers = config.compilation_config.static_forward_context
    names = {name for name, layer in layers.items() if isinstance(layer, AttentionLayerBase)}
    if requires_aux_hidden_states(asked):
        set_eagle3_aux_hidden_state_layers(target, asked, config.parallel_config.pipeline_parallel_size > 1)
    speculator = init_speculator(config, torch.device("meta"), None).speculator
    return speculator.load_draft_model(target, names)

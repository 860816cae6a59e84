"""vLLM's own LoRA manager on the meta device, JSON lines in and out; run by the judge's Python. argv as judge.py's first four.

A question: {"config": {...}, "argv": [...], "hf_quant": null} with --enable-lora in its command answers bytes of every stacked matrix.
"""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parents[2] / "planner" / "engines" / "vllm" / "judge"
sys.path.insert(0, str(HERE))
questions, sys.stdin = sys.stdin, io.StringIO()

import judge  # noqa: E402
import plan_oracle  # noqa: E402
import torch  # noqa: E402
from vllm.config import set_current_vllm_config  # noqa: E402
from vllm.lora import model_manager  # noqa: E402
from vllm.lora.layers import BaseLayerWithLoRA, fused_moe  # noqa: E402
from vllm.model_executor.model_loader.utils import initialize_model  # noqa: E402
from vllm.model_executor.models import supports_lora  # noqa: E402
from vllm.utils.torch_utils import set_default_torch_dtype  # noqa: E402


class Nothing:
    """Stands in for the kernels of adapters, which need a GPU."""

    def __init__(self, *arguments, **keywords):
        pass

    def __getattr__(self, name):
        return lambda *arguments, **keywords: None


def experts_with_lora(slices):
    def init(self, base_layer):
        torch.nn.Module.__init__(self)
        self.base_layer, self.moe_config, self._shared_experts = base_layer, base_layer.moe_config, base_layer._shared_experts
        self.tp_size, self.tp_rank = self.moe_config.moe_parallel_config.tp_size, self.moe_config.moe_parallel_config.tp_rank
        self.device, self._enable_aux_cuda_stream, self._moe_kernel = torch.device("meta"), False, Nothing()
        self._w13_slices = slices or (2 if self.moe_config.is_act_and_mul else 1)
        self.enable_moe_shared_loras = False
        self.n_slices = self.local_num_experts * (self._w13_slices + 1)

    return init


fused_moe.FusedMoEWithLoRA.__init__, fused_moe.FusedMoE3DWithLoRA.__init__ = experts_with_lora(0), experts_with_lora(1)
fused_moe.FusedMoEWithLoRA.set_mapping = lambda self, wrapper: None
model_manager.get_punica_wrapper = Nothing


def stacked(module):
    """The tensors that a wrapped layer makes."""
    if isinstance(module, fused_moe.FusedMoEWithLoRA):
        return [*module.w13_lora_a_stacked, *module.w13_lora_b_stacked, *module.w2_lora_a_stacked, *module.w2_lora_b_stacked, module.adapter_enabled]
    return [tensor for held in (module.lora_a_stacked, module.lora_b_stacked) for tensor in (held if isinstance(held, tuple | list) else [held])]


def adapters(config, model):
    scheduler = config.scheduler_config
    sizes = (scheduler.max_num_seqs, scheduler.max_num_batched_tokens, config.model_config.get_vocab_size())
    model_manager.LoRAModelManager(model, *sizes, config.lora_config, torch.device("meta"), config)
    wrapped = [module for module in model.modules() if isinstance(module, BaseLayerWithLoRA)]
    return {"lora_bytes": sum(tensor.numel() * tensor.element_size() for module in wrapped for tensor in stacked(module))}


def answer(question, folder):
    config = judge.engine_config(question, folder)
    plan_oracle.pretend_ranks(config.parallel_config)
    with set_current_vllm_config(config), set_default_torch_dtype(config.model_config.dtype), torch.device("meta"), plan_oracle.OnMeta():
        model = initialize_model(config)
        if not supports_lora(model):  # v1/worker/lora_model_runner_mixin.py
            raise ValueError(f"{type(model).__name__} does not support LoRA yet.")
        return adapters(config, model)


for line in questions:
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        try:
            result = answer(json.loads(line), Path(folder))
        except Exception as error:
            result = {"error": " ".join(str(error).split())[:600] or repr(error)}
    print(json.dumps(result), flush=True)

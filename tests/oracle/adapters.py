"""vLLM's own LoRA manager and drafters on the meta device, JSON lines in and out; run by the judge's Python. argv as judge.py's first four.

A question: {"config": {...}, "argv": [...], "hf_quant": null} with --enable-lora in its command answers bytes of every stacked matrix; with
--speculative-config bytes of the drafter's parameters less what it shares, of a block and of a request. A drafter apart: "drafter": its config.
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
from vllm.compilation.backends import set_model_tag  # noqa: E402
from vllm.config import replace, set_current_vllm_config  # noqa: E402
from vllm.lora import model_manager  # noqa: E402
from vllm.lora.layers import BaseLayerWithLoRA, fused_moe  # noqa: E402
from vllm.model_executor.model_loader.utils import initialize_model  # noqa: E402
from vllm.utils.torch_utils import set_default_torch_dtype  # noqa: E402
from vllm.v1.core import kv_cache_planning, single_type_kv_cache_manager  # noqa: E402
from vllm.v1.core.kv_cache_config_builder import get_kv_cache_config_builder  # noqa: E402


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


def drafter(config):
    """Parameters of the drafter that are its own once loaded: words are the target's, heads too but EAGLE-3's and a small model's."""
    spec = config.speculative_config
    if spec.method in ("ngram", "suffix"):
        return {"drafter_bytes": 0}
    alone = spec.method == "draft_model"
    own = replace(config, model_config=spec.draft_model_config, quant_config=None) if alone else config
    own.compilation_config = config.compilation_config
    with set_model_tag("eagle_head"):
        model = initialize_model(own, model_config=spec.draft_model_config, prefix="draft_model" if alone else "")
    shared = () if alone else ("embed_tokens.weight", "shared_head.head.weight", *(() if spec.method == "eagle3" else ("lm_head.weight",)))
    return {"drafter_bytes": sum(held.numel() * held.element_size() for name, held in model.named_parameters() if not name.endswith(shared))}


def cache(config):
    specs = plan_oracle.cache_specs(config)
    single_type_kv_cache_manager.register_all_kvcache_specs(config)
    groups = kv_cache_planning.get_global_kv_cache_groups(config, [specs])
    needed = kv_cache_planning._max_memory_usage_bytes_from_groups(get_kv_cache_config_builder(config), config, groups)
    sizes = len(config.compilation_config.cudagraph_capture_sizes)
    return {
        "block_bytes": kv_cache_planning._pool_bytes_per_block(config, groups),
        "needed_bytes": needed,
        "in_flight": config.max_in_flight_tokens,
        "graph_sizes": sizes,
    }


def answer(question, folder):
    if "drafter" in question:
        apart = folder / "drafter"
        apart.mkdir()
        (apart / "config.json").write_text(json.dumps(question["drafter"]))
        said = question["argv"].index("--speculative-config") + 1
        question["argv"][said] = json.dumps(json.loads(question["argv"][said]) | {"model": str(apart)})
    config = judge.engine_config(question, folder)
    plan_oracle.pretend_ranks(config.parallel_config)
    with set_current_vllm_config(config), set_default_torch_dtype(config.model_config.dtype), torch.device("meta"), plan_oracle.OnMeta():
        model = initialize_model(config)
        found = adapters(config, model) if config.lora_config else drafter(config)
    return found if config.lora_config else found | cache(config)


for line in questions:
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        try:
            result = answer(json.loads(line), Path(folder))
        except Exception as error:
            result = {"error": " ".join(str(error).split())[:600] or repr(error)}
    print(json.dumps(result), flush=True)

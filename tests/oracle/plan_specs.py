"""vLLM's own KV planner on caches described by hand, JSON lines in and out; run by the judge's Python. argv as judge.py's first four."""

import contextlib
import json
import sys
from types import SimpleNamespace

import simulated_gpu

name, capability, memory, count = sys.argv[1:5]
simulated_gpu.install(name, tuple(int(part) for part in capability.split(".")), int(memory), int(count))

import torch  # noqa: E402
from vllm.config import CacheConfig, VllmConfig  # noqa: E402
from vllm.v1.core import kv_cache_planning, kv_cache_utils, single_type_kv_cache_manager  # noqa: E402
from vllm.v1.core.kv_cache_config_builder import get_kv_cache_config_builder  # noqa: E402
from vllm.v1.kv_cache_interface import (  # noqa: E402
    ChunkedLocalAttentionSpec,
    FullAttentionSpec,
    MambaSpec,
    MLAAttentionSpec,
    SlidingWindowSpec,
)

DTYPES = {16: torch.bfloat16, 8: torch.uint8, 32: torch.float32}


def spec(part):
    kind, block = part["kind"], part["block"]
    if kind == "state":
        shapes = tuple(tuple(shape) for shape in part["shapes"])
        dtypes = tuple(DTYPES[bits] for bits in part["bits"])
        return MambaSpec(
            block_size=block,
            shapes=shapes,
            dtypes=dtypes,
            page_size_padded=part["page"],
            mamba_cache_mode="align",
            num_prefill_checkpoint_blocks=part["checkpoints"],
        )
    common = {"block_size": block, "dtype": DTYPES[part["bits"]]}
    if kind == "latent":
        return MLAAttentionSpec(num_kv_heads=1, head_size=part["dim"], max_tp_shards=1, **common)
    common |= {"num_kv_heads": part["heads"], "head_size": part["dim"]}
    if kind == "sliding":
        return SlidingWindowSpec(sliding_window=part["window"], **common)
    if kind == "chunked":
        return ChunkedLocalAttentionSpec(attention_chunk_size=part["window"], **common)
    return FullAttentionSpec(**common)


def config(question):
    made = VllmConfig(cache_config=CacheConfig(block_size=question["block"]))
    made.scheduler_config.max_num_batched_tokens = question["batch"]
    made.scheduler_config.async_scheduling = True
    made.cache_config.kv_cache_layout = "LBNHC"
    made.cache_config.mamba_cache_mode = "align" if question["state"] else "none"
    length = question["max_model_len"]
    facts = {"max_model_len": length, "original_max_model_len": length, "supports_kv_cache_grouping": False}
    object.__setattr__(made, "model_config", SimpleNamespace(**facts, architectures=[], is_hybrid=False, multimodal_config=None))
    return made


def answer(question):
    vllm_config = config(question)
    specs = {f"{part['kind']}.{layer}": spec(part) for part in question["specs"] for layer in part["layers"]}
    single_type_kv_cache_manager.register_all_kvcache_specs(vllm_config)
    groups = kv_cache_planning.get_global_kv_cache_groups(vllm_config, [specs])
    builder, block = get_kv_cache_config_builder(vllm_config), kv_cache_planning._pool_bytes_per_block(vllm_config, groups)
    found = {"block_bytes": block, "needed_bytes": kv_cache_planning._max_memory_usage_bytes_from_groups(builder, vllm_config, groups)}
    try:
        planned = kv_cache_planning.get_kv_cache_configs(vllm_config, [specs], [question["available_bytes"]], groups)
        tokens, concurrency = kv_cache_utils.get_kv_cache_capacity(vllm_config, kv_cache_utils.generate_scheduler_kv_cache_config(planned))
        return found | {"blocks": planned[0].num_blocks, "tokens": tokens, "concurrency": concurrency}
    except ValueError:
        longest = kv_cache_planning._estimate_max_model_len_from_groups(builder, vllm_config, groups, question["available_bytes"] - block)
        return found | {"longest": longest}


for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        result = answer(json.loads(line))
    print(json.dumps(result), flush=True)

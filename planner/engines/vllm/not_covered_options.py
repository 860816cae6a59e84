"""Settings that are in the ledger for most models and releases, and for which they are not."""

from __future__ import annotations

from collections.abc import Iterator

from planner.engines.vllm.backends import AUTO, known
from planner.engines.vllm.dtypes import PACKED_DTYPES
from planner.engines.vllm.layouts import chooses_backend
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import VERSIONS
from planner.facts.attention import per_head
from planner.facts.model import ModelSpec
from planner.facts.not_covered import NotCovered

_MAMBA_2 = ("Bamba", "FalconH1", "GraniteMoeHybrid", "NemotronH", "Zamba2", "Plamo2", "Mamba2")  # SupportsMambaPrefixCaching until 0.31


def uncovered_options(model: ModelSpec, config: ServeConfig, backend: str = "", block_size: int = 0) -> Iterator[NotCovered]:
    """Which of the settings of the cache's layout the ledger does not hold for this model and release; `backend` and `block_size` are vLLM's own choice."""
    release = VERSIONS[config.vllm_version]
    asked = (config.attention_backend or AUTO).upper()
    if asked not in (AUTO, backend) and not (known(asked) and chooses_backend(model)):
        yield NotCovered(flag="--attention-backend", what="pages of another attention backend", effect="either")
    if config.block_size and config.block_size != block_size and not chooses_backend(model):
        yield NotCovered(flag="--block-size", what="blocks of another size", effect="either")
    if config.kv_cache_dtype_skip_layers and not _skips_plainly(model, config):
        yield NotCovered(flag="--kv-cache-dtype-skip-layers", what="layers with a 16-bit cache", effect="adds")
    if config.num_gpu_blocks_override is not None and not release.blocks_override_checked:
        yield NotCovered(flag="--num-gpu-blocks-override", what="a number of blocks set by hand", effect="either")
    if config.enable_prefix_caching and model.has_state and release.state_of_every_block and model.architecture.startswith(_MAMBA_2):
        yield NotCovered(flag="--enable-prefix-caching", what="states of every block", effect="adds")
    if config.disable_hybrid_kv_cache_manager and model.is_compressed:
        yield NotCovered(flag="--disable-hybrid-kv-cache-manager", what="windows that are kept whole", effect="either")


def _skips_plainly(model: ModelSpec, config: ServeConfig) -> bool:
    """Whether blocks of skipped layers are known: keys and values by head, of one width in all layers."""
    heads = [per_head(cache) for cache in model.caches]
    shapes = {(cache.kv_heads, cache.head_dim, cache.head_dim_v) for cache in heads if cache}
    return None not in heads and len(shapes) == 1 and config.kv_cache_dtype not in PACKED_DTYPES

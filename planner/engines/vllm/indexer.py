"""What a sparse indexer works in beside its cache: keys that it gathers, logits of a prompt, logits of a decode batch over the whole context.

From shapes, all of it seen while vLLM profiles: model_executor/layers/sparse_attn_indexer.py, v1/attention/backends/mla/indexer.py get_max_prefill_buffer_size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.arrays import Whole, minimum, where
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.versions import VERSIONS
from planner.facts.model import ModelSpec
from planner.units import MIB

if TYPE_CHECKING:
    from planner.engines.vllm.ledger_settings import LedgerSettings

_CONTEXTS, _CONTEXTS_OF_LONG, _LONG = 40, 16, 256 * 1024  # contexts of keys that are gathered at once; fewer of those longer than that
PROMPT_LOGITS_BYTES = 512 * MIB  # envs.py VLLM_SPARSE_INDEXER_MAX_LOGITS_MB
_LOGIT_BYTES = 4


def gathered_keys(model: ModelSpec, config: LedgerSettings[Whole]) -> Whole | int:
    """Bytes of the keys that are gathered for a prompt, in the workspace that experts use too; 0 for a model without an indexer."""
    if (indexed := model.indexed) is None:
        return 0
    entry_bytes, tokens_per_entry = indexed
    release = VERSIONS[config.vllm_version]
    contexts = where(config.max_model_len > _LONG, _CONTEXTS_OF_LONG, _CONTEXTS) if release.gathers_less else _CONTEXTS
    copies = 1 if release.gathers_in_workspace else 2  # before, they were profiled as one tensor and its two parts
    return copies * entry_bytes * (contexts * config.max_model_len // tokens_per_entry)


def prompt_logits(model: ModelSpec, config: LedgerSettings[Whole]) -> int:
    """Bytes of a prompt's logits, which are set aside while profiling."""
    return PROMPT_LOGITS_BYTES if model.indexed and VERSIONS[config.vllm_version].prompt_logits_profiled else 0


def decode_logits(model: ModelSpec, config: LedgerSettings[Whole], largest_graph: Whole, outlook: Outlook) -> Whole | int:
    """Bytes of the logits of the largest batch that is captured, over the whole context: once in the graphs' pool, once where it was warmed up.

    Optimistic: the warm-up's are given back (v1/worker/gpu_model_runner.py profile_cudagraph_memory).
    """
    if (indexed := model.indexed) is None:
        return 0
    rows = minimum(config.max_num_seqs * (1 + config.num_speculative_tokens), largest_graph)
    copies = 1 if outlook is Outlook.OPTIMISTIC else 2
    logits: Whole = copies * _LOGIT_BYTES * rows * (config.max_model_len // indexed[1])
    return logits

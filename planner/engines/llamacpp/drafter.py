"""What drafts tokens for a server: a smaller model with a context of its own, or layers of the model's own file that predict further tokens (MTP).

Sources: llama.cpp common/speculative.cpp common_base_params_to_speculative (the whole of the server's settings, but model, layers on the GPU and cache
types), tools/server/server-context.cpp load_model, common/common.h need_n_rs_seq; measured with v0.5.0 (tests/oracle/llamacpp_device.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.engines.llamacpp.builds import STATES_ROLLED_BACK
from planner.engines.llamacpp.layers import ATTENTION, Layer, Part
from planner.engines.llamacpp.model import GgufModel
from planner.facts.attention import FullAttention
from planner.facts.not_covered import NotCovered
from planner.facts.record import dataclass
from planner.facts.settings import Value
from planner.text import slug

SIMPLE, MTP = "draft-simple", "draft-mtp"  # of --spec-type: a smaller model, and the model's own layers
DRAFTED = 3  # --spec-draft-n-max where nothing is said (common/common.h)
NGRAM_DRAFTED = 64  # --spec-ngram-mod-n-max: the most of any kind of n-grams
# Families whose context of predicting layers keeps these layers' cache only; those of others were not measured.
_OWN_CACHE = ("qwen35", "qwen36")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafter:
    """A model that drafts: `is_head` where it is layers of the server's own. Of its context all but these settings is the server's."""

    model: GgufModel
    is_head: bool = False
    kv_type: str = "f16"
    value_type: str = ""
    gpu_layers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """Kinds of --spec-type, how many tokens at a time, the drafter where one is held, and what is not in the ledger."""

    kinds: tuple[str, ...] = ()
    drafted: int = 0
    drafter: Drafter | None = None
    missing: tuple[NotCovered, ...] = ()
    settings: tuple[tuple[str, Value], ...] = ()

    def states(self, model: GgufModel, build: int) -> int:
        """Earlier recurrent states that are kept beside each."""
        return rolled_back(model, self.kinds, self.drafted) if build >= STATES_ROLLED_BACK else 0


def head_of(model: GgufModel) -> GgufModel | None:
    """The layers of a file that predict further tokens, with the cache that they keep; None for a family whose context was not measured.

    Of a model whose header is not here they count as one more of its layers with attention, and the matrix that joins words and hidden states.
    """
    if not slug(model.architecture).replace("-", "").replace("_", "").startswith(_OWN_CACHE):
        return None
    index = next((index for index in reversed(range(model.layer_count)) if any(isinstance(cache, FullAttention) for cache in model.layers[index].caches)), None)
    if index is None:
        return None
    attends = model.layers[index]
    joined = 2 * model.hidden * model.hidden * attends.bytes_of((Part.REST, *ATTENTION)) // max(1, _rest_elements(model))
    size = model.predicting_bytes or attends.bytes + joined
    parts = ((Part.REST, size - sum(held for part, held in attends.parts if part is not Part.REST)), *(row for row in attends.parts if row[0] is not Part.REST))
    return replace(
        model,
        name=f"{model.name} predicting",
        layers=(Layer(parts, attends.caches),),
        flows=(model.flows[index],),
        input_bytes=0,
        output_bytes=0,
        predicting_bytes=0,
        mmproj_bytes=0,
    )


def _rest_elements(model: GgufModel) -> int:
    """Weights of a layer's attention: queries with their gate, keys, values, output."""
    return model.hidden * (model.query_width * (3 if model.gated_query else 2) + 2 * model.kv_width)


def rolled_back(model: GgufModel, kinds: Sequence[str], drafted: int) -> int:
    """Earlier recurrent states that a server keeps beside each, so that what was drafted in vain is undone (llm_arch_supports_rs_rollback)."""
    is_rolled = any(kind.startswith("draft-") and kind != SIMPLE for kind in kinds)
    return drafted if is_rolled and slug(model.architecture).replace("-", "").replace("_", "").startswith(_OWN_CACHE) else 0

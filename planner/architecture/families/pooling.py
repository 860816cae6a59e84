"""What embeds, ranks and classifies: encoders, and decoders under a class of their own for it.

What vLLM makes of any other generative class when its name says so is conversions.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import encoders, heads, plain, rope, text
from planner.architecture.families.conversions import with_head, without_head
from planner.architecture.families.dense import BY_TYPE
from planner.architecture.families.dense_images import QWEN2_VL, QWEN3_VL
from planner.architecture.families.early import GPT2
from planner.architecture.families.experts import GPT_OSS
from planner.architecture.families.gemma import GEMMA2
from planner.architecture.families.hybrid import JAMBA, LFM2
from planner.architecture.families.images import PALIGEMMA, QWEN3_5_VL
from planner.architecture.families.latent import DEEPSEEK
from planner.architecture.families.llama import INTERNLM2, LLAMA, MISTRAL, QWEN2, QWEN3
from planner.architecture.family import Family
from planner.architecture.towers import siglips

BERT = Family(layers=encoders.bert, more={"embedding": encoders.bert_embedding}, rope=encoders.bert_rope, head=False, norm=False, pipeline=False, name="bert")
MODERNBERT = Family(layers=encoders.modernbert, more={"embedding": encoders.word_norm}, rope=rope.mimo_rope, head=False, pipeline=False, name="modernbert")
GTE = Family(layers=encoders.gte, more={"embedding": encoders.typed_embedding}, head=False, norm=False, pipeline=False, name="gte")


def _ending(family: Family, head: heads.Head) -> Family:
    """The encoder with that head behind its last layer."""
    return replace(family, more={**family.more, "norm": head})


def _beside(family: Family, head: heads.Head) -> Family:
    """The class with that head beside its output head, which it keeps."""
    return replace(with_head(family, head), head=True)


def _encoding(family: Family) -> Family:
    """The decoder whose tokens see each other in both directions: it keeps no cache."""
    return replace(without_head(family), layers=text.without_cache(family.layers))


COLQWEN = replace(_beside(QWEN3_VL, heads.colpali()), outer=heads.COLPALI_KEYS)
MODERNVBERT = replace(
    with_head(replace(MODERNBERT, layers=text.unquantized(MODERNBERT.layers)), heads.colpali(bias=True, default=128)),
    tower=siglips.modernvbert,
    outer=heads.COLPALI_KEYS,
    name="modernvbert",
)
CLIP = Family(
    layers=siglips.text_layers,
    tower=siglips.clip_vision,
    more={"embedding": siglips.text_positions, "norm": plain.final_bias, "every": siglips.clip_projection},
    rope=rope.no_rope,
    head=False,
    pipeline=False,
    outer=("projection_dim",),
    name="clip",
)
SIGLIP = replace(
    CLIP,
    layers=text.without_cache(siglips.text_layers),
    tower=siglips.siglip_vision,
    more={**CLIP.more, "every": siglips.siglip_projection},
    rope=siglips.siglip_positions,
    outer=(),
    name="siglip",
)

FAMILIES: Mapping[str, Family] = {
    "LlamaModel": without_head(LLAMA),
    "MistralModel": without_head(MISTRAL),
    "Qwen2Model": without_head(QWEN2),
    "Gemma2Model": without_head(GEMMA2),
    "DeepseekV3BidirectionalModel": without_head(DEEPSEEK),
    "LlamaBidirectionalModel": _encoding(LLAMA),
    "LlamaBidirectionalForSequenceClassification": with_head(_encoding(LLAMA), heads.score),
    "VoyageQwen3BidirectionalEmbedModel": replace(with_head(_encoding(QWEN3), heads.voyage), pipeline=False),
    "Lfm2BidirectionalModel": replace(_encoding(LFM2), pipeline=False),
    "JinaForRanking": replace(with_head(QWEN3, heads.jina_ranking), pipeline=False),
    "JinaEmbeddingsV5Model": without_head(QWEN3),
    "Qwen2ForRewardModel": with_head(QWEN2, heads.two_layers(1)),
    "Qwen2ForProcessRewardModel": with_head(QWEN2, heads.two_layers(2)),
    "InternLM2ForRewardModel": with_head(INTERNLM2, heads.internlm_reward),
    "GPT2ForSequenceClassification": replace(with_head(GPT2, heads.score), pipeline=False),
    "JambaForSequenceClassification": replace(JAMBA, more={"every": heads.score}),
    "JinaVLForRanking": _beside(QWEN2_VL, heads.two_layers(1, quantized=False)),
    "ColQwen3": COLQWEN,
    "OpsColQwen3Model": COLQWEN,
    "Qwen3VLNemotronEmbedModel": COLQWEN,
    "ColPaliForRetrieval": replace(_beside(PALIGEMMA, heads.colpali()), inside="vlm_config", outer=heads.COLPALI_KEYS),
    "ColQwen3_5": replace(_beside(QWEN3_5_VL, heads.colpali(bias=True, default=128)), outer=heads.COLPALI_KEYS),
    "D3ForSequenceClassification": with_head(QWEN3_5_VL, heads.score),
    "BertModel": BERT,
    "RobertaModel": BERT,
    "XLMRobertaModel": BERT,
    "RobertaForMaskedLM": BERT,
    "BertForMaskedLM": _ending(BERT, heads.masked_words),
    "BertSpladeSparseEmbeddingModel": _ending(BERT, heads.masked_words),
    "BgeM3EmbeddingModel": _ending(BERT, heads.bge_m3),
    "BertForTokenClassification": _ending(BERT, heads.classifier),
    "RobertaForTokenClassification": _ending(BERT, heads.classifier),
    "XLMRobertaForTokenClassification": _ending(BERT, heads.classifier),
    "BertForSequenceClassification": _ending(BERT, heads.pooled_classifier),
    "RobertaForSequenceClassification": _ending(BERT, heads.roberta_classifier),
    "XLMRobertaForSequenceClassification": _ending(BERT, heads.roberta_classifier),
    "HF_ColBERT": _ending(BERT, heads.colbert),
    "ColBERTJinaRobertaModel": _ending(BERT, heads.colbert),
    "ColBERTModernBertModel": with_head(MODERNBERT, heads.colbert),
    "ColBERTLfm2Model": replace(with_head(LFM2, heads.colbert), pipeline=False),
    "ModernBertModel": MODERNBERT,
    "ModernBertForSequenceClassification": with_head(MODERNBERT, heads.modernbert_sequence),
    "ModernBertForTokenClassification": with_head(MODERNBERT, heads.modernbert_tokens),
    "GteModel": GTE,
    "GteNewModel": GTE,
    "GteNewForSequenceClassification": _ending(GTE, heads.gte_classifier),
    "NomicBertModel": Family(
        layers=encoders.nomic,
        more={"embedding": encoders.typed_embedding},
        head=False,
        norm=False,
        pipeline=False,
        renamed={
            "n_embd": "hidden_size",
            "n_head": "num_attention_heads",
            "n_inner": "intermediate_size",
            "n_layer": "num_hidden_layers",
        },
        defaults={"max_position_embeddings": 2048},  # n_positions is not read
        name="nomic",
    ),
    "OpenAIPrivacyFilterForTokenClassification": replace(
        with_head(GPT_OSS, heads.scored_tokens), layers=text.without_cache(GPT_OSS.layers), whole_stages=frozenset(), pipeline=False
    ),
    "ColModernVBertForRetrieval": replace(MODERNVBERT, inside="vlm_config"),
    "ModernVBertModel": MODERNVBERT,
    "CLIPModel": CLIP,
    "SiglipModel": SIGLIP,
    "TransformersEmbeddingModel": without_head(BY_TYPE),
    "TransformersMoEEmbeddingModel": without_head(BY_TYPE),
    "TransformersForSequenceClassification": with_head(BY_TYPE, heads.whole_score),
    "TransformersMoEForSequenceClassification": with_head(BY_TYPE, heads.whole_score),
}

"""What embeds, ranks and classifies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import encoders, plain, rope
from planner.architecture.families.dense import LLAMA, MISTRAL, QWEN2, QWEN3
from planner.architecture.family import Family

BERT = Family(layers=encoders.bert, more={"embedding": encoders.bert_embedding}, rope=rope.no_rope, head=False, norm=False, pipeline=False, name="bert")


def _scoring(family: Family) -> Family:
    return replace(family, head=False, more={"every": plain.score})


FAMILIES: Mapping[str, Family] = {
    "Qwen3Model": replace(QWEN3, head=False),
    "LlamaModel": replace(LLAMA, head=False),
    "MistralModel": replace(MISTRAL, head=False),
    "Qwen2Model": replace(QWEN2, head=False),
    "LlamaForSequenceClassification": _scoring(LLAMA),
    "Qwen2ForSequenceClassification": _scoring(QWEN2),
    "Qwen3ForSequenceClassification": _scoring(QWEN3),
    "BertModel": BERT,
    "RobertaModel": BERT,
    "XLMRobertaModel": BERT,
    "BertForSequenceClassification": replace(BERT, more={**BERT.more, "norm": encoders.bert_classifier}),
    "RobertaForSequenceClassification": replace(BERT, more={**BERT.more, "norm": encoders.roberta_classifier}),
    "XLMRobertaForSequenceClassification": replace(BERT, more={**BERT.more, "norm": encoders.roberta_classifier}),
    "ModernBertModel": Family(
        layers=encoders.modernbert, more={"embedding": encoders.word_norm}, rope=rope.mimo_rope, head=False, pipeline=False, name="modernbert"
    ),
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
}

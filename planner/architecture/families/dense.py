"""Dense decoders that are not built as Llama is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import own, plain, rope, text
from planner.architecture.composed import FOUR, Heads, decoder, down_biased, gated
from planner.architecture.config import Config
from planner.architecture.defaults import text_model
from planner.architecture.families.llama import LLAMA, OWN_THREE, THE_TWO
from planner.architecture.family import ALL_ENDS, Family, reading

CHATGLM = Family(
    head_name="transformer.output_layer",
    layers=text.chatglm,
    rope=rope.HALF,
    whole_stages=ALL_ENDS,
    renamed={
        "num_layers": "num_hidden_layers",
        "ffn_hidden_size": "intermediate_size",
        "kv_channels": "head_dim",
        "multi_query_group_num": "num_key_value_heads",
        "padded_vocab_size": "vocab_size",
        "seq_length": "max_position_embeddings",
    },
    name="glm",
)
MUSE = Heads(gated="per-element", gate_name="output_gate_proj", every=4)
GRANITE_SWA = Heads(sinks=True, window=128, every=4, first=True)


def own_class(config: Config) -> list[str]:
    """The class of the config's model_type, whatever class the file names."""
    return text_model(Config({key: value for key, value in config.data.items() if key != "architectures"}, config.path))


BY_TYPE = Family(layers=text.llama(), text=own_class)


def _shaped(shape: plain.Shape, name: str, *keys: str) -> Family:
    """A decoder of that shape whose class asks for the biases of these keys alone."""
    more = {"norm": plain.final_bias} if shape.norm_bias else {}
    return Family(layers=reading(plain.shaped(shape), *keys), more=more, rope=rope.no_rope, name=name)


COHERE = Family(layers=text.cohere, tied=True, head_quantized=False, whole_stages=ALL_ENDS, name="cohere")
MINICPM = replace(LLAMA, layers=reading(text.llama()), whole_stages=ALL_ENDS, tied=True, name="minicpm")

FAMILIES: Mapping[str, Family] = {
    "CohereForCausalLM": COHERE,
    "Cohere2ForCausalLM": COHERE,
    "Phi3ForCausalLM": Family(layers=text.phi3, name="phi"),
    "DeciLMForCausalLM": Family(layers=own.nemotron_nas, name="nemotron"),
    "HyperCLOVAXForCausalLM": Family(layers=reading(text.hyperclova, *THE_TWO), name="hyperclova"),
    "ChatGLMModel": CHATGLM,
    "ChatGLMForConditionalGeneration": CHATGLM,
    "MiniCPMForCausalLM": MINICPM,
    "OrionForCausalLM": replace(_shaped(plain.STABLELM, "orion"), rope=rope.rope_tables, whole_stages=ALL_ENDS),
    "ApertusForCausalLM": replace(_shaped(plain.APERTUS, "apertus", *OWN_THREE, "qkv_bias"), rope=rope.rope_tables),
    "FalconForCausalLM": Family(
        layers=own.falcon,
        more={"norm": plain.final_bias},
        tied=True,
        whole_stages=ALL_ENDS,
        renamed={"num_kv_heads": "num_key_value_heads"},
        defaults={"max_position_embeddings": 2048},
        name="falcon",
    ),
    "NemotronForCausalLM": replace(_shaped(plain.NEMOTRON, "nemotron", *OWN_THREE), rope=rope.HALF),
    "StableLmForCausalLM": replace(_shaped(plain.STABLELM, "stablelm", "use_qkv_bias"), rope=rope.QUARTER, whole_stages=ALL_ENDS),
    "Starcoder2ForCausalLM": replace(_shaped(plain.STARCODER2, "starcoder", "use_bias"), tied=True),
    "PhiForCausalLM": _shaped(plain.PHI, "phi"),
    "GPTNeoXForCausalLM": replace(
        _shaped(plain.STARCODER2, "pythia"), layers=reading(text.joined(plain.shaped(plain.STARCODER2), "qkv_proj"), "attention_bias")
    ),
    "ArceeForCausalLM": _shaped(plain.ARCEE, "arcee", *THE_TWO),
    "HunYuanDenseV1ForCausalLM": _shaped(plain.HUNYUAN, "hunyuan", "attention_bias"),
    "OlmoForCausalLM": replace(_shaped(plain.OLMO, "olmo", "attention_bias"), norm=False),
    "Olmo2ForCausalLM": _shaped(plain.OLMO2, "olmo", "attention_bias"),
    "Olmo3ForCausalLM": _shaped(plain.OLMO2, "olmo", "attention_bias"),
    "TeleChat2ForCausalLM": Family(
        layers=decoder(Heads(output_bias=True), down_biased),
        renamed={
            "n_layer": "num_hidden_layers",
            "n_head": "num_attention_heads",
            "ffn_hidden_size": "intermediate_size",
            "seq_length": "max_position_embeddings",
        },
        name="telechat",
    ),
    "GraniteSWAForCausalLM": Family(layers=decoder(GRANITE_SWA, gated()), tied=True, name="granite"),
    "Jais2ForCausalLM": replace(_shaped(plain.STARCODER2, "jais", *THE_TWO), rope=rope.no_rope),
    "VaultGemmaForCausalLM": replace(
        _shaped(plain.VAULT_GEMMA, "gemma", "attention_bias"), tied=True, defaults={"sliding_window": 4096, "num_key_value_heads": 4, "head_dim": 256}
    ),
    "PanguEmbeddedForCausalLM": Family(layers=text.llama(), name="pangu"),
    "Plamo3ForCausalLM": Family(
        layers=reading(decoder(Heads(norms="head"), gated(), ("pre_mixer_norm", "post_mixer_norm", "pre_mlp_norm", "post_mlp_norm"))),
        head=False,
        more={"head": own.plamo_head},
        renamed={"window_size": "sliding_window"},
        whole_stages=ALL_ENDS,
        scaled=False,
        name="plamo",
    ),
    "Rnj1ForCausalLM": Family(layers=reading(decoder(Heads(norms="head"), gated(), FOUR), "attention_bias"), tied=True, whole_stages=ALL_ENDS, name="rnj"),
    "Step1ForCausalLM": Family(
        layers=decoder(Heads(), gated()), rope=rope.no_rope, tied=True, renamed={"num_attention_groups": "num_key_value_heads"}, name="step"
    ),
    "MuseGlimmerForCausalLM": Family(layers=reading(decoder(MUSE, gated(), FOUR)), whole_stages=ALL_ENDS, name="muse"),
    "IQuestLoopCoderForCausalLM": Family(layers=reading(own.loop_coder), whole_stages=ALL_ENDS, pipeline=False, name="iquest"),
    "HrmTextForCausalLM": Family(
        layers=own.hrm, depth=own.hrm_layers, more={"embedding": own.hrm_start}, norm=False, pipeline=False, adapted=own.hrm_stacks, name="hrm"
    ),
    "DomynEdgeForCausalLM": Family(layers=own.domyn_edge, rope=rope.exact, tied=True, head_shared=True, pipeline=False, name="domyn"),
    "TransformersForCausalLM": BY_TYPE,
    "TransformersMoEForCausalLM": BY_TYPE,
}

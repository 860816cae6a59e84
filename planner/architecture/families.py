"""The closed list of architectures: which builders make each, and what sets it apart from its kin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from functools import partial

from planner.architecture import deepseek_v4, encoders, experts, gemma4, hybrid, kimi_linear, latent, minimax_m3, moe, own, plain, rope, text
from planner.architecture.blocks import Scope
from planner.architecture.config import Config
from planner.architecture.text import Dims, LayerBuilder
from planner.architecture.towers import glm_kimi, llava, vision
from planner.facts.modules import Module, Tensor
from planner.facts.record import dataclass
from planner.facts.storage import FP32

Rope = Callable[[Config, Dims], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one architecture is built; `defaults` are those of its Hugging Face config class."""

    layers: Callable[[Config, Dims], LayerBuilder]
    tower: vision.TowerBuilder | None = None
    more: Mapping[str, Callable[[Scope, Dims], list[Module]]] = field(default_factory=dict)  # beside "embedding", "norm", or on "every" stage
    tied: bool = False
    tied_by_text: bool = False  # the text_config decides whether head and embedding are tied, not the whole config
    defaults: Mapping[str, object] = field(default_factory=dict)
    rope: Rope = rope.rope_tables
    methods: Mapping[str, str] = field(default_factory=dict)  # what a quant_method means for it, where not what it says
    head: bool = True
    norm: bool = True
    pipeline: bool = True
    renamed: Mapping[str, str] = field(default_factory=dict)  # keys of its config.json that others spell differently
    name: str = ""
    bidirectional_images: bool = False
    text_by_type: bool = False  # the text model is what text_config's model_type says
    whole_stages: frozenset[str] = frozenset()  # of "embedding", "norm", "head": what every pipeline stage builds, not only its own


_ALL_ENDS = frozenset({"embedding", "norm", "head"})
_EMBEDDING = frozenset({"embedding"})
_LLAMA = Family(layers=text.llama(), name="llama")
_MISTRAL = Family(layers=text.llama(window=4096), name="mistral")
_QWEN2 = Family(layers=text.llama(bias=True, output_bias=False), name="qwen")
_QWEN3 = Family(layers=text.llama(qk_norm=True), name="qwen")
_QWEN3_MOE = Family(layers=moe.qwen_moe(bias=False, qk_norm=True), whole_stages=_ALL_ENDS, name="qwen")
_VIDEO_ROPE: Rope = partial(rope.rope_tables, mrope=4)
_QUARTER_ROPE: Rope = partial(rope.rope_tables, fraction=0.25)
_HALF_ROPE: Rope = partial(rope.rope_tables, fraction=0.5)
_HALF_VIDEO_ROPE: Rope = partial(rope.rope_tables, fraction=0.5, mrope=4)
_GLM4 = Family(layers=text.llama(output_bias=False, more_norms=("post_self_attn_layernorm", "post_mlp_layernorm")), rope=_HALF_ROPE, name="glm")
_GLM4_MOE = Family(layers=moe.glm4_moe, rope=_HALF_ROPE, name="glm")
_QWEN_NEXT = Family(layers=hybrid.qwen_next, rope=_QUARTER_ROPE, whole_stages=frozenset({"embedding", "head"}), name="qwen")
_QWEN35 = Family(layers=hybrid.qwen_next, rope=_QUARTER_ROPE, whole_stages=_EMBEDDING, defaults={"mamba_ssm_dtype": "float32"}, name="qwen")
_GEMMA3_DEFAULTS = {"vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131_072}
_GEMMA3 = Family(
    layers=text.gemma(qk_norm=True, every=6, window=4096), rope=rope.gemma3_rope, tied=True, whole_stages=_ALL_ENDS, defaults=_GEMMA3_DEFAULTS, name="gemma"
)
_GEMMA4 = Family(layers=gemma4.gemma4, more={"embedding": gemma4.per_layer_embedding}, rope=rope.gemma4_rope, tied=True, whole_stages=_ALL_ENDS, name="gemma")
_DEEPSEEK = Family(layers=latent.deepseek(), rope=rope.latent_rope, name="deepseek")


def _shaped(shape: plain.Shape, name: str) -> Family:
    more = {"norm": plain.final_bias} if shape.norm_bias else {}
    return Family(layers=plain.shaped(shape), more=more, rope=rope.no_rope, name=name)


def _by_type(tower: vision.TowerBuilder, name: str) -> Family:
    return Family(layers=text.llama(), tower=tower, name=name, text_by_type=True)


def _scoring(family: Family) -> Family:
    return replace(family, head=False, more={"every": plain.score})


_EXAONE_MOE = Family(layers=experts.exaone_moe, name="exaone")
_BAILING = Family(layers=experts.bailing_moe, name="ling")
_CHATGLM = Family(
    layers=text.chatglm,
    rope=_HALF_ROPE,
    whole_stages=_ALL_ENDS,
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
_KIMI_LINEAR = Family(
    layers=kimi_linear.kimi_linear,
    more={"norm": kimi_linear.residual_end},
    rope=kimi_linear.kimi_buffers,
    renamed={"num_experts_per_token": "num_experts_per_tok"},
    name="kimi",
)
_MINIMAX_M3 = Family(layers=minimax_m3.minimax_m3, name="minimax")
_BERT = Family(layers=encoders.bert, more={"embedding": encoders.bert_embedding}, rope=rope.no_rope, head=False, norm=False, pipeline=False, name="bert")

FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _MISTRAL,
    "Ministral3ForCausalLM": _LLAMA,
    "Mistral3ForConditionalGeneration": replace(_MISTRAL, tower=vision.pixtral_vision),
    "Qwen2ForCausalLM": _QWEN2,
    "GemmaForCausalLM": Family(layers=text.llama(), tied=True, whole_stages=_ALL_ENDS, name="gemma"),
    "Glm4ForCausalLM": _GLM4,
    "Exaone4ForCausalLM": Family(layers=text.llama(qk_norm=True, every=4), name="exaone"),
    "CohereForCausalLM": Family(layers=text.cohere, tied=True, whole_stages=_ALL_ENDS, name="cohere"),
    "Cohere2ForCausalLM": Family(layers=text.cohere, tied=True, whole_stages=_ALL_ENDS, name="cohere"),
    "Ernie4_5ForCausalLM": Family(layers=text.llama(), tied=True, name="ernie"),
    "Ernie4_5_MoeForCausalLM": Family(layers=moe.ernie, tied=True, name="ernie"),
    "OlmoeForCausalLM": Family(layers=moe.olmoe, whole_stages=_ALL_ENDS, name="olmo"),
    "GraniteMoeForCausalLM": Family(layers=moe.granite_moe, whole_stages=_ALL_ENDS, name="granite"),
    "GraniteMoeSharedForCausalLM": Family(layers=moe.granite_moe, whole_stages=_ALL_ENDS, name="granite"),
    "Qwen2VLForConditionalGeneration": replace(_QWEN2, tower=vision.qwen2_vision, rope=_VIDEO_ROPE),
    "Qwen2_5_VLForConditionalGeneration": replace(_QWEN2, tower=vision.qwen25_vision, rope=_VIDEO_ROPE),
    "Qwen3ForCausalLM": _QWEN3,
    "Qwen3Model": replace(_QWEN3, head=False),
    "Qwen3VLForConditionalGeneration": replace(_QWEN3, tower=vision.qwen3_vision),
    "Qwen2MoeForCausalLM": Family(layers=moe.qwen_moe(bias=True, qk_norm=False), whole_stages=_ALL_ENDS, name="qwen"),
    "Qwen3MoeForCausalLM": _QWEN3_MOE,
    "Qwen3VLMoeForConditionalGeneration": replace(_QWEN3_MOE, tower=vision.qwen3_vision),
    "Qwen3NextForCausalLM": _QWEN_NEXT,
    "Qwen3_5ForCausalLM": _QWEN35,
    "Qwen3_5MoeForCausalLM": _QWEN35,
    "Qwen3_5ForConditionalGeneration": replace(_QWEN35, tower=vision.qwen3_vision),
    "Qwen3_5MoeForConditionalGeneration": replace(_QWEN35, tower=vision.qwen3_vision),
    "Phi3ForCausalLM": Family(layers=text.phi3, name="phi"),
    "GraniteForCausalLM": Family(layers=text.llama(), name="granite"),
    "GraniteMoeHybridForCausalLM": Family(layers=hybrid.granite_hybrid, rope=rope.no_rope, whole_stages=_ALL_ENDS, tied=True, name="granite"),
    "SmolLM3ForCausalLM": Family(layers=text.llama(), rope=rope.no_rope, tied=True, name="smollm"),
    "SeedOssForCausalLM": Family(layers=text.llama(bias=True, output_bias=False), rope=rope.no_rope, name="seed"),
    "Gemma2ForCausalLM": Family(layers=text.gemma(qk_norm=False, every=2, window=4096), tied=True, whole_stages=_ALL_ENDS, name="gemma"),
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3TextModel": replace(_GEMMA3, head=False, pipeline=False),
    "Gemma3ForConditionalGeneration": replace(_GEMMA3, tower=vision.siglip_vision, bidirectional_images=True),
    "Gemma4ForCausalLM": _GEMMA4,
    "Gemma4ForConditionalGeneration": replace(_GEMMA4, tower=gemma4.gemma4_towers),
    "Gemma4UnifiedForConditionalGeneration": replace(
        _GEMMA4,
        tower=gemma4.gemma4_unified,
        defaults={"hidden_size_per_layer_input": 0, "sliding_window": 1024, "use_bidirectional_attention": "vision"},
    ),
    "MixtralForCausalLM": Family(layers=moe.mixtral, whole_stages=_ALL_ENDS, name="mistral"),
    "GptOssForCausalLM": Family(layers=moe.gpt_oss, whole_stages=_ALL_ENDS, rope=partial(rope.rope_tables, yarn_bits=32), name="gpt-oss"),
    "LlavaForConditionalGeneration": _by_type(llava.llava(images=1), "llava"),
    "LlavaNextForConditionalGeneration": replace(_by_type(llava.llava(images=10), "llava"), more={"every": llava.newline}),
    "LlavaOnevisionForConditionalGeneration": replace(_by_type(llava.llava(images=10, divided=False), "llava"), more={"every": llava.newline}),
    "InternVLForConditionalGeneration": _by_type(llava.internvl, "internvl"),
    "Idefics3ForConditionalGeneration": replace(_by_type(llava.idefics3, "idefics"), tied_by_text=True, pipeline=False),
    "SmolVLMForConditionalGeneration": replace(_by_type(llava.idefics3, "smolvlm"), tied_by_text=True, pipeline=False),
    "PaliGemmaForConditionalGeneration": replace(_by_type(llava.paligemma, "gemma"), bidirectional_images=True),
    "Llama4ForCausalLM": Family(layers=moe.llama4, name="llama"),
    "Llama4ForConditionalGeneration": Family(layers=moe.llama4, tower=vision.llama4_vision, name="llama"),
    "Glm4vForConditionalGeneration": replace(_GLM4, tower=glm_kimi.glm4_vision, rope=_HALF_VIDEO_ROPE),
    "Glm4vMoeForConditionalGeneration": replace(_GLM4_MOE, tower=glm_kimi.glm4_vision, rope=_HALF_VIDEO_ROPE),
    "Glm4MoeForCausalLM": _GLM4_MOE,
    "MiniMaxM2ForCausalLM": Family(layers=moe.minimax_m2, rope=rope.rotary_dim_rope, name="minimax"),
    "MiniMaxM3SparseForCausalLM": _MINIMAX_M3,
    "MiniMaxM3SparseForConditionalGeneration": replace(_MINIMAX_M3, tower=minimax_m3.minimax_m3_vision),
    "MiMoV2FlashForCausalLM": Family(layers=moe.mimo_v2, rope=rope.mimo_rope, name="mimo"),
    "DeepseekV2ForCausalLM": _DEEPSEEK,
    "DeepseekV3ForCausalLM": _DEEPSEEK,
    "DeepseekV32ForCausalLM": _DEEPSEEK,
    "DeepseekV4ForCausalLM": Family(
        layers=deepseek_v4.deepseek_v4,
        more={"every": deepseek_v4.stream_head},
        rope=deepseek_v4.deepseek_v4_rope,
        methods={"fp8": "deepseek_v4_fp8"},
        name="deepseek",
    ),
    "GlmMoeDsaForCausalLM": Family(layers=_DEEPSEEK.layers, rope=rope.latent_rope, name="glm"),
    "Glm4MoeLiteForCausalLM": Family(layers=latent.deepseek(router=FP32), rope=rope.latent_rope, defaults={"topk_method": "noaux_tc"}, name="glm"),
    "KimiVLForConditionalGeneration": replace(_DEEPSEEK, tower=glm_kimi.kimi_vision, name="kimi"),
    "KimiK25ForConditionalGeneration": Family(layers=_DEEPSEEK.layers, rope=rope.latent_rope, tower=glm_kimi.kimi_vision, name="kimi"),
    "LongcatFlashForCausalLM": Family(
        layers=latent.longcat,
        rope=rope.latent_rope,
        renamed={"num_layers": "num_hidden_layers", "ffn_hidden_size": "intermediate_size", "expert_ffn_hidden_size": "moe_intermediate_size"},
        name="longcat",
    ),
    "MistralLarge3ForCausalLM": _DEEPSEEK,
    "AfmoeForCausalLM": Family(layers=experts.afmoe, defaults={"num_experts": 64, "moe_intermediate_size": 1408}, name="arcee"),
    "ExaoneMoeForCausalLM": _EXAONE_MOE,
    "ExaoneMoEForCausalLM": _EXAONE_MOE,
    "PhiMoEForCausalLM": Family(layers=experts.phi_moe, more={"norm": plain.final_bias, "head": experts.head_bias}, whole_stages=_ALL_ENDS, name="phi"),
    "HunYuanMoEV1ForCausalLM": Family(layers=experts.hunyuan_moe, rope=rope.no_rope, name="hunyuan"),
    "FlexOlmoForCausalLM": Family(layers=moe.olmoe, defaults={"num_experts": 5}, rope=rope.no_rope, name="olmo"),
    "BailingMoeForCausalLM": _BAILING,
    "BailingMoeV2ForCausalLM": _BAILING,
    "Step3p5ForCausalLM": Family(layers=experts.step3p5, rope=rope.step_rope, renamed={"num_attention_groups": "num_key_value_heads"}, name="step"),
    "DeepseekForCausalLM": Family(layers=experts.deepseek_moe, name="deepseek"),
    "MiMoForCausalLM": _QWEN2,
    "DeciLMForCausalLM": Family(layers=own.nemotron_nas, name="nemotron"),
    "InternLM2ForCausalLM": replace(_LLAMA, whole_stages=_ALL_ENDS, name="internlm"),
    "InternLM3ForCausalLM": replace(_LLAMA, name="internlm"),
    "IQuestCoderForCausalLM": replace(_LLAMA, name="iquest"),
    "LLaMAForCausalLM": _LLAMA,
    "ExaoneForCausalLM": replace(_LLAMA, renamed={"num_layers": "num_hidden_layers"}, name="exaone"),
    "SolarForCausalLM": replace(_LLAMA, name="solar"),
    "HyperCLOVAXForCausalLM": Family(layers=text.hyperclova, name="hyperclova"),
    "CwmForCausalLM": replace(_LLAMA, rope=rope.no_rope, name="cwm"),
    "NanbeigeForCausalLM": replace(_LLAMA, rope=rope.no_rope, name="nanbeige"),
    "GlmForCausalLM": Family(layers=text.llama(bias=True, output_bias=False), rope=rope.no_rope, name="glm"),
    "ChatGLMModel": _CHATGLM,
    "ChatGLMForConditionalGeneration": _CHATGLM,
    "MiniCPMForCausalLM": replace(_LLAMA, whole_stages=_ALL_ENDS, tied=True, name="minicpm"),
    "MiniCPM3ForCausalLM": Family(layers=own.minicpm3, rope=rope.latent_rope, tied=True, whole_stages=_ALL_ENDS, name="minicpm"),
    "OrionForCausalLM": replace(_shaped(plain.STABLELM, "orion"), rope=rope.rope_tables, whole_stages=_ALL_ENDS),
    "ApertusForCausalLM": replace(_shaped(plain.APERTUS, "apertus"), rope=rope.rope_tables),
    "FalconForCausalLM": Family(
        layers=own.falcon,
        more={"norm": plain.final_bias},
        tied=True,
        whole_stages=_ALL_ENDS,
        renamed={"num_kv_heads": "num_key_value_heads"},
        defaults={"max_position_embeddings": 2048},
        name="falcon",
    ),
    "NemotronForCausalLM": replace(_shaped(plain.NEMOTRON, "nemotron"), rope=_HALF_ROPE),
    "StableLmForCausalLM": replace(_shaped(plain.STABLELM, "stablelm"), rope=_QUARTER_ROPE, whole_stages=_ALL_ENDS),
    "Starcoder2ForCausalLM": replace(_shaped(plain.STARCODER2, "starcoder"), tied=True),
    "PhiForCausalLM": _shaped(plain.PHI, "phi"),
    "GPTNeoXForCausalLM": _shaped(plain.STARCODER2, "pythia"),
    "ArceeForCausalLM": _shaped(plain.ARCEE, "arcee"),
    "HeliumForCausalLM": Family(layers=text.llama(output_bias=False), rope=rope.no_rope, name="helium"),
    "HunYuanDenseV1ForCausalLM": _shaped(plain.HUNYUAN, "hunyuan"),
    "OlmoForCausalLM": replace(_shaped(plain.OLMO, "olmo"), norm=False),
    "Olmo2ForCausalLM": _shaped(plain.OLMO2, "olmo"),
    "Olmo3ForCausalLM": _shaped(plain.OLMO2, "olmo"),
    "Lfm2ForCausalLM": Family(layers=hybrid.lfm2, tied=True, name="lfm"),
    "Lfm2MoeForCausalLM": Family(layers=hybrid.lfm2, tied=True, name="lfm"),
    "FalconH1ForCausalLM": Family(layers=hybrid.falcon_h1, name="falcon"),
    "LlamaModel": replace(_LLAMA, head=False),
    "MistralModel": replace(_MISTRAL, head=False),
    "Qwen2Model": replace(_QWEN2, head=False),
    "LlamaForSequenceClassification": _scoring(_LLAMA),
    "Qwen2ForSequenceClassification": _scoring(_QWEN2),
    "Qwen3ForSequenceClassification": _scoring(_QWEN3),
    "KimiLinearForCausalLM": _KIMI_LINEAR,
    "KimiK3ForConditionalGeneration": replace(_KIMI_LINEAR, tower=glm_kimi.kimi_vision, methods={"compressed-tensors": "mxfp4"}),
    "BertModel": _BERT,
    "RobertaModel": _BERT,
    "XLMRobertaModel": _BERT,
    "BertForSequenceClassification": replace(_BERT, more={**_BERT.more, "norm": encoders.bert_classifier}),
    "RobertaForSequenceClassification": replace(_BERT, more={**_BERT.more, "norm": encoders.roberta_classifier}),
    "XLMRobertaForSequenceClassification": replace(_BERT, more={**_BERT.more, "norm": encoders.roberta_classifier}),
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
    "NemotronHForCausalLM": Family(layers=hybrid.nemotron_h, whole_stages=_ALL_ENDS, rope=rope.no_rope, name="nemotron"),
}

TEXT_TYPES = {
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "granite": "GraniteForCausalLM",
}

"""Architectures that vLLM had and has no more, by the last release with them; those that a plugin brings; those that it has and nobody read here.

Source: vllm/model_executor/models/registry.py _PREVIOUSLY_SUPPORTED_MODELS and _OOT_SUPPORTED_MODELS, 0.33.
"""

from __future__ import annotations

DROPPED = {
    "0.9": """
        Phi3SmallForCausalLM
    """,
    "0.10": """
        MotifForCausalLM Phi4FlashForCausalLM DonutForConditionalGeneration MllamaForConditionalGeneration
    """,
    "0.12": """
        Phi4MultimodalForCausalLM
    """,
    "0.22": """
        JAISLMHeadModel
    """,
    "0.23": """
        ErnieModel ErnieForSequenceClassification ErnieForTokenClassification InternLM2VEForCausalLM QWenLMHeadModel QwenVLForConditionalGeneration
        InternLMForCausalLM XverseForCausalLM Dots1ForCausalLM BambaForCausalLM MiniMaxForCausalLM MiniMaxText01ForCausalLM MiniMaxM1ForCausalLM
        MiniMaxVL01ForConditionalGeneration BaiChuanForCausalLM BaichuanForCausalLM Tarsier2ForConditionalGeneration
    """,
    "0.24": """
        AquilaModel AquilaForCausalLM Grok1ModelForCausalLM Grok1ForCausalLM TarsierForConditionalGeneration MantisForConditionalGeneration
        MusicFlamingoForConditionalGeneration AyaVisionForConditionalGeneration
    """,
    "0.25": """
        TeleChatForCausalLM PersimmonForCausalLM FuyuForCausalLM
    """,
    "0.26": """
        Plamo2ForCausalLM OuroForCausalLM
    """,
    "0.28": """
        ArcticForCausalLM ChameleonForConditionalGeneration Cheers CheersForConditionalGeneration Fairseq2LlamaForCausalLM
        FireRedLIDForConditionalGeneration GritLM HCXVisionForCausalLM MPTForCausalLM MptForCausalLM RWForCausalLM StableLMEpochForCausalLM
        PrithviGeoSpatialMAE
    """,
}
PLUGINS = {
    "https://github.com/vllm-project/bart-plugin": """
        BartModel BartForConditionalGeneration Florence2ForConditionalGeneration MBartForConditionalGeneration
    """,
    "https://github.com/Sohaib-Ahmed21/vllm-nemotron-asr-plugin": """
        Nemotron3_5AsrForRNNT
    """,
}


# of its registry, and not built here; drafters aside (draft_configs.py). `python -m benchmarks.architectures` counts them
NOT_READ = """
    AliceAIForCausalLM BailingMoeV3VLForConditionalGeneration ClefFlashForJointSchema ClefOmniForJointSchema CohereAsrForConditionalGeneration
    CohereCompassForConditionalGeneration ColUltraVBertForRetrieval Cosmos3EdgeForConditionalGeneration DeepseekV41ForCausalLM
    DeepseekV4ForConditionalGeneration DoryForCausalLM Dots3NoteForCausalLM EmbeddingGemma2Model Emu3ForConditionalGeneration
    ExtractHiddenStatesModel FireRedASR2ForConditionalGeneration FunASRForConditionalGeneration FunAudioChatForConditionalGeneration
    Glm5NextForCausalLM Glm5NextForConditionalGeneration HfMoondream HunYuanVLForConditionalGeneration InklingForCausalLM
    InklingForConditionalGeneration InternS2MobiusForConditionalGeneration KananaVForConditionalGeneration
    LlamaNemotronVLForSequenceClassification LlavaOnevision2ForConditionalGeneration MiDashengLMModel MiMoV2OmniForCausalLM Moondream3ForCausalLM
    MossAudioModel MuseSparkForConditionalGeneration NemotronParseForConditionalGeneration OpenVLAForActionPrediction PanguProMoEV2ForCausalLM
    RadioMBartPrefixForCausalLM Step5ForCausalLM Step5ForConditionalGeneration Terratorch TransformersForMTP TransformersMoEForMTP
    TransformersMultiModalEmbeddingModel TransformersMultiModalForCausalLM TransformersMultiModalForSequenceClassification
    TransformersMultiModalMoEForCausalLM VibeVoiceAsrForConditionalGeneration VoxtralRealtimeGeneration
"""


def fate(architecture: str) -> str:
    """What became of an architecture that is not known, in a sentence; empty where vLLM never named it."""
    for release, names in DROPPED.items():
        if architecture in names.split():
            return f"vLLM dropped {architecture}: release {release} was the last that had it"
    for plugin, names in PLUGINS.items():
        if architecture in names.split():
            return f"vLLM serves {architecture} with a plugin only: {plugin}"
    if architecture in NOT_READ.split():
        return (
            f"vLLM serves {architecture}, whose class nobody read here: with its safetensors in the folder their bytes and the config's figures are an answer"
        )
    return ""

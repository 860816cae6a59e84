"""The closed list of architectures: which file of this folder tells how each is built. It is imported when one is asked for.

Names are those of vLLM's registry (vllm/model_executor/models/registry.py, 0.33).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module

from planner.architecture.family import Family

NAMES = {
    "drafters": """
        DeepSeekMTPModel DeepseekV32MTPModel NemotronHMTPModel Glm4MoeMTPModel Glm4MoeLiteMTPModel MiMoMTPModel ErnieMTPModel LongCatFlashMTPModel
        OpenPanguMTPModel HYV3MTPModel MiMoV2MTPModel MiMoV2OmniMTPModel ExaoneMoeMTP Step3p5MTP Qwen3NextMTP Qwen3_5MTP Qwen3_5MoeMTP Qwen4ExpMTP
        Exaone4_5_MTP GlmOcrMTPModel KimiK3MTPModel MiniMaxM3MTP DeepSeekV4MTPModel HYV4MTPModel BailingMoeV25MTPModel Gemma4MTPModel Qwen3DSparkModel
        Qwen3OmniDSparkModel Qwen3XPressModel DFlashQwen3XPressModel DFlash2DraftModel DFlash2BeamDraftModel DFlashLagunaForCausalLM
        EagleLlamaForCausalLM EagleMistralForCausalLM EagleLlama4ForCausalLM EagleCohereForCausalLM EagleMiniCPMForCausalLM EagleDeepSeekMTPModel
        Eagle3DeepseekV2ForCausalLM Eagle3DeepseekV3ForCausalLM DFlashDraftModel MuseGlimmerAssistantModel DFlashMuseGlimmerAssistantModel
        Eagle3LlamaForCausalLM LlamaForCausalLMEagle3 Eagle3MiniMaxM2ForCausalLM Eagle3Qwen2_5vlForCausalLM Eagle3Qwen3vlForCausalLM PEagleDraftModel
        PeagleLlamaForCausalLM Eagle3Qwen3ForCausalLM PeagleQwen3ForCausalLM
    """,
    "early": """
        OPTForCausalLM GPT2LMHeadModel GPTJForCausalLM BloomForCausalLM GPTBigCodeForCausalLM DbrxForCausalLM
    """,
    "llama": """
        LlamaForCausalLM MistralForCausalLM Ministral3ForCausalLM Qwen2ForCausalLM Glm4ForCausalLM Exaone4ForCausalLM Ernie4_5ForCausalLM
        Qwen3ForCausalLM GraniteForCausalLM SmolLM3ForCausalLM SeedOssForCausalLM MiMoForCausalLM InternLM2ForCausalLM InternLM3ForCausalLM
        IQuestCoderForCausalLM LLaMAForCausalLM ExaoneForCausalLM SolarForCausalLM CwmForCausalLM NanbeigeForCausalLM GlmForCausalLM
        HeliumForCausalLM TeleChat3ForCausalLM TeleFLMForCausalLM
    """,
    "dense": """
        CohereForCausalLM Cohere2ForCausalLM Phi3ForCausalLM DeciLMForCausalLM HyperCLOVAXForCausalLM ChatGLMModel ChatGLMForConditionalGeneration
        MiniCPMForCausalLM OrionForCausalLM ApertusForCausalLM FalconForCausalLM NemotronForCausalLM StableLmForCausalLM Starcoder2ForCausalLM
        PhiForCausalLM GPTNeoXForCausalLM ArceeForCausalLM HunYuanDenseV1ForCausalLM OlmoForCausalLM Olmo2ForCausalLM Olmo3ForCausalLM
        TeleChat2ForCausalLM GraniteSWAForCausalLM Jais2ForCausalLM VaultGemmaForCausalLM PanguEmbeddedForCausalLM Plamo3ForCausalLM Rnj1ForCausalLM
        Step1ForCausalLM MuseGlimmerForCausalLM IQuestLoopCoderForCausalLM HrmTextForCausalLM DomynEdgeForCausalLM TransformersForCausalLM
        TransformersMoEForCausalLM
    """,
    "dense_images": """
        Mistral3ForConditionalGeneration Qwen2VLForConditionalGeneration Qwen2_5_VLForConditionalGeneration Qwen3VLForConditionalGeneration
    """,
    "images": """
        Qwen3VLMoeForConditionalGeneration Qwen3_5ForConditionalGeneration Qwen3_5MoeForConditionalGeneration Gemma3ForConditionalGeneration
        Gemma4ForConditionalGeneration Gemma4UnifiedForConditionalGeneration LlavaForConditionalGeneration LlavaNextForConditionalGeneration
        LlavaOnevisionForConditionalGeneration InternVLForConditionalGeneration Idefics3ForConditionalGeneration SmolVLMForConditionalGeneration
        PaliGemmaForConditionalGeneration Llama4ForConditionalGeneration Glm4vForConditionalGeneration Glm4vMoeForConditionalGeneration
        MiniMaxM3SparseForConditionalGeneration KimiVLForConditionalGeneration KimiK25ForConditionalGeneration KimiK3ForConditionalGeneration
        Cohere2VisionForConditionalGeneration Lfm2VlForConditionalGeneration AriaForConditionalGeneration Exaone4_5_ForConditionalGeneration
        LlavaNextVideoForConditionalGeneration Blip2ForConditionalGeneration Qwen4ExpForConditionalGeneration InternS2PreviewForConditionalGeneration
    """,
    "documents": """
        PaddleOCRVLForConditionalGeneration GlmOcrForConditionalGeneration DeepseekOCRForCausalLM UnlimitedOCRForCausalLM DeepseekOCR2ForCausalLM
        DeepseekVLV2ForCausalLM DotsOCRForCausalLM LightOnOCRForConditionalGeneration
    """,
    "sound": """
        Qwen2AudioForConditionalGeneration Qwen2_5OmniModel Qwen2_5OmniForConditionalGeneration Qwen3OmniMoeForConditionalGeneration
        Qwen3ASRForConditionalGeneration Qwen3ASRRealtimeGeneration Qwen3ASRForcedAlignerForTokenClassification MoonshotKimiaForCausalLM UltravoxModel
        WhisperForConditionalGeneration VoxtralForConditionalGeneration GraniteSpeechForConditionalGeneration
        GraniteSpeechPlusForConditionalGeneration AudioFlamingo3ForConditionalGeneration GlmAsrForConditionalGeneration
        MossTranscribeDiarizeForConditionalGeneration
    """,
    "chat": """
        InternVLChatModel InternS1ForConditionalGeneration H2OVLChatModel SkyworkR1VChatModel NVLM_D Eagle2_5_VLForConditionalGeneration
        BeeForConditionalGeneration RForConditionalGeneration MiniCPMV MiniCPMO Phi3VForCausalLM KeyeForConditionalGeneration
        KeyeVL1_5ForConditionalGeneration Ovis Ovis2_5 Ovis2_6ForCausalLM Ovis2_6_MoeForCausalLM GLM4VForCausalLM MolmoForCausalLM Phi4MMForCausalLM
        MiniCPMV4_6ForConditionalGeneration MiniCPMV4_7ForConditionalGeneration Molmo2ForConditionalGeneration Step3VLForConditionalGeneration
        StepVLForConditionalGeneration Step3p7ForConditionalGeneration Ernie4_5_VLMoeForConditionalGeneration NemotronH_Nano_VL_V2
        NemotronH_Nano_Omni_Reasoning_V3 NemotronH_Super_Omni_Reasoning_V3 NemotronH_Omni_Reasoning_V3 LlamaNemotronVLModel
        OpenCUAForConditionalGeneration HCXVisionV2ForCausalLM PixtralForConditionalGeneration Phi4ForCausalLMV QianfanOCRForConditionalGeneration
        Llama_Nemotron_Nano_VL InternS1ProForConditionalGeneration IsaacForConditionalGeneration BagelForConditionalGeneration
        Granite4VisionForConditionalGeneration MuseGlimmerForConditionalGeneration Cosmos3ForConditionalGeneration Alpamayo2Super
        MiniCPMOcrForConditionalGeneration OpenPanguVLForConditionalGeneration DiffusionGemmaForBlockDiffusion
    """,
    "gemma": """
        GemmaForCausalLM Gemma2ForCausalLM Gemma3ForCausalLM Gemma3TextModel Gemma4ForCausalLM Gemma3nForCausalLM Gemma3nForConditionalGeneration
    """,
    "experts": """
        Ernie4_5_MoeForCausalLM OlmoeForCausalLM GraniteMoeForCausalLM GraniteMoeSharedForCausalLM Qwen2MoeForCausalLM Qwen3MoeForCausalLM
        MixtralForCausalLM GptOssForCausalLM Llama4ForCausalLM Glm4MoeForCausalLM MiniMaxM2ForCausalLM MiniMaxM3SparseForCausalLM
        MiMoV2FlashForCausalLM AfmoeForCausalLM ExaoneMoeForCausalLM ExaoneMoEForCausalLM PhiMoEForCausalLM HunYuanMoEV1ForCausalLM
        FlexOlmoForCausalLM BailingMoeForCausalLM BailingMoeV2ForCausalLM Step3p5ForCausalLM DeepseekForCausalLM GraniteMoeSWAForCausalLM
        MellumForCausalLM Kolibri1ForCausalLM Cohere2MoeForCausalLM LagunaForCausalLM HYV3ForCausalLM MiMoV2ForCausalLM SarvamMoEForCausalLM
        Param2MoEForCausalLM BeamForCausalLM FlintForCausalLM Step3TextForCausalLM K2HorizonForCausalLM
    """,
    "pooling": """
        LlamaModel MistralModel Qwen2Model Gemma2Model DeepseekV3BidirectionalModel LlamaBidirectionalModel
        LlamaBidirectionalForSequenceClassification VoyageQwen3BidirectionalEmbedModel Lfm2BidirectionalModel JinaForRanking JinaEmbeddingsV5Model
        Qwen2ForRewardModel Qwen2ForProcessRewardModel InternLM2ForRewardModel GPT2ForSequenceClassification JambaForSequenceClassification
        JinaVLForRanking ColQwen3 OpsColQwen3Model Qwen3VLNemotronEmbedModel ColPaliForRetrieval ColQwen3_5 D3ForSequenceClassification BertModel
        RobertaModel XLMRobertaModel RobertaForMaskedLM BertForMaskedLM BertSpladeSparseEmbeddingModel BgeM3EmbeddingModel BertForTokenClassification
        RobertaForTokenClassification XLMRobertaForTokenClassification BertForSequenceClassification RobertaForSequenceClassification
        XLMRobertaForSequenceClassification HF_ColBERT ColBERTJinaRobertaModel ColBERTModernBertModel ColBERTLfm2Model ModernBertModel
        ModernBertForSequenceClassification ModernBertForTokenClassification GteModel GteNewModel GteNewForSequenceClassification NomicBertModel
        OpenAIPrivacyFilterForTokenClassification ColModernVBertForRetrieval ModernVBertModel CLIPModel SiglipModel TransformersEmbeddingModel
        TransformersMoEEmbeddingModel TransformersForSequenceClassification TransformersMoEForSequenceClassification
    """,
    "hybrid": """
        Qwen3NextForCausalLM Qwen3_5ForCausalLM Qwen3_5MoeForCausalLM GraniteMoeHybridForCausalLM Lfm2ForCausalLM Lfm2MoeForCausalLM
        FalconH1ForCausalLM KimiLinearForCausalLM NemotronHForCausalLM MambaForCausalLM FalconMambaForCausalLM Mamba2ForCausalLM JambaForCausalLM
        Zamba2ForCausalLM NemotronHPuzzleForCausalLM OlmoHybridForCausalLM BailingMoeV2_5ForCausalLM Qwen4ExpForCausalLM BailingMoeV3ForCausalLM
    """,
    "latent": """
        DeepseekV2ForCausalLM DeepseekV3ForCausalLM DeepseekV32ForCausalLM DeepseekV4ForCausalLM GlmMoeDsaForCausalLM Glm4MoeLiteForCausalLM
        LongcatFlashForCausalLM LongcatFlashNgramForCausalLM MistralLarge3ForCausalLM MiniCPM3ForCausalLM AXK1ForCausalLM PanguUltraMoEForCausalLM
        SarvamMLAForCausalLM HYV4ForCausalLM
    """,
}

# read off vLLM's source, but never compared with the class it builds: their weights are not called exact, and docs/architectures.md names them
_NEVER_COMPARED = """
    MiMoV2OmniMTPModel
"""
UNJUDGED = frozenset(_NEVER_COMPARED.split())

# their classes have a head of its own whatever tie_word_embeddings says, or none
_HEAD_OF_ITS_OWN = """
    AXK1ForCausalLM AfmoeForCausalLM AriaForConditionalGeneration BailingMoeV2_5ForCausalLM BailingMoeV3ForCausalLM DeepseekForCausalLM
    DeepseekOCR2ForCausalLM DeepseekOCRForCausalLM DeepseekV2ForCausalLM DeepseekV32ForCausalLM DeepseekV3ForCausalLM DeepseekVLV2ForCausalLM
    Glm4MoeForCausalLM Glm4MoeLiteForCausalLM Glm4vMoeForConditionalGeneration GlmMoeDsaForCausalLM GptOssForCausalLM JambaForCausalLM
    KimiK25ForConditionalGeneration KimiVLForConditionalGeneration LongcatFlashForCausalLM LongcatFlashNgramForCausalLM MiMoV2FlashForCausalLM
    MiniMaxM2ForCausalLM MiniMaxM3SparseForCausalLM MiniMaxM3SparseForConditionalGeneration MistralLarge3ForCausalLM MolmoForCausalLM
    MuseGlimmerForCausalLM MuseGlimmerForConditionalGeneration NemotronHForCausalLM NemotronHPuzzleForCausalLM NemotronH_Nano_Omni_Reasoning_V3
    NemotronH_Nano_VL_V2 NemotronH_Omni_Reasoning_V3 NemotronH_Super_Omni_Reasoning_V3 OlmoeForCausalLM PhiMoEForCausalLM Qwen3NextForCausalLM
    Qwen4ExpForCausalLM Qwen4ExpForConditionalGeneration Step3TextForCausalLM Step3VLForConditionalGeneration Step3p5ForCausalLM
    UnlimitedOCRForCausalLM DeepseekV4ForCausalLM KimiK3ForConditionalGeneration KimiLinearForCausalLM JambaForSequenceClassification
"""
_HEAD_IS_EMBEDDING = """
    Cohere2ForCausalLM Cohere2MoeForCausalLM CohereForCausalLM Gemma2ForCausalLM Gemma3nForCausalLM Gemma3nForConditionalGeneration Lfm2ForCausalLM
    Lfm2MoeForCausalLM Plamo3ForCausalLM WhisperForConditionalGeneration Zamba2ForCausalLM
"""
TIES = dict.fromkeys(_HEAD_OF_ITS_OWN.split(), False) | dict.fromkeys(_HEAD_IS_EMBEDDING.split(), True)

# their classes call modules by names of their own: class_names.py, which is imported for them alone
_OWN_NAMES = """
    Eagle3LlamaForCausalLM LlamaForCausalLMEagle3 Eagle3MiniMaxM2ForCausalLM Eagle3Qwen2_5vlForCausalLM Eagle3Qwen3vlForCausalLM PEagleDraftModel
    PeagleLlamaForCausalLM Eagle3DeepseekV2ForCausalLM Eagle3DeepseekV3ForCausalLM EagleLlamaForCausalLM EagleMistralForCausalLM EagleCohereForCausalLM
    DFlashDraftModel MuseGlimmerAssistantModel DFlashMuseGlimmerAssistantModel DFlash2DraftModel Qwen3DSparkModel Qwen3OmniDSparkModel Qwen3XPressModel
    DFlashQwen3XPressModel DFlashLagunaForCausalLM Gemma4MTPModel Eagle3Qwen3ForCausalLM PeagleQwen3ForCausalLM HYV3MTPModel
    BailingMoeV25MTPModel Step3p5MTP
    BertForMaskedLM BloomForCausalLM ColBERTJinaRobertaModel DbrxForCausalLM DeepseekVLV2ForCausalLM Gemma3TextModel Gemma3nForCausalLM
    GlmAsrForConditionalGeneration GteNewModel GteNewForSequenceClassification HF_ColBERT JinaVLForRanking OpenPanguVLForConditionalGeneration
    RobertaForMaskedLM RobertaForSequenceClassification RobertaForTokenClassification UltravoxModel VoxtralForConditionalGeneration
    AriaForConditionalGeneration BailingMoeV2_5ForCausalLM BailingMoeV3ForCausalLM BeeForConditionalGeneration BertForSequenceClassification
    BertForTokenClassification BertModel BertSpladeSparseEmbeddingModel BgeM3EmbeddingModel Blip2ForConditionalGeneration CLIPModel ChatGLMForConditionalGeneration ChatGLMModel
    ColBERTModernBertModel ColModernVBertForRetrieval DeepseekOCRForCausalLM DomynEdgeForCausalLM Eagle2_5_VLForConditionalGeneration ExaoneForCausalLM FalconForCausalLM
    FalconH1ForCausalLM GLM4VForCausalLM GPT2ForSequenceClassification GPT2LMHeadModel GPTBigCodeForCausalLM GPTJForCausalLM GPTNeoXForCausalLM
    Gemma3nForConditionalGeneration Glm4vForConditionalGeneration GlmForCausalLM GraniteMoeHybridForCausalLM GraniteMoeSWAForCausalLM
    ColBERTLfm2Model JambaForSequenceClassification Lfm2BidirectionalModel GraniteMoeSharedForCausalLM GteModel HYV3ForCausalLM IQuestLoopCoderForCausalLM Idefics3ForConditionalGeneration InternLM2ForCausalLM
    InternLM2ForRewardModel IsaacForConditionalGeneration JambaForCausalLM JinaForRanking LagunaForCausalLM Lfm2ForCausalLM Lfm2MoeForCausalLM
    Lfm2VlForConditionalGeneration LlamaNemotronVLModel LlavaOnevisionForConditionalGeneration LongcatFlashForCausalLM LongcatFlashNgramForCausalLM MiniCPMO MiniCPMV
    MiniMaxM2ForCausalLM MiniMaxM3SparseForConditionalGeneration ModernBertForSequenceClassification ModernBertForTokenClassification ModernBertModel
    ModernVBertModel MolmoForCausalLM MoonshotKimiaForCausalLM MossTranscribeDiarizeForConditionalGeneration NomicBertModel OPTForCausalLM
    OpenAIPrivacyFilterForTokenClassification OrionForCausalLM Ovis Ovis2_5 Ovis2_6ForCausalLM Ovis2_6_MoeForCausalLM
    PaddleOCRVLForConditionalGeneration Param2MoEForCausalLM Phi3VForCausalLM Phi4ForCausalLMV Phi4MMForCausalLM PhiForCausalLM Plamo3ForCausalLM
    RForConditionalGeneration RobertaModel SiglipModel SmolVLMForConditionalGeneration StableLmForCausalLM Starcoder2ForCausalLM Step3TextForCausalLM
    Step3VLForConditionalGeneration UnlimitedOCRForCausalLM WhisperForConditionalGeneration XLMRobertaForSequenceClassification
    XLMRobertaForTokenClassification XLMRobertaModel Zamba2ForCausalLM
"""
OWN_NAMES = frozenset(_OWN_NAMES.split())


class Families(Mapping[str, Family]):
    """Architecture -> how it is built; a pooling name of a generative class is known though it is not listed."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._files = {name: file for file, listed in names.items() for name in listed.split()}

    def __getitem__(self, name: str) -> Family:
        if name in self._files:
            families: Mapping[str, Family] = import_module(f"{__name__}.{self._files[name]}").FAMILIES
            return replace(families[name], judged=name not in UNJUDGED, ties=TIES.get(name)) if name in UNJUDGED or name in TIES else families[name]
        from planner.architecture.families import conversions

        base = conversions.base_name(name, self._files)
        if not base:
            raise KeyError(name)
        return conversions.converted(name, self[base])

    def __contains__(self, name: object) -> bool:
        if name in self._files or not isinstance(name, str):
            return name in self._files
        from planner.architecture.families import conversions

        return bool(conversions.base_name(name, self._files))

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


FAMILIES = Families(NAMES)

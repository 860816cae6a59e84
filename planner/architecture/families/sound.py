"""Text models that listen, and those that see and listen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import heads, plain, rope, whisper
from planner.architecture.families.conversions import with_head
from planner.architecture.families.experts import QWEN3_MOE
from planner.architecture.families.images import by_type
from planner.architecture.families.llama import QWEN2, QWEN3
from planner.architecture.family import Family
from planner.architecture.towers import audio, conformer, vision
from planner.architecture.towers.tower import together

QWEN25_OMNI = replace(QWEN2, tower=together(vision.still_vision, audio.qwen25_omni_audio), rope=rope.VIDEO)
QWEN3_ASR = replace(QWEN3, tower=audio.qwen3_omni_audio)

FAMILIES: Mapping[str, Family] = {
    "Qwen2AudioForConditionalGeneration": by_type(audio.qwen2_audio, "qwen"),
    "Qwen2_5OmniModel": QWEN25_OMNI,
    "Qwen2_5OmniForConditionalGeneration": QWEN25_OMNI,
    "Qwen3OmniMoeForConditionalGeneration": replace(QWEN3_MOE, head_name="", tower=together(vision.qwen3_omni_vision, audio.qwen3_omni_audio)),
    "Qwen3ASRForConditionalGeneration": QWEN3_ASR,
    "Qwen3ASRRealtimeGeneration": QWEN3_ASR,
    "Qwen3ASRForcedAlignerForTokenClassification": replace(with_head(QWEN3_ASR, heads.time_bins), outer=("classify_num",)),
    "MoonshotKimiaForCausalLM": replace(QWEN2, tower=audio.kimi_audio, name="kimi"),
    "UltravoxModel": by_type(audio.ultravox, "ultravox"),
    "WhisperForConditionalGeneration": Family(
        layers=whisper.whisper,
        tower=audio.whisper,
        more={"embedding": whisper.positions, "norm": plain.final_bias},
        tied=True,
        adapted=whisper.decoder_sizes,
        whole_words=True,
        rope=rope.no_rope,
        head_name="proj_out",
        pipeline=False,
        name="whisper",
    ),
    "VoxtralForConditionalGeneration": by_type(audio.voxtral, "mistral"),
    "GraniteSpeechForConditionalGeneration": by_type(conformer.granite_speech, "granite"),
    "GraniteSpeechPlusForConditionalGeneration": by_type(conformer.granite_speech, "granite"),
    "AudioFlamingo3ForConditionalGeneration": by_type(conformer.audio_flamingo, "flamingo"),
    "GlmAsrForConditionalGeneration": by_type(conformer.glm_asr, "glm"),
    "MossTranscribeDiarizeForConditionalGeneration": replace(QWEN3, tower=conformer.moss_transcribe, name="moss"),
}

"""Drafters: what vLLM builds beside a target to predict further tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.architecture import (
    deepseek_v4,
    dflash,
    drafters,
    eagle,
    experts,
    gemma4,
    hunyuan,
    hybrid,
    kimi_linear,
    latent,
    linear,
    minimax_m3,
    moe,
    qwen4_exp,
    rope,
    text,
)
from planner.architecture.families.dense import COHERE, MINICPM
from planner.architecture.families.experts import EXAONE_MOE, HUNYUAN_V3, LLAMA4
from planner.architecture.families.experts import FAMILIES as EXPERTS
from planner.architecture.families.hybrid import KIMI_LINEAR, QWEN4_EXP, QWEN35, QWEN_NEXT
from planner.architecture.families.latent import DEEPSEEK, LONGCAT_KEYS, PANGU_ULTRA
from planner.architecture.families.llama import FAMILIES as LLAMAS
from planner.architecture.families.llama import GLM4, LLAMA, QWEN2, QWEN3
from planner.architecture.family import Family
from planner.facts.storage import FP32


def _layered(layers: drafters.Layers, shape: drafters.Predictor, name: str, *, like: Family = LLAMA, adjust: drafters.Adjust | None = None) -> Family:
    """Layers with norms, a projection and a head each, behind the words."""
    return Family(
        layers=drafters.predicting(layers, shape, adjust), depth=drafters.depth, head=not shape.head, norm=False, rope=like.rope, pipeline=False, name=name
    )


def _joined(family: Family, adjust: drafters.Adjust | None = None) -> Family:
    """Layers behind one projection of words and hidden states, before one norm and one head."""
    return replace(
        family,
        layers=drafters.predicting(family.layers, drafters.BEHIND_ONE, adjust),
        depth=drafters.depth,
        more={"embedding": drafters.joined},
        whole_stages=frozenset(),
        pipeline=False,
    )


def _eagle3(family: Family) -> Family:
    return replace(
        family,
        layers=eagle.eagle3(family.layers),
        more={"embedding": eagle.eagle3_projection, "head": eagle.draft_head},
        head=False,
        whole_stages=frozenset(),
        pipeline=False,
    )


def _eagle(family: Family, *, divided: bool = False, quantized: bool = True, bias: bool = False, norm: bool = False) -> Family:
    projection = eagle.eagle_projection(divided=divided, quantized=quantized, bias=bias)
    return replace(family, layers=eagle.eagle(family.layers), more={"embedding": projection}, head=False, norm=norm, whole_stages=frozenset(), pipeline=False)


MIMO_V2 = Family(
    layers=drafters.predicting(drafters.plain_output(moe.mimo_v2), drafters.MIMO_V2, drafters.windowed),
    depth=drafters.one_layer,
    norm=False,
    pipeline=False,
    name="mimo",
)
DFLASH = replace(
    QWEN3,
    layers=text.llama(qk_norm=True),
    more={"embedding": eagle.dflash_projection, "head": eagle.draft_head},
    head=False,
    adapted=eagle.dflash_windows,
    pipeline=False,
)
LATENT = replace(LLAMA, rope=rope.latent_rope)
DSPARK = replace(DFLASH, more={"embedding": dflash.dspark_heads, "head": dflash.dspark_head})
XPRESS = replace(DFLASH, more={**DFLASH.more, "embedding": dflash.xpress_head})
DFLASH2 = replace(DFLASH, layers=dflash.dflash2(DFLASH.layers), more={**DFLASH.more, "embedding": dflash.selector})
EAGLE3_LATENT = Family(
    layers=eagle.eagle3(latent.deepseek()),
    more={"embedding": eagle.latent_projection, "head": eagle.draft_head},
    head=False,
    rope=rope.latent_rope,
    adapted=eagle.dense_only,
    pipeline=False,
    name="deepseek",
)
EAGLE3 = _eagle3(LLAMA)
GLM_LITE = latent.deepseek(router=FP32)

FAMILIES: Mapping[str, Family] = {
    "DeepSeekMTPModel": _layered(latent.deepseek(), drafters.DEEPSEEK, "deepseek", like=replace(LLAMA, rope=rope.latent_rope)),
    "DeepseekV32MTPModel": replace(
        _layered(latent.deepseek(), drafters.DEEPSEEK, "deepseek", like=replace(LLAMA, rope=rope.latent_rope)),
        layers=drafters.predicting(latent.deepseek(), drafters.DEEPSEEK, drafters.counted),
    ),
    "NemotronHMTPModel": Family(
        layers=drafters.nemotron(hybrid.nemotron_h),
        depth=drafters.nemotron_depth,
        words=False,
        norm=False,
        head=False,
        rope=rope.no_rope,
        pipeline=False,
        name="nemotron",
    ),
    "Glm4MoeMTPModel": _layered(moe.glm4_moe, drafters.DEEPSEEK, "glm", like=replace(LLAMA, rope=rope.HALF)),
    "Glm4MoeLiteMTPModel": replace(
        _layered(GLM_LITE, drafters.DEEPSEEK, "glm", like=replace(LLAMA, rope=rope.latent_rope)), defaults={"topk_method": "noaux_tc"}
    ),
    "MiMoMTPModel": _layered(QWEN2.layers, drafters.MIMO, "mimo"),
    "ErnieMTPModel": replace(_layered(text.llama(), drafters.ERNIE, "ernie"), tied=True),
    "LongCatFlashMTPModel": Family(
        layers=drafters.predicting(latent.deepseek(), drafters.LONGCAT, drafters.dense_experts),
        depth=drafters.one_layer,
        norm=False,
        rope=rope.latent_rope,
        pipeline=False,
        renamed=LONGCAT_KEYS,
        name="longcat",
    ),
    "OpenPanguMTPModel": _layered(PANGU_ULTRA.layers, drafters.DEEPSEEK, "pangu", like=replace(LLAMA, rope=rope.latent_rope)),
    "HYV3MTPModel": _layered(HUNYUAN_V3.layers, drafters.HUNYUAN, "hunyuan"),
    "MiMoV2MTPModel": MIMO_V2,
    "MiMoV2OmniMTPModel": MIMO_V2,
    "ExaoneMoeMTP": _joined(replace(EXAONE_MOE, head_name="lm_head"), drafters.no_experts),
    "Step3p5MTP": replace(
        _layered(experts.step3p5, drafters.DEEPSEEK, "step", like=replace(LLAMA, rope=rope.step_rope)),
        layers=drafters.predicting(experts.step3p5, drafters.DEEPSEEK, drafters.longer_types),
    ),
    "Qwen3NextMTP": _joined(QWEN_NEXT, drafters.all_full),
    "Qwen3_5MTP": _joined(QWEN35, drafters.all_full),
    "Qwen3_5MoeMTP": _joined(QWEN35, drafters.all_full),
    "Qwen4ExpMTP": replace(_joined(QWEN4_EXP, qwen4_exp.predicting_keys), more={"embedding": qwen4_exp.joined_streams, "norm": qwen4_exp.last_mixer}),
    "Exaone4_5_MTP": replace(_joined(LLAMAS["Exaone4ForCausalLM"]), outer=("num_nextn_predict_layers",)),
    "GlmOcrMTPModel": _layered(GLM4.layers, drafters.DEEPSEEK, "glm", like=replace(LLAMA, rope=rope.HALF_VIDEO)),
    "KimiK3MTPModel": replace(
        _layered(kimi_linear.kimi_linear, drafters.DEEPSEEK, "kimi", like=replace(LLAMA, rope=rope.no_rope), adjust=drafters.plain_residuals),
        renamed=KIMI_LINEAR.renamed,
        methods={"compressed-tensors/mxfp4-pack-quantized": "mxfp4"},
    ),
    "MiniMaxM3MTP": replace(_layered(minimax_m3.minimax_m3, drafters.MINIMAX, "minimax", adjust=drafters.all_sparse), head=True),
    "DeepSeekV4MTPModel": replace(
        _layered(deepseek_v4.deepseek_v4, drafters.DEEPSEEK_V4, "deepseek", like=replace(LLAMA, rope=rope.no_rope)),
        layers=drafters.beside(
            drafters.beside(drafters.predicting(deepseek_v4.deepseek_v4, drafters.DEEPSEEK_V4, drafters.uncompressed), drafters.two_projections),
            deepseek_v4.stream_head,
        ),
        methods={"fp8": "deepseek_v4_fp8"},
    ),
    "HYV4MTPModel": _layered(hunyuan.hunyuan_v4, drafters.HUNYUAN, "hunyuan", like=LATENT, adjust=drafters.one_stream),
    "BailingMoeV25MTPModel": _layered(linear.bailing_linear, drafters.HUNYUAN, "ling", like=LATENT, adjust=drafters.all_latent),
    "Gemma4MTPModel": Family(
        layers=gemma4.gemma4,
        more={"every": dflash.assistant_ends},
        rope=dflash.assistant_tables,
        head=False,
        words=False,
        pipeline=False,
        adapted=dflash.shared_caches,
        outer=("backbone_hidden_size", "use_ordered_embeddings", "num_centroids"),
        name="gemma",
    ),
    "Qwen3DSparkModel": DSPARK,
    "Qwen3OmniDSparkModel": DSPARK,
    "Qwen3XPressModel": XPRESS,
    "DFlashQwen3XPressModel": XPRESS,
    "DFlash2DraftModel": DFLASH2,
    "DFlash2BeamDraftModel": replace(DFLASH2, more={**DFLASH2.more, "embedding": dflash.beam_selector}, name="beam"),
    "DFlashLagunaForCausalLM": replace(
        EXPERTS["LagunaForCausalLM"],
        layers=dflash.whole_contexts(EXPERTS["LagunaForCausalLM"].layers),
        more={"embedding": dflash.normed_projection, "head": eagle.draft_head},
        head=False,
        pipeline=False,
    ),
    "EagleLlamaForCausalLM": _eagle(LLAMA),
    "EagleMistralForCausalLM": replace(_eagle(LLAMA, divided=True, norm=True), layers=LLAMA.layers),
    "EagleLlama4ForCausalLM": replace(_eagle(LLAMA4, quantized=False, norm=True), layers=LLAMA4.layers),
    "EagleCohereForCausalLM": replace(_eagle(COHERE, bias=True, norm=True), layers=COHERE.layers),
    "EagleMiniCPMForCausalLM": replace(MINICPM, more={"embedding": eagle.two_norms("input_norm1", "input_norm2")}, whole_stages=frozenset(), pipeline=False),
    "EagleDeepSeekMTPModel": replace(DEEPSEEK, more={"embedding": eagle.two_norms("enorm", "hnorm")}, adapted=eagle.experts_only, pipeline=False),
    "Eagle3DeepseekV2ForCausalLM": EAGLE3_LATENT,
    "Eagle3DeepseekV3ForCausalLM": EAGLE3_LATENT,
    "DFlashDraftModel": DFLASH,
    "MuseGlimmerAssistantModel": DFLASH,
    "DFlashMuseGlimmerAssistantModel": DFLASH,
    "Eagle3LlamaForCausalLM": EAGLE3,
    "LlamaForCausalLMEagle3": EAGLE3,
    "Eagle3MiniMaxM2ForCausalLM": EAGLE3,
    "Eagle3Qwen2_5vlForCausalLM": EAGLE3,
    "Eagle3Qwen3vlForCausalLM": EAGLE3,
    "PEagleDraftModel": EAGLE3,
    "PeagleLlamaForCausalLM": EAGLE3,
    "Eagle3Qwen3ForCausalLM": _eagle3(QWEN3),
    "PeagleQwen3ForCausalLM": _eagle3(QWEN3),
}

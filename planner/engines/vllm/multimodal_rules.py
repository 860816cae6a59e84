"""What vLLM refuses of arguments for pictures, films and sound (config/multimodal.py of 0.33; beside each the first release that has the check)."""

from __future__ import annotations

import json

from planner.engines.vllm.engine_args import EngineArgs, Refused

OF_PICTURES = ("--mm-processor-cache-gb", "--mm-shm-cache-max-object-size-mb", "--mm-encoder-fp8-scale-save-margin", "--video-pruning-rate")
"""Numbers of MultiModalConfig, which a model of text alone has not."""
_OBJECT_DEFAULT_MB = 128  # mm_shm_cache_max_object_size_mb


def inputs(asked: EngineArgs) -> Refused:
    """What is refused of them together."""
    values = asked.values
    yield from _limits(asked)
    if not asked.takes_pictures:
        if asked.minor >= 29 and asked.key("--ec-transfer-config", "ec_role") == "ec_producer" and not asked.model.not_known:
            yield "An EC producer-only instance requires a multimodal model.", "leave --ec-transfer-config out"
        text_only = values.get("--language-model-only") or "--limit-mm-per-prompt" in values
        if str(values.get("--default-mm-loras", "")).strip() not in ("", "{}", "[]") and not text_only:
            yield "Default modality-specific LoRA(s) were provided for a non multimodal model", "leave --default-mm-loras out"
        return
    if asked.number("--mm-shm-cache-max-object-size-mb") not in (None, _OBJECT_DEFAULT_MB) and values.get("--mm-processor-cache-type") != "shm":
        yield "'mm_shm_cache_max_object_size_mb' should only be set when 'mm_processor_cache_type' is 'shm'.", "--mm-processor-cache-type shm"
    paths = [flag for flag in ("--mm-encoder-fp8-scale-path", "--mm-encoder-fp8-scale-save-path") if flag in values]
    if paths and values.get("--mm-encoder-attn-dtype") != "fp8":
        both = "'mm_encoder_fp8_scale_path' and 'mm_encoder_fp8_scale_save_path'"
        yield f"{both} require 'mm_encoder_attn_dtype' to be 'fp8'.", "--mm-encoder-attn-dtype fp8"
    elif len(paths) == 2:
        why = "(saving requires dynamic scaling)."
        yield f"'mm_encoder_fp8_scale_save_path' cannot be used with 'mm_encoder_fp8_scale_path' {why}", f"leave {paths[0]} out"
    if str(values.get("--mm-encoder-attn-backend", "")).upper() == "XFORMERS" and asked.minor >= 12:
        removed = "Attention backend 'XFORMERS' has been removed (See PR #29262 for details)."
        yield f"{removed} Please select a supported attention backend.", "leave --mm-encoder-attn-backend out"
    if values.get("--mm-tensor-ipc") == "torch_shm" and asked.env.get("VLLM_WORKER_MULTIPROC_METHOD") != "spawn":
        yield "torch_shm is known to fail without VLLM_WORKER_MULTIPROC_METHOD set to spawn", "VLLM_WORKER_MULTIPROC_METHOD=spawn"
    yield from _prepared(asked)


_OPTIONS = {"image": ("width", "height"), "video": ("num_frames", "width", "height"), "audio": ("length",)}


def _limits(asked: EngineArgs) -> Refused:
    """Items of a prompt: a number of each kind, or an object of what is profiled of it (config/multimodal.py BaseDummyOptions, since 0.12)."""
    try:
        data = json.loads(str(asked.values.get("--limit-mm-per-prompt", "{}")))
    except (ValueError, RecursionError):
        return
    if not isinstance(data, dict):
        yield "limit_mm_per_prompt: Input should be a valid dictionary", """--limit-mm-per-prompt '{"image": 1}'"""
        return
    if asked.minor < 12 or not asked.takes_pictures:
        return
    for kind, limit in data.items():
        options = limit if isinstance(limit, dict) else {"count": limit}
        for name, value in options.items():
            least = 0 if name == "count" else 1
            if kind in _OPTIONS and name not in ("count", *_OPTIONS[kind]):
                yield f"limit_per_prompt.{name[:60]}: Unexpected keyword argument", f"leave {name[:60]} out"
            elif not isinstance(value, int) and not (isinstance(value, str) and value.isdigit()) and not (value is None and name != "count"):
                yield f"limit_mm_per_prompt.{kind[:60]}: Input should be a valid integer", f"a number of {kind[:60]}"
            elif isinstance(value, int) and value < least:
                bound = "greater than or equal to 0" if least == 0 else "greater than 0"
                yield f"limit_per_prompt.{name}: Input should be {bound}, not {value}", f"{name} {least}"


def _prepared(asked: EngineArgs) -> Refused:
    """Where pictures are prepared: on the GPU only by a server of the encoder alone (MultiModalConfig.validate_mm_processor_device, since 0.28)."""
    device = asked.key("--mm-processor-kwargs", "device") or asked.values.get("--mm-processor-device")
    if asked.minor < 28 or not isinstance(device, str) or "--ec-transfer-config" in asked.values or device == "auto":
        return
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "xpu", "hpu", "mps", "meta") or (index and not index.isdigit()):
        expected = 'Expected a torch device such as "cpu", "cuda" or "cuda:0".'
        yield f'Invalid "device" in mm_processor_kwargs: {device[:60]!r}. {expected}', "--mm-processor-device cpu"
    elif kind == "cuda":
        yield "Cannot run the multi-modal processor on 'cuda': this instance also runs the language model.", "--mm-processor-device cpu"

"""What vLLM refuses of arguments for pictures, films and sound (config/multimodal.py of 0.33; beside each the first release that has the check)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from planner.engines.vllm.engine_args import EngineArgs, Refused
from planner.engines.vllm.overhead import pictures_in_a_film
from planner.engines.vllm.pictures import BY_PIXELS, FLAG, only_pixels
from planner.engines.vllm.rules import GEMMA4_FRAME, GEMMA4_FRAMES, heard_tokens, is_gemma4, least_batch
from planner.engines.vllm.served import kinds_taken, limits, takes_text_only
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.versions import VERSIONS
from planner.facts.model import ModelSpec

OF_PICTURES = ("--mm-processor-cache-gb", "--mm-shm-cache-max-object-size-mb", "--mm-encoder-fp8-scale-save-margin", "--video-pruning-rate")
"""Numbers of MultiModalConfig, which a model of text alone has not."""
WHOLE_ITEMS = "--disable-chunked-mm-input"
WHOLE_ITEMS_OR_STATES = 16  # since when states are not kept at the ends of blocks with it (config/vllm.py validate_block_size)
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
    yield from _whole_items(asked)


def _whole_items(asked: EngineArgs) -> Refused:
    """Items that must come in one batch (v1/core/encoder_cache_manager.py compute_mm_encoder_budget, 0.11 to 0.33; platforms/cuda.py check_and_update_config)."""
    if not comes_whole(asked.values, asked.model, asked.config):
        return
    item, batch = largest_item(asked.values, asked.model, asked.config), asked.config.max_num_batched_tokens
    if item is not None and item > batch:
        larger = f"max_tokens_per_mm_item ({item}) is larger than max_num_batched_tokens ({batch})"
        yield f"Chunked MM input disabled but {larger}. Please increase max_num_batched_tokens.", f"--max-num-batched-tokens {item}"


def comes_whole(values: Mapping[str, str | bool], model: ModelSpec, config: ServeConfig) -> bool:
    """Whether no item is divided over batches: because a command says so, or because the model's never are and a command says how large a batch is.

    What no command says is raised for Gemma 4 since 0.22. 0.20 and 0.21 would refuse their default of 2048 by the source too, but a start of each with it
    is reported (vllm issue 43308, an A100): it is not refused. A sound that the text attends to is never divided (config/scheduler.py, 0.11 to 0.33: is_encoder_decoder).
    """
    anyway = "--max-num-batched-tokens" in values and least_batch(model, VERSIONS[config.vllm_version]) > 1
    return anyway or heard_tokens(model) > 0 or bool(values.get(WHOLE_ITEMS))


def may_not_fit(values: Mapping[str, str | bool], model: ModelSpec, config: ServeConfig) -> bool:
    """Whether an item that comes whole may be larger than a batch, where nobody here knows how large it is."""
    if not comes_whole(values, model, config) or largest_item(values, model, config) is not None:
        return False
    return not is_gemma4(model) or config.max_num_batched_tokens < _LARGEST_GEMMA4_PICTURE


def largest_item(values: Mapping[str, str | bool], model: ModelSpec, config: ServeConfig) -> int | None:
    """Tokens that the largest picture, film or sound of a prompt counts as; 0 where none may come, None where nobody here knows."""
    if not (model.tower or model.vision) or takes_text_only(model, values):
        left_out = "--language-model-only" in values or "--limit-mm-per-prompt" in values
        return None if left_out and values.get("--enable-mm-embeds") else 0  # embeddings come where nothing else may
    kinds, vision = kinds_taken(model, values), model.vision
    if heard := heard_tokens(model):
        return 0 if limits(values).get("audio") == 0 else heard
    if is_gemma4(model) and (film := _gemma4_film(values) if "video" in kinds else 0) >= _LARGEST_GEMMA4_PICTURE:
        return film
    if any(isinstance(limit, dict) and not set(limit) <= {"count"} for limit in limits(values).values()):
        return None
    films_known = "video" not in kinds or model.architecture.startswith(BY_PIXELS)
    sizes_known = FLAG not in values or only_pixels(values, model, config.vllm_version)
    if vision is None or "image" not in kinds or "audio" in kinds or not films_known or not sizes_known:
        return None
    return max(vision.tokens_per_item * pictures_in_a_film(vision, config), vision.counted_tokens)


_LARGEST_GEMMA4_PICTURE = 1120  # tokens, whatever a command makes of it; a sound is shorter (gemma4_mm.py _SUPPORTED_SOFT_TOKENS)


def _gemma4_film(values: Mapping[str, str | bool]) -> int:
    """Tokens of Gemma 4's longest film; with fewer frames where a command says so (limit_per_prompt's num_frames)."""
    said = limits(values).get("video")
    frames = said.get("num_frames") if isinstance(said, dict) else None
    return GEMMA4_FRAME * (min(GEMMA4_FRAMES, frames) if isinstance(frames, int) else GEMMA4_FRAMES)


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

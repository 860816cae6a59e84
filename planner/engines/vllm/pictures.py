"""How large the pictures and films are that vLLM profiles, as a command's processor arguments and limits say.

Sources: vLLM 0.33 model_executor/models/qwen2_vl.py get_image_size_with_most_features, _get_vision_size, get_max_video_tokens; qwen3_vl.py
get_max_video_tokens; multimodal/encoder_budget.py (the kind with the most tokens is profiled). Processors' own sizes: Qwen/Qwen3-VL-* video_preprocessor_config.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import isqrt

from planner.engines.vllm.versions import VERSIONS
from planner.facts.model import ModelSpec, VisionSpec

FLAG = "--mm-processor-kwargs"
_PIXELS_SINCE = 17  # minor release since when max_pixels and size decide what is profiled
_FILMS_BY_SCOPE = 32  # since when a flat max_pixels is a film's too in Qwen3-VL
BY_PIXELS = ("Qwen2VLFor", "Qwen2_5_VLFor", "Qwen3VLFor", "Qwen3VLMoeFor", "Qwen3_5")
_STAMPED = 12.5  # tokens that a film's each counts as with the time stamps beside it (qwen3_vl.py get_max_video_tokens, until 0.12)
_FILM_TOKENS = 25_165_824 // 2 // 32**2  # of Qwen3-VL: size.longest_edge of its films over two frames
_SIZES = frozenset({"max_pixels", "min_pixels", "size", "images_kwargs", "videos_kwargs"})
_NO_SIZES = frozenset({"device", "use_fast", "fps", "do_sample_frames"})
_MOST_ASPECT = 200  # a picture that is longer is refused


def with_pictures(model: ModelSpec, values: Mapping[str, str | bool], version: str) -> ModelSpec:
    """The model with what is profiled of its tower."""
    vision = model.vision
    if vision is None:
        return model
    if vision.film_slices and not takes_films(values):
        vision = replace(vision, film_slices=1)
    if vision.extra_outputs and VERSIONS[version].outputs_padded and takes_films(values):
        vision = replace(vision, counted_tokens=int(_STAMPED * _FILM_TOKENS))
    film = vision.film_slices > 1
    if FLAG in values and only_pixels(values, model, version):
        vision, larger = _resized(vision, values, version)
        film = film or larger
    return replace(model, vision=replace(vision, items_in_a_prompt=_most_items(values, film=film)))


def takes_films(values: Mapping[str, str | bool]) -> bool:
    """Whether a request may bring a film."""
    return _limit(values, "video") != 0


def _limit(values: Mapping[str, str | bool], kind: str) -> object:
    """How many of a kind a prompt may bring, as a command says."""
    limit = _object(values.get("--limit-mm-per-prompt")).get(kind)
    return limit.get("count") if isinstance(limit, dict) else limit


def _most_items(values: Mapping[str, str | bool], *, film: bool) -> int:
    """Items of the profiled kind that a prompt may bring; 0 where nothing says so. A `film` may turn out no larger than a picture: the larger limit."""
    kinds = ("image", "video") if film else ("image",)
    said = [count if isinstance(count := _limit(values, kind), int) else 0 for kind in kinds]
    return max(said) if all(_limit(values, kind) is not None for kind in kinds) else 0


def only_pixels(values: Mapping[str, str | bool], model: ModelSpec, version: str) -> bool:
    """Whether all that a command says to the processor is how many pixels a picture may have, and that is known of the model."""
    data = _object(values.get(FLAG))
    inner = [part for name in ("images_kwargs", "videos_kwargs") if isinstance(part := data.get(name), dict)]
    if set(data) <= _NO_SIZES:
        return True
    known = all(set(part) <= _SIZES | _NO_SIZES for part in (data, *inner))
    return (
        known
        and VERSIONS[version].minor >= _PIXELS_SINCE
        and model.architecture.startswith(BY_PIXELS)
        and model.vision is not None
        and model.vision.token_side > 0
    )


def _resized(vision: VisionSpec, values: Mapping[str, str | bool], version: str) -> tuple[VisionSpec, bool]:
    """The tower on pictures of at most so many pixels; on films where these are larger then, and whether they are."""
    data = _object(values.get(FLAG))
    flat = _largest(data)
    picture, film = (_largest(_inner(data, name)) or flat for name in ("images_kwargs", "videos_kwargs"))
    merged = vision.max_patches // vision.tokens_per_item
    still = tokens = most_tokens(picture, vision.token_side) if picture else vision.tokens_per_item
    if not vision.film_slices and takes_films(values):
        scoped = VERSIONS[version].minor >= _FILMS_BY_SCOPE or not data.get("max_pixels")
        tokens = max(tokens, most_tokens(film // 2, vision.token_side) if film and scoped else _FILM_TOKENS)
    return replace(vision, max_patches=tokens * merged, tokens_per_item=tokens), tokens > still


def most_tokens(pixels: int, side: int) -> int:
    """Tokens of a picture of at most so many pixels that has the most of them: as many as two sides make that are not too unlike."""
    most = max(1, pixels // side**2)
    return next(tokens for tokens in range(most, 0, -1) if _aspect(tokens) <= _MOST_ASPECT)


def _aspect(tokens: int) -> float:
    shorter = next(length for length in range(isqrt(tokens), 0, -1) if tokens % length == 0)
    return tokens / shorter**2


def _largest(data: Mapping[str, object]) -> int:
    """The most pixels that arguments allow; 0 where they do not say."""
    size = data.get("size")
    said = data.get("max_pixels") or (size.get("longest_edge") if isinstance(size, dict) else None)
    return said if isinstance(said, int) and not isinstance(said, bool) and said > 0 else 0


def _inner(data: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = data.get(name)
    return part if isinstance(part, dict) else {}


def _object(value: object) -> dict[str, object]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}

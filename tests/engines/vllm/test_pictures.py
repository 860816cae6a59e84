"""What vLLM profiles of pictures and films: as large as processor arguments, limits and the context allow."""

import json

import pytest
from conftest import config_model

from planner.engines.vllm.not_covered import not_covered
from planner.engines.vllm.overhead import vision_outputs
from planner.engines.vllm.pictures import most_tokens
from planner.engines.vllm.served import as_served
from planner.engines.vllm.settings import ServeConfig

FILMS, STILLS = "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen3-VL-8B-Instruct"
SMALL = 1_003_520


def tokens(name: str, length: int = 128_000, version: str = "0.33", **flags: object) -> int:
    """Embeddings of the item that is profiled."""
    values = {f"--{flag.replace('_', '-')}": json.dumps(value) for flag, value in flags.items()}
    model = as_served(config_model(name), values, version)
    config = ServeConfig(max_model_len=length, max_num_batched_tokens=1, vllm_version=version)
    return vision_outputs(model, config) // (model.hidden_size * (1 + model.vision.extra_outputs) * 2)


def test_a_film_is_as_large_as_the_context_holds():
    """vLLM 0.23 logs a budget of 114,688 tokens for 128,000, of 32,768 for as many; with fewer than a picture has, one picture."""
    assert [tokens(FILMS, length) for length in (128_000, 32_768, 40_000, 2048)] == [114_688, 32_768, 32_768, 16_384]
    assert tokens(FILMS, limit_mm_per_prompt={"video": 0}) == 16_384
    assert tokens(FILMS, limit_mm_per_prompt={"video": {"count": 0}}) == 16_384


def test_pixels_decide_pictures_and_films():
    assert tokens(FILMS, mm_processor_kwargs={"max_pixels": SMALL}) == 7 * SMALL // 28**2
    assert tokens(FILMS, mm_processor_kwargs={"size": {"longest_edge": SMALL}}, limit_mm_per_prompt={"video": 0}) == SMALL // 28**2
    assert tokens(STILLS) == 16_384
    assert tokens(STILLS, mm_processor_kwargs={"max_pixels": SMALL}) == SMALL // 32**2
    assert tokens(STILLS, mm_processor_kwargs={"images_kwargs": {"max_pixels": SMALL}}) == 12_288
    assert tokens(STILLS, mm_processor_kwargs={"images_kwargs": {"max_pixels": SMALL}}, limit_mm_per_prompt={"video": 0}) == SMALL // 32**2


def test_until_0_31_pixels_alone_leave_films_as_they_are():
    assert tokens(STILLS, version="0.31", mm_processor_kwargs={"max_pixels": SMALL}) == 12_288
    assert tokens(STILLS, version="0.31", mm_processor_kwargs={"size": {"longest_edge": SMALL}}) == SMALL // 32**2


def test_sides_that_are_too_unlike_make_no_picture():
    """Of 1,277 tokens, a prime, no picture can be made; 1,276 are 29 by 44."""
    assert most_tokens(1277 * 28**2, 28) == 1276
    assert most_tokens(16_384 * 28**2, 28) == 16_384


@pytest.mark.parametrize(
    ("name", "said", "version", "named"),
    [
        (FILMS, {"max_pixels": SMALL}, "0.33", False),
        (FILMS, {"max_pixels": SMALL}, "0.16", True),
        (FILMS, {"num_crops": 4}, "0.33", True),
        (FILMS, {"use_fast": True}, "0.33", False),
        ("google/gemma-3-27b-it", {"max_pixels": SMALL}, "0.33", True),
        ("Qwen/Qwen3-8B", {"max_pixels": SMALL}, "0.33", False),
    ],
)
def test_what_else_the_processor_is_told_is_named(name, said, version, named):
    values = {"--mm-processor-kwargs": json.dumps(said)}
    config = ServeConfig(vllm_version=version)
    assert [part.flag for part in not_covered(values, as_served(config_model(name), values, version), config)] == ["--mm-processor-kwargs"] * named


def test_until_0_12_what_a_tower_puts_out_is_padded_to_the_encoders_whole_budget():
    """0.11 logs a budget of 153,600 tokens for Qwen3-VL: a film's 12,288, each counted 12.5 times for its time stamps. Other towers' items are as long as a batch."""
    assert [tokens(STILLS, version=version) for version in ("0.11", "0.12", "0.13")] == [153_600, 153_600, 16_384]
    assert tokens(STILLS, version="0.11", limit_mm_per_prompt={"video": 0}) == 16_384
    model = as_served(config_model("google/gemma-3-27b-it"), {}, "0.11")
    row = model.hidden_size * 2
    sizes = [vision_outputs(model, ServeConfig(max_model_len=8192, max_num_batched_tokens=2048, vllm_version=version)) for version in ("0.11", "0.13")]
    assert sizes == [8 * 2048 * row, 8 * 256 * row]


@pytest.mark.parametrize(
    ("name", "limits", "items"),
    [
        (STILLS, None, 0),
        (STILLS, {"image": 2}, 2),  # a picture of it is larger than a film
        (STILLS, {"image": {"count": 3}, "video": 1}, 3),
        (FILMS, {"image": 2}, 0),  # a film is larger, and nothing limits films
        (FILMS, {"image": 2, "video": 1}, 2),
        (FILMS, {"image": 2, "video": 0}, 2),
        (STILLS, {"audio": 1}, 0),
    ],
)
def test_a_limit_holds_of_the_kind_that_is_profiled(name, limits, items):
    values = {} if limits is None else {"--limit-mm-per-prompt": json.dumps(limits)}
    assert as_served(config_model(name), values, "0.33").vision.items_in_a_prompt == items


def test_a_films_limit_holds_where_pixels_make_it_the_largest():
    values = {"--mm-processor-kwargs": json.dumps({"images_kwargs": {"max_pixels": SMALL}}), "--limit-mm-per-prompt": json.dumps({"image": 1})}
    assert as_served(config_model(STILLS), values, "0.33").vision.items_in_a_prompt == 0

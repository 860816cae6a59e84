"""Names of GGUF files as their publishers write them (public reports and repositories of 2025 and 2026)."""

import pytest

from planner import PlannerError, check
from planner.engines.llamacpp.spelling import spelled

FILES = {
    "qwen3.5-9b-ud-q4kxl.gguf": ("qwen3.5-9b", "UD-Q4_K_XL"),
    "gemma4-12b-it-qat-q4.gguf": ("gemma-4-12b", "Q4_0"),
    "gemma4-26b-a4b-it-qat-q4.gguf": ("gemma-4-26b-a4b", "Q4_0"),
    "google_gemma-3-27b-it-Q4_K_M.gguf": ("gemma-3-27b", "Q4_K_M"),
    "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf": ("llama-3.1-8b", "Q4_K_M"),
    "Qwen_Qwen3-30B-A3B-Q4_K_M.gguf": ("qwen3-30b-a3b", "Q4_K_M"),
    "Qwen3-30B-A3B-Instruct-2507-UD-Q4_K_XL.gguf": ("qwen3-30b-a3b", "UD-Q4_K_XL"),
    "Qwen3-8B-Q4_K_XL.gguf": ("qwen3-8b", "UD-Q4_K_XL"),
    "phi-4-Q4_K.gguf": ("phi-4", "Q4_K_M"),
    "qwen2.5-coder-7b-instruct-q4km.gguf": ("qwen2.5-coder-7b", "Q4_K_M"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_here_is_known_by_its_name(name):
    model, mix = FILES[name]
    answer = check(f"llama-server -m {name} -c 4096 -np 1", gpu="rtx3090").to_dict()
    assert answer["verdict"] == "starts"
    assert answer["model"]["quantization"] == mix
    assert model.split("-")[0].rstrip("0123456789.") in answer["warnings"][0]["message"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("q4km", "Q4_K_M"),
        ("UD_Q4_K_XL", "UD-Q4_K_XL"),
        ("iq3xxs", "IQ3_XXS"),
        ("q8", "Q8_0"),
        ("Q4_K", "Q4_K_M"),
        ("Q4_K_XL", "UD-Q4_K_XL"),  # Unsloth's without its mark: nobody else has one
        ("Q3_K_XL", "Q3_K_XL"),  # bartowski has
        ("q4_0", "Q4_0"),
        ("mxfp4", "MXFP4"),
        ("Q6_K", "Q6_K"),
    ],
)
def test_a_quantization_is_read_however_it_is_written(typed, meant):
    assert spelled(typed) == meant


def test_a_name_that_means_nothing_is_one_clear_line():
    with pytest.raises(PlannerError, match="tells no model and quantization"):
        check("llama-server -m somebodys-own-thing-q4km.gguf", gpu="rtx3090")

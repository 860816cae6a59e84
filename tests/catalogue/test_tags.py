"""Tags of Ollama's library, as people type them, mean a model of the catalogue in a format of its own."""

import pytest

from planner.catalogue.load import Entry, find_model, model_rows
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for
from planner.questions.question import question_of

TAGS = {
    "qwen2.5-coder:7b": ("qwen2.5-coder-7b", "Q4_K_M"),
    "qwen3-coder:30b": ("qwen3-coder-30b-a3b", "Q4_K_M"),
    "gemma4:26b": ("gemma-4-26b-a4b", "Q4_K_M"),
    "qwen3.5:9b": ("qwen3.5-9b", "Q4_K_M"),
    "qwen3.6:latest": ("qwen3.6-35b-a3b", "Q4_K_M"),
    "deepseek-r1:8b": ("deepseek-r1-0528-qwen3-8b", "Q4_K_M"),
    "deepseek-r1:14b": ("deepseek-r1-distill-qwen-14b", "Q4_K_M"),
    "mistral-small": ("mistral-small-24b", "Q4_K_M"),
    "devstral": ("devstral-small-2507", "Q4_K_M"),
    "phi4": ("phi-4", "Q4_K_M"),
    "magistral": ("magistral-small-2506", "Q4_K_M"),
    "codestral:latest": ("codestral-22b", "Q4_0"),
    "starcoder2:3b": ("starcoder2-3b", "Q4_0"),
    "command-r": ("command-r-35b", "Q4_0"),
    "deepseek-coder:33b": ("deepseek-coder-33b", "Q4_0"),
    "nomic-embed-text": ("nomic-embed-text-v1.5", "F16"),
    "bge-m3:latest": ("bge-m3", "F16"),
    "qwen3:8b-q8_0": ("qwen3-8b", "Q8_0"),
    "llama3.1:8b-instruct-q8_0": ("llama-3.1-8b", "Q8_0"),
    "qwen3:30b-a3b-instruct-2507-q4_K_M": ("qwen3-30b-a3b", "Q4_K_M"),
    "gemma4:26b-a4b-it-q4_K_M": ("gemma-4-26b-a4b", "Q4_K_M"),
    "gemma3:27b-it-qat": ("gemma-3-27b", "Q4_0"),
    "qwen2.5-coder:7b-instruct-fp16": ("qwen2.5-coder-7b", "F16"),
    "deepseek-r1:8b-llama-distill-q4_K_M": ("deepseek-r1-distill-llama-8b", "Q4_K_M"),
    "dolphin-llama3:8b": ("llama-3-8b", "Q4_0"),
    "llava:7b": ("llava-1.6-mistral-7b", "Q4_0"),
    "phi3:14b": ("phi-3-medium", "Q4_0"),
    "openthinker:7b": ("qwen2.5-7b", "Q4_K_M"),
    "olmo-3": ("olmo-3-7b", "Q4_K_M"),
    "aya-expanse": ("aya-expanse-8b", "Q4_K_M"),
    "exaone-deep": ("exaone-3.5-7.8b", "Q4_K_M"),
    "lfm2": ("lfm2-24b-a2b", "Q4_K_M"),
    "yi-coder": ("yi-coder-9b", "Q4_0"),
    "functiongemma": ("gemma-3-270m", "Q8_0"),
    "gpt-oss-safeguard:20b": ("gpt-oss-20b", "MXFP4_BF16"),
    "granite-embedding": ("granite-embedding-30m", "F16"),
}


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_is_a_model_in_a_format_and_is_asked_again_by_its_name(tag):
    entry = find_model(tag)
    assert (entry.row.name, entry.variant.format, entry.variant.runtime) == (*TAGS[tag], "ollama")
    assert find_model(entry.name) == entry
    row = StackRow(gpu="h100", engine="ollama", services=[ServiceRow(model=tag, context=256)])
    again = StackRow(gpu="h100", engine="ollama", services=[ServiceRow(**question_of(row)["services"][0])])
    assert answer_for(again).main.service == answer_for(row).main.service
    assert answer_for(row).main.model.quantization == TAGS[tag][1]


# GB as ollama.com/library shows them.
@pytest.mark.parametrize(
    ("tag", "size"),
    [
        ("magistral", 14),
        ("codestral", 13),
        ("mistral-large", 73),
        ("command-r", 19),
        ("starcoder2", 1.7),
        ("qwen2", 4.4),
        ("gemma:7b", 5.0),
        ("solar", 6.1),
        ("hermes3", 4.7),
        ("dolphin-llama3:8b", 4.7),
        ("dolphin-mixtral:8x7b", 26),
        ("llava:7b", 4.7),
        ("phi3:14b", 7.9),
        ("codellama:13b", 7.4),
        ("nemotron:70b", 43),
        ("cogito:14b", 9.0),
        ("deepscaler", 3.6),
        ("tinydolphin", 0.637),
        ("phind-codellama", 19),
    ],
)
def test_a_tag_takes_what_the_library_says(tag, size):
    main = answer_for(StackRow(gpu="h100", engine="ollama", services=[ServiceRow(model=tag, context=256)])).main
    assert main.service.weights_bytes / 1e9 == pytest.approx(size, rel=0.04)


@pytest.mark.parametrize("tag", ["qwen3:9b", "deepseek-r1:8b-plus-q4_K_M", "qwen3:8b-mlx", "xyz:8b-q8_0", "qwen3:8b q8_0", "qwen3-8b:q8_0", "qwen3:", ":"])
def test_a_tag_of_another_model_is_none(tag):
    assert find_model(tag) is None


def test_what_setup_pulls_is_the_tag_that_was_asked():
    main = answer_for(StackRow(gpu="rtx3060", engine="ollama", services=[ServiceRow(model="qwen3:8b-q8_0", context=4096)])).main
    assert main.service.model == "qwen3:8b-q8_0"


def test_every_tag_of_the_catalogue_is_reached_by_each_of_its_names():
    entries = [Entry(row, variant) for row in model_rows() for variant in row.variants if variant.runtime == "ollama"]
    assert len(entries) >= 210
    for entry in entries:
        for name in (entry.variant.repo, *entry.variant.aliases, entry.name):
            assert find_model(name) == entry, name


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("mistral-small-3.2", "mistral-small-3.2-24b"),
        ("Seed-OSS", "seed-oss-36b"),
        ("deepseek-r1-distill-qwen", None),
        ("gemma-3", None),
        ("NVIDIA-Nemotron-3-Nano", None),
        ("hermes-3", None),
        ("tulu-3", None),
        ("openreasoning-nemotron", None),
        ("ministral", None),
    ],
)
def test_a_name_without_its_size_is_the_model_where_it_has_one_only(name, row):
    entry = find_model(name)
    assert (entry and entry.row.name) == row

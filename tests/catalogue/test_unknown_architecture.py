"""A checkpoint whose architecture nobody here knows: its tensors' bytes and its config's figures give an answer that is graded as such, else a refusal."""

import json
import struct
from pathlib import Path

import pytest

import planner
from planner.architecture.draft_configs import _NOT_BUILT
from planner.architecture.families import FAMILIES
from planner.architecture.families.dropped import NOT_READ
from planner.errors import UnknownArchitectureError

FIGURES = {
    "model_type": "toy",
    "hidden_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
BYTES = 2 * (32_000 * 1024 + 4 * 4096 * 1024)


def folder(path, architecture="ToyForCausalLM", *, tensors=True, **keys):
    (path / "config.json").write_text(json.dumps(FIGURES | {"architectures": [architecture]} | keys))
    if tensors:
        header, end = {}, 0
        for name, rows in [("embed_tokens.weight", 32_000), *((f"layers.{index}.toy.weight", 4096) for index in range(4))]:
            size = rows * 1024 * 2
            header[name] = {"dtype": "BF16", "shape": [rows, 1024], "data_offsets": [end, end + size]}
            end += size
        text = json.dumps(header).encode()
        with (path / "model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
    return str(path)


def test_its_tensors_are_its_weights_and_the_verdict_is_unknown(tmp_path):
    answer = planner.plan(model=folder(tmp_path), gpu="rtx4090", context=4096).to_dict()
    assert answer["verdict"] == "unknown"
    assert answer["memory"]["weights_bytes"] == BYTES
    assert answer["memory"]["kv_block_bytes"] == 4 * 2 * 4 * 64 * 2 * 16
    assert any("ToyForCausalLM" in warning["message"] for warning in answer["warnings"])


def test_so_it_is_of_a_command(tmp_path):
    answer = planner.check(f"vllm serve {folder(tmp_path)} --max-model-len 4096", gpu="rtx4090").to_dict()
    assert answer["verdict"] == "unknown"


def test_without_tensors_it_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UnknownArchitectureError, match="'GemmaTooForCausalLM' is not supported") as error:
        planner.plan(model=folder(tmp_path, "GemmaTooForCausalLM", tensors=False), gpu="rtx4090")
    assert "GemmaForCausalLM" in error.value.hint


def test_a_config_without_figures_is_refused(tmp_path):
    with pytest.raises(planner.PlannerError, match="num_hidden_layers is missing"):
        planner.plan(model=folder(tmp_path, num_hidden_layers=None), gpu="rtx4090")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MPTForCausalLM", "release 0.28 was the last"),
        ("BartModel", "with a plugin only"),
        ("Glm5NextForCausalLM", "vLLM serves Glm5NextForCausalLM, whose class nobody read here: with its safetensors"),
    ],
)
def test_what_became_of_a_name_is_said(tmp_path, name, told):
    with pytest.raises(UnknownArchitectureError, match=told):
        planner.plan(model=folder(tmp_path, name, tensors=False), gpu="rtx4090")


def test_every_name_of_the_registry_is_known_or_said_not_to_be():
    registry = json.loads((Path(__file__).parents[1] / "data" / "vllm_0.33_registry.json").read_text())
    names = {name for group in registry.values() for name in group}
    assert names - set(FAMILIES) - set(_NOT_BUILT.split()) == set(NOT_READ.split())


def test_a_name_that_vllm_serves_and_nobody_read_is_answered_by_its_tensors(tmp_path):
    assert planner.plan(model=folder(tmp_path, "Step5ForCausalLM"), gpu="rtx4090").to_dict()["verdict"] == "unknown"

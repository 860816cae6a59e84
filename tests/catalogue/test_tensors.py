"""safetensors headers beside the config: agreement is silent, a difference names tensors, broken files are refused."""

import json
import os
from math import prod
from pathlib import Path

import pytest
from conftest import run_plan
from hypothesis import given
from hypothesis import strategies as st

from planner.catalogue.safetensors import _BITS as BITS
from planner.catalogue.safetensors import parse_header, read_header
from planner.errors import PlannerError

SMALL = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}


def tensors(dtype: str = "BF16") -> dict[str, dict]:
    """What the Hugging Face class of SMALL stores."""
    shapes = {"model.embed_tokens.weight": [1024, 256], "model.norm.weight": [256]}
    for layer in range(4):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": [256, 256],
            f"{at}.self_attn.k_proj.weight": [128, 256],
            f"{at}.self_attn.v_proj.weight": [128, 256],
            f"{at}.self_attn.o_proj.weight": [256, 256],
            f"{at}.self_attn.q_norm.weight": [64],
            f"{at}.self_attn.k_norm.weight": [64],
            f"{at}.mlp.gate_proj.weight": [512, 256],
            f"{at}.mlp.up_proj.weight": [512, 256],
            f"{at}.mlp.down_proj.weight": [256, 512],
            f"{at}.input_layernorm.weight": [256],
            f"{at}.post_attention_layernorm.weight": [256],
        }
    return {name: {"dtype": dtype, "shape": shape} for name, shape in shapes.items()}


def placed(entries: dict) -> tuple[dict, int]:
    """The entries of a header, one's data behind the other's, and the bytes of all."""
    found, end = {}, 0
    for name, entry in entries.items():
        size = prod(entry["shape"]) * BITS[entry["dtype"]] // 8
        found[name] = entry | {"data_offsets": [end, end + size]}
        end += size
    return found, end


def write(path: Path, entries: dict) -> None:
    """A whole file, whose data is a hole."""
    found, size = placed(entries)
    text = json.dumps({"__metadata__": {"format": "pt"}, **found}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + size)


def checkpoint(folder: Path, entries: dict) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SMALL))
    write(folder / "model.safetensors", entries)
    return folder


def planned(folder, tmp_path, *more):
    done = run_plan("--gpu", "rtx4090", "--model", str(folder), "--max-model-len", "2048", "--dry-run", "--format", "json", *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def warnings(folder, tmp_path, *more):
    return [warning["message"] for warning in planned(folder, tmp_path, *more)["warnings"] if warning["code"] == "tensors-differ"]


def weights_bytes(folder, tmp_path):
    return planned(folder, tmp_path)["memory"]["weights_bytes"]


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_a_checkpoint_that_is_what_its_config_says_is_silent(dtype, tmp_path):
    """A float32 checkpoint is loaded in the model's dtype."""
    assert warnings(checkpoint(tmp_path / "m", tensors(dtype)), tmp_path) == []


def test_what_is_not_loaded_does_not_count(tmp_path):
    more = {"lm_head.weight": [1024, 256], "mtp.fc.weight": [512, 256], "model.layers.0.self_attn.rotary_emb.inv_freq": [32]}
    entries = tensors() | {name: {"dtype": "BF16", "shape": shape} for name, shape in more.items()}
    assert warnings(checkpoint(tmp_path / "m", entries), tmp_path) == []


def test_a_difference_names_the_tensors(tmp_path):
    entries = tensors() | {f"model.layers.{layer}.adapter.proj.weight": {"dtype": "BF16", "shape": [512, 256]} for layer in range(4)}
    (message,) = warnings(checkpoint(tmp_path / "m", entries), tmp_path)
    assert "model.layers.*.adapter.proj.weight" in message
    assert weights_bytes(tmp_path / "m", tmp_path) == weights_bytes(checkpoint(tmp_path / "plain", tensors()), tmp_path), "vLLM has no module for it"


@pytest.mark.parametrize("name", ["\x1b]0;x\x07evil.weight", "a\u202eb.weight", "\x9b2Jx.weight"])
def test_a_strangers_tensor_name_is_safe_for_a_terminal(name, tmp_path):
    folder = checkpoint(tmp_path / "m", tensors() | {name: {"dtype": "BF16", "shape": [1024, 1024]}})
    done = run_plan("--gpu", "rtx4090", "--model", str(folder), "--max-model-len", "2048", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not set(name) & set("\x1b\x07\u202e\x9b") & set(done.stdout + done.stderr)


def test_tensors_of_another_size_are_believed(tmp_path):
    """A config that names no quantization of MLPs that are stored in 8 bits: what is stored is loaded."""
    entries = {name: entry | {"dtype": "F8_E4M3" if ".mlp." in name else "BF16"} for name, entry in tensors().items()}
    (message,) = warnings(checkpoint(tmp_path / "m", entries), tmp_path)
    assert "the tensors are believed" in message
    plain = weights_bytes(checkpoint(tmp_path / "plain", tensors()), tmp_path)
    assert weights_bytes(tmp_path / "m", tmp_path) == plain - 4 * 3 * 512 * 256


def test_quantization_while_loading_is_no_difference(tmp_path):
    assert warnings(checkpoint(tmp_path / "m", tensors()), tmp_path, "--quantization", "fp8") == []


def test_layers_after_the_last_are_heads_of_multi_token_prediction(tmp_path):
    more = {"model.layers.4.mlp.up_proj.weight": {"dtype": "BF16", "shape": [512, 256]}}
    assert warnings(checkpoint(tmp_path / "m", tensors() | more), tmp_path) == []


def test_a_file_of_a_checkpoint_may_be_given(tmp_path):
    folder = checkpoint(tmp_path / "m", tensors())
    assert warnings(folder / "model.safetensors", tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        (10**12).to_bytes(8, "little"),
        (5).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (9).to_bytes(8, "little") + b'{"a": {}}',
    ],
)
def test_a_broken_file_is_one_line_and_exit_2(content, tmp_path):
    folder = checkpoint(tmp_path / "m", tensors())
    (folder / "model.safetensors").write_bytes(content)
    done = run_plan("--gpu", "rtx4090", "--model", str(folder), cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done
    assert "safetensors" in done.stderr


@given(st.binary(max_size=300))
def test_any_header_is_read_or_refused(text):
    try:
        _, size = parse_header(text, "x", len(text))
        assert size >= 0
    except PlannerError as error:
        assert "broken" in error.message


def test_real_names_are_read(tmp_path):
    write(tmp_path / "x.safetensors", tensors())
    read = read_header(tmp_path / "x.safetensors")
    assert len(read) == 2 + 4 * 11

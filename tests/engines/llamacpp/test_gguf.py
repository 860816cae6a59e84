"""GGUF files written by hand: the header is read, what vLLM does not load is answered with the model it was converted from."""

import struct

import pytest
from conftest import run_plan
from hypothesis import example, given
from hypothesis import strategies as st

from planner.catalogue.gguf import read_header
from planner.catalogue.load import model_rows
from planner.catalogue.resolve import find_plain
from planner.catalogue.shards import POINTER
from planner.engines.llamacpp.model import converted
from planner.errors import PlannerError


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, value: str | int | float | list) -> bytes:
    match value:
        case str():
            return text(key) + struct.pack("<I", 8) + text(value)
        case int():
            return text(key) + struct.pack("<II", 4, value)
        case float():
            return text(key) + struct.pack("<If", 6, value)
        case [str(), *_]:
            return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        case _:
            return text(key) + struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)


def gguf(**entries) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entry(key.replace("__", "."), value) for key, value in entries.items())


WHOLE = gguf(
    general__architecture="qwen3",
    tokenizer__ggml__tokens=["a", "bc", ""],
    tokenizer__ggml__token_type=[1, 2, 3],
    qwen3__rope__freq_base=10000.0,
    general__file_type=15,
    general__name="Qwen3 8B",
    general__base_model__0__repo_url="https://huggingface.co/Qwen/Qwen3-8B",
)


def test_the_header_is_read_past_its_arrays(tmp_path):
    (tmp_path / "x.gguf").write_bytes(WHOLE)
    found = read_header(tmp_path / "x.gguf").metadata
    assert (found["general.name"], found["general.file_type"], found["qwen3.rope.freq_base"]) == ("Qwen3 8B", 15, 10000.0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (WHOLE, ["Qwen/Qwen3-8B", "does not load", "--model qwen3-8b"]),
        (gguf(general__base_model__0__repo_url="https://huggingface.co/owner/other"), ["--model owner/other"]),
        (gguf(general__name="Qwen3 8B"), ["--model qwen3-8b"]),
        (gguf(general__name="\x1b[31mred"), ["of [31mred,"]),
        (gguf(general__file_type=2), ["the original repository"]),
        (WHOLE[:-5] + b"\xff" * 5, ["does not load"]),
        (WHOLE[:40], ["damaged"]),
        (b"GGML" + WHOLE[4:], ["not a GGUF file"]),
        (b"", ["not a GGUF file"]),
        (None, ["does not load", "the original repository"]),
    ],
)
def test_a_gguf_file_is_answered_in_one_line(content, says, tmp_path):
    if content is not None:
        (tmp_path / "x.gguf").write_bytes(content)
    done = run_plan("--gpu", "rtx4090", "--model", "x.gguf", cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert all(word in done.stderr for word in says), done.stderr


@given(st.binary(max_size=200), st.integers(0, len(WHOLE)))
@example(b"version https://git-lfs.", 0)
def test_any_file_is_read_or_refused(tmp_path_factory, noise, at):
    path = tmp_path_factory.mktemp("gguf") / "x.gguf"
    path.write_bytes(WHOLE[:at] + noise)
    try:
        read_header(path)
    except PlannerError as error:
        assert "GGUF" in error.message or POINTER in error.message


@pytest.mark.slow
def test_every_model_of_the_catalogue_becomes_a_file():
    """What vLLM has as one matrix may be several here, and the other way round."""
    for row in model_rows():
        file = converted(find_plain(row.name).spec, "Q8_0")
        assert file.file_bytes > 0 < file.layer_count

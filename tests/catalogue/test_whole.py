"""A download that is not finished is not whole, and that is the answer: whatever is missing of a checkpoint, nobody says that it starts."""

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import run_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from test_llamacpp import write_gguf
from test_tensors import SMALL, placed, tensors, write

from planner.catalogue.checkpoint import INDEX, stored
from planner.catalogue.gguf import read_whole
from planner.catalogue.safetensors import read_header
from planner.catalogue.shards import UNFINISHED, shards
from planner.errors import PlannerError

SHARDS = 4


def sharded(folder: Path, *, index: bool, first: int = 1) -> Path:
    """A whole checkpoint in several files."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SMALL))
    everything = list(tensors().items())
    weight_map = {}
    for number in range(SHARDS):
        name = f"model-{number + first:05}-of-{SHARDS:05}.safetensors"
        part = dict(everything[number::SHARDS])
        write(folder / name, part)
        weight_map |= dict.fromkeys(part, name)
    if index:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def commands(model: str):
    yield "--gpu", "rtx4090", "--model", model, "--format", "json"
    yield "check", f"vllm serve {model} --max-model-len 2048", "--gpu", "rtx4090"
    yield "--gpu", "rtx4090", "--engine", "llama.cpp", "--model", model


def refused(folder: Path, says: str, cwd: Path, *, all_commands: bool = False) -> None:
    """In one line, with exit code 2, and nothing is written."""
    for command in commands(f"./{folder.relative_to(cwd)}"):
        done = run_plan(*command, cwd=cwd)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
        assert says in done.stderr
        assert [path.name for path in cwd.iterdir()] == [folder.name]
        if not all_commands:
            return


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("first", [0, 1])
def test_a_whole_checkpoint_is_read(index, first, tmp_path):
    folder = sharded(tmp_path / "m", index=index, first=first)
    assert {tensor.name for tensor in stored(folder)} == set(tensors())
    (folder / "adapter.bin").write_bytes(b"x")
    assert len(stored(folder)) == len(tensors())


def test_one_file_of_many_is_refused_by_every_command(tmp_path):
    (folder := tmp_path / "part").mkdir()
    (folder / "config.json").write_text(json.dumps(SMALL))
    write(folder / "model-00001-of-00017.safetensors", tensors())
    refused(folder, "is not whole: 16 of 17 files are missing (model-00002-of-00017.safetensors", tmp_path, all_commands=True)


def test_a_header_without_its_data_is_refused_by_every_command(tmp_path):
    folder = sharded(tmp_path / "m", index=True)
    path = folder / "model-00003-of-00004.safetensors"
    size = path.stat().st_size
    os.truncate(path, 8 + int.from_bytes(path.read_bytes()[:8], "little"))
    refused(folder, "bytes are missing; finish the download", tmp_path, all_commands=True)
    os.truncate(path, size)
    assert run_plan("--gpu", "rtx4090", "--model", "m", "--dry-run", cwd=tmp_path).returncode == 0


@settings(max_examples=50)
@given(data=st.data(), index=st.booleans())
def test_whatever_is_removed_or_cut_off_is_seen(data, index, tmp_path_factory):
    """Any set of files is removed, any file cut anywhere (or lengthened, or still being downloaded): the folder is refused."""
    folder = sharded(tmp_path_factory.mktemp("whole") / "m", index=index)
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    gone = data.draw(st.sets(st.sampled_from(names), max_size=SHARDS - 1), label="gone")
    for name in gone:
        (folder / name).unlink()
    left = sorted(set(names) - gone)
    fate = data.draw(st.sampled_from(["cut", "longer", "part"] + ["as it is"] * bool(gone)), label="fate")
    path = folder / data.draw(st.sampled_from(left), label="file")
    size = path.stat().st_size
    if fate == "cut":
        os.truncate(path, data.draw(st.one_of(st.integers(0, size - 1), st.integers(1, 9).map(lambda less: size - less)), label="bytes"))
    elif fate == "longer":
        os.truncate(path, size + data.draw(st.integers(1, 1 << 40)))
    elif fate == "part":
        path.with_name(path.name + data.draw(st.sampled_from(UNFINISHED))).touch()
    with pytest.raises(PlannerError) as error:
        stored(folder)
    assert "\n" not in error.value.message
    assert error.value.exit_code == 2
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "index",
    [
        '{"weight_map": {}}',
        '{"weight_map": {"a": []}}',
        '{"weight_map": {"a": {"b": 1}}}',
        '{"weight_map": {"a": "../x"}}',
        "[]",
        "{",
        '{"weight_map": 3}',
        "{}",
    ],
)
def test_an_index_that_names_no_files_is_refused(index, tmp_path):
    folder = sharded(tmp_path / "m", index=True)
    (folder / INDEX).write_text(index)
    refused(folder, INDEX, tmp_path)


def test_what_is_not_there_at_all_is_planned_by_its_config(tmp_path):
    """Only the small files were fetched: the plan is made before the download."""
    folder = sharded(tmp_path / "m", index=True)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert stored(folder) == ()
    done = run_plan("--gpu", "rtx4090", "--model", "m", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_links_of_a_cache_that_lead_nowhere_are_seen(tmp_path):
    folder = sharded(tmp_path / "m", index=False)
    path = next(folder.glob("*.safetensors"))
    path.unlink()
    path.symlink_to(tmp_path / "blob")
    with pytest.raises(PlannerError, match="is not a file"):
        stored(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["model.norm.weight"].update(data_offsets=[0, 10]),
        lambda header: header["model.norm.weight"].update(data_offsets=[-512, 0]),
        lambda header: header["model.norm.weight"].update(data_offsets=[0]),
        lambda header: header["model.norm.weight"].update(data_offsets=[True, 512]),
        lambda header: header["model.norm.weight"].update(data_offsets="ab"),
        lambda header: header["model.norm.weight"].update(shape=[512]),
        lambda header: header["model.norm.weight"].update(dtype="F32"),
        lambda header: header["model.norm.weight"].update(dtype=["F32"]),
        lambda header: header["model.norm.weight"].pop("data_offsets"),
        lambda header: [entry.update(data_offsets=[0, 10]) for entry in header.values()],
        lambda header: [entry.update(data_offsets=[at + 8 for at in entry["data_offsets"]]) for entry in header.values()],
        lambda header: header.pop("model.layers.0.mlp.up_proj.weight"),  # leaves a gap
        lambda header: header.update({"x": 3}),
    ],
)
def test_offsets_that_do_not_fit_are_refused(change, tmp_path):
    header, size = placed(tensors())
    change(header)
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + size)
    with pytest.raises(PlannerError, match="header is broken"):
        read_header(path)


def test_a_name_twice_in_a_header_is_refused(tmp_path):
    entry = '"x": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}'
    text = f"{{{entry}, {entry}}}".encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"ab")
    with pytest.raises(PlannerError, match="header is broken"):
        read_header(tmp_path / "x.safetensors")


@given(st.integers(1, 40), st.data())
def test_one_name_tells_all(total, data):
    number = data.draw(st.integers(1, total))
    assert len(shards([f"a-b-{number:05}-of-{total:05}.safetensors"])) == total
    assert shards(["model.safetensors", "x-of-3.safetensors", "x-1-of-.safetensors"]) == set()


def parts(folder: Path, count: int = 3) -> Path:
    """A model in several GGUF files, as llama.cpp's own library names them; every one holds the whole tiny model's layers."""
    for number in range(count):
        write_gguf(folder / f"m-{number + 1:05}-of-{count:05}.gguf", ["Q4_K", "Q6_K"])
    return folder / f"m-00001-of-{count:05}.gguf"


@given(data=st.data())
def test_a_gguf_file_that_is_cut_anywhere_is_seen(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    write_gguf(path, ["Q4_K", "Q8_0"])
    whole = read_whole(path)
    assert whole.tensors
    size = path.stat().st_size
    needed = max(tensor.offset + tensor.bytes for tensor in whole.tensors)
    padding = 31  # behind the last tensor the library writes zeros
    os.truncate(path, data.draw(st.one_of(st.integers(0, size - 1 - padding), st.integers(size - needed, size - 1 - padding))))
    with pytest.raises(PlannerError) as error:
        read_whole(path)
    assert error.value.exit_code == 2


def test_all_parts_of_a_gguf_model_count(tmp_path):
    first = parts(tmp_path)
    one = sum(tensor.bytes for tensor in read_whole(tmp_path / shutil.copy(first, tmp_path / "single.gguf")).tensors)
    assert sum(tensor.bytes for tensor in read_whole(first).tensors) == 3 * one
    with pytest.raises(PlannerError, match="not the first of its 3 files"):
        read_whole(first.with_name("m-00002-of-00003.gguf"))
    first.with_name("m-00003-of-00003.gguf").unlink()
    done = run_plan("--gpu", "rtx4090", "--engine", "llama.cpp", "--model", first.name, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "is not whole: 1 of 3 files are missing (m-00003-of-00003.gguf)" in done.stderr


def test_a_part_that_is_cut_is_seen(tmp_path):
    first = parts(tmp_path)
    last = first.with_name("m-00003-of-00003.gguf")
    os.truncate(last, last.stat().st_size - 100)
    with pytest.raises(PlannerError, match=r"m-00003-of-00003.gguf is not whole: \d+ of"):
        read_whole(first)

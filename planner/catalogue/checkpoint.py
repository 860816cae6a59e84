"""A checkpoint's files on this machine: whether all of them are there, each as long as its header says. Half a download is no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.architecture.config import MAX_CONFIG_BYTES, parse_config
from planner.catalogue.safetensors import StoredTensor, read_header
from planner.catalogue.shards import FETCH, FINISH, POINTER, refuse_missing, shards
from planner.errors import FileError, PlannerError
from planner.reader import is_pointer, open_file, read_bytes

INDEX = "model.safetensors.index.json"
OTHERS = ("pytorch_model*.bin", "consolidated*.safetensors", "consolidated*.pth")  # what vLLM loads too, whose tensors are not read here


def stored(folder: Path) -> Sequence[StoredTensor]:
    """The tensors of a folder's checkpoint, nothing where none of it is there yet. Raises PlannerError for one that is not whole."""
    _refuse_halves(folder)
    there = {path.name: path for path in sorted(folder.glob("*.safetensors"))}
    listed = _listed(folder / INDEX)
    if listed is not None and not there.keys() & listed:
        return ()
    wanted = listed if listed is not None else there.keys() | shards(there)
    refuse_missing(folder, wanted, there)
    tensors: dict[str, StoredTensor] = {}
    for name in sorted(wanted):
        if not there[name].is_file():
            raise PlannerError(f"{there[name]} is not a file", FINISH)
        tensors |= {tensor.name: tensor for tensor in read_header(there[name])}
    return tuple(tensors.values())


def _refuse_halves(folder: Path) -> None:
    """Refuse weights in other formats of which files are missing, or pointers of Git LFS. Raises PlannerError."""
    there = {path.name: path for pattern in OTHERS for path in folder.glob(pattern)}
    refuse_missing(folder, there.keys() | shards(there), there)
    for path in there.values():
        try:
            with open_file(path) as stream:
                if is_pointer(stream.read(40)):
                    raise FileError(path, POINTER, FETCH)
        except OSError as error:
            raise FileError(path, f"cannot be read ({error.strerror or error})") from None


def _listed(index: Path) -> set[str] | None:
    """The files that an index names. Raises PlannerError for one that cannot be read."""
    if not index.exists():
        return None
    files = parse_config(read_bytes(index, MAX_CONFIG_BYTES, "an index"), str(index)).section("weight_map").data.values()
    if not files or not all(isinstance(name, str) and Path(name).name == name and name not in ("", ".", "..") for name in files):
        raise FileError(index, "weight_map does not name files beside it", FINISH)
    return {str(name) for name in files}

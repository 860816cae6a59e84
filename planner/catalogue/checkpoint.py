"""A checkpoint's files on this machine: whether all of them are there, each as long as its header says. Half a download is no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.architecture.config import MAX_CONFIG_BYTES, parse_config
from planner.catalogue.safetensors import StoredTensor, read_header
from planner.catalogue.shards import FINISH, refuse_missing, shards
from planner.errors import PlannerError

INDEX = "model.safetensors.index.json"


def stored(folder: Path) -> Sequence[StoredTensor]:
    """The tensors of a folder's checkpoint, nothing where none of it is there yet. Raises PlannerError for one that is not whole."""
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


def _listed(index: Path) -> set[str] | None:
    """The files that an index names. Raises PlannerError for one that cannot be read."""
    if not index.exists():
        return None
    try:
        if not index.is_file() or index.stat().st_size > MAX_CONFIG_BYTES:
            raise PlannerError(f"{index} is too large for an index, or no file")
        files = parse_config(index.read_bytes(), str(index)).section("weight_map").data.values()
    except OSError as error:
        raise PlannerError(f"{index}: cannot be read ({error.strerror or error})") from None
    if not files or not all(isinstance(name, str) and Path(name).name == name for name in files):
        raise PlannerError(f"{index}: weight_map does not name files", FINISH)
    return {str(name) for name in files}

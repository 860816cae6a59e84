"""A card that is described, and a model of the Hub, as a row of a person's own file: of the model its whole config, its quantization, and what the headers of its tensors say, for use without a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from math import prod
from pathlib import Path

import yaml

from planner.catalogue.data import RowData
from planner.catalogue.hub import HubModel, fetch_model
from planner.catalogue.names import is_repo_id, model_key, repaired
from planner.catalogue.resolve import from_files, source_bits
from planner.catalogue.shipped import shipped
from planner.catalogue.written import MOST_BYTES, read_gpus, read_models
from planner.engines import first_engine
from planner.engines.catalogue import Source
from planner.errors import PlannerError, WorldError
from planner.facts.record import dataclass
from planner.reader import read_text
from planner.text import slug
from planner.writing import locked, made, write_whole

_QUANTIZATION = ("quantization_config", "compression_config")


@dataclass(frozen=True, slots=True)
class Added:
    """A row that was written: the name to type, what it is of, and the file."""

    name: str
    repo: str
    file: Path


def add_model(repo: str, file: Path) -> Added:
    """Write a row for a repository of the Hub behind the rows of a file, none of which is touched.

    Raises PlannerError for what is no repository, is there already, or has an architecture that is not known;
    WorldError where the Hub cannot be reached, or the file cannot be written.
    """
    if not is_repo_id(repo):
        meant = repaired(repo)
        raise PlannerError(f"{repo[:100]!r} is not owner/name of a repository on the Hub", f"plan models add {meant}" if meant else "")
    own = read_models(file) if file.exists() else {}
    if there := next((row["name"] for row in own.values() for variant in row["variants"] if model_key(variant["repo"]) == model_key(repo)), None):
        raise PlannerError(f"{repo} is in {file} already, as {there}", "edit that row, or take it out to have it written anew")
    fetched = fetch_model(repo)
    source = from_files(fetched.config, fetched.quantization, repo, slug(repo.partition("/")[2]), online=None, tensors=fetched.tensors)
    name = _free_name(repo, own)
    _append(file, _row(name, fetched, source), read_models)
    return Added(name, repo, file)


def add_gpu(row: RowData, file: Path) -> Added:
    """Write a row for a card behind the rows of a file, none of which is touched. Raises PlannerError for a name that is taken there, or that makes no row."""
    if file.exists() and row["name"] in read_gpus(file):
        raise PlannerError(f"{row['name']} is in {file} already", "edit that row, or take it out to have it written anew")
    _append(file, row, read_gpus)
    return Added(row["name"], row["title"], file)


def _free_name(repo: str, own: dict[str, RowData]) -> str:
    """The repository's name without its owner, with it where the catalogue or the file has a row of that name."""
    short = slug(model_key(repo).rpartition("/")[2])
    names = shipped("models")["names"]
    return slug(model_key(repo).replace("/", "-")) if short in own or short in names else short


def _row(name: str, fetched: HubModel, source: Source) -> RowData:
    """The row. The config is the whole one: which of its keys decide sizes may change with a release of this program."""
    spec, config = source.spec, {key: value for key, value in source.config.items() if key not in _QUANTIZATION}
    section = next((source.config[key] for key in _QUANTIZATION if source.config.get(key)), None) or source.hf_quant
    held = sum(tensor.stored_bytes for tensor in fetched.tensors)
    headers = f"; headers of {len(fetched.tensors):,} tensors, {held:,} bytes" if fetched.tensors else "; headers of its tensors not read"
    variant_name = spec.quantization or "bf16"
    variant: RowData = {"name": variant_name, "repo": source.repo, "default": True}
    today = datetime.now(tz=UTC)
    chat = asdict(spec.chat) if spec.chat else {}
    row: RowData = {
        "name": name,
        "title": source.repo,
        "family": spec.family or name,
        "kind": "embedding" if spec.pooling else "vision" if spec.tower else "chat",
        "parameters": sum(prod(tensor.shape) for tensor in fetched.tensors) or first_engine().stored_bytes(spec, variant_name) * 8 // source_bits(source),
        "released": fetched.month or f"{today:%Y-%m}",
    }
    row |= {} if fetched.month else {"released_at_least": True}
    row |= {key: chat[key] for key in ("tool_parser", "reasoning_parser", "tokenizer_mode", "content_format") if chat.get(key)}
    row |= {"sources": [f"config.json on the Hugging Face Hub, commit {fetched.commit or 'not known'}{headers}"], "checked": f"{today:%Y-%m-%d}"}
    variant |= {"quantization": dict(section)} if isinstance(section, dict) else {}
    variant |= {"checkpoint": asdict(spec.checkpoint)} if spec.checkpoint else {}
    return row | {"variants": [variant], "config": config}


class _Dumper(yaml.SafeDumper):
    """Writes values out where they are the same object: anchors are not read."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _append(file: Path, row: RowData, read: Callable[[Path], object]) -> None:
    """Put a row behind what a file holds; the file is whole, with or without it, whatever happens."""
    text = yaml.dump([row], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=160)
    try:
        with made(file.parent), locked(file.parent):
            before = read_text(file, MOST_BYTES) if file.exists() else ""
            after = before + ("" if not before or before.endswith("\n") else "\n") + text
            if len(after.encode()) > MOST_BYTES:
                raise PlannerError(f"{file}: more than {MOST_BYTES:,} bytes with this row", "give another file with --file")
            write_whole(file, after, read)
    except OSError as error:
        raise WorldError(f"cannot write {file}: {error.strerror or error}") from None

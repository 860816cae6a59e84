"""The names of GPUs and models: all that a row answers to, how they are compared, a repository's on the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable

from planner.catalogue.rows import GpuRow, ModelRow
from planner.facts.variant import Variant


def gpu_key(name: str) -> str:
    """The form in which GPU names are compared: "NVIDIA RTX 4090" and "rtx-4090" are one, as are a driver's "Intel(R) Arc(TM) B580 Graphics" and "arc b580", and a Mac is its chip."""
    key = re.sub(r"\((r|tm|c)\)|[^a-z0-9]", "", name.lower())
    key = re.sub(r"(gpu|graphics)$", "", key).replace("mobile", "laptop")
    key = re.sub(r"^(apple)?(i?mac|macbook(pro|air)?|mac(mini|studio|pro))(1[3-6]|24)?(inch)?(?=(apple)?m\d)", "", key)
    return re.sub(r"^(nvidia)?(geforce|tesla|amd|intel)?(radeoninstinct|instinct|radeon(?=rx\d|\d)|quadro(?=rtxa))?", "", key) or key


def sized_name(row: GpuRow) -> str:
    """A Mac's name as it is typed, with one of its sizes."""
    return f"{row.name.removeprefix('apple-')}-{row.memory_options_gb[len(row.memory_options_gb) // 2]}gb"


def gpu_keys(row: GpuRow) -> set[str]:
    """All names of a GPU as they are compared."""
    return {gpu_key(word) for word in (row.name, row.title, *row.aliases)}


def model_key(name: str) -> str:
    """The form in which model names are compared."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def variant_key(row: ModelRow, variant: Variant) -> str:
    """The name that a person types for a variant: the row's own for the default."""
    return row.name if variant.default else model_key(f"{row.name}-{variant.name}")


def entry_names(row: ModelRow, variant: Variant) -> set[str]:
    """All names of a variant: the row's and aliases (with the variant's behind it), the repository with and without its owner."""
    return _own_names(row, variant) | {_without_owner(variant)}


def names_of_models(rows: Iterable[ModelRow]) -> dict[str, tuple[str, int]]:
    """Which variant (of a row by its name, by its place there) each name is: the repository without its owner is one where no row is called so."""
    entries = [(row, index, variant) for row in rows for index, variant in enumerate(row.variants)]
    places: dict[str, tuple[str, int]] = {}
    for row, index, variant in entries:
        for key in sorted(_own_names(row, variant)):
            places.setdefault(key, (row.name, index))
    for row, index, variant in entries:
        places.setdefault(_without_owner(variant), (row.name, index))
    return places


def row_names(row: ModelRow) -> set[str]:
    """The names of a row that no other may have: its own, aliases and those of its variants, and their repositories."""
    return set().union(*(_own_names(row, variant) for variant in row.variants))


def _own_names(row: ModelRow, variant: Variant) -> set[str]:
    bases = [row.name, *map(model_key, row.aliases)]
    names = {model_key(variant.repo), *map(model_key, variant.aliases), *(model_key(f"{base}-{variant.name}") for base in bases)}
    return names | set(bases) if variant.default else names


def _without_owner(variant: Variant) -> str:
    return model_key(variant.repo).rpartition("/")[2]


def is_repo_id(name: str) -> bool:
    """Whether a name has the form owner/name of a Hub repository (huggingface_hub, validate_repo_id)."""
    owner, _, own = name.partition("/")
    whole = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}\Z", name) is not None and ".." not in name and "--" not in name
    return whole and not name.endswith(".git") and not any(part.endswith(("-", ".")) for part in (owner, own))


def repaired(name: str) -> str:
    """The repository that was meant by an address of it: https://huggingface.co/owner/name, owner/name.git; empty where that is none."""
    meant = re.sub(r"\A(?:https?://)?(?:huggingface\.co|hf\.co)/", "", name).split("?")[0].rstrip("/.")
    meant = "/".join(meant.removesuffix(".git").split("/")[:2])
    return meant if meant != name and is_repo_id(meant) else ""

"""The catalogues are built: YAML that people edit, checked by pydantic, becomes data/*.json that ships. `python -m planner.catalogue.build`.

`--check` writes nothing and fails where a file is not current. The wheel's build hook (hatch_build.py) calls `build` too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from planner.catalogue.data import RowData
from planner.catalogue.load import Entry
from planner.catalogue.names import gpu_keys, names_of_models
from planner.catalogue.rows import PriceFile
from planner.catalogue.shipped import FOLDER, gpu_row, model_row
from planner.catalogue.sizes import computed_active, computed_bytes
from planner.catalogue.validation import adapter
from planner.catalogue.written import read_gpus, read_models
from planner.catalogue.yaml_file import read_yaml
from planner.errors import CatalogError

ROOT = Path(__file__).parents[2]
_MOST_PRICE_BYTES = 256 * 1024


def texts(folder: Path = ROOT) -> dict[str, str]:
    """The built files by their names, from the YAML in `folder`. Raises CatalogError with file and line of a fault."""
    gpus, models = read_gpus(folder / "gpus.yaml", sourced=True), read_models(folder / "models.yaml", sourced=True)
    gpu_names = {key: name for name, row in gpus.items() for key in sorted(gpu_keys(gpu_row(row)))}
    rows = {name: model_row(row) for name, row in models.items()}
    entries = [Entry(row, variant) for row in rows.values() for variant in row.variants]
    return {
        "gpus.json": _text({"names": gpu_names, "rows": gpus}),
        "models.json": _text({"names": names_of_models(rows.values()), "rows": models}),
        "sizes.json": _text(
            {
                "weights_bytes": {entry.name: computed_bytes(entry) for entry in entries},
                "active_parameters": {name: computed_active(row) for name, row in rows.items()},
            }
        ),
        "prices.json": _text(_prices(folder / "prices.yaml", gpus, gpu_names)),
    }


def _prices(path: Path, gpus: Mapping[str, RowData], names: Mapping[str, str]) -> RowData:
    """The prices, each of one GPU by its name; of a chip that is sold with several memories the size stands behind it."""
    file: PriceFile = adapter(PriceFile).validate_python(read_yaml(path, _MOST_PRICE_BYTES))
    for row in file.prices:
        if row.gpu not in gpus and not any(row.gpu == f"{name}-{size}gb" for name, gpu in gpus.items() for size in gpu.get("memory_options_gb", ())):
            raise CatalogError(f"{path}: {row.gpu} is not in gpus.yaml", f"it is {names[row.gpu]}" if row.gpu in names else "")
    return asdict(file, dict_factory=lambda pairs: {key: value for key, value in pairs if value is not None})


def _text(parts: RowData) -> str:
    """JSON with one name or row a line, so that a change of the YAML is a change of few lines."""
    lines = []
    for key, value in parts.items():
        if isinstance(value, dict):
            inside = ",\n".join(f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}" for name, row in value.items())
            lines.append(f'"{key}":{{\n{inside}\n}}')
        elif isinstance(value, list):
            inside = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            lines.append(f'"{key}":[\n{inside}\n]')
        else:
            lines.append(f'"{key}":{json.dumps(value)}')
    return "{" + ",\n".join(lines) + "}\n"


def stale(built: Mapping[str, str]) -> list[str]:
    """Which of the built files do not lie in data/ as they are."""
    return [name for name, text in built.items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text("utf-8") != text]


def build(*, check: bool = False) -> list[str]:
    """Build what is not current, or only name it. Raises CatalogError with file and line of a fault."""
    built = texts()
    names = stale(built)
    if not check:
        FOLDER.mkdir(exist_ok=True)
        for name in names:
            (FOLDER / name).write_text(built[name], "utf-8")
    return names


if __name__ == "__main__":
    checks = sys.argv[1:] == ["--check"]
    try:
        changed = build(check=checks)
    except CatalogError as error:
        sys.exit(f"{error.message} {error.hint}".strip())
    if changed and checks:
        sys.exit(f"{', '.join(changed)}: not as the YAML is; python -m planner.catalogue.build")

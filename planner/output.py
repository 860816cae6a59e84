"""Writing a plan's files: all or none, and never over what a person edited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from planner.errors import PlannerError

MANIFEST = ".plan-manifest.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _written(folder: Path) -> dict[str, str]:
    """What earlier runs left in a folder, by name."""
    try:
        written: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def edited_files(folder: Path, files: Mapping[str, str | bytes]) -> list[str]:
    """Files that exist and are not as the last run left them."""
    written = _written(folder)
    found = []
    for name, content in files.items():
        path = folder / name
        if path.exists() and path.read_bytes() != _bytes(content) and _digest(path.read_bytes()) != written.get(name):
            found.append(name)
    return found


def write_files(folder: Path, files: Mapping[str, str | bytes], *, force: bool) -> list[str]:
    """Write all files and return their paths. Raises PlannerError where one was edited, or the folder cannot be written."""
    if any(Path(name).name != name for name in files):
        raise PlannerError(f"{folder}: a file's name would lead out of the folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not force and (edited := edited_files(folder, files)):
            raise PlannerError(
                f"{folder}: {', '.join(edited)} was edited since it was written; nothing was changed", "--force overwrites it, --output DIR writes elsewhere"
            )
        for name, content in files.items():
            path = folder / name
            path.write_bytes(_bytes(content))
            if name.endswith(".sh"):
                path.chmod(0o755)
        kept = {name: digest for name, digest in _written(folder).items() if (folder / name).exists()}
        kept |= {name: _digest(_bytes(content)) for name, content in files.items()}
        (folder / MANIFEST).write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise PlannerError(f"cannot write to {folder}: {error.strerror or error}", "--output DIR writes elsewhere, --dry-run writes nothing") from None
    return [str(folder / name) for name in files]

"""Writing a plan's files: all or none, and never over what a person edited."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from planner.errors import PlannerError

MANIFEST = ".plan-manifest.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _written(folder: Path) -> dict[str, str]:
    """What earlier runs left in a folder, by name."""
    try:
        written: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def edited_files(folder: Path, files: dict[str, str]) -> list[str]:
    """Files that exist and are not as the last run left them."""
    written = _written(folder)
    found = []
    for name, text in files.items():
        path = folder / name
        if path.exists() and path.read_text("utf-8", errors="replace") != text and _digest(path.read_text("utf-8", errors="replace")) != written.get(name):
            found.append(name)
    return found


def write_files(folder: Path, files: dict[str, str], *, force: bool) -> list[str]:
    """Write all files and return their paths. Raises PlannerError where one was edited, or the folder cannot be written."""
    if any(Path(name).name != name for name in files):
        raise PlannerError(f"{folder}: a file's name would lead out of the folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not force and (edited := edited_files(folder, files)):
            raise PlannerError(
                f"{folder}: {', '.join(edited)} was edited since it was written; nothing was changed", "--force overwrites it, --output DIR writes elsewhere"
            )
        for name, text in files.items():
            path = folder / name
            path.write_text(text, "utf-8")
            if name.endswith(".sh"):
                path.chmod(0o755)
        kept = {name: digest for name, digest in _written(folder).items() if (folder / name).exists()}
        kept |= {name: _digest(text) for name, text in files.items()}
        (folder / MANIFEST).write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise PlannerError(f"cannot write to {folder}: {error.strerror or error}", "--output DIR writes elsewhere, --dry-run writes nothing") from None
    return [str(folder / name) for name in files]

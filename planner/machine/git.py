"""What git knows of a folder: the files that it does not ignore, those that changed. Nothing of the repository's own configuration is run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from planner.errors import PlannerError

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "diff.external=")
_TIMEOUT_S = 60


def kept_files(folder: Path) -> list[Path] | None:
    """The files below a folder that git tracks or would track; None where git is not there, or the folder lies in no repository."""
    names = _names(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return None if isinstance(names, str) else names


def changed_files(folder: Path, since: str) -> list[Path]:
    """The files below a folder that differ from those of a commit, new ones that nobody added among them. Raises PlannerError where git does not know it."""
    if since.startswith("-"):
        raise PlannerError(f"--since {since[:60]!r}: no name of a commit", "--since origin/main")
    changed = _names(folder, "diff", "--no-ext-diff", "--no-textconv", "--name-only", "--relative", "--diff-filter=d", "-z", since, "--", ".")
    new = _names(folder, "ls-files", "-z", "--others", "--exclude-standard")
    if isinstance(changed, str) or isinstance(new, str):
        raise PlannerError(
            f"--since {since[:60]!r}: {changed if isinstance(changed, str) else new}", "a commit that is here: git fetch --depth=1 origin COMMIT"
        )
    return list(dict.fromkeys([*changed, *new]))


def _names(folder: Path, *words: str) -> list[Path] | str:
    """The files that git prints; what it says where it cannot."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *_SAFE, "-C", str(folder), *words], capture_output=True, check=False, timeout=_TIMEOUT_S, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"git cannot be asked ({type(error).__name__})"
    if done.returncode:
        return " ".join(done.stderr.decode(errors="replace").split())[:200]
    return [folder / os.fsdecode(name) for name in dict.fromkeys(done.stdout.split(b"\0")) if name]

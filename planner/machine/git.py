"""What git knows of a folder: the files that it does not ignore, those that changed. Nothing of the repository's own configuration is run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from planner.errors import PlannerError

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "diff.external=")
_NO_TRANSPORT = {"GIT_ALLOW_PROTOCOL": "none"}  # what a partial clone lacks would be fetched by the programs that its configuration names
_TIMEOUT_S = 60


def kept_files(folder: Path) -> list[Path] | None:
    """The files below a folder that git tracks or would track; None where git is not there, or the folder lies in no repository."""
    names = _names(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return None if isinstance(names, str) else names


def changed_files(folder: Path, since: str) -> list[Path]:
    """The files below a folder that differ from those of a commit, new ones that nobody added among them. Raises PlannerError where git does not know it."""
    if since.startswith("-"):
        raise PlannerError(f"--since {since[:60]!r}: no name of a commit", "--since origin/main")
    words = ("--no-ext-diff", "--no-textconv", "--ignore-submodules=all", "--name-only", "--relative", "--diff-filter=d", "-z", since, "--", ".")
    changed = _names(folder, "diff", *words, settings=_without_filters(folder))
    new = _names(folder, "ls-files", "-z", "--others", "--exclude-standard")
    if isinstance(changed, str) or isinstance(new, str):
        raise PlannerError(
            f"--since {since[:60]!r}: {changed if isinstance(changed, str) else new}", "a commit that is here: git fetch --depth=1 origin COMMIT"
        )
    return list(dict.fromkeys([*changed, *new]))


def _without_filters(folder: Path) -> dict[str, str]:
    """Settings under which no filter of the repository's configuration is run: a file whose time moved is compared as it comes out of them otherwise."""
    told = _asked(folder, "config", "-z", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process|required)$")
    names = [] if isinstance(told, str) else [os.fsdecode(name) for name in dict.fromkeys(told.split(b"\0")) if name]
    return {name: "false" if name.endswith(".required") else "" for name in names}


def _names(folder: Path, *words: str, settings: Mapping[str, str] = MappingProxyType({})) -> list[Path] | str:
    """The files that git prints; what it says where it cannot."""
    told = _asked(folder, *words, settings=settings)
    return told if isinstance(told, str) else [folder / os.fsdecode(name) for name in dict.fromkeys(told.split(b"\0")) if name]


def _asked(folder: Path, *words: str, settings: Mapping[str, str] = MappingProxyType({})) -> bytes | str:
    """What git prints under these settings besides the safe ones; what it says where it cannot."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _NO_TRANSPORT
    environment["GIT_CONFIG_COUNT"] = str(len(settings))  # not as -c NAME=VALUE: a filter's name may hold a "="
    for number, (name, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    try:
        done = subprocess.run(
            ["git", *_SAFE, "-C", str(folder), *words], capture_output=True, check=False, timeout=_TIMEOUT_S, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"git cannot be asked ({type(error).__name__})"
    return " ".join(done.stderr.decode(errors="replace").split())[:200] if done.returncode else done.stdout

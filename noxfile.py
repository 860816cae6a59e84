"""The one built wheel, tried on every Python that is here: `nox -s wheel`, or `nox -s wheel -- dist/x.whl` for one that lies there already.

On one Python each of its doors is used as its users would: `nox -s doors`. A Python that this machine lacks is skipped, and nox says so. What is tried lies
outside the checkout: the wheel's own files answer.
"""

from __future__ import annotations

import os
import re
import shutil
from ast import literal_eval
from functools import cache
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYTHONS = ("3.11", "3.12", "3.13")  # `requires-python` begins here
nox.options.sessions = ["wheel", "doors"]
nox.options.error_on_missing_interpreters = False

PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
if PYENV.is_dir():  # its python3.12 answers only where that version is switched on: all of them are, here
    os.environ.setdefault("PYENV_VERSION", ":".join(sorted((path.name for path in PYENV.iterdir()), key=lambda name: not name.startswith("3.11"))))


@cache
def built() -> Path:
    """The wheel, built once however many Pythons try it; from the source distribution, as an index would have it."""
    from tools.release import build

    return build(ROOT, ROOT / "build" / "dist")[0]


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Install the wheel as a user does, with the newest of what it needs, and ask it."""
    tried(session, "web", ("pytest",), ("tests/test_installed.py",))


@nox.session
def doors(session: nox.Session) -> None:
    """Action, hook, SARIF, MCP, HTTP, webhook, kubectl's plugin, adapters and notebook, of the wheel and with the programs that ask them."""
    needs = ("pytest", "jsonschema", "pre-commit", "schemathesis", "nbclient", "ipykernel", "-c", str(ROOT / "constraints.txt"))
    tried(session, "web,mcp", needs, literal_eval(re.search(r"(?ms)^FILES = (.+?\n\))", (ROOT / "tests/test_installed_doors.py").read_text())[1]))


def tried(session: nox.Session, extras: str, needs: tuple[str, ...], files: tuple[str, ...]) -> None:
    """Install the wheel and what its tests need, and run the first of the files in a folder that has nothing but them."""
    path = Path(session.posargs[0]).resolve() if session.posargs else built()
    session.install(f"serve-plan[{extras}] @ {path.as_uri()}", *needs)
    folder = Path(session.create_tmp()) / "outside"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in files:
        shutil.copy(ROOT / name, folder)
    session.chdir(folder)
    bare = ("-c", "/dev/null", "-p", "no:cacheprovider", "-o", "markers=slow")  # no setting of the checkout
    session.run("python", "-m", "pytest", "-q", *bare, Path(files[0]).name, env={"PLAN_INSTALLED": "required", "PYTHONPATH": None})

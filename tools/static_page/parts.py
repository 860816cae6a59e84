"""What the page is made of, from npm and PyPI: pinned, and refused where a hash is another. `python -m tools.static_page.parts FOLDER` puts it there, once."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PYODIDE = "314.0.7"  # CPython 3.14 for the browser, from npm
PYODIDE_SHA512 = "0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="
PYTHON, ABI = "3.14", "cp314"
PLATFORMS = ("pyemscripten_2026_0_wasm32", "manylinux2014_x86_64")
LIBRARIES = Path(__file__).with_name("parts.txt")
ARCHIVE = f"pyodide-{PYODIDE}.tgz"


class PartsError(Exception):
    """What stands in the way of the page, in one line."""


def run(*command: str | Path) -> None:
    """Run a command quietly. Raises PartsError with its last words where it fails or is not here."""
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False)
    except FileNotFoundError:
        raise PartsError(f"{command[0]} is not here; the page is built with Node.js and npm") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise PartsError(f"{' '.join(map(str, command[:3]))} failed:\n{last}")


def hashes() -> set[str]:
    """The SHA-256 of each library's wheel."""
    return set(re.findall(r"--hash=sha256:([0-9a-f]{64})", LIBRARIES.read_text("utf-8")))


def wheels(folder: Path) -> list[Path]:
    """The wheels that lie there and are the pinned ones, by name."""
    known = hashes()
    return [path for path in sorted(folder.glob("*.whl")) if hashlib.sha256(path.read_bytes()).hexdigest() in known]


def _is_pyodide(path: Path) -> bool:
    return path.exists() and base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode() == PYODIDE_SHA512


def fetch(folder: Path) -> None:
    """Put what is missing into the folder. Raises PartsError, also for what is not what was pinned."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_pyodide(folder / ARCHIVE):
        with tempfile.TemporaryDirectory(dir=folder) as part:
            run("npm", "pack", "--silent", f"--pack-destination={part}", f"pyodide@{PYODIDE}")
            if not _is_pyodide(Path(part) / ARCHIVE):
                raise PartsError(f"pyodide@{PYODIDE} from npm is not what was pinned")
            (Path(part) / ARCHIVE).replace(folder / ARCHIVE)
    if len(wheels(folder)) < len(hashes()):
        chosen = [f"--platform={platform}" for platform in PLATFORMS] + [f"--python-version={PYTHON}", "--implementation=cp", f"--abi={ABI}", "--abi=none"]
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes")
        run(*pip, *chosen, "-d", folder, "-r", LIBRARIES)
    if len(wheels(folder)) < len(hashes()):
        raise PartsError(f"{folder}: not every library of {LIBRARIES.name} is there")


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]))
    except PartsError as fault:
        sys.exit(f"static page: {fault}")

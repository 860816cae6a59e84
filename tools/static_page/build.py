"""The folder of the page without a server, from the parts and this checkout. The same sources give the same bytes."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import planner
from tools.static_page.parts import ARCHIVE, PartsError, fetch, run, wheels

HERE = Path(__file__).parent
PROGRAM = Path(planner.__file__).parent
PYODIDE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
STANDARD_LIBRARY = "python_stdlib.zip"
UNUSED = """
_pydatetime _pydecimal _pyio _pyrepl bdb cProfile cmd doctest ensurepip ftplib idlelib imaplib lib2to3 mailbox modulefinder nntplib optparse pdb
pickletools poplib profile pstats pyclbr pydoc pydoc_data smtplib sqlite3 tabnanny tkinter trace tracemalloc turtle turtledemo unittest venv wsgiref xmlrpc zipapp
"""  # of the standard library: what neither the page nor its libraries import, of the larger ones
UNUSED_PARTS = ("pydantic/v1/", "pydantic/mypy.py", "anyio/pytest_plugin.py", "anyio/_backends/_trio.py")  # of the libraries, the same
ABOVE = ("cli", "remote", "__main__.py")  # of the program: the doors above the page (docs/decisions/0005-rooms.md)
FOR_READERS = (".pyi", ".pyx", ".pxd", ".c", ".h", ".typed", ".md", ".rst")
DAY = (2020, 1, 1, 0, 0, 0)  # of every file in an archive


def build(out: Path, parts: Path) -> int:
    """Write the page into an empty or new folder, or over an earlier one; returns its bytes. Raises PartsError."""
    if out.exists() and any(out.iterdir()) and not (out / "index.html").exists():
        raise PartsError(f"{out} holds something else; name an empty folder")
    fetch(parts)
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch) / "site"
        _collect(site, Path(scratch), parts)
        digest = _digest(site)
        if out.exists():
            shutil.rmtree(out)
        out.mkdir(parents=True)
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        shutil.move(site, out / digest)  # named by what it holds: a browser never mixes two versions
    page = (HERE / "site" / "index.html").read_text("utf-8").replace("SIZE", f"{size / 1e6:.0f}").replace("PAGES", " ".join(_pages()))
    (out / "index.html").write_text(page.replace("PARTS", digest), "utf-8")
    for name in _pages():
        (out / name).mkdir()
        (out / name / "index.html").write_text(page.replace("PARTS", f"../{digest}"), "utf-8")
    (out / ".nojekyll").touch()  # GitHub Pages serves the files as they are
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def _pages() -> list[str]:
    """The pages of the application that have an address of their own."""
    from planner.web.jobs import JOBS

    return list(JOBS)


def _collect(site: Path, scratch: Path, parts: Path) -> None:
    python, library, standard = site / "pyodide", scratch / "library", scratch / "standard"
    python.mkdir(parents=True)
    with tarfile.open(parts / ARCHIVE) as archive:
        archive.extractall(scratch, filter="data")
    pyodide = scratch / "package"
    for name in PYODIDE_FILES:
        shutil.copyfile(pyodide / name, python / name)
    with zipfile.ZipFile(pyodide / STANDARD_LIBRARY) as archive:
        archive.extractall(standard, [name for name in archive.namelist() if name.split("/")[0].removesuffix(".py") not in UNUSED.split()])  # noqa: S202 - its bytes are pinned
    for wheel in wheels(parts):
        _unpack(wheel, library)
    shutil.copytree(PROGRAM, library / "planner", ignore=_left_out)
    shutil.copytree(HERE / "inside", library, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROGRAM / "web" / "static", site / "static")
    _give_names(site / "static")
    run("node", HERE / "compile.mjs", pyodide, library, standard)
    _pack(library, site / "program.zip")
    _pack(standard, python / STANDARD_LIBRARY)
    for name in ("page.js", "worker.js"):
        shutil.copyfile(HERE / "site" / name, site / name)


def _left_out(folder: str, names: list[str]) -> set[str]:
    above = set(ABOVE) if Path(folder) == PROGRAM else set()
    return {name for name in names if name in above or name in ("__pycache__", "judge") or name.endswith(FOR_READERS)}


def _unpack(wheel: Path, library: Path) -> None:
    """A library's Python, what is built for the browser's, and of the rest its version and licence."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            foreign = name.endswith(".so") and "wasm32" not in name
            about = ".dist-info/" in name and not name.endswith("/METADATA") and "licen" not in name.lower()
            if not (foreign or about or name.endswith(FOR_READERS) or name.startswith(UNUSED_PARTS)):
                archive.extract(name, library)


def _give_names(folder: Path) -> None:
    """The static files under the names by which the page asks for them."""
    from planner.web.app import STATIC

    for name, (file, _) in STATIC.items():
        (folder / file).replace(folder / name)


def _pack(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), DAY)
                entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
                packed.writestr(entry, path.read_bytes(), compresslevel=9)


def _digest(site: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(site.rglob("*")):
        if path.is_file():
            found.update(f"{path.relative_to(site).as_posix()}\0{path.stat().st_size}\0".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:16]

"""The answers that README.md and docs/ show: `python -m benchmarks.examples` writes them anew, each as the command above it prints today.

A block ```text that begins with `$ plan …` is what a terminal of 100 columns shows; a last line `…` says that it goes on: as many paragraphs are kept as stand above it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COLUMNS = 100
LOG = ROOT / "tests" / "data" / "logs" / "codellama-codellama-34b---h100-80gb--tp2pp1dp1--8192.FAILED.log"
BLOCK = re.compile(r"^```text\n\$ (?P<command>[^\n]+)\n(?P<shown>.*?)^```$", re.MULTILINE | re.DOTALL)
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x1b\x07]*(?:\x1b\\|\x07)|\r")  # colours, links, carriage returns
MORE = "…"


def prepare(folder: Path) -> dict[str, str]:
    """Lay out what the examples name (a log, a container's log) and return the environment in which `plan` is this repository's."""
    (folder / "server.log").write_text(LOG.read_text())
    programs = folder / ".bin"
    programs.mkdir()
    for name, line in (("plan", f'exec {shlex.quote(sys.executable)} -m planner "$@"'), ("docker", f"exec cat {shlex.quote(str(folder / 'server.log'))}")):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    home = {"HOME": str(folder / ".home"), "XDG_CONFIG_HOME": str(folder / ".home" / ".config"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    return kept | home | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "xterm"}


@cache
def printed(command: str) -> str:
    """What a terminal shows of a command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=prepare(Path(folder)), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        chunks = []
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux ends a terminal so
                break
            if not chunk:
                break
            chunks.append(chunk)
        process.wait()
        os.close(ours)
    lines = CODES.sub("", b"".join(chunks).decode()).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def cut(text: str, shown: str) -> str:
    """As many paragraphs of the text as the block shows, if it says that it goes on; else all."""
    paragraphs = text.strip("\n").split("\n\n")
    if shown.endswith(f"{MORE}\n"):
        kept = max(1, len(shown.removesuffix(f"{MORE}\n").strip("\n").split("\n\n")))
        paragraphs = [*paragraphs[:kept], *([MORE] if len(paragraphs) > kept else [])]
    return "\n\n".join(paragraphs) + "\n"


def renewed(page: str) -> str:
    """A page with every answer as it is today."""

    def block(found: re.Match[str]) -> str:
        return f"```text\n$ {found['command']}\n{cut(printed(found['command']), found['shown'])}```"

    return BLOCK.sub(block, page)


def main() -> None:
    """Write every page that shows an answer."""
    for path in PAGES:
        text = path.read_text()
        if BLOCK.search(text):
            path.write_text(renewed(text))


if __name__ == "__main__":
    main()

"""Memory estimators of others, each behind a small adapter: its real package in an environment of its own, one process a question.

An adapter says the words of the tool's own command for a question and reads its answer; what the tool does not claim to answer it leaves open.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HOME = Path.home() / ".cache" / "serve-plan" / "estimators"
INSTALL_SECONDS = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One start, as a person would describe it to a tool."""

    id: str
    group: str
    repo: str
    """On the Hub, or on the one that stands in for it."""
    gpu: str
    """By the name of our catalogue."""
    total_gib: float
    free_gib: float | None
    host: str
    count: int
    tp: int
    pp: int
    utilization: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_dtype: str
    dtype: str
    bits: int
    """Of most weights."""
    vllm_version: str
    flags: tuple[str, ...]
    """Of `vllm serve`, all that the start had."""
    started: bool
    weights_gib: float | None
    """Of each GPU, as the log says: weights, and the KV cache below."""
    kv_gib: float | None

    @property
    def gpus(self) -> int:
        """How many the server uses."""
        return self.tp * self.pp

    @property
    def kv_bits(self) -> int:
        """Of a value of the KV cache."""
        return 8 if self.kv_cache_dtype.startswith("fp8") else 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says, of each GPU; None is what it does not say."""

    weights_gib: float | None = None
    kv_gib: float | None = None
    starts: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One estimator. `words` are its command for a question, None where it has no way to put it; `read` takes standard output and the exit code."""

    name: str
    package: str
    version: str
    words: Callable[[Question], list[str] | None]
    read: Callable[[str, int, Question], Answer]
    claims: str
    """What it answers, in words for the page."""
    also: tuple[str, ...] = ()
    """Further packages that its documentation asks for."""

    @property
    def folder(self) -> Path:
        """Where its environment lies."""
        return HOME / f"{self.package}-{self.version}"

    @property
    def programs(self) -> Path:
        """The folder of its commands."""
        return self.folder / "bin"

    def install(self) -> None:
        """Make its environment, where none is whole.

        Raises:
            subprocess.SubprocessError: the package could not be had, or not in INSTALL_SECONDS.
        """
        whole = self.folder / "whole"  # said last: a run that was ended leaves half an environment
        if not whole.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", self.folder], check=True, timeout=INSTALL_SECONDS)
            packages = [f"{self.package}=={self.version}", *self.also]
            subprocess.run([self.programs / "python", "-m", "pip", "install", "-q", *packages], check=True, timeout=INSTALL_SECONDS)
            whole.touch()

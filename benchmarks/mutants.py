"""Faults made by hand, one line each: does a test notice? `python -m benchmarks.mutants [WORD]`: those whose name holds the word.

Each is applied in a copy of the checkout, where the named test files (seconds long) must fail. A mutant whose old text does not stand in its
file exactly once is an error, also in `tests/test_mutants.py`: whoever changes the line changes the mutant. What a real mutation run finds
beside these is in docs/mutants.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parent.parent
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", ".hypothesis", "build", "dist", "site", "*.egg-info")
MOST_SECONDS = 300
TESTS_FAILED = 1  # pytest's exit code; others mean that it could not run them


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: in `file` the text `old`, which stands there once, becomes `new`; one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The file's text with the fault. Raises ValueError where the line has changed."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.file}, not once: the mutant is out of date")
        return text.replace(self.old, self.new)


def _place(test: str) -> str:
    """Where a test file lies: tests mirror the rooms."""
    (path,) = (Path(__file__).parent.parent / "tests").rglob(f"{test}.py")
    return str(path.relative_to(Path(__file__).parent.parent))


def _mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, f"planner/{file}", old, new, tuple(_place(test) for test in tests))


MUTANTS = (
    _mutant("chunked attention forgets tokens in flight", "engines/vllm/kvcache.py", "minimum(chunk + in_flight_tokens, ", "minimum(chunk, ", "test_kvcache"),
    _mutant("a recurrent state has one block", "engines/vllm/kvcache.py", "(2 if layout.prefix_caching else 1)", "1", "test_kvcache"),
    _mutant(
        "a window of one token more", "engines/vllm/kvcache.py", "minimum(window - 1 + in_flight_tokens", "minimum(window + in_flight_tokens", "test_kvcache"
    ),
    _mutant(
        "groups are padded below 1.2 times",
        "engines/vllm/kvcache.py",
        "max(counts) < layout.group_spread * min(counts)",
        "max(counts) < 1.2 * min(counts)",
        "test_kvcache",
    ),
    _mutant(
        "the tied embedding of the last stage is dropped",
        "engines/vllm/weights.py",
        "parts.tied_copy if is_last and not is_first else 0",
        "0",
        "test_weights",
    ),
    _mutant(
        "the correction by tensors is inverted",
        "engines/vllm/weights.py",
        "derived_bytes * checkpoint.stored_bytes // checkpoint.derived_bytes",
        "derived_bytes * checkpoint.derived_bytes // checkpoint.stored_bytes",
        "test_weights",
    ),
    _mutant(
        "a request may take the reserved block",
        "engines/vllm/ledger.py",
        "(self.short_of_request_bytes <= 0)",
        "(self.kv_cache_needed_bytes <= self.kv_cache_bytes)",
        "test_memory",
    ),
    _mutant(
        "a refusal always counts a reserved block",
        "engines/vllm/ledger.py",
        "self.kv_cache_needed_bytes + self.reserved_blocks * self.kv_block_bytes",
        "self.kv_cache_needed_bytes + self.kv_block_bytes",
        "test_memory",
    ),
    _mutant("what comes late is not looked for", "engines/vllm/ledger.py", "self.used_bytes) + self.late_bytes", "self.used_bytes)", "test_memory"),
    _mutant("buffers of a batch are dropped", "engines/vllm/memory.py", " + model.bytes_per_batched_token * config.max_num_batched_tokens", "", "test_memory"),
    _mutant(
        "the conservative ledger counts on what is usually free",
        "engines/vllm/device.py",
        "Outlook.CONSERVATIVE: self.surely_free_bytes",
        "Outlook.CONSERVATIVE: self.usually_free_bytes",
        "test_memory",
    ),
    _mutant(
        "the longest context ignores the users",
        "engines/vllm/search.py",
        "conservative.longest_for(config.share(request.users) or 1)",
        "conservative.longest_for(1)",
        "test_memory",
    ),
    _mutant(
        "late graphs do not reuse the activations",
        "engines/vllm/late.py",
        "maximum(0, graphs - peak)",
        "graphs",
        "test_late",
    ),
    _mutant("half of the forward pass", "engines/vllm/overhead.py", "(width + 4 * model.hidden_size) * 2", "(width + 4 * model.hidden_size)", "test_overhead"),
    _mutant(
        "the vision tower is whole on each rank",
        "engines/vllm/overhead.py",
        "every + divided // config.tensor_parallel_size",
        "every + divided",
        "test_overhead",
    ),
    _mutant(
        "four ranks over PCIe are two",
        "engines/vllm/overhead.py",
        "where(two_at_once, fit.pcie_2_bytes, fit.pcie_4_bytes)",
        "fit.pcie_2_bytes",
        "test_overhead",
    ),
    _mutant(
        "hidden states of a batch are not sampled",
        "engines/vllm/overhead.py",
        'logits + fit["hidden_copies"]',
        'logits + 0 * fit["hidden_copies"]',
        "test_overhead",
    ),
    _mutant("every stage samples", "engines/vllm/overhead.py", "where(last_stage, peak, ", "where(True, peak, ", "test_overhead"),
    _mutant(
        "graphs of a stage are those of all layers",
        "engines/vllm/overhead.py",
        "model.layer_count / config.pipeline_parallel_size",
        "model.layer_count",
        "test_overhead",
    ),
    _mutant("one percent is not kept back", "engines/vllm/choice.py", "floor((free - 0.01) * steps)", "floor(free * steps)", "test_hardware"),
    _mutant("a desktop takes nothing", "facts/hardware.py", "DESKTOP_BYTES = 600 * MIB", "DESKTOP_BYTES = 0", "test_hardware"),
    _mutant("WSL2 takes at most what it usually takes", "facts/hardware.py", "WSL2_MOST_BYTES = 2160 * MIB", "WSL2_MOST_BYTES = 1400 * MIB", "test_hardware"),
    _mutant("NCCL takes nothing", "facts/hardware.py", "NCCL_BYTES = 1045 * MIB", "NCCL_BYTES = 0", "test_hardware"),
    _mutant("sequences beyond a given batch", "engines/vllm/check.py", "seqs = min(seqs, config.max_num_batched_tokens)", "pass", "test_changes"),
    _mutant(
        "images are dropped twice",
        "engines/vllm/changes.py",
        "request.model.vision is not None and not config.skip_mm_profiling",
        "request.model.vision is not None",
        "test_changes",
    ),
    _mutant(
        "a request in the reserved block",
        "engines/vllm/ledger.py",
        "= self.kv_cache_blocks - self.reserved_blocks",
        "= self.kv_cache_blocks",
        "test_capacity",
        "test_memory",
    ),
    _mutant("the client takes no time", "questions/capacity.py", "limits.first_token_s - client_s", "limits.first_token_s", "test_capacity"),
    _mutant("decoding leaves the whole batch", "speed/queueing.py", "batch - many if batch > many else 1", "batch", "test_queueing"),
    _mutant("models age three times as slowly", "questions/standing.py", "DOUBLING_MONTHS = 8", "DOUBLING_MONTHS = 24", "test_strength"),
    _mutant(
        "strength is the size alone",
        "questions/standing.py",
        "0.5 * (log2(model.parameters / 1e9) + log2(model.active_parameters / 1e9))",
        "log2(model.parameters / 1e9)",
        "test_strength",
    ),
    _mutant("a volume for the weights once", "emit/kubernetes.py", "ceil_div(2 * sum(", "ceil_div(1 * sum(", "test_emitted_sizes"),
    _mutant("an answer as long as the context", "facts/deployment.py", "PROMPT_SHARE = 4", "PROMPT_SHARE = 1", "test_emitted_sizes"),
    _mutant("compose starts all at once", "emit/compose.py", 'entry["depends_on"] =', 'entry["x-depends_on"] =', "test_emitted_sizes"),
)


def failing(tests: Collection[str], copy: Path) -> bool:
    """Whether one of these test files fails in a copy, or never ends. Raises RuntimeError where they cannot be run."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *sorted(tests)]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in (0, TESTS_FAILED):
        raise RuntimeError(f"the tests could not be run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == TESTS_FAILED


def killed(mutant: Mutant, copy: Path) -> bool:
    """Whether a test fails in this copy once the fault is there; the copy is mended again."""
    path = copy / mutant.file
    original = path.read_text("utf-8")
    path.write_text(mutant.applied(original), "utf-8")
    try:
        return failing(mutant.tests, copy)
    finally:
        path.write_text(original, "utf-8")


def main(words: list[str]) -> int:
    """Try all, or those that a word names; the exit code is 1 where one survives."""
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    for mutant in MUTANTS:
        mutant.applied((ROOT / mutant.file).read_text("utf-8"))
    copies: SimpleQueue[Path] = SimpleQueue()
    workers = max(1, min(os.cpu_count() or 1, len(chosen)))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        for number in range(workers):
            copies.put(copy := shutil.copytree(ROOT, Path(folder) / str(number), ignore=NOT_COPIED))
        if failing({test for mutant in chosen for test in mutant.tests}, copy):
            raise SystemExit("the tests fail without any fault: mend them first")

        def tried(mutant: Mutant) -> bool:
            copy = copies.get()
            try:
                return killed(mutant, copy)
            finally:
                copies.put(copy)

        survivors = 0
        for mutant, is_killed in zip(chosen, pool.map(tried, chosen), strict=True):
            survivors += not is_killed
            print(f"{'killed  ' if is_killed else 'SURVIVED'}  {mutant.file}: {mutant.name}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

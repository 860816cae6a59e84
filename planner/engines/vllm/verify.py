"""`plan verify`: the emitted command before vLLM itself, in an installation of it: parser, engine config, weights, KV planner.

No GPU is needed: vLLM is made to believe in the planned one (planner/engines/vllm/judge/). Its own answers are set beside ours, line by line.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Required, TypedDict

from planner.engines.vllm.memory import place
from planner.engines.vllm.plan import Plan
from planner.errors import PlannerError, WorldError
from planner.facts.record import dataclass
from planner.units import gib

ORACLE = Path(__file__).parent / "judge"
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One thing that was asked, our answer and vLLM's."""

    what: str
    ours: str
    theirs: str

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return self.ours == self.theirs


def verify(plan: Plan, config: Mapping[str, object], hf_quant: Mapping[str, object] | None, python: str | None) -> list[Agreement]:
    """Ask the vLLM of `python` (this one where None). Raises PlannerError where there is none, WorldError where it fails."""
    executable = python or sys.executable
    gpu, ledger = plan.request.group.gpu, plan.choice.expected
    question: dict[str, object] = {"config": dict(config), "hf_quant": dict(hf_quant) if hf_quant else None, "argv": list(plan.argv)}
    checks = [question]
    if plan.config.pipeline_parallel_size == 1:  # the planner is asked as rank 0 of one stage
        checks.append(question | {"plan": True, "available_bytes": ledger.kv_cache_bytes})
    major, minor = gpu.compute_capability or (0, 0)
    command = [executable, str(ORACLE / "judge.py"), gpu.name, f"{major}.{minor}", str(gpu.cuda_total_bytes), str(plan.config.parallel.world_size_across_dp)]
    try:
        done = subprocess.run(
            command,
            input="".join(json.dumps(check) + "\n" for check in checks),
            text=True,
            errors="replace",
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise PlannerError(f"{executable} cannot be run ({error.strerror or error})", "--python PATH names the Python of a vLLM installation") from None
    except subprocess.TimeoutExpired:
        raise WorldError(f"vLLM did not answer within {TIMEOUT_S} s") from None
    answers: list[_Answer] = []
    with suppress(ValueError, RecursionError):  # a Python of anybody's
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(answers) != len(checks):
        raise _no_answer(executable, done.stderr)
    return list(_agreements(plan, answers))


class _Answer(TypedDict, total=False):
    """What judge.py says of a question, in bytes, blocks and tokens; where it refuses one, only why."""

    valid: Required[bool]
    error: str
    max_model_len: int
    weight_bytes: int
    block_bytes: int
    needed_bytes: int
    blocks: int
    tokens: int
    concurrency: float
    longest: int


def _no_answer(executable: str, errors: str) -> PlannerError:
    if re.search(r"No module named '(?:vllm|torch)'", errors):
        return PlannerError(f"there is no vLLM in {executable}", "pip install vllm, or --python PATH of an installation")
    last = next((line for line in reversed(errors.splitlines()) if line.strip()), "it said nothing")
    return WorldError(f"vLLM failed: {last.strip()[:300]}")


def _agreements(plan: Plan, answers: list[_Answer]) -> list[Agreement]:
    ledger, request = plan.choice.expected, plan.request
    created = place(request.model, request.group, plan.config).created[0]
    valid = answers[0]
    agreements = [Agreement(what="parser and engine config", ours="valid", theirs="valid" if valid["valid"] else valid["error"])]
    if valid["valid"]:
        agreements.append(Agreement(what="max_model_len", ours=str(plan.config.max_model_len), theirs=str(valid["max_model_len"])))
    theirs = answers[1] if len(answers) > 1 else None
    if theirs is None:
        return agreements
    if not theirs["valid"]:
        return [*agreements, Agreement(what="model class and KV planner", ours="plans", theirs=theirs["error"])]
    sizes = {
        "weights of a rank, as created": (created, theirs["weight_bytes"]),
        "a KV cache block": (ledger.kv_block_bytes, theirs["block_bytes"]),
        "KV cache of one request": (ledger.kv_cache_needed_bytes, theirs["needed_bytes"]),
    }
    agreements += [Agreement(what=what, ours=f"{ours:,} bytes ({gib(ours)})", theirs=f"{its:,} bytes ({gib(its)})") for what, (ours, its) in sizes.items()]
    if "blocks" in theirs:
        counts = {
            "blocks": (f"{ledger.kv_cache_blocks:,}", f"{theirs['blocks']:,}"),
            "tokens of the KV cache": (f"{ledger.kv_cache_tokens:,}", f"{theirs['tokens']:,}"),
            "requests at once": (f"{ledger.max_concurrency:.4f}", f"{theirs['concurrency']:.4f}"),
        }
        agreements += [Agreement(what=what, ours=ours, theirs=its) for what, (ours, its) in counts.items()]
    else:
        agreements.append(Agreement(what="longest context", ours=str(ledger.longest_max_model_len), theirs=str(theirs["longest"])))
    return agreements

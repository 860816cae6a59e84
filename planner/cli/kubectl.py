"""`kubectl plan`: what runs in a cluster, or a manifest before it does, judged on the GPUs that it selects (installed as kubectl-plan, a plugin of kubectl)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from planner.cli.main import main as plan
from planner.cli.printing import tell
from planner.errors import PlannerError, WorldError, one_line, our_fault
from planner.facts.document import json_list
from planner.text import slug

OURS = ("--gpu", "--count", "--format", "--fail-on", "--engine-version", "--report")
HELP = """kubectl plan WHAT [OPTIONS]: whether the servers of objects would start: kubectl plan deployments -n models, kubectl plan deploy/qwen --gpu h100

WHAT and every other option are those of `kubectl get`; --gpu, --count, --format, --fail-on, --engine-version and --report are those of `plan check`.
Objects are read, nothing is changed. Exit codes are those of `plan check`."""
MOST_BYTES = 64 << 20


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words for kubectl, and those for plan."""
    theirs: list[str] = []
    ours: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.partition("=")[0] not in OURS:
            theirs.append(word)
        else:
            ours += [word] if "=" in word else [word, *([value] if (value := next(rest, None)) is not None else [])]
    return theirs, ours


def objects(words: Sequence[str]) -> Iterator[dict[str, object]]:
    """What kubectl gets. Raises WorldError where it fails, in its own words."""
    try:
        done = subprocess.run(["kubectl", "get", *words, "-o", "json"], capture_output=True, check=False)
    except OSError as error:
        raise WorldError(f"kubectl cannot be started ({error.strerror})", "it is looked for on the PATH") from None
    if done.returncode:
        raise WorldError(" ".join(done.stderr.decode(errors="replace").split())[:300] or "kubectl get failed", "WHAT is as for kubectl get: deploy/qwen")
    if len(done.stdout) > MOST_BYTES:
        raise WorldError("kubectl's answer is too large", "name fewer objects, or a namespace")
    try:
        got = json.loads(done.stdout)
    except (ValueError, RecursionError):
        raise WorldError("kubectl's answer is no JSON", "leave -o to kubectl plan") from None
    items = got.get("items", [got]) if isinstance(got, dict) else []
    for item in json_list(items):
        if isinstance(item, dict):
            yield {**item}


def write(found: Sequence[dict[str, object]], folder: Path) -> list[str]:
    """Each object as a file named after it, in a folder; the files."""
    import yaml

    names = []
    for number, item in enumerate(found):
        metadata = item.get("metadata")
        name = metadata.get("name", number) if isinstance(metadata, dict) else number
        file = f"{slug(str(item.get('kind', 'object')))}-{slug(str(name))}-{number}.yaml"[-200:]
        try:
            (folder / file).write_text(yaml.safe_dump(item, sort_keys=False), "utf-8")
        except RecursionError:
            raise WorldError("kubectl's answer is nested too deeply", "name fewer objects") from None
        names.append(file)
    return names


def main() -> NoReturn:
    """Get objects and judge them."""
    words, ours = split(sys.argv[1:])
    if not words or {"-h", "--help"} & set(words):
        tell(HELP)
        sys.exit(0)
    try:
        if {"-o", "--output", "-w", "--watch"} & set(words):
            raise PlannerError("-o and --watch are not for kubectl plan", "--format json prints the answer as JSON")
        found = list(objects(words))
        if not found:
            raise WorldError("kubectl found no such object", "kubectl plan deployments --all-namespaces")
        with tempfile.TemporaryDirectory(prefix="kubectl-plan-") as kept:
            files = write(found, Path(kept))
            os.chdir(kept)
            sys.argv = ["plan", "check", *files, *([] if any(word.partition("=")[0] == "--fail-on" for word in ours) else ["--fail-on", "unlikely"]), *ours]
            plan()
    except Exception as error:
        refused = error if isinstance(error, PlannerError) else our_fault(error)
        tell(one_line(refused.message, refused.hint), err=True)
        sys.exit(refused.exit_code)

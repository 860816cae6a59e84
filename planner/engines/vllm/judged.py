"""From a command's words to what vLLM makes of them: what the seam's `read_command` and `check` answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.engines.vllm.check import Checked, check
from planner.engines.vllm.command import settings_said
from planner.engines.vllm.flag_rules import FlagFault
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.not_covered import harmless
from planner.engines.vllm.rules import default_batches
from planner.engines.vllm.settings import COMMAND
from planner.engines.vllm.speculation import FLAG, FLAGS
from planner.engines.vllm.versions import (
    FEWER_SEQUENCES,
    OLDEST,
    OLDEST_VERSION,
    TOKENS_BY_REQUESTS,
    VERSIONS,
    is_after,
    is_before,
    is_release,
    nearest_version,
)
from planner.errors import BadValueError, PlannerError
from planner.facts.command import Command
from planner.facts.not_covered import NotCovered
from planner.facts.plan import Problem
from planner.facts.settings import Kind
from planner.facts.verdict import Warn
from planner.text import shown

if TYPE_CHECKING:
    from planner.engines.catalogue import Catalogue
    from planner.facts.hardware import GpuGroup

PROGRAM = ("vllm", "serve")
_OF_A_RELEASE = ("unsupported", "unknown-flag")  # refusals that the next commit may lift; arithmetic it does not
# Flags whose value decides the answer: what only the shell knows of them is never guessed.
_MATTERS = ("--model", *(setting.flag for setting in COMMAND if setting.kind is not Kind.SWITCH), "--cudagraph-capture-sizes")


def read_command(command: Command) -> Command:
    """The command with its model and settings, as the parser of its release reads them."""
    values, model, faults, _ = _parsed(command)
    settings, refused = settings_said(values)
    problems = [Problem(code="bad-value" if fault.value else "unknown-flag", message=fault.message, fix=fault.fix) for fault in faults]
    problems += [Problem(code="bad-value", message=message, fix=f"correct {flag}") for flag, message in refused.items()]
    return replace(command, program=PROGRAM, model=model, settings=settings, faults=tuple(problems))


def judge(command: Command, group: GpuGroup, catalogue: Catalogue) -> Checked:
    """Check one server's command on a machine. Raises PlannerError for one that names no model, or whose settings only its shell knows."""
    values, model, faults, older = _parsed(command)
    _refuse_unresolved(command, values, model)
    if not model and faults and faults[0].flag == "--config":
        raise PlannerError(faults[0].message, faults[0].fix)
    if not model:
        raise PlannerError("the command names no model", "vllm serve MODEL …")
    quantization = values.get("--quantization")
    source = catalogue.find_source(model, str(quantization) if quantization else None)
    release, made = nearest_version(command.version or "").name, None
    if any(flag in values for flag in FLAGS):
        from planner.engines.vllm.drafter import drafted

        try:
            values, made = drafted(values, source, catalogue, release)
        except BadValueError as error:
            faults = [*faults, FlagFault(FLAG, f"{FLAG}: {error}", f"correct {FLAG}", value=True)]
            values = {flag: value for flag, value in values.items() if flag not in FLAGS}
    checked = check(
        values,
        faults,
        made.model if made else source.spec,
        group,
        repo=source.repo,
        argv=(*PROGRAM, *command.words),
        version=release,
        unknown=(*((made.missing,) if made and made.missing else ()), *_more_sequences(command, values, group), *_of_an_older(older, command)),
        env=dict(command.env),
        market=source.market,
    )
    checked = replace(checked, remarks=(*checked.remarks, *_read_as(older, command.version or "")))
    return _as_counted(_as_built(checked, command.version), command.version or "")


def _read_as(older: Sequence[FlagFault], version: str) -> Iterator[Warn]:
    """That a version is none of those that are known here, which one stands for it, and which flags of an older one count for nothing."""
    name, told = nearest_version(version).name, shown(version, 60)
    if is_before(version, (OLDEST, 0)):
        idle = [fault.flag for fault in older if fault.flag in harmless()["earlier"]]
        flags = f"; {', '.join(idle)}: {'flags' if idle[1:] else 'a flag'} of earlier releases that moved no memory" if idle else ""
        yield Warn(code="older-release", message=f"vLLM {told} is read as {OLDEST_VERSION}, the oldest release that is known here{flags}")
    elif version and not is_release(version):
        yield Warn(code="not-a-release", message=f"vLLM {told} is no release: it is read as {name}, from which it may differ in memory and in flags")
    elif is_after(version):
        yield Warn(code="newer-release", message=f"vLLM {told} is read as {name}, the newest release that is known here")


def _of_an_older(older: Sequence[FlagFault], command: Command) -> tuple[NotCovered, ...]:
    """Flags that a release before those that are known here may have had."""
    what = f"what vLLM {shown(command.version or '', 60)} makes of it"
    return tuple(NotCovered(flag=fault.flag, what=what, effect="either") for fault in older if fault.flag not in harmless()["earlier"])


def _more_sequences(command: Command, values: Mapping[str, str | bool], group: GpuGroup) -> tuple[NotCovered, ...]:
    """The default of the oldest releases with this engine, on GPUs that take fewer sequences since: nobody measured what their sampler takes for them."""
    version, v0 = command.version or "", dict(command.env).get("VLLM_USE_V1") == "0"
    _, most = default_batches(group.gpu, group.total_bytes, VERSIONS[nearest_version(version).name])
    if v0 or most >= 1024 or "--max-num-seqs" in values or not is_before(version, FEWER_SEQUENCES):
        return ()
    return (NotCovered(flag=f"vLLM {shown(version, 60)}", what="its default of 1024 sequences, and what the sampler takes for them", effect="adds"),)


def _as_built(checked: Checked, version: str | None) -> Checked:
    """The answer for a build that is no release: what a release does not take, it may."""
    if version is None or is_release(version) or not checked.problems or any(problem.code not in _OF_A_RELEASE for problem in checked.problems):
        return checked
    part = NotCovered(flag=f"vLLM {shown(version, 60)}", what="what this build takes and the release does not", effect="either")
    return replace(checked, build=version, not_covered=(*checked.not_covered, part))


def _as_counted(checked: Checked, version: str) -> Checked:
    """The answer with the tokens that a patch release counts otherwise than the first of its line."""
    by_groups = VERSIONS[checked.config.vllm_version].tokens_by_groups
    if checked.plan is None or not by_groups or not is_release(version) or is_before(version, TOKENS_BY_REQUESTS):
        return checked
    from planner.engines.vllm.admission import counted_by_requests

    return replace(checked, plan=replace(checked.plan, choice=counted_by_requests(checked.plan.choice)))


def _parsed(command: Command) -> tuple[dict[str, str | bool], str, list[FlagFault], list[FlagFault]]:
    """Values by flag, the model or nothing, what the parser refuses, and flags that it may refuse because it is of a later release than the command."""
    release = nearest_version(command.version or "").name
    rust = dict(command.env).get("VLLM_USE_RUST_FRONTEND", "0") not in ("0", "")
    values, positional, faults = parse_flags(command.words, release, unresolved=command.unresolved, here=not command.contained, rust=rust)
    older = [fault for fault in faults if fault.earlier and is_before(command.version or "", (OLDEST, 0))]
    faults = [fault for fault in faults if fault not in older]
    return values, str(positional[0] if positional else values.get("--model", "")), faults, older


def _refuse_unresolved(command: Command, values: Mapping[str, str | bool], model: str) -> None:
    """What only the shell knows is never run or guessed."""
    for flag, value in (("the model", model), *((flag, str(values.get(flag, ""))) for flag in _MATTERS)):
        for word in command.unresolved:
            if word and word in value:
                raise PlannerError(f"{flag} is {word}, which only the shell that runs it knows", "put its value into the command")

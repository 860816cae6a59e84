"""A text that somebody gives whole: its server judged, the proxy that is configured beside it, or that proxy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.facts.plan import Plan
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.questions.check import check, chosen, machine_for
from planner.questions.check_proxy import as_warnings, check_proxy, start_without_config
from planner.questions.find_commands import find_commands
from planner.questions.proxy.judge import ProxyAnswer
from planner.questions.proxy.servers import beside_servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The plan of the server, the judged configuration of the proxy; one of both is there."""

    plan: Plan | None
    proxy: ProxyAnswer | None = None


def check_text(text: str, machine: Callable[[], StackRow], *, version: str | None = None, server: int | None = None, model: str = "") -> Checked:
    """Whether what a text starts does so; `machine` is asked only where a server is started. Raises PlannerError where nothing is."""
    proxy, commands = check_proxy(text), find_commands(text)
    if proxy and not commands:
        return Checked(plan=None, proxy=proxy)
    if not commands and (missing := start_without_config(text)):
        raise missing
    process = chosen(commands, server, model=model)
    if version:
        process = replace(process, version=version)
    plan = check(process, machine_for(process, machine()))
    if proxy:
        plan = replace(plan, warnings=(*plan.warnings, *as_warnings(proxy), *beside_servers(proxy, commands)))
    return Checked(plan=plan, proxy=proxy)

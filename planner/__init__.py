"""plan: what can this hardware serve, with which exact flags, and how sure are we?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.engines.vllm.choice import Request
    from planner.engines.vllm.placement import Ask, Stack, place_servers
    from planner.engines.vllm.plan import Plan, make_plan
    from planner.engines.vllm.settings import Pins
    from planner.errors import PlannerError, UnsupportedModelError
    from planner.facts.hardware import GpuGroup, Host

_HOME = {
    "Ask": "engines.vllm.placement",
    "GpuGroup": "facts.hardware",
    "Host": "facts.hardware",
    "Pins": "engines.vllm.settings",
    "Plan": "engines.vllm.plan",
    "PlannerError": "errors",
    "Request": "engines.vllm.choice",
    "Stack": "engines.vllm.placement",
    "UnsupportedModelError": "errors",
    "make_plan": "engines.vllm.plan",
    "place_servers": "engines.vllm.placement",
}
__all__ = ["Ask", "GpuGroup", "Host", "Pins", "Plan", "PlannerError", "Request", "Stack", "UnsupportedModelError", "make_plan", "place_servers"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: the command line starts faster."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"planner.{_HOME[name]}"), name)

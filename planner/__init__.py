"""plan: what can this hardware serve, with which exact flags, and how sure are we?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.choice import Pins, Request
    from planner.errors import PlannerError, UnsupportedModelError
    from planner.hardware import GpuGroup, Host
    from planner.placement import Ask, Stack, place_servers
    from planner.plan import Plan, make_plan

_HOME = {
    "Ask": "placement",
    "GpuGroup": "hardware",
    "Host": "hardware",
    "Pins": "choice",
    "Plan": "plan",
    "PlannerError": "errors",
    "Request": "choice",
    "Stack": "placement",
    "UnsupportedModelError": "errors",
    "make_plan": "plan",
    "place_servers": "placement",
}
__all__ = ["Ask", "GpuGroup", "Host", "Pins", "Plan", "PlannerError", "Request", "Stack", "UnsupportedModelError", "make_plan", "place_servers"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the command line starts faster."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"planner.{_HOME[name]}"), name)

"""plan: what can this hardware serve, with which exact flags, and how sure are we?

Eight questions and the types of their answers (docs/python-api.md): nothing is printed, no file is written, and the network is asked only
where a Hub id is named. What is wrong with a question is a `PlannerError`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.api.capacity import CapacityAnswer, ReplayAnswer, SessionsAnswer, capacity, replay, sessions
    from planner.api.choose import MachinesAnswer, ModelsAnswer, choose
    from planner.api.cost import CostAnswer, cost
    from planner.api.plan import CheckAnswer, ExplainAnswer, PlanAnswer, check, explain, plan
    from planner.errors import PlannerError

_HOMES = {
    "api.capacity": ("CapacityAnswer", "ReplayAnswer", "SessionsAnswer", "capacity", "replay", "sessions"),
    "api.choose": ("MachinesAnswer", "ModelsAnswer", "choose"),
    "api.cost": ("CostAnswer", "cost"),
    "api.plan": ("CheckAnswer", "ExplainAnswer", "PlanAnswer", "check", "explain", "plan"),
    "errors": ("PlannerError",),
}
__all__ = [
    "CapacityAnswer",
    "CheckAnswer",
    "CostAnswer",
    "ExplainAnswer",
    "MachinesAnswer",
    "ModelsAnswer",
    "PlanAnswer",
    "PlannerError",
    "ReplayAnswer",
    "SessionsAnswer",
    "capacity",
    "check",
    "choose",
    "cost",
    "explain",
    "plan",
    "replay",
    "sessions",
]


def __getattr__(name: str) -> object:
    """Import what answers when it is first asked for: the command line starts faster."""
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"planner.{home}"), name)


def __dir__() -> list[str]:
    return __all__

"""plan: what can this hardware serve, with which exact flags, and how sure are we?"""

from planner.errors import PlannerError, UnsupportedModel
from planner.hardware import GpuGroup, Host
from planner.plan import Plan, make_plan
from planner.search import Pins, Request

__all__ = ["GpuGroup", "Host", "Pins", "Plan", "PlannerError", "Request", "UnsupportedModel", "make_plan"]

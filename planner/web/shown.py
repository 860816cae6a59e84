"""What the templates show of a request: the form as it was filled in, the answer or the fault, where its words lead."""

from __future__ import annotations

from functools import partial

from planner.catalogue import load
from planner.facts.record import dataclass
from planner.report.view import View
from planner.web import links
from planner.web.fields import BESIDE, Field, field_of, known_names
from planner.web.jobs import EXAMPLES, JOBS
from planner.web.state import State, made


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A state, and one of: its answer, a fault with what may be asked instead, nothing yet."""

    state: State
    view: View | None = None
    fault: str = ""
    hint: str = ""
    near: tuple[tuple[str, str], ...] = ()
    notice: str = ""

    def values(self) -> dict[str, object]:
        """The names that the templates use."""
        state, job = self.state, self.state.job
        example = EXAMPLES.get(job.name)
        return {
            "job": job,
            "state": state,
            "view": self.view,
            "fault": self.fault,
            "hint": self.hint,
            "near": self.near,
            "notice": self.notice,
            "nav": [(each, state.at(each).address) for each in JOBS.values()],
            "fields": [field_of(name, several=job.several) for name in job.shown],
            "groups": _groups(state),
            "names": known_names(),
            "example": made(job, example).address if example else "",
            "address": partial(links.link, state),
            "linked": partial(links.linked, state),
            "checked": partial(links.checked, state),
            "downloads": True,
            "query": state.query,
            "command_line": state.command_line,
            "said": _said(self),
        }


def _groups(state: State) -> list[tuple[str, list[Field], bool]]:
    """Fields that are folded away, and whether they are open: what was asked there is seen. What no form has stands in a group of its own."""
    job = state.job
    groups = [(title, [field_of(name) for name in names], any(state[name] for name in names)) for title, names in job.groups]
    placed = {*job.shown, *(name for _, names in job.groups for name in names)}
    others = [name for name, _ in state.values if name not in placed]
    return [*groups, ("Also asked", [field_of(name) for name in others], True)] if others else groups


def _said(shown: Shown) -> str:
    """The answer in one sentence, for who does not see it."""
    if shown.fault or not shown.view:
        return shown.fault
    view = shown.view
    figures = ", ".join(f"{figure.value} {figure.label}" for figure in view.figures)
    return ": ".join(filter(None, (view.title, view.headline, figures)))


def names_others(state: State) -> bool:
    """Whether a question names a model that the catalogue does not have: the network is asked for it."""
    names = [name for field in ("model", *BESIDE) for name in state[field].split(",") if name]
    return any(load.find_model(name.partition(":")[0].strip()) is None for name in names)

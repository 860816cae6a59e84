"""The proxy of somebody's text, or the text that is its configuration -> whether it starts, which of its routes can answer."""

from __future__ import annotations

from pathlib import Path

from planner.errors import PlannerError
from planner.facts.verdict import Warn
from planner.questions.proxy.config import MAX_BYTES, ProxyConfig, Route, read_config
from planner.questions.proxy.find import ProxyStart, find_start, is_config
from planner.questions.proxy.judge import ProxyAnswer, judge
from planner.reader import read_text


def check_proxy(text: str, path: Path | None = None) -> ProxyAnswer | None:
    """Judge the proxy that a text configures or starts; `path`: where the text lies. None where it does neither, or starts one whose configuration is not here.

    Raises PlannerError for a configuration that cannot be read.
    """
    folder = path.parent if path else None
    if is_config(text):
        name = path.name if path else "the configuration"
        return judge(read_config(text, name), name=name, folder=folder)
    start = find_start(text)
    if start is None:
        return None
    config, place = _config(start, folder or Path())
    return judge(config, name=start.config, folder=place, sets_key=start.sets_key) if config else None


def _config(start: ProxyStart, folder: Path) -> tuple[ProxyConfig | None, Path | None]:
    """The configuration that a start names, beside the script or here; or the one route that its flags make."""
    for place in (folder, Path()):
        file = place / start.config
        if start.config and file.is_file():
            return read_config(read_text(file, MAX_BYTES), start.config), place
    values = {word: value for word, value in zip(start.words, start.words[1:], strict=False) if word.startswith("--")}
    if "--model" not in values:
        return None, None
    params = {key: values[f"--{key}"] for key in ("model", "api_base") if f"--{key}" in values}
    return ProxyConfig(routes=(Route(name=values.get("--alias", values["--model"]), params=params),)), None


def as_warnings(answer: ProxyAnswer) -> tuple[Warn, ...]:
    """What is wrong with a proxy, where it stands beside a server that is judged."""
    return (*(Warn(code="proxy", message=f"{problem.message} ({problem.fix})") for problem in answer.problems), *answer.warnings)


def start_without_config(text: str) -> PlannerError | None:
    """What to say of a text that starts nothing but a proxy whose configuration is not here; None for another text."""
    start = find_start(text)
    if start is None:
        return None
    return PlannerError(f"{start.config or 'the configuration of the proxy'} is not here, which the proxy reads", "plan check PATH of it")

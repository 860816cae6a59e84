"""`plan config`: the defaults in ~/.config/plan/config.toml, shown, set and taken away."""

from __future__ import annotations

from pathlib import Path

import click

from planner.catalogue.user_file import config_file
from planner.cli.command import command, output_options
from planner.cli.defaults import KEYS, own_files, read_defaults, read_value, write_default
from planner.cli.own_rows import use_own
from planner.cli.printing import print_json, tell
from planner.errors import PlannerError, did_you_mean
from planner.report.head import HEAD

_LIST = "\n".join(f"  {key:13} {what}" for key, (_, what) in KEYS.items())


@command(
    "config",
    epilog=f"\b\nKeys:\n{_LIST}\n\nA typed option beats the file. Another GPU that is typed leaves the file's count and host out; `--gpu any --model NAME` asks for machines.",
)
@click.argument("action", type=click.Choice(["show", "set", "unset"]), default="show")
@click.argument("key", required=False)
@click.argument("value", required=False)
@output_options
def config_command(action: str, key: str | None, value: str | None, style: str) -> None:
    """Show the defaults of this user and where each comes from, or: `plan config set gpu rtx4090`, `plan config unset gpu`."""
    if action == "show":
        if key is not None:
            raise PlannerError(f"plan config show takes no {key[:60]!r}", f"plan config set {key[:60]} VALUE")
        _show(style)
        return
    words = {"set": "plan config set KEY VALUE", "unset": "plan config unset KEY"}[action]
    if key is None or (value is None) == (action == "set"):
        raise PlannerError(f"{words} is how it is said", f"keys: {', '.join(KEYS)}")
    key = key.removeprefix("--").replace("_", "-")
    if key not in KEYS:
        raise PlannerError(f"no default {key[:60]!r} exists", did_you_mean(key, KEYS) or f"known: {', '.join(KEYS)}")
    path = write_default(key, None if value is None else _typed(key, value))
    tell(f"{key} = {value}  in {path}" if value is not None else f"{key} is no longer in {path}")


def _typed(key: str, value: str) -> object:
    from planner.catalogue.load import find_gpu

    if key == "gpu" and value != "auto":
        files = {name: Path(path) for name, path in own_files().items()}
        use_own(click.get_current_context(), files.get("own_gpus"), None)
        find_gpu(value)
    if key in ("prices", "gpus", "models"):
        value = str(Path(value).expanduser().resolve())
    try:
        return read_value(key, int(value) if key == "count" and value.isdecimal() else value)
    except ValueError as error:
        raise PlannerError(str(error)) from None


def _show(style: str) -> None:
    path, defaults = config_file(), read_defaults()
    if style == "json":
        keys = {key: {"value": defaults[key].value, "line": defaults[key].line} if key in defaults else None for key in KEYS}
        print_json({**HEAD, "path": str(path), "exists": path.exists(), "defaults": keys})
        return
    tell(f"{path}" + ("" if path.exists() else " (not there; `plan config set gpu rtx4090` makes it)"))
    for key, (_, what) in KEYS.items():
        said = f"{defaults[key].value}  (line {defaults[key].line})" if key in defaults else f"not set: {what}"
        tell(f"{key:13} {said}")

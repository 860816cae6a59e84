"""The options of the command line as one question."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from planner.cli.command import words
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.questions.stack_file import address, read_stack, with_row


def question_row(options: dict[str, Any]) -> StackRow:
    """The question as one row, whichever way it was asked."""
    path: Path | None = options["stack_file"]
    if path is not None:
        return read_stack(path)
    if not options["gpu"] or not options["model"]:
        missing = {"gpu": "rtx4090"} if not options["gpu"] else {}
        raise PlannerError(f"--{'gpu' if missing else 'model'} is missing", f"try: {words(missing | ({} if options['model'] else {'model': 'qwen3-8b'}))}")
    try:
        address(options["bind"])
    except ValueError as error:
        raise PlannerError(f"--bind {options['bind'][:60]!r}: {error}") from None
    pinned = {each.name: options[each.name] for each in fields(ServiceRow) if each.name in options}
    return StackRow(
        gpu=options["gpu"],
        count=options["count"],
        nodes=options["nodes"],
        host=options["host_kind"],
        bind=options["bind"],
        proxy_port=options["proxy_port"],
        vllm_version=options["vllm_version"],
        engine=options.get("engine"),
        wired_limit_mb=options.get("wired_limit_mb"),
        link_gb_per_s=options.get("link_gb_per_s"),
        services=[ServiceRow(**pinned), *(with_row(text) for text in options["beside"])],
    )


def lone_row(options: dict[str, Any]) -> StackRow:
    """The question about one model of a command that takes neither several servers nor several machines."""
    return question_row({"beside": (), "stack_file": None, "nodes": 1, "bind": "127.0.0.1", "proxy_port": 8080} | options)

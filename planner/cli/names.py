"""Names of GPUs and models on the command line: as they are typed, and completed by the shell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from planner.engines import ENGINES

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Name(click.ParamType[str]):
    """The name of a GPU or model; where `many`, several with commas. What is none is said by the search for it."""

    def __init__(self, kind: str, *, many: bool = False) -> None:
        self.name, self.kind, self.many = kind, kind, many

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows."""
        return "NAME,…" if self.many else "NAME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The words as they are."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that go on as this one begins, the catalogue's own before other spellings."""
        from click.shell_completion import CompletionItem

        from planner.cli.own_rows import own_names

        before, comma, begun = incomplete.rpartition(",") if self.many else ("", "", incomplete)
        with own_names(ctx):
            names = list(_gpus() if self.kind == "gpu" else _models())
        matches = [(name, what) for name, what, is_own in names if is_own and name.startswith(begun.lower())]
        matches = matches or [(name, what) for name, what, _ in names if name.startswith(begun.lower())]
        return [CompletionItem(before + comma + name, help=what) for name, what in matches]


class EngineName(click.ParamType[str]):
    """The name of an engine, of those that are there when it is read."""

    name = "engine"

    @property
    def choices(self) -> tuple[str, ...]:
        """The names."""
        return tuple(ENGINES)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows."""
        return "NAME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        return str(click.Choice(self.choices).convert(value, param, ctx))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that go on as this one begins."""
        return click.Choice(self.choices).shell_complete(ctx, param, incomplete)


def _gpus() -> Iterator[tuple[str, str, bool]]:
    """Names, what each is, and whether it is the catalogue's own; a Mac is named with its memory."""
    from planner.catalogue.load import gpu_rows

    yield "auto", "the GPUs of this machine", True
    for row in gpu_rows():
        if row.memory_options_gb:
            for alias in (row.name.removeprefix("apple-"), row.name):
                yield from ((f"{alias}-{size}gb", f"{row.title} {size} GB", not alias.startswith("apple")) for size in row.memory_options_gb)
        else:
            yield row.name, row.title, True
            yield from ((alias, row.title, False) for alias in row.aliases)


def _models() -> Iterator[tuple[str, str, bool]]:
    from planner.catalogue.load import Entry, model_rows
    from planner.catalogue.names import model_key

    for row in model_rows():
        yield from ((Entry(row, variant).name, row.title, True) for variant in row.variants)
        yield from ((model_key(alias), row.title, False) for alias in row.aliases)

"""`plan list`: the GPUs and models of the catalogue with their sizes, filtered, and the architectures that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from planner.cli.command import command, option, output_options, typed
from planner.cli.options import PURPOSES, Finite
from planner.cli.own_rows import own_rows
from planner.cli.printing import print_json, tell
from planner.engines import first_engine
from planner.errors import PlannerError, did_you_mean
from planner.facts.command_line import flag_of
from planner.facts.record import dataclass
from planner.report.head import HEAD
from planner.units import GIB, MIB

if TYPE_CHECKING:
    from planner.catalogue.load import Entry
    from planner.catalogue.rows import ModelRow
    from planner.report.listings import ListedGpuJson, ListedModelJson

_MODELS_ONLY = ("family", "quantization", "max_gib", "purpose")


@command("list")
@click.argument("what", type=click.Choice(["gpus", "models", "architectures"]))
@click.argument("word", required=False)
@option("--family", metavar="NAME", group="Which models", help="Of one line: qwen3, llama-3 …")
@option("--quantization", metavar="NAME", group="Which models", help="Stored so: bf16, fp8, awq, nvfp4, Q4_K_M …")
@option("--max-gib", type=Finite(0, min_open=True), group="Which models", help="Weights of at most this; what starts on a GPU: plan --gpu NAME.")
@option("--for", "purpose", type=click.Choice(PURPOSES), group="Which models", help="For a purpose, as plan --for chooses.")
@own_rows()
@output_options
def list_command(what: str, word: str | None, *, style: str, family: str | None, quantization: str | None, max_gib: float | None, purpose: str | None) -> None:
    """List the GPUs or models of the catalogue, or the architectures that any config.json may have; those with WORD in their name."""
    if what != "models" and (unused := next((name for name in typed() if name in _MODELS_ONLY), None)):
        raise PlannerError(f"{flag_of(unused)} is about models, not {what}", "plan list models")
    listed: Sequence[ListedGpuJson | ListedModelJson | str]
    if what == "gpus":
        listed = gpus = _gpus(word)
        lines = _gpu_lines(gpus)
    elif what == "models":
        listed = models = _models(word, _Filters(family, quantization, max_gib, purpose))
        lines = _model_lines(models)
    else:
        listed = lines = _architectures(word)
    if not listed:
        raise PlannerError(f"no {what} of the catalogue are so", "leave a filter out")
    if style == "json":
        print_json({**HEAD, what: listed})
        return
    tell("\n".join(line.rstrip() for line in lines))


@dataclass(frozen=True, slots=True)
class _Filters:
    """Which models are listed; None leaves all."""

    family: str | None
    quantization: str | None
    max_gib: float | None
    purpose: str | None


def _matches(word: str | None, *names: str) -> bool:
    """Whether a name holds the word; spaces, dashes and case do not count."""

    def key(text: str) -> str:
        return "".join(character for character in text.lower() if character.isalnum())

    return word is None or any(key(word) in key(name) for name in names)


def _architectures(word: str | None) -> list[str]:
    from planner.catalogue.load import architectures

    return [name for name in architectures() if _matches(word, name)]


def _gpus(word: str | None) -> list[ListedGpuJson]:
    from planner.catalogue.load import gpu_rows

    return [
        {
            "name": row.name,
            "title": row.title,
            "vendor": row.vendor,
            "aliases": row.aliases,
            "memory_bytes": row.memory_mib * MIB,
            "memory_options_gb": row.memory_options_gb,
            "bandwidth_gb_per_s": row.bandwidth_gb_per_s,
            "compute_capability": row.compute_capability,
            "dense_tflops": {str(kind): tflops for kind, tflops in row.dense_tflops.items()},
            "power_w": row.power_w,
        }
        for row in gpu_rows()
        if _matches(word, row.name, row.title, *row.aliases)
    ]


def _gpu_lines(rows: list[ListedGpuJson]) -> list[str]:
    head = f"{'name':<17}{'memory':>11}{'GB/s':>6}{'CC':>6}  title"
    return [
        head,
        *(
            f"{row['name']:<17}{row['memory_bytes'] / GIB:>7.1f} GiB{row['bandwidth_gb_per_s']:>6.0f}{row['compute_capability'] or '':>6}  "
            + (f"{row['title']} ({', '.join(map(str, row['memory_options_gb']))} GB)" if row["memory_options_gb"] else row["title"])
            for row in rows
        ),
    ]


def _models(word: str | None, filters: _Filters) -> list[ListedModelJson]:
    from planner.catalogue.load import Entry, model_rows
    from planner.catalogue.sizes import stored_as

    rows = list(model_rows())
    family, purpose, most = filters.family, filters.purpose, filters.max_gib
    if family and family.lower() not in (families := sorted({row.family for row in rows})):
        raise PlannerError(f"no family {family[:60]!r}", did_you_mean(family.lower(), families) or f"known: {', '.join(families)}")
    entries = [
        Entry(row, variant)
        for row in rows
        if (not family or row.family == family.lower()) and (not purpose or _suits(row, purpose))
        for variant in row.variants
        if (word or not variant.by_name_only) and _matches(word, row.name, row.title, row.family, Entry(row, variant).name, variant.repo, *row.aliases)
    ]
    if wanted := filters.quantization:
        known = {stored_as(entry).lower(): stored_as(entry) for entry in entries}
        entries = [entry for entry in entries if wanted.lower() in (stored_as(entry).lower(), entry.variant.name)]
        if not entries:
            raise PlannerError(f"no such model is stored as {wanted[:60]!r}", f"there are {', '.join(known.values())}" if known else "leave a filter out")
    models = [_model(entry) for entry in entries]
    return [row for row in models if most is None or row["weights_bytes"] <= most * GIB]


def _suits(row: ModelRow, purpose: str) -> bool:
    from planner.questions.offers import suits

    return suits(row, purpose)


def _model(entry: Entry) -> ListedModelJson:
    from planner.catalogue.sizes import stored_as, weights_bytes

    row, variant = entry.row, entry.variant
    return {
        "name": entry.name,
        "title": row.title,
        "family": row.family,
        "kind": row.kind,
        "runtime": variant.runtime or first_engine().name,
        "repo": variant.repo,
        "quantization": stored_as(entry),
        "parameters": row.parameters,
        "weights_bytes": weights_bytes(entry),
        "released": row.released,
        "tool_parser": row.tool_parser,
    }


_NAME_COLUMNS = 41  # what the other columns leave of 80


def _model_lines(rows: list[ListedModelJson]) -> list[str]:
    """A line a model within 80 columns; a name that is too long for its column has one of its own."""
    width = min(max((len(row["name"]) for row in rows), default=0), _NAME_COLUMNS)
    lines = [f"{'name':<{width}}  {'params':>7} {'GiB':>7}  {'stored as':<9} kind"]
    for row in rows:
        name = row["name"]
        if len(name) > width:
            lines.append(name)
            name = ""
        lines.append(f"{name:<{width}}  {row['parameters'] / 1e9:>6.1f}B {row['weights_bytes'] / GIB:>7.1f}  {row['quantization']:<9} {row['kind']}")
    return lines

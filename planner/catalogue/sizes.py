"""What the catalogue's models take: computed when the catalogues are built (data/sizes.json), because all 230 of them take a second."""

from __future__ import annotations

from planner.catalogue.load import Entry
from planner.catalogue.rows import ModelRow
from planner.catalogue.shipped import shipped
from planner.engines import ENGINES, first_engine
from planner.engines.catalogue import plain_form
from planner.engines.work import active_parameters


def stored_as(entry: Entry) -> str:
    """How a variant is quantized: bf16, or the name of its format, which is a quantized variant's own name."""
    if entry.variant.format:
        return plain_form(entry.variant.format)
    own = entry.variant.quantization
    return next(variant.name for variant in entry.row.variants if variant.quantization == own) if own else "bf16"  # the first of those that are stored alike


def weights_bytes(entry: Entry) -> int:
    """What the weights take when they are loaded on one GPU; of a GGUF what its file does."""
    if entry.row.is_own:
        return computed_bytes(entry)
    built: int = shipped("sizes")["weights_bytes"][entry.name]
    return built


def computed_bytes(entry: Entry) -> int:
    """The same, computed."""
    engine = ENGINES[entry.variant.runtime] if entry.variant.runtime else first_engine()
    original = (
        entry if entry.variant.is_checkpoint else Entry(entry.row, next((variant for variant in entry.row.variants if variant.default), entry.row.variants[0]))
    )
    return engine.stored_bytes(original.spec(), stored_as(entry))


def active(row: ModelRow) -> int:
    """Parameters that one token is multiplied with."""
    if row.is_own:
        return computed_active(row)
    built: int = shipped("sizes")["active_parameters"][row.name]
    return built


def computed_active(row: ModelRow) -> int:
    """The same, computed."""
    return active_parameters(Entry(row, next((variant for variant in row.variants if variant.default), row.variants[0])).spec())

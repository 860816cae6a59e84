"""What the catalogue's models take: computed when the catalogues are built (data/sizes.json), because all 230 of them take a second."""

from __future__ import annotations

from collections.abc import Mapping

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
    if not own:
        return "bf16"
    alike = next((variant.name for variant in entry.row.variants if variant.quantization == own and not variant.by_name_only), "")
    return alike or _scheme(own)  # the first of its makers' that are stored alike


def _scheme(quantization: Mapping[str, object]) -> str:
    """The method of a quantization by others; of compressed-tensors by its bits, as its makers call them: w4a16, fp8."""
    method = str(quantization.get("quant_method", ""))
    groups = quantization.get("config_groups")
    group = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(group, dict) or not isinstance(weights, dict):
        return method
    bits, is_float = weights.get("num_bits"), weights.get("type") == "float"
    if is_float and bits == 4:
        return "nvfp4"
    activations = group.get("input_activations")
    acts = activations.get("num_bits", 16) if isinstance(activations, dict) else 16
    return f"fp{bits}" if is_float else f"w{bits}a{acts}"


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

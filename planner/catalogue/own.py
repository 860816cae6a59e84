"""A person's own GPUs and models: YAML of the form of gpus.yaml and models.yaml, checked; a row of theirs takes the place of ours of the same name."""

from __future__ import annotations

from pathlib import Path

from planner.catalogue.load import Catalogue
from planner.catalogue.rows import ModelRow
from planner.catalogue.shipped import gpu_row, model_row, shipped
from planner.catalogue.written import read_gpus, read_models
from planner.facts.model import ChatFormat
from planner.facts.record import dataclass
from planner.facts.variant import Variant


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnModel(ModelRow):
    """One model of a person's own."""

    file: str

    @property
    def origin(self) -> str:
        """The file and row that a fault in its config is told of."""
        return f"{self.file}: {self.name}"

    @property
    def is_own(self) -> bool:
        """Yes."""
        return True

    def chat(self, variant: Variant) -> ChatFormat | None:
        """As our rows have it; what a person left out is not known, where in ours it does not exist."""
        return super().chat(variant) if self.kind in ("embedding", "reranker") or self.tool_parser else None


def own_catalogue(gpus: Path | None, models: Path | None) -> Catalogue:
    """The catalogue with the rows of these files. Raises PlannerError with file and line of a fault."""
    return Catalogue(
        own_gpus={name: gpu_row(row) for name, row in (read_gpus(gpus) if gpus else {}).items()},
        own_models={name: model_row(row | {"file": str(models)}, OwnModel) for name, row in (read_models(models) if models else {}).items()},
        gpus_file=str(gpus or ""),
        models_file=str(models or ""),
    )


def replaced(catalogue: Catalogue) -> list[str]:
    """The names of ours in whose place an own row stands."""
    pairs = ((catalogue.own_gpus, "gpus"), (catalogue.own_models, "models"))
    return [name for own, kind in pairs for name in own if name in shipped(kind)["rows"]]

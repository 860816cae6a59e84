"""Build hook of wheel, source distribution and editable install: the catalogues are checked, and built anew where the YAML says something else."""

from __future__ import annotations

import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CatalogueHook(BuildHookInterface[Any]):
    """Runs `planner.catalogue.build` of these very sources; a fault in the YAML ends the build with its file and line."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the catalogues before files are collected."""
        sys.path.insert(0, self.root)
        sys.dont_write_bytecode = True  # nothing but sources is collected
        try:
            from planner.catalogue.build import build

            for name in build():
                self.app.display_info(f"planner/catalogue/data/{name} was built anew")
        finally:
            sys.path.remove(self.root)

"""Files that only one engine has, as it writes them."""

from __future__ import annotations

from planner.engines import servings
from planner.facts.deployment import Deployment


def own_files(deployment: Deployment) -> dict[str, str]:
    """The files of a deployment's engines by name."""
    files: dict[str, str] = {}
    for serving in servings({service.engine for service in deployment.services}).values():
        files |= serving.files(deployment)
    return files

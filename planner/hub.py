"""The only network code: a model's config.json from the Hugging Face Hub. Metadata only, never weights, never remote code."""

from __future__ import annotations

import re
from pathlib import Path

from planner.errors import PlannerError, WorldError

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def is_repo_id(name: str) -> bool:
    """Whether a name has the form owner/name of a Hub repository."""
    return _REPO.match(name) is not None and ".." not in name


def fetch_config(repo: str) -> tuple[Path, Path | None]:
    """Fetch config.json (and hf_quant_config.json where there is one) into the Hub's cache.

    Raises PlannerError for a repository that does not exist or is gated, WorldError where the Hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    offline = "use a name of `plan list models`, or --model FOLDER with the model's config.json"
    try:
        config = hf_hub_download(repo, "config.json")
        try:
            quantization: Path | None = Path(hf_hub_download(repo, "hf_quant_config.json"))
        except EntryNotFoundError:
            quantization = None
    except GatedRepoError:
        raise PlannerError(f"{repo} is gated", "accept its terms on the Hub and log in with `hf auth login`") from None
    except RepositoryNotFoundError:
        raise PlannerError(f"the Hub has no model {repo} (or it is private)", offline) from None
    except LocalEntryNotFoundError:
        raise WorldError("the Hugging Face Hub cannot be reached", offline) from None
    except EntryNotFoundError:
        raise PlannerError(f"{repo} has no config.json", offline) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise WorldError(f"the Hugging Face Hub failed: {type(error).__name__}", offline) from None
    return Path(config), quantization

"""The only network code: a model's config.json from the Hugging Face Hub. Metadata only, never weights, never remote code."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import chain
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from planner.architecture.config import MAX_CONFIG_BYTES
from planner.catalogue.safetensors import MAX_HEADER_BYTES, StoredTensor, stored_tensor
from planner.errors import PlannerError, WorldError
from planner.facts.record import dataclass
from planner.reader import parse_json, read_bytes
from planner.writing import write_whole

Answer = TypeVar("Answer")
_SHARD = re.compile(r"model(?:-\d+-of-\d+)?\.safetensors")
MOST_SHARDS = 64  # each costs a request; larger checkpoints are taken at their config's word
AT_ONCE = 8
OFFLINE = "use a name of `plan list models`, or --model FOLDER with the model's config.json"


_UNASKED: ContextVar[str] = ContextVar("planner.hub_unasked", default="")


@contextmanager
def unasked(hint: str) -> Iterator[None]:
    """As long as nobody asked for the network, it is left alone: a name that only the Hub knows is refused, with what to do instead."""
    before = _UNASKED.set(hint)
    try:
        yield
    finally:
        _UNASKED.reset(before)


@dataclass(frozen=True, slots=True)
class HubModel:
    """What the Hub has of a model: paths in its cache, and its tensors where their headers are few enough to ask for."""

    config: Path
    quantization: Path | None
    tensors: tuple[StoredTensor, ...] = ()
    commit: str = ""
    month: str = ""  # in which the repository was made, 2025-04; nothing where only the cache answered


def fetch_model(repo: str) -> HubModel:
    """Fetch config.json (and hf_quant_config.json where there is one) into the Hub's cache, or take what lies there.

    Raises PlannerError for a repository that does not exist or is gated, WorldError where the Hub cannot be reached or fails.
    """
    if hint := _UNASKED.get():
        raise WorldError(f"{repo} is not in the catalogue", hint)
    import logging

    _check_endpoint()
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # its warnings and retries are not for the user
    try:
        commit, month, sizes = _files(repo)
    except WorldError:
        cached = _cached(repo, "config.json")
        if cached is None:
            raise
        return HubModel(cached, _cached(repo, "hf_quant_config.json"), _tensors(repo, cached.parent.name), cached.parent.name)
    if "config.json" not in sizes:
        raise PlannerError(f"{repo} has no config.json", OFFLINE)
    if (size := sizes["config.json"] or 0) > MAX_CONFIG_BYTES:
        raise PlannerError(f"{repo}: config.json of {size:,} bytes is too large")
    quantization = _download(repo, "hf_quant_config.json") if "hf_quant_config.json" in sizes else None
    tensors = _tensors(repo, commit, [name for name in sizes if _SHARD.fullmatch(name)])
    return HubModel(_download(repo, "config.json"), quantization, tensors, commit, month)


def _check_endpoint() -> None:
    """Refuse another address of the Hub that is none: its client would fail when it is imported. The address may hold a secret: it is not repeated."""
    try:
        address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        if address.scheme not in ("http", "https") or not address.hostname or address.port == 0:
            raise ValueError
    except ValueError:
        raise PlannerError("HF_ENDPOINT is not an address like https://huggingface.co", OFFLINE) from None


def _tensors(repo: str, commit: str, shards: Sequence[str] = ()) -> tuple[StoredTensor, ...]:
    """The headers of a checkpoint's files as this machine keeps them, or one ranged request each; none where one cannot be had."""
    from concurrent.futures import ThreadPoolExecutor

    from huggingface_hub import cached_assets_path

    kept: Path | None = None
    with suppress(OSError, ValueError, TypeError, PlannerError):  # a damaged file of this cache is written anew
        kept = cached_assets_path("serve-plan", repo, commit) / "tensors.json"
        entries = parse_json(read_bytes(kept, MAX_HEADER_BYTES), kept)
        if isinstance(entries, list):
            return tuple(stored_tensor(*entry) for entry in entries)
    if not 0 < len(shards) <= MOST_SHARDS:
        return ()
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            tensors = tuple(chain.from_iterable(pool.map(lambda name: _header(repo, commit, name), shards)))
    except (PlannerError, ValueError):
        return ()
    if kept is not None:
        _keep(kept, json.dumps([(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors]))
    return tensors


def _keep(path: Path, text: str) -> None:
    """Write a file whole, or leave the disk as it was: what is kept is only faster."""
    with suppress(OSError):
        write_whole(path, text)


def _header(repo: str, commit: str, name: str) -> list[StoredTensor]:
    from huggingface_hub import HfApi

    metadata = _asked(repo, lambda: HfApi().parse_safetensors_file_metadata(repo, name, revision=commit))
    return [stored_tensor(tensor, info.dtype, list(info.shape)) for tensor, info in metadata.tensors.items()]


def _files(repo: str) -> tuple[str, str, dict[str, int | None]]:
    """The newest commit of a repository, the month it was made in, and its files with their sizes: one request, no retries."""
    from huggingface_hub import HfApi, constants

    info = _asked(repo, lambda: HfApi().model_info(repo, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT))
    month = f"{info.created_at:%Y-%m}" if info.created_at else ""
    return info.sha or "main", month, {file.rfilename: file.size for file in info.siblings or []}


def _download(repo: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(_asked(repo, lambda: hf_hub_download(repo, name)))


def _asked(repo: str, question: Callable[[], Answer]) -> Answer:
    """The Hub's answer, or one clear line for whatever went wrong."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        return question()
    except GatedRepoError:
        raise PlannerError(f"{repo} is gated", "accept its terms on the Hub and log in with `hf auth login`") from None
    except RepositoryNotFoundError:
        raise PlannerError(f"the Hub has no model {repo} (or it is private)", OFFLINE) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise WorldError("the Hugging Face Hub cannot be reached", OFFLINE) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        what = "asks to slow down (429)" if status == 429 else f"answered with status {status}"
        raise WorldError(f"the Hugging Face Hub {what}", f"try again later, or {OFFLINE}") from None
    except Exception as error:  # of the HTTP library that the Hub's client happens to use: what is below it tells what happened
        raise WorldError(f"the Hugging Face Hub {_what_happened(error)}", OFFLINE) from None


def _what_happened(error: BaseException) -> str:
    """In words: a timeout, no connection, or an answer that no client makes sense of."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "does not answer in time"
    if any(isinstance(cause, OSError) for cause in causes):
        return "cannot be reached"
    return f"gave an answer that makes no sense ({type(error).__name__})"


def _cached(repo: str, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    kept = try_to_load_from_cache(repo, name)
    return Path(kept) if isinstance(kept, str) else None

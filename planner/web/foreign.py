"""Who may ask a server on this machine: its own pages and programs, no page of somebody else's in the same browser (DNS rebinding, forged requests)."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def _is_ours(host: str) -> bool:
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    return name.lower() in LOCAL_NAMES and (not port or port.isdigit())


def _is_a_link(headers: Headers) -> bool:
    """Whether somebody follows a link to a question in a window of its own: a frame, and a file that nobody would look at, are not asked for by others."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest", "document") == "document"


def foreign(headers: Headers, *, may_follow: bool = False) -> Response | None:
    """The refusal of what does not come from this machine's own pages and programs; with `may_follow` a link from elsewhere may be followed."""
    if not _is_ours(headers.get("host", "")):
        return PlainTextResponse("this page answers to its own machine only", 421)
    origin = headers.get("origin")
    if origin is not None and (not origin.startswith("http://") or origin.removeprefix("http://") != headers.get("host")):
        return PlainTextResponse("another page may not ask here", 403)
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (may_follow and _is_a_link(headers)):
        return PlainTextResponse("another page may not ask here", 403)
    return None

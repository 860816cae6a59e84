"""Flags of an MLX server's command that do nothing with what else it says.

Sources: mlx-lm 0.32.2 server.py (a quantized cache is not batched, drafts), mlx-vlm 0.7.10 server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.facts.verdict import Warn

_OF_BITS = ("--kv-group-size", "--quantized-kv-start", "--kv-quant-scheme")
_OF_DRAFTS = ("--num-draft-tokens", "--draft-kind", "--draft-block-size")


def idle(values: Mapping[str, str | bool]) -> Iterator[Warn]:
    """Each flag that does nothing, and why."""
    has_bits = any(flag in values for flag in ("--kv-bits", "--kv-key-bits", "--kv-value-bits"))
    for flags, is_used, why in (
        (_OF_BITS, has_bits, "without --kv-bits the cache is not quantized"),
        (_OF_DRAFTS, "--draft-model" in values, "without --draft-model nothing is drafted"),
    ):
        if not is_used:
            yield from (Warn(code="does-nothing", message=f"{flag} does nothing: {why}") for flag in flags if flag in values)

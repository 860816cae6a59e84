"""What changed between vLLM releases, as far as memory and defaults are concerned.

Read off the source distributions of 0.11.0 to 0.33.0 on PyPI; each field names the file. Everything else follows the newest release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OLDEST, NEWEST = 11, 33


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One minor release."""

    name: str
    graphs_reserved: bool  # CUDA graphs lie inside the budget since 0.20 (envs.py VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS)
    large_batches: bool  # a third tier of default batches, from 160 GiB on, since 0.28 (engine/arg_utils.py get_batch_defaults)
    steps_in_flight: bool  # windows keep the tokens of every concurrent step, not of one, since 0.26 (config/vllm.py max_in_flight_tokens)
    null_block_reserved: bool  # admission leaves one block out since 0.29 (v1/core/kv_cache_utils.py)
    coarse_graphs: bool  # above 256 every 16th batch size is captured since 0.12, every 8th before (config/vllm.py)
    state_checked: bool  # a hybrid with fewer blocks than sequences is refused since 0.20 (config/compilation.py)
    bitsandbytes: bool  # quantizes while loading until 0.32 (config/quantization.py)
    lean_sampler: bool  # the sampler's warm-up keeps fewer copies of the logits since 0.17 (overhead.json: sampler_copies)
    least_capability: int  # what the wheels hold kernels for: 7.5 since 0.20, which are built with CUDA 13 (vllm pull request 39878), 7.0 before


def _version(minor: int) -> Version:
    return Version(
        name=f"0.{minor}",
        graphs_reserved=minor >= 20,
        large_batches=minor >= 28,
        steps_in_flight=minor >= 26,
        null_block_reserved=minor >= 29,
        coarse_graphs=minor >= 12,
        state_checked=minor >= 20,
        bitsandbytes=minor <= 32,
        lean_sampler=minor >= 17,
        least_capability=75 if minor >= 20 else 70,
    )


VERSIONS = {version.name: version for version in map(_version, range(OLDEST, NEWEST + 1))}
OLDEST_VERSION, DEFAULT_VERSION = f"0.{OLDEST}", f"0.{NEWEST}"


def newest_for(capability: int) -> str | None:
    """The newest release whose wheels run on a GPU of this compute capability (75 for 7.5); None where none of those known here does."""
    return next((name for name, version in reversed(VERSIONS.items()) if capability >= version.least_capability), None)


def nearest_version(text: str) -> Version:
    """The known release nearest to "0.19.1" or "v0.20.2rc1.dev3"; the newest where there is no number.

    "0.1.dev19754" is what a build of a checkout without tags calls itself: no number either.
    """
    found = re.match(r"v?(\d+)\.(\d+)", text.strip())
    if not found or re.match(r"v?0\.[01](\.\d+)?\.?dev", text.strip()):
        return VERSIONS[DEFAULT_VERSION]
    minor = NEWEST if int(found[1]) > 0 else min(NEWEST, max(OLDEST, int(found[2])))
    return VERSIONS[f"0.{minor}"]

"""Where llama.cpp's builds differ in what they hold; a build is its number, `b10488`, and a release since August 2026 counts behind all of them."""

from __future__ import annotations

import re

DEFAULT_BUILD = 10488  # what Ollama 0.33 pins
OLDEST_BUILD = 7500  # the first whose fit moves layers and experts by itself (common/fit.cpp)
RELEASED = 20_000  # v0.1.0 and later, since August 2026, count behind the numbered builds
# The numbers of the builds that brought a change are those of its day (about fifteen a day), but for the first, which a release note names.
LATENT_IS_KEPT = 5140  # #12801, 15 April 2025: of DeepSeek's models with MLA the latent vector; before, keys and values of every head
WINDOWS_ARE_KEPT = 5430  # #13194, 20 May 2025: layers with a window have a cache of their own, as long as it; before, as long as the others'
OUTPUT_IS_COUNTED = (
    5780  # GUESS of when, later than b5590 and before b8390: -ngl counts the output as one of its layers; before, it lay on a GPU with all of them alone
)
GATED_AT_ONCE = 5780  # #14158, 29 June 2025: a gate and what it gates make a third tensor; about then views of joined matrices are read as they lie (#14568)
REQUESTS_APART = 5913  # #14363, 16 July 2025: parallel requests have caches of their own; before, one cache and one mask for all of them
ROWS_ARE_SET = 6070  # #14959, 2 August 2025: a micro-batch is told where its keys and values go in a cache; before, they are copied into a view of it
FLASH_IS_AUTO = 6325  # #15434, 30 August 2025: --flash-attn takes on, off or auto, the default, and a GPU all layers; before, a switch, and none but Metal's
FOUR_SLOTS = 6930  # #16736, 2 November 2025: where --parallel is not said four slots share a cache; before, there is one
CELLS_BY_256 = 6962  # #17046, 6 November 2025: a cache is a multiple of 256 tokens long; before, without flash attention of 32
BOTH_INPUTS = 7811  # #18898, 23 January 2026: a graph has a place for tokens and one for embeddings; before, for what it is given
ROTATED = 8610  # #21038, 1 April 2026: keys and values are rotated before they are quantized, queries and what comes of them too
MASK_IS_HALF = 9410  # ggml-org/llama.cpp#23764, 27 May 2026: with flash attention the mask is 16-bit from the start; before, 32-bit and a 16-bit copy
FEW_OUTPUTS = 9460  # #23861, 1 June 2026: llama-server reserves logits of one token for each slot, not of a whole micro-batch
COPIES_RESERVED = 9500  # #23907, 4 June 2026: flash attention's 16-bit copies of a quantized cache are part of the compute buffer, and no longer of CUDA's pool
STATES_ROLLED_BACK = (
    9222  # GUESS of when, in May 2026: a log of that month has one state a slot with MTP; b9222, b9849 and v0.5.0 one more for each drafted token
)
_NAME = re.compile(r"b?(\d{4,5})|v?(\d+)\.(\d+)(?:\.(\d+))?")


def build_number(name: str) -> int:
    """The place of a build among all: of `b9842` or `9842` its number, of a release such as `v0.5.0` one behind them. Raises ValueError."""
    match = _NAME.fullmatch(name.strip())
    if match is None:
        raise ValueError(f"{name!r} is no build of llama.cpp, such as b{DEFAULT_BUILD} or v0.5.0")
    if match[1]:
        return int(match[1])
    return RELEASED + int(match[2]) * 10_000 + int(match[3]) * 100 + int(match[4] or 0)


def build_name(number: int) -> str:
    """A build as it is called: b9842, v0.5.0."""
    major, rest = divmod(number - RELEASED, 10_000)
    return f"b{number}" if number < RELEASED else f"v{major}.{rest // 100}.{rest % 100}"


def build_in(version: str | None) -> int | None:
    """The build that a version or an image's tag names (`server-cuda-b9842`); None where it names none."""
    parts = [version or "", *re.split(r"[-_]", version or "")]
    return next((build_number(part) for part in parts if _NAME.fullmatch(part)), None)

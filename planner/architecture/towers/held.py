"""What a layer of a vision tower holds at its peaks while it runs: columns of 16 bits for each patch, (of every rank, divided over ranks).

Counted off vLLM's forward methods (model_executor/models/{qwen2_vl,qwen2_5_vl,qwen3_vl,dots_ocr}.py, 0.13 to 0.33). A module's input stays until it
returns, since torch holds its arguments: a layer's and its norm's output lie beside all that follows. The pixels stay too.
"""

from __future__ import annotations

Peaks = tuple[tuple[int, int], ...]


def _attention(hidden: int) -> tuple[int, int]:
    """Input, norm and output; queries, keys and values, a copy of the first two, these rotated, what attention gives."""
    return 3 * hidden, 8 * hidden


def _beside(peaks: Peaks, always: int) -> Peaks:
    return tuple((whole + always, divided) for whole, divided in peaks)


def qwen2(hidden: int, width: int, pixels: int) -> Peaks:
    """Qwen2-VL's layers: quick GELU keeps its input and its sigmoid while it multiplies."""
    return _beside((_attention(hidden), (3 * hidden, 3 * width)), pixels)


def qwen25(hidden: int, width: int, pixels: int) -> Peaks:
    """Qwen2.5-VL's: the second norm keeps input, attention, sum and norm; gate, up and their product lie there as the output is made."""
    return _beside((_attention(hidden), (5 * hidden, 3 * width)), pixels)


def qwen3(hidden: int, width: int, kept: int) -> Peaks:
    """Qwen3-VL's and Qwen3.5's: a plain MLP; `kept` are the pixels and what the deepstack levels have put out."""
    return _beside((_attention(hidden), (3 * hidden, 2 * width), (4 * hidden, width)), kept)


def dots(hidden: int, width: int, pixels: int, head: int) -> Peaks:
    """dots.ocr's: queries, keys and values copied, then rotated in 32 bits (input, output, and it in 16) by angles of which it holds three tables."""
    return _beside(((2 * hidden, 18 * hidden), (3 * hidden, 4 * width)), pixels + 3 * head)

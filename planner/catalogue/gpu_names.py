"""Which GPU a person may have meant by a name that none has: one of the same line of cards, never another maker's or another kind of machine's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache

from planner.catalogue.names import gpu_key
from planner.catalogue.rows import GpuRow
from planner.errors import nearest

# The lines in which cards are sold, by how their names begin or end; the first that holds is a name's. What is no line's is not told apart.
_LINES = (
    ("mac", r"(apple)?m\d(pro|max|ultra)?(\d+gb?)?$"),
    ("instinct", r"mi\d"),
    ("ryzen", r"strix|ryzen|80[456]0s|aimax"),
    ("radeon", r".*\d{3,4}m?(xtx|xt|gre)$|rx\d|radeon(?!pro|ai)|[67]\d{3}m"),
    ("radeon pro", r"(radeon)?(ai)?(pro)?(w[67]\d|r9\d|v[67]\d)|radeonpro|radeonai"),
    ("arc", r"arc|a[357][1-8]0|b5[78]0"),
    ("intel data centre", r"flex|max\d|ponte"),
    ("jetson", r"jetson|(agx|orin|thor|xavier)"),
    ("workstation", r"quadro|rtxa\d|rtxpro|pro\d|.*ada|ada|rtx\d[05]00|rtx5880|[pt][1-6][02]00|a[1-6][05]00|gv100"),
    ("geforce", r"(rtx|gtx|titan)|[1-5]0\d0|16[0-9]0"),
    ("data centre", r"(gb|gh|[ablhgptv])\d|spark|dgx"),
)

_COUNTED = re.compile(r"(?P<first>[1-9]\d{0,2})\s*[x\u00d7*]\s*(?P<behind>[a-z].*)|(?P<before>[a-z].*?)\s*[x\u00d7*]\s*(?P<last>[1-9]\d{0,2})")
_WHOLE_FAMILY = 12  # cards whose names all begin so, that are all told
_MAC = re.compile(r"(apple)?(i?mac|apple$)")

# Cards of Kepler, of compute capability 3.0 to 3.7; a Quadro K620, K1200 or K2200 and a GTX 750 are of the next generation.
_KEPLER = re.compile(
    r"(nvidia)?((tesla)?k(8|10|[24]0[cmstx]?|80)(\d\dgb)?|(quadro)?k[456][02]00|(geforce)?gt[xs]?(6[5-9]0|7[678]0)(ti)?|(geforce)?(gtx)?titan(black|z))"
)


def too_old(name: str) -> tuple[str, str] | None:
    """Why a card is in no catalogue though it exists, and what to ask instead; None for others.

    Source: ggml-cuda/CMakeLists.txt (50 is the lowest of CUDA 12), ollama/ollama#9124 (5.0 and above), ggml-org/llama.cpp#12140 (a K80 with CUDA 11.4).
    A K80's memory: nvidia-smi 11,441 MiB a GPU with ECC, CUDA 11.17 GiB; half of the board's 480 GB/s.
    """
    if not _KEPLER.fullmatch(gpu_key(name)):
        return None
    custom = "--gpu custom --vram 12GiB --total-gib 11.17 --bandwidth 240 --compute-capability 3.7"
    return (
        f"{name[:60]} is a card of Kepler, of compute capability 3: no engine's builds for CUDA hold kernels below 5.0",
        f"describe it for a build of your own (Vulkan, or CUDA 11.4); each of the two GPUs of a Tesla K80 is {custom}",
    )


def near_gpu(name: str, rows: Iterable[GpuRow]) -> str:
    """The names that one may have meant to type: of the same line, with the same digits, or one more or less; another number is another card.

    Else those that end so (b60), the chip of any Mac, the card of `4x h100`.
    """
    name = " ".join(name[:100].split())  # blanks are many ways to read a pattern
    wanted = gpu_key(name)
    names = {gpu_key(alias): row.name for row in rows for alias in (row.name, *row.aliases)}
    if counted := _COUNTED.fullmatch(name.strip().lower()):
        card = counted["behind"] or counted["before"]
        if gpu_key(card) in names:
            return f"how many there are is --count's: --gpu {names[gpu_key(card)]} --count {counted['first'] or counted['last']}"
    if _MAC.match(wanted):
        return "a Mac is named by its chip and its memory, e.g. m4-max-64gb"
    family = list(dict.fromkeys(row for key, row in sorted(names.items()) if key.startswith(wanted)))
    if wanted.isalpha() and len(wanted) > 3 and 1 < len(family) <= _WHOLE_FAMILY:
        return f"which one: {', '.join(family)}?"
    line = _line(wanted)
    wanted = wanted.replace("maxq", "laptop") if line and line[1] else wanted
    keys = {key: found for key, found in names.items() if line in (None, _line(gpu_key(found)))}
    likely = [key for key in nearest(wanted, keys, count=8, cutoff=0.75) if _same_number(wanted, key, exactly=line is None)]
    ending = [key for key in names if len(wanted) > 2 and key.endswith(wanted)]
    meant = list(dict.fromkeys(names[key] for key in likely or ending))[:3]
    return f"did you mean {', '.join(meant)}?" if meant else ""


@cache
def _line(key: str) -> tuple[str, bool] | None:
    """The line of cards of a name, and whether it is that of a laptop; None for what is no line's."""
    is_mobile = re.search(r"lap|mobil|notebook|\d{4}(ti)?m$", key) is not None or ("maxq" in key and "pro" not in key)
    plain = re.sub("lap[a-z]*|mobil[a-z]*|notebook|maxq", "", key)
    line = next((line for line, pattern in _LINES if re.match(pattern, plain)), None)
    return (line, is_mobile) if line else None


def _same_number(one: str, other: str, *, exactly: bool) -> bool:
    """Whether the digits are the same in another order, one more or less, or differ in the last alone; where `exactly`, whether they are the same."""
    first, second = ("".join(character for character in key if character.isdigit()) for key in (one, other))
    if exactly:
        return first == second
    odd = (Counter(first) - Counter(second)) + (Counter(second) - Counter(first))
    return odd.total() <= 1 or (len(first) > 1 and first[:-1] == second[:-1])

"""What an all-reduce costs between GPUs, as it was measured card by card (all_reduce.json, a source each).

Seconds before a byte moves, and the bus bandwidth that large messages reach: 2(n-1)/n of the bytes over the time, as nccl-tests counts it.
A card that nobody measured counts as the one of its link that was; where hosts with the same card differ, the median is expected and the
slowest and the fastest bound it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from planner.facts.hardware import GpuSpec
from planner.facts.record import dataclass

ALIKE = {"nvlink": "h100", "pcie3": "rtx3090", "pcie4": "l40s", "pcie5": "rtxpro6000"}  # whose figures a card without its own has
PCIE_BYTES_PER_S = {"pcie3": 15_750_000_000, "pcie4": 31_500_000_000}  # 16 lanes, one direction; above it is generation 5
NVLINK_BYTES_PER_S = 450_000_000_000  # of the H100, one direction


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduce:
    """An all-reduce of so many ranks over `kind`, nvlink or pcie; `measured` where the figures are of this card, or of this host."""

    kind: str = "none"
    start_s: float = 0.0
    bytes_per_s: int = 0
    slowest_bytes_per_s: int = 0
    fastest_bytes_per_s: int = 0
    measured: bool = False


NO_LINK = AllReduce()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What was measured of a card: by the number of ranks start_us, gb_per_s, slowest and fastest; over `link`, nvlink or pcie."""

    source: str
    link: str
    ranks: Mapping[str, Mapping[str, float]]


@cache
def _cards() -> Mapping[str, Card]:
    loaded = json.loads(Path(__file__).with_name("all_reduce.json").read_text("utf-8"))
    return {name: Card(**card) for name, card in loaded["cards"].items()}


def all_reduce(gpu: GpuSpec, ranks: int, stated_bytes_per_s: int = 0) -> AllReduce:
    """What was measured of this card, else of one like it; `stated_bytes_per_s` is what this host is said to reach, 0 where nobody said."""
    if ranks == 1:
        return NO_LINK
    kind = "nvlink" if gpu.nvlink else "pcie"
    own = next((name for name, card in _cards().items() if gpu.name.startswith(name) and card.link == kind), "")
    of = _at(own or ALIKE[_family(gpu)], ranks)
    rates = (stated_bytes_per_s,) * 3 if stated_bytes_per_s else tuple(int(of[key] * 1e9) for key in ("slowest", "gb_per_s", "fastest"))
    if not own and not stated_bytes_per_s:
        rates = _of_another(gpu, ranks, rates)
    slowest, expected, fastest = rates
    return AllReduce(
        kind=kind,
        start_s=of["start_us"] / 1e6,
        bytes_per_s=expected,
        slowest_bytes_per_s=slowest,
        fastest_bytes_per_s=fastest,
        measured=bool(own or stated_bytes_per_s),
    )


def _of_another(gpu: GpuSpec, ranks: int, rates: tuple[int, ...]) -> tuple[int, ...]:
    """NVLink reaches the same share of another line rate; over PCIe the slowest host of all is the worst case, for peer to peer may be off."""
    if gpu.nvlink:
        return tuple(int(rate * gpu.link_bytes_per_s / NVLINK_BYTES_PER_S) for rate in rates)
    return (slowest_pcie(ranks), *rates[1:])


def slowest_pcie(ranks: int) -> int:
    """Bytes a second that the slowest host of all reaches over PCIe."""
    return int(1e9 * min(_at(card, ranks)["slowest"] for card in _PCIE))


def slowest_start_s(ranks: int) -> float:
    """Seconds before a byte moves on the slowest host of all."""
    return max(_at(card, ranks)["start_us"] for card in _PCIE) / 1e6


_PCIE = tuple(card for name, card in ALIKE.items() if name != "nvlink")


def _family(gpu: GpuSpec) -> str:
    """nvlink, or the generation of PCIe by its line rate; the fourth where that is not known."""
    if gpu.nvlink:
        return "nvlink"
    rate = gpu.link_bytes_per_s or PCIE_BYTES_PER_S["pcie4"]
    return next((name for name, most in PCIE_BYTES_PER_S.items() if rate <= most), "pcie5")


def _at(card: str, ranks: int) -> Mapping[str, float]:
    """So many ranks, or the next number that was measured."""
    measured = _cards()[card].ranks
    counts = sorted(int(count) for count in measured)
    return measured[str(next((count for count in counts if count >= ranks), counts[-1]))]

"""What a model costs on a machine, beside an API's price."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from planner.facts.record import dataclass
from planner.questions import cost as costing
from planner.questions.asked import CapacityPins, File, Host, naming, public, release, row_of, whole, within
from planner.questions.cost_terms import Terms
from planner.questions.fields import MOST_USD, MOST_WATTS

if TYPE_CHECKING:
    from planner.report.cost_json import CostJson


@dataclass(frozen=True, slots=True, kw_only=True)
class CostAnswer(costing.CostAnswer):
    """What tokens cost: `loads` (as asked, and full) with the costs of each of `ways` (rented, bought), `api`, `break_even`, `notes`; US dollars."""

    def to_dict(self) -> CostJson:
        """What `plan cost --json` prints."""
        from planner.report.cost_json import cost_json

        return cost_json(self)


def cost(
    *,
    model: File,
    gpu: str,
    count: int | None = None,
    engine: str | None = None,
    context: int | str | None = None,
    input: int = 2000,  # noqa: A002 - as the option is called
    output_tokens: int = 500,
    concurrency: int | None = None,
    rate: float | None = None,
    documents: int | None = None,
    rent_usd_per_hour: float | None = None,
    buy_usd: float | None = None,
    years: float = 3.0,
    utilization: float = 1.0,
    usd_per_kwh: float | None = None,
    watts: float | None = None,
    idle_watts: float = 0.0,
    prices: File | None = None,
    api: str = "",
    host: Host = "server",
    vllm_version: str | None = None,
    link_gb_per_s: float | None = None,
    power_limit_w: float | None = None,
    gpus: File | None = None,
    models: File | None = None,
    **pins: Unpack[CapacityPins],
) -> CostAnswer:
    """What a million prompt and output tokens cost with so many requests at once, or at a `rate` a second, and at full load: rented, bought, by an API.

    Money is in US dollars, `rent_usd_per_hour` and `buy_usd` are of the whole machine; without them the catalogue's prices or those of a file
    (`prices`) are taken. `documents`: the hours and the money for so many requests. `api` names one (provider:model). Raises PlannerError where no
    price or no speed is known.
    """

    def amount(name: str, value: float | None, most: float, least: float = 1e-12) -> float | None:
        return None if value is None else within(name, value, least, most)

    terms = Terms(
        rent_usd_per_hour=amount("rent_usd_per_hour", rent_usd_per_hour, MOST_USD),
        buy_usd=amount("buy_usd", buy_usd, MOST_USD),
        years=within("years", years, 1e-12, 50),
        utilization=within("utilization", utilization, 1e-12, 1),
        usd_per_kwh=amount("usd_per_kwh", usd_per_kwh, 1000),
        watts=amount("watts", watts, MOST_WATTS),
        idle_watts=within("idle_watts", idle_watts, 0, MOST_WATTS),
        requests_per_s=amount("rate", rate, 1e6),
        documents=documents,
        prices=Path(prices) if prices else None,
        api=api,
    )
    with naming(gpu, count, gpus, models) as counted:
        machine = {
            "gpu": gpu,
            "count": counted,
            "host": host,
            "engine": engine,
            "vllm_version": release(vllm_version),
            "link_gb_per_s": link_gb_per_s,
            "power_limit_w": power_limit_w,
        }
        load = {"input": whole("input", input), "output_tokens": whole("output_tokens", output_tokens), "concurrency": concurrency}
        row = row_of("cost()", machine, {"model": str(model), "context": context, **load, **pins})
        return public(CostAnswer, costing.cost_of(row, terms))

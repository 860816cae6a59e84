"""What APIs ask: the same model by its name only, else a like one that is named as such, the cheapest of those who offer it."""

from datetime import date
from decimal import Decimal

import pytest
from genai_prices import data
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, Provider, StartDateConstraint, Tier, TieredPrices

from planner.catalogue.api_prices import api_price, plain_name
from planner.errors import PlannerError

TODAY = date(2026, 11, 28)


def model(name: str, prompt: str | TieredPrices = "1", output: str = "2", **more) -> ModelInfo:
    price = ModelPrice(input_mtok=Decimal(prompt) if isinstance(prompt, str) else prompt, output_mtok=Decimal(output))
    return ModelInfo(id=name, match=ClauseEquals(equals=name), **{"prices": price} | more)


@pytest.fixture
def offered(monkeypatch):
    def set_to(**by_provider: list[ModelInfo]) -> None:
        monkeypatch.setattr(data, "providers", [Provider(id=name, name=name, api_pattern=name, models=models) for name, models in by_provider.items()])

    return set_to


def ask(*names: str, named: str = "", prompt: int = 1000, output: int = 1000):
    return api_price(names, prompt, output, TODAY, named)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Qwen/Qwen3-32B-FP8", "qwen/qwen3-32b", True),
        ("cyankiwi/Qwen3-VL-32B-Instruct-AWQ-4bit", "Qwen/Qwen3-VL-32B-Instruct", True),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/llama-3.1-8b-instruct", True),
        ("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4", "nemotron-3-super-120b-a12b", True),
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B-Instruct-2507", False),
        ("Qwen/Qwen3-VL-32B-Instruct", "qwen/qwen3-32b", False),
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct-Turbo", False),
        ("google/gemma-3-27b-it", "google/gemma-3-27b", False),
    ],
)
def test_names_say_which_models_are_the_same(one, other, same):
    assert (plain_name(one) == plain_name(other)) is same


def test_the_cheapest_for_the_asked_tokens_is_taken(offered):
    offered(much=[model("qwen3-32b", "1", "1")], little=[model("Qwen/Qwen3-32B", "3", "0.5")])
    by_prompt, by_output = ask("Qwen/Qwen3-32B-FP8", output=1), ask("Qwen/Qwen3-32B-FP8", prompt=1)
    assert (by_prompt.provider, by_output.provider, by_prompt.offers) == ("much", "little", 2)
    assert (by_prompt.relation, by_prompt.usd_per_request(2_000_000, 1_000_000)) == ("same", 3.0)


def test_a_like_model_is_of_the_family_the_purpose_and_about_the_size(offered):
    offered(some=[model("qwen3-30b-a3b"), model("qwen2.5-vl-32b"), model("llama-30b"), model("qwen2.5-14b"), model("qwen2.5-32b"), model("qwen3.5-27b")])
    found = ask("Qwen/Qwen3.8-27B-FP8")
    assert (found.relation, found.model) == ("like", "qwen3.5-27b")
    assert "knows no price" in ask("Qwen/Qwen3-235B")
    assert "knows no price" in ask("somebody/unknown")


def test_batches_trials_and_what_is_gone_are_no_offers(offered):
    gone = model("qwen3-8b", deprecated=True)
    free = model("qwen3-8b:free")
    offered(some=[gone, free, model("qwen3-8b:batch"), model("qwen3-8b", "0", "0")])
    assert "knows no price" in ask("qwen3-8b")


def test_prices_are_of_today_and_of_the_prompts_length(offered):
    later = ConditionalPrice(constraint=StartDateConstraint(start_date=date(2027, 1, 1)), prices=ModelPrice(input_mtok=Decimal(9), output_mtok=Decimal(9)))
    now = ConditionalPrice(constraint=StartDateConstraint(start_date=date(2026, 11, 1)), prices=ModelPrice(input_mtok=Decimal(3), output_mtok=Decimal(3)))
    before = ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1)))
    offered(some=[model("a-7b", prices=[before, now, later]), model("b-7b", TieredPrices(base=Decimal(1), tiers=[Tier(start=500, price=Decimal(4))]))])
    assert (ask("a-7b").usd_per_million_prompt_tokens, ask("a-7b").date) == (3.0, "2026-11-01")
    assert [ask("b-7b", prompt=tokens).usd_per_million_prompt_tokens for tokens in (500, 501)] == [1.0, 4.0]


def test_an_api_can_be_named(offered):
    offered(some=[model("x/y")])
    assert ask("qwen3-8b", named="some:x/y").relation == "named"
    for wrong in ("some:x/z", "nobody:x/y", "some", ":"):
        with pytest.raises(PlannerError, match="--api"):
            ask("qwen3-8b", named=wrong)


def test_the_installed_data_has_models_that_people_serve():
    assert ask("openai/gpt-oss-120b").relation == "same"

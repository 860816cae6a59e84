"""An architecture whose weights were never compared with vLLM's class is answered, and its weights are not called exact."""

import json
from pathlib import Path

import pytest

import planner
from planner.architecture import families
from planner.architecture.families import FAMILIES, UNJUDGED
from planner.facts.plan import How

LLAMA = json.loads((Path(__file__).parent.parent / "data" / "configs" / "meta-llama--Llama-3.2-1B-Instruct.json").read_text())


def test_every_name_is_an_architecture() -> None:
    assert set(FAMILIES) >= UNJUDGED


@pytest.mark.parametrize(("architecture", "judged"), [("LlamaForCausalLM", True), ("TeleFLMForCausalLM", False), ("TeleFLMForSequenceClassification", False)])
def test_weights_that_were_not_compared_are_derived(architecture: str, judged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "UNJUDGED", frozenset({"TeleFLMForCausalLM"}))
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"architectures": [architecture]}))
    answer = planner.plan(model=str(tmp_path), gpu="h100")
    line = next(line for plan in answer.plans for line in plan.lines if line.key == "weights")
    assert line.how is (How.EXACT if judged else How.DERIVED)

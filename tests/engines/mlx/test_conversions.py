"""What is an MLX conversion, by its name and by what mlx_lm.convert wrote into its config.json, and what is not."""

import json
import shlex

import pytest
from conftest import ROOT

from benchmarks.runtimes import model
from planner.engines.mlx.memory import read_format, read_name, read_quantization, weights_bytes
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.facts.verdict import Verdict
from planner.questions.check import check, find_server, group_for
from planner.questions.plan import answer_for

MAC = "m4-max-64gb"
DENSE = json.loads((ROOT / "tests/data/configs/Qwen--Qwen3-0.6B.json").read_text())
AFFINE = {"bits": 4, "group_size": 64}
EIGHT = {"bits": 8, "group_size": 64}


def planned(model, **wish):
    return answer_for(StackRow(gpu=MAC, engine="mlx", services=[ServiceRow(model=str(model), **wish)])).plans[0]


def checked(words):
    command = find_server(words)
    return check(command, group_for(command, MAC, 1, "server"))


@pytest.mark.parametrize("name", ["RedHatAI/Qwen3-8B-NVFP4", "nvidia/Qwen3-32B-NVFP4", "amd/Qwen3-8B-MXFP4", "somebody/Qwen3-8B-4bit"])
def test_weights_of_another_engine_s_are_no_conversion(name):
    """compressed-tensors, ModelOpt and Quark end their names as MLX does; it promised to serve them."""
    assert read_name(name) is None


@pytest.mark.parametrize(
    "name", ["mlx-community/Qwen3-8B-nvfp4", "lmstudio-community/Qwen3-8B-MLX-4bit", "somebody/Qwen3-8B-MLX-4bit", "mlx-people/Qwen3-8B-4bit"]
)
def test_a_conversion_says_mlx(name):
    assert read_name(name).base == "Qwen3-8B"


@pytest.mark.parametrize("name", ["RedHatAI/Qwen3-8B-NVFP4", "nvidia/Qwen3-32B-NVFP4", "qwen3-32b-nvfp4"])
def test_a_row_of_another_engine_s_is_planned_as_a_conversion_of_its_base(name):
    plan = planned(name)
    assert plan.model.id in {"mlx-community/Qwen3-8B-8bit", "mlx-community/Qwen3-32B-8bit"}


@pytest.mark.parametrize("ending", ["4bit-DWQ", "4bit-AWQ", "4bit-AutoQuant", "4bit"])
def test_a_plan_of_a_conversion_says_what_check_says_of_its_command(ending):
    plan = planned(f"mlx-community/Qwen3-8B-{ending}")
    again = checked(shlex.join(plan.service.argv))
    assert plan.verdict == again.verdict == (Verdict.STARTS if ending == "4bit" else Verdict.UNKNOWN)
    assert plan.not_covered == again.not_covered


@pytest.mark.parametrize(
    ("said", "form", "others"),
    [
        ({"bits": 4}, "4bit", 0),
        ({**AFFINE, "mode": "affine"}, "4bit", 0),
        ({"bits": 4, "group_size": 32, "mode": "mxfp4"}, "mxfp4", 0),
        ({"bits": 4, "group_size": 16, "mode": "nvfp4"}, "nvfp4", 0),
        ({**AFFINE, "model.layers.0.mlp.gate": EIGHT, "model.layers.1.mlp.shared_expert_gate": EIGHT, "model.layers.1.router.proj": EIGHT}, "4bit", 0),
        ({**AFFINE, "model.layers.0.mlp.gate_proj": EIGHT}, "4bit", 1),
        ({**AFFINE, "model.layers.0.mlp.down_proj": {"bits": 6, "group_size": 64}, "lm_head": False}, "4bit", 2),
        ({**AFFINE, "model.layers.0.mlp.down_proj": AFFINE}, "4bit", 0),
        (
            {"bits": 4, "group_size": 32, "mode": "mxfp4", "model.embed_tokens": EIGHT, "model.layers.0.self_attn.q_proj": EIGHT, "lm_head": EIGHT},
            "mxfp4-q8",
            0,
        ),
    ],
)
def test_what_mlx_lm_wrote_into_a_config_is_read(said, form, others):
    read, count = read_quantization(said)
    assert (read, count) == (read_format(form), others)


@pytest.mark.parametrize(
    "said",
    [{"bits": 9, "group_size": 64}, {"bits": "4", "group_size": "x"}, {"bits": 4, "group_size": 64, "mode": "mxfp4"}, {**AFFINE, "lm_head": {"bits": 9}}],
)
def test_a_format_that_mlx_does_not_have_is_refused(said):
    with pytest.raises(PlannerError, match="MLX"):
        read_quantization(said)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [({"bits": 4, "group_size": 32, "mode": "mxfp4"}, Verdict.STARTS), ({**AFFINE, "model.layers.0.mlp.down_proj": EIGHT}, Verdict.UNKNOWN)],
)
def test_a_folder_is_planned_and_checked_as_its_config_says(tmp_path, said, verdict):
    """MXFP4 was counted as 4 bits with a scale and a bias, a layer of 8 bits as one of 4, exactly."""
    (tmp_path / "config.json").write_text(json.dumps(DENSE | {"quantization": said}))
    plan = planned(tmp_path)
    again = checked(f"mlx_lm.server --model {tmp_path} --decode-concurrency 1 --prompt-concurrency 1")
    assert plan.verdict == again.verdict == verdict
    if verdict is Verdict.STARTS:
        assert plan.memory["weights_bytes"] == weights_bytes(model("Qwen--Qwen3-0.6B"), read_format("mxfp4"))


def test_a_conversion_is_refused_on_a_gpu_in_one_clear_line():
    with pytest.raises(PlannerError, match="is a conversion for MLX") as refused:
        answer_for(StackRow(gpu="rtx4090", services=[ServiceRow(model="mlx-community/Qwen3-8B-4bit")]))
    assert "--model qwen3-8b" in refused.value.hint


def test_a_default_format_has_a_context_of_use():
    """6 bits left 2,048 tokens where 4 bits have 36,864, and are slower."""
    plan = answer_for(StackRow(gpu="m4-max-36gb", engine="mlx", services=[ServiceRow(model="qwen3-30b-a3b")])).plans[0]
    assert (plan.model.quantization, plan.context) == ("4bit", 36_864)


@pytest.mark.parametrize("ending", ["Q4", "Q8"])
def test_experts_that_are_published_in_mxfp4_are_offered_in_no_other_form(ending):
    plan = planned(f"mlx-community/gpt-oss-20b-MXFP4-{ending}")
    assert plan.model.quantization == f"mxfp4-{ending.lower()}"
    small = answer_for(StackRow(gpu="m4-16gb", engine="mlx", services=[ServiceRow(model="gpt-oss-20b")])).plans[0]
    assert not [each for each in small.alternatives if "bit weights" in each.change]

"""Checkpoints of other engines' quantizers on a Mac: loaded as mlx-lm's loader does it, refused where it does not, never planned as 16 bits."""

import json
import subprocess
from dataclasses import replace

import pytest
from conftest import ROOT
from judges import judge_venv

from planner.catalogue.resolve import find_plain
from planner.engines.mlx.foreign import read_foreign
from planner.engines.mlx.memory import kv_bytes, read_format, state_bits, stored
from planner.engines.mlx.prefill import Prompts, peak
from planner.errors import PlannerError
from planner.facts.plan import How, Plan
from planner.facts.question import ServiceRow, StackRow
from planner.facts.verdict import Verdict
from planner.questions.check import check, find_server, group_for
from planner.questions.plan import answer_for

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e4,
    "tie_word_embeddings": False,
}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}


def folder_of(tmp_path, quantization):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"quantization_config": quantization}))
    return tmp_path


def checked(text: str, mac: str = "m4-24gb") -> Plan:
    command = find_server(text)
    return check(command, group_for(command, mac, 1, "server"))


def served(folder, program: str = "mlx_lm.server") -> Plan:
    return checked(f"{program} --model {folder} --decode-concurrency 1 --prompt-concurrency 1" if program == "mlx_lm.server" else f"{program} --model {folder}")


def test_awq_is_held_in_4_bits_and_what_it_leaves_in_16(tmp_path):
    """mlx-lm repacks it: 4 bits, and a scale and a bias of 16 for each group; embedding and head stay."""
    plan = served(folder_of(tmp_path, AWQ))
    quantized = 2 * (256 * (256 + 2 * 128) + 256 * 256 + 3 * 256 * 512)
    norms = 2 * (2 * 256 + 2 * 64) + 256
    assert plan.memory["weights_bytes"] == quantized * 4 // 8 + quantized // 128 * 4 + (2 * 1024 * 256 + norms) * 2
    assert plan.verdict is Verdict.STARTS
    assert served(folder_of(tmp_path, AWQ | {"group_size": 128.0})).memory == plan.memory
    again = answer_for(StackRow(gpu="m4-24gb", engine="mlx", services=[ServiceRow(model=str(tmp_path))])).plans[0]
    assert again.memory["weights_bytes"] == plan.memory["weights_bytes"]


@pytest.mark.judge
@pytest.mark.slow
def test_awq_has_mlx_lm_s_own_bytes(tmp_path):
    folder = folder_of(tmp_path, AWQ)
    script = [judge_venv("mlx") / "bin" / "python", ROOT / "tests" / "oracle" / "mlx_awq.py", folder]
    done = subprocess.run(script, text=True, capture_output=True, timeout=120, check=False)
    assert done.stdout.split() == ["bytes", str(served(folder).memory["weights_bytes"])], done.stderr[-1000:]
    refused = subprocess.run([*script, "model.layers.0.self_attn.q_proj.g_idx"], text=True, capture_output=True, timeout=120, check=False)
    assert "g_idx" in refused.stderr


@pytest.mark.parametrize(
    ("said", "program", "word"),
    [
        ({**AWQ, "quant_method": "gptq"}, "mlx_lm.server", "g_idx"),
        (AWQ, "mlx_vlm.server", "does not load AWQ"),
    ],
)
def test_what_no_loader_takes_is_refused(tmp_path, said, program, word):
    """They were planned as 16 bits, exactly."""
    plan = served(folder_of(tmp_path, said), program)
    assert plan.verdict is Verdict.DOES_NOT_START
    assert word in plan.problems[0].message
    if program == "mlx_lm.server":
        with pytest.raises(PlannerError, match=word):
            answer_for(StackRow(gpu="m4-24gb", engine="mlx", services=[ServiceRow(model=str(tmp_path))]))


def test_what_a_quantization_config_is_for_mlx_lm():
    assert "AWQ of 4 bits" in read_foreign({**AWQ, "bits": 8}, "mlx-lm").refusal
    assert "does not load BITSANDBYTES" in read_foreign({"quant_method": "bitsandbytes"}, "mlx-lm").refusal
    assert "without a name" in read_foreign({"bits": 4}, "mlx-vlm").refusal
    beside, experts = (read_foreign({**AWQ, "modules_to_not_convert": names}, "mlx-lm") for names in (["lm_head", "mlp.gate"], ["visual"]))
    assert (beside.missing, [part.effect for part in experts.missing]) == ((), ["adds"])


def test_what_is_read_in_a_way_of_its_own_is_unknown(tmp_path):
    plan = served(folder_of(tmp_path, {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}))
    assert plan.verdict is Verdict.UNKNOWN
    (weights,) = (line for line in plan.lines if line.key == "weights")
    assert weights.how is not How.EXACT  # "bf16, exact" stood beside "cannot be said"


def test_diffusion_gemma_has_matrices_of_8_bits_and_a_canvas():
    """The repository of 10 June 2026 is 15.6 GB in 4 bits; since 27 June attention and the embedding have 8 bits too."""
    spec = find_plain("diffusiongemma-26b-a4b").spec
    held = stored(spec, read_format("4bit"))
    assert held.usual == held.low == pytest.approx(15.6e9, rel=3e-3)
    attention = sum(len(group.indices) * 2816 * width for group, width in zip(spec.layers, (4096 * 2 + 2 * 2048, 8192 * 2 + 1024), strict=True))
    assert held.high - held.usual == (attention + 262_144 * 2816) // 2
    assert peak(spec, Prompts(tokens=29)).usual == 256 * 262_144 * 14
    assert peak(replace(spec, architecture="Gemma4ForConditionalGeneration"), Prompts(tokens=29)).usual < 60e6


def test_mlx_lm_has_no_class_for_diffusion():
    commands = ("mlx_lm.server --model mlx-community/diffusiongemma-26B-A4B-it-4bit", "mlx_vlm.server --model mlx-community/diffusiongemma-26B-A4B-it-4bit")
    text, vision = (checked(command, "m4-max-64gb") for command in commands)
    assert text.verdict is Verdict.DOES_NOT_START
    assert "no class for a diffusion model" in text.problems[0].message
    assert vision.verdict is Verdict.STARTS
    four = answer_for(StackRow(gpu="m4-max-64gb", engine="mlx", services=[ServiceRow(model="diffusiongemma-26b-a4b", users=4)])).plans[0]
    assert (four.users, four.requirements_met) == (1, False)


def test_states_of_the_delta_rule_had_16_bits_before_mlx_lm_0_31_2():
    spec = find_plain("qwen3-coder-next").spec
    assert (state_bits("0.31.1"), state_bits("0.31.2"), state_bits("0.32.2")) == (16, 32, 32)
    assert kv_bytes(spec, 528) - kv_bytes(spec, 528, state=state_bits("0.31.1")) == 36 * 32 * 128 * 128 * 2


def test_a_speech_model_has_no_class_in_either():
    """whisper-large-v3 was planned as an mlx_vlm.server that starts."""
    with pytest.raises(PlannerError, match="neither mlx-lm") as refused:
        answer_for(StackRow(gpu="m4-max-64gb", engine="mlx", services=[ServiceRow(model="whisper-large-v3")]))
    assert "--stt-model" in refused.value.hint
    plan = checked("mlx_vlm.server --model mlx-community/whisper-large-v3-8bit")
    assert (plan.verdict, plan.problems[0].code) == (Verdict.DOES_NOT_START, "unsupported")


@pytest.mark.parametrize(("name", "tokens"), [("Qwen2.5-7B-Instruct-1M", 1_010_000), ("c4ai-command-r-v01", 131_072)])
def test_names_that_people_ask_for_are_known_offline(name, tokens):
    assert find_plain(name).spec.max_position_embeddings == tokens

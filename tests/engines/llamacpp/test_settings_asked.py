"""What a plan fixes of llama-server by its own flags: where tensors lie, what drafts, how large images are; each is in its ledger and its command."""

import pytest

from planner.engines import ENGINES
from planner.engines.llamacpp.pins import NAMES
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.facts.verdict import Verdict
from planner.questions.check import check, find_server, group_for
from planner.questions.fields import OF_SOME
from planner.questions.plan import answer_for
from planner.report.lead import figures
from planner.units import GIB, MIB


def planned(model="qwen3-30b-a3b", gpu="rtx3090", **wish):
    machine = {name: wish.pop(name) for name in ("ram", "count") if name in wish}
    return answer_for(StackRow(gpu=gpu, engine="llama.cpp", services=[ServiceRow(model=model, **{"context": 8192} | wish)], **machine)).main


def lines(plan):
    return {line.key: line.bytes for line in plan.lines}


def test_there_is_one_table_of_them():
    assert {setting.name for setting in OF_SOME} == set(NAMES) <= set(ENGINES["llama.cpp"].own_settings)


@pytest.mark.parametrize(
    ("wish", "words", "moved"),
    [
        ({"n_cpu_moe": 10}, "--n-gpu-layers all --n-cpu-moe 10", 10),
        ({"cpu_moe": True}, "--n-gpu-layers all --cpu-moe", 48),
        ({"override_tensor": "exps=CPU"}, "--override-tensor exps=CPU", 48),
        ({"override_tensor": r"blk\.1.\.ffn_.*_exps=CPU"}, r"--override-tensor blk\.1.\.ffn_.*_exps=CPU", 10),
    ],
)
def test_experts_lie_where_they_are_put(wish, words, moved):
    plan, whole = planned(**wish, ram="64GiB"), planned()
    assert words in " ".join(plan.service.argv)
    assert (plan.verdict, dict(plan.settings)["n_cpu_moe"]) == (Verdict.STARTS, moved)
    assert lines(plan)["weights"] < lines(whole)["weights"]
    assert plan.host_bytes - whole.host_bytes == lines(whole)["weights"] - lines(plan)["weights"]


def test_shares_and_one_of_several_cards():
    thirds = planned("qwen3-32b", "rtx3090,rtx4090", tensor_split="2,1")
    assert lines(thirds)["weights"] > 1.9 * lines(planned("qwen3-32b", "rtx3090,rtx4090", tensor_split="1,2"))["weights"] * 0.5
    second = planned("qwen3-14b", "rtx3090,rtx4090", split_mode="none", main_gpu=1)
    assert second.where.endswith("on 1x GeForce RTX 4090 with llama.cpp b10488")
    assert second.service.gpus == (0, 1)
    assert planned("qwen3-14b", count=2, split_mode="row").verdict is Verdict.UNKNOWN
    assert planned("qwen3-14b", split_mode="row").verdict is Verdict.STARTS
    assert planned("qwen3-14b", count=2, split_mode="tensor").verdict is Verdict.STARTS


def test_an_image_takes_what_its_tokens_take():
    usual, large, small = (lines(planned("qwen3-vl-8b", **wish))["mmproj_compute"] for wish in ({}, {"image_max_tokens": 8464}, {"image_max_tokens": 529}))
    assert (large, small) == (4 * usual, usual // 4)
    assert lines(planned("qwen3-vl-8b", image_min_tokens=4232))["mmproj_compute"] == 2 * usual
    assert lines(planned("qwen3-vl-8b", image_min_tokens=64))["mmproj_compute"] == usual
    fixed = [lines(planned("gemma-3-27b", **wish))["mmproj_compute"] for wish in ({}, {"image_max_tokens": 8464})]
    assert fixed[0] == fixed[1]  # its projector has one size


def test_a_draft_model_and_layers_that_predict():
    plan = planned("qwen3-32b", "rtx4090", model_draft="qwen3-0.6b:Q8_0", cache_type_k_draft="q8_0", cache_type_v_draft="q8_0")
    argv = " ".join(plan.service.argv)
    assert "--hf-repo-draft" in argv
    assert argv.count("q8_0") == 2
    assert lines(plan)["draft_kv_cache"] == 8192 * 28 * 2 * 1024 * 34 // 32
    head = planned("qwen3.6-27b", "rtx5090", spec_type="draft-mtp")
    assert lines(head)["draft_kv_cache"] == 8192 * 2 * 4 * 256 * 2
    assert lines(head)["kv_cache"] - 8192 * 16 * 2 * 4 * 256 * 2 == pytest.approx(4 * 149.62 * MIB, rel=0.001)
    assert any(warning.code == "mtp-file" for warning in head.warnings)
    assert 0.2 * GIB < lines(head)["draft_weights"] < 0.4 * GIB


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"tensor_split": "a,b"}, "no shares of GPUs"),
        ({"tensor_split": "0,0"}, "no shares of GPUs"),
        ({"override_tensor": "attn=CPU"}, "only parts of feed-forward blocks"),
        ({"override_tensor": "exps=CUDA1"}, "only parts of feed-forward blocks"),
        ({"override_tensor": "exps"}, "only parts of feed-forward blocks"),
        ({"override_tensor": "(=CPU"}, "only parts of feed-forward blocks"),
        ({"cache_type_k_draft": "fp8"}, "no KV cache type"),
        ({"image_min_tokens": 9, "image_max_tokens": 8}, "is above"),
        ({"model_draft": "nowhere.gguf"}, "does not exist"),
        ({"model_draft": "qwen3-0.6b:Q2_K"}, "nobody is known to publish"),
        ({"model_draft": "qwen3-9000"}, "qwen3-9000"),
    ],
)
def test_what_cannot_be_is_one_line(wish, words):
    with pytest.raises(PlannerError, match=words):
        planned(**wish)


def test_slots_that_share_a_cache_are_one_user_at_full_length():
    shared = answer_for(StackRow(gpu="rtx3090", engine="llama.cpp", services=[ServiceRow(model="qwen3-8b", context=32768, parallel="auto")])).main
    apart = answer_for(StackRow(gpu="rtx3090", engine="llama.cpp", services=[ServiceRow(model="qwen3-8b", context=8192, users=4)])).main
    assert [(figure.value, figure.label, figure.note) for figure in figures(shared)][1] == ("1", "user at full length", "4 at once share it: 8,192 each")
    assert figures(apart)[1].value == "4"


def test_a_chip_with_the_machines_memory_gets_a_context_that_all_of_it_holds():
    """Token embeddings lie in the same memory: a context for the GPU alone left too little for them."""
    plan = answer_for(StackRow(gpu="jetson-orin-nano", engine="llama.cpp", services=[ServiceRow(model="gemma-4-e4b", quantization="Q4_K_M")])).main
    assert plan.verdict == "starts"


@pytest.mark.slow
def test_a_chip_that_is_a_machine_is_not_offered_eight_times():
    longer = answer_for(StackRow(gpu="jetson-orin-nano", engine="llama.cpp", services=[ServiceRow(model="gemma-4-e4b", context=131072)])).main
    assert longer.verdict.falls_short
    assert longer.alternatives
    assert not any("GPUs" in change.change for change in longer.alternatives)


@pytest.mark.parametrize(("words", "is_used"), [("", True), (" --no-op-offload", False), (" --device none", False)])
def test_no_layers_on_the_gpu_still_take_a_buffer_there(words, is_used):
    command = find_server(f"llama-server -m qwen3-8b-Q4_K_M.gguf -ngl 0 -c 32768 -np 1{words}")
    plan = check(command, group_for(command, "rtx3060", 1, "server"))
    assert (lines(plan)["compute"] > 200 * MIB) is is_used
    assert lines(plan)["weights"] == lines(plan)["kv_cache"] == 0

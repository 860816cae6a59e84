"""Where layers, experts and caches lie, as people reported it (field_local.yaml, by its numbers) and as llama.cpp's own fit decides."""

import json
import shlex
from dataclasses import replace
from functools import cache

import pytest
from conftest import gpu, run_plan

from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp import ollama, ollama_own
from planner.engines.llamacpp.ask import GgufAsk
from planner.engines.llamacpp.fit import Room, fits_whole, fitted, fitted_context
from planner.engines.llamacpp.layers import MAIN_MEMORY
from planner.engines.llamacpp.ledger import ledger, ledger_of
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.placement import divided_over
from planner.engines.llamacpp.plan import plan_gguf
from planner.facts.hardware import GpuGroup
from planner.facts.question import ServiceRow, StackRow
from planner.facts.speed import SpeedEstimate
from planner.facts.verdict import Grade, Verdict
from planner.questions.check import check, find_server, group_for
from planner.questions.plan import plan_as_asked
from planner.units import GIB, MIB

OLD = 8390  # a build of spring 2026 or before, as those of the reports


@cache
def file(name: str, mix: str):
    return converted(find_plain(name).spec, mix)


def room(*free_mib: int) -> Room:
    return Room(tuple(size * MIB for size in free_mib), (1024 * MIB,) * len(free_mib))


def fit(name: str, mix: str, context: int, *free_mib: int):
    config = LlamaCppConfig(context=context, vision=False)
    model = file(name, mix)
    assert not fits_whole(model, config, room(*free_mib))
    return ledger_of(model, replace(config, placement=fitted(model, config, room(*free_mib))), room(*free_mib).free_bytes)


def asked(name: str, card: str, *, count: int = 1, mix: str = "Q4_K_M", ram: int = 0, **wish) -> GgufAsk:
    spec = find_plain(name).spec
    group = GpuGroup(gpu=gpu(card), count=count, ram_bytes=ram)
    is_ollama = wish.pop("is_ollama", False)
    return GgufAsk(model=converted(spec, mix), group=group, is_ollama=is_ollama, served_name=name, source=f"{name}-{mix}.gguf", origin=spec, **wish)


def test_l02_a_context_that_nobody_said_is_a_line_between_the_least_and_the_models():
    model = file("qwen3-30b-a3b", "Q4_K_M")
    config = LlamaCppConfig(context=40_960, vision=False, build=OLD)
    context = fitted_context(model, config, room(20_230), 4096)
    assert context == 14_592
    held = ledger_of(model, replace(config, context=context), room(20_230).free_bytes)
    assert held.is_whole
    assert round(held.fullest.weights_bytes / MIB) == 17_524
    assert held.fullest.kv_cache_bytes == 1368 * MIB


def test_l03_a_dense_model_does_not_fit_20_gb_whole():
    assert not fits_whole(file("qwen3-32b", "Q4_K_M"), LlamaCppConfig(context=4096, vision=False), room(20_000))


def test_l04_layers_have_their_real_sizes():
    model = file("qwen2.5-72b", "Q4_K_M")
    assert round(sum(model.layer_bytes[-29:]) / MIB, 1) == 16_013.6
    assert round((model.file_bytes - sum(model.layer_bytes[-29:])) / MIB) == pytest.approx(29_199.6, abs=1)
    held = ledger(model, LlamaCppConfig(context=4096, gpu_layers=30), GpuGroup(gpu=gpu("rtx4090"), count=1))  # today the output is one of them
    assert held.fullest.kv_cache_bytes == 464 * MIB
    assert held.fullest.weights_bytes == sum(model.layer_bytes[-29:]) + model.output_bytes
    assert held.host.kv_cache_bytes == (1280 - 464) * MIB


@pytest.mark.parametrize(
    ("name", "mix", "context", "free_mib", "kv_mib"),
    [
        ("qwen3-coder-next", "IQ3_XXS", 4096, 28_000, 171.4),  # L20, of one slot: its 397 MiB are of four
        ("qwen3.6-35b-a3b", "Q4_K_M", 65_536, 15_566, 1280 + 62.8),  # L21
        ("qwen3.6-35b-a3b", "IQ4_XS", 32_768, 10_963, 702.8),  # L22
        ("gpt-oss-120b", "MXFP4_MOE", 65_536, 15_566, 2331),
        ("gpt-oss-120b", "MXFP4_MOE", 65_536, 23_600, 2331),
    ],
)
def test_experts_leave_first_and_layers_and_cache_stay(name, mix, context, free_mib, kv_mib):
    held = fit(name, mix, context, free_mib)
    assert held.layers_on_gpu == held.layers + 1
    assert held.host.kv_cache_bytes == 0
    assert held.fullest.kv_cache_bytes / MIB == pytest.approx(kv_mib, abs=1)
    assert 0 < held.placement.divided < held.layers
    assert free_mib - 1024 - 400 <= held.fullest.total_bytes / MIB <= free_mib - 1024  # a part of one more layer fills what whole ones leave


def test_l21_what_is_used_is_what_the_margin_leaves():
    used = fit("qwen3.6-35b-a3b", "Q4_K_M", 65_536, 15_566).fullest.total_bytes / MIB
    assert 14_542 - 160 <= used <= 14_542  # what it reported; one bank of experts takes 144 MiB or more


def test_two_cards_first_full_layers_then_those_whose_experts_leave():
    held = fit("gpt-oss-120b", "MXFP4_MOE", 65_536, 23_600, 15_566)
    assert held.layers_on_gpu == held.layers + 1
    first, second = held.gpus
    assert first.layers < second.layers
    assert all(gpu.total_bytes <= size for gpu, size in zip(held.gpus, room(23_600, 15_566).targets, strict=True))


# Reports of Vulkan and ROCm builds, frozen before they were judged, MiB: the cache with the recurrent state.
@pytest.mark.parametrize(
    ("name", "kept", "config"),
    [
        ("qwen3.5-35b-a3b", 640 + 62.81, LlamaCppConfig(context=32_768, build=8700)),  # llama.cpp#21608
        ("qwen3.6-35b-a3b", 1280 + 188.44, LlamaCppConfig(context=65_536, ubatch=1088, snapshots=2, build=9250)),  # #23269: two earlier states beside each
        ("qwen2.5-coder-32b", 4352, LlamaCppConfig(context=32_768, kv_type="q8_0", build=4500)),  # #11337
    ],
)
def test_caches_are_the_same_on_every_backend(name, kept, config):
    (gpu,) = ledger_of(file(name, "Q4_K_M"), replace(config, vision=False), (400 * GIB,)).gpus
    assert gpu.kv_cache_bytes / MIB == pytest.approx(kept, abs=0.01)


def test_a_buffer_by_rocm_is_that_of_cuda():
    """llama.cpp#11337, frozen with the above: 307.00 MiB."""
    config = LlamaCppConfig(context=32_768, kv_type="q8_0", build=4500, vision=False)
    (gpu,) = ledger_of(file("qwen2.5-coder-32b", "Q4_K_M"), config, (400 * GIB,)).gpus
    assert gpu.compute_bytes / MIB == pytest.approx(307.0, abs=0.01)


def test_two_cards_by_vulkan_hold_the_caches_of_their_layers():
    """llama.cpp#15974: Qwen3-30B-A3B's shape at 256 tokens, 9 and 39 layers."""
    config = LlamaCppConfig(context=256, ubatch=128, vision=False, build=6500, tensor_split=(9, 40))
    first, second = ledger_of(file("qwen3-30b-a3b", "Q4_K_M"), config, (40 * GIB, 40 * GIB)).gpus
    assert (first.kv_cache_bytes / MIB, second.kv_cache_bytes / MIB) == (4.5, 19.5)


def test_a_split_is_by_what_is_free_and_counts_the_output():
    assert divided_over(65, 65, (1, 1)).count(0) == 33  # layers 0 to 32 lie before one half
    assert divided_over(66, 66, (15_839, 7804)).count(0) == 45  # seen on two cards: blocks 0 to 44 on the first
    assert divided_over(66, 66, (49, 15)).count(0) == 51  # and with --tensor-split 49,15: 0 to 50
    assert divided_over(37, 10, (1,)) == (MAIN_MEMORY,) * 27 + (0,) * 10


# L17: `ollama ps` in GB, on a card of 24 GB. The last but one is of a model of other sizes than today's tag.
@pytest.mark.parametrize(
    ("name", "mix", "context", "gigabytes", "percent"),
    [
        ("qwen3-coder-30b-a3b", "Q4_K_M", 16_384, 20, 0),
        ("qwen3-coder-30b-a3b", "Q4_K_M", 32_768, 22, 0),
        ("deepseek-r1-distill-qwen-32b", "Q4_K_M", 10_240, 22, 0),
        ("gpt-oss-20b", "MXFP4_BF16", 131_072, 17, 0),
        ("ministral-3-14b", "Q4_K_M", 65_536, 20, 0),
        ("qwen3-32b", "Q4_K_M", 32_768, 29, 22),
    ],
)
def test_l17_what_ollama_ps_shows(name, mix, context, gigabytes, percent):
    model, config = file(name, mix), LlamaCppConfig(context=context, vision=False, build=OLD)
    if not fits_whole(model, config, room(23_600)):
        config = replace(config, placement=fitted(model, config, room(23_600)))
    size, on_cpu = ollama.listed(ledger_of(model, config, room(23_600).free_bytes))
    assert size / 1e9 == pytest.approx(gigabytes, rel=0.06)
    assert on_cpu == pytest.approx(percent, abs=5)


@pytest.mark.parametrize("card", ["rtx5060ti-16gb", "rtx4090"])
@pytest.mark.parametrize(("name", "mix"), [("gpt-oss-120b", "MXFP4_MOE"), ("qwen3.6-35b-a3b", "Q4_K_M")])
def test_experts_in_main_memory_are_a_start_that_is_said(name, mix, card):
    plan = plan_gguf(asked(name, card, mix=mix, context=131_072 if card == "rtx4090" else 65_536, ram=64 * GIB))
    assert (plan.verdict, plan.requirements_met, plan.is_whole) == (Verdict.STARTS, True, True)
    assert dict(plan.settings)["kv_cache_type"] == "f16" or "n_cpu_moe" not in dict(plan.settings)
    if "n_cpu_moe" in dict(plan.settings):
        assert "--n-gpu-layers" not in plan.service.argv  # a number would switch the fit off
        assert plan.host_bytes > GIB
        assert any(warning.code == "experts-on-cpu" for warning in plan.warnings)
        assert not any(warning.code == "main-memory" for warning in plan.warnings)
        assert isinstance(plan.speed, SpeedEstimate)
        assert (plan.speed.grade, plan.speed.time_to_first_token_s) == (Grade.EXTRAPOLATED, None)
        assert "guess" in plan.speed.because


def test_main_memory_is_a_second_ledger():
    few = plan_gguf(asked("gpt-oss-120b", "rtx5060ti-16gb", mix="MXFP4_MOE", context=32_768, ram=32 * GIB))
    assert (few.verdict, few.requirements_met) == (Verdict.UNLIKELY, False)
    assert "main memory" in few.rejection.reason
    unsaid = plan_gguf(asked("gpt-oss-120b", "rtx5060ti-16gb", mix="MXFP4_MOE", context=32_768))
    assert any(warning.code == "main-memory" and "--ram" in warning.message for warning in unsaid.warnings)


@pytest.mark.parametrize(
    ("card", "left", "verdict"), [("rtx5060ti-16gb", 2 * GIB, "starts"), ("rtx5060ti-16gb", 2 * GIB - 1, "tight"), ("rtx5060ti-16gb", 0, "tight")]
)
def test_what_leaves_the_system_little_main_memory_is_no_sure_start(card, left, verdict):
    needed = plan_gguf(asked("gpt-oss-120b", card, mix="MXFP4_MOE", context=32_768)).host_bytes
    plan = plan_gguf(asked("gpt-oss-120b", card, mix="MXFP4_MOE", context=32_768, ram=needed + left))
    assert (plan.host_bytes, plan.verdict.value, plan.requirements_met) == (needed, verdict, True)
    assert any(warning.code == "main-memory-tight" and "a guess" in warning.message for warning in plan.warnings) == (verdict == "tight")


@pytest.mark.parametrize(("name", "verdict", "is_all"), [("gpt-oss-120b", Verdict.TIGHT, False), ("gpt-oss-20b", Verdict.STARTS, True)])
def test_of_one_memory_for_all_the_system_needs_some_too(name, verdict, is_all):
    service = ServiceRow(model=name, context=32_768)  # 60.8 of 64 GiB with the experts that Metal does not take
    plan = plan_as_asked(StackRow(gpu="m4-max-64gb", engine="llama.cpp", services=[service]))
    assert (plan.verdict, plan.is_all_on_gpus) == (verdict, is_all)


def test_an_8_bit_cache_is_not_taken_where_it_does_not_make_all_fit():
    plan = plan_gguf(asked("llama-3.3-70b", "rtx4090", context=16_384))
    assert dict(plan.settings)["kv_cache_type"] == "f16"
    assert plan.speed.reads_main_memory  # the layers on the CPU too, at a guessed speed
    assert "a guess" in plan.speed.because
    assert "exit code 1" in plan.binds
    assert "--gpu-layers" in plan.binds


@pytest.mark.parametrize(
    ("flags", "divided", "layers"),
    [
        ("--n-cpu-moe 24", 24, 49),
        ("--cpu-moe", 48, 49),
        (r"-ot 'blk\.(1[0-9])\.ffn_.*_exps.=CPU'", 10, 49),
        ("-ot exps=CPU", 48, 49),
        ("-ngl 20 --n-cpu-moe 40", 11, 20),
        ("", 24, 49),
    ],
)
def test_a_commands_flags_place_experts(flags, divided, layers):
    text = f"llama-server -m Qwen3-30B-A3B-Q8_0.gguf -c 32768 -np 1 {flags} " + ("" if "-ngl" in flags or not flags else "-ngl 99")
    server = find_server(text)
    plan = check(server, group_for(server, "rtx4090", 1, "server"))
    assert not plan.not_covered
    assert dict(plan.settings)["gpu_layers"] == layers
    assert dict(plan.settings)["n_cpu_moe"] == pytest.approx(divided, abs=0 if flags else 6)


def test_shares_and_the_main_card_are_read():
    def plan(flags: str, count: int = 2):
        server = find_server(f"llama-server -m Qwen3-14B-Q4_K_M.gguf -c 8192 -np 1 {flags}")
        return check(server, group_for(server, "rtx3090", count, "server"))

    assert plan("--tensor-split 3,1 -ngl 99").memory["weights_bytes"] > plan("--tensor-split 1,1 -ngl 99").memory["weights_bytes"]
    assert plan("--split-mode none --main-gpu 1").memory["weights_bytes"] == plan("", count=1).memory["weights_bytes"]


def test_tensors_in_parts_lie_on_all_gpus_with_a_buffer_of_each():
    """--split-mode tensor: 26 GB of Qwen3.5 in Q6_K took about 7.1 GB of each of four MI100, three GPUs' states are thirds; the buffer is that of one GPU."""

    def plan(flags: str, count: int, file: str = "Qwen3.6-27B-Q6_K.gguf"):
        server = find_server(f"llama-server -m {file} -c 16384 -np 1 -fa on {flags}")
        return check(server, group_for(server, "rtx5090", count, "server"))

    whole, parts = plan("-ngl 99", 1), plan("-sm tensor -ngl 99", 4)
    assert (parts.verdict, parts.not_covered) == (Verdict.STARTS, ())
    assert parts.memory["weights_bytes"] == pytest.approx(whole.memory["weights_bytes"] / 4, rel=0.003)
    assert parts.memory["kv_cache_bytes"] == pytest.approx(whole.memory["kv_cache_bytes"] / 4, rel=1e-6)
    compute, alone = (next(line.bytes for line in answer.lines if line.key == "compute") for answer in (parts, whole))
    assert compute == alone
    shares = plan("-sm tensor -ts 3,1", 2)
    assert shares.memory["weights_bytes"] == pytest.approx(whole.memory["weights_bytes"] * 3 / 4, rel=0.003)


@pytest.mark.parametrize(
    ("flags", "file"),
    [
        ("-sm row", "Qwen3-14B-Q4_K_M.gguf"),
        ("-sm tensor --n-cpu-moe 10", "Qwen3-30B-A3B-Q4_K_M.gguf"),
        ("-sm tensor -ngl 20", "Qwen3-14B-Q4_K_M.gguf"),
        ("-sm tensor -fa off", "Qwen3-14B-Q4_K_M.gguf"),
        ("-sm tensor", "DeepSeek-V2-Lite-Chat-Q4_K_M.gguf"),
    ],
)
def test_what_the_ledger_does_not_follow_of_parts_is_not_judged(flags, file):
    server = find_server(f"llama-server -m {file} -c 8192 -np 1 {flags}")
    assert check(server, group_for(server, "rtx3090", 2, "server")).verdict is Verdict.UNKNOWN


def test_nothing_is_fitted_where_tensors_lie_in_parts():
    server = find_server("llama-server -m Qwen3-32B-Q8_0.gguf -np 1 -sm tensor")
    plan = check(server, group_for(server, "rtx5060ti", 2, "server"))
    assert (plan.verdict, plan.context) == (Verdict.DOES_NOT_START, 40_960)
    server = find_server("llama-server -m Qwen3-32B-Q8_0.gguf -np 1")
    assert check(server, group_for(server, "rtx5060ti", 2, "server")).verdict is Verdict.STARTS


def test_the_emitted_command_is_found_again(tmp_path):
    words = ("--gpu", "rtx5060ti-16gb", "--engine", "llama.cpp", "--model", "qwen3.6-35b-a3b", "--quantization", "Q4_K_M", "--context", "64k", "--ram", "64GiB")
    done = run_plan(*words, "--format", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"]) == (0, "starts"), done.stderr
    argv = answer["commands"][-1]["argv"]
    server = find_server(shlex.join(argv))
    checked = check(server, group_for(server, "rtx5060ti-16gb", 1, "server"))
    assert dict(checked.settings) == answer["settings"]
    assert checked.verdict is Verdict.STARTS


def earlier(name, mix, free_mib):
    """A model as Ollama before 0.30 placed it at 32,768 tokens."""
    model = file(name, mix)
    config = ollama_own.placed_whole(
        model, ollama_own.earlier(model, LlamaCppConfig(context=32_768, vision=False), "0.20.1", asks_for_flash=False), free_mib * MIB
    )
    return ledger_of(model, config, (free_mib * MIB,))


def test_l18_ollama_itself_moved_whole_layers_and_the_output_first():
    held = earlier("qwen3-30b-a3b", "Q8_0", 22_060)  # an A10 of 24 GB
    gpu, host = held.fullest, held.host
    assert held.layers_on_gpu == 30
    assert [round(size / GIB, 1) for size in (gpu.weights_bytes, host.weights_bytes, gpu.kv_cache_bytes, host.kv_cache_bytes)] == [18.5, 11.7, 1.9, 1.1]
    assert 0.55 * gpu.compute_bytes <= 0.19 * GIB  # within the interval that a plan shows


def test_l19_its_engine_kept_24_snapshots_of_each_state():
    held = earlier("qwen3-coder-next", "Q4_K_M", 23_000)
    assert round((held.fullest.kv_cache_bytes + held.host.kv_cache_bytes) / GIB, 1) == 2.6
    assert held.layers_on_gpu == pytest.approx(20, abs=1)
    assert 1.6 * held.fullest.compute_bytes >= 884 * MIB


@pytest.mark.parametrize(("version", "layers"), [("0.20.1", 22), ("0.29", 22), ("0.30.0", 49), (None, 49), ("latest", 49)])
def test_l19_which_releases_did(version, layers):
    server = replace(find_server("ollama serve; ollama run qwen3-coder-next"), version=version)
    plan = check(server, group_for(server, "rtx4090", 1, "server"))
    assert (plan.layers_on_gpu, plan.version) == (layers, version if layers == 22 else ollama.VERSION)


@pytest.mark.parametrize("context", [4096, 32_768])
def test_l25_gemma_on_a_mac_is_listed_with_17_gb_whatever_the_context(context):
    server = find_server(f"OLLAMA_CONTEXT_LENGTH={context} ollama serve; ollama run gemma4:26b")
    plan = check(server, group_for(server, "m4-32gb", 1, "server"))
    model, config = file("gemma-4-26b-a4b", "Q4_K_M"), LlamaCppConfig(context=context, vision=False)
    size, on_cpu = ollama.listed(ledger_of(model, config, (plan.available_bytes,)))
    assert (plan.verdict, plan.is_whole, on_cpu) == (Verdict.STARTS, True, 0)
    assert size / 1e9 == pytest.approx(17, rel=0.06)

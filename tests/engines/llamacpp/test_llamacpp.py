"""llama.cpp and Ollama: sizes, caches and buffers against llama.cpp's own answers, files written by its gguf library, Ollama's rules."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from conftest import DATA, ROOT, gpu, run_plan
from hypothesis import given
from hypothesis import strategies as st
from strategies import models

from benchmarks import runtimes
from planner.architecture import Config, build_model
from planner.catalogue.gguf import read_header
from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.ask import GgufAsk
from planner.engines.llamacpp.compute import compute_bytes
from planner.engines.llamacpp.ggml import AS_PUBLISHED, MIXES, TYPES
from planner.engines.llamacpp.ledger import ledger
from planner.engines.llamacpp.memory import FIT_MARGIN_BYTES, LlamaCppConfig, kv_bytes
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.plan import longest, plan_gguf
from planner.engines.llamacpp.stored import from_header
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for
from planner.units import GIB, MIB

ORACLE = json.loads((DATA / "llama_cpp_sizes.json").read_text())
CLASSES = {"qwen3": "Qwen3", "qwen3moe": "Qwen3Moe", "llama": "Llama", "qwen2": "Qwen2", "phi3": "Phi3", "gemma3": "Gemma3"}


@cache
def oracle_model(index: int):
    shape = ORACLE[index]
    config = {
        "architectures": [("Mixtral" if shape.get("experts") == 8 else CLASSES[shape["arch"]]) + "ForCausalLM"],
        "hidden_size": shape["hidden"],
        "num_hidden_layers": shape["layers"],
        "intermediate_size": shape["ff"],
        "vocab_size": shape["vocab"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "head_dim": shape["head_dim"],
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": bool(shape.get("tied")),
    }
    if shape.get("experts"):
        config |= {"num_experts": shape["experts"], "num_local_experts": shape["experts"], "num_experts_per_tok": shape["used"]}
        config["moe_intermediate_size"] = shape["expert_ff"]
    if shape.get("window"):
        config |= {"sliding_window": shape["window"], "sliding_window_pattern": 6}
    return build_model(Config(config, "oracle"), shape["model"])


@pytest.mark.parametrize("index", range(len(ORACLE)), ids=[shape["model"] for shape in ORACLE])
def test_every_mix_has_the_size_of_llama_cpps_own_dry_run(index):
    ours = {mix: round(converted(oracle_model(index), mix).file_bytes / MIB, 2) for mix in MIXES if mix != AS_PUBLISHED}
    assert ours == pytest.approx(ORACLE[index]["mib"], abs=0.0051)  # it prints two decimals
    assert set(ours) == set(ORACLE[index]["mib"])


@pytest.mark.parametrize("index", range(len(ORACLE)), ids=[shape["model"] for shape in ORACLE])
def test_caches_are_equal(index):
    file = converted(oracle_model(index), "F16")
    for case in ORACLE[index]["contexts"]:
        parallel = case.get("n_seq", 1)
        config = LlamaCppConfig(
            context=case["n_ctx"] // parallel,
            parallel=parallel,
            kv_type=case.get("kv", "f16"),
            flash_attention=case.get("fa", 1) == 1,
            ubatch=case.get("ub", 512),
        )
        assert round(kv_bytes(file, config) / MIB, 2) == pytest.approx(sum(case["kv_mib"]), abs=0.0051)


def test_the_shared_oracles_sizes_are_ours_too():
    path = ROOT.parent / "shared" / "oracle" / "gguf" / "oracle_out.json"
    if not path.exists():
        pytest.skip("../shared is not here")
    own = {shape["model"].lower(): index for index, shape in enumerate(ORACLE)}
    shared = json.loads(path.read_text())
    ministral = {"architectures": ["LlamaForCausalLM"], "hidden_size": 5120, "num_hidden_layers": 40, "intermediate_size": 16384, "vocab_size": 131072}
    ministral |= {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    for name, answers in shared.items():
        spec = oracle_model(own[name.lower()]) if name.lower() in own else build_model(Config(ministral, "oracle"), name)
        for mix, (_, (mib, _), _) in answers["quant"].items():
            assert converted(spec, mix).file_bytes / MIB == pytest.approx(mib, abs=0.0051), (name, mix)


def test_observed_cases_are_met():
    rows = list(runtimes.llamacpp())
    assert all(abs(row.error) < 0.01 for row in rows if row.what == "KV cache")
    assert runtimes.mean_error(rows, "weights") <= 0.5
    assert runtimes.mean_error(rows, "projector") <= 1
    assert runtimes.mean_error(rows, "total") <= 5
    assert runtimes.mean_error(list(runtimes.mlx_cases()), "total") <= 5


def write_gguf(path: Path, kinds: list[str], layers: int = 2) -> dict[str, int]:
    """A file as llama.cpp's own library writes it, with tensors of many types; returns the bytes it counts."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_embedding_length(512)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(1024)
    writer.add_head_count(8)
    writer.add_head_count_kv(2)
    writer.add_token_list(["a", "b"])
    held = {}
    names = ["token_embd.weight", "output.weight", *(f"blk.{layer}.{name}.weight" for layer in range(layers) for name in ("attn_q", "ffn_down"))]
    for index, name in enumerate(names):
        kind = getattr(gguf.GGMLQuantizationType, kinds[index % len(kinds)])
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor(name, np.zeros((3, 512 // elements * size), dtype=np.uint8), raw_dtype=kind)
        held[name] = 3 * 512 // elements * size
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def test_files_of_the_gguf_library_are_read_to_the_byte(tmp_path):
    import gguf

    kinds = [name for name in TYPES if name not in ("F32", "F16", "BF16", "I32")]
    for number in range(0, len(kinds), 4):
        path = tmp_path / f"{number}.gguf"
        held = write_gguf(path, kinds[number : number + 4])
        header = read_header(path)
        assert {tensor.name: tensor.bytes for tensor in header.tensors} == held
        file = from_header(header, "x")
        assert file.file_bytes == sum(held.values())
        assert (file.layer_count, file.max_context) == (2, 8192)
        assert file.caches[0][0].kv_heads == 2
    for name, sizes in TYPES.items():
        assert gguf.GGML_QUANT_SIZES[getattr(gguf.GGMLQuantizationType, name)] == sizes


def test_a_gguf_file_is_planned_from_its_header(tmp_path):
    write_gguf(tmp_path / "mine.gguf", ["Q4_K", "Q6_K"])
    done = run_plan("--gpu", "rtx4090", "--engine", "llama.cpp", "--model", "mine.gguf", "--format", "json", "--output", "out", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"], answer["settings"]["context"]) == (0, "starts", 8192)
    assert answer["commands"][0]["argv"][:3] == ["llama-server", "--model", "mine.gguf"]


@pytest.mark.parametrize("damage", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64])
def test_a_damaged_file_is_one_clear_line(damage, tmp_path):
    (tmp_path / "bad.gguf").write_bytes(damage)
    done = run_plan("--gpu", "rtx4090", "--engine", "ollama", "--model", "bad.gguf", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.gguf"]


def test_every_flag_is_one_that_llama_server_has():
    known = set((DATA / "llama_server_flags.txt").read_text().split())
    for model, wish in (("qwen3-vl-32b", {"context": 8192}), ("qwen3-embedding-0.6b", {}), ("llama-3.3-70b", {"users": 2, "kv_type": "q8_0", "gpu_layers": 9})):
        argv = plan_gguf(asked(model, count=2, has_vision="vl" in model, **wish)).service.argv
        assert {word for word in argv if word.startswith("--")} <= known


def asked(model: str, name: str = "rtx4090", count: int = 1, mix: str = "Q4_K_M", **wish) -> GgufAsk:
    plain = find_plain(model)
    group = GpuGroup(gpu=gpu(name), count=count)
    return GgufAsk(model=converted(plain.spec, mix), group=group, is_ollama=wish.pop("is_ollama", False), served_name=model, source=f"{model}.gguf", **wish)


@given(models(), st.sampled_from(["Q4_K_M", "Q8_0", "IQ3_XXS"]), st.integers(256, 65_536), st.integers(256, 65_536))
def test_laws_of_memory(model, mix, context, more):
    file = converted(model, mix)
    config, longer = LlamaCppConfig(context=context), LlamaCppConfig(context=context + more)
    assert kv_bytes(file, config) <= kv_bytes(file, longer)
    assert compute_bytes(file, config) <= compute_bytes(file, longer)
    assert kv_bytes(file, LlamaCppConfig(context=context, kv_type="q8_0")) <= kv_bytes(file, config)
    apart = sum(file.layer_bytes) + file.input_bytes + file.output_bytes
    assert file.file_bytes <= apart <= file.file_bytes + file.input_bytes  # a tied head is the embeddings once more
    group = GpuGroup(gpu=gpu("rtx4090"), count=1)
    used = [ledger(file, LlamaCppConfig(context=context, gpu_layers=layers), group).used_bytes for layers in range(0, file.layer_count + 2, 3)]
    assert used == sorted(used)


def test_the_longest_context_is_the_last_that_keeps_all_layers_on_the_gpu():
    question = asked("qwen3-32b", is_ollama=False)
    config = LlamaCppConfig(context=1)
    limit = longest(question, config)
    assert 0 < limit < question.model.max_context
    for context, fits in ((limit, True), (limit + 1024, False)):
        held = ledger(question.model, LlamaCppConfig(context=context), question.group)
        assert (held.used_bytes + FIT_MARGIN_BYTES <= held.available_bytes) is fits


def test_layers_leave_the_gpu_one_by_one_and_it_is_said():
    plan = plan_gguf(asked("llama-3.3-70b", context=8192))
    assert 0 < plan.layers_on_gpu < plan.layers
    assert not plan.requirements_met
    assert plan.host_bytes > 10 * GIB
    assert "run on the CPU" in next(warning.message for warning in plan.warnings if warning.code == "layers-on-cpu")
    assert plan_gguf(asked("llama-3.3-70b", count=2, context=8192)).requirements_met


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"model": "qwen3.5-9b", "gpu": "m4-16gb", "quantization": "Q8_0", "context": 40960}, "have 32 of 33 layers on the GPU: --kv-cache-dtype q8_0"),
        ({"model": "qwen3.6-35b-a3b", "gpu": "rtx5060ti-16gb", "quantization": "Q4_K_M", "context": 131072}, "layers outside instead of"),
    ],
)
def test_what_a_narrower_cache_gains_is_said_though_not_all_fits(question, says):
    services = [ServiceRow(**{key: value for key, value in question.items() if key != "gpu"})]
    answer = answer_for(StackRow(gpu=question["gpu"], engine="llama.cpp", services=services))
    assert says in dict(answer.main.reasons)["kv_cache_type"]
    narrow = answer_for(StackRow(gpu=question["gpu"], engine="llama.cpp", services=[replace(services[0], kv_cache_dtype="q8_0")])).main
    assert (narrow.layers_on_gpu, -dict(narrow.settings).get("n_cpu_moe", 0)) > (
        answer.main.layers_on_gpu,
        -dict(answer.main.settings).get("n_cpu_moe", 0),
    )


def test_ollama_decides_as_its_source_says():
    assert [ollama.default_context(size * GIB) for size in (8, 23, 46, 47, 96)] == [4096, 32_768, 32_768, 262_144, 262_144]
    vision = converted(find_plain("qwen3-vl-32b").spec, "Q4_K_M")
    text = converted(find_plain("qwen3-32b").spec, "Q4_K_M")
    assert (ollama.parallel(vision, 4), ollama.parallel(text, 4)) == (1, 4)
    config = LlamaCppConfig(context=8192, parallel=2)
    assert ollama.predicted_bytes(text, config) == text.file_bytes + 2 * 64 * 8 * 80 * 8192 * 2 * 2
    free = 24 * GIB
    assert (ollama.gpus_used(int(0.8 * free), free, 2), ollama.gpus_used(int(0.8 * free) + 1, free, 2)) == (1, 2)
    assert [ollama.batch(8 * GIB, tokens, free) for tokens in (4096, 8192, 40_000)] == [512, 1024, 2048]
    assert ollama.batch(17 * GIB, 40_000, free) == 1024


def test_ollamas_files_always_set_the_context(tmp_path):
    done = run_plan(
        "--gpu", "rtx4090", "--engine", "ollama", "--model", "qwen3-vl-30b-a3b", "--context", "64k", "--output", "out", "--format", "json", cwd=tmp_path
    )
    answer = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert answer["commands"][0]["env"]["OLLAMA_CONTEXT_LENGTH"] == "65536"
    assert answer["commands"][0]["env"]["OLLAMA_HOST"] == "127.0.0.1:11434"
    modelfile = (tmp_path / "out" / "Modelfile").read_text()
    assert "FROM qwen3-vl:30b" in modelfile
    assert "PARAMETER num_ctx 65536" in modelfile
    assert 'Environment="OLLAMA_CONTEXT_LENGTH=65536"' in (tmp_path / "out" / "ollama.override.conf").read_text()
    setup = (tmp_path / "out" / "setup.sh").read_text()
    assert "ollama pull qwen3-vl:30b" in setup
    assert any(warning["code"] == "agent-turns" for warning in answer["warnings"])
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), "--enable=all", tmp_path / "out" / "setup.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


# The guide's list of Ollama models with their sizes in GB.
@pytest.mark.parametrize(
    ("model", "mix", "gigabytes"),
    [("qwen3-vl-30b-a3b", "Q4_K_M", 20), ("qwen3-vl-32b", "Q4_K_M", 21), ("ministral-3-14b", "Q4_K_M", 9), ("qwen3-embedding-0.6b", "Q8_0", 0.639)],
)
def test_the_guides_sizes(model, mix, gigabytes):
    file = converted(find_plain(model).spec, mix)
    assert abs((file.file_bytes + file.mmproj_bytes) / 1e9 / gigabytes - 1) <= 0.08


def test_gpt_oss_as_ollama_has_it_takes_what_the_engine_said():
    file = converted(find_plain("gpt-oss-20b").spec, "MXFP4_BF16")
    assert abs((file.file_bytes - file.input_bytes) / GIB - 11.7) <= 0.06  # ollama/ollama#11711: weights 11.7 GiB, embeddings beside


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--quantization", "Q4_K_X"), "did you mean"),
        (("--kv-cache-dtype", "fp8"), "no KV cache type fp8"),
        (("--gpu-memory-utilization", "0.9"), "is vLLM's"),
        (("--context", "10m"), "beyond the model's"),
        (("--wired-limit-mb", "10000000"), "setting of macOS"),
    ],
)
def test_bad_input_is_one_clear_line(words, says, tmp_path):
    done = run_plan("--gpu", "rtx4090", "--engine", "llama.cpp", "--model", "qwen3-8b", *words, cwd=tmp_path)
    assert (done.returncode, says in done.stderr, len(done.stderr.splitlines())) == (2, True, 1), done.stderr
    assert not list(tmp_path.iterdir())


def test_an_unknown_mix_is_refused():
    with pytest.raises(PlannerError):
        converted(find_plain("qwen3-8b").spec, "Q9")

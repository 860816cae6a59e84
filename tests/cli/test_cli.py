"""The command line as a user meets it: answers, exit codes, one clear line for bad input, and no file then."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from conftest import DATA, run_plan

from planner.report.schemas import json_schema

HEADLINE = ("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq")


def test_the_main_job_prints_a_plan_and_writes_files(tmp_path):
    done = run_plan(*HEADLINE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "QuantTrio/Qwen3-VL-32B-Instruct-AWQ on 2x GeForce RTX 4090 with vLLM 0.33: starts" in done.stdout
    assert "\x1b[" not in done.stdout  # plain when piped
    folder = tmp_path / "outputs" / "qwen3-vl-32b-awq-rtx4090x2"
    assert {p.name for p in folder.iterdir()} == {
        "setup.sh",
        "stack.sh",
        "serve.sh",
        "litellm.yaml",
        "agent.env",
        "bench.sh",
        "try.sh",
        "plan.json",
        ".plan-manifest.json",
    }
    assert os.access(folder / "serve.sh", os.X_OK)


def test_the_json_follows_its_schema(plan_json):
    code, answer = plan_json(*HEADLINE, "--context", "128k")
    assert code == 0
    jsonschema.validate(answer, json_schema("plan"))
    assert answer["schema"] == 2
    assert answer["hardware"]["memory_total_bytes"] == 25_757_220_864
    assert answer["settings"]["max_model_len"] == 131_072
    assert answer["settings"]["kv_cache_dtype"] == "fp8_e4m3"
    assert answer["memory"]["kv_cache_bytes_low"] <= answer["memory"]["kv_cache_bytes"] <= answer["memory"]["kv_cache_bytes_high"]
    assert answer["commands"][0]["argv"][:2] == ["vllm", "serve"]


def test_a_wish_that_cannot_be_met_exits_1_with_ledger_and_checked_changes(plan_json, tmp_path):
    code, answer = plan_json("--gpu", "a100-80", "--model", "qwen3-vl-32b", "--max-model-len", "131072", "--kv-cache-dtype", "auto")
    assert code == 1
    assert answer["verdict"] == "does_not_start"
    assert answer["rejection"]["code"] == "kv-cache-too-small"
    assert answer["memory"]["kv_cache_needed_bytes"] == 32 * 2**30
    assert 1 <= len(answer["alternatives"]) <= 6
    assert not list(tmp_path.iterdir())
    for alternative in answer["alternatives"]:
        assert alternative["verdict"] == "starts"


@pytest.mark.parametrize("hardware", [("mi300x", "1"), ("h100", "1"), ("rtx4090", "2"), ("rtxpro6000", "1")])
def test_as_many_sequences_are_scheduled_as_the_cache_holds(plan_json, hardware):
    _, answer = plan_json("--gpu", hardware[0], "--count", hardware[1], "--model", "qwen3-8b")
    assert answer["verdict"] == "starts"
    assert answer["settings"]["max_num_seqs"] >= int(answer["memory"]["max_concurrency"])


def test_an_encoder_keeps_no_cache_and_reads_a_text_in_one_step(plan_json, tmp_path):
    folder = write_config(tmp_path / "bge-m3", (DATA / "configs" / "BAAI--bge-m3.json").read_text())
    code, answer = plan_json("--gpu", "t4", "--model", str(folder))
    assert (code, answer["verdict"], answer["memory"]["kv_block_bytes"]) == (0, "starts", 0)
    assert answer["settings"]["max_model_len"] == answer["settings"]["max_num_batched_tokens"] == 8194
    done = run_plan("--gpu", "t4", "--model", str(folder), "--dry-run", cwd=tmp_path)
    assert "an encoder keeps no KV cache" in done.stdout


def test_a_16_bit_checkpoint_can_be_quantized_while_loading(plan_json):
    _, whole = plan_json("--gpu", "h100", "--model", "qwen3-8b")
    _, halved = plan_json("--gpu", "h100", "--model", "qwen3-8b", "--quantization", "fp8")
    kept = 2 * (2 * 151_936 * 4096 + 36 * (2 * 4096 + 2 * 128) + 4096)  # embedding, head and norms stay in 16 bits
    scales = 36 * 4 * 4  # a float32 for each linear layer; the cache has none of its own
    assert halved["memory"]["weights_bytes"] == kept + (whole["memory"]["weights_bytes"] - kept) // 2 + scales
    assert "--quantization fp8" in " ".join(halved["commands"][0]["argv"])
    assert halved["model"]["quantization"] == "fp8"


def test_pinned_cache_memory_is_exact(plan_json):
    _, answer = plan_json(*HEADLINE, "--kv-cache-memory-bytes", "8G")
    memory = answer["memory"]
    assert memory["kv_cache_bytes"] == memory["kv_cache_bytes_low"] == memory["kv_cache_bytes_high"] == 8 * 2**30


def test_every_pin_is_kept(plan_json):
    pins = {
        "--tensor-parallel-size": 1,
        "--pipeline-parallel-size": 2,
        "--max-model-len": 4096,
        "--gpu-memory-utilization": 0.81,
        "--max-num-seqs": 7,
        "--max-num-batched-tokens": 1024,
        "--kv-cache-dtype": "fp8_e5m2",
    }
    _, answer = plan_json(*HEADLINE, "--enforce-eager", *(str(word) for pair in pins.items() for word in pair))
    settings = answer["settings"]
    assert settings["enforce_eager"] is True
    assert {flag: settings[flag[2:].replace("-", "_")] for flag in pins} == pins


def test_the_picture_is_drawn_and_not_over_an_edited_one(tmp_path):
    asked = ("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run", "--svg", "plan.svg")
    assert run_plan(*asked, cwd=tmp_path).returncode == 0
    drawn = (tmp_path / "plan.svg").read_bytes()
    assert drawn.startswith(b"<?xml")
    assert len(drawn) > 10_000
    assert len(list(ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}polyline"))) == 3  # noqa: S314 - our own
    assert run_plan(*asked, cwd=tmp_path).returncode == 0
    (tmp_path / "plan.svg").write_bytes(drawn + b"mine")
    again = run_plan(*asked, cwd=tmp_path)
    assert (again.returncode, "was edited" in again.stderr) == (2, True)
    assert run_plan("--gpu", "m4-max-64gb", "--model", "qwen3-8b", "--dry-run", "--svg", "x", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--gpu", "rtx4900", "--model", "qwen3-8b"), "rtx4090"),
        (("--gpu", "rtx4090", "--model", "qwen3-vl-32b-akw"), "qwen3-vl-32b-awq"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--count", "0"), "--count"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--count", "-1"), "--count"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--count", "3"), "--count 2"),
        (("--gpu", "rtx4090", "--model", "nomic", "--count", "8"), "--count 4"),
        (("--gpu", "rtx4090", "--model", "nomic", "-pp", "2", "--count", "2"), "does not split NomicBertModel"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "-tp", "3", "--count", "3"), "does not divide 32 attention heads"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--context", "10M"), "--context 40960"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--gpu-memory-utilization", "0"), "--gpu-memory-utilization"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--gpu-memory-utilization", "1.2"), "--gpu-memory-utilization"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--max-model-len", "lots"), "128k (=131072)"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--kv-cache-dtype", "int8"), "--kv-cache-dtype"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--quantization", "awq"), "not quantized"),
        (("--gpu", "rtx3090", "--model", "gpt-oss-20b", "--kv-cache-dtype", "fp8"), "8.9"),
        (("--gpu", "t4", "--model", "qwen3-8b", "--kv-cache-dtype", "fp8"), "8.9"),
        (("--gpu", "t4", "--model", "qwen3-8b", "--kv-cache-dtype", "fp8"), "without --kv-cache-dtype"),
        (("--gpu", "v100", "--model", "qwen3-vl-32b-awq"), "7.5"),
        (("--gpu", "v100", "--model", "qwen3-8b-awq", "--count", "2"), "--model qwen3-8b --vllm-version 0.19 works"),
        (("--gpu", "m4-max-64gb", "--model", "qwen3-8b", "--engine", "vllm"), "NVIDIA or AMD"),
        (("--gpu", "m4-max-77gb", "--model", "qwen3-8b"), "is not sold with 77 GB"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--engine", "mlx"), "Apple silicon"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--gpu-layers", "4"), "is Ollama's"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--nodes", "2", "--with", "qwen3-4b"), "share one machine"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--to", "kubernets"), "is not known"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--bind", "127.0.0.1; touch pwned"), "expected an address"),
        (("--gpu", "rtx4090", "--model", "a\nb.gguf", "--engine", "ollama"), "not a model name"),
        (("--gpu", "rtx4090", "--model", "qwen3-vl-32b-mlx-8bit"), "mlx"),
        (("--gpu", "rtx4090", "--model", "x.gguf"), "GGUF"),
        (("--gpu", "rtx4090", "--model", 'it\'s $(touch pwned) "x"'), "unknown model"),
        (("--gpu", "rtx4090", "--model", "a\nb"), "not a model name"),
        (("--gpu", "rtx4090", "--model", "../../etc"), "unknown model"),
        (("--gpu", "rtx4090", "--model", ""), "--model is missing"),
        (("--gpu", "rtx4090", "--model", " "), "not a model name"),
        (("--gpu", "", "--model", "qwen3-8b"), "--gpu is missing"),
        (("--count", "2"), "--gpu is missing"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--swap-space", "4"), "--swap-space"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_no_file(arguments, says, tmp_path):
    done = run_plan(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def write_config(folder: Path, text: str | bytes) -> Path:
    folder.mkdir()
    (folder / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


LLAMA = json.loads((DATA / "configs" / "meta-llama--Llama-3.1-8B-Instruct.json").read_text())
EXAONE = json.loads((DATA / "configs" / "LGAI-EXAONE--EXAONE-3.5-7.8B-Instruct.json").read_text())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"architectures": ["LlamaForCausalLM"], "hidden_size": 40', "not valid JSON"),
        ("[1, 2]", "expected a JSON object"),
        ("{}", "names no architecture"),
        ("[" * 100_000, "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"x" * (17 * 1024**2), "too large"),
        (json.dumps(LLAMA | {"architectures": ["MysteryForCausalLM"]}), "MysteryForCausalLM"),
        (json.dumps(LLAMA | {"num_hidden_layers": -3}), "num_hidden_layers is -3"),
        (json.dumps(LLAMA | {"num_attention_heads": 10**12}), "num_attention_heads is 1000000000000"),
        (json.dumps(LLAMA | {"num_key_value_heads": 5}), "cannot share 5 key-value heads"),
        (json.dumps(LLAMA | {"hidden_size": "big"}), "hidden_size is 'big'"),
        (json.dumps(LLAMA | {"vocab_size": 1e400}), "vocab_size is"),
        (json.dumps({k: v for k, v in EXAONE.items() if k != "vocab_size"}), "vocab_size is missing"),  # Llama's class has a default
        (json.dumps(LLAMA | {"quantization_config": {"quant_method": "magic"}}), "'magic' is not supported"),
        (json.dumps(LLAMA | {"quantization_config": 7}), "expected an object"),
        (json.dumps(LLAMA | {"rope_scaling": {"rope_type": "yarn", "factor": "x"}}), "factor is 'x'"),
    ],
)
def test_a_config_that_is_broken_or_lies_is_refused(text, says, tmp_path):
    folder = write_config(tmp_path / "model", text)
    work = tmp_path / "work"
    work.mkdir()
    done = run_plan("--gpu", "h100", "--model", str(folder), cwd=work)
    assert done.returncode == 2, done
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(work.iterdir())


def test_a_folder_with_a_hostile_name_is_quoted_everywhere(tmp_path):
    folder = write_config(tmp_path / "it's $(touch pwned) `x`", json.dumps(LLAMA))
    done = run_plan("--gpu", "h100", "--model", str(folder), "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    script = (tmp_path / "out" / "serve.sh").read_text()
    assert "'\"'\"'" in script
    assert "hosted_vllm/it-s-touch-pwned-x" in (tmp_path / "out" / "litellm.yaml").read_text()


def test_an_edited_file_is_kept_unless_forced(tmp_path):
    assert run_plan(*HEADLINE, "--output", "out", cwd=tmp_path).returncode == 0
    script = tmp_path / "out" / "serve.sh"
    script.write_text(script.read_text() + "# mine\n")
    before = {p.name: p.read_text() for p in (tmp_path / "out").iterdir()}
    done = run_plan(*HEADLINE, "--context", "64k", "--output", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "serve.sh was edited" in done.stderr
    assert {p.name: p.read_text() for p in (tmp_path / "out").iterdir()} == before
    assert run_plan(*HEADLINE, "--context", "64k", "--output", "out", "--force", cwd=tmp_path).returncode == 0
    assert "# mine" not in script.read_text()


def test_an_unreachable_hub_exits_3(tmp_path):
    done = run_plan(
        "--gpu", "h100", "--model", "nobody/nothing-at-all", cwd=tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf")
    )
    assert done.returncode == 3, done
    assert "cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["rtx4090", "4090", "RTX 4090", "GeForce RTX 4090", "NVIDIA GeForce RTX 4090", "rtx-4090"])
def test_gpu_names_a_person_would_type(name, plan_json):
    code, answer = plan_json("--gpu", name, "--model", "qwen3-8b")
    assert (code, answer["hardware"]["gpu"]) == (0, "rtx4090")


def test_help_names_every_setting(tmp_path):
    done = run_plan("--help-all", cwd=tmp_path)
    assert done.returncode == 0
    for flag in (
        "--gpu",
        "--count",
        "--model",
        "--context",
        "--users",
        "--host",
        "-tp",
        "-pp",
        "--kv-cache-memory-bytes",
        "--vllm-version",
        "--format",
        "--force",
    ):
        assert flag in done.stdout


@pytest.mark.slow
def test_runtimes_are_compared_side_by_side(tmp_path):
    done = run_plan("compare", "--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--context", "64k", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["engine"]: row for row in json.loads(done.stdout)["runtimes"]}
    assert set(rows) == {"vllm", "ollama", "llama.cpp"}
    assert all(row["context"] == 65_536 and row["verdict"] == "starts" and row["steps"] for row in rows.values())
    assert (rows["vllm"]["agent_safe"], rows["ollama"]["agent_safe"], rows["llama.cpp"]["agent_safe"]) == ("yes", "yes", "no")
    mac = run_plan("compare", "--gpu", "m4-max-128gb", "--model", "ministral-3-14b", cwd=tmp_path)
    assert "mlx (mlx-vlm)" in mac.stdout
    assert "ollama#10273" in mac.stdout
    small = run_plan("compare", "--gpu", "t4", "--model", "llama-3.3-70b", "--context", "8k", cwd=tmp_path)
    assert (small.returncode, "layers on the CPU" in small.stdout) == (1, True)
    several = run_plan("compare", "--gpu", "rtx4090,m4-max-64gb", "--model", "qwen3-8b, qwen3-4b", "--context", "8k", "--format", "json", cwd=tmp_path)
    found = json.loads(several.stdout)["comparisons"]
    assert [(each["gpu"], each["model"]) for each in found] == [
        ("rtx4090", "qwen3-8b"), ("apple-m4-max-64gb", "qwen3-8b"), ("rtx4090", "qwen3-4b"), ("apple-m4-max-64gb", "qwen3-4b"),
    ]  # fmt: skip
    assert all(row["tokens_per_s"] for each in found for row in each["runtimes"])
    assert run_plan("compare", "--gpu", ",", "--model", "qwen3-8b", cwd=tmp_path).returncode == 2
    assert run_plan("compare", "--gpu", "t4," * 3 + "h100", "--model", ",".join(f"m{n}" for n in range(99)), cwd=tmp_path).returncode == 2
    unknown = run_plan("compare", "--gpu", "t4", "--model", "nope", cwd=tmp_path)
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("check", "nofile.sh", "--gpu", "rtx4090"), 2, "nofile.sh: there is no such file"),
        (("check", "no/such/thing", "--gpu", "rtx4090"), 2, "no/such/thing: there is no such file"),
        (("check", "here.sh", "gone.yaml", "--gpu", "rtx4090"), 2, "gone.yaml: there is no such file"),
        (("check", "ollama", "--gpu", "rtx4090"), 2, "server is started there"),
        (("check", "vllm serve ./gone.sh", "--gpu", "rtx4090"), 2, "gone.sh"),
        (("capacity", "--gpu", "rtx4090", "--model", "qwen3-8b", "--trace", "gone.jsonl"), 2, "gone.jsonl: cannot be read (No such file"),
        (("bench", "gone"), 2, "gone"),
        (("cost", "--gpu", "rtx4090", "--model", "llama-3.3-70b"), 1, "does not start"),
        (("--gpu", "rtx4090", "--model", "qwen3-8b", "--ram", "64"), 2, "64 bytes is less than 1.00 GiB: a size has its unit, as in 64GiB"),
        (("check", "vllm serve qwen3-8b", "--gpu", "rtx4090", "--ram", "64"), 2, "as in 64GiB"),
        (("--gpu", "custom", "--vram", "16", "--bandwidth", "672", "--compute-capability", "8.9", "--model", "qwen3-8b"), 2, "as in 16GiB"),
        (("-f", "s.yaml", "--dry-run"), 2, "as in 64GiB"),
    ],
)
def test_the_exit_code_and_the_line_say_whose_fault_it_is(words, code, says, tmp_path):
    (tmp_path / "here.sh").write_text("vllm serve qwen3-8b\n")
    (tmp_path / "s.yaml").write_text("gpu: rtx4090\nram: 64\nservices:\n  - model: qwen3-8b\n")
    done = run_plan(*words, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done
    assert says in done.stderr

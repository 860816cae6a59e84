"""What `plan explain --share` lets out: nothing of a person's, whatever stands in the log; and what `benchmarks` makes of it."""

import json
import re
import sys

import jsonschema
import pytest
from conftest import DATA

from benchmarks import calibrate, field
from planner.cli.main import main
from planner.engines.vllm.settings import COMMAND
from planner.engines.vllm.shareable import shareable_words
from planner.errors import PlannerError
from planner.questions.explain import explain_log
from planner.questions.share import start_of
from planner.report.schemas import json_schema
from planner.report.shared import start_json

GIB = 2**30
SECRETS = (
    "acme-corp", "jane.doe", "/home/jane", "10.1.2.3", "fe80::1", "sk-proj-abcdef123456", "hf_AbCdEf123456", "gpu-node-17.acme.internal", "s3://acme", "hunter2",
    "acme_gpt", "Jane", "acme", "8443", "\x1b]0;", "\u202e",
)  # fmt: skip
LOG = """\
jane@gpu-node-17.acme.internal:/home/jane$ vllm serve /home/jane/models/acme_gpt --api-key sk-proj-abcdef123456
(APIServer pid=8443) INFO 11-01 10:00:00 [utils.py:233] vLLM API server version 0.19.1+acme.corp
(APIServer pid=8443) INFO 11-01 10:00:00 [utils.py:233] non-default args: {'model_tag': '/home/jane/models/acme_gpt', 'host': '10.1.2.3', 'port': 8443, \
'api_key': ['sk-proj-abcdef123456'], 'model': '/home/jane/models/acme_gpt', 'served_model_name': ['acme_gpt', '\x1b]0;x'], 'download_dir': '/home/jane/.cache', \
'max_model_len': 8192, 'gpu_memory_utilization': 0.95, 'hf_token': 'hf_AbCdEf123456', 'chat_template': '/home/jane/acme.jinja', 'enable_prefix_caching': False, \
'quantization': 'acme_gpt', 'attention_backend': 's3://acme', 'kv_cache_dtype': 'hunter2', 'acme_plugin': 'jane.doe', 'enable_lora': True, \
'lora_modules': ['acme=/home/jane/lora'], 'speculative_config': {'method': 'eagle3', 'model': 'acme-corp/draft', 'num_speculative_tokens': 3}, \
'override_generation_config': {'user': 'jane.doe'}, 'ssl_keyfile': '/home/jane/key.pem', 'allowed_origins': ['https://gpu-node-17.acme.internal']}
(EngineCore pid=8443) INFO 11-01 10:00:01 [core.py:105] Initializing a V1 LLM engine (v0.19.1) with config: model='/home/jane/models/acme_gpt', x='Jane \u202e'
INFO 11-01 10:00:02 [chunk.py:1] Chunked prefill is enabled with max_num_batched_tokens=8192.
INFO 11-01 10:00:02 using device_name=NVIDIA_H100_80GB_HBM3,dtype=/home/jane.json fe80::1 jane.doe
DEBUG 11-01 total_memory=79.19GiB, free_memory=78.68GiB s3://acme hunter2
INFO 11-01 10:00:09 [gpu_model_runner.py:4] Model loading took 15.27 GiB memory and 9.1 seconds
INFO 11-01 10:00:19 [gpu_worker.py:4] Available KV cache memory: 57.5 GiB
INFO 11-01 10:00:19 [kv_cache_utils.py:4] GPU KV cache size: 418,688 tokens
INFO 11-01 10:00:19 [kv_cache_utils.py:4] Maximum concurrency for 8,192 tokens per request: 51.11x
"""
ENDS = {
    "starts": "(APIServer pid=1) INFO:     Application startup complete. Uvicorn running on http://10.1.2.3:8443 (acme, jane.doe)\n",
    "fails": "ValueError: To serve at least one request with the models's max seq len (8192) of /home/jane/models/acme_gpt, 4.38 GiB KV cache is needed, which is "
    "larger than the available KV cache memory (1.2 GiB). Based on the available memory, the estimated maximum model length is 2304. jane@10.1.2.3 hf_AbCdEf123456\n",
}


def start(text, *, gpu=None, model="qwen3-8b"):
    explained, spec = explain_log(iter(text.splitlines(keepends=True)), gpu=gpu, model=model)
    return start_json(start_of(explained, spec, is_named=gpu is not None, model=model))


@pytest.mark.parametrize("verdict", ENDS)
def test_nothing_of_a_person_is_shared(verdict):
    shared = start(LOG + ENDS[verdict])
    text = json.dumps(shared, ensure_ascii=False)
    assert not [secret for secret in SECRETS if secret.lower() in text.lower()]
    assert shared["observed_verdict"] == verdict
    assert shared["observed_reason"] == (None if verdict == "starts" else "kv-cache-too-small")
    assert (shared["observed"]["needed_gib"], shared["observed"]["longest"]) == ((None, None) if verdict == "starts" else (4.38, 2304))
    assert shared["command"] == (
        "vllm serve Qwen/Qwen3-8B --max-model-len 8192 --gpu-memory-utilization 0.95 --enable-lora --no-enable-prefix-caching --max-num-batched-tokens 8192"
    )
    assert not shared["flags_told"], "a drafter, a plugin and three settings are left out, and that is said"
    assert (shared["gpu"], shared["count"], shared["vllm_version"], shared["total_gib"], shared["free_gib"]) == ("h100", 1, "0.19", 79.19, 78.68)
    assert (shared["observed"]["kv_gib"], shared["observed"]["tokens"], shared["observed"]["weights_gib"]) == (57.5, 418_688, 15.27)


def test_no_setting_lets_a_text_of_its_own_out():
    for name in [setting.name for setting in COMMAND] + ["limit_mm_per_prompt", "language_model_only", "hf_overrides", "acme"]:
        for value in (
            "acme",
            "8k acme",
            {"acme": 1},
            {"method": "acme", "num_speculative_tokens": 3},
            ["acme"],
            "1e999",
            "NaN",
            10**400,
            -5,
            "--acme",
            b"acme",
        ):
            words, is_whole = shareable_words({name: value})
            assert "acme" not in " ".join(words), name
            assert not is_whole, (name, value, words)
            assert words == []


def test_what_is_known_is_kept_whole():
    flags = {
        "tensor_parallel_size": 2, "max_model_len": "auto", "kv_cache_dtype": "fp8", "enforce_eager": True, "attention_backend": "FLASHINFER", "quantization": "fp8",
        "speculative_config": {"method": "mtp", "num_speculative_tokens": 2}, "limit_mm_per_prompt": {"image": 4, "video": 0}, "language_model_only": True,
        "served_model_name": ["x"], "cpu_offload_gb": 4.0, "enable_expert_parallel": False,
    }  # fmt: skip
    words, is_whole = shareable_words(flags)
    assert is_whole
    assert "--enable-expert-parallel" not in words
    assert set(words) == {
        "--tensor-parallel-size", "2", "--cpu-offload-gb", "4", "--max-model-len", "auto", "--speculative-config", '{"method": "mtp", "num_speculative_tokens": 2}',
        "--kv-cache-dtype", "fp8", "--attention-backend", "FLASHINFER", "--quantization", "--enforce-eager", "--limit-mm-per-prompt", '{"image": 4, "video": 0}',
        "--language-model-only",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "model", "says"),
    [
        (lambda text: text, None, "not one of the catalogue"),
        (lambda text: text.replace("device_name=NVIDIA_H100_80GB_HBM3", ""), "qwen3-8b", "does not name its GPU"),
        (lambda text: re.sub(r"0\.19\.1\S*|\(v0.19.1\)", "10.1.2.3", text), "qwen3-8b", "does not name a release"),
        (lambda text: text.replace("Application startup complete. Uvicorn running on", ""), "qwen3-8b", "ends before the start does"),
        (lambda text: text.replace("15.27 GiB", "1527.0 GiB"), "qwen3-8b", "more than H100"),
        (lambda text: text.replace("57.5 GiB", "99999999 GiB"), "qwen3-8b", "more than H100"),
        (lambda text: text + "\n" + "OSError: [Errno 98] Address already in use", "qwen3-8b", ""),
    ],
)
def test_what_cannot_be_told_is_said(change, model, says):
    text = change(LOG + ENDS["starts"])
    if not says:
        assert start(text, model=model)["observed_verdict"] == "starts"
        return
    with pytest.raises(PlannerError, match=says):
        start(text, model=model)


def test_a_start_of_another_engine_is_not_shared():
    explained, spec = explain_log(iter(["cudaMalloc failed: out of memory\n"]))
    with pytest.raises(PlannerError, match=r"is not shared: the table is of vLLM"):
        start_of(explained, spec, is_named=True)


def asked(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["plan", "explain", *map(str, words)])
    with pytest.raises(SystemExit) as done:
        main()
    return done.value.code, capsys.readouterr()


def test_the_command_writes_it_once_and_benchmarks_read_it(monkeypatch, capsys, tmp_path):
    log = next((DATA / "logs").glob("qwen-qwen3-8b*"))
    code, printed = asked(monkeypatch, capsys, "--share", log, "--gpu", "h100")
    assert code == 0
    shared = json.loads(printed.out)
    jsonschema.validate(shared, json_schema("start"), cls=jsonschema.Draft202012Validator)
    assert asked(monkeypatch, capsys, log, "--gpu", "h100", "--share", tmp_path / "start.json")[0] == 0
    assert json.loads((tmp_path / "start.json").read_text()) == shared
    code, again = asked(monkeypatch, capsys, log, "--gpu", "h100", "--share", tmp_path / "start.json")
    assert code != 0
    assert "is there already" in again.err
    assert list(field.shared(tmp_path)) == [shared]
    memory = field.judged(shared).memory
    assert memory["kv_cache_bytes_low"] <= shared["observed"]["kv_gib"] * GIB <= memory["kv_cache_bytes_high"]
    (tmp_path / "more.json").write_text(json.dumps(shared | {"hostname": "x"}))
    with pytest.raises(PlannerError, match=r"more\.json.*hostname"):
        list(field.shared(tmp_path))


def test_a_shared_start_tells_of_its_class(monkeypatch, tmp_path):
    told = start(next((DATA / "logs").glob("qwen-qwen3-8b*")).read_text(), gpu="h100")
    (tmp_path / "start.json").write_text(json.dumps(told))
    monkeypatch.setattr(field, "SHARED", tmp_path)
    monkeypatch.setattr(field, "REPORTS", tmp_path / "none.yaml")
    (tmp_path / "none.yaml").write_text("[]")
    (row,) = field.reported()
    assert row.is_inside
    left = calibrate.left_of(row)
    assert left
    assert (left.gpu, left.several) == ("h100", False)
    assert abs(left.expected) < 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("command", "vllm serve Qwen/Qwen3-8B --served-model-name acme --max-model-len 8192"),
        ("command", "vllm serve acme/Qwen3-8B --max-model-len 8192"),
        ("id", "jane"),
        ("gpu", "acme-gpu"),
        ("source", "jane.doe"),
        ("observed_reason", "acme"),
    ],
)
def test_a_file_that_was_changed_is_refused(key, value, tmp_path):
    told = start(LOG + ENDS["starts"])
    (tmp_path / "start.json").write_text(json.dumps(told))
    assert list(field.shared(tmp_path)) == [told]
    (tmp_path / "start.json").write_text(json.dumps(told | {key: value}))
    with pytest.raises(PlannerError, match=r"start\.json.*does not write"):
        list(field.shared(tmp_path))


def test_the_starts_that_were_sent_are_as_share_writes_them():
    ids = [case["id"] for case in field.shared(field.SHARED)]
    assert len(ids) == len(set(ids))
    assert {f"{name}.json" for name in ids} == {path.name for path in field.SHARED.glob("*.json")}

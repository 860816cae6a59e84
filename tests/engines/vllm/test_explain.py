"""`plan explain`: the real logs of the H100 starts, cut, prefixed and coloured; messages of other failures as vLLM writes them."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from conftest import DATA, ROOT, run_plan

from planner.engines.vllm.causes import message
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.log import command_words, read_log
from planner.engines.vllm.remedies import remedies
from planner.facts.observed import Observed
from planner.report.schemas import json_schema
from planner.units import GIB

LOGS = sorted((DATA / "logs").glob("*.log"))
STARTED = [path for path in LOGS if "FAILED" not in path.name]
WHOLE = ROOT.parent / "shared" / "truth" / "logs"
ROWS = {row["log_file"]: row for row in csv.DictReader((DATA / "vllm_0.19_h100.csv").read_text().splitlines())}
FAILED = {"codellama": "free-memory", "google-gemma-2-9b": "model-access", "qwen-qwen3-14b": "not-divisible"}


def row_of(path: Path) -> dict:
    return next(row for name, row in ROWS.items() if Path(name).name.removesuffix(".gz") == path.name)


@pytest.mark.parametrize("path", STARTED, ids=lambda path: path.stem)
def test_the_ledger_of_a_log_is_found(path):
    seen, row = read_log(path.read_text().splitlines()), row_of(path)
    assert seen.started
    assert seen.root_cause is None
    assert (seen.version, seen.model) == ("0.19.0", row["model"])
    columns = {
        "weights_bytes": "weight_memory_gib",
        "activation_bytes": "activation_memory_gib",
        "non_torch_bytes": "non_torch_forward_gib",
        "cuda_graph_bytes": "cuda_graph_actual_gib",
        "kv_cache_bytes": "kv_cache_memory_gib",
    }
    for name, column in columns.items():
        assert getattr(seen, name) == pytest.approx(float(row[column]) * GIB, abs=0.011 * GIB), name
    assert seen.kv_cache_tokens == int(row["kv_cache_tokens"])
    assert seen.max_concurrency == float(row["max_concurrency"])


@pytest.mark.parametrize(("name", "code"), FAILED.items())
def test_the_root_cause_of_a_failed_start_is_found(name, code):
    path = next(path for path in LOGS if path.name.startswith(name))
    seen = read_log(path.read_text().splitlines())
    assert not seen.started
    assert seen.root_cause is not None
    assert seen.root_cause.code == code
    assert "Engine core initialization failed" not in seen.root_cause.message


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_log_may_end_anywhere(path):
    lines = path.read_text().splitlines(keepends=True)
    for end in range(0, len(lines) + 1, 20):
        read_log(lines[:end])
        read_log([*lines[:end], lines[end % len(lines)][:7]])


@pytest.mark.skipif(not WHOLE.exists(), reason="the whole logs lie beside the project only where it is built")
def test_whole_logs_with_debug_lines_say_the_same():
    for path in LOGS:
        with (WHOLE / path.name).open(errors="replace") as whole, path.open() as short:
            assert read_log(whole) == read_log(short), path.name


PREFIXES = {
    "compose": lambda line: f"vllm-chat-1  | {line}",
    "kubernetes": lambda line: f"2026-11-25T09:00:00.123456789Z stderr F {line}",
    "colour": lambda line: f"\x1b[1;36m{line[:20]}\x1b[0;0m{line[20:]}",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_and_colours_change_nothing(prefix):
    for path in LOGS:
        lines = path.read_text().splitlines()
        plain, changed = read_log(lines), read_log([PREFIXES[prefix](line) for line in lines])
        assert changed.started == plain.started, path.name
        assert (changed.root_cause and changed.root_cause.code) == (plain.root_cause and plain.root_cause.code), path.name
        assert (changed.kv_cache_bytes, changed.weights_bytes, changed.flags) == (plain.kv_cache_bytes, plain.weights_bytes, plain.flags), path.name


ERROR = "(EngineCore pid=9) ERROR 11-25 09:00:00 [v1/engine/core.py:1000] "
LAST = "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
MESSAGES = {
    "no-kv-memory": "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
    "kv-cache-too-small": "ValueError: To serve at least one request with the model's max seq len (131072), (32.0 GiB KV cache is needed, which is larger …",
    "out-of-memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 594.00 MiB. GPU 0 has a total capacity of 23.51 GiB of which 100 MiB is free.",
    "unsupported": "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum capability: 75. Current capability: 70.",
    "toolchain": "RuntimeError: Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist",
    "bad-value": "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
    "other": "KeyError: 'layers.0.mlp.gate.weight'",
}


@pytest.mark.parametrize("code", MESSAGES)
def test_the_first_error_that_matters_is_the_cause(code):
    trace = [ERROR + "Traceback (most recent call last):", ERROR + '  File "/x/vllm/a.py", line 1, in f', ERROR + '    raise ValueError("CUDA out of memory")']
    seen = read_log(["INFO vLLM API server version 0.33.0", *trace, ERROR + MESSAGES[code], LAST])
    assert seen.root_cause is not None
    assert (seen.root_cause.code, seen.root_cause.message) == (code, MESSAGES[code])


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["vllm serve: error: unrecognized arguments: --swap-space 4"], "unknown-flag"),
        (["ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use"], "port-in-use"),
        (
            [
                "ValidationError: 1 validation error for VllmConfig",
                "  Value error, Total number of attention heads (64) must be divisible by tensor parallel size (3).",
            ],
            "not-divisible",
        ),
        (["ERROR 11-25 [core.py:9] RuntimeError: [symmem] memory allocation failed with OOM on device 0"], "out-of-memory"),
        (["ValueError: No NvFp4 MoE backend supports the deployment configuration."], "unsupported"),
        (["ValueError: NvFp4 MoE backend 'VLLM_CUTLASS' does not support: kernel does not support current device cuda."], "unsupported"),
    ],
)
def test_errors_of_the_command_line_and_the_server(lines, code):
    seen = read_log(["vllm 0.33", *lines])
    assert seen.root_cause is not None
    assert seen.root_cause.code == code


def test_a_fragment_that_never_says_vllm_is_known_by_its_processes():
    seen = read_log(
        ["(EngineCore_DP0 pid=212) INFO 10-06 12:00:03 [core.py:708] Starting", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB."]
    )
    assert seen.root_cause is not None
    assert seen.root_cause.code == "out-of-memory"


def test_without_a_prediction_vllms_own_estimate_is_the_fix(tmp_path):
    log = tmp_path / "server.log"
    log.write_text(
        "INFO [utils.py:233] vLLM non-default args: {'model_tag': 'owner/unknown', 'max_model_len': 40960}\n"
        "ERROR [core.py:1346] ValueError: To serve at least one request with the model's max seq len (40960), 4.38 GiB KV cache is needed, which is larger "
        "than the available KV cache memory (1.0 GiB). Based on the available memory, the estimated maximum model length is 9344.\n"
    )
    done = run_plan("explain", str(log), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "By vLLM's own estimate this would start:\nvllm serve owner/unknown --max-model-len 9344" in done.stdout


def test_the_format_of_the_newest_release_is_read():
    seen = read_log(
        [
            "INFO 11-25 [utils.py:96] vLLM server version 0.33.0, serving model Qwen/Qwen3-8B",
            "INFO 11-25 [utils.py:96] non-default args: {'model_tag': 'Qwen/Qwen3-8B', 'enforce_eager': False, 'max_num_seqs': 8}",
            "INFO 11-25 [gpu_model_runner.py:5089] Model loading took 15.27 GiB memory and 3.000000 seconds",
            "DEBUG 11-25 [gpu_worker.py:770] Memory profiling takes 9.00 seconds. Total non KV cache memory: 17.2GiB; torch peak memory increase: 1.5GiB; "
            "total consumed (from mem_get_info): 15.70GiB; weights memory: 15.27GiB.",
            "INFO 11-25 [kv_cache_utils.py:1149] GPU KV cache size: 31,120 tokens, Maximum concurrency for 8,192 tokens per request: 3.80x",
        ]
    )
    assert (seen.version, seen.model, seen.kv_cache_tokens, seen.max_concurrency) == ("0.33.0", "Qwen/Qwen3-8B", 31_120, 3.8)
    assert seen.non_torch_bytes == pytest.approx(0.43 * GIB, abs=0.01 * GIB)
    assert command_words(seen) == ["Qwen/Qwen3-8B", "--max-num-seqs", "8"]


def test_the_prediction_stands_beside_and_the_fixed_command_is_checked(tmp_path):
    path = next(path for path in LOGS if path.name.startswith("qwen-qwen3-14b"))
    done = run_plan("explain", str(path), "--format", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    jsonschema.validate(answer, json_schema("explain"))
    assert done.returncode == 1
    assert (answer["root_cause"]["code"], answer["predicted"]["problems"][0]["code"]) == ("not-divisible", "not-divisible")
    again = run_plan("check", "--gpu", "h100", "--count", "5", "--vllm-version", "0.19", "--", *answer["fixed_command"], cwd=tmp_path)
    assert again.returncode == 0, again.stdout


def test_observed_and_predicted_agree_on_a_real_start(tmp_path):
    path = next(path for path in LOGS if path.name.startswith("qwen-qwen3-8b"))
    answer = json.loads(run_plan("explain", str(path), "--format", "json", cwd=tmp_path).stdout)
    jsonschema.validate(answer, json_schema("explain"))
    rows = {row["what"]: row for row in answer["differences"]}
    assert rows["kv_cache"]["predicted"] == pytest.approx(rows["kv_cache"]["observed"], rel=0.01)
    assert all(not row["why"] for row in rows.values())


def test_what_was_observed_is_kept_and_used_and_said(tmp_path):
    path = next(path for path in LOGS if path.name.startswith("qwen-qwen3-8b"))
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    question = ("--gpu", "h100", "--model", "qwen3-8b", "--format", "json", "--dry-run")
    before = json.loads(run_plan(*question, cwd=tmp_path, **home).stdout)
    assert run_plan("explain", str(path), "--gpu", "h100", "--save-calibration", cwd=tmp_path, **home).returncode == 0
    after = json.loads(run_plan(*question, cwd=tmp_path, **home).stdout)
    kept = json.loads((tmp_path / "config" / "plan" / "calibration.json").read_text())
    assert after["memory"]["non_torch_bytes"] - before["memory"]["non_torch_bytes"] == kept["gpus"]["h100"]["shift_bytes"]
    assert any(warning["code"] == "calibrated" for warning in after["warnings"])
    (tmp_path / "config" / "plan" / "calibration.json").write_text('{"schema": 99}')
    broken = run_plan(*question, cwd=tmp_path, **home)
    assert (broken.returncode, len(broken.stderr.splitlines())) == (0, 1)


@pytest.mark.slow
def test_a_huge_log_takes_no_memory(tmp_path):
    huge = tmp_path / "huge.log"
    with huge.open("w") as stream:
        stream.write("INFO vLLM API server version 0.33.0\n" + "x" * 60_000_000 + "\n")
        for _ in range(200_000):
            stream.write("INFO 11-25 09:00:00 [loggers.py:200] Engine 000: Avg prompt throughput: 0.0 tokens/s\n")
        stream.write(ERROR + MESSAGES["no-kv-memory"] + "\n")
    code = (
        "import sys; sys.argv = ['plan', 'explain', sys.argv[1]]\n"
        "from planner.cli.main import main\n"
        "try: main()\n"
        "finally: print(next(line for line in open('/proc/self/status') if 'VmHWM' in line).split()[1], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(huge)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "no-kv-memory" in done.stdout
    assert int(done.stderr.split()[-1]) < 120_000  # KiB


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\x7fELF\0\0", "not text"), (b"2026/11/25 nginx started\n", "not a log of a server"), (None, "cannot be read"), (b"", "not a log")],
)
def test_bad_input_is_one_line_and_exit_2(content, says, tmp_path):
    if content is not None:
        (tmp_path / "log").write_bytes(content)
    done = run_plan("explain", "log", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_key_in_the_command_is_not_repeated():
    seen = read_log(["vllm non-default args: {'model': 'a/b', 'api_key': ['secret']}"])
    assert isinstance(seen, Observed)
    assert not re.search("secret", " ".join(command_words(seen)))


# What people paste: one line, with or without the process that wrote it; of each kind what must be understood and what it calls for.
PASTED = {
    "Free memory on device cuda:0 (6.44/11.63 GiB) on startup is less than desired GPU memory utilization (0.9, 10.47 GiB). Decrease GPU memory "
    "utilization or reduce GPU memory used by other processes.": ("free-memory", "--gpu-memory-utilization 0.55"),
    "To serve at least one request with the models's max seq len (131072), (32.00 GiB KV cache is needed, which is larger than the available KV cache "
    "memory (10.88 GiB). Based on the available memory, the estimated maximum model length is 44592.": ("kv-cache-too-small", "--max-model-len 44592"),
    "The model's max seq len (40960) is larger than the maximum number of tokens that can be stored in KV cache (12048). Try increasing "
    "`gpu_memory_utilization`": ("kv-cache-too-small", "--max-model-len 12048"),
    "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.": (
        "no-kv-memory",
        "--gpu-memory-utilization",
    ),
    "CUDA out of memory. Tried to allocate 594.00 MiB.": ("out-of-memory", "--max-num-seqs"),
    "151936 is not divisible by 5": ("not-divisible", "--tensor-parallel-size 4"),
    "Value error, Total number of attention heads (40) must be divisible by tensor parallel size (3).": ("not-divisible", "--tensor-parallel-size 2"),
    "Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute capability 7.5.": (
        "unsupported",
        "--dtype half",
    ),
    "vllm serve: error: unrecognized arguments: --max-model-length 8192": ("unknown-flag", "--max-model-len"),
    "User-specified max_model_len (65536) is greater than the derived max_model_len (max_position_embeddings=40960 or model_max_length=None in model's "
    "config.json).": ("bad-value", "--max-model-len 40960"),
    "[Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use": ("port-in-use", "--port 8001"),
    "Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist": ("toolchain", "nvcc"),
    "[Errno 2] No such file or directory: 'ninja'": ("toolchain", "pip install ninja"),
    "Command '['ninja', '-v']' returned non-zero exit status 1.": ("toolchain", "ninja"),
    "Failed to infer device type": ("no-gpu", "nvidia-smi"),
    'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].': ("no-gpu", "NVIDIA Container Toolkit"),
    "No CUDA GPUs are available": ("no-gpu", "nvidia-smi"),
    "[Errno 28] No space left on device": ("disk-full", "HF_HOME"),
    '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set': ("refused-request", "--tool-call-parser"),
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, 1000 in the completion).": (
        "refused-request",
        "--max-model-len 9000",
    ),
    "The decoder prompt (length 9000) is longer than the maximum model length of 8192. Make sure that `max_model_len` is no smaller": (
        "refused-request",
        "--max-model-len 9000",
    ),
    "Cannot access gated repo for url https://huggingface.co/google/gemma-2-9b-it/resolve/main/config.json.": ("model-access", "hf auth login"),
    "Engine core initialization failed. See root cause above. Failed core proc(s): {}": ("other", "lines above"),
}
WRITTEN_BY = {
    "alone": "{}",
    "as an exception": "ValueError: {}",
    "by the engine's core": ERROR + "ValueError: {}",
    "by its file": "[core.py:843] ValueError: {}",
    "by a worker": "(Worker_TP0 pid=442) ERROR 04-22 00:27:44 [v1/executor/multiproc_executor.py:857] AssertionError: {}",
    "in a container": "vllm-1  | (APIServer pid=1) {}",
}


@pytest.mark.parametrize("by", WRITTEN_BY)
@pytest.mark.parametrize("line", PASTED, ids=lambda line: line[:30])
def test_a_pasted_line_is_understood_whoever_wrote_it(line, by):
    code, calls_for = PASTED[line]
    seen = read_log([WRITTEN_BY[by].format(line)])
    assert seen.root_cause is not None
    assert seen.root_cause.code == code
    told = " ".join(f"{remedy.change} {remedy.arguments}" for remedy in remedies(seen.root_cause))
    assert calls_for in told


def test_a_refused_request_is_no_failed_start(tmp_path):
    for line in (line for line, (code, _) in PASTED.items() if code == "refused-request"):
        done = run_plan("explain", line, cwd=tmp_path)
        assert done.returncode == 1
        assert "refused a request" in done.stdout.splitlines()[0]
        assert "did not start" not in done.stdout


def test_every_flag_of_a_remedy_is_one_of_the_engine():
    for code, line in [(code, line) for line, (code, _) in PASTED.items()] + list(MESSAGES.items()):
        cause = read_log([line]).root_cause
        assert cause is not None, code
        for remedy in remedies(cause):
            _, _, faults = parse_flags(remedy.arguments.replace(" N", " 2").split(), "0.33")
            assert not faults, remedy


@pytest.mark.skipif(not WHOLE.exists(), reason="the whole logs lie beside the project only where it is built")
def test_each_line_of_a_failed_log_that_names_a_cause_is_understood_alone():
    named = 0
    for path in WHOLE.glob("*FAILED*"):
        lines = path.read_text(errors="replace").splitlines()
        whole = read_log(lines).root_cause
        for line in lines:
            said = message(line)
            if re.match(r"(?:[\w.]+(?:Error|Exception)|\d{3} \w+): ", said):
                seen = read_log([line]).root_cause
                assert seen is not None, line
                assert seen.code == whole.code or "Engine core" in line, line
                named += 1
    assert named >= 10


def test_a_pasted_line_is_an_argument_and_its_own_number_the_fix(tmp_path):
    line = next(line for line in PASTED if "44592" in line)
    told = run_plan("explain", line, cwd=tmp_path)
    assert told.returncode == 1, told.stderr
    assert "--max-model-len 44592" in told.stdout
    answer = json.loads(run_plan("explain", line, "--gpu", "a100-80", "--model", "qwen3-vl-32b", "--format", "json", cwd=tmp_path).stdout)
    jsonschema.validate(answer, json_schema("explain"))
    assert answer["fixed_command"] == ["vllm", "serve", "Qwen/Qwen3-VL-32B-Instruct", "--max-model-len", "44592"]
    assert answer["observed"]["settings"]["max_model_len"] == 131_072
    assert answer["predicted"]["settings"]["max_model_len"] == 131_072
    assert answer["root_cause"]["code"] == "kv-cache-too-small"


def test_a_whole_traceback_of_a_worker_is_its_last_line():
    path = next(path for path in LOGS if path.name.startswith("qwen-qwen3-14b"))
    lines = [line for line in path.read_text().splitlines() if "(Worker_TP4" in line and "ERROR" in line]
    assert len(lines) > 5
    seen = read_log(lines).root_cause
    assert (seen.code, seen.message) == ("not-divisible", "AssertionError: 151936 is not divisible by 5")


@pytest.mark.parametrize("line", ["ValueError: No available memory for the cache blocks.", "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB."])
def test_a_mac_runs_no_vllm(line, tmp_path):
    done = run_plan("explain", line, "--model", "qwen3-8b", "--gpu", "m4-max-64gb", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "vLLM needs an NVIDIA or AMD GPU" in done.stderr
    metal = "[METAL] Command buffer execution failed: Insufficient Memory"
    assert "mlx" in run_plan("explain", metal, "--model", "qwen3-8b", "--gpu", "m4-max-64gb", cwd=tmp_path).stdout


@pytest.mark.parametrize("log", ["", " ", "\n"])
def test_nothing_is_no_log(log, tmp_path):
    done = run_plan("explain", log, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "no log was given" in done.stderr

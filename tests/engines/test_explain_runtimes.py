"""`plan explain` of llama.cpp, Ollama and MLX: logs and lines as people post them, from the issues named beside each."""

import json

import jsonschema
import pytest
from conftest import run_plan

from planner.engines import ENGINES
from planner.engines.llamacpp.flags import grammar
from planner.engines.mlx.flags import known_flags
from planner.errors import PlannerError
from planner.questions.explain import explain_log, read_any
from planner.report.schemas import json_schema
from planner.units import GIB, MIB

# ggml-org/llama.cpp#20431
TOO_LARGE = """\
load_tensors: loading model tensors, this can take a while... (mmap = true, direct_io = false)
ggml_backend_cuda_buffer_type_alloc_buffer: allocating 144817.04 MiB on device 0: cudaMalloc failed: out of memory
alloc_tensor_range: failed to allocate CUDA0 buffer of size 151851674624
llama_model_load: error loading model: unable to allocate CUDA0 buffer
"""
# ggml-org/llama.cpp#26297: the buffer of pipeline parallelism fails, the server starts without
RETRIED = """\
1.06.520.077 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 51748.72 MiB on device 1: cudaMalloc failed: out of memory
1.06.520.084 E ggml_gallocr_reserve_n_impl: failed to allocate CUDA1 buffer of size 54262464512
1.06.520.086 E graph_reserve: failed to allocate compute buffers
1.06.520.107 W sched_reserve: compute buffer allocation failed, retrying without pipeline parallelism
1.07.304.130 I srv    load_model: initializing, n_slots = 1, n_ctx_slot = 50176, kv_unified = 'false'
1.07.304.131 I main: model loaded
1.07.304.132 I main: server is listening on http://127.0.0.1:8080
"""
# OpenBMB/MiniCPM#250
NO_GGUF = """\
gguf_init_from_file: invalid magic characters 'vers'
llama_model_load: error loading model: llama_model_loader: failed to load model from models/minicpm3-4b-fp16.gguf

llama_load_model_from_file: failed to load model
main: error: unable to load model
"""
# Written as llama.cpp writes it, with the sizes of field case L01 (RX 7900 XT, Qwen2.5-32B Q4_K_M, 4,096 tokens)
STARTED = """\
build: 8946 (0c1e5709) with cc (Ubuntu 13.3.0) for x86_64-linux-gnu
llama_model_loader: loaded meta data with 34 key-value pairs and 771 tensors from /models/qwen2.5-32b-instruct-q4_k_m.gguf (version GGUF V3 (latest))
llama_model_loader: - kv   2:                               general.name str              = Qwen2.5 32B Instruct
print_info: file type   = Q4_K - Medium
load_tensors: offloading output layer to GPU
load_tensors: offloaded 65/65 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   417.66 MiB
load_tensors:        ROCm0 model buffer size = 18508.00 MiB
llama_context: n_seq_max     = 1
llama_context: n_ctx         = 4096
llama_context: n_ubatch      = 512
llama_kv_cache:      ROCm0 KV buffer size =  1024.00 MiB
llama_kv_cache: size = 1024.00 MiB (  4096 cells,  64 layers,  1/1 seqs), K (f16):  512.00 MiB, V (f16):  512.00 MiB
sched_reserve:      ROCm0 compute buffer size =   307.00 MiB
sched_reserve:  ROCm_Host compute buffer size =    18.01 MiB
main: server is listening on http://0.0.0.0:8080 - starting the main loop
"""
# ollama/ollama#11090, MarkWard0110: Ollama's own engine
GO_ENGINE = """\
time=2025-07-18T14:50:56.874Z level=INFO source=ggml.go:116 msg="" architecture=mistral3 file_type=Q8_0 name="" description="" num_tensors=585
time=2025-07-18T14:50:57.066Z level=INFO source=ggml.go:351 msg="offloading 40 repeating layers to GPU"
time=2025-07-18T14:50:57.066Z level=INFO source=ggml.go:362 msg="offloaded 41/41 layers to GPU"
time=2025-07-18T14:50:57.066Z level=INFO source=ggml.go:365 msg="model weights" buffer=CUDA0 size="11.5 GiB"
time=2025-07-18T14:50:57.066Z level=INFO source=ggml.go:365 msg="model weights" buffer=CUDA1 size="11.9 GiB"
time=2025-07-18T14:50:57.066Z level=INFO source=ggml.go:365 msg="model weights" buffer=CPU size="680.0 MiB"
"""
# ollama/ollama#5913: it starts, then fails
THEN_FAILED = """\
Jul 24 16:07:58 vega ollama[114917]: time=2024-07-24T16:07:58.350+02:00 level=INFO source=server.go:622 msg="llama runner started in 6.54 seconds"
Jul 24 16:07:58 vega ollama[114917]: CUDA error: out of memory
Jul 24 16:07:58 vega ollama[114917]:   current device: 0, in function alloc at /go/src/github.com/ollama/ollama/llm/llama.cpp/ggml/src/ggml-cuda.cu:291
"""
# ml-explore/mlx-lm#1672
BUFFERS = """\
2026-08-19 10:00:00,000 - INFO - Starting httpd at 127.0.0.1 on port 8080...
    RuntimeError: [metal::malloc] Resource limit (499000) exceeded.
"""
# ggml-org/llama.cpp#22673: Metal's words in a log of llama.cpp's
METAL = """\
ggml_metal_synchronize: error: command buffer 1 failed with status 5
error: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)
"""
LOGS = {
    "Metal's words": (METAL, "llama.cpp", False, "out-of-memory"),
    "too large": (TOO_LARGE, "llama.cpp", False, "out-of-memory"),
    "no GGUF file": (NO_GGUF, "llama.cpp", False, "model-access"),
    "a retry that helped": (RETRIED, "llama.cpp", True, None),
    "a start": (STARTED, "llama.cpp", True, None),
    "Ollama's engine": (GO_ENGINE, "ollama", False, None),
    "a start that failed": (THEN_FAILED, "ollama", True, "out-of-memory"),
    "too many buffers": (BUFFERS, "mlx", True, "out-of-memory"),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_is_read_by_the_engine_that_wrote_it(name):
    text, engine, started, code = LOGS[name]
    writer, seen = read_any(text.splitlines(keepends=True))
    assert (writer.name, seen.engine, seen.started) == (engine, engine, started)
    assert (seen.root_cause.code if seen.root_cause else None) == code


@pytest.mark.parametrize("name", LOGS)
def test_a_log_may_end_anywhere(name):
    lines = LOGS[name][0].splitlines(keepends=True)
    for end in range(len(lines) + 1):
        for engine in ENGINES.values():
            engine.read_log([*lines[:end], lines[end % len(lines)][:9]])


def test_what_it_took_is_read():
    _, seen = read_any(STARTED.splitlines())
    assert (seen.version, seen.layers, seen.layers_on_gpu) == ("8946", 65, 65)
    assert (seen.weights_bytes, seen.kv_cache_bytes, seen.compute_bytes) == (18508 * MIB, 1024 * MIB, 307 * MIB)
    assert seen.host_bytes == int(417.66 * MIB)
    _, seen = read_any(GO_ENGINE.splitlines())
    assert (seen.weights_bytes, seen.host_bytes, seen.layers) == (int(11.9 * GIB), 680 * MIB, 41)  # the fullest of two GPUs


def test_two_caches_of_one_gpu_add_up():
    """ggml-org/llama.cpp#27680, with the colours it has: a base cache of nothing beside one of windows; a state beside them."""
    lines = [
        "\x1b[34m1.14.609.487\x1b[0m \x1b[32mI \x1b[0mllama_kv_cache:      CUDA0 KV buffer size =     1.00 MiB",
        "\x1b[34m1.14.610.021\x1b[0m \x1b[32mI \x1b[0mllama_kv_cache:      CUDA0 KV buffer size =   182.75 MiB",
        "llama_memory_recurrent:      CUDA0 RS buffer size =   149.62 MiB",
    ]
    assert read_any(lines)[1].kv_cache_bytes == MIB + int(182.75 * MIB) + int(149.62 * MIB)


# One line each: the engine, the kind, what it calls for.
PASTED = {
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 11264.00 MiB on device 0: cudaMalloc failed: out of memory": (
        "llama.cpp", "out-of-memory", "--ctx-size"
    ),
    "llama_model_load: error loading model: vk::Device::allocateMemory: ErrorOutOfDeviceMemory": ("llama.cpp", "out-of-memory", "--cpu-moe"),
    "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache": ("llama.cpp", "out-of-memory", "q8_0"),
    "llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'qwen35'": ("llama.cpp", "unsupported", "newer build"),
    "error: invalid argument: --no-mmap": ("llama.cpp", "unknown-flag", "--load-mode none"),
    "error: invalid argument: --ctx-siz": ("llama.cpp", "unknown-flag", "--ctx-size"),
    'error while handling argument "-ctk": Unsupported cache type: q9_0': ("llama.cpp", "bad-value", "llama-server --help"),
    "error while handling argument \"-fa\": error: unknown value for --flash-attn: '-ctk'": ("llama.cpp", "bad-value", "took the flag behind it"),
    "CUDA error: no kernel image is available for execution on the device, in function ggml_cuda_compute_forward": (
        "llama.cpp",
        "unsupported",
        "CMAKE_CUDA_ARCHITECTURES",
    ),
    "load_model: device CUDA0 does not support split buffers": ("llama.cpp", "unsupported", "--split-mode layer"),
    "error loading model: LLAMA_SPLIT_MODE_TENSOR not implemented for architecture 'deepseek2'": ("llama.cpp", "unsupported", "--split-mode layer"),
    "llama_init_from_model: SPLIT_MODE_TENSOR requires flash_attn to be enabled": ("llama.cpp", "bad-value", "--flash-attn on"),
    "Error: listen tcp 127.0.0.1:11434: bind: address already in use": ("ollama", "port-in-use", "an Ollama runs there already"),
    "llama_init_from_model: V cache quantization requires flash_attn": ("llama.cpp", "bad-value", "--flash-attn on"),
    "srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080": ("llama.cpp", "port-in-use", "--port 8081"),
    "srv  send_error: task id = 0, error: request (40000 tokens) exceeds the available context size (8192 tokens), try increasing it": (
        "llama.cpp", "refused-request", "--parallel 1"
    ),
    "srv  send_error: input is too large to process. increase the physical batch size": ("llama.cpp", "refused-request", "--ubatch-size"),
    "llama-server: error while loading shared libraries: libcudart.so.12: cannot open shared object file": ("llama.cpp", "toolchain", "driver"),
    "Error: model requires more system memory (31.4 GiB) than is available (15.2 GiB)": ("ollama", "out-of-memory", "31.4 GiB are asked for"),
    "Error: llama runner process has terminated: CUDA error: out of memory": ("ollama", "out-of-memory", "OLLAMA_KV_CACHE_TYPE=q8_0"),  # ollama#9782
    "Error: listen tcp 127.0.0.1:11434: bind: address already in use (ollama serve)": ("ollama", "port-in-use", "OLLAMA_HOST=127.0.0.1:11435"),
    "Error: pull model manifest: file does not exist (ollama pull nothing)": ("ollama", "model-access", "ollama pull"),
    "libc++abi: terminating due to uncaught exception of type std::runtime_error: [METAL] Command buffer execution failed: Insufficient Memory "
    "(00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)": ("mlx", "out-of-memory", "plan --engine mlx"),
    "RuntimeError: [metal::malloc] Attempting to allocate 48736917632 bytes which is greater than the maximum allowed buffer size of 30150672384 bytes.": (
        "mlx", "out-of-memory", "a prompt shorter by 38%"
    ),
    "error: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)": ("mlx", "out-of-memory", "--prefill-step-size 512"),
    "ERROR:root:Model type mistral3 not supported.": ("mlx", "unsupported", "pip install -U mlx-lm"),  # mlx-lm#84
    "mlx_lm.server: error: unrecognized arguments: --max-kv-size 4096": ("mlx", "unknown-flag", "leave --max-kv-size out"),
    "OSError: [Errno 48] Address already in use (mlx_lm.server, port 8080)": ("mlx", "port-in-use", "--port 8081"),
}  # fmt: skip


@pytest.mark.parametrize("line", PASTED, ids=lambda line: line[:50])
def test_a_pasted_line_is_understood(line):
    engine, code, calls_for = PASTED[line]
    explained, _ = explain_log([line])
    assert (explained.observed.engine, explained.observed.root_cause.code) == (engine, code)
    told = " ".join(f"{remedy.change} {remedy.arguments}" for remedy in explained.remedies)
    assert calls_for in told, told


@pytest.mark.parametrize("line", PASTED, ids=lambda line: line[:50])
@pytest.mark.parametrize("prefix", ["llama-1  | ", "2026-11-25T09:00:00.123456789Z stderr F ", "\x1b[31m"])
def test_prefixes_change_nothing(line, prefix):
    engine, code, _ = PASTED[line]
    _, seen = read_any([prefix + line])
    assert (seen.engine, seen.root_cause.code) == (engine, code)


def test_every_flag_of_a_remedy_is_one_of_the_engine():
    tables = {"llama.cpp": grammar().spellings, "mlx": known_flags()}
    for line, (engine, _, _) in PASTED.items():
        for remedy in explain_log([line])[0].remedies:
            flags = [word for word in remedy.arguments.split() if word.startswith("--")]
            assert set(flags) <= set(tables.get(engine, ())), remedy


KILLED = [
    "Killed",
    "./run.sh: line 3: 41532 Killed                  llama-server -m model.gguf",
    "llama-server exited with code 137",
    "Memory cgroup out of memory: Killed process 4711 (llama-server) total-vm:41532000kB",
    'level=ERROR source=sched.go:456 msg="error loading llama server" error="llama runner process has terminated: signal: killed"',
    "container ollama exited with code 137",
    "mlx_lm.server: exit status 137",
    "(EngineCore_DP0 pid=212) vllm: exit code 137",
]


@pytest.mark.parametrize("line", KILLED, ids=lambda line: line[:40])
def test_a_killed_process_wanted_main_memory(line):
    explained, _ = explain_log([line])
    assert explained.observed.root_cause.code == "out-of-memory"
    assert "main memory ended" in explained.remedies[0].change


def test_the_prediction_stands_beside_a_start(tmp_path):
    log = tmp_path / "log"
    log.write_text(STARTED)
    done = run_plan("explain", "log", "--gpu", "rtx4090", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    jsonschema.validate(answer, json_schema("explain"))
    assert (answer["schema"], answer["engine"], answer["started"]) == (2, {"name": "llama.cpp", "version": "8946"}, True)
    rows = {row["what"]: row for row in answer["differences"]}
    assert set(rows) == {"weights", "kv_cache", "compute"}
    for row in rows.values():
        assert row["predicted"] == pytest.approx(row["observed"], rel=0.01), row
        assert not row["why"]


def test_what_was_too_large_is_made_to_start(tmp_path):
    log = STARTED.partition("llama_kv_cache:")[0].replace("= 4096", "= 40960").replace("qwen2.5-32b-instruct-q4_k_m", "Qwen3-32B-Q4_K_M")
    text = log + TOO_LARGE.partition("\n")[2]
    (tmp_path / "log").write_text(text)
    answer = json.loads(run_plan("explain", "log", "--gpu", "rtx4090", "--format", "json", cwd=tmp_path).stdout)
    assert (answer["root_cause"]["code"], answer["predicted"]["verdict"]) == ("out-of-memory", "does_not_start")
    again = run_plan("check", "--gpu", "rtx4090", "--", *answer["fixed_command"], cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr


def test_the_terminal_names_the_engine(tmp_path):
    told = run_plan("explain", "Error: model requires more system memory (31.4 GiB) than is available (15.2 GiB)", cwd=tmp_path)
    assert told.returncode == 1
    assert "with Ollama: did not start" in told.stdout.splitlines()[0]
    (tmp_path / "log").write_text(THEN_FAILED)
    assert "with Ollama: started, then failed" in run_plan("explain", "log", cwd=tmp_path).stdout.splitlines()[0]


def test_no_log_of_any_engine_is_a_question_to_the_user():
    with pytest.raises(PlannerError, match="not a log of a server"):
        read_any(["2026/11/25 nginx started\n"])

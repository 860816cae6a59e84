"""What LiteLLM says, as people post it (BerriAI/litellm issues named beside), and what the guide's troubleshooting asks: the message pasted, its cause and what helps."""

import json

import jsonschema
import pytest
from conftest import run_plan
from test_schemas import closed

from planner.errors import PlannerError
from planner.questions.explain import explain_log
from planner.report.schemas import json_schema

# The message that a person pastes: whose it is, its kind, what is called for.
GUIDE = {
    "MLX: Model download slow?": ("Fetching 13 files:   8%|▊         | 1/13 [04:12<50:31, 252.60s/it]", "mlx", "downloading", "hf download"),
    "MLX: Out of memory?": (
        "[METAL] Command buffer execution failed: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "mlx", "out-of-memory", "weights of fewer bits",
    ),
    "MLX: Tokenizer errors?": (
        "ValueError: Tokenizer class TokenizersBackend does not exist or is not currently imported.", "mlx", "toolchain", "pip install -U transformers"
    ),
    "MLX: Port in use?": ("OSError: [Errno 48] Address already in use", "mlx", "port-in-use", "lsof -nP -iTCP:8080"),
    "LiteLLM: Callback not loading?": ("ImportError: Could not import proxy_handler_instance from custom_callbacks", "litellm", "callback", "put custom_callbacks.py there"),
    "LiteLLM: Callback not found?": ("ModuleNotFoundError: No module named 'custom_callbacks'", "litellm", "callback", "folder of its configuration"),
    "LiteLLM: 404 errors?": (
        "litellm.NotFoundError: NotFoundError: Hosted_vllmException - Error code: 404 - {'message': 'The model `qwen3` does not exist.', 'type': 'NotFoundError'}",
        "litellm", "unknown-model", "/v1/models lists what it serves",
    ),
    "LiteLLM: Cannot set continue_final_message": (
        'Cannot set "continue_final_message" when last message is not from assistant', "litellm", "refused-request", "custom_callbacks.py"
    ),
    "LiteLLM: add_generation_prompt": (
        "Cannot set `add_generation_prompt` to True when the last message is from the assistant. Consider using `continue_final_message` instead.",
        "litellm", "refused-request", "no callback sets it",
    ),
    "LiteLLM: a prompt longer than llama.cpp's context": (
        "litellm.BadRequestError: OpenAIException - request (9182 tokens) exceeds the available context size (4096 tokens), try increasing it.",
        "litellm", "refused-request", "longer than the server's context",
    ),
    "LiteLLM: Embedding errors?": (
        'litellm.APIConnectionError: OllamaException - {"error":"model \\"qwen3-embedding:0.6b\\" not found, try pulling it first"}',
        "litellm", "unknown-model", "ollama pull qwen3-embedding:0.6b",
    ),
    "LiteLLM: Check status": ("curl: (7) Failed to connect to localhost port 8080 after 0 ms: Couldn't connect to server", "litellm", "unreachable", "start the server"),
    "LiteLLM: no models": ('{"data":[],"object":"list"}', "litellm", "unknown-model", "model_list"),
    "Ollama: Model not found?": ("Error: model 'qwen3-vl:30b' not found", "ollama", "model-access", "ollama pull qwen3-vl:30b"),
    "Ollama: Slow first response?": ('[GIN] 2026/11/20 - 10:00:00 | 200 |         1m12s |       127.0.0.1 | POST     "/api/chat"', "ollama", "slow-load", "OLLAMA_KEEP_ALIVE"),
    "Ollama: VRAM issues?": ("qwen3-vl:30b    e1c9f234c6eb    27 GB     22%/78% CPU/GPU    131072     4 minutes from now", "ollama", "layers-on-cpu", "a tag of fewer bits"),
    "Ollama: Empty responses after tool execution?": (
        '{"model":"qwen2.5:7b","message":{"role":"assistant","content":""},"done_reason":"stop","done":true}', "ollama", "empty-answer", "ollama#5775"
    ),
    "Ollama: Check server status": ("Error: could not connect to ollama app, is it running?", "ollama", "unreachable", "ollama serve"),
    "Ollama: Check its port": ("curl: (7) Failed to connect to localhost port 11434 after 0 ms: Couldn't connect to server", "ollama", "unreachable", "ollama serve"),
}  # fmt: skip

POSTED = {
    "smolagents#1039": (
        "litellm.Timeout: APITimeoutError - Request timed out. Error_str: Request timed out. - timeout value=600.0, time taken=600.61 seconds LiteLLM Retried: 2 times, LiteLLM Max Retries: 2",
        "litellm", "timeout", "longer than 600 s, and was sent the prompt 3 times",
    ),
    "#7996": ("litellm.APIConnectionError: OllamaException - litellm.Timeout: Connection timed out after 600.0 seconds.", "litellm", "timeout", "longer than 600 s"),
    "agent-lightning#290": (
        "ERROR: Exception occured - No deployments available for selected model, Try again in 5 seconds. Passed model=Qwen/Qwen2.5-0.5B-Instruct. pre-call-checks=False, cooldown_list=['3d']",
        "litellm", "cooldown", "disable_cooldowns: true",
    ),
    "no provider": ("litellm.BadRequestError: LLM Provider NOT provided. Pass in the LLM provider you are trying to call. You passed model=qwen3-8b", "litellm", "bad-value", "hosted_vllm/"),
    "no route": (
        '{"error":{"message":"/chat/completions: Invalid model name passed in model=foo. Call `/v1/models` to view available models for your key.","code":"400"}}',
        "litellm", "unknown-model", "no route has the name foo:",
    ),
    "no master key": ("LiteLLM proxy refused to start: no master key is set, so every request would be accepted", "litellm", "no-key", "export LITELLM_MASTER_KEY"),
    "the client's key": ("Authentication Error, No connected db.", "litellm", "no-key", "master key as the client's API key"),
    "the server's key": ("litellm.InternalServerError: InternalServerError: OpenAIException - Missing credentials. Please pass an `api_key`", "litellm", "no-key", "api_key: none"),
    "no server": ("litellm.InternalServerError: InternalServerError: Hosted_vllmException - [Errno 111] Connection refused", "litellm", "unreachable", "api_base"),
    "what the server says": (
        "litellm.BadRequestError: OpenAIException - input (1500 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
        "litellm", "other", "--ubatch-size 2048",
    ),
    "llama.cpp's size": (
        '{"error":{"code":500,"message":"input (1500 tokens) is too large to process. increase the physical batch size (current batch size: 512)","type":"server_error"}}',
        "llama.cpp", "refused-request", "--ubatch-size 2048",
    ),
    "llama.cpp's projector": ("image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "llama.cpp", "unsupported", "--mmproj"),
    "a cut prompt": ('level=WARN source=runner.go:131 msg="truncating input prompt" limit=4096 prompt=13000 keep=4 new=4096', "ollama", "truncated", "num_ctx 16384"),
    "a slow disk": ('level=ERROR source=sched.go:456 msg="error loading llama server" error="timed out waiting for llama runner to start - progress 0.00 - "', "ollama", "timeout", "OLLAMA_LOAD_TIMEOUT"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*GUIDE, *POSTED])
def test_a_pasted_message_has_its_cause_and_what_helps(name):
    text, writer, code, calls_for = (GUIDE | POSTED)[name]
    explained, _ = explain_log([text])
    seen = explained.observed
    assert (seen.engine, seen.root_cause.code) == (writer, code)
    told = " ".join(f"{remedy.change} {remedy.arguments}" for remedy in explained.remedies)
    assert calls_for in told, told


@pytest.mark.parametrize("name", [*GUIDE, *POSTED])
def test_a_message_may_end_anywhere(name):
    text = (GUIDE | POSTED)[name][0]
    for end in range(0, len(text), 7):
        try:
            explain_log([text[:end]])
        except PlannerError as error:
            assert error.exit_code == 2


def test_a_table_of_ollama_stands_beside_the_prediction():
    """Qwen3-32B at 32,768 tokens: 18.8 GiB of weights and 8 of cache do not fit 24 GB."""
    table = (
        "NAME         ID              SIZE      PROCESSOR          CONTEXT    UNTIL\n"
        "qwen3:8b     500a1f067a9f    6.5 GB    100% GPU           4096       Forever\n"
        "qwen3:32b    e1c9f234c6eb    29 GB     22%/78% CPU/GPU    32768      4 minutes from now\n"
    )
    explained, _ = explain_log(table.splitlines(keepends=True), gpu="rtx4090")
    assert (explained.observed.model, explained.observed.flags["ctx_size"], explained.observed.flags["cpu_percent"]) == ("qwen3:32b", 32_768, 22)
    size, _ = explained.differences  # and what of it lies in main memory
    assert size.predicted == pytest.approx(size.observed, rel=0.06)
    assert explained.predicted.layers_on_gpu < explained.predicted.layers


# What check says of the same command over two cards: the table counts all of them, and main memory.
@pytest.mark.parametrize("count", [2, None])
def test_a_table_of_several_gpus_is_held_against_all_of_them(count):
    line = "llama3.3:70b   a6eb4748fd29    54 GB    12%/88% CPU/GPU    32768      4 minutes from now"
    explained, _ = explain_log([line], gpu="rtx3090", count=count)
    used, host = explained.differences
    assert (used.what, host.what, explained.predicted.group.count) == ("used", "host", 2)
    assert used.predicted == pytest.approx(54e9, rel=0.01)
    assert host.predicted == pytest.approx(0.12 * 54e9, rel=0.05)
    shown = next(warning.message for warning in explained.predicted.warnings if warning.code == "layers-on-cpu")
    assert "`ollama ps` shows 54 GB, 12%/88% CPU/GPU" in shown


def test_a_port_where_nothing_answers_is_told_with_those_of_the_programs_themselves():
    explained, _ = explain_log(["curl: (7) Failed to connect to localhost port 8000 after 0 ms: Couldn't connect to server"])
    told = explained.remedies[0].change
    assert all(port in told for port in ("vLLM 8000", "llama.cpp 8080", "Ollama 11434", "MLX 8080"))


def test_the_column_of_shares_alone_is_explained():
    explained, _ = explain_log(["34%/66% CPU/GPU"])
    assert explained.observed.root_cause.message == "34 % of the model lies in main memory and runs on the CPU"
    with pytest.raises(PlannerError):
        explain_log(["34%/67% CPU/GPU"])


def test_a_proxys_log_is_json_and_text(tmp_path):
    (tmp_path / "log").write_text(
        "INFO:     Uvicorn running on http://0.0.0.0:4000\nLiteLLM: Proxy initialized with Config\n" + POSTED["smolagents#1039"][0] + "\n"
    )
    done = run_plan("explain", "log", "--format", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    jsonschema.validate(answer, closed(json_schema("explain")), cls=jsonschema.Draft202012Validator)
    assert (done.returncode, answer["engine"]["name"], answer["root_cause"]["code"]) == (1, "litellm", "timeout")
    assert "with LiteLLM: answered too late" in run_plan("explain", "log", cwd=tmp_path).stdout.splitlines()[0]


def test_a_server_that_failed_beside_the_proxy_is_the_cause():
    text = (
        "litellm-1  | litellm.InternalServerError: InternalServerError: OpenAIException - Connection error.\n"
        "chat-1     | ggml_backend_cuda_buffer_type_alloc_buffer: allocating 11264.00 MiB on device 0: cudaMalloc failed: out of memory\n"
    )
    assert explain_log(text.splitlines())[0].observed.root_cause.code == "out-of-memory"


def test_a_list_of_models_is_a_server_that_answers():
    explained, _ = explain_log(['{"data":[{"id":"qwen3-vl-32b","object":"model","created":1677610602,"owned_by":"openai"}],"object":"list"}'])
    assert (explained.observed.started, explained.observed.model, explained.observed.root_cause) == (True, "qwen3-vl-32b", None)

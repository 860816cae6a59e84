"""LiteLLM's configuration: which routes can't answer, what keeps it from starting, what is dangerous or does nothing. Each kind was tried on 1.106.2."""

import json
import subprocess

import jsonschema
import pytest
from conftest import run_plan
from test_schemas import closed

from planner.errors import PlannerError
from planner.questions.check_proxy import check_proxy
from planner.questions.find_commands import find_commands
from planner.questions.proxy.config import read_config
from planner.questions.proxy.judge import _facts, judge
from planner.questions.proxy.servers import beside_servers
from planner.report.schemas import json_schema
from tests.judges import judge_venv

SOUND = """\
model_list:
  - model_name: chat
    litellm_params: {model: hosted_vllm/Qwen/Qwen3-8B, api_base: "http://127.0.0.1:8000/v1"}
  - model_name: embedding
    litellm_params: {model: ollama/qwen3-embedding:0.6b, api_base: "http://127.0.0.1:11434"}
    model_info: {mode: embedding}
litellm_settings: {num_retries: 0, request_timeout: 1800}
router_settings: {disable_cooldowns: true}
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
"""


def route(**params):
    return judge(read_config(json.dumps({"model_list": [{"model_name": "m", "litellm_params": params}]})))


def test_a_sound_configuration_has_nothing_to_say():
    answer = judge(read_config(SOUND))
    assert (answer.verdict, answer.problems, answer.warnings, answer.exit_code) == ("starts", (), (), 0)
    assert [route.name for route in answer.routes] == ["chat", "embedding"]


HOME = "http://localhost:8000/v1"
SILENT = {
    "no provider": ({"model": "qwen3:8b", "api_base": HOME}, "no-provider", "hosted_vllm, ollama_chat, openai"),
    "an owner for a provider": ({"model": "Qwen/Qwen3-8B", "api_base": HOME}, "no-provider", "PROVIDER/Qwen/Qwen3-8B"),
    "a misspelt provider": ({"model": "hosted_vlm/Qwen3-8B", "api_base": HOME}, "no-provider", "hosted_vllm/"),
    "no address": ({"model": "hosted_vllm/Qwen3-8B"}, "no-address", "api_base"),
    "OpenAI is asked": ({"model": "openai/qwen3-8b", "api_key": "x"}, "no-address", "api_base"),
    "no key": ({"model": "openai/qwen3-8b", "api_base": HOME}, "no-key", "api_key: none"),
    "no scheme": ({"model": "hosted_vllm/x", "api_base": "localhost:8000"}, "bad-value", "http://localhost:8000"),
    "the whole route": ({"model": "hosted_vllm/x", "api_base": f"{HOME}/chat/completions"}, "bad-value", "api_base: http://localhost:8000/v1"),
    "Ollama below /v1": ({"model": "ollama_chat/x", "api_base": "http://localhost:11434/v1"}, "bad-value", "api_base: http://localhost:11434"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_route_that_cannot_answer(name):
    params, code, fix = SILENT[name]
    answer = route(**params)
    assert (answer.verdict, answer.exit_code) == ("starts", 1)
    assert [problem.code for problem in answer.problems] == [code]
    assert fix in answer.problems[0].fix


@pytest.mark.parametrize(
    "params", [{"model": "gpt-4o"}, {"model": "openai/*"}, {"model": "claude-sonnet-4-5"}, {"model": "x", "custom_llm_provider": "ollama"}]
)
def test_what_a_service_serves_is_not_judged(params):
    assert not route(**params).problems


TOLD = {
    "the guide's merge": ("litellm_params: {model: ollama_chat/x, merge_consecutive_messages: true}", "", "does-nothing", "merge_consecutive_messages"),
    "a misspelt key": ("litellm_params: {model: ollama_chat/x, api_bse: y}", "", "forwarded", "did you mean api_base"),
    "the guide's skip": ("litellm_params: {model: ollama_chat/x}\n    model_info: {health_check_model: skip}", "", "does-nothing", "disable_background_health_check"),
    "embedding without its mode": ("litellm_params: {model: ollama/qwen3-embedding}", "", "no-mode", "mode: embedding"),
    "the guide's health": ("litellm_params: {model: ollama_chat/x}", "general_settings: {health_check_mode: off}", "does-nothing", "reads it nowhere"),
    "timeout x retries": ("litellm_params: {model: ollama_chat/x}", "litellm_settings: {num_retries: 3, request_timeout: 600}", "timeout-retries", "4 times, 2,400 s"),
    "its own timeout": ("litellm_params: {model: ollama_chat/x, timeout: 60}", "litellm_settings: {num_retries: 1}", "timeout-retries", "2 times, 120 s"),
    "LiteLLM's defaults": ("litellm_params: {model: ollama_chat/x}", "", "timeout-retries", "6,000 s (its default) is asked for 3 times"),
    "cooldown of the only one": ("litellm_params: {model: ollama_chat/x}", "", "cooldown", "m: one answer 401 or 404"),
    "a fallback to nobody": ("litellm_params: {model: ollama_chat/x}", "litellm_settings: {fallbacks: [{m: [n]}]}", "unknown-model", "no route has the name n"),
    "no master key": ("litellm_params: {model: ollama_chat/x}", "", "no-key", "LITELLM_MASTER_KEY"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_what_is_dangerous_or_does_nothing_is_told(name):
    entry, settings, code, says = TOLD[name]
    answer = judge(read_config(f"model_list:\n  - model_name: m\n    {entry}\n{settings}\n"))
    assert any(warning.code == code and says in warning.message for warning in answer.warnings), [warning.message for warning in answer.warnings]


def test_two_deployments_of_a_name_may_cool_down():
    two = SOUND.replace("model_name: embedding", "model_name: chat").replace("disable_cooldowns: true", "")
    assert "cooldown" not in [warning.code for warning in judge(read_config(two)).warnings]


def test_what_keeps_it_from_starting(tmp_path):
    public = SOUND.replace("os.environ/LITELLM_MASTER_KEY", "sk-1234")
    assert judge(read_config(public)).verdict == "does_not_start"
    unkeyed = read_config(SOUND.replace("general_settings", "x_settings"))
    assert judge(unkeyed, sets_key=False).problems[0].code == "no-key"
    assert judge(unkeyed, sets_key=True).verdict == "starts"
    called = read_config(SOUND.replace("num_retries: 0", "num_retries: 0, callbacks: custom_callbacks.proxy_handler_instance"))
    assert judge(called, folder=tmp_path).problems[0].code == "callback"
    (tmp_path / "custom_callbacks.py").touch()
    assert judge(called, folder=tmp_path).verdict == "starts"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model_list: []\n", "no list of routes"),
        ("model_list: yes\n", "no list of routes"),
        ("model_list:\n - model_name: [\n", "not YAML"),
        ("model_list:\n - chat\n", "entry 1 of model_list is 'chat'"),
        ("model_list:\n - litellm_params: chat\n", "litellm_params is 'chat'"),
        ("model_list: [{model_name: a, litellm_params: {model: openai/b}}]\nlitellm_settings: 3\n", "litellm_settings is '3'"),
        ("model_list:\n" + "[" * 9000, "not YAML"),
    ],
)
def test_a_configuration_that_is_none_is_one_clear_line(text, says, tmp_path):
    with pytest.raises(PlannerError, match=says):
        read_config(text)
    (tmp_path / "config.yaml").write_text(text)
    done = run_plan("check", "config.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.strip().splitlines())) == (2, "", 1), done.stderr


def test_one_may_end_anywhere():
    for end in range(len(SOUND)):
        try:
            judge(read_config(SOUND[:end]))
        except PlannerError as error:
            assert "\n" not in error.message


STARTS = {
    "a line": "litellm --config litellm.yaml --port 8080",
    "a unit": "[Service]\nExecStart=/opt/venv/bin/litellm --config /srv/litellm.yaml --host 127.0.0.1\n",
    "compose": "services:\n  proxy:\n    image: docker.litellm.ai/berriai/litellm:v1.106.2\n    command: [--config, /app/litellm.yaml]\n",
    "Kubernetes": 'apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: ghcr.io/berriai/litellm:main-stable\n    args: ["--config", "/etc/litellm.yaml"]\n',
}


@pytest.mark.parametrize("name", STARTS)
def test_the_configuration_of_a_start_is_found_beside_it(name, tmp_path):
    (tmp_path / "litellm.yaml").write_text(SOUND.replace("general_settings", "x_settings"))
    answer = check_proxy(STARTS[name], tmp_path / "start")
    assert [problem.code for problem in answer.problems] == ["no-key"]
    assert check_proxy(f"# export LITELLM_MASTER_KEY\n{STARTS[name]}", tmp_path / "start").verdict == "starts"
    (tmp_path / "litellm.yaml").unlink()
    (tmp_path / "start").write_text(STARTS[name])
    done = run_plan("check", "start", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "plan: litellm.yaml is not here, which the proxy reads; plan check PATH of it\n")


def test_flags_alone_make_a_route():
    answer = check_proxy("litellm --model qwen3:8b --api_base http://localhost:11434")
    assert [problem.code for problem in answer.problems] == ["no-key", "no-provider"]


@pytest.mark.parametrize(("model", "server"), [("ollama/qwen3:8b", "http://localhost:11434"), ("ollama_chat/a", "http://localhost:11434"), ("gpt-5", "")])
def test_a_provider_that_runs_at_home_has_an_address_by_itself(model, server):
    (route,) = check_proxy(f"litellm --model {model}").routes
    assert route.api_base == server


def test_the_answer_is_json_and_text(tmp_path):
    (tmp_path / "config.yaml").write_text(SOUND.replace("hosted_vllm/Qwen", "Qwen"))
    done = run_plan("check", "config.yaml", "--format", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    jsonschema.validate(answer, closed(json_schema("check")), cls=jsonschema.Draft202012Validator)
    assert (done.returncode, answer["verdict"], [row["answers"] for row in answer["routes"]]) == (1, "starts", [False, True])
    assert "starts, 1 of 2 routes can't answer" in run_plan("check", "config.yaml", cwd=tmp_path).stdout


def test_a_server_and_its_proxy_are_judged_together(tmp_path):
    (tmp_path / "litellm.yaml").write_text(SOUND.replace("hosted_vllm/Qwen", "Qwen"))
    (tmp_path / "start.sh").write_text("export LITELLM_MASTER_KEY=x\nvllm serve Qwen/Qwen3-8B --max-model-len 8192 &\nlitellm --config litellm.yaml\n")
    done = run_plan("check", "start.sh", "--gpu", "rtx4090", "--format", "json", cwd=tmp_path)
    assert "names no provider" in " ".join(warning["message"] for warning in json.loads(done.stdout)["warnings"])
    assert run_plan("check", "start.sh", cwd=tmp_path).returncode == 2  # the GPU


MODELS = ("qwen3", "Qwen/Qwen3-8B", "openai/x", "hosted_vllm/a/b", "ollama/qwen3:8b", "ollama_chat/x", "vllm/x", "gpt-4o", "text-embedding-3-small")
MODELS += ("OpenAI/x", "llamacpp/x", "lm_studio/x", "mlx-community/Qwen3-8B-4bit", "hosted_vlm/x", "*", "openai/*")
ASK = """
import json, sys
import litellm
def known(model):
    try:
        litellm.get_llm_provider(model)
    except Exception:
        return False
    return True
print(json.dumps({"known": [known(model) for model in sys.argv[1:]], "providers": sorted(provider.value for provider in litellm.LlmProviders)}))
"""


@pytest.mark.judge
def test_litellm_knows_the_providers_that_are_known_here():
    python = judge_venv("litellm") / "bin" / "python"
    env = {"PATH": "/usr/bin:/bin", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([str(python), "-c", ASK, *MODELS], capture_output=True, text=True, check=True, env=env, timeout=120)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["providers"] == _facts()["providers"]
    ours = [not any(problem.code == "no-provider" for problem in route(model=model, api_base=HOME, api_key="x").problems) for model in MODELS]
    assert ours == told["known"]


ROUTE = 'model_list: [{{model_name: chat, litellm_params: {{model: hosted_vllm/{model}, api_base: "{base}"}}}}]'
BESIDE = {
    "the same": ("vllm serve a/b --served-model-name b --port 8000", "b", "http://127.0.0.1:8000/v1", []),
    "another port": ("vllm serve a/b --served-model-name b --port 8001", "b", "http://localhost:8000/v1", ["no-server", "no-route"]),
    "another name": ("vllm serve a/b --served-model-name=c --port 8000", "b", "http://127.0.0.1:8000/v1", ["unknown-model"]),
    "one of its names": ("vllm serve a/b --served-model-name c b --port 8000", "b", "http://127.0.0.1:8000/v1", []),
    "a name that is not said": ("llama-server -m a.gguf --port 8000", "b", "http://127.0.0.1:8000/v1", []),
    "one that nobody asks": ("vllm serve a/b --port 8000 & vllm serve a/c --port 8001", "a/b", "http://127.0.0.1:8000/v1", ["no-route"]),
    "a name that it is not given": ("vllm serve a/b --port 8000", "b", "http://127.0.0.1:8000/v1", ["unknown-model"]),
    "its own port": ("vllm serve a/b", "a/b", "http://127.0.0.1:8000/v1", []),
    "Ollama's own port": ("ollama serve", "b", "http://127.0.0.1:11434", []),
    "llama-server's own port": ("llama-server -m a.gguf", "b", "http://127.0.0.1:8000/v1", ["no-server", "no-route"]),
    "Ollama's address": ("OLLAMA_HOST=127.0.0.1:11435 ollama serve", "b", "http://127.0.0.1:11434", ["no-server", "no-route"]),
    "a port that is not said": ("vllm serve a/b", "b", "http://127.0.0.1:8001/v1", ["no-server", "no-route"]),
    "a port that only the shell knows": ("vllm serve a/b --port $PORT", "b", "http://127.0.0.1:8001/v1", []),
    "another machine": ("vllm serve a/b --port 8000", "b", "http://gpu-box:8001/v1", []),
    "no address": ("vllm serve a/b --port 8000", "b", "http://[::1", []),
    "a container": ("docker run -p 8001:8000 vllm/vllm-openai:v0.11.0 --model a/b --port 8000", "b", "http://127.0.0.1:8001/v1", []),
}


@pytest.mark.parametrize("name", BESIDE)
def test_routes_are_held_against_the_servers_beside_them(name):
    text, model, base, codes = BESIDE[name]
    answer = judge(read_config(ROUTE.format(model=model, base=base)))
    assert [warning.code for warning in beside_servers(answer, find_commands(text))] == codes

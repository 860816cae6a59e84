"""Containers' ports: what a compose file or `docker run` maps, held against where the server in it listens, and against the routes that ask it by name."""

import pytest

from planner.facts.hardware import Host
from planner.questions.check import check, group_for
from planner.questions.find_commands import find_commands
from planner.questions.ports import listens_on, published, remarks
from planner.questions.proxy.config import read_config
from planner.questions.proxy.judge import judge
from planner.questions.proxy.servers import beside_servers

VLLM, LLAMA, OLLAMA = "vllm/vllm-openai:v0.11.0", "ghcr.io/ggml-org/llama.cpp:server-cuda", "ollama/ollama"
COMPOSE = """services:
  llm:
    image: {image}
    command: {words}
    ports: [{ports}]
    {more}
"""
# image, words, ports, what else the service says -> what of the message tells the kind
SERVICES = {
    "vLLM's own": (VLLM, "--model a/b", "'8000:8000'", "", ""),
    "vLLM behind another port of the machine": (VLLM, "--model a/b", "'8080:8000'", "", ""),
    "vLLM where llama-server listens": (VLLM, "--model a/b", "'8080:8080'", "", "map 8080:8000"),
    "vLLM told to listen there": (VLLM, "--model a/b --port 8080", "'8080:8080'", "", ""),
    "llama-server's own": (LLAMA, "-m a.gguf", "'127.0.0.1:8000:8080'", "", ""),
    "llama-server where vLLM listens": (LLAMA, "-m a.gguf", "'8000:8000'", "", "map 8000:8080"),
    "llama-server's variable": (LLAMA, "-m a.gguf", "'8000:8000'", "environment: {LLAMA_ARG_PORT: 8000}", ""),
    "a list, one of them right": (LLAMA, "-m a.gguf", "'9000:9000', '8080:8080'", "", ""),
    "the long form": (LLAMA, "-m a.gguf", "{target: 8000, published: 80}", "", "map 80:8080"),
    "only the container's": (LLAMA, "-m a.gguf", "8000", "", "map 8000:8080"),
    "a range": (LLAMA, "-m a.gguf", "'8000-8005:8000-8005'", "", ""),
    "one that a variable says": (LLAMA, "-m a.gguf", "'${PORT}:8000'", "", ""),
    "a port of the command that a variable says": (VLLM, "--model a/b --port $PORT", "'8080:8080'", "", ""),
    "UDP": (LLAMA, "-m a.gguf", "'53:53/udp'", "", ""),
    "none": (LLAMA, "-m a.gguf --host 127.0.0.1", "", "", ""),
    "the machine's network": (VLLM, "--model a/b", "'8080:8080'", "network_mode: host", ""),
    "inside only": (LLAMA, "-m a.gguf --host 127.0.0.1", "'8080:8080'", "", "0.0.0.0 is every address"),
    "Ollama's address": (OLLAMA, "serve", "'11434:11434'", "environment: ['OLLAMA_HOST=127.0.0.1:11434']", "0.0.0.0 is every address"),
    "Ollama's other port": (OLLAMA, "serve", "'11434:11434'", "environment: ['OLLAMA_HOST=0.0.0.0:8000']", "listens on 8000"),
    "Ollama's own": (OLLAMA, "serve", "'11434:11434'", "", ""),
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_mapped_port_is_the_one_that_the_server_listens_on(name):
    image, words, ports, more, told = SERVICES[name]
    (server,) = find_commands(COMPOSE.format(image=image, words=words, ports=ports, more=more))
    messages = [warning.message for warning in remarks(server)]
    assert len(messages) == bool(told)
    assert told in "".join(messages)


@pytest.mark.parametrize(
    ("text", "ports", "is_told"),
    [
        ("docker run --gpus all -p 8000:8000 vllm/vllm-openai:v0.11.0 --model a/b", ((8000, 8000),), False),
        ("docker run --publish=8000:8080 vllm/vllm-openai:v0.11.0 --model a/b", ((8000, 8080),), True),
        ("docker run --publish [::1]:80:8080 vllm/vllm-openai:v0.11.0 --model a/b", ((80, 8080),), True),
        ("docker run -p 8080:8080 --network host vllm/vllm-openai:v0.11.0 --model a/b", (), False),
        ("docker run -p 8080:8080 --net=host vllm/vllm-openai:v0.11.0 --model a/b", (), False),
        ("vllm serve a/b -p 8080:8080", (), False),
    ],
)
def test_docker_run_maps_ports_too(text, ports, is_told):
    (server,) = find_commands(text)
    assert (server.published, bool([*remarks(server)])) == (ports, is_told)


def test_what_is_no_port_maps_nothing():
    assert published(["8000:8000", "x"]) == published([None]) == published([{}]) == published(["123456"]) == ()


def test_check_says_it():
    text = COMPOSE.format(image=VLLM, words="--model Qwen/Qwen3-8B --max-model-len 4096", ports="'8080:8080'", more="")
    (server,) = find_commands(text)
    plan = check(server, group_for(server, "rtx4090", 1, Host.SERVER))
    assert (listens_on(server), plan.warnings[-1].code) == (8000, "not-published")


ROUTE = "model_list: [{{model_name: chat, litellm_params: {{model: {model}, api_base: '{base}', api_key: none}}}}]"


@pytest.mark.parametrize(
    ("image", "words", "model", "base", "codes"),
    [
        (VLLM, "--model a/b", "hosted_vllm/a/b", "http://llm:8000/v1", []),
        (VLLM, "--model a/b", "hosted_vllm/a/b", "http://llm:8080/v1", ["no-server"]),  # the port that the machine maps
        (VLLM, "--model a/b", "hosted_vllm/c", "http://llm:8000/v1", ["unknown-model"]),
        (LLAMA, "-m a.gguf", "openai/x", "http://llm:8000/v1", ["no-server"]),
        (LLAMA, "-m a.gguf", "openai/x", "http://llm:8080/v1", []),
        (LLAMA, "-m a.gguf", "openai/x", "http://other:8000/v1", []),
        (LLAMA, "-m a.gguf", "openai/x", "http://llm/v1", []),
    ],
)
def test_a_route_that_names_a_service_asks_its_containers_port(image, words, model, base, codes):
    servers = find_commands(COMPOSE.format(image=image, words=words, ports="'8080:8000'", more=""))
    answer = judge(read_config(ROUTE.format(model=model, base=base)))
    assert [warning.code for warning in beside_servers(answer, servers)] == codes

"""How llama-server and Ollama are run: their images, their prefixes of the proxy, what installs them."""

from __future__ import annotations

from collections.abc import Sequence

from planner.engines.llamacpp import models
from planner.engines.llamacpp.backend import Backend
from planner.engines.llamacpp.making import made_files
from planner.facts.deployment import Deployment
from planner.facts.serving import MODELS, Container, Serving

_INSTALL = """\
command -v llama-server >/dev/null || {
  echo "install llama.cpp first: https://github.com/ggml-org/llama.cpp/releases (or: brew install llama.cpp)" >&2
  exit 1
}"""


def _install(deployment: Deployment) -> Sequence[str]:
    services = [service for service in deployment.services if service.engine == PROGRAM]
    return (_INSTALL, *made_files(services, services[-1].version))


PROGRAM = "llama.cpp"
_BUILDS = {"nvidia": "cuda", "amd": "rocm", "intel": "intel", Backend.VULKAN: "vulkan"}
LLAMA_SERVER = Serving(
    command=("llama-server",),
    proxy_prefix="openai",
    holds_schemas=True,
    variables=("LLAMA", "GGML"),
    port_variable="LLAMA_ARG_PORT",
    container=Container(
        images={vendor: f"ghcr.io/ggml-org/llama.cpp:server-{built}-{{version}}" for vendor, built in _BUILDS.items()},
        images_source="a tag of every build, server-cuda-bNNNN and so on (its docker workflow); in use as b10481 and b10621, looked up 2026-11-27",
        volumes=(f"./:{MODELS}:ro", "llama-cache:/root/.cache"),
        probe=("curl", "--silent", "--fail", "--noproxy", "*", "{url}"),
    ),
    install=_install,
)
OLLAMA_SERVER = Serving(
    command=("ollama", "serve"),
    proxy_prefix="ollama_chat",  # Ollama's chat route
    embedding_prefix="ollama",
    default_port=11434,
    api="",
    holds_schemas=True,
    variables=("OLLAMA",),
    address_variable="OLLAMA_HOST",
    shares_process=True,
    container=Container(
        images={"nvidia": "ollama/ollama:{version}.0", "amd": "ollama/ollama:{version}.0-rocm"},
        images_source="a tag of every release, with -rocm for AMD (docs/docker.mdx); 0.33.0 is in use, looked up 2026-11-27",
        command_from=None,
        volumes=("ollama:/root/.ollama",),
        working_folder="",
        probe=("ollama", "list"),
    ),
    install=models.install,
    make_models=models.steps,
    files=models.files,
)

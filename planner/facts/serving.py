"""How containers, scripts and the proxy treat the servers of an engine: facts that emitters write down, so that none asks which engine it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from planner.facts.deployment import Deployment
from planner.facts.record import dataclass

MODELS = "/models"
"""Where a container looks for what is named by a relative path."""
Writer = Callable[[Deployment], Mapping[str, str]]
Lines = Callable[[Deployment], Sequence[str]]


def no_files(deployment: Deployment) -> Mapping[str, str]:
    """Nothing beside what every engine has."""
    return {}


def no_lines(deployment: Deployment) -> Sequence[str]:
    """Nothing to do."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One program in a container. Texts may hold {version}, those of the probe {url}."""

    images: Mapping[str, str]
    """By the GPU's vendor, or by what a service's `image_for` names; that of "" is for any."""
    images_source: str = ""
    """Where it is said which releases have such tags, and when that was looked up."""
    entrypoint: tuple[str, ...] = ()
    """In place of the image's own."""
    command_from: int | None = 1
    """The first word of the command that the image's entrypoint does not hold; None where the image starts the server by itself."""
    volumes: tuple[str, ...] = (f"./:{MODELS}:ro",)
    working_folder: str = MODELS
    environment: Mapping[str, str] = field(default_factory=dict)
    shares_ipc: bool = False
    """Whether its processes exchange tensors through the host's shared memory."""
    probe: tuple[str, ...] = (
        "python3",
        "-c",
        "import urllib.request as u; u.build_opener(u.ProxyHandler({{}})).open('{url}', timeout=4)",  # never by a proxy of the network
    )
    """What tells inside it whether the server is healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One program that serves. Texts may hold {version}."""

    command: tuple[str, ...]
    """The words that its command begins with."""
    proxy_prefix: str
    """LiteLLM's name of the provider that speaks to it: hosted_vllm/model."""
    default_port: int = 8080
    """Where it listens if nothing is said."""
    embedding_prefix: str = ""
    """Where embeddings need another."""
    api: str = "/v1"
    """The path of its OpenAI routes, which the proxy is given; empty where its provider adds its own."""
    holds_schemas: bool = False
    """Whether its grammars hold an answer to a JSON schema."""
    variables: tuple[str, ...] = ()
    """What names of its own environment variables begin with, without the underscore."""
    address_variable: str = ""
    """The variable that holds the address it listens on, where no flag does."""
    port_variable: str = ""
    """The variable that stands for the flag of its port."""
    takes_model_first: bool = False
    """Whether its command goes on with the model, then flags only."""
    loads_folders: bool = False
    """Whether a model may be a folder of the machine it runs on."""
    shares_process: bool = False
    """Whether one process serves several models, each by its name."""
    container: Container | None = None
    """None where it runs on the system itself."""
    packages: tuple[str, ...] = ()
    """What pip installs for it, in a virtual environment of its own."""
    environment: str = ""
    """That environment's folder; empty where it is no Python package."""
    install: Lines = no_lines
    """Further lines of setup.sh."""
    load_test: Lines = no_lines
    """The command of a load test that comes with it."""
    make_models: Lines = no_lines
    """Commands that make its models, once its server runs."""
    files: Writer = no_files
    """Files of its own."""
    formats: frozenset[str] = frozenset()
    """Names of formats that are for some programs only, and hold this one: serve, k8s, lws, helm, ray, skypilot, nodes."""

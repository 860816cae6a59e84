"""How containers, scripts and the proxy treat the servers of an engine: facts that emitters write down, so that none asks which engine it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One program that serves. Texts may hold {version}."""

    proxy_prefix: str
    """LiteLLM's name of the provider that speaks to it: hosted_vllm/model."""
    embedding_prefix: str = ""
    """Where embeddings need another."""
    api: str = "/v1"
    """The path of its OpenAI routes, which the proxy is given; empty where its provider adds its own."""
    holds_schemas: bool = False
    """Whether its grammars hold an answer to a JSON schema."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Container images by the GPU's vendor."""
    packages: tuple[str, ...] = ()
    """What pip installs for it, in a virtual environment of its own."""
    environment: str = ""
    """That environment's folder."""

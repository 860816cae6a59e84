"""What is asked of llama.cpp or Ollama."""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.engines.llamacpp.model import GgufModel
from planner.facts.deployment import Sampling
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufAsk:
    """What is asked of llama.cpp or Ollama; None is free. `tag`: Ollama's name of the model, or empty where its library's is not known."""

    model: GgufModel
    group: GpuGroup
    is_ollama: bool
    served_name: str
    source: str
    tag: str = ""
    name: str = "chat"
    shares_process: bool = False  # a further model of the Ollama whose settings are the main model's
    models: int = 1  # that Ollama keeps loaded at once
    context: int | None = None
    users: int = 1
    kv_type: str | None = None
    gpu_layers: int | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    is_mistral: bool = False
    has_vision: bool = False
    origin: ModelSpec | None = None  # what the file was made of, where that is known: the speed asks for it
    sampling: Sampling = field(default_factory=Sampling)

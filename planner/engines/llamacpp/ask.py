"""What is asked of llama.cpp or Ollama."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from planner.engines.catalogue import Catalogue, Plain
from planner.engines.llamacpp.classes import check_that_it_is_read
from planner.engines.llamacpp.drafter import Drafting
from planner.engines.llamacpp.dynamic import dynamic, name_of
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.engines.llamacpp.model import GgufModel, converted, find_mix, in_library, of_somebody
from planner.engines.llamacpp.pins import ServerPins, pins_of
from planner.engines.llamacpp.published import on_the_hub, usual_form
from planner.engines.llamacpp.stored import from_header
from planner.errors import PlannerError
from planner.facts.context import POOLING_CONTEXT, USEFUL_CONTEXT
from planner.facts.deployment import Sampling
from planner.facts.hardware import GpuGroup
from planner.facts.model import ModelSpec
from planner.facts.question import ServiceRow, StackRow
from planner.facts.record import dataclass
from planner.facts.speed import Load
from planner.text import slug


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufAsk:
    """What is asked of llama.cpp or Ollama; None is free. `tag`: Ollama's name of the model: of its library, or of the Hub (`hf.co/…`)."""

    model: GgufModel
    group: GpuGroup
    is_ollama: bool
    served_name: str
    source: str
    tag: str = ""
    hub: str = ""  # what --hf-repo takes, where the file is known to be on the Hub
    made_from: str = ""  # the checkpoint that setup.sh makes the file of, where nobody publishes it
    release: str = ""  # of Ollama, where it is not today's
    name: str = "chat"
    shares_process: bool = False  # a further model of the Ollama whose settings are the main model's
    models: int = 1  # that Ollama keeps loaded at once
    context: int | None = None
    users: int = 1
    load: Load = field(default_factory=Load)
    kv_type: str | None = None
    gpu_layers: int | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    has_vision: bool = False
    pins: ServerPins = field(default_factory=ServerPins)
    drafting: Drafting = field(default_factory=Drafting)
    visible: int = 0  # GPUs that the server sees, where it uses fewer
    origin: ModelSpec | None = None  # what the file was made of, where that is known: the speed asks for it
    sampling: Sampling = field(default_factory=Sampling)


DEFAULT_MIX = {"GptOssForCausalLM": "MXFP4_MOE"}  # published in MXFP4


def ask_of(service: ServiceRow, group: GpuGroup, row: StackRow, catalogue: Catalogue, *, is_ollama: bool, is_main: bool) -> GgufAsk:
    """One row of a question. Raises PlannerError for a cache type that the engine does not have."""
    context = service.context or service.max_model_len
    context = context if isinstance(context, int) else None
    model, source, tag, name, plain = _model(service, catalogue, is_ollama=is_ollama)
    hub = on_the_hub(plain.repo, model.mix) if plain else ""
    if service.kv_cache_dtype and service.kv_cache_dtype not in (*KV_TYPES, "auto"):
        raise PlannerError(f"llama.cpp has no KV cache type {service.kv_cache_dtype}", f"one of {', '.join(KV_TYPES)}")
    short = POOLING_CONTEXT if model.pooling else USEFUL_CONTEXT
    return GgufAsk(
        model=model,
        group=group,
        is_ollama=is_ollama,
        served_name=name,
        source=source,
        tag=tag or (f"hf.co/{hub}" if hub and is_ollama else ""),
        hub=hub,
        made_from=plain.repo if plain and not hub and not tag and not name_of(model.mix) else "",
        name=service.name or "chat",
        shares_process=is_ollama and not is_main,
        models=len(row.services),
        context=context or (min(short, model.max_context) if model.pooling or not is_main else None),
        users=service.users or 1,
        load=service.load,
        kv_type=None if service.kv_cache_dtype == "auto" else service.kv_cache_dtype,
        gpu_layers=service.gpu_layers,
        pins=pins_of(service),
        host=row.bind,
        port=service.port or 0,
        has_vision=plain is not None and plain.spec.vision is not None,
        sampling=plain.sampling if plain else Sampling(),
        origin=plain.spec if plain else None,
    )


def _model(service: ServiceRow, catalogue: Catalogue, *, is_ollama: bool) -> tuple[GgufModel, str, str, str, Plain | None]:
    """The model, the file to serve, Ollama's tag or nothing, a short name, and the model it was made of where that is known."""
    catalogue.check_name(service.model)
    path = Path(service.model)
    if path.suffix == ".gguf":
        if not path.exists():
            raise PlannerError(f"{path} does not exist")
        return from_header(catalogue.read_gguf(path), path.stem), str(path), "", slug(path.stem), None
    plain = catalogue.find_plain(service.model)
    check_that_it_is_read(plain)
    variant = plain.variant("ollama", service.quantization) if is_ollama else None
    usual = DEFAULT_MIX.get(plain.spec.architecture) or usual_form(plain.repo) or "Q4_K_M"
    wanted = service.quantization or (variant.format if variant and variant.format else usual)
    mix = name_of(wanted) or find_mix(wanted)
    spec = in_library(plain.spec) if variant else plain.spec
    model = dynamic(spec, mix) if name_of(wanted) else converted(spec, mix)
    model = model if variant else of_somebody(model)  # what Ollama keeps in its library is one file
    return model, f"{slug(plain.name)}-{mix}.gguf", variant.repo if variant else "", slug(plain.name), plain

"""From what a person typed after --model to a ModelSpec: a catalogue name, a folder or config.json, a Hub repository."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.architecture import build_model, parse_config, stored_bits
from planner.architecture.config import MAX_CONFIG_BYTES, Config
from planner.catalogue import load
from planner.catalogue.names import is_repo_id, repaired
from planner.catalogue.rows import ModelRow
from planner.engines import ENGINES, first_engine
from planner.engines.alternatives import Market
from planner.engines.catalogue import Plain, Source
from planner.engines.vllm.parsers import by_architecture
from planner.engines.vllm.rules import ONLINE
from planner.engines.vllm.weights import stage_weights
from planner.errors import PlannerError, UnknownArchitectureError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuSpec
from planner.facts.model import ChatFormat, CheckpointDifference, ModelSpec
from planner.facts.variant import Variant
from planner.text import is_line, slug

if TYPE_CHECKING:
    from planner.catalogue.safetensors import StoredTensor
    from planner.engines.llamacpp.header import Header

_OWN_MIX = re.compile(r"(?i)q[48]_[01]|q5_[01]|q[2-6]_k(_[sml])?|iq\d_(xxs|xs|s|m|nl)|bf16|f16|mxfp4")
_GGUF_REPO = re.compile(r"(?:(?:https://)?(?:hf\.co|huggingface\.co)/)?(?P<owner>[\w.-]+)/(?P<base>[\w.-]+?)[-_.](?i:gguf)(?::(?P<mix>[\w.-]+))?")
MOST_PATH, MOST_FILE_NAME = 4096, 255  # bytes that a path and a name in it may have (Linux)


def source_bits(source: Source) -> int:
    """Bits of most weights of a checkpoint."""
    return stored_bits(Config(dict(source.config), source.repo), Config(dict(source.hf_quant), source.repo) if source.hf_quant else None)


def find_source(name: str, online: str | None = None) -> Source:
    """Find a model, to be quantized while loading where `online` names a method. Raises PlannerError for an unknown or malformed one."""
    check_name(name)
    path = Path(name)
    if path.suffix == ".gguf":
        raise _is_gguf(path)
    if path.suffix == ".safetensors" and path.is_file():
        path = path.parent
    if path.exists():
        return _from_path(path, online)
    entry = load.find_model(name)
    if entry is not None:
        return _from_catalogue(entry, online)
    if (holds_gguf := _GGUF_REPO.fullmatch(name)) and (refused := _is_gguf_repository(*holds_gguf.group("owner", "base", "mix"))):
        raise refused
    if refused := _is_conversion(name):
        raise refused
    if is_repo_id(name):
        from planner.catalogue.hub import fetch_model
        from planner.reader import only_texts

        files = fetch_model(name)
        with only_texts(False):  # the Hub's cache
            return from_files(files.config, files.quantization, name, slug(name.partition("/")[2]), online=online, tensors=files.tensors)
    if meant := repaired(name):
        raise PlannerError(f"{name[:100]!r} is not the name of a model", f"--model {meant}")
    raise load.unknown_model(name)


def check_name(name: str) -> None:
    """Refuse what can be no name of a model or file: it goes into scripts and configuration files."""
    long = len(name.encode(errors="replace")) >= MOST_PATH or any(len(part.encode(errors="replace")) > MOST_FILE_NAME for part in name.split("/"))
    if not name.strip() or long or not is_line(name):
        raise PlannerError(
            f"{name[:60]!r}{' …' if len(name) > 60 else ''} is not a model name",
            "a name of `plan list models`, owner/name on the Hub, or a folder with a config.json",
        )


def find_plain(name: str) -> Plain:
    """Find a model for a runtime that quantizes it in its own way. Raises PlannerError as `find_source`."""
    check_name(name)
    entry = None if Path(name).exists() else load.find_model(name)
    if entry is not None:
        original = next((variant for variant in entry.row.variants if variant.default), entry.row.variants[0])
        config = Config(entry.row.config, f"models.yaml: {entry.row.name}")
        spec = replace(build_model(config, entry.row.name), chat=entry.row.chat(entry.variant))
        variants = (entry.variant, *entry.row.variants)
        month = "" if entry.row.released_at_least else entry.row.released
        return Plain(entry.row.name, spec, original.repo, variants, text_class(entry.row.config), entry.sampling, released=month)
    source = find_source(name)
    data = {key: value for key, value in source.config.items() if key not in ("quantization_config", "compression_config")}
    converted = data.get("quantization")
    text = data.get("text_config")
    foreign = source.config.get("quantization_config") or (text.get("quantization_config") if isinstance(text, dict) else None) or source.hf_quant
    return Plain(
        source.served_name,
        build_model(Config(data, source.repo), source.served_name),
        source.repo,
        text_architecture=text_class(data),
        mlx_quantization=converted if isinstance(converted, dict) else {},
        foreign_quantization=foreign if isinstance(foreign, dict) and not isinstance(converted, dict) else {},
    )


def text_class(config: Mapping[str, object]) -> str:
    """The class of the text's own config inside a config.json; empty where it names none."""
    for part in ("text_config", "llm_config", "language_config"):
        inner = config.get(part)
        named = inner.get("architectures") if isinstance(inner, dict) else None
        if isinstance(named, list) and named and isinstance(named[0], str):
            return named[0]
    return ""


def _is_gguf(path: Path) -> PlannerError:
    """The answer to a GGUF file: it left vLLM's tree (quantization/__init__.py, 0.33); the nearest thing is the model it was converted from."""
    from planner.catalogue.gguf import original, read_header

    origin = original(read_header(path).metadata) if path.is_file() else ""
    entry = load.find_model(origin) if origin else None
    nearest = f"--model {entry.name}" if entry else f"--model {origin}" if is_repo_id(origin) else "the original repository"
    what = f" of {origin}" if origin else ""
    engine, readers = first_engine(), [name for name, engine in ENGINES.items() if engine.reads_gguf]
    return PlannerError(
        f"{path} is a GGUF file{what}, which {engine.title} {engine.versions[-1]} does not load",
        f"plan {nearest}, or the file with --engine {' or '.join(readers)}",
    )


def _is_gguf_repository(owner: str, base: str, mix: str | None) -> PlannerError | None:
    """The answer to a repository of GGUF files: engines that read them find a model's by its own name. None where only the Hub can tell the model."""
    entry = next((found for name in (base, base.partition("_")[2]) if name and (found := load.find_model(name))), None)
    if entry is None and not mix:
        return None
    readers = [name for name, engine in ENGINES.items() if engine.reads_gguf]
    form = f" --quantization {mix}" if mix and _OWN_MIX.fullmatch(mix) else ""
    nearest = f"its model is planned by its own name: --model {entry.row.name} --engine {' or '.join(readers)}{form}; " if entry else ""
    return PlannerError(
        f"{owner}/{base}-GGUF is a repository of GGUF files", f"{nearest}a command of {' or '.join(readers)} that serves these files is judged by plan check"
    )


def _is_conversion(name: str) -> PlannerError | None:
    """The answer to a conversion for MLX of a model of the catalogue (which MLX itself finds by its base). None for any other name."""
    from planner.engines.mlx.memory import read_name

    conversion = read_name(name) if "/" in name else None
    entry = load.find_model(conversion.base) if conversion else None
    if conversion is None or entry is None:
        return None
    return conversion.elsewhere(name[:100], slug(entry.row.name))


def _from_catalogue(entry: load.Entry, online: str | None) -> Source:
    if not entry.variant.is_checkpoint:
        siblings = [load.Entry(entry.row, variant).name for variant in _offered(entry.row)]
        raise PlannerError(
            f"{entry.name} is for {entry.variant.runtime}, not for {first_engine().title}",
            f"--engine {entry.variant.runtime}, or for {first_engine().title}: {', '.join(siblings)}",
        )
    variants = tuple((other.name, other.spec) for other in (load.Entry(entry.row, variant) for variant in _offered(entry.row) if variant != entry.variant))
    market = Market(variants=variants, online=None if online else lambda: entry.spec(ONLINE))
    return Source(
        entry.variant.repo, slug(entry.name), entry.spec(online), config=entry.config, hf_quant=entry.hf_quant, market=market, sampling=entry.sampling
    )


def _offered(row: ModelRow) -> list[Variant]:
    return [variant for variant in row.variants if variant.is_listed]


def _from_path(path: Path, online: str | None) -> Source:
    from planner.catalogue.checkpoint import stored

    config = path / "config.json" if path.is_dir() else path
    if path.is_dir() and not config.exists() and (path / "params.json").exists():
        config = path / "params.json"  # Mistral's own format, which vLLM reads where there is nothing else
    if not config.exists():
        raise PlannerError(f"{path} has no config.json", "give a folder with a model's config.json, or a name of `plan list models`")
    folder = config.parent
    quantization = folder / "hf_quant_config.json"
    name = folder.resolve().name
    repo = str(path if path.is_dir() else folder)
    if not repo.startswith(("/", ".")):
        repo = f"./{repo}"  # else a repository of the Hub, or a flag, for who reads the command elsewhere
    return from_files(config, quantization if quantization.exists() else None, repo, slug(name), online=online, tensors=stored(folder))


def from_files(config: Path, quantization: Path | None, repo: str, served_name: str, *, online: str | None, tensors: Sequence[StoredTensor]) -> Source:
    """A model as its config.json, a hf_quant_config.json beside it and its tensors describe it. Raises PlannerError for what cannot be read or is not known."""
    whole, hf_quant = _named_method(_load(config)), _named_method(_load(quantization)) if quantization else None
    try:
        spec = build_model(whole, served_name, hf_quant, online=online)
    except UnknownArchitectureError:
        if not tensors:
            raise
        return Source(repo, served_name, _stored(whole, served_name, tensors), config=whole.data, hf_quant=hf_quant.data if hf_quant else None)
    checkpoint = _difference(build_model(whole, served_name, hf_quant), tensors) if tensors else None
    chat = ChatFormat() if spec.pooling else by_architecture(whole.data.get("architectures"))
    market = Market(online=None if online else lambda: replace(build_model(whole, served_name, hf_quant, online=ONLINE), chat=chat))
    return Source(repo, served_name, replace(spec, checkpoint=checkpoint, chat=chat), whole.data, hf_quant.data if hf_quant else None, market)


def _named_method(config: Config) -> Config:
    """A config, or a hf_quant_config.json, whose quantization says ModelOpt's `quant_algo` and no `quant_method`: ModelOpt's, as nobody else writes it.

    vLLM 0.33 alone would load such weights as 16-bit ones, and fail at their scales, unless its producer is named where it looks.
    """
    if config.section("quantization").has("quant_algo") and not config.has("quant_method"):
        return Config({"quant_method": "modelopt", **config.data}, config.path)
    section = config.section("quantization_config")
    if (section.has("quant_algo") or section.section("quantization").has("quant_algo")) and not section.has("quant_method"):
        return Config({**config.data, "quantization_config": {"quant_method": "modelopt", **section.data}}, config.path)
    return config


def _stored(config: Config, name: str, tensors: Sequence[StoredTensor]) -> ModelSpec:
    """A model whose architecture is not known, of its tensors' bytes."""
    from planner.architecture.stored import stored_model
    from planner.catalogue.safetensors import loaded

    bits = 32 if config.data.get("torch_dtype", config.data.get("dtype")) == "float32" else 16
    return stored_model(config, name, loaded(tensors, bits, tied=False).total())


def _difference(own: ModelSpec, tensors: Sequence[StoredTensor]) -> CheckpointDifference | None:
    from planner.catalogue.safetensors import difference

    bits = 32 if own.dtype == "float32" else 16
    return difference(own, sum(stage_weights(own, Parallel(), bits)), tensors, bits)


def _load(path: Path) -> Config:
    from planner.reader import read_bytes

    return parse_config(read_bytes(path, MAX_CONFIG_BYTES, "a config.json"), str(path))


def read_gguf(path: Path) -> Header:
    """The header of a GGUF file, of all its parts."""
    from planner.catalogue.gguf import read_whole

    return read_whole(path)


def cards_of_the_price(gpu: GpuSpec) -> Sequence[GpuSpec]:
    """Cards that cost about as much, the cheapest first."""
    from planner.catalogue import prices

    return prices.cards_of_the_price(gpu)

"""Observed memory of llama.cpp, Ollama and MLX beside ours: the second half of docs/accuracy.md.

Cases: tests/data/llamacpp_cases.yaml and mlx_cases.yaml, as published (their sources are in them). A case is compared where its model's
shape is known; rows that are an engine's own estimate are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from planner.architecture import Config, build_model, parse_config
from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp.compute import compute_bytes
from planner.engines.llamacpp.ledger import ledger_of
from planner.engines.llamacpp.memory import LlamaCppConfig, cache_bytes, kv_bytes
from planner.engines.llamacpp.model import converted
from planner.engines.mlx import memory as mlx
from planner.engines.mlx.prefill import PREFILL_STEP, Peak, Prompts, peak
from planner.facts.attention import FullAttention, LatentAttention
from planner.facts.model import ModelSpec
from planner.units import GIB, MIB

DATA = Path(__file__).parent.parent / "tests" / "data"
_logged = partial(LlamaCppConfig, build=8000)  # the logs are of 2024 to early 2026
DRIVER_MIB = 454  # a process's context on an RTX 4090: llama.cpp's "unaccounted" 451 to 456 MiB (ggml-org/llama.cpp#15860)


@dataclass(frozen=True, slots=True)
class Compared:
    """One observed figure and ours, in bytes; `what` is weights, KV cache, compute buffer or total."""

    case: str
    what: str
    observed: float
    ours: float

    @property
    def error(self) -> float:
        """Relative error in percent."""
        return 100 * (self.ours / self.observed - 1)


def model(stem: str) -> ModelSpec:
    """A model from its config.json among the tests' data."""
    path = DATA / "configs" / f"{stem}.json"
    return build_model(parse_config(path.read_bytes(), str(path)), stem)


PYTHIA = {
    "architectures": ["GPTNeoXForCausalLM"], "hidden_size": 2560, "num_hidden_layers": 32, "intermediate_size": 10240, "num_attention_heads": 32,
    "vocab_size": 50304, "max_position_embeddings": 2048, "tie_word_embeddings": False,
}  # fmt: skip
QWEN_3B = "Qwen--Qwen2.5-3B-Instruct"


def _cases(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = yaml.load((DATA / name).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return cases


def _case(cases: list[dict[str, Any]], start: str, **fields: object) -> dict[str, Any]:
    return next(case for case in cases if case["model"].startswith(start) and all(case.get(key) == value for key, value in fields.items()))


def _plain_kv(layers: int, attention: FullAttention, context: int) -> float:
    return layers * cache_bytes(attention, _logged(context=context))


def llamacpp() -> Iterator[Compared]:
    """Every figure of a llama.cpp or Ollama case whose shape is known."""
    cases = _cases("llamacpp_cases.yaml")
    pythia = build_model(Config(PYTHIA, "pythia"), "pythia-2.8b")
    for mix in ("Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M"):
        case, file = _case(cases, "EleutherAI/pythia-2.8b", quant=mix), converted(pythia, mix)
        config = _logged(context=2048, flash_attention=False)
        yield Compared(f"pythia-2.8b {mix}, V100", "weights", (case["model_gpu_mib"] + case["model_cpu_mib"]) * MIB, file.file_bytes)
        yield Compared(f"pythia-2.8b {mix}, V100", "KV cache", case["kv_mib"] * MIB, kv_bytes(file, config))
        yield Compared(f"pythia-2.8b {mix}, V100", "compute buffer", case["compute_mib"] * MIB, compute_bytes(file, config))
    yield from _files(cases)
    yield from _caches(cases)
    yield from _projectors(cases)
    yield from _totals(cases)


def _files(cases: list[dict[str, Any]]) -> Iterator[Compared]:
    """Sizes of whole files."""
    for start, stem, mix in (
        ("Llama-3.3-70B-Instruct", "meta-llama--Llama-3.1-70B-Instruct", "Q3_K_M"),
        ("Qwen2.5-14B", "Qwen--Qwen2.5-14B-Instruct", "Q4_K_M"),
        ("Qwen3-32B (ollama library", "Qwen--Qwen3-32B", "Q4_K_M"),
    ):
        case = _case(cases, start)
        yield Compared(f"{start} {mix}", "weights", case["model_size_gib"] * GIB, converted(model(stem), mix).file_bytes)


def _caches(cases: list[dict[str, Any]]) -> Iterator[Compared]:
    """KV caches, recurrent states and compute buffers by shape."""
    case = _case(cases, "36-layer")
    small = converted(model(QWEN_3B), "Q4_K_M")
    config = _logged(context=case["n_ctx_implied"])
    yield Compared("Qwen2.5-3B, RTX 4080 SUPER", "KV cache", case["kv_mib"] * MIB, kv_bytes(small, config))
    yield Compared("Qwen2.5-3B, RTX 4080 SUPER", "compute buffer", case["compute_mib"] * MIB, compute_bytes(small, config))
    yield from _buffers()
    case = _case(cases, "GLM-4-32B-0414")
    yield Compared(
        "GLM-4-32B-0414, A6000", "KV cache", case["kv_mib"] * MIB, _plain_kv(61, FullAttention(kv_heads=8, head_dim=128, head_dim_v=128), case["n_ctx"])
    )
    for start, length in (("DeepSeek-R1 671B (61 layers", 2048), ("DeepSeek-R1 671B (MHA layout)", 8192)):
        case = _case(cases, start)
        yield Compared(
            f"DeepSeek-R1, keys and values of all heads, {length}",
            "KV cache",
            case["kv_total_mib"] * MIB,
            _plain_kv(61, FullAttention(kv_heads=128, head_dim=192, head_dim_v=128), length),
        )
    case = _case(cases, "DeepSeek-V3-0324 (MLA)")
    latent = 61 * cache_bytes(LatentAttention(latent_dim=512, rope_dim=64), _logged(context=32_768, kv_type="q8_0"))
    yield Compared("DeepSeek-V3-0324, MLA, q8_0, 32,768 by its size", "KV cache", case["kv_total_mib"] * MIB, latent)
    case = _case(cases, "Qwen3.6 hybrid 64 layers")
    states = {cache: count for cache, count in converted(model("Qwen--Qwen3.5-27B"), "Q4_K_M").caches if not isinstance(cache, FullAttention)}
    three = sum(cache_bytes(cache, _logged(context=1, parallel=3)) * count for cache, count in states.items())
    yield Compared("Qwen3.6 hybrid, recurrent state of three slots", "KV cache", case["rs_buffer_mib"] * MIB, three)


# CUDA's compute buffers in logs that people published (model, context, flash attention, MiB): Llama 3 8B in three logs of Ollama's runner
# of 2024 and 2025, its 258.50 in facts/runtimes.md, Qwen2.5-7B in two logs of llama.cpp of 2026 (stored public files, addresses not shown).
LOGGED = [
    ("Llama 3 8B", "meta-llama--Llama-3.1-8B-Instruct", 8192, False, 560.00),
    ("Llama 3 8B", "meta-llama--Llama-3.1-8B-Instruct", 8192, True, 258.50),
    ("Qwen2.5-7B", "Qwen--Qwen2.5-7B-Instruct", 2048, True, 304.00),
]


def _buffers() -> Iterator[Compared]:
    for name, stem, context, flash, mib in LOGGED:
        file, config = converted(model(stem), "Q8_0"), _logged(context=context, flash_attention=flash)
        yield Compared(f"{name}, {context}, flash attention {'on' if flash else 'off'}", "compute buffer", mib * MIB, compute_bytes(file, config))


def _projectors(cases: list[dict[str, Any]]) -> Iterator[Compared]:
    """Vision projectors with the buffer of their warm-up."""
    case, file = _case(cases, "ollama blob 415aad60"), converted(model("Qwen--Qwen3.6-27B"), "Q4_K_M")
    ours = file.mmproj_bytes + file.mmproj_compute_bytes
    yield Compared("Qwen3.6-27B's projector, by its size (ollama#17482)", "projector", case["mmproj_estimate_mib"] * MIB, ours)


def _totals(cases: list[dict[str, Any]]) -> Iterator[Compared]:
    """Whole GPUs: weights, cache, compute buffer on each, and each process's context."""
    for mix in ("Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M"):
        case = _case(cases, "EleutherAI/pythia-2.8b", quant=mix)

        file = converted(build_model(Config(PYTHIA, "pythia"), "pythia-2.8b"), mix)
        config = _logged(context=2048, flash_attention=False)
        observed = case["model_gpu_mib"] + case["kv_mib"] + case["compute_mib"]
        yield Compared(
            f"pythia-2.8b {mix}, V100", "total", observed * MIB, file.file_bytes - file.input_bytes + kv_bytes(file, config) + compute_bytes(file, config)
        )
    case = _case(cases, "Qwen3-32B", quant="Q6_K")
    file, config = converted(model("Qwen--Qwen3-32B"), "Q6_K"), _logged(context=case["n_ctx"])
    ours = sum(gpu.total_bytes for gpu in ledger_of(file, config, (24 * GIB,) * 3).gpus) + 3 * DRIVER_MIB * MIB
    yield Compared("Qwen3-32B Q6_K, 32K, 3x RTX 3090 (a user's 36)", "total", case["actual_vram_gib"] * GIB, ours)


MLX_MODELS = {
    "Qwen3-4B-Instruct-2507": "Qwen--Qwen3-4B-Instruct-2507",
    "Qwen3-30B-A3B-Instruct-2507": "Qwen--Qwen3-30B-A3B-Instruct-2507",
    "Mistral 7B": "mistralai--Mistral-7B-Instruct-v0.3",
    "granite-4.0-h-small": "ibm-granite--granite-4.0-h-small",
    "Meta-Llama-3.1-8B": "meta-llama--Llama-3.1-8B-Instruct",
    "phi-4-mini": "microsoft--Phi-4-mini-instruct",
    "gemma-3-1b": "google--gemma-3-1b-it",
    "gemma-3-4b": "google--gemma-3-4b-it",
    "Qwen2.5-14B": "Qwen--Qwen2.5-14B-Instruct",
    "Qwen3-8B": "Qwen--Qwen3-8B",
    "gpt-oss-20b": "openai--gpt-oss-20b",
    "Qwen3.6-35B-A3B": "Qwen--Qwen3.6-35B-A3B",
    "qwen3.5-9b": "Qwen--Qwen3.5-9B",
    "gemma-4-12b": "google--gemma-4-12B-it",
    "gemma-4-26b": "google--gemma-4-26B-A4B",
    "qwen3.5-35b": "Qwen--Qwen3.5-35B-A3B",
    "SEED Ministral-3-14B": "mistralai--Ministral-3-14B-Instruct-2512",
    "SEED Qwen3-VL-30B-A3B": "Qwen--Qwen3-VL-30B-A3B-Instruct",
    "SEED Qwen3-VL-32B": "Qwen--Qwen3-VL-32B-Instruct",
}


@cache
def _plain(stem: str) -> ModelSpec:
    """A model without the quantization of its own checkpoint: MLX has another."""
    path = DATA / "configs" / f"{stem}.json"
    if not path.exists():
        return find_plain(stem.partition("--")[2]).spec
    data = {key: value for key, value in parse_config(path.read_bytes(), str(path)).data.items() if key != "quantization_config"}
    if stem.startswith("mistralai--Mistral-7B"):
        data["sliding_window"] = None  # v0.3 says so; the typed file leaves it out
    return build_model(Config(data, stem), stem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Compared):
    """A reported peak beside ours with its interval, and the prompt that it was for."""

    low: float
    high: float
    tokens: int


def mlx_cases() -> Iterator[Reported]:
    """Peaks of MLX as reported: those of long prompts (mlx_peaks.yaml), and those of mlx_cases.yaml.

    `peak_ram_mb` is read as MiB: as 10^6 the residual of two models would be a quarter of what mlx-lm's own rows show. Rapid-MLX's 8K rows are
    the footprint of the whole process, as the guide's are, and read by its own steps: between mlx-lm's 2,048 tokens and 8,192.
    """
    for case in _cases("mlx_peaks.yaml"):
        for tokens, observed in case["peaks"].items():
            other = ", another server" if "another server" in case.get("note", "") else ""
            yield _reported(f"{case['model'].partition('--')[2]} {case['form']}, {case['hardware']}, {tokens:,} tokens{other}", case, observed * 1e9, tokens)
    for case in _cases("mlx_cases.yaml"):
        stem = next((stem for name, stem in MLX_MODELS.items() if name.lower() in case["model"].lower()), None)
        if stem is None:
            continue
        is_footprint = "peak_8k_gb" in case or "ram_delta" in case
        asked = {
            "model": stem,
            "form": _form(case).name,
            "footprint": is_footprint,
            "vision": "SEED Qwen" in case["model"],
            "answer": case.get("gen_tokens") or 0,
        }
        asked["steps"] = (PREFILL_STEP, 4096, 8192) if is_footprint else (PREFILL_STEP,)
        yield _reported(f"{case['model'].rpartition('/')[2]}, {case['hardware']}", asked, _observed(case), case.get("prompt_tokens") or 0)


def _reported(name: str, case: dict[str, Any], observed: float, tokens: int) -> Reported:
    """Ours for the middle one of the steps that a server may read by, the interval over all."""
    spec, form = _plain(case["model"]), mlx.read_format(case["form"])
    held = mlx.stored(spec, form, vision=case.get("vision", False), released=case.get("released", ""))
    process = mlx.PROCESS_BYTES if case.get("footprint") else 0
    steps, length = case.get("steps", (PREFILL_STEP,)), tokens + case.get("answer", 0)
    state = mlx.state_bits(case.get("release", "0.31.2"))
    terms = (
        [(mlx.kv_bytes(spec, length, step=step, prompt=tokens, state=state), peak(spec, Prompts(tokens=tokens, step=step))) for step in steps] if tokens else []
    )
    cache, term = terms[len(terms) // 2] if terms else (0, Peak(low=0, usual=0, high=0, buffer=0, measured=""))
    low = process + held.low + min((kv + one.low for kv, one in terms), default=0)
    high = process + held.high + max((kv + one.high for kv, one in terms), default=0)
    return Reported(case=name, what="total", observed=observed, ours=process + held.usual + cache + term.usual, low=low, high=high, tokens=tokens)


def _observed(case: dict[str, Any]) -> float:
    if "peak_gb" in case:
        return float(case["peak_gb"]) * 1e9
    if "peak_ram_mb" in case:
        return float(case["peak_ram_mb"]) * MIB
    return float(case["peak_8k_gb"]) * 1e9 if "peak_8k_gb" in case else float(case["ram_delta"]) * GIB


def _form(case: dict[str, Any]) -> mlx.MlxFormat:
    bits = case.get("bits") or 4
    if "MXFP4" in case["model"]:
        return mlx.read_format("mxfp4-q8")
    group = f"-g{case['group_size']}" if case.get("group_size") not in (None, 64) else ""
    return mlx.read_format("bf16" if bits == 16 else f"{bits}bit{group}")


def mean_error(rows: list[Compared], what: str) -> float:
    """Mean absolute error of one kind of figure, in percent."""
    return mean(abs(row.error) for row in rows if row.what == what)


def tables() -> list[str]:
    """The part of docs/accuracy.md about these runtimes."""
    gguf, mac = list(llamacpp()), list(mlx_cases())
    return [
        "## llama.cpp and Ollama",
        "",
        "Observed figures with a known shape (`tests/data/llamacpp_cases.yaml`; an engine's own estimates are left out). Sizes of 30 mixes of 17 models",
        "are equal to llama.cpp's dry run, and their KV caches to its own (`tests/engines/llamacpp/test_llamacpp.py`). Mean absolute error: weights "
        f"{mean_error(gguf, 'weights'):.2f} %, KV cache {mean_error(gguf, 'KV cache'):.2f} %, compute buffer {mean_error(gguf, 'compute buffer'):.1f} %, "
        f"total {mean_error(gguf, 'total'):.1f} %.",
        "",
        "| case | figure | observed MiB | error |",
        "|---|---|---|---|",
        *(f"| {row.case} | {row.what} | {row.observed / MIB:,.0f} | {row.error:+.2f} % |" for row in gguf),
        "",
        "Ollama's library keeps the values of Qwen3-32B in 16 bits, which llama.cpp's mix does not: the registry's size counts there.",
        "",
        "## MLX",
        "",
        f"Peaks and footprints as published (`tests/data/mlx_cases.yaml`, `mlx_peaks.yaml`): mean absolute error {mean_error(mac, 'total'):.1f} %,",
        f"{sum(row.low <= row.observed <= row.high for row in mac)} of {len(mac)} inside the interval. The scores of a long prompt follow from MLX's source; what the",
        "layers of a step take was fitted to these rows by class: attention only, gated delta rule (dense, with experts), short convolutions, Mamba2.",
        "",
        "| case | observed GB | error | interval |",
        "|---|---|---|---|",
        *(f"| {row.case} | {row.observed / 1e9:.2f} | {row.error:+.1f} % | {row.low / 1e9:.2f} to {row.high / 1e9:.2f} |" for row in mac),
    ]


__all__ = ["Compared", "llamacpp", "mean_error", "mlx_cases", "tables"]


if __name__ == "__main__":
    print("\n".join(tables()))

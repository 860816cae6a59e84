"""What a command asks for that the ledger does not hold, and which way it moves memory: with it the answer may be `unknown`, never a guess.

A flag is in the ledger (command.py `READ`), moves nothing (harmless.json, with the reason), is part of another that is not given, or is named here;
one that is in none of the four is named too. The same holds of the environment variables that vLLM knows (envs.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypedDict

from planner.engines.vllm import pictures
from planner.engines.vllm.backends import SCALES_BY_HEAD
from planner.engines.vllm.command import READ
from planner.engines.vllm.lora import is_known
from planner.engines.vllm.multimodal_rules import WHOLE_ITEMS, may_not_fit
from planner.engines.vllm.not_covered_environment import ENVIRONMENT
from planner.engines.vllm.not_covered_models import ONLY, STAGED, is_staged
from planner.engines.vllm.not_covered_options import uncovered_options
from planner.engines.vllm.rules import BITSANDBYTES, is_quantized_while_loading
from planner.engines.vllm.served import only_lengths
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.slots import unjudged_octave, unsure_slots
from planner.engines.vllm.versions import VERSIONS, is_unread_method
from planner.facts.model import ModelSpec
from planner.facts.not_covered import Effect, NotCovered

FLAGS: dict[str, tuple[str, Effect]] = {
    "--lora-extra-vocab-size": ("words that adapters add", "adds"),
    "--enable-lora-bias": ("biases of the adapters", "adds"),
    "--max-lora-cls-labels": ("classes that adapters add", "adds"),
    "--enable-mixed-moe-lora-format": ("experts' adapters in another form", "either"),
    "--enable-moe-shared-loras": ("experts' adapters in another form", "lowers"),
    "--ec-transfer-config": ("buffers of the transfer", "adds"),
    "--ec-manager-config": ("buffers of the encoder's outputs", "adds"),
    "--weight-transfer-config": ("buffers of the transfer", "adds"),
    "--enable-elastic-ep": ("buffers of the growing group", "adds"),
    "--enable-dbo": ("buffers of the second batch", "adds"),
    "--ubatch-size": ("buffers of the other batches", "adds"),
    "--mm-processor-device": ("pictures that are prepared on the GPU", "adds"),
    "--mm-encoder-attn-dtype": ("scales and copies of the vision tower's attention", "adds"),
    "--mm-encoder-only": ("a server without the language model", "lowers"),
    "--video-pruning-rate": ("tokens pruned from films", "lowers"),
    "--enable-batch-sharded-sampling": ("logits divided over ranks", "lowers"),
    "--disable-custom-all-reduce": ("buffers of the all-reduce", "lowers"),
    "--enable-hc-sp": ("activations divided over ranks", "either"),
    "--attention-config.backend_per_kind": ("pages of another attention backend", "either"),
    "--attention-config.indexer_kv_dtype": ("the indexer's cache in another width", "either"),
    "--attention-config.indexer_sparse_logits": ("the indexer's logits", "either"),
    "--attention-config.minimax_m3_indexer_cp": ("the indexer's cache divided over ranks", "either"),
    "--attention-config.hisparse_config": ("the cache kept in main memory", "either"),
    "--attention-config.sparse_mla_force_mqa": ("the workspace of the prompt's attention", "either"),
    "--attention-config.sparse_mla_prefill_workspace_factor": ("the workspace of the prompt's attention", "either"),
    "--attention-config.tokenspeed_mla_min_split_kv": ("the workspace of the attention", "adds"),
    "--attention-config.tq_max_kv_splits_for_cuda_graph": ("the workspace of the attention", "either"),
    "--disable-sliding-window": ("windows that end the context", "either"),
    "--swa-bounded-replay": ("windows that are kept for prefix caching", "either"),
    "--hf-config-path": ("another configuration of the model", "either"),
    "--model-class-overrides": ("another model class", "either"),
    "--model-impl": ("another model class", "either"),
    "--load-format": ("weights in another format", "either"),
    "--pt-load-map-location": ("files that are read into the GPU", "adds"),
    "--quantization-config": ("another way to quantize", "either"),
    "--moe-backend": ("experts as another kernel stores them", "either"),
    "--linear-backend": ("weights as another kernel stores them", "either"),
    "--kernel-config.linear_backend_per_quant": ("weights as another kernel stores them", "either"),
    "--mamba-cache-mode": ("states kept in another way", "either"),
    "--mamba-block-size": ("states kept in another way", "either"),
    "--use-replayssm": ("inputs that are kept beside the states", "adds"),
    "--engram-config": ("embeddings kept elsewhere", "either"),
    "--diffusion-config": ("the canvas of the diffusion", "either"),
    "--cuda-graph-sizes": ("other batches captured as CUDA graphs", "either"),
    "--compilation-config.compile_mm_encoder": ("the compiled vision tower", "either"),
    "--compilation-config.cudagraph_mm_encoder": ("CUDA graphs of the vision tower", "adds"),
    "--compilation-config.cudagraph_decoder_replay": ("CUDA graphs of the replayed layers", "either"),
    "--compilation-config.decoder_replay_cudagraph_capture_sizes": ("CUDA graphs of the replayed layers", "either"),
    "--compilation-config.decoder_replay_trim_threshold": ("CUDA graphs of the replayed layers", "either"),
    "--enable-cumem-allocator": ("another allocator", "either"),
    "--enable-prompt-embeds": ("embeddings of a batch", "adds"),
    "--enable-return-routed-experts": ("the routed experts of a batch", "adds"),
    "--aux-output-config": ("the routed experts of a batch", "adds"),
    "--enable-trace-replay": ("the token sequences to replay", "adds"),
    "--return-sampling-mask": ("the masks of the sampler", "adds"),
    "--use-fp64-gumbel": ("random numbers of 64 bits", "adds"),
    "--watermark-config": ("the sampler's watermark", "adds"),
    "--override-attention-dtype": ("attention in another width", "either"),
    "--use-gpu-for-pooling-score": ("texts that are compared on the GPU", "adds"),
    "--worker-cls": ("another worker", "either"),
    "--additional-config": ("what a plugin makes of it", "either"),
}
# What of a flag that is in the ledger it does not hold.
PARTLY: dict[str, tuple[str, Effect]] = {
    "--all2all-backend": ("buffers between experts", "adds"),
    "--kv-transfer-config": ("buffers of the transfer", "adds"),
    "--kv-offloading-size": ("windows that are kept whole", "adds"),
    "--prefill-context-parallel-size": ("activations of a divided prompt", "lowers"),
    "--enable-sleep-mode": ("a cache for which this version takes more than is there, after kernels gave memory back,", "adds"),
}
_OFF = (None, False, "", "0", "0.0", "auto")
_AS_USUAL: dict[str, tuple[str, ...]] = {
    "--prefill-context-parallel-size": ("1",),
    "--lora-extra-vocab-size": ("256",),
    "--mm-processor-device": ("cpu",),
    "--all2all-backend": ("allgather_reducescatter", "naive", "pplx"),
    "--mamba-cache-mode": ("align", "none"),  # prefix caching decides between these
    "--model-impl": ("vllm",),
    "--pt-load-map-location": ("cpu",),
    # of the others runai_streamer, sharded_state, tensorizer and the like read the same weights; buffers of fastsafetensors are gone before the cache is sized
    "--load-format": (
        "hf", "safetensors", "pt", "npcache", "dummy", "mistral", "fastsafetensors", "instanttensor", "runai_streamer", "runai_streamer_sharded", "sharded_state", "tensorizer",
    ),
}  # fmt: skip
TRANSFER = "--kv-transfer-config"
ON_BY_DEFAULT = ("--swa-bounded-replay", "--compilation-config.cudagraph_decoder_replay")
# Objects of which each key counts for itself.
NESTED = ("--compilation-config", "--attention-config", "--kernel-config")
# Keys that are flags of their own as well.
ALIASES = {
    "--attention-config.backend": "--attention-backend",
    "--kernel-config.moe_backend": "--moe-backend",
    "--kernel-config.linear_backend": "--linear-backend",
}


class Harmless(TypedDict):
    """harmless.json: flags by why they move no memory, parts by the flag that they belong to, environment variables by why.

    `earlier`: flags of releases before those that are known here, which moved none either and left the engine what it is.
    """

    comment: str
    earlier: list[str]
    flags: dict[str, list[str]]
    parts: dict[str, list[str]]
    environment: dict[str, list[str]]


@cache
def harmless() -> Harmless:
    """harmless.json."""
    loaded: Harmless = json.loads(Path(__file__).with_name("harmless.json").read_text("utf-8"))
    return loaded


@cache
def moves_nothing() -> frozenset[str]:
    """Flags that change no memory of a GPU at start."""
    data = harmless()
    return frozenset(flag for group in (*data["flags"].values(), *data["parts"].values()) for flag in group)


def not_covered(
    values: Mapping[str, str | bool],
    model: ModelSpec,
    config: ServeConfig,
    *,
    env: Mapping[str, str] | None = None,
    usual: tuple[str, int] = ("", 0),
) -> Iterator[NotCovered]:
    """What of a command the ledger does not hold; a flag that asks for what is taken anyway (`usual`: backend and block size) is none."""
    for flag, value in _said(values):
        if (flag in READ and flag not in PARTLY) or flag in moves_nothing() or flag.startswith("--no-"):  # of one that is gone, switched off
            continue
        on = flag in ON_BY_DEFAULT
        if (value in (True, "true", "True", None) if on else value in _OFF) or value in _AS_USUAL.get(flag, ()):
            continue
        what, effect = PARTLY.get(flag) or FLAGS.get(flag, ("what it does to memory", "either"))
        if value == BITSANDBYTES and config.quantization == value:  # --load-format says the same again
            continue
        if flag not in ONLY or ONLY[flag](model, config):
            staged = flag == TRANSFER and is_staged(model, config)
            yield NotCovered(flag=f"{flag} {STAGED}" if staged else flag if not on or "." in flag else f"--no-{flag[2:]}", what=what, effect=effect)
    yield from of_the_quantization(model, config)
    yield from of_the_cache(model, config)
    if values.get("--distributed-executor-backend") == "ray":
        yield NotCovered(flag="--distributed-executor-backend ray", what="other machines of the Ray cluster", effect="either")
    yield from of_the_model(model)
    yield from _of_adapters(model, config)
    if "--hf-overrides" in values and not only_lengths(values):
        yield NotCovered(flag="--hf-overrides", what="changes to the model's configuration", effect="either")
    if pictures.FLAG in values and model.vision is not None and not config.skip_mm_profiling and not pictures.only_pixels(values, model, config.vllm_version):
        yield NotCovered(flag=pictures.FLAG, what="pictures of another size", effect="either")
    if may_not_fit(values, model, config):
        flag = WHOLE_ITEMS if values.get(WHOLE_ITEMS) else "--max-num-batched-tokens"
        yield NotCovered(flag=flag, what="whether the largest picture, film or sound fits a batch", effect="either")
    yield from uncovered_options(model, config, *usual)
    yield from _of_the_environment(env or {}, model, config)


def of_the_plan(model: ModelSpec, config: ServeConfig) -> Iterator[NotCovered]:
    """What of a model and its settings no ledger holds, whoever chose these."""
    yield from of_the_model(model)
    yield from of_the_quantization(model, config)
    yield from of_the_cache(model, config)
    if unsure := unsure_slots(model, config):
        yield unsure


def of_the_cache(model: ModelSpec, config: ServeConfig) -> Iterator[NotCovered]:
    """Forms of the cache of which nobody knows whether a release takes them."""
    if model.scales_by_head and VERSIONS[config.vllm_version].minor == SCALES_BY_HEAD:
        what = f"whether vLLM {config.vllm_version}, whose source was not read, takes a cache with a scale a head"
        yield NotCovered(flag="kv_cache_scheme", what=what, effect="either")
    if unjudged_octave(model, config.kv_cache_dtype):
        yield NotCovered(flag=f"--kv-cache-dtype {config.kv_cache_dtype}", what=f"the cache of {model.architecture} in that form", effect="either")


def of_the_quantization(model: ModelSpec, config: ServeConfig) -> Iterator[NotCovered]:
    """What of `--quantization` no ledger holds."""
    name = config.quantization
    if name and is_unread_method(name, config.vllm_version):
        yield NotCovered(flag=f"--quantization {name}", what=f"whether vLLM {config.vllm_version}, whose source was not read, has it", effect="either")
    elif is_quantized_while_loading(name, model.quantization, config.vllm_version):
        yield NotCovered(flag=f"--quantization {name}", what="weights quantized while loading in this way", effect="either")


def of_the_model(model: ModelSpec) -> Iterator[NotCovered]:
    """What of a model's own no ledger holds: everything but bytes and figures where its architecture is not known."""
    if model.not_known:
        yield NotCovered(flag=model.architecture or "--model", what=model.not_known, effect="either")


def _of_adapters(model: ModelSpec, config: ServeConfig) -> Iterator[NotCovered]:
    if config.lora and not is_known(model.architecture, config.vllm_version):
        yield NotCovered(flag="--enable-lora", what=f"weights of the adapters of {model.architecture}", effect="adds")
    if config.lora and config.lora.towers and model.vision is not None:
        yield NotCovered(flag="--enable-tower-connector-lora", what="adapters of the vision tower", effect="adds")


def _said(values: Mapping[str, str | bool]) -> Iterator[tuple[str, str | bool | None]]:
    """Every flag with its value; of an object that is no flag's own each key, in the spelling of a flag."""
    for flag, value in values.items():
        if flag not in NESTED:
            yield flag, value
            continue
        try:
            data = json.loads(str(value))
        except ValueError:
            data = None
        for key, inner in data.items() if isinstance(data, dict) else ():
            name = ALIASES.get(f"{flag}.{key}", f"{flag}.{key}")
            yield name, inner if inner is None or isinstance(inner, bool | str) else json.dumps(inner)


def _of_the_environment(env: Mapping[str, str], model: ModelSpec, config: ServeConfig) -> Iterator[NotCovered]:
    for name, value in env.items():
        row = ENVIRONMENT.get(name)
        if row is None or VERSIONS[config.vllm_version].minor > VERSIONS[row.last].minor:
            continue
        if value.strip() not in row.usual and (name not in ONLY or ONLY[name](model, config)):
            yield NotCovered(flag=f"{name}={value[:40]}", what=row.what, effect=row.effect)

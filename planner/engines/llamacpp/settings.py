"""The settings of llama-server that decide what it holds, and of Ollama, as rows: their flags, what they may be, what counts where nothing is said.

Sources: llama.cpp common/common.h common_params, common/arg.cpp (the build that flags.json names); ollama @fb307609 envconfig/config.go.
"""

from __future__ import annotations

from dataclasses import replace

from planner.engines.llamacpp.drafter import DRAFTED
from planner.engines.llamacpp.ggml import KV_TYPES
from planner.facts.settings import Kind, Setting

AUTO = "auto"
FIT_CONTEXT = 4096  # --fit-ctx: the shortest context that the fit sets by itself
AUTO_SLOTS = 4  # of --parallel -1: so many, sharing one cache (tools/server/server.cpp)
_ROWS = (
    Setting(name="model", flag="--model", aliases=("-m",), kind=Kind.TEXT, help="The GGUF file."),
    Setting(name="hf_repo", flag="--hf-repo", aliases=("-hf", "-hfr"), kind=Kind.TEXT, help="user/repository:quantization on the Hub."),
    Setting(name="hf_file", flag="--hf-file", aliases=("-hff",), kind=Kind.TEXT, help="A file of that repository."),
    Setting(name="mmproj", flag="--mmproj", aliases=("-mm",), kind=Kind.TEXT, help="The vision projector's GGUF file."),
    Setting(name="mmproj_auto", flag="--mmproj-auto", off=("--no-mmproj", "--no-mmproj-auto"), kind=Kind.SWITCH, default=True, help="Load a repository's own."),
    Setting(name="mmproj_offload", flag="--mmproj-offload", off=("--no-mmproj-offload",), kind=Kind.SWITCH, default=True, help="The projector on the GPU."),
    Setting(name="image_min_tokens", flag="--image-min-tokens", kind=Kind.COUNT, help="The least tokens of an image."),
    Setting(name="image_max_tokens", flag="--image-max-tokens", kind=Kind.COUNT, help="The most tokens of an image."),
    Setting(name="ctx_size", flag="--ctx-size", aliases=("-c",), kind=Kind.TOKENS, default=0, least=0, help="Tokens of all slots; 0 is the model's."),
    Setting(name="parallel", flag="--parallel", aliases=("-np",), kind=Kind.COUNT, default=-1, least=-1, help="Slots; -1 is four that share a cache."),
    Setting(name="kv_unified", flag="--kv-unified", aliases=("-kvu",), off=("--no-kv-unified", "-no-kvu"), kind=Kind.SWITCH, default=False, help="One cache."),
    Setting(name="cache_type_k", flag="--cache-type-k", aliases=("-ctk",), kind=Kind.TEXT, default="f16", choices=KV_TYPES, help="Type of the keys."),
    Setting(name="cache_type_v", flag="--cache-type-v", aliases=("-ctv",), kind=Kind.TEXT, default="f16", choices=KV_TYPES, help="Of the values."),
    Setting(name="swa_full", flag="--swa-full", kind=Kind.SWITCH, default=False, help="The whole context in layers with a window too."),
    Setting(name="flash_attn", flag="--flash-attn", aliases=("-fa",), kind=Kind.TEXT, default=AUTO, help="on, off or auto."),
    Setting(name="batch_size", flag="--batch-size", aliases=("-b",), kind=Kind.COUNT, default=2048, least=1, help="Tokens of a batch."),
    Setting(name="ubatch_size", flag="--ubatch-size", aliases=("-ub",), kind=Kind.COUNT, default=512, least=1, help="Tokens of a step."),
    Setting(name="n_gpu_layers", flag="--n-gpu-layers", aliases=("-ngl", "--gpu-layers"), kind=Kind.TEXT, default=AUTO, help="A number, all or auto."),
    Setting(
        name="kv_offload", flag="--kv-offload", aliases=("-kvo",), off=("--no-kv-offload", "-nkvo"), kind=Kind.SWITCH, default=True, help="Cache on the GPU."
    ),
    Setting(
        name="op_offload", flag="--op-offload", off=("--no-op-offload",), kind=Kind.SWITCH, default=True, help="Batches of what is in main memory on the GPU."
    ),
    Setting(name="split_mode", flag="--split-mode", aliases=("-sm",), kind=Kind.TEXT, default="layer", help="none, layer, row or tensor."),
    Setting(name="main_gpu", flag="--main-gpu", aliases=("-mg",), kind=Kind.COUNT, default=0, least=0, help="The GPU that is used where none is split over."),
    Setting(name="tensor_split", flag="--tensor-split", aliases=("-ts",), kind=Kind.TEXT, help="Shares of the GPUs: 3,1."),
    Setting(name="cpu_moe", flag="--cpu-moe", aliases=("-cmoe",), kind=Kind.SWITCH, default=False, help="All experts in main memory."),
    Setting(name="n_cpu_moe", flag="--n-cpu-moe", aliases=("-ncmoe",), kind=Kind.COUNT, default=0, least=0, help="The first so many layers' experts there."),
    Setting(name="override_tensor", flag="--override-tensor", aliases=("-ot",), kind=Kind.TEXT, help="Tensors by a pattern, and where they lie."),
    Setting(name="device", flag="--device", aliases=("-dev",), kind=Kind.TEXT, help="The devices that are used."),
    Setting(name="fit", flag="--fit", aliases=("-fit",), kind=Kind.TEXT, default="on", help="Whether what is not said is made to fit."),
    Setting(name="fit_target", flag="--fit-target", aliases=("-fitt",), kind=Kind.TEXT, default="1024", help="MiB that the fit leaves free of each GPU."),
    Setting(name="fit_ctx", flag="--fit-ctx", aliases=("-fitc",), kind=Kind.TOKENS, default=FIT_CONTEXT, least=0, help="The shortest context of the fit."),
    Setting(name="spec_type", flag="--spec-type", kind=Kind.TEXT, default="none", help="What drafts: draft-simple, draft-mtp, ngram-mod …"),
    Setting(name="spec_draft_n_max", flag="--spec-draft-n-max", kind=Kind.COUNT, default=DRAFTED, least=0, help="Tokens that are drafted at a time."),
    Setting(name="model_draft", flag="--model-draft", kind=Kind.TEXT, help="The draft model's GGUF file."),
    Setting(name="hf_repo_draft", flag="--hf-repo-draft", kind=Kind.TEXT, help="user/repository:quantization of the draft model on the Hub."),
    Setting(name="n_gpu_layers_draft", flag="--n-gpu-layers-draft", kind=Kind.TEXT, default=AUTO, help="The draft model's layers on the GPU."),
    Setting(name="cache_type_k_draft", flag="--cache-type-k-draft", kind=Kind.TEXT, default="f16", choices=KV_TYPES, help="Type of its keys."),
    Setting(name="cache_type_v_draft", flag="--cache-type-v-draft", kind=Kind.TEXT, default="f16", choices=KV_TYPES, help="Of its values."),
    Setting(name="embeddings", flag="--embeddings", aliases=("--embedding",), kind=Kind.SWITCH, default=False, help="Embeddings only."),
)
SETTINGS = tuple(replace(row, is_pin=False, group="llama.cpp") for row in _ROWS)

# What Ollama reads from its environment; the name is also the flag, for it has none.
OLLAMA_SETTINGS = tuple(
    replace(row, is_pin=False, group="Ollama")
    for row in (
        Setting(
            name="context_length", flag="OLLAMA_CONTEXT_LENGTH", kind=Kind.TOKENS, default=0, least=0, help="Tokens of a request; 0 is by the GPUs' memory."
        ),
        Setting(name="num_parallel", flag="OLLAMA_NUM_PARALLEL", kind=Kind.COUNT, default=1, least=0, help="Requests at a time, each with a cache of its own."),
        Setting(name="kv_cache_type", flag="OLLAMA_KV_CACHE_TYPE", kind=Kind.TEXT, default="f16", help="f16, q8_0 or q4_0."),
        Setting(name="flash_attention", flag="OLLAMA_FLASH_ATTENTION", kind=Kind.TEXT, default="", help="1 or 0; Ollama's to choose."),
        Setting(name="max_loaded_models", flag="OLLAMA_MAX_LOADED_MODELS", kind=Kind.COUNT, default=0, least=0, help="Models that stay loaded at once."),
    )
)
OLLAMA_VARIABLES = frozenset(
    [
        "OLLAMA_AUTH",
        "OLLAMA_CONTEXT_LENGTH",
        "OLLAMA_DEBUG",
        "OLLAMA_DEBUG_LOG_REQUESTS",
        "OLLAMA_EDITOR",
        "OLLAMA_FLASH_ATTENTION",
        "OLLAMA_GO_TEMPLATE",
        "OLLAMA_GPU_OVERHEAD",
        "OLLAMA_HOST",
        "OLLAMA_IGPU_ENABLE",
        "OLLAMA_KEEP_ALIVE",
        "OLLAMA_KV_CACHE_TYPE",
        "OLLAMA_LLM_LIBRARY",
        "OLLAMA_LOAD_TIMEOUT",
        "OLLAMA_MAX_LOADED_MODELS",
        "OLLAMA_MAX_QUEUE",
        "OLLAMA_MAX_TRANSFER_STREAMS",
        "OLLAMA_MODELS",
        "OLLAMA_NOHISTORY",
        "OLLAMA_NOPRUNE",
        "OLLAMA_NO_CLOUD",
        "OLLAMA_NUM_PARALLEL",
        "OLLAMA_ORIGINS",
        "OLLAMA_REMOTES",
        "OLLAMA_SCHED_SPREAD",
        "OLLAMA_VULKAN",
    ]
)

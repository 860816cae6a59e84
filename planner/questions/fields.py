"""What a question holds beside the engines' settings, with its bounds: the one place that the command line, stack files and the page read them from."""

from __future__ import annotations

from dataclasses import replace

from planner.facts.settings import Kind, Setting, by_name
from planner.units import GIB

MOST_COUNT, MOST_NODES, MOST_CONTEXT, MOST_USERS, MOST_PORT = 1024, 128, 1 << 40, 100_000, 65_535
MOST_LINK_GB_PER_S = 10_000
MOST_POWER_W = 10_000
MOST_USD, MOST_WATTS, MOST_DOCUMENTS = 1e9, 1e7, 10**15
_SERVER = "Server"
# Settings of a server that only some engines have, by their flags: the command line, stack files and programs take them from here.
OF_SOME = tuple(
    replace(row, group=_SERVER)
    for row in (
        Setting(name="parallel", flag="--parallel", kind=Kind.TEXT, help="slots, each with its own cache; auto: four that share one."),
        Setting(name="kv_unified", flag="--kv-unified", off=("--no-kv-unified",), kind=Kind.SWITCH, help="slots share one cache."),
        Setting(name="batch_size", flag="--batch-size", kind=Kind.COUNT, least=1, most=1 << 20, help="tokens of a batch; else 2,048."),
        Setting(name="ubatch_size", flag="--ubatch-size", kind=Kind.COUNT, least=1, most=1 << 20, help="tokens of a step; the compute buffer grows with it."),
        Setting(name="flash_attn", flag="--flash-attn", kind=Kind.TEXT, choices=("on", "off", "auto"), help="flash attention; else on."),
        Setting(name="cache_type_k", flag="--cache-type-k", kind=Kind.TEXT, help="the type of the keys, where it is not that of --kv-cache-dtype."),
        Setting(name="cache_type_v", flag="--cache-type-v", kind=Kind.TEXT, help="the type of the values."),
        Setting(
            name="split_mode",
            flag="--split-mode",
            kind=Kind.TEXT,
            choices=("none", "layer", "row", "tensor"),
            help="what is split over several GPUs; else layers.",
        ),
        Setting(name="device", flag="--device", kind=Kind.TEXT, help="devices by name, which tell the backend: Vulkan0, ROCm0, CUDA0,CUDA1."),
        Setting(name="main_gpu", flag="--main-gpu", kind=Kind.COUNT, least=0, most=MOST_COUNT, help="the GPU that is used with --split-mode none."),
        Setting(name="tensor_split", flag="--tensor-split", kind=Kind.TEXT, help="shares of the GPUs: 3,1; else by what is free of each."),
        Setting(name="cpu_moe", flag="--cpu-moe", off=("--no-cpu-moe",), kind=Kind.SWITCH, help="all experts in main memory."),
        Setting(name="n_cpu_moe", flag="--n-cpu-moe", kind=Kind.COUNT, least=0, most=10_000, help="the first so many layers' experts in main memory."),
        Setting(name="override_tensor", flag="--override-tensor", kind=Kind.TEXT, help=r"tensors by a pattern, and where they lie: blk\.1.\.ffn_.*_exps=CPU."),
        Setting(name="spec_type", flag="--spec-type", kind=Kind.TEXT, help="what drafts: draft-mtp, draft-simple, ngram-mod."),
        Setting(name="spec_draft_n_max", flag="--spec-draft-n-max", kind=Kind.COUNT, least=1, most=256, help="tokens that are drafted at a time; else 3."),
        Setting(
            name="model_draft",
            flag="--model-draft",
            kind=Kind.TEXT,
            help="the draft model: a catalogue name (qwen3-0.6b:Q8_0), user/repository:Q8_0, a GGUF file.",
        ),
        Setting(
            name="n_gpu_layers_draft", flag="--n-gpu-layers-draft", kind=Kind.COUNT, least=0, most=10_000, help="the draft model's layers on the GPU; else all."
        ),
        Setting(name="cache_type_k_draft", flag="--cache-type-k-draft", kind=Kind.TEXT, help="the type of the draft model's keys."),
        Setting(name="cache_type_v_draft", flag="--cache-type-v-draft", kind=Kind.TEXT, help="the type of its values."),
        Setting(name="mmproj", flag="--mmproj", off=("--no-mmproj",), kind=Kind.SWITCH, help="load the vision projector; else where the model has one."),
        Setting(name="image_min_tokens", flag="--image-min-tokens", kind=Kind.COUNT, least=1, most=1 << 20, help="the least tokens of an image."),
        Setting(name="image_max_tokens", flag="--image-max-tokens", kind=Kind.COUNT, least=1, most=1 << 20, help="the most tokens of an image."),
        Setting(name="engine_version", flag="--engine-version", kind=Kind.TEXT, help="its build, b9842 or v0.5.0."),
    )
)
FIELDS = by_name(
    (
        *OF_SOME,
        Setting(name="count", flag="--count", kind=Kind.COUNT, least=1, most=MOST_COUNT),
        Setting(name="nodes", flag="--nodes", kind=Kind.COUNT, least=1, most=MOST_NODES),
        Setting(name="context", flag="--context", kind=Kind.TOKENS, least=1, most=MOST_CONTEXT, short="context"),
        Setting(name="users", flag="--users", kind=Kind.COUNT, least=1, most=MOST_USERS, short="users"),
        Setting(name="input", flag="--input", kind=Kind.COUNT, least=1, most=10_000_000),
        Setting(name="output_tokens", flag="--output-tokens", kind=Kind.COUNT, least=1, most=1_000_000),
        Setting(name="concurrency", flag="--concurrency", kind=Kind.COUNT, least=1, most=MOST_USERS),
        Setting(name="ram", flag="--ram", kind=Kind.BYTES, least=GIB, most=1 << 50),
        Setting(name="vram", flag="--vram", kind=Kind.BYTES, least=GIB, most=1 << 50),
        Setting(name="bandwidth", flag="--bandwidth", kind=Kind.GIB, most=100_000),
        Setting(name="total_gib", flag="--total-gib", kind=Kind.GIB, most=1024),
        Setting(name="free_gib", flag="--free-gib", kind=Kind.GIB, most=1024),
        Setting(name="port", flag="--port", kind=Kind.COUNT, least=1, most=MOST_PORT),
        Setting(name="proxy_port", flag="--proxy-port", kind=Kind.COUNT, least=1, most=MOST_PORT),
        Setting(name="gpu_layers", flag="--gpu-layers", kind=Kind.COUNT, least=0, most=10_000),
        Setting(name="wired_limit_mb", flag="--wired-limit-mb", kind=Kind.COUNT, least=1, most=10_000_000),
    )
)

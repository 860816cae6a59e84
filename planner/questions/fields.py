"""What a question holds beside the engines' settings, with its bounds: the one place that the command line, stack files and the page read them from."""

from __future__ import annotations

from planner.facts.settings import Kind, Setting, by_name

MOST_COUNT, MOST_NODES, MOST_CONTEXT, MOST_USERS, MOST_PORT = 1024, 128, 1 << 40, 100_000, 65_535
MOST_LINK_GB_PER_S = 10_000
FIELDS = by_name(
    (
        Setting(name="count", flag="--count", kind=Kind.COUNT, least=1, most=MOST_COUNT),
        Setting(name="nodes", flag="--nodes", kind=Kind.COUNT, least=1, most=MOST_NODES),
        Setting(name="context", flag="--context", kind=Kind.TOKENS, least=1, most=MOST_CONTEXT, short="context"),
        Setting(name="users", flag="--users", kind=Kind.COUNT, least=1, most=MOST_USERS, short="users"),
        Setting(name="input", flag="--input", kind=Kind.COUNT, least=1, most=10_000_000),
        Setting(name="output_tokens", flag="--output-tokens", kind=Kind.COUNT, least=1, most=1_000_000),
        Setting(name="concurrency", flag="--concurrency", kind=Kind.COUNT, least=1, most=MOST_USERS),
        Setting(name="ram", flag="--ram", kind=Kind.BYTES, least=1, most=1 << 50),
        Setting(name="vram", flag="--vram", kind=Kind.BYTES, least=1, most=1 << 50),
        Setting(name="bandwidth", flag="--bandwidth", kind=Kind.GIB, most=100_000),
        Setting(name="total_gib", flag="--total-gib", kind=Kind.GIB, most=1024),
        Setting(name="free_gib", flag="--free-gib", kind=Kind.GIB, most=1024),
        Setting(name="port", flag="--port", kind=Kind.COUNT, least=1, most=MOST_PORT),
        Setting(name="proxy_port", flag="--proxy-port", kind=Kind.COUNT, least=1, most=MOST_PORT),
        Setting(name="gpu_layers", flag="--gpu-layers", kind=Kind.COUNT, least=0, most=10_000),
        Setting(name="parallel", flag="--parallel", kind=Kind.TEXT, help="slots, each with its own cache; auto: four that share one."),
        Setting(name="kv_unified", flag="--kv-unified", off=("--no-kv-unified",), kind=Kind.SWITCH, help="slots share one cache."),
        Setting(name="batch_size", flag="--batch-size", kind=Kind.COUNT, least=1, most=1 << 20, help="tokens of a batch; else 2,048."),
        Setting(
            name="ubatch_size", flag="--ubatch-size", kind=Kind.COUNT, least=1, most=1 << 20, help="tokens of a step, which the compute buffer grows with."
        ),
        Setting(name="flash_attn", flag="--flash-attn", kind=Kind.TEXT, choices=("on", "off", "auto"), help="flash attention; else on."),
        Setting(name="cache_type_k", flag="--cache-type-k", kind=Kind.TEXT, help="the type of the keys, where it is not that of --kv-cache-dtype."),
        Setting(name="cache_type_v", flag="--cache-type-v", kind=Kind.TEXT, help="the type of the values."),
        Setting(name="mmproj", flag="--mmproj", off=("--no-mmproj",), kind=Kind.SWITCH, help="load the vision projector; else where the model has one."),
        Setting(name="image_max_tokens", flag="--image-max-tokens", kind=Kind.COUNT, least=1, most=1 << 20, help="the most tokens of an image."),
        Setting(name="engine_version", flag="--engine-version", kind=Kind.TEXT, help="its build, b9842 or v0.5.0."),
        Setting(name="wired_limit_mb", flag="--wired-limit-mb", kind=Kind.COUNT, least=1, most=10_000_000),
    )
)

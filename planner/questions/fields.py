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
        Setting(name="wired_limit_mb", flag="--wired-limit-mb", kind=Kind.COUNT, least=1, most=10_000_000),
    )
)

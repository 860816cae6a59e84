"""Hostile and unlucky inputs, each made small: what is laid into a folder, what is asked of it, and how it must end."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECRETS = ("sk-secret123", "hf_secret456", "hunter2hunter2")
ESCAPES = "\x1b]0;owned\x07\x9b31m\u202e\u2066evil\x1b[2J"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 256,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}
Files = dict[str, "str | bytes | Callable[[Path], object]"]  # by name: a text, bytes, or what makes it


@dataclass(frozen=True, slots=True)
class Case:
    """A command, the files it finds, its standard input; the codes that are right, and a word that the answer holds."""

    words: tuple[str, ...]
    files: Files
    codes: tuple[int, ...] = (2,)
    says: str = ""
    stdin: bytes = b""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def listening(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may be 108 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def sparse(size: int) -> Callable[[Path], object]:
    """A file of that many zeros that takes no disk."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


SPECIAL = {"fifo": fifo, "zeros": zeros, "folder": folder, "socket": listening, "sparse": sparse(1 << 40)}


def safetensors(entries: object, data: bytes = b"") -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


def text_of(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(metadata: bytes = b"", entries: int = 0, tensors: bytes = b"", count: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, count, entries) + metadata + tensors


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text_of(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text_of(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


LLAMA = pair("general.architecture", 8, text_of("llama"))
BIG = int("9" * 400)
BOMB = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9 if n else ['lol'] * 9)}]\n" for n in range(12))
MODEL = ("--gpu", "rtx4090", "--dry-run", "--model")
CHECK = ("--gpu", "rtx4090")


def config(**changed: object) -> str:
    return json.dumps(CONFIG | changed)


def _special() -> dict[str, Case]:
    cases = {}
    for kind, make in SPECIAL.items():
        whole: Files = {"m/config.json": config()}
        readers: dict[str, tuple[tuple[str, ...], Files]] = {
            "config": ((*MODEL, "./m"), {"m/config.json": make}),
            "params": ((*MODEL, "./m"), {"m/params.json": make}),
            "hf_quant": ((*MODEL, "./m"), whole | {"m/hf_quant_config.json": make}),
            "index": ((*MODEL, "./m"), whole | {"m/model.safetensors.index.json": make}),
            "safetensors": ((*MODEL, "./m"), whole | {"m/model.safetensors": make}),
            "gguf": ((*MODEL, "./m.gguf", "--engine", "llamacpp"), {"m.gguf": make}),
            "gguf-vllm": ((*MODEL, "./m.gguf"), {"m.gguf": make}),
            "stack": (("-f", "s.yaml", "--dry-run"), {"s.yaml": make}),
            "prices": (("--model", "qwen3-8b", "--prices", "p.yaml", "--dry-run"), {"p.yaml": make}),
            "gpus": ((*MODEL, "qwen3-8b", "--gpus", "g.yaml"), {"g.yaml": make}),
            "models": ((*MODEL, "qwen3-8b", "--models", "g.yaml"), {"g.yaml": make}),
            "emit": (("emit", "plan.json", "--to", "compose"), {"plan.json": make}),
            "trace": (("capacity", "--gpu", "rtx4090", "--model", "qwen3-8b", "--trace", "t.jsonl"), {"t.jsonl": make}),
            "engine-config": (("check", "vllm serve qwen3-8b --config c.yaml", *CHECK), {"c.yaml": make}),
            "proxy-config": (("check", "litellm --config c.yaml", *CHECK), {"c.yaml": make}),
            "script": (("check", "s.sh", *CHECK), {"s.sh": make}),
            "log": (("explain", "l.log"), {"l.log": make}),
            "user-config": ((*MODEL, "qwen3-8b"), {"plan/config.toml": make}),
            "calibration": ((*MODEL, "qwen3-8b"), {"plan/calibration.json": make}),
            "own-prices": (("--model", "qwen3-8b", "--dry-run"), {"plan/prices.yaml": make}),
            "adapter": (("check", "vllm serve qwen3-8b --enable-lora --lora-modules a=./a", *CHECK), {"a/adapter_config.json": make}),
            "modelfile": (("check", "ollama create mine -f Modelfile\nollama run mine", *CHECK), {"Modelfile": make}),
        }
        usable = {
            "calibration": (0,),
            "engine-config": (1,),
            "proxy-config": (2, 3),
            "adapter": (0, 1),
            "modelfile": (0, 1, 2, 3, 4),
            "script": (2,),
            "trace": (2, 3),
        }
        for reader, (words, files) in readers.items():
            codes = usable.get(reader, (2,))
            if kind == "folder" and reader in ("index", "safetensors", "script"):  # a folder is walked
                codes = (0, 2)
            cases[f"{reader}-{kind}"] = Case(words, files, codes)
    return cases


def _configs() -> dict[str, Case]:
    asked = (*MODEL, "./m")
    texts: dict[str, str | bytes] = {
        "400-digits": config(hidden_size=BIG),
        "400-digits-layers": config(num_hidden_layers=BIG),
        "400-digits-theta": config(rope_theta=BIG),
        "400-digits-scaling": config(rope_scaling={"rope_type": "yarn", "factor": BIG}),
        "5000-digits": config().replace("64", "9" * 5000, 1),
        "infinity": config().replace("64", "Infinity", 1),
        "nan": config().replace("64", "NaN", 1),
        "1e999": config().replace("64", "1e999", 1),
        "deep": "[" * 100_000,
        "deep-object": '{"a":' * 50_000,
        "not-utf8": b'{"architectures": ["\xff\xfe"]}',
        "utf16": config().encode("utf-16"),
        "escapes": config(architectures=[ESCAPES]),
        "escapes-method": config(quantization_config={"quant_method": ESCAPES}),
        "surrogate": '{"architectures": ["\\ud800"]}',
        "null-bytes": b"\0" * 100,
        "empty": "",
        "lfs": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 1187\n",
        "list": "[]",
        "pattern": config(quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 64, "dynamic": {"-:(.*a)*b(a+)+$": {}}}),
        "pattern-redos": config(
            quantization_config={"quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["re:(([a-z._0-9]+)+)+!"], "config_groups": {}}
        ),
        "pattern-broken": config(quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 64, "dynamic": {"-:((": {}}}),
        "many-ignored": config(
            quantization_config={"quant_method": "fp8", "activation_scheme": "dynamic", "ignored_layers": [f"model.layers.{n}" for n in range(50_000)]}
        ),
        "many-layers": config(num_hidden_layers=9_999_999, layer_types=["full_attention"] * 50_000),
        "layers-10^6": config(num_hidden_layers=1_000_000),
        "vocab-10^12": config(vocab_size=10**12),
    }
    fine = {"400-digits-theta", "pattern", "pattern-redos", "pattern-broken", "many-ignored", "escapes-method"}
    return {f"config-{name}": Case(asked, {"m/config.json": text}, (0, 1, 2) if name in fine else (2,)) for name, text in texts.items()}


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def _checkpoints() -> dict[str, Case]:
    asked = (*MODEL, "./m")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "b" * 64 + "\nsize 4965799096\n"
    shard = "m/model-00001-of-00017.safetensors"
    made: dict[str, Files] = {
        "one-of-17": {shard: safetensors({"a": F32}, b"\0" * 8)},
        "lfs-pointer": {"m/model.safetensors": pointer},
        "lfs-pointer-shard": {"m/model-00001-of-00002.safetensors": pointer, "m/model-00002-of-00002.safetensors": pointer},
        "lfs-index": {"m/model.safetensors.index.json": pointer, shard: pointer},
        "no-data": {"m/model.safetensors": safetensors({"a": {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 4 << 30]}})},
        "overlap": {"m/model.safetensors": safetensors({"a": F32, "b": F32}, b"\0" * 8)},
        "gap": {"m/model.safetensors": safetensors({"a": F32, "b": F32 | {"data_offsets": [9, 17]}}, b"\0" * 17)},
        "longer-header": {"m/model.safetensors": (1 << 26).to_bytes(8, "little") + b"{}"},
        "huge-header": {"m/model.safetensors": (1 << 62).to_bytes(8, "little") + b"{}"},
        "broken-header": {"m/model.safetensors": safetensors(b'{"a": ')},
        "deep-header": {"m/model.safetensors": safetensors(b'{"a": ' + b"[" * 100_000)},
        "escapes-name": {"m/model.safetensors": safetensors({ESCAPES: {"dtype": "BF16", "shape": [10**9], "data_offsets": [0, 8]}}, b"\0" * 8)},
        "dtype-list": {"m/model.safetensors": safetensors({"a": F32 | {"dtype": ["F32"]}}, b"\0" * 8)},
        "shape-400-digits": {"m/model.safetensors": safetensors({"a": F32 | {"shape": [BIG]}}, b"\0" * 8)},
        "shape-negative": {"m/model.safetensors": safetensors({"a": F32 | {"shape": [-2]}}, b"\0" * 8)},
        "offsets-text": {"m/model.safetensors": safetensors({"a": F32 | {"data_offsets": ["0", "8"]}}, b"\0" * 8)},
        "offsets-three": {"m/model.safetensors": safetensors({"a": F32 | {"data_offsets": [0, 8, 9]}}, b"\0" * 8)},
        "no-object": {"m/model.safetensors": safetensors([1, 2])},
        "entry-number": {"m/model.safetensors": safetensors({"a": 1})},
        "empty-file": {"m/model.safetensors": b""},
        "dangling": {"m/model.safetensors": lambda path: path.symlink_to("nowhere")},
        "index-escape": {"m/model.safetensors.index.json": json.dumps({"weight_map": {"a": "../../etc/passwd"}})},
        "index-absolute": {"m/model.safetensors.index.json": json.dumps({"weight_map": {"a": "/etc/passwd"}})},
        "index-dots": {"m/model.safetensors.index.json": json.dumps({"weight_map": {"a": ".."}})},
        "index-number": {"m/model.safetensors.index.json": json.dumps({"weight_map": {"a": 3}})},
        "index-missing": {
            "m/model.safetensors.index.json": json.dumps({"weight_map": {"a": "x.safetensors", "b": "model.safetensors"}}),
            "m/model.safetensors": b"",
        },
        "pytorch-shard": {"m/pytorch_model-00001-of-00002.bin": b"\0"},
        "pytorch-lfs": {"m/pytorch_model.bin": pointer},
        "consolidated-lfs": {"m/consolidated.safetensors": pointer},
    }
    cases = {}
    for name, files in made.items():
        cases[f"checkpoint-{name}"] = Case(asked, {"m/config.json": config()} | files)
    for name in ("one-of-17", "lfs-pointer", "no-data", "index-escape", "pytorch-shard"):
        cases[f"checkpoint-check-{name}"] = Case(("check", "vllm serve ./m", *CHECK), {"m/config.json": config()} | made[name])
    return cases


def _ggufs() -> dict[str, Case]:
    asked = (*MODEL, "./m.gguf", "--engine", "llamacpp")
    whole = LLAMA + b"".join(
        pair(f"llama.{key}", 4, struct.pack("<I", value))
        for key, value in {"block_count": 1, "embedding_length": 64, "feed_forward_length": 64, "attention.head_count": 4, "context_length": 512}.items()
    )
    files = {
        "empty": b"",
        "magic": b"GGUF",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1187\n",
        "no-dimensions": gguf(LLAMA, 1, tensor("a", ()), 1),
        "zero-dimension": gguf(LLAMA, 1, tensor("a", (0,)), 1),
        "nan": gguf(LLAMA + pair("llama.block_count", 6, struct.pack("<f", float("nan"))), 2),
        "inf": gguf(LLAMA + pair("llama.block_count", 12, struct.pack("<d", float("inf"))), 2),
        "inf-list": gguf(LLAMA + pair("llama.attention.head_count", 9, struct.pack("<IQd", 12, 1, float("inf"))), 2),
        "strings-10^7": gguf(LLAMA + pair("tokens", 9, struct.pack("<IQ", 8, 10_000_000) + bytes(80_000_000)), 2),
        "strings-short": gguf(LLAMA + pair("tokens", 9, struct.pack("<IQ", 8, 10_000_000)), 2),
        "array-2^62": gguf(LLAMA + pair("tokens", 9, struct.pack("<IQ", 0, 1 << 62)), 2),
        "array-of-arrays": gguf(LLAMA + pair("tokens", 9, struct.pack("<IQ", 9, 2)), 2),
        "text-2^62": gguf(struct.pack("<Q", 1 << 62), 1),
        "entries-2^62": gguf(b"", 1 << 62),
        "entries-10^5": gguf(b"".join(pair(f"k{n}", 0, b"\0") for n in range(100_000)), 100_000),
        "tensors-2^62": gguf(LLAMA, 1, b"", 1 << 62),
        "dimension-2^63": gguf(LLAMA, 1, tensor("a", (1 << 63,)), 1),
        "dimension-2^40": gguf(LLAMA, 1, tensor("a", (1 << 39, 1 << 39, 1 << 39, 1 << 39)), 1),
        "kind-999": gguf(LLAMA, 1, tensor(ESCAPES, (32,), 999), 1),
        "layers-2^31": gguf(LLAMA + pair("llama.block_count", 4, struct.pack("<I", 1 << 31)), 2),
        "architecture-escapes": gguf(pair("general.architecture", 8, text_of(ESCAPES)), 1),
        "not-whole": gguf(whole, 6, tensor("token_embd.weight", (64, 1000)), 1),
        "split-2^31": gguf(LLAMA + pair("split.count", 4, struct.pack("<I", 1 << 31)), 2),
        "alignment-0": gguf(LLAMA + pair("general.alignment", 4, struct.pack("<I", 0)), 2),
        "alignment-2^31": gguf(LLAMA + pair("general.alignment", 4, struct.pack("<I", 1 << 31)), 2),
    }
    return {f"gguf-{name}": Case(asked, {"m.gguf": content}, (2,)) for name, content in files.items()} | {
        "gguf-shards-many": Case((*MODEL, "./m-00001-of-999999.gguf", "--engine", "llamacpp"), {"m-00001-of-999999.gguf": gguf(LLAMA, 1)}, (2,)),
        "gguf-original-escapes": Case((*MODEL, "./m.gguf"), {"m.gguf": gguf(LLAMA + pair("general.name", 8, text_of(ESCAPES)), 2)}, (2,)),
    }


def _checks() -> dict[str, Case]:
    serve = "vllm serve qwen3-8b"
    spaces = " " * 50_000
    texts = {
        "array": f"x=({spaces}\n{serve}",
        "array-quotes": "x=(" + "'a' " * 20_000 + f"\n{serve}",
        "expansion": f"a='{'${a-' * 20_000}'\n{serve} $a",
        "variable-bomb": "a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" + "".join("a=" + "$a" * 10 + "\n" for _ in range(30)) + f"{serve} $a",
        "array-bomb": "a=(" + "x " * 2000 + ")\n" + f"{serve} " + '"${a[@]}" ' * 5000,
        "long-line": f"{serve} " + "a" * 2_000_000,
        "long-line-quoted": f"{serve} '" + "a" * 2_000_000 + "'",
        "many-words": f"{serve} " + "a " * 200_000,
        "many-flags": f"{serve} " + "--max-model-len 4096 " * 20_000,
        "many-unknown": f"{serve} " + "--wtf-flag 4096 " * 5_000,
        "many-misused": f"{serve} " + "--seed 3 " * 900 + "--seed",
        "many-misused-prefixes": f"{serve} " + "--max-model-le 4096 " * 900 + "--max-model-le",
        "many-misused-ambiguous": f"{serve} " + "".join(f"--max-model-l={n} --max-n={n} " for n in range(900)),
        "many-misused-unknown": f"{serve} " + "".join(f"--zzz{n} --enforce-eager={n} " for n in range(450)),
        "many-keys": f"{serve} " + "--speculative-config.a.b 1 " * 20_000,
        "many-commands": f"{serve}\n" * 20_000,
        "many-semicolons": f"{serve};" * 5_000,
        "many-substitutions": f"{serve} " + "$(" * 50_000,
        "many-substitutions-closed": f"{serve} " + "$(a) " * 50_000,
        "many-backticks": f"{serve} " + "`" * 50_000,
        "many-nested-shells": "bash -c '" * 50 + serve,
        "many-heredocs": "cat > a <<EOF\n" * 20_000 + serve,
        "many-targets": "cat >" + ">" * 100_000 + f" <<EOF\n{serve}",
        "many-lines": "\n" * 1_000_000 + serve,
        "continued": "\\\n" * 200_000 + serve,
        "400-digits": f"{serve} --max-model-len {BIG}",
        "400-digits-memory": f"{serve} --kv-cache-memory-bytes {BIG}",
        "400-digits-k": f"{serve} --max-model-len {BIG}k",
        "5000-digits": f"{serve} --max-num-seqs {'9' * 5000}",
        "1e308": f"{serve} --gpu-memory-utilization 1e308",
        "nan": f"{serve} --gpu-memory-utilization nan",
        "minus": f"{serve} --max-model-len -5",
        "json-deep": f"{serve} --hf-overrides '{'[' * 100_000}'",
        "json-digits": f"""{serve} --hf-overrides '{{"num_hidden_layers": {BIG}}}'""",
        "json-long": f"""{serve} --hf-overrides '{{"max_position_embeddings": 1e999}}'""",
        "human-json": f"{serve} --compilation-config '{{{'1k ' * 20_000}'",
        "human-quotes": serve + " --compilation-config '{" + '"\\' * 30_000 + "}'",
        "mm-limit": f"""{serve} --limit-mm-per-prompt '{{"image": {BIG}}}'""",
        "speculative": f"""{serve} --speculative-config '{{"method": "ngram", "num_speculative_tokens": {BIG}}}'""",
        "lora": f"{serve} --enable-lora --max-lora-rank {BIG} --max-loras {BIG}",
        "tp": f"{serve} -tp {BIG}",
        "sizes": f"{serve} --cudagraph-capture-sizes " + "1 " * 50_000,
        "escapes-flag": f"{serve} --{ESCAPES} 1",
        "escapes-value": f"{serve} --dtype '{ESCAPES}'",
        "escapes-model": f"vllm serve '{ESCAPES}'",
        "escapes-folder": f"vllm serve ./'{ESCAPES}'",
        "llama-digits": f"llama-server -m ./m.gguf -c {BIG} -ngl {BIG}",
        "llama-tensor": "llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -ot '(a+)+$=CPU'",
        "llama-tensor-redos": "llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -ot '(([a-z0-9._]+)+)+!=CPU'",
        "llama-split": f"llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -ts {'1,' * 50_000}1!",
        "ollama-env": f"OLLAMA_KEEP_ALIVE={'1h' * 50_000}! OLLAMA_CONTEXT_LENGTH={BIG} ollama serve\nollama run qwen3:8b",
        "modelfile-digits": f"FROM qwen3:8b\nPARAMETER num_ctx {BIG}\nPARAMETER temperature {'1' * 50_000}",
        "modelfile-reals": "FROM qwen3:8b\n" + f"PARAMETER temperature {'1' * 10_000}!\n" * 30,
        "modelfile-open": 'FROM qwen3:8b\nSYSTEM """' + "a\n" * 200_000,
        "modelfile-comments": "#\n" * 50_000 + "x",
        "mlx-digits": f"mlx_lm.server --model mlx-community/Qwen3-8B-4bit --prompt-cache-size {BIG}",
        "plist-bomb": '<?xml version="1.0"?><!DOCTYPE p [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY a{n} "{f"&a{n - 1 if n else str()};" * 10}">' for n in range(12))
        + "]><plist><string>&a11;</string></plist>",
        "plist-deep": "<plist>" + "<array>" * 100_000,
        "nul": "vllm serve a\0b",
    }
    cases = {f"check-{name}": Case(("check", "s.sh", *CHECK), {"s.sh": text}, (0, 1, 2, 3, 4)) for name, text in texts.items()}
    documents = {
        "bomb": f"{BOMB}services:\n  a:\n    image: vllm/vllm-openai\n    command: *x11\n",
        "bomb-manifest": f"apiVersion: v1\nkind: Pod\n{BOMB}spec: *x11\n",
        "bomb-environment": f"{BOMB}services:\n  a:\n    image: vllm/vllm-openai\n    environment:\n      a: *x11\n    command: qwen3-8b\n",
        "merge": "x: &x {a: 1}\nservices:\n  a:\n    <<: *x\n    image: vllm/vllm-openai\n    command: --model qwen3-8b\n",
        "recursive": "services: &a\n  a: *a\n",
        "key-list": "services:\n  ? [a]\n  : {image: vllm/vllm-openai}\n",
        "key-map": "services:\n  ? {a: b}\n  : {image: vllm/vllm-openai}\n",
        "deep": "services:\n  a: " + "[" * 50_000,
        "deep-flow": "services:\n  a: " + "{a: " * 5_000,
        "date": "services:\n  a: {image: 9999-99-99, command: 2001-01-01T25:61:61}\n",
        "number": f"services:\n  a: {{image: {BIG}, command: {'9' * 5000}}}\n",
        "binary": "services:\n  a: {image: !!binary '====', command: !!python/object/apply:os.system [id]}\n",
        "tag": "services: !!python/object/apply:os.system ['touch INJ']\n",
        "many": "services:\n" + "".join(f"  a{n}: {{image: vllm/vllm-openai, command: --model qwen3-8b}}\n" for n in range(5_000)),
        "wide": "services:\n  a:\n    image: vllm/vllm-openai\n    command: [" + "a, " * 50_000 + "]\n",
        "long-tag": "services:\n  a:\n    image: vllm/vllm-openai:" + "a" * 100_000 + "\n    command: --model qwen3-8b\n",
    }
    cases |= {f"yaml-{name}": Case(("check", "c.yaml", *CHECK), {"c.yaml": text}, (0, 1, 2, 3, 4)) for name, text in documents.items()}
    proxies = {
        "bomb": f"{BOMB}model_list: *x11\n",
        "bomb-params": f"{BOMB}model_list:\n  - model_name: a\n    litellm_params: {{model: *x11}}\n",
        "escapes": json.dumps({"model_list": [{"model_name": ESCAPES, "litellm_params": {"model": ESCAPES}}]})
        .replace('{"model_list"', '"model_list"')
        .rstrip("}")
        + "",
        "digits": f"model_list:\n  - model_name: a\n    litellm_params: {{model: openai/a, api_base: 'http://localhost:8000/v1', timeout: {BIG}, rpm: {BIG}}}\n",
        "key": "model_list:\n  - model_name: a\n    litellm_params: {model: openai/a, api_key: sk-secret123, api_base: 'http://u:hunter2hunter2@localhost:1/v1/'}\n",
        "many": "model_list:\n" + "  - {model_name: a, litellm_params: {model: openai/a, api_base: 'http://localhost:8000/v1'}}\n" * 10_000,
        "key-list": "model_list:\n  - ? [a]\n    : b\n",
    }
    flags = "".join(f"seed-{n}: 3\n" for n in range(50_000))
    cases["engine-config-many"] = Case(("check", "vllm serve qwen3-8b --config c.yaml", *CHECK), {"c.yaml": flags}, (1, 2))
    cases |= {f"proxy-{name}": Case(("check", "c.yaml", *CHECK), {"c.yaml": text}, (0, 1, 2, 3, 4)) for name, text in proxies.items()}
    return cases


def _stacks() -> dict[str, Case]:
    texts = {
        "key-list": "? [a]\n: b\n",
        "bomb": BOMB,
        "anchor": "gpu: &a rtx4090\nservices: [{model: *a}]\n",
        "digits": f"gpu: rtx4090\ncount: {BIG}\nservices: [{{model: qwen3-8b}}]\n",
        "5000-digits": f"gpu: rtx4090\ncount: {'9' * 5000}\nservices: [{{model: qwen3-8b}}]\n",
        "free-1e308": "gpu: rtx4090\nfree_gib: 1.0e+308\nservices: [{model: qwen3-8b}]\n",
        "nan": "gpu: rtx4090\nfree_gib: .nan\nservices: [{model: qwen3-8b}]\n",
        "date": "gpu: 2001-13-45\nservices: [{model: 2001-01-01}]\n",
        "escapes": f'"{"".join(f"{chr(92)}u{ord(c):04x}" for c in ESCAPES)}": 1\n',
        "raw-escapes": f"{ESCAPES}: 1\n",
        "deep": "a: " + "[" * 100_000,
        "not-utf8": b"gpu: \xff\n",
        "utf16": "gpu: rtx4090\n".encode("utf-16"),
        "binary": "gpu: !!binary '===='\nservices: []\n",
        "tag": "gpu: !!python/object/apply:os.system ['touch INJ']\nservices: []\n",
        "long-key": "a" * 60_000 + ": 1\n",
    }
    cases: dict[str, Case] = {}
    for name, text in texts.items():
        cases[f"stack-{name}"] = Case(("-f", "s.yaml", "--dry-run"), {"s.yaml": text})
        cases[f"prices-{name}"] = Case(("--model", "qwen3-8b", "--prices", "p.yaml", "--dry-run"), {"p.yaml": text})
        cases[f"gpus-{name}"] = Case((*MODEL, "qwen3-8b", "--gpus", "g.yaml"), {"g.yaml": text})
        cases[f"models-{name}"] = Case((*MODEL, "qwen3-8b", "--models", "g.yaml"), {"g.yaml": text})
        cases[f"toml-{name}"] = Case((*MODEL, "qwen3-8b"), {"plan/config.toml": text})
    calibrations = {
        "deep": "[" * 100_000,
        "digits": json.dumps({"schema": 1, "gpus": {"rtx4090": {"shift_bytes": BIG, "speed": {"step": BIG, "first_token": BIG, "count": BIG}}}}),
        "cut": '{"schema": 1, "gp',
        "list": "[1]",
        "not-utf8": b"\xff\xfe",
        "old": '{"schema": 99, "gpus": {}}',
        "gpus-list": '{"schema": 1, "gpus": []}',
        "escapes": json.dumps({"schema": 1, "gpus": {"rtx4090": {"speed": {"step": 1.1, "first_token": 1.1, "count": 1, "model": ESCAPES}, "model": ESCAPES}}}),
        "huge": "[" + "1," * 3_000_000,
        "empty": "",
    }
    cases |= {f"calibration-{name}": Case((*MODEL, "qwen3-8b"), {"plan/calibration.json": text}, (0,)) for name, text in calibrations.items()}
    return cases


def _logs() -> dict[str, Case]:
    start = "INFO 01-01 00:00:00 [api_server.py:1] vLLM API server version 0.11.0\n"
    texts: dict[str, str | bytes] = {
        "workers": (start + "(Worker" * 2_700 + "\n") * 50,
        "errors": (start + "ERROR " * 3_300 + "\n") * 50,
        "one-line": start + "a" * 20_000_000,
        "tp-10^9": start + "non-default args: {'tensor_parallel_size': 1000000000, 'model': 'qwen3-8b'}\n",
        "tp-digits": start + f"non-default args: {{'tensor_parallel_size': {BIG}, 'model': 'qwen3-8b', 'max_model_len': {BIG}}}\n",
        "args-deep": start + "non-default args: {" + "[" * 60_000 + "\n",
        "args-superscript": start + "non-default args: {'tensor_parallel_size': ²}\n",
        "gib": start + "Available KV cache memory: 1.2.3 GiB\nAvailable KV cache memory: " + "9" * 400 + " GiB\n",
        "escapes": start + f"ERROR ValueError: {ESCAPES}\nRuntimeError: {ESCAPES}\n",
        "secret": start
        + "non-default args: {'model': 'qwen3-8b', 'api_key': ['sk-secret123'], 'hf_token': 'hf_secret456'}\nValueError: token hf_secret456 is bad\n",
        "not-utf8": start.encode() + b"\xff\xfe\x80 error\nValueError: \xff\n",
        "nul": b"\0" * 100,
        "late-nul": start.encode() + b"a" * 5000 + b"\0" * 100,
        "empty": "",
        "spaces": (" " * 60_000 + "\n") * 100,
        "llama-spaces": ("CUDA0 model buffer size = " + " " * 60_000 + "\n") * 100,
        "digits": ("1" * 60_000 + "\n") * 100,
        "llama-argv": 'msg="starting llama-server" cmd="' + "\\" * 60_000 + "\n",
        "ollama": ("time=1 level=INFO " + 'msg="' + "\\" * 3_000 + "\n") * 1_000,
        "timeouts": ("timeout value=" + "." * 3_000 + "\n") * 1_000,
        "nccl": ("NCCL " * 3_000 + "\n") * 100,
        "tracebacks": ("Traceback (most recent call last):\n" + '  File "a.py", line 1\n' * 20) * 2_000,
        "prefix": ("[1] " * 10_000 + "\n") * 100,
        "dashes": ("a-1 | " * 10_000 + "\n") * 100,
        "quotes": ("litellm.aError: aError: " * 2_000 + "\n") * 100,
        "colour": ("\x1b[" * 20_000 + "\n") * 100,
    }
    cases = {f"log-{name}": Case(("explain", "l.log"), {"l.log": text}, (0, 1, 2)) for name, text in texts.items()}
    cases["log-tp-10^9-gpu"] = Case(("explain", "l.log", "--gpu", "rtx4090"), {"l.log": texts["tp-10^9"]}, (0, 1, 2))
    cases["log-flags-²"] = Case(
        ("explain", "l.log", "--gpu", "rtx4090"), {"l.log": start + "vllm serve qwen3-8b --tensor-parallel-size ² --max-model-len ٣\n"}, (0, 1, 2)
    )
    return cases


def _secrets() -> dict[str, Case]:
    texts = {
        "quote": "HF_TOKEN=hf_secret456 vllm serve qwen3-8b --api-key sk-secret123 'open",
        "flag": "vllm serve qwen3-8b --api-key sk-secret123 --hf-token=hf_secret456",
        "plain": "vllm serve qwen3-8b --api-key hunter2hunter2",
        "prefix": "vllm serve qwen3-8b --api-k hunter2hunter2",
        "underscore": "vllm serve qwen3-8b --api_key hunter2hunter2",
        "env": "export MY_PASSWORD=hunter2hunter2\nvllm serve qwen3-8b --served-name x $MY_PASSWORD",
        "expanded": "KEY=hunter2hunter2\nvllm serve qwen3-8b --api-key $KEY",
        "unknown": "vllm serve qwen3-8b --admin-password hunter2hunter2",
        "typo": "vllm serve qwen3-8b --apikey hunter2hunter2",
        "value": "vllm serve qwen3-8b --dtype sk-secret123",
        "model": "vllm serve hf_secret456",
        "url": "vllm serve https://user:hunter2hunter2@huggingface.co/a/b",
        "docker": "docker run -e HF_TOKEN=hunter2hunter2 vllm/vllm-openai --model qwen3-8b --bad-flag 1",
        "docker-env": "docker run --env 'HUGGING_FACE_HUB_TOKEN=hunter2hunter2 vllm/vllm-openai --model qwen3-8b",
        "llama": "llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M --api-key hunter2hunter2 --hf-token hunter2hunter2 -hft hunter2hunter2",
        "two": "vllm serve qwen3-8b --api-key hunter2hunter2\nvllm serve qwen3-4b --api-key hunter2hunter2",
        "first": "vllm serve --api-key hunter2hunter2",
        "json": """vllm serve qwen3-8b --kv-transfer-config '{"kv_connector": "x", "api_key": "hunter2hunter2"}'""",
        "json-broken": """vllm serve qwen3-8b --speculative-config '{"method": "x", "token": "hunter2hunter2'""",
        "header": "vllm serve qwen3-8b --header 'Authorization: Bearer hunter2hunter2'",
        "proxy": "https_proxy=http://u:hunter2hunter2@p:1 vllm serve qwen3-8b --bad",
    }
    cases: dict[str, Case] = {}
    for name, text in texts.items():
        for style in ("json", "text"):
            style_words = ("--format", "json") if style == "json" else ()
            cases[f"secret-{name}-{style}"] = Case(("check", text, *CHECK, *style_words), {}, (0, 1, 2, 3, 4))
    cases["secret-explain"] = Case(("explain", "vllm serve qwen3-8b --api-key hunter2hunter2 ValueError: no", "--format", "json"), {}, (0, 1, 2))
    compose = "services:\n  a:\n    image: vllm/vllm-openai\n    environment: {HF_TOKEN: hunter2hunter2}\n    command: --model qwen3-8b --api-key hunter2hunter2 --bad\n"
    cases["secret-compose"] = Case(("check", "c.yaml", *CHECK, "--format", "json"), {"c.yaml": compose}, (0, 1, 2, 3, 4))
    return cases


def _options() -> dict[str, Case]:
    ask = ("--gpu", "rtx4090", "--dry-run", "--model")
    plain = (*ask, "qwen3-8b")
    cases = {
        "options-model-long": Case((*ask, "a" * 5000), {}),
        "options-model-300": Case((*ask, "a" * 300), {}),
        "options-model-git": Case((*ask, "owner/name.git"), {}, (2, 3)),
        "options-model-dashes": Case((*ask, "a/b--c"), {}, (2, 3)),
        "options-model-dot": Case((*ask, "a/b."), {}, (2, 3)),
        "options-model-97": Case((*ask, "a/" + "b" * 97), {}, (2, 3)),
        "options-model-escapes": Case((*ask, ESCAPES), {}),
        "options-model-nul-like": Case((*ask, "a\nb"), {}),
        "options-gpu-escapes": Case(("--gpu", ESCAPES, "--model", "qwen3-8b", "--dry-run"), {}),
        "options-unknown-escapes": Case((*plain, f"--{ESCAPES}"), {}),
        "options-command-escapes": Case((ESCAPES,), {}),
        "options-memory": Case((*plain, "--kv-cache-memory-bytes", str(BIG)), {}),
        "options-context": Case((*plain, "--context", str(BIG)), {}),
        "options-context-k": Case((*plain, "--context", f"{BIG}k"), {}),
        "options-free": Case((*plain, "--free-gib", "1e308"), {}),
        "options-total": Case((*plain, "--total-gib", str(BIG)), {}),
        "options-count": Case((*plain, "--count", str(BIG)), {}),
        "options-count-²": Case((*plain, "--count", "²"), {}),
        "options-input": Case((*plain, "--input", "9" * 5000), {}),
        "options-with": Case((*plain, "--with", f"qwen3-4b:context={BIG}"), {}),
        "options-with-deep": Case((*plain, "--with", "qwen3-4b:" + "a=1," * 20_000), {}),
        "options-output-device": Case(("--gpu", "rtx4090", "--model", "qwen3-8b", "--output", "/dev/full/x"), {}, (2, 3)),
        "options-check-free": Case(("check", "vllm serve qwen3-8b", "--gpu", "rtx4090", "--free", "1e308"), {}, (0, 1, 2)),
        "options-stdin-not-utf8": Case(("check", "-", "--gpu", "rtx4090"), {}, (2,), stdin=b"vllm serve \xff\xfe\n"),
        "options-stdin-log-not-utf8": Case(("explain", "-"), {}, (0, 1, 2), stdin=b"ERROR \xff\xfe ValueError: x\n"),
        "options-stdin-long": Case(("check", "-", "--gpu", "rtx4090"), {}, (0, 1, 2), stdin=b"a" * 20_000_000),
        "options-years": Case(("cost", "--gpu", "rtx4090", "--model", "qwen3-8b", "--years", "1e-320"), {}),
        "options-sweep": Case(("sweep", "--output", "a.csv", "--gpu", ESCAPES), {}, (2,)),
    }
    return cases | {
        f"card-{card}": Case(("check", f"vllm serve {model}", "--gpu", card), {}, (0, 1, 2, 4))
        for card in ("t4", "v100-16", "v100-32", "a100-40", "rtx3090", "a40", "a10g", "rtx-a4000")
        for model in ("qwen3-8b", "gpt-oss-20b", "gemma-3-27b", "qwen3-8b-fp8")
    }


CASES: dict[str, Case] = {
    **_special(),
    **_configs(),
    **_checkpoints(),
    **_ggufs(),
    **_checks(),
    **_stacks(),
    **_logs(),
    **_secrets(),
    **_options(),
}


def lay(files: Files, place: Path) -> None:
    """Lay a case's files into a folder."""
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

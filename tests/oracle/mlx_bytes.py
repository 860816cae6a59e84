"""MLX itself about bytes: quantized matrices and caches. JSON lines in, bytes out; run by the MLX environment's Python."""

import json
import sys

import mlx.core as mx
from mlx_lm.models.cache import KVCache, QuantizedKVCache


def matrix(rows, columns, bits, group, mode):
    stored = mx.quantize(mx.random.normal((rows, columns)).astype(mx.bfloat16), group_size=group, bits=bits, mode=mode)
    mx.eval(*stored)
    return sum(part.nbytes for part in stored)


def cache(heads, dim, tokens, bits):
    keys = mx.zeros((1, heads, tokens, dim), dtype=mx.bfloat16)
    held = KVCache() if bits == 16 else QuantizedKVCache(group_size=64, bits=bits)
    held.update_and_fetch(keys, keys)
    if bits == 16:
        return held.keys.nbytes + held.values.nbytes
    return sum(part.nbytes for part in (*held.keys, *held.values))


for line in sys.stdin:
    asked = json.loads(line)
    print({"matrix": matrix, "cache": cache}[asked.pop("what")](**asked), flush=True)

"""Which layer lies where, and what every GPU and main memory hold by it.

Sources: llama.cpp src/llama-model.cpp load_tensors (the last layers and the output go to the GPUs, contiguously, by --tensor-split or by what is free;
the token embeddings stay in main memory), common/arg.cpp --cpu-moe, --n-cpu-moe, --override-tensor, src/llama-context.cpp (copies of a pipeline
only where every layer is on a GPU and no tensor lies apart), ggml/src/ggml-backend.cpp (weights in main memory are copied for large batches).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from struct import pack, unpack

from planner.engines.llamacpp.builds import MASK_IS_HALF, OUTPUT_IS_COUNTED
from planner.engines.llamacpp.compute import compute_bytes, head_bytes, host_compute_bytes, lent_head_bytes
from planner.engines.llamacpp.desk import Lent
from planner.engines.llamacpp.layers import EXPERTS, MAIN_MEMORY, Part, Placement
from planner.engines.llamacpp.memory import LlamaCppConfig, cache_bytes, keys_and_values, widest_values
from planner.engines.llamacpp.model import GgufModel
from planner.engines.llamacpp.pipeline import copies, lender
from planner.engines.llamacpp.projector import image_bytes
from planner.engines.llamacpp.sending import Own
from planner.facts.attention import Attention, RecurrentState
from planner.facts.record import dataclass

_MATRICES = tuple(part for part in Part if part is not Part.REST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes that one GPU holds, and how many layers, the output counted as one."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    mmproj_bytes: int = 0
    mmproj_compute_bytes: int = 0
    draft_weights_bytes: int = 0
    draft_kv_cache_bytes: int = 0
    draft_compute_bytes: int = 0
    layers: int = 0

    @property
    def total_bytes(self) -> int:
        """All of it; the process's own context is outside what is available."""
        drafts = self.draft_weights_bytes + self.draft_kv_cache_bytes + self.draft_compute_bytes
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.mmproj_bytes + self.mmproj_compute_bytes + drafts


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldByHost:
    """Bytes that main memory holds of weights and cache, and its compute buffer."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All of it; what the process takes beside is not measured."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes


def placed(model: GgufModel, config: LlamaCppConfig, free: Sequence[float]) -> Placement:
    """Where the layers lie: as a fit has set it, or as the flags say, over GPUs with so many bytes free."""
    if config.placement is not None:
        return config.placement
    count, shares = model.layer_count + 1, tuple(config.tensor_split or free)
    asked = count if config.gpu_layers is None else config.gpu_layers
    is_apart = asked < count and config.build < OUTPUT_IS_COUNTED
    gpus = (*divided_over(count - 1, asked, shares), MAIN_MEMORY) if is_apart else divided_over(count, asked, shares)
    is_open = not config.cpu_moe_layers and not config.overrides
    moved = ((),) * count if is_open else (*(_moved(config, layer) for layer in range(count - 1)), ())
    return Placement(gpus=gpus, moved=moved, moved_to=(MAIN_MEMORY,) * count)


@lru_cache(maxsize=1024)
def divided_over(count: int, on_gpu: int, shares: tuple[float, ...]) -> tuple[int, ...]:
    """The GPU of each of `count` layers, the output among them: the last `on_gpu` in parts by shares, in the single precision that load_tensors counts in."""
    on_gpu = min(count, on_gpu)
    sums = [_single(total) for total in accumulate(_single(share) for share in shares)]
    if not on_gpu or not sums or not sums[-1]:
        return (MAIN_MEMORY,) * count
    ends = [_single(total / sums[-1]) for total in sums]
    return (MAIN_MEMORY,) * (count - on_gpu) + tuple(min(bisect_right(ends, _single(layer / on_gpu)), len(ends) - 1) for layer in range(on_gpu))


def _single(value: float) -> float:
    return float(unpack("f", pack("f", value))[0])


def _moved(config: LlamaCppConfig, layer: int) -> tuple[Part, ...]:
    """Parts of a layer that flags keep in main memory."""
    if layer < config.cpu_moe_layers:
        return EXPERTS
    from planner.patterns import foreign_pattern

    patterns = [pattern for pattern, device in config.overrides if device == "CPU"]
    return tuple(part for part in Part if part is not Part.REST and any(foreign_pattern(pattern).search(f"blk.{layer}.{part}") for pattern in patterns))


def held(model: GgufModel, config: LlamaCppConfig, where: Placement, gpus: int) -> tuple[tuple[Held, ...], HeldByHost]:
    """What every GPU holds, and main memory; what drafts lies beside."""
    shares, host = _held(model, config, where, gpus)
    if (drafter := config.drafter) is None:
        return shares, host
    own = replace(config, kv_type=drafter.kv_type, value_type=drafter.value_type, gpu_layers=drafter.gpu_layers, vision=False, placement=None)
    own = replace(own, drafter=None, drafted=0, snapshots=0, cpu_moe_layers=0, overrides=())
    count = drafter.model.layer_count + 1
    if drafter.is_head:  # behind the model's last layer
        place = Placement(gpus=(where.gpus[-1],) * count, moved=((),) * count, moved_to=(MAIN_MEMORY,) * count)
    else:
        place = placed(drafter.model, own, [float(share.layers) for share in shares])
    drafts, aside = _held(drafter.model, own, place, gpus)
    compute = head_bytes(drafter.model, own) if drafter.is_head else None
    beside = tuple(
        replace(
            share,
            draft_weights_bytes=draft.weights_bytes,
            draft_kv_cache_bytes=draft.kv_cache_bytes,
            draft_compute_bytes=compute if compute and draft.layers else draft.compute_bytes,
        )
        for share, draft in zip(shares, drafts, strict=True)
    )
    return beside, HeldByHost(
        weights_bytes=host.weights_bytes + aside.weights_bytes,
        kv_cache_bytes=host.kv_cache_bytes + aside.kv_cache_bytes,
        compute_bytes=host.compute_bytes + aside.compute_bytes,
    )


def _held(model: GgufModel, config: LlamaCppConfig, where: Placement, gpus: int) -> tuple[tuple[Held, ...], HeldByHost]:
    if config.split_tensors:
        return _split(model, config, gpus)
    widest = widest_values(model, config)
    kept = [cache_bytes(cache, config, widest) for cache, _ in model.caches]
    weights, cache, layers = [0] * (gpus + 1), [0] * (gpus + 1), [0] * (gpus + 1)  # the last is main memory, number -1
    weights[MAIN_MEMORY] = model.input_bytes
    for gpu, start, end in _runs(where.gpus[:-1]):
        weights[gpu] += model.bytes_before[end] - model.bytes_before[start]
        counts = zip(kept, model.caches_before[end], model.caches_before[start], strict=True)
        cache[gpu if config.kv_on_gpu else MAIN_MEMORY] += sum(size * (more - less) for size, more, less in counts)
        layers[gpu] += end - start
    _move(model, where, weights)
    output = where.gpus[-1]
    weights[output] += model.output_bytes
    layers[output] += 1
    count = copies(config, where, gpus)
    lent = _lent(model, config, where)
    is_bare = config.gpu_layers == 0 and config.lends and not config.own_engine
    main = 0 if config.vision and (where.layers_on_gpu or is_bare) else None  # the projector lies on the first GPU (tools/mtmd/clip.cpp)
    shares = tuple(
        Held(
            weights_bytes=weights[gpu],
            kv_cache_bytes=cache[gpu],
            compute_bytes=max(
                compute_bytes(
                    model,
                    config,
                    has_output=gpu == output,
                    lent=lent if gpu == 0 else (),
                    own=_own(model, config, where, gpu, count),
                ),
                2 * _foreign_bank(model, where) + config.ubatch * 4 * model.hidden if gpu == 0 else 0,
                lent_head_bytes(model, config) if gpu == 0 and output == MAIN_MEMORY else 0,
            )
            if layers[gpu] or (gpu == 0 and is_bare and lent)  # none lies there, and still it computes batches
            else 0,
            mmproj_bytes=model.mmproj_bytes if gpu == main else 0,
            mmproj_compute_bytes=image_bytes(model, config.image_tokens) if gpu == main else 0,
            layers=layers[gpu],
        )
        for gpu in range(gpus)
    )
    compute = host_compute_bytes(model, config, copies=count, is_divided=MAIN_MEMORY in where.gpus[:-1])
    return shares, HeldByHost(weights_bytes=weights[MAIN_MEMORY], kv_cache_bytes=cache[MAIN_MEMORY], compute_bytes=compute)


def _split(model: GgufModel, config: LlamaCppConfig, gpus: int) -> tuple[tuple[Held, ...], HeldByHost]:
    """--split-mode tensor (src/llama-model.cpp llama_meta_device_get_split_state): equal parts, or by --tensor-split; what is no share of a matrix on each GPU.

    Each GPU has the compute buffer that one alone would have (ggml/src/ggml-backend-meta.cpp get_alloc_size), and no pipeline's copies.
    """
    whole = _mirrored_bytes(model)
    parted = sum(model.layer_bytes) + model.output_bytes - whole
    widest = widest_values(model, config)
    cache = sum(cache_bytes(kind, config, widest) * count for kind, count in model.caches)
    compute = compute_bytes(model, config)
    shares = config.tensor_split or (1.0,) * gpus
    parts = [share / sum(shares) for share in shares]
    on_gpus = tuple(
        Held(
            weights_bytes=whole + round(parted * part),
            kv_cache_bytes=round(cache * part),
            compute_bytes=compute,
            mmproj_bytes=model.mmproj_bytes if config.vision and gpu == 0 else 0,
            mmproj_compute_bytes=image_bytes(model, config.image_tokens) if config.vision and gpu == 0 else 0,
            layers=model.layer_count + 1,
        )
        for gpu, part in enumerate(parts)
    )
    return on_gpus, HeldByHost(weights_bytes=model.input_bytes, kv_cache_bytes=0, compute_bytes=host_compute_bytes(model, config))


def _mirrored_bytes(model: GgufModel) -> int:
    """What every GPU holds whole: embeddings that are the output too, routers and shared experts beside banks of experts, two norms of a layer."""
    beside = sum(layer.bytes_of((Part.GATE, Part.UP, Part.DOWN)) for layer in model.layers if layer.bytes_of(EXPERTS))
    return model.tied_bytes + beside + (2 * model.layer_count + 1) * model.hidden * 4


def _runs(gpus: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Layers next to each other on one GPU: its number, the first, the one behind the last."""
    start = 0
    while start < len(gpus):
        end = start + 1
        while end < len(gpus) and gpus[end] == gpus[start]:
            end += 1
        yield gpus[start], start, end
        start = end


def _move(model: GgufModel, where: Placement, weights: list[int]) -> None:
    """Take parts that lie apart to where they lie."""
    for own, gpu, moved, to in zip(model.layers, where.gpus, where.moved, where.moved_to, strict=False):
        if moved and gpu != MAIN_MEMORY:
            apart = own.bytes_of(moved)
            weights[gpu] -= apart
            weights[to] += apart


def _foreign_bank(model: GgufModel, where: Placement) -> int:
    """The largest bank of experts in main memory of a layer of a further card: the first computes them, and a bank's copy may meet the one before."""
    if not any(where.moved):
        return 0
    banks = 0
    for own, flow, gpu, moved, to in zip(model.layers, model.flows, where.gpus, where.moved, where.moved_to, strict=False):
        if gpu > 0 and to == MAIN_MEMORY and not flow.experts_fused:
            banks = max(banks, own.largest(tuple(part for part in moved if part in EXPERTS)))
    return banks


def _lent(model: GgufModel, config: LlamaCppConfig, where: Placement) -> tuple[Lent, ...]:
    """What of each layer lies in main memory: a batch's products are given copies, and attention its cache."""
    if not config.lends or (not any(where.moved) and MAIN_MEMORY not in where.gpus[:-1]):
        return ()
    read = dict(model.borrowed)
    made: dict[tuple[object, ...], Lent] = {}
    lent = []
    for layer, (own, gpu, moved) in enumerate(zip(model.layers, where.gpus, where.moved, strict=False)):
        is_whole, cache = gpu == MAIN_MEMORY, next(iter(own.caches), read.get(layer))
        key = model.alike[layer], moved, is_whole, id(cache) if is_whole and not own.caches else None
        if key not in made:
            apart = _MATRICES if is_whole else moved
            keys, values = _sent_cache(cache, config) if is_whole else (0, 0)
            made[key] = Lent(tuple((part, size) for part, size in own.parts if part in apart), is_whole, keys, values)
        lent.append(made[key])
    return tuple(lent)


def _sent_cache(cache: Attention | None, config: LlamaCppConfig) -> tuple[int, int]:
    """Keys and values in main memory, which attention of a batch is given on the first GPU (ggml-backend.cpp: operations of host buffers)."""
    if cache is None or isinstance(cache, RecurrentState) or config.build < MASK_IS_HALF:  # Ollama's own engine of that time did not
        return 0, 0
    return keys_and_values(cache, config)


def _own(model: GgufModel, config: LlamaCppConfig, where: Placement, gpu: int, count: int) -> Own:
    """The layers that a GPU computes of a batch: the first those of main memory too. `count`: copies of inputs."""
    layers = tuple(layer for layer, place in enumerate(where.gpus[:-1]) if place == gpu or (gpu == 0 and place == MAIN_MEMORY and config.lends))
    elsewhere = frozenset(layer for layer in layers if gpu > 0 and set(EXPERTS) <= set(where.moved[layer]))
    caches = []
    for layer, cache in model.borrowed:
        home = where.gpus[lender(model, cache)]
        if where.gpus[layer] == gpu != home:
            caches.append((layer, *(_sent_cache(cache, config) if home == MAIN_MEMORY else keys_and_values(cache, config))))
    return Own(layers, is_further=gpu > 0, elsewhere=elsewhere, caches=tuple(caches), copies=count)

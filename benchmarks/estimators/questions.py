"""The frozen starts as questions: those of the truth tables whose commands say nothing that only one engine's own flags can."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import consumer, field
from benchmarks.consumer import Reported
from benchmarks.estimators import Question
from benchmarks.estimators.hub import Repository
from benchmarks.estimators.shapes import tensors
from benchmarks.starts import Start, starts
from planner.architecture import Config, stored_bits
from planner.catalogue.load import find_model
from planner.catalogue.names import is_repo_id
from planner.catalogue.resolve import find_source
from planner.engines.catalogue import Source
from planner.engines.vllm.settings import COMMAND
from planner.facts.model import ModelSpec
from planner.facts.settings import command_words
from planner.text import slug
from planner.units import GIB

Asked = tuple[Question, Repository]


EVERY = 3  # of the reported starts that told their cache or failed: every third, in the tables' order


def frozen() -> Iterator[Asked]:
    """Every question, with the repository that it names."""
    for index, start in enumerate(starts()):
        yield _of_start(index, start)
    for group, rows in (("consumer", consumer.reported()), ("field", field.reported())):
        telling = [row for row in rows if row.length_told and (row.kv_cache_gib is not None or not row.started) and _is_plain(row)]
        for row in telling[::EVERY]:
            yield _of_report(group, row)


def _repository(config: dict[str, object], model: ModelSpec) -> Repository:
    return Repository({"torch_dtype": "bfloat16", **config}, tensors(model))


def _of_start(index: int, start: Start) -> Asked:
    entry, config, gpu = find_model(start.name), start.config, start.group.gpu
    if entry is None:
        raise LookupError(start.name)
    question = Question(
        id=f"h100-{index:02}-{slug(start.name)}",
        group="H100",
        repo=start.name,
        gpu=gpu.name,
        total_gib=round(gpu.cuda_total_bytes / GIB, 2),
        free_gib=None,
        host="server",
        count=config.parallel.world_size,
        tp=config.tensor_parallel_size,
        pp=config.pipeline_parallel_size,
        utilization=config.gpu_memory_utilization,
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=config.max_num_batched_tokens,
        kv_cache_dtype=config.kv_cache_dtype,
        dtype=config.dtype,
        bits=32 if config.dtype == "float32" else entry.bits,
        vllm_version=config.vllm_version,
        flags=tuple(command_words(COMMAND, config)),
        started=True,
        weights_gib=start.weights_gib,
        kv_gib=start.kv_cache_gib,
    )
    return question, _repository(dict(entry.config), entry.spec())


def _is_plain(row: Reported) -> bool:
    """Whether the command asks for nothing that no other tool has a flag for: replicas, drafters, adapters, offloading, a cache of a size of its own."""
    config, model = row.checked.config, row.checked.request.model
    divided = config.data_parallel_size * config.decode_context_parallel_size * config.prefill_context_parallel_size
    named_first = row.source is not None or not row.words[0].startswith("-")  # of a command, the model before its flags
    return (
        named_first
        and divided == 1
        and model.drafter is None
        and not (config.lora or config.offload or config.kv_cache_memory_bytes or row.checked.not_covered)
    )


def _of_report(group: str, row: Reported) -> Asked:
    with field.models():
        source = row.source or find_source(row.checked.repo)
    checked, config, gpu = row.checked, row.checked.config, row.checked.request.group.gpu
    repo = source.repo if is_repo_id(source.repo) else f"starts/{slug(source.repo)}"
    free = gpu.free_at_start_bytes
    question = Question(
        id=row.name,
        group=group,
        repo=repo,
        gpu=gpu.name,
        total_gib=round(gpu.cuda_total_bytes / GIB, 2),
        free_gib=round(free / GIB, 2) if free and gpu.free_is_told else None,
        host=str(checked.request.group.host),
        count=checked.request.group.count,
        tp=config.tensor_parallel_size,
        pp=config.pipeline_parallel_size,
        utilization=config.gpu_memory_utilization,
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=config.max_num_batched_tokens,
        kv_cache_dtype=config.kv_cache_dtype,
        dtype=config.dtype,
        bits=_bits(source),
        vllm_version=config.vllm_version,
        flags=row.words[not row.words[0].startswith("-") :],
        started=row.started,
        weights_gib=row.weights_gib,
        kv_gib=row.kv_cache_gib,
    )
    return question, _repository(dict(source.config), source.spec)


def _bits(source: Source) -> int:
    quant = Config(dict(source.hf_quant), source.repo) if source.hf_quant else None
    return stored_bits(Config(dict(source.config), source.repo), quant)

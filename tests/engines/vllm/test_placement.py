"""Several servers on the same GPUs: what all hold never exceeds a GPU, each starts given the others, the main one gets the most."""

import json
from dataclasses import replace

import pytest
from conftest import ROOT, gpu, run_plan
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import groups, models

from planner.catalogue.load import find_gpu
from planner.catalogue.resolve import find_source
from planner.engines.vllm.choice import Request
from planner.engines.vllm.placement import Ask, Stack, place_servers
from planner.engines.vllm.settings import Pins
from planner.errors import PlannerError, UnsupportedError
from planner.facts.hardware import GpuGroup

# The guide's co-location table: GPUs, the tensor parallel size of the embedding server, its share and the chat server's; and what
# becomes of the guide's shares: nothing is left beside the embedding model's weights, or not for both processes' contexts.
GUIDE = [
    ("rtx4090", 2, "qwen3-vl-32b-awq", 131_072, 2, 0.04, 0.90, ("no-kv-memory", "free-memory")),
    ("rtx3090", 2, "qwen3-vl-32b-awq", 98_304, 2, 0.04, 0.90, ("no-kv-memory", "free-memory")),
    ("l40s", 2, "qwen3-vl-32b", None, 1, 0.03, 0.95, ("no-kv-memory", "free-memory")),
    ("a100-40", 1, "qwen3-vl-32b-awq", 65_536, 1, 0.03, 0.92, ("no-kv-memory", "free-memory")),
    ("a100-80", 1, "qwen3-vl-32b", None, 1, 0.02, 0.95, ("tight", None)),
]


def ask(name: str, model: str, group: GpuGroup, **wish) -> Ask:
    source = find_source(model)
    return Ask(name=name, request=Request(model=source.spec, group=group, **wish), repo=source.repo, served_name=source.served_name, market=source.market)


def starts_given_the_others(stack: Stack) -> None:
    """The ledger's law, for every GPU and server: also for one that is started again while all others run."""
    group = stack.group
    host = group.total_bytes - group.free_at_start_bytes(1) - group.process_bytes(1)  # what the machine itself takes, at most
    for index in range(group.count):
        held = sum(server.held_bytes for server in stack.servers if index in server.gpus)
        assert held + max(0, host) <= group.total_bytes
    for server in stack.servers:
        ledger = server.plan.choice.conservative
        for index in server.gpus:
            others = sum(other.held_bytes for other in stack.servers if other is not server and index in other.gpus)
            free = replace(group, taken_bytes=others).free_at_start_bytes(server.plan.config.tensor_parallel_size)
            assert ledger.requested_bytes + ledger.late_bytes <= free
        assert ledger.fits_request


@pytest.mark.parametrize(("name", "count", "model", "context", "split", "embedding", "chat", "fate"), GUIDE)
def test_each_row_of_the_guides_table_ours_and_theirs(name, count, model, context, split, embedding, chat, fate):
    group = GpuGroup(gpu=find_gpu(name), count=count)
    ours = place_servers([ask("chat", model, group, context=context), ask("embedding", "qwen3-embedding-0.6b", group)], group)
    assert ours.verdict != "does_not_start"  # the first may, with luck: the guide's context is longer than what surely fits
    if ours.verdict == "starts":
        starts_given_the_others(ours)
    pinned = Pins(tensor_parallel_size=split, gpu_memory_utilization=embedding, enforce_eager=True, max_model_len=512)
    theirs = place_servers(
        [
            ask("chat", model, group, context=context, pins=Pins(gpu_memory_utilization=chat, tensor_parallel_size=count)),
            ask("embedding", "qwen3-embedding-0.6b", group, pins=pinned),
        ],
        group,
    )
    plans = [server.plan for server in theirs.servers]
    assert tuple(plan.rejection.code if plan.rejection else None if plan.verdict == "starts" else plan.verdict for plan in plans) == fate


def test_a_small_server_gets_no_more_than_it_needs():
    group = GpuGroup(gpu=gpu("rtx4090"), count=2)
    stack = place_servers([ask("chat", "qwen3-vl-32b-awq", group), ask("embedding", "qwen3-embedding-0.6b", group)], group)
    small = stack.servers[0]
    assert (small.name, stack.servers[-1].name) == ("embedding", "chat")
    ledger = small.plan.choice.conservative
    assert 0 <= ledger.kv_cache_bytes - ledger.kv_cache_needed_bytes - ledger.reserved_blocks * ledger.kv_block_bytes <= 2 * ledger.total_bytes // 1000
    config = small.plan.config
    lower = replace(small.plan.request.pins, gpu_memory_utilization=config.gpu_memory_utilization - 0.002, max_num_batched_tokens=config.max_num_batched_tokens)
    again = ask("embedding", "qwen3-embedding-0.6b", group).plan(replace(small.plan.request, pins=lower))
    assert again.verdict != "starts"


def test_the_small_server_goes_where_the_main_one_keeps_most():
    """One GPU or split: whichever leaves the chat model more cache; both are tried here by hand."""
    for name, count, model in (("rtx4090", 2, "qwen3-vl-32b-awq"), ("h100", 2, "qwen3-vl-32b"), ("l40s", 4, "llama-3.3-70b")):
        group = GpuGroup(gpu=gpu(name), count=count)
        chosen = place_servers([ask("chat", model, group), ask("embedding", "qwen3-embedding-0.6b", group)], group)
        for size in (1, 2):
            pinned = ask("embedding", "qwen3-embedding-0.6b", group, pins=Pins(tensor_parallel_size=size))
            other = place_servers([ask("chat", model, group, pins=Pins(tensor_parallel_size=count)), pinned], group)
            assert chosen.main.choice.expected.kv_cache_tokens >= other.main.choice.expected.kv_cache_tokens * (other.verdict == "starts")


def test_two_models_that_cannot_share_a_gpu_get_one_each():
    group = GpuGroup(gpu=gpu("h100"), count=2)
    stack = place_servers([ask("chat", "qwen3-32b", group), ask("chat-2", "qwen3-vl-32b", group)], group)
    assert stack.verdict == "starts"
    starts_given_the_others(stack)


@pytest.mark.slow
@settings(max_examples=500)
@given(models(), models(), groups(), st.sampled_from([None, 1024, 16_384]), st.sampled_from([None, 2]), st.booleans())
def test_what_two_servers_hold_never_exceeds_the_gpus(first, second, group, context, users, pooling):
    small = replace(second, pooling=pooling or second.is_encoder)
    longest = min(first.max_position_embeddings, second.max_position_embeddings)
    wish = {"context": min(context, longest) if context else None, "users": users}
    asks = [
        Ask(name="chat", request=Request(model=first, group=group, **wish), repo="a/b", served_name="b"),
        Ask(name="small", request=Request(model=small, group=group), repo="a/c", served_name="c", port=8001),
    ]
    try:
        stack = place_servers(asks, group)
    except (PlannerError, UnsupportedError):
        assume(False)
        raise
    assert {gpu for server in stack.servers for gpu in server.gpus} <= set(range(group.count))
    if stack.verdict == "starts":
        starts_given_the_others(stack)


def test_which_server_is_too_much_and_what_would_fit(tmp_path):
    done = run_plan("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--with", "llama-3.3-70b", "--format", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"]) == (1, "does_not_start")
    failed = {service["name"]: service["rejection"] for service in answer["services"]}
    assert failed["chat-2"]["code"] == "out-of-memory"
    (without,) = [each for each in answer["alternatives"] if each["change"] == "without chat-2"]
    assert (without["arguments"], without["verdict"]) == ("without --with llama-3.3-70b", "starts")
    assert without["command"] == "plan --gpu rtx4090 --count 2 --model qwen3-vl-32b-awq"
    assert not list(tmp_path.iterdir())


STACK = """
gpu: rtx4090
count: 2
services:
- model: qwen3-vl-32b-awq
  context: 32k
- {model: qwen3-embedding-0.6b, name: texts, port: 9001, gpu_memory_utilization: 0.12}
"""


def test_a_stack_file_asks_the_same_question(tmp_path):
    (tmp_path / "stack.yaml").write_text(STACK)
    words = ("--format", "json", "--dry-run")
    file = run_plan("-f", "stack.yaml", *words, cwd=tmp_path)
    asked = "qwen3-embedding-0.6b:name=texts,port=9001,gpu-memory-utilization=0.12"
    line = run_plan("--gpu", "rtx4090", "--count", "2", "--model", "qwen3-vl-32b-awq", "--context", "32k", "--with", asked, *words, cwd=tmp_path)
    assert file.returncode == 0, file.stderr
    assert json.loads(file.stdout) == json.loads(line.stdout)
    texts = json.loads(file.stdout)["services"][0]
    assert (texts["name"], texts["port"], texts["settings"]["gpu_memory_utilization"]) == ("texts", 9001, 0.12)


BAD_FILES = {
    "unknown key 'contxt'; did you mean context": STACK.replace("context", "contxt"),
    "services[0]: model is missing": "gpu: l4\nservices: [{context: 8k}]",
    "anchors and aliases are not read": "gpu: &a l4\nservices: [{model: *a}]",
    "the key 'gpu' appears twice": "gpu: l4\ngpu: l40s\nservices: []",
    "expected a list of mappings": "gpu: l4\nservices: []",
    "expected a mapping with gpu and services": "[1, 2]",
    "users is '0'": "gpu: l4\nservices: [{model: qwen3-8b, users: 0}]",
    "two servers are named chat": "gpu: h100\nservices: [{model: qwen3-8b, name: chat}, {model: qwen3-4b, name: chat}]",
    "port 8080 is used twice: by the proxy and chat": "gpu: h100\nservices: [{model: qwen3-8b, port: 8080}]",
    "expected lower case letters": "gpu: h100\nservices: [{model: qwen3-8b, name: 'a: $(rm -rf /)'}]",
    "host is 'moon'": "gpu: l4\nhost: moon\nservices: [{model: qwen3-8b}]",
    "--kv-cache-dtype 'fp7' is not known": "gpu: l4\nservices: [{model: qwen3-8b, kv_cache_dtype: fp7}]",
    "vLLM 0.5 is not known": "gpu: l4\nvllm_version: '0.5'\nservices: [{model: qwen3-8b}]",
    "at most 32": "gpu: l4\nservices: [" + "{model: qwen3-8b}," * 33 + "]",
    "at most 65,536 are read": "#" * 70_000,
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_a_bad_stack_file_is_one_clear_line(message, tmp_path):
    (tmp_path / "stack.yaml").write_text(BAD_FILES[message])
    done = run_plan("-f", "stack.yaml", cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["stack.yaml"]


def test_exploding_anchors_are_refused_at_once(tmp_path):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(f"{n}: &{n} [{', '.join(['*' + chr(ord(n) - 1)] * 9)}]\n" for n in "bcdefghi")
    (tmp_path / "stack.yaml").write_text(bomb)
    done = run_plan("-f", "stack.yaml", cwd=tmp_path)
    assert (done.returncode, "anchors" in done.stderr) == (2, True)


def test_the_repository_holds_a_stack_example_that_is_current():
    assert (ROOT / "outputs" / "qwen3-vl-32b-awq-with-qwen3-embedding-0.6b-rtx4090x2-context81920" / "stack.sh").exists()

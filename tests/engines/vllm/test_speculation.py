"""Speculative decoding: what a command says of it, what it loads, what it makes of the cache; bytes and concurrency are vLLM's own."""

import json
from dataclasses import replace

import pytest
from conftest import DATA

from planner.architecture import Config, build_model
from planner.catalogue import load
from planner.engines.catalogue import Source
from planner.engines.vllm import speculation
from planner.engines.vllm.drafter import drafting
from planner.engines.vllm.log import command_words, read_log
from planner.engines.vllm.memory import breakdown, place
from planner.engines.vllm.rules import capture_sizes
from planner.engines.vllm.settings import ServeConfig
from planner.engines.vllm.speculation import read, said, wish
from planner.engines.vllm.splits import heads_or_layers
from planner.engines.vllm.versions import VERSIONS
from planner.engines.vllm.weights import stage_weights
from planner.errors import BadValueError, PlannerError
from planner.facts.config import Parallel
from planner.facts.hardware import GpuGroup

H100 = GpuGroup(gpu=load.find_gpu("h100"), count=8)
QWEN35, GLM, DEEPSEEK, QWEN3 = "Qwen/Qwen3.5-27B", "zai-org/GLM-4.5-Air", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-8B"


def source(name, **keys):
    """A model of the test data as the catalogue gives it."""
    data = json.loads((DATA / "configs" / f"{name.replace('/', '--')}.json").read_text()) | keys
    return Source(name, name, build_model(Config(data, name), name), config=data)


class Shelf:
    """A catalogue of a few models."""

    def __init__(self, **models) -> None:
        self.models = models

    def find_source(self, name, online=None):
        """A model on the shelf. Raises PlannerError."""
        if name not in self.models:
            raise PlannerError("nobody knows it")
        return self.models[name]


def created(model, tp):
    """Parameters of the drafter as its class makes them, before kernels make something of them."""
    return stage_weights(model.drafter.model, Parallel(tensor_parallel_size=tp))[0] if model.drafter.model else 0


ROWS = [json.loads(line) for line in (DATA / "vllm_0.33_drafters.jsonl").read_text().splitlines()]


class Everything:
    """A catalogue of the test data."""

    def find_source(self, name, online=None):
        """A model of the test data."""
        return source(name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['speculative_config']['method']}-tp{row['tp']}")
def test_drafters_equal_vllms_own(row):
    """Bytes of its parameters less what it shares, of a block and of a request; how many batch sizes are captured."""
    asked = read(json.dumps(row["speculative_config"]), "0.33")
    model = drafting(source(row["model"], **row["keys"]), asked, Everything()).model
    placed = place(model, H100, ServeConfig(tensor_parallel_size=row["tp"]))
    needed = placed.cache.blocks_per_request(row["max_model_len"], row["in_flight"]) * placed.cache.block_bytes
    assert (created(model, row["tp"]), placed.cache.block_bytes, needed) == (row["drafter_bytes"], row["block_bytes"], row["needed_bytes"])
    assert len(capture_sizes(1024, 90, VERSIONS["0.33"], tokens=asked.tokens + 1)) == row["graph_sizes"]


def drafts(name, catalogue=None, *, keys=None, **said_of_it):
    """A target with its drafter."""
    return drafting(source(name, **(keys or {})), read(json.dumps(said_of_it), "0.33"), catalogue or Shelf())


@pytest.mark.parametrize(
    ("name", "keys", "tp", "drafter_bytes", "block_bytes"),
    [
        (QWEN35, {}, 1, 849_398_784, 57_933_824),
        (GLM, {"num_nextn_predict_layers": 1}, 4, 1_239_727_616, 770_048),
        (DEEPSEEK, {}, 8, 1_661_047_968, 1_142_784),
    ],
)
def test_a_targets_own_layers_are_loaded_and_cached(name, keys, tp, drafter_bytes, block_bytes):
    model = drafts(name, keys=keys, method="mtp", num_speculative_tokens=1).model
    placed = place(model, H100, ServeConfig(tensor_parallel_size=tp))
    assert (created(model, tp), placed.cache.block_bytes) == (drafter_bytes, block_bytes)
    assert placed.drafter >= drafter_bytes


@pytest.mark.parametrize(("tokens", "share"), [(1, 29 / 32 * 16 / 17), (3, 29 / 38 * 16 / 17)])
def test_a_request_holds_a_state_behind_each_drafted_token(tokens, share):
    """Qwen3.5-27B at 16,384 tokens: 20 blocks of attention, three groups of 2 + tokens + 1 states; 17 layers a group, not 16."""
    before = place(source(QWEN35).spec, H100, ServeConfig()).cache
    after = place(drafts(QWEN35, method="mtp", num_speculative_tokens=tokens).model, H100, ServeConfig()).cache
    needed = [cache.block_bytes * cache.blocks_per_request(16_384, 16_384) for cache in (before, after)]
    assert needed[0] / needed[1] == pytest.approx(share)


def test_tokens_looked_up_take_states_and_no_weights():
    model = drafts(QWEN35, method="ngram", num_speculative_tokens=3).model
    placed = place(model, H100, ServeConfig())
    assert placed.drafter == 0
    assert placed.cache.blocks_per_request(16_384, 16_384) == 20 + 3 * 6
    plain = drafts(QWEN3, method="suffix").model
    assert place(plain, H100, ServeConfig()).cache.block_bytes == place(source(QWEN3).spec, H100, ServeConfig()).cache.block_bytes


def test_a_small_model_brings_its_weights_and_layers():
    shelf = Shelf(small=source("Qwen/Qwen3-0.6B"))
    made = drafts(QWEN3, shelf, method="draft_model", model="small", num_speculative_tokens=4)
    placed = place(made.model, H100, ServeConfig())
    assert (placed.drafter, made.missing) == (1_192_099_840, None)
    assert placed.cache.block_bytes == 16 * (36 + 28) * 8 * 2 * 128 * 2
    alone = drafts(QWEN3, shelf, method="draft_model", model="small", num_speculative_tokens=4, draft_tensor_parallel_size=1)
    assert created(alone.model, 4) == created(made.model, 4)  # its ranks are those of its target all the same


def test_the_last_stage_of_a_pipeline_holds_the_drafter():
    model = drafts(QWEN35, method="mtp", num_speculative_tokens=1).model
    config = ServeConfig(pipeline_parallel_size=2, max_model_len=8192, max_num_seqs=16)
    assert breakdown(model, H100, config).drafter_bytes in (0, 849_398_784 + 248_320 * 5120 * 2)  # with words of its own: its target's are on the first
    placed = place(model, H100, config)
    assert placed.cache.block_bytes_by_stage[1] - placed.cache.block_bytes_by_stage[0] == 54_525_952 // 16


def test_a_drafter_that_nobody_knows_is_named():
    made = drafts(QWEN3, method="eagle3", model="someone/unknown", num_speculative_tokens=3)
    assert made.missing.message.startswith("--speculative-config: weights and cache of the drafter someone/unknown are not in the ledger")
    assert drafts(QWEN3, method="extract_hidden_states", num_speculative_tokens=1).missing is not None


def test_as_many_tokens_are_drafted_as_the_config_says():
    assert drafts(QWEN35, method="mtp").tokens == 1
    assert speculation.with_tokens('{"method": "mtp"}', 1) == '{"method": "mtp", "num_speculative_tokens": 1}'


@pytest.mark.parametrize(
    ("said_of_it", "words"),
    [
        ({"method": "mtp"}, "brings no layers that predict further tokens"),
        ({"method": "draft_model", "model": "other", "num_speculative_tokens": 2}, "Target and draft model should have the same vocabulary size"),
        ({"method": "eagle3", "model": "other"}, "`num_speculative_tokens` was not provided"),
    ],
)
def test_what_does_not_go_with_a_target_is_refused(said_of_it, words):
    with pytest.raises(BadValueError, match=words):
        drafts(QWEN3, Shelf(other=source("meta-llama/Llama-3.2-1B-Instruct")), **said_of_it)


def test_predicting_layers_are_used_a_whole_number_of_times():
    with pytest.raises(BadValueError, match="num_speculative_tokens:5 must be divisible by n_predict=2"):
        drafts(DEEPSEEK, keys={"num_nextn_predict_layers": 2}, method="mtp", num_speculative_tokens=5)
    with pytest.raises(BadValueError, match="0 layers"):
        drafts(DEEPSEEK, keys={"num_nextn_predict_layers": 0}, method="mtp", num_speculative_tokens=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "expected a JSON object"),
        ("{", "expected a JSON object"),
        ('{"method": "mtp", "num_speculative_tokens": 0}', "Input should be greater than 0"),
        ('{"method": "mtp", "num_speculative_tokens": -3}', "Input should be greater than 0"),
        ('{"method": "mtp", "num_speculative_tokens": "many"}', "valid integer"),
        ('{"method": "mtp", "num_speculative_tokens": true}', "valid integer"),
        ('{"method": "foo", "num_speculative_tokens": 1}', "method: Input should be"),
        ('{"method": "medusa", "model": "x/y", "num_speculative_tokens": 1}', "method: Input should be"),
        ('{"method": "eagle3", "num_speculative_tokens": 1}', "without speculative model"),
        ('{"num_speculative_tokens": 1}', "without speculative model"),
        ('{"method": "ngram"}', "num_speculative_tokens must be provided"),
        (
            '{"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_min": 4, "prompt_lookup_max": 2}',
            "prompt_lookup_min=4 must be <= prompt_lookup_max=2",
        ),
        ('{"method": "mtp", "tensor_parallel_size": 2}', "Please pass 'draft_tensor_parallel_size' instead"),
        ('{"method": "mtp", "draft_tensor_parallel_size": 0}', "greater than or equal to 1"),
    ],
)
def test_what_vllm_refuses_is_refused_in_its_words(text, words):
    with pytest.raises(BadValueError, match=words):
        read(text, "0.33")


@pytest.mark.parametrize(
    ("model", "method"), [("ngram", "ngram"), ("yuhuili/EAGLE-LLaMA3-8B", "eagle"), ("AngelSlim/Qwen3-8B_eagle3", "eagle3"), ("Qwen/Qwen3-0.6B", "draft_model")]
)
def test_a_drafters_name_says_its_method(model, method):
    assert read(json.dumps({"model": model, "num_speculative_tokens": 2})).method == method


def test_methods_by_release():
    assert read('{"method": "deepseek_mtp", "num_speculative_tokens": 1}', "0.11").method == "mtp"
    assert read('{"method": "medusa", "model": "x", "num_speculative_tokens": 1}', "0.32").method == "medusa"
    with pytest.raises(BadValueError, match="method: Input"):
        read('{"method": "dflash", "model": "x", "num_speculative_tokens": 1}', "0.19")


@pytest.mark.parametrize(
    ("short", "meant"),
    [
        ("mtp:3", {"method": "mtp", "num_speculative_tokens": 3}),
        ("ngram:5", {"method": "ngram", "num_speculative_tokens": 5}),
        ("mtp", {"method": "mtp"}),
        ("eagle3:RedHatAI/Qwen3-8B-speculator.eagle3:3", {"method": "eagle3", "model": "RedHatAI/Qwen3-8B-speculator.eagle3", "num_speculative_tokens": 3}),
        ('{"method": "ngram", "num-speculative-tokens": 5}', {"method": "ngram", "num_speculative_tokens": 5}),
    ],
)
def test_a_wish_in_short(short, meant):
    assert json.loads(wish(short)) == meant


def test_flags_of_speculation_are_one():
    values = {"--spec-method": "mtp", "--spec-tokens": "2", "--max-model-len": "8192"}
    assert said(values) == {"--max-model-len": "8192", "--speculative-config": '{"method": "mtp", "num_speculative_tokens": 2}'}
    assert said({"--max-model-len": "8192"}) == {"--max-model-len": "8192"}
    with pytest.raises(BadValueError, match="--spec-tokens and --speculative-config"):
        said({"--spec-tokens": "2", "--speculative-config": '{"num_speculative_tokens": 3}'})


def test_sizes_that_whole_requests_fill_are_captured_too():
    release = VERSIONS["0.33"]
    assert capture_sizes(16, 90, release, tokens=4) == sorted({*capture_sizes(64, 90, release), 4, 8, 16, 32, 64})
    assert len(capture_sizes(256, 90, release, tokens=4)) >= len(capture_sizes(256, 90, release))
    assert capture_sizes(256, 90, release, tokens=1) == capture_sizes(256, 90, release)


def test_the_ledger_adds_up_and_more_tokens_never_leave_more():
    config = ServeConfig(max_model_len=8192, max_num_seqs=32, max_num_batched_tokens=8192)
    admitted = []
    for tokens in (1, 2, 4):
        model = drafts(QWEN35, method="mtp", num_speculative_tokens=tokens).model
        ledger = breakdown(model, H100, replace(config, speculative_config=wish(f"mtp:{tokens}")))
        beside = ledger.loaded_bytes + ledger.activation_bytes + ledger.non_torch_bytes + ledger.cuda_graph_bytes + ledger.kv_cache_bytes
        assert beside == ledger.requested_bytes
        admitted.append(ledger.max_concurrency)
    assert admitted == sorted(admitted, reverse=True)


def test_predicting_layers_that_a_checkpoint_leaves_unquantized_are_found_by_their_own_names():
    """ModelOpt's list leaves `mtp*` out; the target's layer 0, of the same name but for its prefix, is quantized."""
    data = json.loads((DATA / "field_models" / "Qwen3.6-27B-NVFP4" / "config.json").read_text())
    target = Source("x", "x", build_model(Config(data, "x"), "x"), config=data)
    model = drafting(target, read('{"method": "mtp", "num_speculative_tokens": 3}'), Shelf()).model
    assert created(model, 1) == 849_398_784 + 8  # as in 16 bits, with two scales of its cache


def test_a_logs_drafter_is_read():
    line = "non-default args: {'model_tag': 'Qwen/Qwen3.5-27B', 'speculative_config': {'method': 'mtp', 'num_speculative_tokens': 3}, 'enable_lora': True}"
    words = command_words(read_log([line]))
    assert words[words.index("--speculative-config") + 1] == '{"method": "mtp", "num_speculative_tokens": 3}'
    assert "--enable-lora" in words


SPECULATOR = {
    "speculators_model_type": "eagle3",
    "speculators_config": {"algorithm": "eagle3", "proposal_methods": [{"speculative_tokens": 3}], "verifier": {"name_or_path": QWEN3}},
    "draft_vocab_size": 32000,
    "transformer_layer_config": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_hidden_layers": 1,
        "vocab_size": 151936,
    },
}


def made(**keys):
    """A drafter's checkpoint."""
    return Source("made", "made", source(QWEN3).spec, config=keys)


def test_a_file_of_the_speculators_library_is_read_as_vllm_reads_it():
    plain = made(architectures=["LlamaForCausalLMEagle3"], draft_vocab_size=32000, **SPECULATOR["transformer_layer_config"])
    drafters = [
        drafts(QWEN3, Shelf(other=other), method="eagle3", model="other", num_speculative_tokens=3).model.drafter for other in (made(**SPECULATOR), plain)
    ]
    assert [created(replace(source(QWEN3).spec, drafter=drafter), 1) for drafter in drafters] == [799_303_680] * 2
    with pytest.raises(PlannerError, match="reads no drafter of the type 'medusa'"):
        build_model(Config(SPECULATOR | {"speculators_model_type": "medusa"}, "x"), "x")


def test_a_drafter_is_asked_for_under_the_name_that_its_method_makes():
    eagle = made(architectures=["LlamaForCausalLM"], **SPECULATOR["transformer_layer_config"])
    assert (
        drafts(QWEN3, Shelf(other=eagle), method="eagle", model="other", num_speculative_tokens=3).model.drafter.model.architecture == "EagleLlamaForCausalLM"
    )
    with pytest.raises(BadValueError, match="Eagle3DeepSeekMTPModel"):
        other = made(architectures=["Eagle3DeepseekV3ForCausalLM"], model_type="deepseek_v3")
        drafts(DEEPSEEK, Shelf(other=other), method="eagle3", model="other", num_speculative_tokens=3)


def test_targets_that_show_no_hidden_states_and_stages_that_a_drafter_cannot_have_are_refused():
    eagle3 = made(**SPECULATOR)
    with pytest.raises(BadValueError, match="Model does not support EAGLE3 interface"):
        drafts(GLM, Shelf(other=eagle3), method="eagle3", model="other", num_speculative_tokens=3)
    eagle = made(architectures=["LlamaForCausalLM"], **SPECULATOR["transformer_layer_config"])
    model = drafts(QWEN3, Shelf(other=eagle), method="eagle", model="other", num_speculative_tokens=3).model
    assert heads_or_layers(model, 1, 2).startswith("Duplicate layer name: model.layers.18.self_attn.attn")
    assert not heads_or_layers(model, 1, 4)
    assert not heads_or_layers(drafts(QWEN3, Shelf(other=eagle3), method="eagle3", model="other", num_speculative_tokens=3).model, 1, 2)


def test_dspark_drafts_as_many_tokens_as_its_block_where_nobody_says():
    block = made(architectures=["Qwen3DSparkModel"], markov_rank=256, block_size=7, target_layer_ids=[1, 9], **SPECULATOR["transformer_layer_config"])
    assert drafts(QWEN3, Shelf(other=block), method="dspark", model="other").tokens == 7

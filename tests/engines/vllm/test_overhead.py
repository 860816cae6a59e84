"""Activations, graphs and memory outside torch: every formula at round coefficients, each value derived by hand beside it, and some at those of a log."""

from dataclasses import replace

import pytest
from conftest import config_model, gpu
from conftest import small_model as model

from planner.architecture.build import build_model
from planner.architecture.config import Config
from planner.architecture.towers import held
from planner.catalogue.load import find_gpu, find_model, gpu_rows
from planner.catalogue.resolve import find_source
from planner.engines.vllm import coefficients as calibrated
from planner.engines.vllm import overhead
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.device import Device, device, gpu_class, stream_share
from planner.engines.vllm.kept import delta_kernels
from planner.engines.vllm.overhead import Shapes
from planner.engines.vllm.settings import ServeConfig
from planner.facts.hardware import GpuGroup, GpuSpec, Host
from planner.facts.model import VisionSpec
from planner.units import GIB, MIB

ROUND = {
    "fit": {"gpu": "h100"},
    "classes": {
        "fit": {"starts": 42, "gpus": 1, "single_gib": [0, 0, 0], "several_gib": [0, 0, 0]},
        "consumer": {"starts": 9, "gpus": 2, "single_gib": [0, 0.25, -0.25], "several_gib": [0, 0.5, -0.5]},
    },
    "activation": {"sampler_copies": 4, "hidden_copies": 2, "expert_copies": 2, "first_stage_share": 0.5, "residual_gib_p90": 0.25},
    "cuda_graph": {"base_gib": 0.5, "per_layer_gib": 1 / 64, "experts_gib": 0.5, "full_set_sizes": 50, "residual_gib_p90": 0.25},
    "non_torch": {  # expected, conservative, optimistic
        "single_gib": [0.25, 0.5, 0.125],
        "pipeline_gib": [0.0625, 0.0625, 0.0625],
        "nvlink_gib": [2.0, 2.25, 1.75],
        "pcie_2_gib": [0.75, 1.75, 0.5],
        "pcie_4_gib": [1.5, 2.5, 1.0],
    },
    "estimates": {
        "stream_copies": 10,
        "fused_stream_share": [0.5, 1.0, 0.25],
        "conservative_factor": 1.5,
        "optimistic_factor": 0.5,
        "sampler_copies_at_most": 8,
        "graphs_of_other_gpus": [0.75, 1.0, 0.25],
        "unlinked_graphs": 1.25,
        "older_driver_graphs": 3,
        "gathered_graphs_gib": 100,
        "unprofiled_sampler_copies": [2, 3, 0],
        "gathered_share": [0.25, 1.0, 0.125],
        "lean_links_gib": [2.0, 2.25, 0.25],
        "sleep_gib": [0.0, 0.5, 0.0],
    },
}
BATCH = ServeConfig(max_num_batched_tokens=2048, max_num_seqs=256)
VISION = VisionSpec(hidden_size=1152, intermediate_size=4304, heads=16, max_patches=4096, tokens_per_item=1024, extra_outputs=3)


@pytest.fixture
def coefficients(monkeypatch):
    """The round ones instead of those that were fitted."""
    calibrated.at.cache_clear()
    monkeypatch.setattr(calibrated, "coefficients", lambda: ROUND)
    yield
    calibrated.at.cache_clear()


MOE = {"experts_per_token": 4, "expert_intermediate": 1500}


def on(**changed) -> Device:
    """A GPU of the fit's kind, where 25 batch sizes are captured."""
    totals = dict.fromkeys(("total_bytes", "least_total_bytes", "most_total_bytes"), 80 * GIB)
    free = dict.fromkeys(("usually_free_bytes", "surely_free_bytes", "most_free_bytes"), 79 * GIB)
    margins = {"margin_bytes": 0, "most_margin_bytes": 0, "least_margin_bytes": 0}
    return Device(
        **(
            totals
            | free
            | margins
            | {
                "fitted": True,
                "nvlink": False,
                "multicast": False,
                "graph_sizes": 25,
                "largest_graph": 200,
                "multiprocessors": 0,
                "older_driver": False,
                "pages": False,
                "rocm": False,
                "fp8": False,
            }
            | changed
        )
    )


def non_torch(asked, device, outlook):
    return overhead.overhead(Shapes(model(), asked), device, outlook).non_torch_bytes


def config(**changed) -> ServeConfig:
    sizes = {"max_num_batched_tokens": 2048, "max_num_seqs": 256}
    return ServeConfig(**(sizes | changed))


def test_a_layer_holds_gate_up_and_their_product_on_its_rank_and_four_hidden_states():
    assert overhead.forward_activation(model(), BATCH) == 2048 * (3 * 3000 + 4 * 1000) * 2 == 53_248_000
    assert overhead.forward_activation(model(), config(tensor_parallel_size=2)) == 2048 * (4500 + 4000) * 2 == 34_816_000
    assert overhead.forward_activation(model(**MOE), BATCH) == 2048 * 4000 * 2 == 16_384_000  # its MLPs are the experts' workspace


@pytest.mark.parametrize(
    ("quantization", "card", "changed", "narrow"),
    [
        ("fp8", "l40s", {}, True),  # a scale of each token
        ("fp8", "h100", {}, True),
        ("fp8", "a100-80gb", {}, False),  # Marlin multiplies 16 bits
        ("fp8", "mi300x", {}, False),
        ("fp8", "l40s", {"enforce_eager": True}, False),
        ("fp8", "l40s", {"times_kernels": False}, False),  # nothing is compiled
        (None, "l40s", {}, False),
    ],
)
def test_a_compiled_layer_writes_the_product_in_fp8_where_it_multiplies_in_that(quantization, card, changed, narrow):
    """quantization/input_quant_fp8.py forward_native; the wary end counts 16 bits, as nobody measured it alone."""
    llama, asked = find_model("llama-3.1-70b").spec(quantization), config(max_num_batched_tokens=16_384, max_num_seqs=1, **changed)
    wide, less = 16_384 * (3 * 28_672 + 4 * 8192) * 2, 16_384 * 28_672
    on_it = device(GpuGroup(gpu=find_gpu(card), count=1), asked)
    told = [overhead.activation(Shapes(llama, asked), on_it, outlook, last_stage=True) for outlook in (Outlook.EXPECTED, Outlook.CONSERVATIVE)]
    assert [told[0], told[1] >= wide] == [wide - less * narrow, True]


def test_scales_of_blocks_are_made_by_a_kernel_of_vllms_own_which_reads_16_bits():
    """config/vllm.py has_blocked_weights turns it on."""
    names = ("Qwen/Qwen3-32B-FP8", "RedHatAI/Qwen2.5-7B-Instruct-fp8-dynamic", "made/dense-ct_fp8tensordyn")
    assert [config_model(name).narrows_products for name in names] == [False, True, True]


def test_a_layer_of_the_gated_delta_rule_holds_what_it_projects_three_times_its_values_and_a_fifth_hidden_state_where_ranks_sum():
    net = config_model("Qwen/Qwen3.5-35B-A3B")  # keys and queries of 2048 columns, values and z of 4096
    assert net.delta_columns == (12_288, 4096)
    assert overhead.forward_activation(net, BATCH) == 2048 * (12_288 + 3 * 4096 + 4 * 2048) * 2
    assert overhead.forward_activation(net, config(tensor_parallel_size=2)) == 2048 * (6144 + 3 * 2048 + 5 * 2048) * 2
    assert model(**MOE).delta_columns == (0, 0)


def test_olmo_s_delta_rule_names_its_output_otherwise():
    config = {
        "architectures": ["OlmoHybridForCausalLM"],
        "hidden_size": 3840,
        "model_type": "olmo_hybrid",
    }  # transformers' defaults: 30 heads of 96 for keys, 192 for values
    olmo = build_model(Config(config, "config.json"), "olmo")
    assert olmo.delta_columns == (2 * 30 * 96 + 2 * 30 * 192, 30 * 192)


def test_the_forward_pass_of_code_llama_is_what_its_log_says():
    """vllm_0.19_h100.csv, CodeLlama 7B: 0.77 GiB. 8192 x (3 x 11,008 + 4 x 4096) x 2 bytes = 809,500,672 = 0.754 GiB; its vocabulary is small."""
    llama = model(hidden_size=4096, intermediate_size=11_008, vocab_size=32_016)
    forward = overhead.forward_activation(llama, config(max_num_batched_tokens=8192, max_num_seqs=1024))
    assert forward == 809_500_672
    assert forward / GIB == pytest.approx(0.77, abs=0.02)


def test_the_sampler_of_a_large_vocabulary_is_what_a_log_says():
    """vllm_0.19_h100.csv, Qwen2.5 7B: 2.21 GiB. 3.726 x 152,064 x 1024 x 4 = 2.16 GiB of logits, 1.575 x 8192 x 3584 x 2 = 0.09 of hidden states."""
    qwen = model(hidden_size=3584, intermediate_size=18_944, vocab_size=152_064)
    asked = config(max_num_batched_tokens=8192, max_num_seqs=1024)
    copies = overhead.sampler_copies(asked, on(), Outlook.EXPECTED)
    assert overhead.sampler_activation(qwen, asked, copies) / GIB == pytest.approx(2.21, abs=0.05)


def test_the_sampler_holds_copies_of_a_row_of_logits_for_each_sequence_and_of_the_hidden_states(coefficients):
    # 4 x 10,000 x 256 x 4 = 40,960,000 and 2 x 2048 x 1000 x 2 = 8,192,000
    assert overhead.sampler_activation(model(), BATCH, 4) == 49_152_000
    # no more rows than a batch has tokens: 4 x 10,000 x 2048 x 4 = 327,680,000
    assert overhead.sampler_activation(model(), config(max_num_seqs=4096), 4) == 327_680_000 + 8_192_000
    assert overhead.sampler_activation(model(pooling=True), BATCH, 4) == 8_192_000  # no logits


@pytest.mark.parametrize(
    ("version", "outlook", "device", "copies"),
    [
        ("0.33", Outlook.EXPECTED, {}, 4),
        ("0.33", Outlook.CONSERVATIVE, {}, 4),  # measured on this very card
        ("0.33", Outlook.CONSERVATIVE, {"fitted": False}, 8),
        ("0.33", Outlook.CONSERVATIVE, {"fitted": False, "shift_bytes": 0}, 4),  # a start on this machine was
        ("0.33", Outlook.OPTIMISTIC, {"fitted": False}, 4),
        ("0.17", Outlook.EXPECTED, {}, 4),
        ("0.16", Outlook.OPTIMISTIC, {}, 8),
        ("0.16", Outlook.EXPECTED, {}, 8),
    ],
)
def test_copies_of_the_logits_by_release_card_and_outlook(coefficients, version, outlook, device, copies):
    assert overhead.sampler_copies(config(vllm_version=version), on(**device), outlook) == copies


def test_experts_keep_a_workspace_for_every_expert_of_a_token(coefficients):
    # 2 copies x 2048 tokens x 4 experts x max(1500, 1000) x 2 bytes
    assert overhead.expert_workspace(model(**MOE), BATCH) == 49_152_000
    assert overhead.expert_workspace(model(**MOE | {"expert_intermediate": 500}), BATCH) == 2 * 2048 * 4 * 1000 * 2 == 32_768_000
    assert overhead.expert_workspace(model(), BATCH) == 0


def test_residual_streams_are_copied_ten_times_and_one_stream_is_none(coefficients):
    assert overhead.stream_activation(model(residual_streams=4), BATCH) == 10 * 2048 * 1000 * 4 * 2 == 163_840_000
    assert overhead.stream_activation(model(), BATCH) == 0


def test_a_gpu_whose_kernels_fuse_the_streams_holds_a_share_of_their_copies(coefficients):
    def share(**facts):
        return [stream_share(on(**facts), outlook) for outlook in Outlook]

    assert share() == [1, 1.5, 0.5]
    assert share(multicast=True) == [0.5, 1.0, 0.25]
    streams = model(residual_streams=16)  # 655,360,000
    assert overhead.activation(Shapes(streams, BATCH), on(multicast=True), Outlook.EXPECTED, last_stage=True) == 327_680_000


def cold(outlook=Outlook.EXPECTED, *, spec=None, last=True, **changed):
    """Peak of a wide vocabulary with one sequence: 2 x 2048 x 1000 x 2 and 4 x 151,552 x 4 bytes in the sampler, less in the layers."""
    shapes = Shapes(model(vocab_size=151_552, intermediate_size=100, **(spec or {})), config(max_num_seqs=1, **changed))
    return overhead.activation(shapes, on(), outlook, last_stage=last)


def test_a_compiler_that_times_its_kernels_holds_the_embedding_a_second_time(coefficients):
    assert cold() == (151_552 + 2 * 2048) * 1000 * 2 == 311_296_000
    assert cold(max_num_batched_tokens=4096) == (151_552 + 2 * 4096) * 1000 * 2


def test_it_holds_none_where_nothing_is_compiled_or_timed_or_what_is_compiled_sees_no_tokens(coefficients):
    layers = 2048 * (300 + 4000) * 2  # 17,612,800
    assert cold(enforce_eager=True) == layers
    assert cold(vllm_version="0.11") == layers
    assert cold(Outlook.OPTIMISTIC) == 0  # compiled before; the residual is more than the layers
    assert cold(tensor_parallel_size=2) < layers  # ranks sum what they looked up before anything else
    assert cold(spec={"residual_streams": 4}) == 163_840_000  # the streams
    with_pictures = cold(spec={"vision": VISION})
    assert with_pictures == cold(spec={"vision": VISION}, enforce_eager=True) < 311_296_000


def test_of_a_pipeline_the_stages_before_the_last_look_tokens_up(coefficients):
    assert cold(last=False, pipeline_parallel_size=2) == 311_296_000
    assert cold(pipeline_parallel_size=2) == 2048 * (300 + 4000) * 2


def test_logs_print_the_embedding_as_the_peak_of_an_activation():
    """Qwen2.5-7B-AWQ with 256 sequences: 1.04 GiB on an L4 (0.28) and on an RTX 4080 (0.26); copies of its logits would be 0.56."""
    seven = find_source("Qwen/Qwen2.5-7B-Instruct-AWQ").spec
    for version in ("0.26", "0.28"):
        peak = overhead.activation(Shapes(seven, config(vllm_version=version)), on(), Outlook.EXPECTED, last_stage=True)
        assert peak / GIB == pytest.approx(1.04, abs=0.005)


def test_the_text_peak_is_the_larger_of_layers_and_sampler_beside_the_experts(coefficients):
    def peak(spec, *, last=True, **changed):
        return overhead.text_activation(Shapes(spec, config(**changed)), 4, last_stage=last)

    assert peak(model()) == 53_248_000  # the layers, above: the sampler takes 49,152,000
    assert peak(model(), max_num_seqs=512) == 81_920_000 + 8_192_000  # twice the logits, now more than the layers
    assert peak(model(**MOE)) == 49_152_000 + 49_152_000  # the sampler, and the experts' workspace beside it
    assert peak(model(residual_streams=4)) == 163_840_000
    assert peak(model(**MOE), last=False) == 49_152_000  # half, where nothing is sampled


@pytest.mark.parametrize(
    ("changed", "items"),
    [
        ({}, 2),  # 2048 // 1024
        ({"max_num_batched_tokens": 512}, 1),  # one always
        ({"max_num_batched_tokens": 8192}, 8),
        ({"max_num_batched_tokens": 8192, "max_num_seqs": 1}, 4),  # a prompt of 4096 tokens holds four
        ({"max_num_batched_tokens": 8192, "max_num_seqs": 1, "max_model_len": 1000}, 1),
    ],
)
def test_as_many_items_are_profiled_as_a_batch_and_its_prompts_hold(changed, items):
    assert overhead.profiled_items(VISION, config(**changed)) == items


def test_no_more_items_are_profiled_than_prompts_may_bring():
    """A batch of 8192 tokens holds eight, a prompt of 4096 four; vLLM 0.29 multimodal/encoder_budget.py _get_max_items."""
    limited = replace(VISION, items_in_a_prompt=1)
    asked = [config(max_num_batched_tokens=8192, max_num_seqs=seqs) for seqs in (1, 3, 256)]
    assert [overhead.profiled_items(limited, one) for one in asked] == [1, 3, 8]
    assert overhead.profiled_items(replace(VISION, items_in_a_prompt=9), asked[0]) == 4


def test_the_vision_tower_is_divided_over_ranks_its_outputs_are_not():
    # two items. tp 1: 4096 x (4304 + 3 x 1152 + 2 x 1152) x 2 = 82,444,288; outputs 1024 x 1000 x (1 + 3) x 2 = 8,192,000
    assert overhead.vision_activation(model(vision=VISION), BATCH) == 2 * 82_444_288
    # tp 2: 4096 x (7760 / 2 + 2304) x 2 = 50,659,328
    assert overhead.vision_activation(model(vision=VISION), config(tensor_parallel_size=2)) == 2 * 50_659_328
    assert (
        overhead.vision_outputs(model(vision=VISION), BATCH) == overhead.vision_outputs(model(vision=VISION), config(tensor_parallel_size=2)) == 2 * 8_192_000
    )
    odd = VisionSpec(hidden_size=1, intermediate_size=2, heads=1, max_patches=1, tokens_per_item=2048)
    assert overhead.vision_activation(model(vision=odd), config(tensor_parallel_size=2)) == (5 // 2 + 2) * 2  # whole elements
    for count in (overhead.vision_activation, overhead.vision_outputs):
        assert count(model(vision=VISION), config(skip_mm_profiling=True)) == 0
        assert count(model(), BATCH) == 0


@pytest.mark.parametrize(
    ("name", "patches", "columns", "columns_of_two"),
    [
        # 2.5: 1280 x 5 + 3420 x 3 and 3 x 2 x 14^2 pixels, more than attention's 11 x 1280
        ("qwen2.5-vl-7b", 65_536, 6400 + 10_260 + 1176, 6400 + 5130 + 1176),
        # attention's 11 x 1152 and 3 x 2 x 16^2, more than 3 x 1152 + 2 x 4304; three levels put out 2048 / 4 each
        ("qwen3-vl-30b-a3b", 65_536, 12_672 + 1536 + 1536, 3456 + 4608 + 1536 + 1536),
        ("qwen3.5-9b", 65_536, 12_672 + 1536, 3456 + 4608 + 1536),
    ],
)
def test_a_tower_whose_layers_are_counted_takes_what_they_hold(name, patches, columns, columns_of_two):
    spec = find_source(name).spec
    assert spec.vision.max_patches == patches
    for ranks, each in ((1, columns), (2, columns_of_two)):
        of = config(tensor_parallel_size=ranks, max_model_len=spec.vision.tokens_per_item)
        assert overhead.vision_activation(spec, of) == patches * each * 2


def test_layers_of_other_towers_hold_what_their_methods_say():
    assert held.qwen2(1280, 5120, 1176) == ((5016, 10_240), (5016, 15_360))
    # dots.ocr: 2 + 18 copies of 1536, 3 tables of 128 angles in 32 bits, 588 pixels: on an RTX 3090 its 57,600 patches took 4.3 GiB, by the causes 3.4
    assert max(sum(peak) for peak in held.dots(1536, 4224, 588, 128)) == 20 * 1536 + 588 + 384


def test_what_a_counted_tower_puts_out_lies_beside_the_text_alone(coefficients):
    counted = replace(VISION, peaks=((1, 0),))
    assert overhead.activation(Shapes(model(vision=counted), BATCH), on(), Outlook.EXPECTED, last_stage=True) == 53_248_000 + 16_384_000
    large = replace(VISION, peaks=((10_000, 4000), (14_001, 0)))
    assert overhead.activation(Shapes(model(vision=large), BATCH), on(), Outlook.EXPECTED, last_stage=True) == 2 * 4096 * 14_001 * 2


@pytest.mark.parametrize("version", ["0.13", "0.14"])
def test_what_experts_work_in_stays_while_the_sampler_runs_since_0_14(coefficients, version):
    # forward 2048 x 4 x 1000 x 2 = 16,384,000; workspace 2 x 2048 x 4 x 1500 x 2 = 49,152,000; sampler 8 x 10,000 x 256 x 4 + 2 x 2048 x 1000 x 2 = 90,112,000
    wide = model(**MOE, vocab_size=10_000)
    peak = {"0.13": 90_112_000, "0.14": 90_112_000 + 49_152_000}[version]
    assert overhead.text_activation(Shapes(wide, config(vllm_version=version)), 8, last_stage=True) == peak
    narrow = model(**MOE, vocab_size=10)
    assert overhead.text_activation(Shapes(narrow, config(vllm_version="0.13")), 8, last_stage=True) == 16_384_000 + 49_152_000


@pytest.mark.parametrize(
    ("changed", "outlook", "peak"),
    [
        ({}, Outlook.EXPECTED, 53_248_000),
        ({}, Outlook.CONSERVATIVE, 53_248_000 + GIB // 4),
        ({}, Outlook.OPTIMISTIC, 0),  # not below nothing
        ({"vision": VISION}, Outlook.EXPECTED, 164_888_576 + 16_384_000),  # one after the other: the larger counts, and what vision put out
        ({"vision": VISION}, Outlook.CONSERVATIVE, 53_248_000 + GIB // 4 + 16_384_000),  # text; 1.5 x 164,888,576 = 247,332,864
        ({"vision": VISION}, Outlook.OPTIMISTIC, 82_444_288 + 16_384_000),  # half of 164,888,576
        ({"residual_streams": 16}, Outlook.EXPECTED, 655_360_000),
        ({"residual_streams": 16}, Outlook.CONSERVATIVE, 655_360_000 + GIB // 4 + 327_680_000),  # and half of the streams once more
        ({"residual_streams": 16}, Outlook.OPTIMISTIC, 655_360_000 - GIB // 4 - 327_680_000),
    ],
)
def test_the_peak_at_each_outlook(coefficients, changed, outlook, peak):
    assert overhead.activation(Shapes(model(**changed), BATCH), on(), outlook, last_stage=True) == peak


def test_an_unmeasured_cards_conservative_peak_has_all_copies_of_the_logits(coefficients):
    """512 sequences: 8 x 10,000 x 512 x 4 = 163,840,000 of logits instead of half of that, and 8,192,000 of hidden states."""

    def peak(**facts):
        return overhead.activation(Shapes(model(), config(max_num_seqs=512)), on(**facts), Outlook.CONSERVATIVE, last_stage=True)

    assert peak(fitted=False) == 163_840_000 + 8_192_000 + GIB // 4
    assert peak() == 81_920_000 + 8_192_000 + GIB // 4


@pytest.mark.parametrize(
    ("spec", "changed", "device", "outlook", "gib"),
    [
        # (0.5 + 16 / 64) x 25 of 50 sizes
        ({}, {}, {}, Outlook.EXPECTED, 0.375),
        ({}, {}, {}, Outlook.CONSERVATIVE, 0.375 + 0.125),  # half of the residual, as of the sizes
        ({}, {}, {}, Outlook.OPTIMISTIC, 0.375 - 0.125),
        ({}, {}, {"graph_sizes": 100}, Outlook.CONSERVATIVE, 2 * 0.75 + 0.25),  # never more than the residual
        ({}, {}, {"graph_sizes": 1}, Outlook.OPTIMISTIC, 0.01),  # 0.75 / 50 less 0.25 / 50
        ({}, {"pipeline_parallel_size": 2}, {}, Outlook.EXPECTED, (0.5 + 8 / 64) / 2),
        (MOE, {}, {}, Outlook.EXPECTED, (0.5 + 0.25 + 0.5) / 2),
        ({}, {}, {"fitted": False}, Outlook.EXPECTED, 0.75 * 0.375),
        ({}, {}, {"fitted": False}, Outlook.CONSERVATIVE, 0.375),
        ({}, {}, {"fitted": False}, Outlook.OPTIMISTIC, 0.25 * 0.375),
        ({}, {"tensor_parallel_size": 4}, {"fitted": False}, Outlook.CONSERVATIVE, 1.25 * 0.375),  # four cards without a link
        ({}, {"tensor_parallel_size": 4}, {"fitted": False, "nvlink": True}, Outlook.CONSERVATIVE, 0.375),
        ({}, {"tensor_parallel_size": 2}, {"fitted": False}, Outlook.CONSERVATIVE, 0.375),
        ({}, {"enforce_eager": True}, {}, Outlook.CONSERVATIVE, 0),
        ({}, {"max_cudagraph_capture_size": 0}, {}, Outlook.CONSERVATIVE, 0),
    ],
)
def test_graphs_by_layers_of_a_stage_and_captured_sizes(coefficients, spec, changed, device, outlook, gib):
    assert overhead.cuda_graphs(model(**spec), config(**changed), on(**device), outlook) == pytest.approx(gib * GIB, abs=0.9)


@pytest.mark.parametrize(
    ("tp", "pp", "nvlink", "expected", "conservative", "optimistic"),
    [
        (1, 1, False, 0.25, 0.5, 0.125),
        (1, 2, False, 0.0625, 0.0625, 0.0625),
        (2, 1, True, 2.0, 2.25, 0.25),
        (8, 1, True, 2.0, 2.25, 0.25),
        (2, 1, False, 0.75, 1.75, 0.5),
        (4, 1, False, 1.5, 2.5, 1.0),
        (8, 1, False, 1.5, 2.5, 1.0),
        (2, 2, False, 0.75, 1.75, 0.5),
    ],
)
def test_memory_outside_torch_by_ranks_and_link(coefficients, tp, pp, nvlink, expected, conservative, optimistic):
    asked = config(tensor_parallel_size=tp, pipeline_parallel_size=pp)
    outside = [non_torch(asked, on(nvlink=nvlink, multicast=nvlink), outlook) / GIB for outlook in (Outlook.EXPECTED, Outlook.CONSERVATIVE, Outlook.OPTIMISTIC)]
    assert outside == [expected, conservative, optimistic]


@pytest.mark.parametrize(("version", "tp", "optimistic"), [("0.26", 2, 1.75), ("0.27", 2, 0.25), ("0.27", 1, 0.125)])
def test_gpus_joined_by_switches_may_keep_less_since_0_27(coefficients, version, tp, optimistic):
    asked = config(tensor_parallel_size=tp, vllm_version=version)
    outside = [non_torch(asked, on(nvlink=True, multicast=True), outlook) / GIB for outlook in (Outlook.EXPECTED, Outlook.OPTIMISTIC)]
    assert outside == [2.0 if tp > 1 else 0.25, optimistic]


def test_a_class_adds_a_margin_which_a_start_on_this_machine_replaces(coefficients):
    def outside(outlook, **facts):
        return non_torch(BATCH, on(most_margin_bytes=GIB // 4, least_margin_bytes=-GIB // 4, **facts), outlook) / GIB

    assert outside(Outlook.EXPECTED) == 0.25
    assert outside(Outlook.CONSERVATIVE) == 0.5 + 0.25
    assert outside(Outlook.OPTIMISTIC) == 0  # 0.125 - 0.25: not below nothing
    assert outside(Outlook.CONSERVATIVE, shift_bytes=GIB) == 0.5 + 1
    assert outside(Outlook.EXPECTED, shift_bytes=GIB) == 0.25 + 1


@pytest.mark.parametrize(
    ("card", "kind"),
    [
        ("h100", "fit"),
        ("h200", "data_centre"),
        ("a100-40gb", "data_centre"),
        ("l40s", "workstation"),
        ("rtxpro6000", "workstation"),
        ("rtx5090", "consumer"),
        ("l4", "consumer"),
        ("rtx4080", "small"),
        ("gb10", "unified"),
        ("strix-halo-128gb", "unified"),  # an AMD one, of which nobody measured a start
        ("mi300x", "amd"),
        ("r9700", "radeon"),
    ],
)
def test_the_class_of_a_gpu(card, kind):
    assert gpu_class(find_gpu(card)) == kind


def test_a_class_has_its_margins_by_ranks(coefficients):
    def margins(tp):
        asked = device(GpuGroup(gpu=find_gpu("rtx4090"), count=tp), config(tensor_parallel_size=tp))
        return asked.margin_bytes, asked.most_margin_bytes, asked.least_margin_bytes

    assert margins(1) == (0, GIB // 4, -GIB // 4)
    assert margins(2) == (0, GIB // 2, -GIB // 2)


@pytest.mark.parametrize(
    ("architecture", "version", "mib"),
    [
        ("Qwen3_5MoeForConditionalGeneration", "0.18", 170 * 22),
        ("Qwen3NextForCausalLM", "0.19", 170 * 22),
        ("Qwen3_5ForConditionalGeneration", "0.17", 0),  # its kernels first run when a request comes
        ("Qwen3_5ForConditionalGeneration", "0.20", 0),
        ("Qwen3ForCausalLM", "0.19", 0),
    ],
)
def test_the_driver_of_a_5090_keeps_memory_for_the_delta_rules_kernels_on_each_of_170_multiprocessors(architecture, version, mib):
    """3,728 MiB by vLLM's pull request 37088; 3.70 GiB less were left in 0.18.0 than in 0.17.1 on one machine."""
    told = replace(model(), architecture=architecture), replace(ServeConfig(), vllm_version=version)
    assert delta_kernels(*told, device(GpuGroup(gpu=find_gpu("rtx5090"), count=1), told[1])) == mib * MIB


def test_no_other_card_keeps_memory_for_the_delta_rules_kernels():
    asked = replace(ServeConfig(), vllm_version="0.19")
    spec = replace(model(), architecture="Qwen3_5ForConditionalGeneration")
    cards = ("rtx4090", "h100", "a100-80gb", "mi300x", "b200")
    assert not any(delta_kernels(spec, asked, device(GpuGroup(gpu=find_gpu(card), count=1), asked)) for card in cards)


def test_every_card_of_12_x_has_its_multiprocessors_counted():
    assert all(row.multiprocessors for row in gpu_rows() if (row.compute_capability or "").startswith("12."))


def test_two_cards_on_pcie_take_what_was_measured_and_four_the_middle_of_what_was():
    """3090w-qwen3.6-35b-a3b-autoround-tp2 took 0.74 GiB of each card; of four, pro6000-4x-qwen3-235b-fp8 1.70, starts on L40S 0.2 to 0.7."""

    def outside(tp, outlook):
        return non_torch(config(tensor_parallel_size=tp), on(fitted=False), outlook) / GIB

    assert outside(2, Outlook.EXPECTED) == pytest.approx(0.74, abs=0.01)
    assert 0.2 < outside(4, Outlook.EXPECTED) < 1.0
    assert outside(4, Outlook.OPTIMISTIC) < 0.2
    assert outside(4, Outlook.CONSERVATIVE) > 1.7


def test_where_starts_took_less_than_the_causes_give_activations_shrink_with_what_lies_outside(coefficients):
    """A margin of -0.5 GiB: 0.125 of it is what lies outside, the rest is taken off the activations, down to nothing."""
    spared = on(most_margin_bytes=0, least_margin_bytes=-GIB // 2)
    batch = config(max_num_batched_tokens=65536)
    whole = overhead.overhead(Shapes(model(), batch), on(), Outlook.OPTIMISTIC)
    less = overhead.overhead(Shapes(model(), batch), spared, Outlook.OPTIMISTIC)
    assert (whole.non_torch_bytes, less.non_torch_bytes) == (GIB // 8, 0)
    assert whole.activation_bytes - less.activation_bytes == 3 * GIB // 8
    assert overhead.overhead(Shapes(model(), BATCH), spared, Outlook.OPTIMISTIC).activation_bytes == 0


def test_before_0_20_graphs_lie_outside_the_budget_where_the_profiled_activations_were(coefficients):
    since = overhead.overhead(Shapes(model(), BATCH), on(), Outlook.EXPECTED)
    before = overhead.overhead(Shapes(model(), config(vllm_version="0.19")), on(), Outlook.EXPECTED)
    assert (since.activation_bytes, since.cuda_graph_bytes, since.late_bytes) == (53_248_000, 402_653_184, 0)  # 0.375 GiB
    assert (before.activation_bytes, before.cuda_graph_bytes, before.late_bytes) == (53_248_000, 0, 402_653_184 - 53_248_000)
    large = overhead.overhead(Shapes(model(residual_streams=16), config(vllm_version="0.19")), on(), Outlook.EXPECTED)
    assert large.late_bytes == 0  # 655,360,000 of activations leave room for all graphs
    assert since.non_torch_bytes == before.non_torch_bytes == GIB // 4


@pytest.mark.parametrize(
    ("changed", "sizes"),
    [
        ({"max_num_seqs": 256}, 51),  # up to 512: 1, 2, 4, then 8 to 248 by 8 (31), 256 to 512 by 16 (17)
        ({"max_num_seqs": 16}, 7),  # up to 32: 1, 2, 4, 8, 16, 24, 32
        ({"max_num_seqs": 256, "max_cudagraph_capture_size": 128}, 19),  # 1, 2, 4, 8 to 128 by 8 (16)
        ({"max_num_seqs": 256, "vllm_version": "0.11"}, 67),  # before 0.12 every 8th above 256 too: 33 instead of 17
    ],
)
def test_captured_batch_sizes_are_those_up_to_twice_the_sequences(changed, sizes):
    card = GpuSpec(name="made", title="Made", vendor="nvidia", memory_type="gddr", memory_bytes=24 * GIB, cuda_total_bytes=23 * GIB, compute_capability=(8, 9))
    assert device(GpuGroup(gpu=card, count=1), config(**changed)).graph_sizes == sizes


@pytest.mark.parametrize(("name", "fitted", "nvlink"), [("h100", True, True), ("h200", False, True), ("rtx4090", False, False)])
def test_a_device_knows_its_card(name, fitted, nvlink):
    on_card = device(GpuGroup(gpu=gpu(name), count=2), config(tensor_parallel_size=2))
    assert (on_card.fitted, on_card.nvlink, on_card.shift_bytes) == (fitted, nvlink, None)


def test_a_device_tells_what_is_free_at_worst_and_usually_and_what_was_measured_here():
    """A 3090 under WSL2: 2160 MiB gone at worst, 1400 usually."""
    card = replace(gpu("rtx3090"), calibrated_shift_bytes=12_345)
    on_card = device(GpuGroup(gpu=card, count=1, host=Host.WSL2), config())
    assert [(on_card.total_bytes - size) // MIB for size in (on_card.surely_free_bytes, on_card.usually_free_bytes)] == [2160, 1400]
    assert on_card.shift_bytes == 12_345
    server = device(GpuGroup(gpu=card, count=1), config())
    assert on_card.most_margin_bytes - server.most_margin_bytes == 960 * MIB  # what Windows' programs may take meanwhile
    assert (on_card.margin_bytes, on_card.least_margin_bytes) == (server.margin_bytes, server.least_margin_bytes)

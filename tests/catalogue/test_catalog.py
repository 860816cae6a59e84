"""Every row of both catalogues: reachable by each of its names, sourced, consistent with its own architecture; faults name file and line."""

import json
import os
import re
from dataclasses import replace

import pytest
from conftest import DATA, config_model, run_plan

from planner import plan
from planner.catalogue import load
from planner.catalogue.build import ROOT, build
from planner.catalogue.resolve import find_source, source_bits
from planner.catalogue.shipped import FOLDER, shipped
from planner.catalogue.sizes import weights_bytes
from planner.catalogue.written import MOST_BYTES, read_gpus
from planner.catalogue.yaml_file import read_yaml
from planner.errors import PlannerError
from planner.facts.modules import Experts, Linear, Module
from planner.facts.variant import Variant

GPUS = list(load.gpu_rows())
MODELS = list(load.model_rows())
WRITTEN = {kind: {row["name"]: row for row in read_yaml(ROOT / f"{kind}.yaml", MOST_BYTES)} for kind in ("gpus", "models")}
VARIANTS = [load.Entry(row, variant) for row in MODELS for variant in row.variants]

FROZEN_OTHERWISE = {
    "kimi-k2-thinking": "in FP8; it is published in INT4",
    "llama-4-scout": "without its vision_config",
    "llama-4-maverick": "without its vision_config",
    "ling-mini-2.0": "with norms of q and k that have biases",
}
FROZEN_IN_16_BITS = ("devstral-2-123b", "devstral-small-2-24b", "ministral-3-3b", "ministral-3-8b", "mistral-medium-3.5-128b")  # published in FP8


def parameters(module: Module) -> int:
    """Numbers of a module, quantized or not."""
    match module:
        case Linear():
            outputs = sum(axis.size for axis in module.outputs)
            return outputs * module.inputs.size + (outputs if module.bias else 0)
        case Experts():
            bias = module.shards * module.intermediate + module.hidden if module.bias else 0
            return module.experts * (module.hidden * module.intermediate * (module.shards + 1) + bias)
        case _:
            total = 1
            for axis in module.axes:
                total *= axis.size
            return 0 if module.name.startswith("attn.") and not module.axes else total


def test_the_catalogues_are_as_large_as_promised():
    assert sum(row.vendor in ("nvidia", "amd") for row in GPUS) >= 45
    assert sum(row.vendor == "apple" for row in GPUS) >= 15
    assert len(MODELS) >= 60
    assert len({row.family for row in MODELS}) >= 25


@pytest.mark.parametrize("row", GPUS, ids=lambda row: row.name)
def test_every_gpu_is_reachable_and_sourced(row):
    size = f"-{row.memory_options_gb[0]}gb" if row.memory_options_gb else ""
    for name in (row.name, row.title, *row.aliases):
        assert load.find_gpu(name + size).name == row.name + size
    written = WRITTEN["gpus"][row.name]
    assert {"memory", "bandwidth"} <= set(written["sources"])
    assert all(source and not source.startswith(("MEM", "GUESS")) for source in written["sources"].values())
    assert re.fullmatch(r"2026-\d\d-\d\d", written["checked"])
    if row.vendor != "apple":
        spec = row.spec()
        assert spec.cuda_total_bytes <= spec.memory_bytes
        assert (row.vendor == "amd") == bool(spec.gfx)
        assert (row.vendor == "nvidia") == (spec.capability >= 60)


@pytest.mark.parametrize("entry", VARIANTS, ids=lambda entry: entry.name)
def test_every_model_is_reachable(entry):
    for name in (entry.name, entry.variant.repo):
        found = load.find_model(name)
        assert found is not None
        assert (found.row.name, found.variant.name) == (entry.row.name, entry.variant.name)


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_every_model_is_sourced_and_its_parameters_follow_from_its_architecture(row):
    spec = row.spec(next(variant for variant in row.variants if variant.default))
    counted = sum(parameters(m) for part in (spec.first, spec.tower, spec.last, spec.every) for m in part)
    counted += sum(parameters(m) * len(group.indices) for group in spec.layers for m in group.modules)
    assert counted == row.parameters
    assert WRITTEN["models"][row.name]["sources"]
    billions = re.search(r"(?:^|[-x])(\d+(?:\.\d+)?)b(?:-|$)", row.name)
    if billions and "x" not in row.name:
        assert row.parameters / 1e9 == pytest.approx(float(billions[1]), rel=0.65)  # "1b" of Granite 4.0 has 1.63, "2b" of Granite Vision 2.96


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_a_row_equals_what_its_whole_config_gives(row):
    """The row keeps only the keys that decide sizes; nothing may be lost."""
    default = next(variant for variant in row.variants if variant.default)
    if row.name in FROZEN_OTHERWISE:
        pytest.skip(f"frozen {FROZEN_OTHERWISE[row.name]}")
    if row.name in FROZEN_IN_16_BITS:
        default = replace(default, quantization={})
    repo = default.repo.removesuffix("-BF16") if row.name == "ministral-3-14b" else default.repo
    if not (DATA / "configs" / f"{repo.replace('/', '--')}.json").exists():
        pytest.skip("no whole config of this model is frozen")
    text = row.config.get("text_config", row.config)
    whole, derived = config_model(repo, no_window=text.get("sliding_window", 0) is None), row.spec(default)
    assert (derived.first, derived.tower, derived.layers, derived.last, derived.every) == (whole.first, whole.tower, whole.layers, whole.last, whole.every)
    assert derived.buffers == whole.buffers
    assert derived.max_position_embeddings == whole.max_position_embeddings
    assert derived.bidirectional_images == whole.bidirectional_images


def test_what_is_published_in_fp8_is_not_16_bits_here():
    entry = load.find_model("mistralai/Ministral-3-8B-Instruct-2512")
    assert entry.bits == 8
    assert 10_420_000_000 < weights_bytes(entry) < 10_430_000_000  # its file has 10,420,633,176


CONFIRMED = ("total", "checks", "holds", "hold", "loads", "bytes", "equal", "config.json", "recipe")


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_a_row_that_nothing_confirms_says_so(row):
    sources = " ".join(WRITTEN["models"][row.name]["sources"])
    assert row.typed or any(word in sources for word in CONFIRMED)


@pytest.mark.parametrize(("name", "typed"), [("qwen3-reranker-4b", True), ("kimi-k2.6", True), ("qwen3-8b", False)])
def test_an_answer_that_rests_on_typed_figures_says_so(name, typed):
    answer = plan(model=name, gpu="h200", count=8).to_dict()
    assert ("typed-config" in {warning["code"] for warning in answer["warnings"]}) is typed
    weights = next(line for line in answer["memory"]["lines"] if line["key"] == "weights")
    assert (weights["how"] == "exact") is (not typed)


def test_a_variant_may_have_keys_of_its_own():
    row = next(row for row in MODELS if row.name == "qwen3-vl-8b")
    own = Variant(name="wide", repo="me/wide", config={"text_config": {"intermediate_size": 16384}, "tie_word_embeddings": True})
    config = row.config_of(own)
    assert config["text_config"] == row.config["text_config"] | {"intermediate_size": 16384}
    assert config["tie_word_embeddings"]
    assert config["vision_config"] == row.config["vision_config"]
    assert "wide" not in row.config.get("text_config", {})
    assert row.spec(own).layers != row.spec(row.variants[0]).layers


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(PlannerError, match="not in the catalogue") as caught:
        load.find_gpu("rtx 4091")
    assert "rtx4090" in caught.value.hint


@pytest.mark.slow
def test_the_built_files_are_what_the_yaml_says():
    assert build(check=True) == [], "python -m planner.catalogue.build"


def test_a_row_is_parsed_when_it_is_asked_for():
    rows = shipped("models")["rows"]
    whole = json.loads((FOLDER / "models.json").read_text())["rows"]
    assert list(rows) == list(whole)
    assert rows["qwen3-8b"] == whole["qwen3-8b"]
    assert "qwen3-8b" in rows
    assert len(rows) == len(whole)


def test_what_is_written_for_people_only_is_not_built():
    for name in ("gpus", "models"):
        assert not any({"sources", "checked"} & row.keys() for row in shipped(name)["rows"].values())


GOOD = "- name: x\n  title: X\n  vendor: nvidia\n  memory_mib: 1024\n  bandwidth_gb_per_s: 1.0\n  sources: {memory: here}\n  checked: '2026-01-01'\n  memory: gddr\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("1024", "lots"), "gpus.yaml:4: memory_mib"),
        (GOOD + GOOD.replace("vendor: nvidia", "vendor: acme"), "gpus.yaml:11: vendor"),
        (GOOD + "  memory_mib: 2048\n", "gpus.yaml:9: the key 'memory_mib' appears twice"),
        (GOOD + "  colour: red\n", "gpus.yaml:9: colour"),
        (GOOD.replace("{memory: here}", "{memory: here"), "gpus.yaml:7"),
        (GOOD.replace("  memory: gddr\n", ""), "gpus.yaml:1: memory: Field required"),
        (GOOD.replace("memory: gddr", "memory: sdram"), "gpus.yaml:8: memory"),
        (GOOD.replace("1.0", "-1.0"), "gpus.yaml:5: bandwidth_gb_per_s: -1.0 is not above zero"),
        (GOOD.replace("1.0", ".inf"), "gpus.yaml:5: bandwidth_gb_per_s: inf is no number"),
        (GOOD.replace("name: x", "name: X 1"), "gpus.yaml:1: name: expected lower case"),
        (GOOD.replace("'2026-01-01'", "2026-01-01"), "gpus.yaml:7: checked: Input should be a valid string"),
        (GOOD + "  compute_capability: '9'\n", "gpus.yaml:9: compute_capability: expected MAJOR.MINOR"),
        (GOOD + "  cuda_total_gib: 1.5\n", "gpus.yaml:9: cuda_total_gib: more than memory_mib"),
        (GOOD + "  dense_tflops: {bf16: .nan}\n", "gpus.yaml:9: dense_tflops.bf16: nan is no number"),
        (GOOD + "  pcie: {generation: 4, lanes: 3}\n", "gpus.yaml:9: pcie.lanes"),
        (GOOD + GOOD.replace("title: X", "title: Y"), "gpus.yaml:9: the name 'x' is x's"),
        ("gpu: x\n", "gpus.yaml: expected a list of rows"),
        ("- 1\n", "gpus.yaml:1: Input should be"),
        (GOOD.replace("  checked: '2026-01-01'\n", ""), "gpus.yaml:1: checked is missing"),
    ],
)
def test_a_fault_is_named_with_file_and_line(text, says, tmp_path):
    path = tmp_path / "gpus.yaml"
    path.write_text(text)
    with pytest.raises(PlannerError, match=re.escape(says)):
        read_gpus(path, sourced=True)


@pytest.mark.parametrize(
    "words",
    [
        ("-f", "/dev/zero"),
        ("--model", "qwen3-8b", "--prices", "/dev/zero"),
        ("--gpu", "rtx4090", "--model", "/dev/zero"),
        ("--gpu", "rtx4090", "--model", "pipes"),
        ("--gpu", "rtx4090", "--model", "pipes/x.gguf"),
        ("--gpu", "rtx4090", "--engine", "llama.cpp", "--model", "pipes/x.gguf"),
        ("--gpu", "rtx4090", "--model", "shards"),
        ("--gpu", "rtx4090", "--model", "index"),
        ("emit", "pipes/config.json"),
    ],
)
def test_what_is_no_file_is_never_waited_for(words, tmp_path):
    config = (DATA / "configs" / "Qwen--Qwen3-8B.json").read_bytes()
    for folder, pipes in (("pipes", ("config.json", "x.gguf")), ("shards", ("model.safetensors",)), ("index", ("model.safetensors.index.json",))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_bytes(config) if folder != "pipes" else None
        for name in pipes:
            os.mkfifo(tmp_path / folder / name)
    done = run_plan(*words, "--dry-run" if words[0] != "emit" else "--force", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


@pytest.mark.parametrize("text", ["? [a]\n: 1\n", "? {a: 1}\n: 1\n", "gpu: {? [a] : 1}\n", "- ? [a, b]\n  : 1\n", "? - a\n  - b\n: 1\n"])
@pytest.mark.parametrize("words", [("-f", "x.yaml"), ("--model", "qwen3-8b", "--prices", "x.yaml")])
def test_a_key_that_is_no_text_is_one_line_with_its_place(text, words, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    done = run_plan(*words, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "x.yaml:1: a key is no text" in done.stderr


@pytest.mark.parametrize("where", ["config.json", "hf_quant_config.json"])
def test_quant_algo_without_a_method_is_modelopt(tmp_path, where):
    config = json.loads((ROOT / "tests" / "data" / "configs" / "Qwen--Qwen3-8B.json").read_text())
    algorithm = {"quant_algo": "FP8"}
    (tmp_path / "config.json").write_text(json.dumps(config | ({"quantization_config": algorithm} if where == "config.json" else {})))
    if where != "config.json":
        (tmp_path / where).write_text(json.dumps({"quantization": algorithm}))
    source = find_source(str(tmp_path))
    assert source.spec.quantization == "modelopt"
    assert source_bits(source) == 8


def test_what_others_publish_is_known_by_its_name_and_offered_to_nobody():
    entry = load.find_model("RedHatAI/Qwen3-32B-NVFP4")
    assert entry is not None
    assert entry.row.name == "qwen3-32b"
    assert entry.bits == 4
    assert not entry.variant.is_the_model
    offered = find_source("qwen3-32b").market.variants
    assert {name for name, _ in offered} == {f"qwen3-32b-{name}" for name in ("fp8", "awq", "fp8-tensor", "nvfp4")}
    assert find_source("RedHatAI/Qwen3-32B-NVFP4").repo == "RedHatAI/Qwen3-32B-NVFP4"


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("mistal-7b", "mistral-7b"),
        ("olmo-3", "olmo-3-7b"),
        ("r1-distill", "deepseek-r1-distill-qwen-7b"),
        ("qwen 2.5 coder 32b", "qwen2.5-coder-32b"),
        ("baichuan", ""),  # nothing known looks like it: a name of another model is no help
        ("zzzz", ""),
    ],
)
def test_an_unknown_name_is_told_those_that_look_like_it_alone(name, first):
    hint = load.unknown_model(name).hint
    assert hint.startswith(f"did you mean {first}" if first else "`plan list models` names all"), hint

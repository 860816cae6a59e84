"""The recipes of CONTRIBUTING.md, carried out: each on a copy of the program, with the files and commands that it names and no others."""

import ast
import json
import re
import shutil

import pytest
from checkout import RECIPES, Checkout, files
from conftest import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
ASKED = ("--gpu", "rtx4090", "--context", "8k", "--dry-run")
MADE = {
    "planner/emit/NAME.py",
    "planner/engines/NAME/__init__.py",
    "tests/data/shared_starts/ID.json",
    "settings.py",
    "settings_table.py",
    "stack.sh",
    ".venv",
    ".venv/bin/",
}  # made by a recipe, or one of several of that name
MODULE = re.compile(r"python -m ([\w.]+)")
ATTENTION = "planner/facts/attention.py"


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_every_file_and_command_named_is_there():
    named = set(re.findall(r"`([\w./*-]+(?:\.\w+|/))`", CONTRIBUTING)) - MADE
    assert len(named) > 30
    assert not [name for name in named if not name.startswith("~") and not list(ROOT.glob(name))]
    modules = set(MODULE.findall(CONTRIBUTING))
    homes = {module: ROOT.joinpath(*module.split(".")) for module in modules - {"venv"}}
    assert not [module for module, home in homes.items() if not home.with_suffix(".py").is_file() and not home.is_dir()]
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    assert set(re.findall(r"(?m)(?:^|`)make ([a-z]+)(?=`|  )", CONTRIBUTING)) <= targets


def test_every_recipe_is_carried_out_somewhere():
    tests = (ROOT / "tests/test_recipes.py").read_text() + (ROOT / "tests/engines/vllm/test_a_new_setting.py").read_text()
    assert len(RECIPES) == 10
    assert not [name for name in RECIPES if f'files("{name}")' not in tests]


@pytest.mark.slow
def test_a_gpu(checkout):
    row = """- name: toy-40gb
  title: Toy 40 GB
  vendor: nvidia
  memory: gddr
  memory_mib: 40960
  cuda_total_gib: 39.5
  compute_capability: '8.9'
  bandwidth_gb_per_s: 1500
  dense_tflops: {bf16: 250.0, fp8: 500.0}
  power_w: 300
  sources: {memory: a log, cuda_total: a log, bandwidth: its makers, tflops: its makers, power: its makers}
  checked: '2026-11-27'
"""
    checkout.replace("gpus.yaml", r"\Z", row)
    assert "gpus.json: not as the YAML is" in checkout.run("-m", "planner.catalogue.build", "--check").stderr
    checkout.run_commands("A GPU")
    assert checkout.edited == files("A GPU")
    answer = checkout.answer("--gpu", "toy40gb", "--model", "qwen3-8b", "--context", "8k")
    assert answer["verdict"] == "starts"
    assert answer["hardware"]["gpu"] == "toy-40gb"
    assert answer["hardware"]["memory_total_bytes"] == 40960 * 2**20
    assert answer["memory"]["requested_bytes"] <= 39.5 * 2**30
    assert "Toy 40 GB" in checkout.plan("list", "gpus")


@pytest.mark.slow
def test_a_model(checkout):
    row = re.search(r"(?ms)^- name: smollm3-3b\n.+?(?=^- name|\Z)", (checkout.folder / "models.yaml").read_text())
    renamed = row[0].replace("smollm3-3b", "toy-3b").replace("HuggingFaceTB/SmolLM3-3B", "toys/Toy-3B").replace("SmolLM3 3B", "Toy 3B")
    checkout.replace("models.yaml", r"\Z", renamed)
    checkout.run_commands("A model")
    assert checkout.edited == files("A model")
    answer = checkout.answer(*ASKED, "--model", "toy-3b")
    assert answer["verdict"] == "starts"
    assert "toys/Toy-3B" in answer["commands"][0]["argv"]


def name_family(checkout, name, layers):
    checkout.behind("planner/architecture/families/__init__.py", r'(?m)^    "dense": """\n', f"        {name}\n")
    checkout.behind("planner/architecture/families/dense.py", r"(?m)^FAMILIES\b.*\{\n", f'    "{name}": Family(layers={layers}, name="toy"),\n')


def test_an_architecture(checkout):
    assert "ToyForCausalLM" in checkout.plan(*ASKED, "--model", checkout.model(architectures=["ToyForCausalLM"]))
    name_family(checkout, "ToyForCausalLM", "text.llama(qk_norm=True)")
    assert checkout.edited == files("An architecture")
    assert checkout.answer(*ASKED, "--model", "./model")["model"]["architecture"] == "ToyForCausalLM"


def test_a_quantization(checkout):
    formats, reader, versions = "planner/architecture/formats.py", "planner/architecture/quantization.py", "planner/engines/vllm/versions.py"
    checkout.model(quantization_config={"quant_method": "toyq"})
    assert "quantization method 'toyq' is not supported" in checkout.plan(*ASKED, "--model", "./model")
    checkout.behind(formats, r"(?m)^NVFP4 = .*\n", 'TOYQ = Storage(name="toyq", planes=(Plane(4), Plane(8, 1, 64)))\n')
    checkout.replace(reader, r"    UNQUANTIZED,\n", "    TOYQ,\n    UNQUANTIZED,\n")
    checkout.behind(reader, r"    readers: .*\{\n", '        "toyq": _toyq,\n')
    checkout.replace(
        reader,
        r"(?m)^def _fp8",
        """def _toyq(config: Config) -> Quantization:
    return Quantization("toyq", lambda names, target: BF16 if target is Target.HEAD else TOYQ, TOYQ)


def _fp8""",
    )
    checkout.behind(versions, r"MINIMUM_CAPABILITY = \{\n", '    "toyq": ((OLDEST, 80), (30, 75)),\n')
    assert checkout.edited == files("A quantization")
    answer = checkout.answer(*ASKED, "--model", "./model")
    assert answer["model"]["quantization"] == "toyq"
    plain = checkout.answer(*ASKED, "--model", "qwen3-8b")
    ends = 2 * 151_936 * 4096 * 2  # embedding and head
    linear = 36 * (4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 4096 * 12_288)
    assert plain["memory"]["weights_bytes"] - answer["memory"]["weights_bytes"] == linear * 2 - (linear // 2 + linear // 64)
    assert answer["memory"]["weights_bytes"] - ends - linear // 2 - linear // 64 < 2**20  # norms
    command = "vllm serve ./model --quantization toyq --max-model-len 4096"
    assert "needs compute capability 8.0" in checkout.plan("check", "--gpu", "t4", "--vllm-version", "0.29", command)
    assert "needs compute capability" not in checkout.plan("check", "--gpu", "t4", "--vllm-version", "0.30", command)


KIND = '''@dataclass(frozen=True, slots=True, kw_only=True)
class HalvedAttention:
    """Keys and values of every second token."""

    kv_heads: int
    head_dim: int


Attention = HalvedAttention | '''
HALVED = {  # what each function says of it, by file and name
    (ATTENTION, "cache_kind"): "return CacheKind.PER_HEAD",
    (ATTENTION, "per_head"): "return None",
    (ATTENTION, "window"): "return None",
    (ATTENTION, "has_sinks"): "return False",
    ("planner/engines/shards.py", "token_bytes"): "return _local_heads(attention.kv_heads, tp) * attention.head_dim * layout.bits // 8",
    ("planner/engines/work.py", "_read"): "return CacheRead(bytes_per_token=layers * token_bytes(cache, tp, layout), flops_per_pair=0)",
    ("planner/engines/vllm/kvcache.py", "group_blocks"): "return ceil_div(max_model_len, group.block_size)",
    ("planner/engines/vllm/kvcache.py", "page_bytes"): "return block_size * token_bytes(attention, tp, layout)",
    ("planner/engines/vllm/kvcache.py", "_slots"): 'return "all", spec.block_size',
    ("planner/engines/llamacpp/memory.py", "cache_bytes"): "return config.cells * attention.kv_heads * attention.head_dim // elements * size",
    ("planner/engines/llamacpp/memory.py", "keys_and_values"): "return whole, whole",
    ("planner/engines/llamacpp/compute.py", "_copied"): "return 0",
    ("planner/engines/llamacpp/flows.py", "_mixer"): "return _attention(model, rows, cache, out)",
    ("planner/engines/llamacpp/ollama.py", "_kv_heads"): "return cache.kv_heads",
    ("planner/engines/llamacpp/ollama_own.py", "_takes_flash"): "return False",
    ("planner/engines/llamacpp/ollama_estimate.py", "_cache_bytes"): "return int(tokens * cache.kv_heads * cache.head_dim * width)",
    ("planner/engines/mlx/prefill.py", "_scores"): "return 0, 0, 0, 0",
    ("planner/engines/mlx/memory.py", "cache_bytes"): "return int(held * attention.kv_heads * attention.head_dim * bits / 8)",
}
BUILDER = '''def halved(config: Config, dims: Dims) -> LayerBuilder:
    """Llama with every second token."""
    build = llama(qk_norm=True)(config, dims)
    return lambda scope, index: replace(build(scope, index), attention=(HalvedAttention(kv_heads=dims.kv_heads, head_dim=dims.head_dim),))


def hyperclova'''


def undecided(checkout):
    """Functions with a `match` over all kinds of attention, each with the line of its last case."""
    kinds = set(re.findall(r"\w+", re.search(r"(?m)^Attention = (.+)$", (ROOT / ATTENTION).read_text())[1]))
    for path in sorted((checkout.folder / "planner").rglob("*.py")):
        for function in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)):
            for node in (node for node in ast.walk(function) if isinstance(node, ast.Match)):
                classes = {part.cls.id for case in node.cases for part in ast.walk(case.pattern) if isinstance(part, ast.MatchClass)}
                if classes & kinds:
                    assert classes == kinds, f"{path}: {function.name} leaves out {kinds - classes}"
                    assert "assert_never" in ast.unparse(node.cases[-1])
                    yield (str(path.relative_to(checkout.folder)), function.name), node.cases[-1].pattern.lineno


def decide(checkout):
    """A case in each function."""
    lines = dict(undecided(checkout))
    assert lines.keys() == HALVED.keys()
    for (name, function), line in sorted(lines.items(), key=lambda item: -item[1]):
        rows = (checkout.folder / name).read_text().splitlines(keepends=True)
        rows.insert(line - 1, f"        case HalvedAttention():\n            {HALVED[name, function]}\n")
        (checkout.folder / name).write_text("".join(rows))
        checkout.edited.add(name)
    for name in {name for name, _ in HALVED} - {ATTENTION} | {"planner/architecture/text.py"}:
        checkout.behind(name, r"from __future__ import annotations\n", "from planner.facts.attention import HalvedAttention\n")


def add_kind(checkout):
    checkout.replace(ATTENTION, r"(?m)^Attention = ", KIND)


def build_with_it(checkout):
    checkout.replace("planner/architecture/text.py", r"(?m)^def hyperclova", BUILDER)
    name_family(checkout, "HalvedForCausalLM", "text.halved")
    checkout.behind("planner/engines/llamacpp/classes.json", r' "converted": \[\n', '  "HalvedForCausalLM",\n')


@pytest.mark.slow
def test_an_attention_kind(checkout):
    decide(checkout)
    add_kind(checkout)
    build_with_it(checkout)
    assert checkout.edited == files("An attention kind")
    answer = checkout.answer(*ASKED, "--model", checkout.model(architectures=["HalvedForCausalLM"]))
    plain = checkout.answer(*ASKED, "--model", "qwen3-8b")
    assert answer["memory"]["weights_bytes"] == plain["memory"]["weights_bytes"]
    assert answer["memory"]["kv_block_bytes"] * 2 == plain["memory"]["kv_block_bytes"]
    assert answer["speed"]
    for engine in ("ollama", "mlx"):
        assert checkout.answer("--gpu", "m4-max-64gb" if engine == "mlx" else "rtx4090", "--engine", engine, "--context", "8k", "--model", "./model")


@pytest.mark.slow
def test_mypy_names_every_place_that_an_attention_kind_must_decide(checkout):
    pytest.importorskip("mypy", reason="mypy is not here: pip install -e '.[lint]'")
    add_kind(checkout)
    open_places = dict(undecided(checkout))
    told = checkout.run("-m", "mypy", "--cache-dir", str(checkout.folder / "cache"))
    told_lines = set(re.findall(r'(?m)^(\S+?):(\d+): error: Argument 1 to "assert_never" has incompatible type "HalvedAttention"', told.stdout))
    assert told_lines == {(name, str(line + 1)) for (name, _), line in open_places.items()}, told.stdout
    decide(checkout)
    build_with_it(checkout)
    done = checkout.run("-m", "mypy", "--cache-dir", str(checkout.folder / "cache"))
    assert done.returncode == 0, done.stdout


def test_an_engine(checkout):
    checkout.make("planner/engines/toy/__init__.py", (ROOT / "tests/made_up_engine/__init__.py").read_text())
    checkout.behind("planner/engines/__init__.py", r"(?m)^ENGINES: .*\n    \{\n", '        "toy": "planner.engines.toy:TOY",\n')
    assert checkout.edited == {name.replace("NAME", "toy") for name in files("An engine")}
    assert checkout.answer(*ASKED, "--model", "qwen3-8b", "--engine", "toy")["engine"]["name"] == "toyserve"
    assert "toyserve" in checkout.plan(*ASKED, "--model", "qwen3-8b", "--engine", "toy")


def test_an_output(checkout):
    checkout.make(
        "planner/emit/toy.py",
        '''"""Toy."""

from planner.facts.deployment import Deployment


def toy_files(deployment: Deployment) -> dict[str, str]:
    """What is served, a line each."""
    return {"toy.txt": "".join(f"{service.served_name} {service.port}\\n" for service in deployment.services)}
''',
    )
    checkout.behind("planner/emit/__init__.py", r"(?m)^FORMATS: .*\n", '    "toy": ("toy", "toy_files", "a toy"),\n')
    assert checkout.edited == {name.replace("NAME", "toy") for name in files("An output")}
    checkout.plan("--gpu", "rtx4090", "--model", "qwen3-8b", "--context", "8k", "--to", "toy", "--output", "made")
    assert (checkout.folder / "made/toy.txt").read_text() == "qwen3-8b 8000\n"
    assert "a toy" in checkout.plan("emit", "--help")
    (checkout.folder / "made/toy.txt").unlink()
    checkout.plan("emit", "made", "--to", "toy")
    assert (checkout.folder / "made/toy.txt").is_file()


@pytest.mark.slow
def test_a_start(checkout):
    for folder in ("benchmarks", "tests/data"):
        shutil.copytree(ROOT / folder, checkout.folder / folder, ignore=shutil.ignore_patterns("__pycache__"))
    log = next((ROOT / "tests/data/logs").glob("qwen-qwen3-8b*"))
    (checkout.folder / "server.log").write_text(log.read_text().replace("57.5 GiB", "52.5 GiB"))  # five more than any start of an H100 took
    told = json.loads(checkout.plan("explain", "server.log", "--gpu", "h100", "--share"))
    checkout.make(f"tests/data/shared_starts/{told['id']}.json", json.dumps(told))
    margins = json.loads((checkout.folder / "planner/engines/vllm/overhead.json").read_text())["classes"]["fit"]
    checkout.run_commands("A start")
    assert {name.replace(told["id"], "ID") for name in checkout.edited} == files("A start")
    wider = json.loads((checkout.folder / "planner/engines/vllm/overhead.json").read_text())["classes"]["fit"]
    assert wider["starts"] == margins["starts"] + 1
    assert wider["single_gib"][1] >= margins["single_gib"][1]


@pytest.mark.slow
def test_a_vllm_release(checkout):
    versions, settings, flags = "planner/engines/vllm/versions.py", "planner/engines/vllm/settings_table.py", "planner/engines/vllm/flags.json"
    newest = int(re.search(r"OLDEST, NEWEST = \d+, (\d+)", (checkout.folder / versions).read_text())[1])
    old, new = f"0.{newest}", f"0.{newest + 1}"
    asked = ("check", "--gpu", "rtx4090", "--vllm-version")
    command = "vllm serve Qwen/Qwen3-8B --max-model-len 8192"
    assert f"'{new}' is not one of" in checkout.plan(*ASKED, "--model", "qwen3-8b", "--vllm-version", new)
    checkout.replace(versions, r"(OLDEST, NEWEST = \d+), \d+", rf"\g<1>, {newest + 1}")
    checkout.replace(versions, r'"auto_awq": \(\(OLDEST, 75\),\)', rf'"auto_awq": ((OLDEST, 75), ({newest + 1}, 80))')
    checkout.replace(settings, r'default=0.92,\n        earlier=\(\("0.20", 0.90\),\)', f'default=0.94,\n        earlier=(("0.20", 0.90), ("{new}", 0.92))')
    checkout.replace("planner/engines/vllm/settings.py", r"gpu_memory_utilization: float = 0.92", "gpu_memory_utilization: float = 0.94")
    checkout.behind(flags, r'\{"flags": \{\n', f' "--toy-cache": {{"takes": 1, "reads": "int", "since": "{new}"}},\n')
    assert checkout.edited == files("A vLLM release")
    assert checkout.answer(*asked, old, command)["settings"]["gpu_memory_utilization"] == 0.92
    newer = checkout.answer(*asked, new, command)
    assert newer["settings"]["gpu_memory_utilization"] == 0.94
    assert newer["engine"]["version"] == new
    assert "--toy-cache" in checkout.plan(*asked, old, f"{command} --toy-cache 3")
    assert [problem["code"] for problem in checkout.answer(*asked, old, f"{command} --toy-cache 3")["problems"]] == ["unknown-flag"]
    assert not checkout.answer(*asked, new, f"{command} --toy-cache 3")["problems"]
    turing = ("check", "--gpu", "t4", "vllm serve Qwen/Qwen3-8B-AWQ --max-model-len 4096", "--vllm-version")
    assert "needs compute capability 8.0" in checkout.plan(*turing, new)
    assert "needs compute capability" not in checkout.plan(*turing, old)
    assert checkout.answer(*ASKED, "--model", "qwen3-8b")["engine"]["version"] == new
    assert f"0.11..{new}" in checkout.plan("--help-all")

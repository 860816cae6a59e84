"""`plan check`: commands as people have them, judged in vLLM's terms."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest
from conftest import ROOT, gpu, run_plan
from hypothesis import assume, given, settings
from strategies import groups, models

from benchmarks import consumer
from benchmarks.cards import kinds_of_cards
from benchmarks.starts import starts
from planner.catalogue import resolve
from planner.catalogue.load import find_model
from planner.engines.vllm.check import check
from planner.engines.vllm.choice import Request
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.judged import judge as vllm_judge
from planner.engines.vllm.plan import make_plan
from planner.engines.vllm.settings import Pins
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS, nearest_version, newest_for
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.facts.verdict import Verdict
from planner.grid.servers import Machines, servers
from planner.questions.find_commands import find_commands
from planner.report.schemas import json_schema
from planner.units import GIB

SERVE = "vllm serve Qwen/Qwen3-8B"
FOUND = {
    "a line": (f"{SERVE} -tp 2 --max-model-len 32K", ["Qwen/Qwen3-8B", "-tp", "2", "--max-model-len", "32K"]),
    "continued": (f"{SERVE} \\\n  --port 8000 \\\n  --max-num-seqs=8  # people\n", ["Qwen/Qwen3-8B", "--port", "8000", "--max-num-seqs=8"]),
    "redirected": (f"nohup {SERVE} --port 8000 > log.txt 2>&1 &", ["Qwen/Qwen3-8B", "--port", "8000"]),
    "chained": (f"cd /x && source v/bin/activate; CUDA_VISIBLE_DEVICES=0 {SERVE} | tee log", ["Qwen/Qwen3-8B"]),
    "module": ("python -m vllm.entrypoints.openai.api_server --model a/b --port 1", ["--model", "a/b", "--port", "1"]),
    "variables": ('MODEL="a/b"\nexport N=2\n/opt/vllm serve $MODEL -tp ${N} --port ${PORT:-8000}', ["a/b", "-tp", "2", "--port", "8000"]),
    "array": ('args=(\n  a/b\n  --max-model-len 4096 # why\n)\nvllm serve "${args[@]}" &', ["a/b", "--max-model-len", "4096"]),
    "docker": ("docker run --gpus all -v x:/y vllm/vllm-openai:v0.19.1 --model a/b --enforce-eager", ["--model", "a/b", "--enforce-eager"]),
    "compose": ("services:\n  chat:\n    image: vllm/vllm-openai:v0.20.0\n    command: [--model, a/b, -tp, 2]\n", ["--model", "a/b", "-tp", "2"]),
    "compose shell": ("services:\n  c:\n    image: x\n    entrypoint: sh -c\n    command: ['vllm serve a/b --port 1']\n", ["a/b", "--port", "1"]),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_server_is_found_however_it_is_started(name):
    text, words = FOUND[name]
    (found,) = find_commands(text)
    assert list(found.words) == words


def test_a_command_substitution_is_never_run(tmp_path):
    done = run_plan("check", f"vllm serve $(touch {tmp_path}/pwned; echo Qwen/Qwen3-8B)", "--gpu", "rtx4090", cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "pwned").exists()


def test_our_own_script_is_found_again():
    for script in ROOT.glob("outputs/*/serve.sh"):
        (found,) = find_commands(script.read_text())
        plan = json.loads(script.with_name("plan.json").read_text())
        assert ["vllm", "serve", *found.words] == plan["commands"][0]["argv"]


def judge(command, group, version=None):
    """What vLLM makes of a found command."""
    return vllm_judge(replace(command, version=version or command.version), group, resolve)


def checked(command: str, gpu_name: str = "rtx4090", count: int = 1, version: str | None = None):
    (found,) = find_commands(command)
    return judge(found, GpuGroup(gpu=gpu(gpu_name), count=count), version)


ORDINARY = (
    *("qwen3-8b", "qwen3-8b-awq", "qwen3-32b", "gemma-3-12b", "gemma-3-27b", "gpt-oss-20b", "deepseek-v2-lite", "llama-3.1-8b", "granite-4.0-h-small"),
    *("qwen3-vl-8b", "qwen3-embedding-0.6b", "deepseek-v3.2", "qwen3-next-80b-a3b", "kimi-k2", "minimax-m2", "llama-4-scout", "nomic-embed-text-v1.5"),
    *("mistral-7b", "gemma-4-e4b", "phi-4"),
)
ORDINARILY = (
    "vllm serve {} --max-model-len 8192",
    "vllm serve {} --max-model-len 2048 --kv-cache-dtype fp8",
    "vllm serve {} --max-model-len 512 --gpu-memory-utilization 0.95",
    "vllm serve {} -tp 2 --max-model-len 32k",
)


def gets_a_verdict(card, model, command):
    (found,) = find_commands(command.format(model))
    answer = judge(found, GpuGroup(gpu=card, count=2))
    assert answer.verdict in Verdict
    assert answer.verdict.falls_short == bool(answer.problems)


CARDS = kinds_of_cards()


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_ordinary_questions_get_a_verdict(card):
    """Every second model on a card, the others on the next: each command of each model on one card in eight."""
    index = CARDS.index(card)
    for number in range(index % 2, len(ORDINARY), 2):
        gets_a_verdict(card, ORDINARY[number], ORDINARILY[(number // 2 + index // 2) % len(ORDINARILY)])


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_ordinary_question_gets_a_verdict(card):
    for model in ORDINARY:
        for command in ORDINARILY:
            gets_a_verdict(card, model, command)


@pytest.mark.parametrize("card", [card for card in CARDS if card.vendor == "nvidia" and card.memory_bytes > 7 * GIB], ids=lambda card: card.name)
def test_a_card_starts_only_with_releases_that_hold_kernels_for_it(card):
    """What `plan`, `check` and the grid say of a small model on the newest release and on the newest that holds the card."""
    group, model = GpuGroup(gpu=card, count=1), find_model("qwen3-0.6b").spec()
    newest = newest_for(card.capability)
    assert newest is not None
    (found,) = find_commands("vllm serve qwen3-0.6b --max-model-len 512 --gpu-memory-utilization 0.7")
    held = newest == DEFAULT_VERSION
    assert (judge(found, group).verdict == "starts") == held
    assert judge(found, group, newest).verdict == "starts"
    assert (servers("qwen3-0.6b", model, Machines(gpus=(card,), counts=(1,)), (512,)) is not None) == held
    if not held:
        assert newest in judge(found, group).problems[0].fix
        with pytest.raises(PlannerError, match="compute capability") as refused:
            make_plan(Request(model=model, group=group), repo="a/b", served_name="b")
        assert newest in refused.value.hint


def test_a_tower_that_each_rank_holds_whole_need_not_be_divided():
    """12 heads of GLM-4.5V's tower over 8 ranks: vLLM's recipe gives each rank its own images (vision.py of 0.33)."""
    command = "vllm serve zai-org/GLM-4.5V --tensor-parallel-size 8"
    refused = checked(command, "h100", 8)
    assert [(problem.code, problem.fix) for problem in refused.problems] == [("not-divisible", "--mm-encoder-tp-mode data")]
    assert checked(f"{command} --mm-encoder-tp-mode data", "h100", 8).verdict == Verdict.STARTS


@pytest.mark.slow
def test_plans_own_commands_get_their_verdict_back_on_every_card():
    """Also where the plan does not start and changes are looked for, FP8 on cards that refuse it among them."""
    for card in CARDS:
        for name in ("qwen3-8b", "qwen3-32b", "gemma-3-27b"):
            request = Request(
                model=find_model(name).spec(), group=GpuGroup(gpu=card, count=1), pins=Pins(vllm_version=newest_for(card.capability) or DEFAULT_VERSION)
            )
            try:
                plan = make_plan(request, repo=name, served_name=name)
            except PlannerError:
                continue
            (found,) = find_commands(" ".join(plan.argv))
            assert judge(found, request.group, request.pins.vllm_version).verdict == plan.verdict


PROBLEMS = [
    (f"{SERVE} --swap-space 4", "unknown-flag", "no longer knows --swap-space"),
    (f"{SERVE} --max-modle-len 4096", "unknown-flag", "has no flag --max-modle-len"),
    (f"{SERVE} --gpu-memory-utilization 1.2", "bad-value", "at most 1"),
    (f"{SERVE} --max-num-seqs 0", "bad-value", "above 0"),
    (f"{SERVE} --max-model-len 1M", "bad-value", "greater than the model's 40960"),
    (f"{SERVE} --kv-cache-dtype int8", "bad-value", "int8 is not known"),
    (f"{SERVE} -tp 2", "bad-value", "2 GPUs are asked for, there is 1"),
    (f"{SERVE} --quantization awq", "unsupported", "not quantized"),
    (f"{SERVE} --gpu-memory-utilization 0.99", "free-memory", "free at start"),
    (f"{SERVE} --gpu-memory-utilization 0.5", "no-kv-memory", "nothing is left"),
    (f"{SERVE} --gpu-memory-utilization 0.8 --max-num-seqs 8", "kv-cache-too-small", "40,960 tokens needs 5.62 GiB"),
    ("vllm serve Qwen/Qwen3-32B", "out-of-memory", "the weights alone take 61.0"),
]


@pytest.mark.parametrize(("command", "code", "says"), PROBLEMS)
def test_the_limit_is_named_in_vllms_terms_and_a_fix_offered(command, code, says):
    answer = checked(command)
    assert answer.verdict == "does_not_start"
    problem = answer.problems[0]
    assert problem.code == code
    assert says in problem.message
    assert problem.fix


def test_what_only_the_shell_knows_is_no_fault_where_it_does_not_matter():
    answer = checked(f'{SERVE} --max-model-len 4096 --port $PORT --seed ${{SEED}} --uvicorn-log-level $LEVEL "$@" $EXTRA')
    assert (answer.verdict, answer.problems) == ("starts", ())


def test_every_offered_change_makes_it_start():
    command = f"{SERVE} --gpu-memory-utilization 0.7 --max-num-seqs 8"
    answer = checked(command)
    assert len(answer.plan.alternatives) >= 2
    for alternative in answer.plan.alternatives:
        flag = alternative.arguments.split()[0]
        again = re.sub(rf"{flag} \S+", "", command) + " " + alternative.arguments
        assert checked(again).verdict == "starts", again


def test_a_flag_is_judged_by_the_release_that_runs():
    assert checked(f"{SERVE} --swap-space 4 --max-model-len 8192", version="0.11").verdict == "starts"
    answer = checked(f"{SERVE} --max-model-len 8192 --optimization-level 2", version="0.11")
    assert "came with vLLM" in answer.problems[0].message


FITS, TOO_LARGE, TOO_MUCH = f"{SERVE} --max-model-len 4096", "vllm serve Qwen/Qwen3-32B --max-model-len 8192", f"{SERVE} --gpu-memory-utilization 0.99"
ADDS = ('--kv-transfer-config \'{"kv_connector": "x", "kv_role": "kv_both"}\'', "--enable-prompt-embeds")
LOWERS = ("--mm-encoder-only",)
EITHER = (
    "--hf-overrides '{\"a\": 1}'",
    "--attention-backend CUSTOM",
    "--mamba-block-size 64 --worker-cls a.B",
)


@pytest.mark.parametrize(
    ("flag", "fits", "too_large"),
    [
        *((flag, "unknown", "does_not_start") for flag in ADDS),
        *((flag, "starts", "unknown") for flag in LOWERS),
        *((flag, "unknown", "unknown") for flag in EITHER),
    ],
)
def test_what_the_ledger_does_not_hold_is_named_and_never_guessed(flag, fits, too_large):
    """A flag that only adds leaves a refusal, one that only lowers leaves a start; what nothing could mend stays, whatever is not known."""
    for command, verdict in ((FITS, fits), (TOO_LARGE, too_large)):
        answer = checked(f"{command} {flag}")
        assert answer.verdict == verdict, command
        assert any(one.flag.split()[0].startswith(("--", flag.split()[0])) for one in answer.not_covered)
        assert bool(answer.problems) == (verdict == "does_not_start")
    for certain in (TOO_MUCH, f"{FITS} --nothing", f"{FITS} -tp 2", f"{FITS} --seed x"):
        assert checked(f"{certain} {flag}").verdict == "does_not_start", certain


@pytest.mark.parametrize(
    "flag",
    ["--data-parallel-size 1", "--cpu-offload-gb 0", "--no-enable-lora", "--attention-backend FLASH_ATTN", "--block-size 16", "--mm-encoder-tp-mode data"],
)
def test_a_flag_that_asks_for_what_is_taken_anyway_is_no_question(flag):
    answer = checked(f"{FITS} {flag}")
    assert (answer.verdict, answer.not_covered) == ("starts", ())


def test_an_unknown_answer_has_its_exit_code_its_name_and_what_is_known(tmp_path):
    done = run_plan("check", f"{TOO_LARGE} --mm-encoder-only", "--gpu", "rtx4090", "--format", "json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    jsonschema.validate(answer, json_schema("check"))
    assert (done.returncode, answer["verdict"], answer["not_covered"], answer["problems"]) == (4, "unknown", ["--mm-encoder-only"], [])
    assert answer["memory"]["weights_bytes"] > 60 * 2**30
    text = run_plan("check", f"{TOO_LARGE} --mm-encoder-only", "--gpu", "rtx4090", cwd=tmp_path).stdout
    assert "cannot be said" in text.splitlines()[0]
    assert text.splitlines()[1].startswith("? --mm-encoder-only: a server without the language model is not in the ledger")
    assert text.count("not in the ledger") == 1


SHOWN = [
    (f"CUDA_VISIBLE_DEVICES=0 {FITS} -tp 2", False),
    (f"CUDA_VISIBLE_DEVICES=0,1 {FITS} -tp 2", True),
    (f"CUDA_VISIBLE_DEVICES=6,7 {FITS} -tp 2", True),
    (f"CUDA_VISIBLE_DEVICES=0,-1,1 {FITS} -tp 2", False),
    (f"CUDA_VISIBLE_DEVICES= {FITS}", False),
    (f"export CUDA_VISIBLE_DEVICES=1\n{FITS} -tp 2", False),
    (f"CUDA_VISIBLE_DEVICES=1\n{FITS} -tp 2", True),
    (f"CUDA_VISIBLE_DEVICES=1\nexport CUDA_VISIBLE_DEVICES\n{FITS} -tp 2", False),
    (f"env CUDA_VISIBLE_DEVICES=1 {FITS} -tp 2", False),
    (f"CUDA_VISIBLE_DEVICES=$GPUS {FITS} -tp 2", True),
    (f"CUDA_VISIBLE_DEVICES=GPU-8932f937,GPU-8932f938 {FITS} -tp 2", True),
    (f"{FITS} -tp 2 --device-ids 1", False),
    ("docker run --gpus all -e CUDA_VISIBLE_DEVICES=0 vllm/vllm-openai --model Qwen/Qwen3-8B --max-model-len 4096 -tp 2", False),
    ("docker run --gpus all --env=NVIDIA_VISIBLE_DEVICES=0 vllm/vllm-openai --model Qwen/Qwen3-8B --max-model-len 4096 -tp 2", False),
    ("docker run --gpus all -e NVIDIA_VISIBLE_DEVICES=all vllm/vllm-openai --model Qwen/Qwen3-8B --max-model-len 4096 -tp 2", True),
    (
        "services:\n  c:\n    image: vllm/vllm-openai\n    environment:\n      CUDA_VISIBLE_DEVICES: 0\n    command: [--model, Qwen/Qwen3-8B, --max-model-len, 4096, -tp, 2]\n",
        False,
    ),
    (
        "services:\n  c:\n    image: vllm/vllm-openai\n    environment: [CUDA_VISIBLE_DEVICES=0]\n    command: --model Qwen/Qwen3-8B --max-model-len 4096 -tp 2\n",
        False,
    ),
]
CONTAINERS = {  # what a container is given of two GPUs, and whether two are
    "docker run --gpus all": True,
    "docker run --gpus 2": True,
    "docker run --gpus=1": False,
    "docker run --gpus count=1": False,
    "docker run --gpus device=0": False,
    "docker run --gpus device=0,1": True,
    """docker run --gpus '"device=0,1"'""": True,
    """docker run --gpus '"device=1"'""": False,
    """docker run --gpus '"device=0","capabilities=compute,utility"'""": False,
    "docker run --gpus all,capabilities=utility": True,
    "docker run --gpus $GPUS": True,
    "gpus: all": True,
    "gpus: [{driver: nvidia, count: 1}]": False,
    "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}": False,
    "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: all, capabilities: [gpu]}]}}}": True,
    "deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ['0', '1'], capabilities: [gpu]}]}}}": True,
    "deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ['3'], capabilities: [gpu]}]}}}": False,
    "deploy: {resources: {reservations: {devices: [{driver: nvidia, capabilities: [gpu]}]}}}": True,
    "deploy: {resources: {reservations: 7}}": True,
    "resources: {limits: {nvidia.com/gpu: 1}}": False,
    "resources: {limits: {nvidia.com/gpu: '2'}}": True,
    "resources: {limits: {memory: 10Gi}}": True,
}


def in_container(given: str) -> str:
    command = "--model Qwen/Qwen3-8B --max-model-len 4096 -tp 2"
    if given.startswith("docker"):
        return f"{given} vllm/vllm-openai {command}"
    if given.startswith("resources"):
        said = f"name: v, image: vllm/vllm-openai, args: [{', '.join(command.split())}], {given}"
        return f"apiVersion: apps/v1\nkind: Deployment\nspec: {{template: {{spec: {{containers: [{{{said}}}]}}}}}}\n"
    return f"services:\n  v:\n    image: vllm/vllm-openai\n    command: {command}\n    {given}\n"


SHOWN += [(in_container(given), starts) for given, starts in CONTAINERS.items()]


@pytest.mark.parametrize(("text", "starts"), SHOWN)
def test_gpus_that_the_environment_hides_do_not_count(text, starts):
    answer = checked(text, count=2)
    assert (answer.verdict == "starts") == starts
    assert starts or "asked for" in answer.problems[0].message


def test_a_configuration_file_decides_and_a_missing_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf.yaml").write_text("model: Qwen/Qwen3-8B\ntensor-parallel-size: 4\nmax-model-len: 4096\n")
    assert checked("vllm serve --config conf.yaml").problems[0].message.startswith("4 GPUs are asked for")
    assert checked("vllm serve --config conf.yaml -tp 1").verdict == "starts"
    assert checked(f"{FITS} --config nosuch.yaml").verdict == "does_not_start"
    done = run_plan("check", "vllm serve --config nosuch.yaml", "--gpu", "rtx4090", cwd=tmp_path)
    assert (done.returncode, "nosuch.yaml" in done.stderr, len(done.stderr.splitlines())) == (2, True, 1)


def test_a_template_is_looked_for_here_but_not_in_a_container():
    assert checked(f"{FITS} --chat-template /nosuch").problems[0].code == "bad-value"
    assert checked(f"{FITS} --chat-template examples/tool_chat_template_gemma4.jinja").verdict == "starts"
    inside = "docker run vllm/vllm-openai --model Qwen/Qwen3-8B --max-model-len 4096 --chat-template /nosuch"
    assert checked(inside).verdict == "starts"
    assert checked(f"{FITS} --chat-template /nosuch/folder/of/the/server.jinja").verdict == "starts"  # another machine's folder


LEAKS = [
    (f"{FITS} --api-key sk-SECRET1234 --hf-token hf_SECRET1234", 0),
    (f"HF_TOKEN=hf_SECRET1234 {FITS} --api-key=sk-SECRET1234", 0),
    (f'HF_TOKEN=SECRET {SERVE} --api-key "SECRET', 2),
    (f"{SERVE} --api-key SECRET --port x --nothing=hf_SECRET123", 1),
    ("vllm serve --api-key SECRET", 2),
    ("vllm serve hf_SECRET1234/x --api-key SECRET", 2),
    (f"{SERVE} --api-key SECRET &\n{SERVE} --hf-token SECRET &", 2),
]


@pytest.mark.parametrize(("text", "code"), LEAKS)
@pytest.mark.parametrize("style", ["text", "json"])
def test_no_answer_repeats_a_secret(text, code, style, tmp_path):
    done = run_plan("check", text, "--gpu", "rtx4090", "--format", style, cwd=tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == code or done.returncode == 3
    assert "SECRET" not in done.stdout + done.stderr


def test_auto_length_is_what_fits():
    answer = checked(f"{SERVE} --max-model-len auto")
    assert answer.verdict in ("starts", "tight")
    assert 20_000 < answer.config.max_model_len < 40_960


def test_versions_are_read_from_tags():
    assert [nearest_version(text).name for text in ("v0.19.1", "0.20.2rc1.dev3+g1", "latest", "0.5.4", "1.2", "0.1.dev19754+g1")] == [
        *("0.19", "0.20", "0.33", "0.11", "0.33", "0.33")
    ]
    far = ("0.19.2rc1.dev134+gfe9c3d6c5", "v0.23.1rc1.dev531", "0.11.2.dev690+g67475a6e8.d20251209", "0.13.0rc2.dev112+g1", "0.33.1rc1.dev900")
    assert [nearest_version(text).name for text in far] == ["0.20", "0.24", "0.12", "0.13", "0.33"]
    assert next(name for name, version in VERSIONS.items() if version.graphs_reserved) == "0.20"


def test_every_real_start_on_the_h100_is_called_a_start():
    """The 42 runs as commands: nothing that started is refused."""
    for start in starts():
        words = ["x", *(word for word in _words(start.config))]
        values, _, faults = parse_flags(words, "0.19")
        answer = check(values, faults, start.model, start.group, repo="x", argv=words, version="0.19")
        assert answer.verdict == "starts", (start.name, answer.problems)


def _words(config):
    pairs = {
        "--tensor-parallel-size": config.tensor_parallel_size,
        "--pipeline-parallel-size": config.pipeline_parallel_size,
        "--max-model-len": config.max_model_len,
        "--gpu-memory-utilization": config.gpu_memory_utilization,
        "--kv-cache-dtype": config.kv_cache_dtype,
        "--dtype": config.dtype,
    }
    return [word for flag, value in pairs.items() for word in (flag, str(value))]


def test_the_three_failed_runs_are_refused_for_their_reason():
    answer = checked("vllm serve Qwen/Qwen3-14B --tensor-parallel-size 5 --max-model-len 8192", "h100", 8, "0.19")
    assert answer.problems[0].code == "not-divisible"
    (found,) = find_commands("vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 8192 --gpu-memory-utilization 0.95")
    crowded = json.loads(
        subprocess.run(
            [
                sys.executable,
                "-m",
                "planner",
                "check",
                "--gpu",
                "h100",
                "--count",
                "2",
                "--free",
                "60.87",
                "--format",
                "json",
                "--",
                "vllm",
                "serve",
                *found.words,
            ],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    )
    assert crowded["problems"][0]["code"] == "free-memory"


def test_consumer_starts_are_never_promised_and_rarely_refused():
    rows = list(consumer.reported())
    assert len(rows) >= 25
    assert not [row.name for row in rows if not row.started and row.checked.verdict == "starts"]
    started = [row for row in rows if row.started]
    refused = [row.name for row in started if row.checked.verdict.falls_short]
    assert len(refused) <= 0.05 * len(started), refused
    inside = [row.is_inside for row in rows if row.is_inside is not None]
    assert len(inside) >= 20
    assert sum(inside) >= 0.9 * len(inside), "the interval is to hold on cards that the fit never saw"


@given(models(), groups())
@settings(max_examples=settings.default.max_examples // 2)
def test_checking_a_plans_command_gives_the_plan_back(model, group):
    try:
        plan = make_plan(Request(model=model, group=group), repo="owner/name", served_name="name")
    except PlannerError:
        assume(False)
        raise
    values, positional, faults = parse_flags(plan.argv[2:], "0.33")
    answer = check(values, faults, model, group, repo="owner/name", argv=plan.argv, version="0.33")
    assert positional == ["owner/name"]
    assert answer.config == plan.config
    assert answer.plan is not None
    assert (answer.plan.choice.expected, answer.verdict) == (plan.choice.expected, plan.verdict)


def test_the_json_follows_its_schema(tmp_path):
    for command in (SERVE, f"{SERVE} -tp 3"):
        done = run_plan("check", command, "--gpu", "rtx4090", "--count", "3", "--format", "json", cwd=tmp_path)
        answer = json.loads(done.stdout)
        jsonschema.validate(answer, json_schema("check"))
        assert done.returncode == Verdict(answer["verdict"]).exit_code


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ls -l", "server is started there"),
        (f"{SERVE} --port 1 &\n{SERVE} --port 2", "2 servers"),
        (f'{SERVE} --max-model-len "4096', "quoting"),
        (f"{SERVE} --max-model-len $LEN", "only the shell"),
        ("vllm serve --port 8000", "names no model"),
        ("vllm serve nobody/knows-this-one-8b-9", "nobody/knows"),
        ("services:\n  - [", "not YAML"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(text, says, tmp_path):
    done = run_plan("check", text, "--gpu", "rtx4090", cwd=tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert done.returncode in (2, 3), done
    assert says in done.stderr or done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "x.sh").write_bytes(b"\x7fELF\xff\xfe\x00")
    done = run_plan("check", "x.sh", "--gpu", "rtx4090", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


GUIDE = ROOT.parent / "shared" / "seed" / "local-llm-setup-guide.md"


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide lies beside the project only where it is built")
def test_every_server_of_the_guide_gets_a_verdict():
    blocks = re.findall(r"```(?:bash|sh|shell)?\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    found = [command for block in blocks if "vllm" in block for command in find_commands(block)]
    assert len(found) == 17
    for command in found:
        answer = judge(command, GpuGroup(gpu=gpu("rtx4090"), count=2))
        assert answer.verdict in Verdict
        assert not [problem for problem in answer.problems if problem.code in ("unknown-flag", "other")], command
        assert answer.verdict.falls_short == bool(answer.problems)


@pytest.mark.parametrize(
    "command", [("check", "vllm serve qwen3-8b"), ("verify", "--model", "qwen3-8b"), ("bench", "--model", "qwen3-8b"), ("capacity", "--model", "qwen3-8b")]
)
def test_who_needs_a_gpu_says_so_where_any_is_named(command, tmp_path):
    done = run_plan(*command, "--gpu", "any", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert f"plan {command[0]} is about one; try: plan {command[0]} " in done.stderr
    assert "--gpu rtx4090" in done.stderr


@pytest.mark.parametrize(
    ("method", "tag", "verdict"),
    [
        ("online", "v0.33.0", "does_not_start"),  # it says nothing of how
        ("torchao", "v0.33.0", "does_not_start"),
        ("online --hf-overrides.quantization_config_file q.json", "v0.33.0", "unknown"),
        ("torchao --hf-overrides.quantization_config_file q.json", "v0.33.0", "unknown"),
        ("bitsandbytes", "v0.11.0", "unknown"),  # 17 GiB of weights, and nobody measured what unpacking them takes
        ("bitsandbytes", "v0.27.1", "unknown"),
        ("bitsandbytes", "v0.28.0", "does_not_start"),
        ("awq", "v0.33.0", "does_not_start"),
        ("gptq", "v0.33.0", "does_not_start"),
    ],
)
def test_weights_that_are_quantized_while_loading_are_no_fault_of_the_checkpoint(method, tag, verdict, tmp_path):
    command = f"docker run --gpus all vllm/vllm-openai:{tag} --model Qwen/Qwen3-32B --max-model-len 8192 --quantization {method}"
    done = run_plan("check", command, "--gpu", "rtx4090", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["verdict"] == verdict
    assert verdict != "unknown" or f"--quantization {method.split()[0]}" in answer["not_covered"]


@pytest.mark.parametrize(("model", "card"), [("Qwen/Qwen3-32B", "rtx4090"), ("Qwen/Qwen3-8B", "t4")])
def test_where_no_flag_helps_the_published_quantization_that_starts_is_named(model, card):
    flags = " --max-model-len 4096 --enforce-eager --max-num-seqs 16 --max-num-batched-tokens 1024 --gpu-memory-utilization 0.95"
    (found,) = find_commands(f"vllm serve {model}{flags}")
    (problem,) = judge(found, GpuGroup(gpu=gpu(card), count=1)).problems
    name = re.fullmatch(r"the published (\S+) starts with these flags", problem.fix)[1]
    (again,) = find_commands(f"vllm serve {name}{flags}")
    assert judge(again, GpuGroup(gpu=gpu(card), count=1)).verdict == "starts"


def test_graphs_lie_in_the_budget_as_the_environment_asks():
    """VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS, since 0.18; on by itself since 0.20."""

    def graphs(said: str, version: str) -> bool:
        return checked(f"{said} vllm serve Qwen/Qwen3-8B --max-model-len 8192", version=version).plan.choice.expected.cuda_graph_bytes > 0

    name = "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS"
    assert graphs("", "0.33")
    assert not graphs(f"{name}=0", "0.33")
    assert not graphs("", "0.19")
    assert graphs(f"{name}=1", "0.19")
    assert not graphs(f"{name}=1", "0.17")


@pytest.mark.parametrize(("words", "verdict"), [
    ("Qwen/Qwen3-8B-AWQ --quantization AWQ", Verdict.STARTS), ("Qwen/Qwen3-8B --quantization FP8", Verdict.STARTS), ("Qwen/Qwen3-8B --quantization RTN", Verdict.UNKNOWN),
])  # fmt: skip
def test_a_quantization_is_read_in_any_case(words, verdict):
    """config/model.py validate_quantization_before; RTN of 0.12 quantizes while loading, by a size that nobody compared."""
    assert checked(f"vllm serve {words} --max-model-len 8192", "h100", version="0.12" if "RTN" in words else None).verdict is verdict

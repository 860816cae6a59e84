"""Ollama's Modelfile: what it says, what Ollama refuses, what is cut; the server that is asked for its model."""

import json

import pytest
from conftest import run_plan

from planner.engines.llamacpp.modelfile import command_of, read_modelfile
from planner.errors import PlannerError
from planner.questions.check import check, find_server, group_for
from planner.questions.find_commands import find_commands

WHOLE = '''\
# made by hand
FROM qwen3:8b
PARAMETER num_ctx 16384
PARAMETER num_ctx 32768
parameter stop "<|im_end|>"
PARAMETER temperature 0.6
TEMPLATE """{{ if .System }}
FROM nothing
{{ end }}"""
SYSTEM "You are
short."
MESSAGE user Is Toronto in Canada?
LICENSE """
"""
'''


def checked(text, card="rtx4090", count=1, number=None, model=""):
    command = find_server(text, number, model=model)
    return check(command, group_for(command, card, count, "server"))


def told(plan, code):
    return [warning.message for warning in plan.warnings if warning.code == code]


def test_instructions_are_read_as_ollama_reads_them():
    file = read_modelfile(WHOLE)
    assert (file.model, file.number("num_ctx"), file.parameters["stop"]) == ("qwen3:8b", 32_768, "<|im_end|>")
    assert not file.faults
    assert not file.is_file


def test_a_model_and_its_projector_may_be_two_files():
    file = read_modelfile("FROM ./mmproj-Qwen3-VL-8B-F16.gguf\nFROM ./Qwen3-VL-8B-Instruct-Q4_K_M.gguf\n")
    assert file.is_file
    assert (file.model, file.projector) == ("./Qwen3-VL-8B-Instruct-Q4_K_M.gguf", "./mmproj-Qwen3-VL-8B-F16.gguf")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("PARAMETER num_ctx 4096\n", "has no FROM line"),
        ("FROM qwen3:8b\nPARAMTER num_ctx 4096\n", "line 2: PARAMTER is no instruction"),
        ('FROM qwen3:8b\nSYSTEM """You are', "ends inside the quotes that line 2 opens"),
        ('FROM qwen3:8b\nSYSTEM "You are', "ends inside the quotes that line 2 opens"),
        ("FROM qwen3:8b\nPARAMETER num_ctx\n", "PARAMETER num_ctx has no value"),
        ("FROM qwen3:8b\nPARAMETER", "line 2: PARAMETER says nothing"),
    ],
)
def test_a_modelfile_that_is_none_or_cut_is_one_clear_line(text, says, tmp_path):
    with pytest.raises(PlannerError, match=says):
        read_modelfile(text)
    (tmp_path / "Modelfile").write_text(text)
    done = run_plan("check", "Modelfile", "--gpu", "rtx4090", cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.strip().splitlines())) == (2, "", 1), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Modelfile"]


def test_one_may_end_anywhere():
    for end in range(len(WHOLE)):
        try:
            read_modelfile(WHOLE[:end])
        except PlannerError as error:
            assert "\n" not in error.message


@pytest.mark.parametrize("text", ['FROM vllm/vllm-openai\nCMD ["vllm"]\n', "from vllm import LLM\n", "echo FROM here\n", "services:\n", ""])
def test_what_is_no_modelfile(text):
    assert command_of(text) is None


def test_a_modelfile_goes_before_the_environment():
    plan = checked(
        "export OLLAMA_CONTEXT_LENGTH=8192 OLLAMA_KV_CACHE_TYPE=q8_0\nollama serve &\ncat >Modelfile <<EOF\nFROM qwen3:8b\nPARAMETER num_ctx 16384\nPARAMETER num_gpu 20\nEOF\nollama create big -f Modelfile\nollama run big\n"
    )
    assert (plan.context, plan.layers_on_gpu, plan.layers, dict(plan.settings)["kv_cache_type"]) == (16_384, 20, 37, "q8_0")
    assert dict(plan.reasons)["context"] == "from the Modelfile"
    assert "OLLAMA_CONTEXT_LENGTH=8192 does nothing" in told(plan, "does-nothing")[0]


def test_too_many_layers_for_the_card_do_not_start_where_the_modelfile_pins_them():
    open_ = checked("FROM qwen3:32b\nPARAMETER num_ctx 40960\n")
    pinned = checked("FROM qwen3:32b\nPARAMETER num_ctx 40960\nPARAMETER num_gpu 99\n")
    assert (open_.verdict, pinned.verdict) == ("starts", "does_not_start")
    assert open_.layers_on_gpu < open_.layers
    assert checked("FROM qwen3:32b\nPARAMETER num_gpu 0\n").layers_on_gpu == 0


def test_what_ollama_refuses_is_a_problem():
    plan = checked("FROM qwen3:8b\nPARAMETER num_ctx 32k\nPARAMETER num_ctxt 4096\nPARAMETER temperature warm\n")
    assert plan.verdict == "does_not_start"
    assert [problem.message for problem in plan.problems] == [
        "PARAMETER num_ctx: invalid int value [32k]",
        "unknown parameter 'num_ctxt'",
        "PARAMETER temperature: invalid float value [warm]",
    ]


def test_adapters_and_drafts_are_not_in_the_ledger():
    plan = checked("FROM qwen3:8b\nADAPTER ./lora.gguf\nDRAFT ./draft.gguf\n")
    assert plan.verdict == "unknown"
    assert {part.flag for part in plan.not_covered} == {"ADAPTER", "DRAFT"}


def test_a_file_is_taken_for_its_model():
    plan = checked("FROM ./Qwen3-8B-Q4_K_M.gguf\nPARAMETER num_ctx 131072\n")
    assert plan.context == 40_960
    assert "num_ctx 131,072 is more than the 40,960" in told(plan, "does-nothing")[0]


def test_files_that_belong_together_are_one_server(tmp_path):
    """As plan writes them: the variables, and the Modelfile beside them."""
    (tmp_path / "ollama.env").write_text("export OLLAMA_KV_CACHE_TYPE=q8_0\nexport OLLAMA_FLASH_ATTENTION=1\nexport OLLAMA_CONTEXT_LENGTH=4096\n")
    (tmp_path / "Modelfile.chat").write_text("FROM qwen3:8b\nPARAMETER num_ctx 16384\n")
    (tmp_path / "setup.sh").write_text("ollama pull qwen3:8b\nollama create chat -f Modelfile.chat\n")
    for names in (["ollama.env", "Modelfile.chat"], ["Modelfile.chat", "ollama.env"], ["setup.sh", "ollama.env"]):
        done = run_plan("check", *names, "--gpu", "rtx4090", "--format", "json", cwd=tmp_path)
        settings = json.loads(done.stdout)["settings"]
        assert (settings["context"], settings["kv_cache_type"]) == (16_384, "q8_0"), names


def test_a_missing_modelfile_is_named():
    with pytest.raises(PlannerError, match=r"Modelfile\.big is not here"):
        checked("ollama create big -f Modelfile.big")


SET = {
    "a unit": '[Service]\nExecStart=/usr/local/bin/ollama serve\nEnvironment="OLLAMA_CONTEXT_LENGTH=8192" "OLLAMA_NUM_PARALLEL=2"\n',
    "what is laid over a unit": "[Service]\nEnvironment=OLLAMA_CONTEXT_LENGTH=8192 OLLAMA_NUM_PARALLEL=2\n",
    "a file of variables": "OLLAMA_CONTEXT_LENGTH=8192\nOLLAMA_NUM_PARALLEL=2\n",
    "launchd": "launchctl setenv OLLAMA_CONTEXT_LENGTH 8192\nlaunchctl setenv OLLAMA_NUM_PARALLEL 2\nollama serve\n",
    "PowerShell": '$env:OLLAMA_CONTEXT_LENGTH = "8192"\n$env:OLLAMA_NUM_PARALLEL=2\nollama serve\n',
    "cmd.exe": "set OLLAMA_CONTEXT_LENGTH=8192\nsetx OLLAMA_NUM_PARALLEL 2\nollama serve\n",
    "compose": "services:\n  o:\n    image: ollama/ollama\n    environment: [OLLAMA_CONTEXT_LENGTH=8192, OLLAMA_NUM_PARALLEL=2]\n",
}


@pytest.mark.parametrize("name", SET)
def test_a_server_without_a_model_is_asked_for_one(name):
    text = SET[name]
    plan = checked(text, model="qwen3:8b")
    assert (plan.context, plan.users) == (8192, 2)
    with pytest.raises(PlannerError, match="without a model"):
        checked(text)


def test_an_init_container_names_the_model():
    text = """\
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers: [{name: pull, image: ollama/ollama, command: [ollama, pull, "qwen3:8b"]}]
      containers: [{name: o, image: "ollama/ollama:0.33.0", env: [{name: OLLAMA_CONTEXT_LENGTH, value: "8192"}]}]
"""
    assert checked(text).context == 8192


def test_variables_of_the_client_are_told():
    alone = checked("OLLAMA_CONTEXT_LENGTH=8192 ollama run qwen3:8b")
    assert "a server that runs already" in told(alone, "client-variable")[0]
    assert not told(checked("export OLLAMA_CONTEXT_LENGTH=8192\nollama serve &\nollama run qwen3:8b"), "client-variable")


def test_variables_that_do_nothing_are_told():
    plan = checked("export OLLAMA_GPU_OVERHEAD=2147483648 OLLAMA_NUM_PARALLEL=4 OLLAMA_CONTEXT_LENGTH=999999\nollama serve &\nollama run qwen3-vl:8b")
    assert len(told(plan, "does-nothing")) == 3
    assert plan.users == 1


def test_a_cache_type_without_flash_attention_is_refused():
    plan = checked("export OLLAMA_FLASH_ATTENTION=0 OLLAMA_KV_CACHE_TYPE=q8_0\nollama serve &\nollama run qwen3:8b")
    assert (plan.verdict, plan.problems[0].fix) == ("does_not_start", "OLLAMA_FLASH_ATTENTION=1")


def test_each_model_of_one_server_sees_its_variables():
    text = "OLLAMA_CONTEXT_LENGTH=8192 ollama serve &\nollama run qwen3:8b\nollama run qwen3:14b\n"
    assert [checked(text, number=number).context for number in (1, 2)] == [8192, 8192]


def test_launchds_file_is_read():
    text = """<?xml version="1.0"?><plist version="1.0"><dict><key>ProgramArguments</key><array><string>/opt/homebrew/bin/ollama</string><string>serve</string>
    </array><key>EnvironmentVariables</key><dict><key>OLLAMA_CONTEXT_LENGTH</key><string>8192</string></dict></dict></plist>"""
    assert checked(text, "m4-max-64gb", model="qwen3:8b").context == 8192
    with pytest.raises(PlannerError, match="property list cannot be read"):
        find_commands(text[:200])

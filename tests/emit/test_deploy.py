"""What is emitted for containers, clusters and services is judged by the real schemas and parsers, over a grid of plans."""

import json
import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import DATA, ROOT, run_plan

from planner.emit import FORMATS, emit, emit_formats
from planner.emit.clouds import flag_values
from planner.emit.systemd import quoted
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.questions.find_commands import find_commands
from planner.questions.plan import answer_for
from tests.judges import judge_venv

EMBEDDING = "qwen3-embedding-0.6b"
GRID = {
    "one": StackRow(gpu="rtx4090", services=[ServiceRow(model="qwen3-8b")]),
    "two": StackRow(gpu="rtx4090", count=2, services=[ServiceRow(model="ministral-3-14b-awq"), ServiceRow(model=EMBEDDING)]),
    "apart": StackRow(gpu="h100", count=4, services=[ServiceRow(model="qwen3-vl-32b", tensor_parallel_size=2), ServiceRow(model="qwen3-32b", name="writer")]),
    "three": StackRow(gpu="a100-80", count=2, services=[ServiceRow(model="qwen3-vl-32b-awq"), ServiceRow(model=EMBEDDING), ServiceRow(model="qwen3-4b")]),
    "eight": StackRow(gpu="h100", count=8, services=[ServiceRow(model="deepseek-v3", users=4, enable_expert_parallel=True)]),
    "nodes": StackRow(gpu="h100", count=8, nodes=2, services=[ServiceRow(model="deepseek-v3")]),
    "amd": StackRow(gpu="mi300x", services=[ServiceRow(model="qwen3-32b")]),
    "small": StackRow(gpu="l4", services=[ServiceRow(model=EMBEDDING, context=8192)]),
    "ollama": StackRow(gpu="rtx4090", engine="ollama", services=[ServiceRow(model="qwen3-vl-30b-a3b"), ServiceRow(model=EMBEDDING)]),
    "llama": StackRow(gpu="rtx3090", count=2, engine="llama.cpp", services=[ServiceRow(model="llama-3.3-70b", users=2)]),
}


@cache
def deployment(name: str):
    return answer_for(GRID[name]).deployment


@cache
def files(name: str) -> dict[str, str]:
    """Every format that can hold a plan."""
    found = {}
    for form in FORMATS:
        try:
            found |= emit_formats(deployment(name), [form])
        except PlannerError as error:
            assert error.hint
    return found


def verdicts(asked: list[dict]) -> list[list[str]]:
    python = judge_venv("deploy") / "bin" / "python"
    done = subprocess.run(
        [python, ROOT / "tests" / "oracle" / "validate_deployments.py"],
        input="".join(json.dumps(each) + "\n" for each in asked),
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "RAY_USAGE_STATS_ENABLED": "0"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked), done.stderr[-3000:]
    return answers


LWS, HELM = str(DATA / "leaderworkerset.schema.json"), str(DATA / "vllm-stack.values.schema.json")
KINDS = {"kubernetes.yaml": ("kubernetes", LWS), "leaderworkerset.yaml": ("kubernetes", LWS), "values.yaml": ("schema", HELM), "ray-serve.yaml": ("ray", "")}


@pytest.mark.judge
def test_kubernetes_accepts_the_webhooks_manifest():
    core = [
        document for document in yaml.safe_load_all((ROOT / "deploy" / "webhook" / "webhook.yaml").read_text()) if "cert-manager" not in document["apiVersion"]
    ]
    assert [document["kind"] for document in core] == ["Namespace", "Deployment", "Service", "ValidatingWebhookConfiguration"]
    assert verdicts([{"kind": "kubernetes", "text": yaml.safe_dump(document), "schema": LWS} for document in core]) == [[]] * len(core)


@pytest.mark.judge
def test_the_dockerfile_is_as_docker_wants_it():
    """No daemon and no base images are here: it is read by a linter, and what it copies is there."""
    linted = subprocess.run([Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
    copied = [
        name for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    ]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert all((ROOT / name).exists() and f"!{name}" in ignored for name in copied)


@pytest.mark.judge
def test_kubernetes_helm_and_ray_accept_every_file():
    asked = {
        f"{name}/{file}": {"kind": KINDS[file][0], "text": text, "schema": KINDS[file][1]}
        for name in GRID
        for file, text in files(name).items()
        if file in KINDS
    }
    assert {file.partition("/")[2] for file in asked} == set(KINDS)
    answers = verdicts(list(asked.values()))
    assert {name: found for name, found in zip(asked, answers, strict=True) if found} == {}


@pytest.mark.judge
def test_the_judges_see_a_wrong_key():
    wrong = []
    for file, (kind, schema) in KINDS.items():
        text = files("nodes" if file.startswith("leader") else "one")[file]
        for right, bad in (("resources:", "resorces:"), ("vllmConfig:", "vlmConfig:"), ("engine_kwargs:", "engine_kwarg:")):
            if right in text:
                wrong.append({"kind": kind, "text": text.replace(right, bad), "schema": schema})
    assert len(wrong) >= 4
    assert all(verdicts(wrong))


@pytest.mark.judge
@pytest.mark.parametrize("name", [name for name in GRID if name != "nodes"])
def test_compose_follows_the_compose_specification(name, tmp_path):
    checker = judge_venv("deploy") / "bin" / "check-jsonschema"
    path = tmp_path / "compose.yaml"
    path.write_text(files(name)["compose.yaml"])
    done = subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    path.write_text(files(name)["compose.yaml"].replace("healthcheck:", "healthchek:"))
    assert subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", path], capture_output=True, check=False).returncode == 1


def test_compose_starts_in_order_and_publishes_on_this_machine_only():
    document = yaml.safe_load(files("two")["compose.yaml"])
    services = document["services"]
    assert list(services) == ["embedding", "chat", "litellm"]
    assert services["chat"]["depends_on"] == {"embedding": {"condition": "service_healthy"}}
    assert set(services["litellm"]["depends_on"]) == {"embedding", "chat"}
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service["ports"])
    assert services["chat"]["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] == ["0", "1"]
    assert services["litellm"]["environment"]["LITELLM_MASTER_KEY"].startswith("${LITELLM_MASTER_KEY:?")
    proxy = yaml.safe_load(files("two")["litellm.compose.yaml"])
    assert [entry["litellm_params"]["api_base"] for entry in proxy["model_list"]] == ["http://chat:8000/v1", "http://embedding:8001/v1"]


def test_compose_makes_ollamas_models_before_the_proxy_answers():
    services = yaml.safe_load(files("ollama")["compose.yaml"])["services"]
    assert list(services) == ["chat", "litellm", "models"]
    (script,) = services["models"]["command"]
    assert "ollama pull qwen3-vl:30b" in script
    assert all(name in files("ollama") for name in ("Modelfile.chat", "Modelfile.embedding"))
    assert services["litellm"]["depends_on"]["models"] == {"condition": "service_completed_successfully"}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_setup_makes_ollamas_models_with_a_server_of_its_own_and_stops_it(tmp_path):
    """The script really runs, with stand-ins for ollama and uv that write down what they are asked."""
    texts = emit(deployment("ollama"))
    (tmp_path / "setup.sh").write_text(texts["setup.sh"])
    tools, seen = tmp_path / "tools", tmp_path / "seen"
    tools.mkdir()
    (tools / "ollama").write_text(f"""#!/bin/sh
case $1 in
  serve) echo $$ >{tmp_path}/server; echo serve >>{seen}; exec sleep 60 ;;
  list) kill -0 "$(cat {tmp_path}/server 2>/dev/null || echo none)" 2>/dev/null ;;
  *) echo "$@" "$OLLAMA_HOST" >>{seen} ;;
esac
""")
    (tools / "uv").write_text(f'#!/bin/sh\necho uv "$@" >>{seen}\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    done = subprocess.run(["bash", tmp_path / "setup.sh"], env={"PATH": f"{tools}:/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    asked = seen.read_text().splitlines()
    host = "127.0.0.1:11434"
    assert asked[:5] == [
        "serve",
        f"pull qwen3-embedding:0.6b {host}",
        f"create qwen3-embedding-0.6b-planned -f Modelfile.embedding {host}",
        f"pull qwen3-vl:30b {host}",
        f"create qwen3-vl-30b-a3b-planned -f Modelfile.chat {host}",
    ]
    assert asked[5:] == ["uv venv --python >=3.11 .venv-litellm", "uv pip install --python .venv-litellm/bin/python litellm[proxy]==1.106.2"]
    pid = int((tmp_path / "server").read_text())
    deadline = time.monotonic() + 10  # told to stop; on a busy machine it takes a moment to be gone
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


def test_servers_that_share_gpus_are_one_container_on_kubernetes():
    documents = list(yaml.safe_load_all(files("two")["kubernetes.yaml"]))
    workloads = {each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"] for each in documents if each["kind"] == "Deployment"}
    assert set(workloads) == {"vllm-chat", "litellm"}
    (container,) = workloads["vllm-chat"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 3600
    apart = [each["metadata"]["name"] for each in yaml.safe_load_all(files("apart")["kubernetes.yaml"]) if each["kind"] == "Deployment"]
    assert sorted(apart) == ["litellm", "vllm-chat", "vllm-writer"]
    assert not any("sk-" in json.dumps(each.get("data", {})) for each in documents if each["kind"] == "Secret")


@pytest.mark.parametrize("name", ["one", "two", "apart", "nodes"])
def test_plan_check_reads_what_was_emitted(name, tmp_path):
    """Every server is found again in every format, with the same command but for the address inside a container."""
    texts = {**emit(deployment(name)), **files(name)}
    wanted = {tuple(word for word in service.argv[2:] if word not in ("127.0.0.1", "0.0.0.0")) for service in deployment(name).processes}
    readable = [
        file for file in texts if file in ("stack.sh", "compose.yaml", "kubernetes.yaml", "node.sh", "leaderworkerset.yaml") or file.endswith(".service")
    ]
    assert len(readable) >= 2
    units = set()
    for file in readable:
        found = {tuple(word for word in each.words if word not in ("127.0.0.1", "0.0.0.0")) for each in find_commands(texts[file])}
        if file.endswith(".service"):
            units |= found
        elif file in ("node.sh", "leaderworkerset.yaml"):  # with what says which machine it is
            assert all(any(words[: len(each)] == each for each in wanted) for words in found)
            assert found
        else:
            assert found == wanted, file
    assert units in (set(), wanted)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
@pytest.mark.parametrize("name", ["one", "two", "three", "ollama", "llama"])
def test_systemd_understands_every_line(name, tmp_path):
    units = {file: text for file, text in files(name).items() if file.endswith(".service")}
    home = tmp_path / "home"
    for text in units.values():
        for word in text.split():
            if "/bin/" in word and word.startswith("ExecStart=%h"):
                program = Path(word.removeprefix("ExecStart=").replace("%h", str(home)))
                program.parent.mkdir(parents=True, exist_ok=True)
                program.write_text("#!/bin/sh\n")
                program.chmod(0o755)
    for file, text in units.items():
        (tmp_path / file).write_text(text.replace("%h", str(home)).replace("ExecStart=/usr/local/bin/", "ExecStart=/bin/true "))
    (home / ".config" / "plan").mkdir(parents=True)
    done = subprocess.run(["systemd-analyze", "verify", *sorted(str(tmp_path / file) for file in units)], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "plan-" in line]
    assert ours == []
    broken = tmp_path / "plan-broken.service"
    broken.write_text(next(iter(units.values())).replace("%h", str(home)).replace("RestartSec=", "RestartSecs="))
    done = subprocess.run(["systemd-analyze", "verify", str(broken)], capture_output=True, text=True, check=False)
    assert "Unknown key" in done.stderr


@pytest.mark.parametrize(
    ("word", "text"), [("a b", '"a b"'), ("50%", '"50%%"'), ("$HOME", '"$$HOME"'), ('say "x"', '"say \\"x\\""'), ("--flag", "--flag"), ("", '""')]
)
def test_words_of_a_unit_are_quoted(word, text):
    assert quoted(word) == text


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if number else ()) for number, name in enumerate(GRID)])
def test_all_scripts_pass_shellcheck_at_its_strictest(name, tmp_path):
    texts = {**emit(deployment(name)), **files(name)}
    scripts = [tmp_path / file for file in texts if file.endswith(".sh")]
    for script in scripts:
        script.write_text(texts[script.name])
    environment = tmp_path / "agent-env.sh"
    environment.write_text("#!/bin/bash\n" + texts["agent.env"])
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--enable=all", "--severity=style", *scripts, environment], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len(scripts) >= 3


def test_hostile_names_are_quoted_in_every_format(tmp_path):
    """A folder whose name is shell, YAML and systemd syntax: every format gives it back as it is."""
    folder = tmp_path / "it's $(touch pwned) `x` %h: {a: b} #"
    folder.mkdir()
    (folder / "config.json").write_text((DATA / "configs" / "meta-llama--Llama-3.1-8B-Instruct.json").read_text())
    formats = ("--to", "compose,systemd,k8s,helm,ray,skypilot")
    done = run_plan("--gpu", "h100", "--model", str(folder), "--with", EMBEDDING + ":tensor_parallel_size=1", "--count", "1", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_plan("--gpu", "h100", "--model", str(folder), "--output", "out", "--force", *formats, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert yaml.safe_load((out / "compose.yaml").read_text())["services"]["chat"]["command"][0] == str(folder).replace("$", "$$")
    documents = list(yaml.safe_load_all((out / "kubernetes.yaml").read_text()))
    held = str(folder).replace("$(", "$$(")  # else Kubernetes puts a variable in its place
    assert any(held in str(document) for document in documents if document["kind"] == "Deployment")
    assert yaml.safe_load((out / "values.yaml").read_text())["servingEngineSpec"]["modelSpec"][0]["modelURL"] == str(folder)
    assert quoted(str(folder)) in (out / "plan-chat.service").read_text()
    shellcheck = Path(sys.executable).with_name("shellcheck")
    scripts = sorted(out.glob("*.sh"))
    assert subprocess.run([shellcheck, "--severity=warning", *scripts], capture_output=True, check=False).returncode == 0
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LITELLM_MASTER_KEY": "sk-x"}
    (tmp_path / "vllm").write_text('#!/bin/sh\nprintf "%s" "$2" >"$PLAN_STATE_DIR/seen"\n')
    (tmp_path / "litellm").write_text("#!/bin/sh\n")
    for program in ("vllm", "litellm"):
        (tmp_path / program).chmod(0o755)
    subprocess.run(["bash", out / "stack.sh", "start"], env=environment | {"PLAN_STATE_DIR": str(tmp_path)}, capture_output=True, check=False, timeout=60)
    assert (tmp_path / "seen").read_text() == str(folder)
    assert not list(tmp_path.rglob("pwned"))


def test_one_server_over_two_machines():
    script, group = files("nodes")["node.sh"], yaml.safe_load_all(files("nodes")["leaderworkerset.yaml"])
    assert "--tensor-parallel-size 8" in script
    assert "--pipeline-parallel-size 2" in script
    (lws,) = (each for each in group if each["kind"] == "LeaderWorkerSet")
    assert lws["spec"]["leaderWorkerTemplate"]["size"] == 2
    assert "stack.sh" not in emit(deployment("nodes"))


def test_helm_and_ray_lose_no_flag():
    service = deployment("eight").main
    flags = {flag for flag, _ in flag_values(service)} - {"--host", "--port", "--served-model-name"}
    (spec,) = yaml.safe_load(files("eight")["values.yaml"])["servingEngineSpec"]["modelSpec"]
    chart = {"tensorParallelSize": "--tensor-parallel-size", "maxModelLen": "--max-model-len", "maxNumSeqs": "--max-num-seqs"}
    chart |= {"gpuMemoryUtilization": "--gpu-memory-utilization", "dtype": "--dtype", "runner": "--runner"}
    told = {chart[key] for key in spec["vllmConfig"] if key != "extraArgs"} | {word for word in spec["vllmConfig"]["extraArgs"] if word.startswith("--")}
    assert told == flags
    (config,) = yaml.safe_load(files("eight")["ray-serve.yaml"])["applications"][0]["args"]["llm_configs"]
    assert {"--" + key.replace("_", "-") for key in config["engine_kwargs"]} == flags


def test_a_plan_is_emitted_again_without_planning(tmp_path):
    done = run_plan("--gpu", "rtx4090", "--count", "2", "--model", "ministral-3-14b-awq", "--with", EMBEDDING, "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = run_plan("emit", "out/plan.json", "--to", "compose,k8s", "--to", "systemd", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for file in ("compose.yaml", "kubernetes.yaml", "plan-chat.service"):
        assert (tmp_path / "out" / file).read_text() == files("two")[file]
    assert run_plan("emit", "out", "--output", "copy", cwd=tmp_path).returncode == 0
    for file in ("stack.sh", "litellm.yaml", "bench.sh"):
        assert (tmp_path / "copy" / file).read_text() == (tmp_path / "out" / file).read_text()
    (tmp_path / "out" / "compose.yaml").write_text("mine")
    refused = run_plan("emit", "out", "--to", "compose", cwd=tmp_path)
    assert (refused.returncode, "was edited" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("plan.json",), "cannot be read"),
        (("bad.json",), "no plan.json of this version"),
        (("bad.json", "--to", "composs"), "no plan.json"),
    ],
)
def test_what_is_no_plan_is_refused(words, says, tmp_path):
    (tmp_path / "bad.json").write_text('{"deployment": {"title": 3}}')
    done = run_plan("emit", *words, cwd=tmp_path)
    assert (done.returncode, says in done.stderr, len(done.stderr.splitlines())) == (2, True, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


@pytest.mark.parametrize("key", ["name", "host", "argv"])
def test_a_plan_that_was_tampered_with_writes_nothing_outside(key, tmp_path):
    done = run_plan("--gpu", "rtx4090", "--model", "qwen3-8b", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    plan["deployment"]["services"][0] |= {"name": {"name": "../../x"}, "host": {"host": "$(touch pwned)"}, "argv": {"argv": ["vllm", "serve", "a\nb"]}}[key]
    (tmp_path / "out" / "plan.json").write_text(json.dumps(plan))
    done = run_plan("emit", "out", "--to", "systemd,compose", "--output", "new", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert not (tmp_path / "new").exists()


def test_a_format_that_cannot_hold_a_plan_says_so(tmp_path):
    for words, says in (
        (("--to", "composs"), "did you mean compose?"),
        (("--to", "lws"), "--nodes N"),
        (("--to", "helm", "--with", EMBEDDING), "k8s runs them in one container"),
        (("--to", "k8s", "--engine", "ollama"), "serves vllm only"),
    ):
        done = run_plan("--gpu", "rtx4090", "--model", "qwen3-8b", *words, cwd=tmp_path)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
        assert not list(tmp_path.iterdir())

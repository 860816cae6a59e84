"""Servers in the files of a repository: what is read, for which machine each is, where it stands, and how it is told to the tools of pull requests."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
from conftest import DATA, run_plan
from pull_request import COMPOSE, FILES, MANIFESTS, SCRIPT, VALUES, checkout

import planner
from planner.catalogue.load import find_gpu
from planner.cli.main import cli
from planner.errors import PlannerError
from planner.facts.finding import FailOn, Severity
from planner.facts.verdict import Verdict
from planner.machine import detect
from planner.questions.files.judge import NO_MACHINE, WRONG_MACHINE, judge_files, judge_text, needs_machine
from planner.questions.files.machines import target, targets_of
from planner.questions.files.walk import files_of
from planner.questions.find_commands import find_commands
from planner.report.files import markdown, workflow_commands
from planner.report.sarif import sarif
from planner.report.schemas import json_schema

ASKED = target({"gpu": "rtx4090"}, "--gpu")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def judged(repository):
    before = Path.cwd()
    os.chdir(repository)
    try:
        return judge_files(files_of([repository]))
    finally:
        os.chdir(before)


def test_a_folder_is_read_as_git_keeps_it(repository):
    names = {str(path.relative_to(repository)) for path in files_of([repository])}
    assert names == {name for name in FILES if not name.startswith((".", "build/"))}


def test_a_folder_without_git_is_walked_without_what_is_hidden(tmp_path):
    for name in ("a.sh", ".b/c.sh", "node_modules/d.sh", "e/f.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("vllm serve a/b")
    (tmp_path / "link.sh").symlink_to(tmp_path / "a.sh")
    assert [str(path.relative_to(tmp_path)) for path in files_of([tmp_path])] == ["a.sh", "e/f.yaml"]
    with pytest.raises(PlannerError, match="no such file or folder"):
        files_of([tmp_path / "gone"])


def test_a_repository_runs_nothing_when_it_is_walked(tmp_path):
    checkout(tmp_path, {"a.sh": "true\n"})
    with (tmp_path / ".git/config").open("a") as config:
        config.write(f'[core]\n\tfsmonitor = "touch {tmp_path}/pwned #"\n')
    assert len(files_of([tmp_path])) == 1
    assert not (tmp_path / "pwned").exists()


def test_no_filter_or_transport_of_a_repository_is_run_when_changes_are_looked_for(tmp_path):
    checkout(tmp_path, {"a.sh": "true\n", "b.sh": "true\n", ".gitattributes": "*.sh filter=a=b diff=evil\n"})
    touch = f'"touch {tmp_path}/pwned; cat #"'
    with (tmp_path / ".git/config").open("a") as config:
        config.write(f'[filter "a=b"]\n\tclean = {touch}\n\tprocess = {touch}\n\trequired = true\n[diff "evil"]\n\tcommand = {touch}\n\ttextconv = {touch}\n')
        config.write(
            f'[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = far\n[remote "far"]\n\turl = {tmp_path}\n\tpromisor = true\n\tuploadpack = {touch}\n'
        )
    (tmp_path / "a.sh").write_text("vllm serve a/b\n")
    assert [path.name for path in files_of([tmp_path], "HEAD")] == ["a.sh"]
    with pytest.raises(PlannerError, match="--since"):
        files_of([tmp_path], "0123456789012345678901234567890123456789")
    assert not (tmp_path / "pwned").exists()


def test_a_name_that_is_no_text_is_an_address_of_sarif(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.sh")).write_text("vllm serve\n")
    log = json.loads(sarif(judge_files(files_of([tmp_path]), target({"gpu": "rtx4090"}, ""))))
    (result,) = log["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith("/a%FF.sh")


def test_each_server_is_judged_on_the_machine_of_its_file(judged, repository):
    rows = {(server.file.removeprefix(f"{repository}/"), server.place.line, server.machine, str(server.verdict)) for server in judged.servers}
    assert rows == {
        ("charts/plain/values.yaml", 3, "1x GeForce RTX 4090", "starts"),
        ("charts/stack/values.yaml", 6, "1x NVIDIA L4", "does_not_start"),
        ("deploy/compose.yaml", 3, "1x GeForce RTX 4090", "starts"),
        ("deploy/compose.yaml", 6, "1x GeForce RTX 4090", "does_not_start"),
        ("deploy/pods.yaml", 10, "1x NVIDIA L4", "starts"),
        ("deploy/pods.yaml", 29, "4x H100 SXM5 80GB", "does_not_start"),
        ("deploy/pods.yaml", 29, "4x H200 SXM 141GB", "starts"),
        ("proxy/litellm.yaml", 1, "", "does_not_start"),
        ("scripts/serve.sh", 5, "1x H100 SXM5 80GB", "does_not_start"),
    }


def test_a_finding_stands_at_the_flag_that_is_wrong(judged, repository):
    found = {(finding.file.removeprefix(f"{repository}/"), finding.rule): finding.place for finding in judged.findings}
    lines = {name: text.splitlines() for name, text in FILES.items()}
    for (file, rule), word in {
        ("scripts/serve.sh", "unknown-flag"): "--max-num-sequences",
        ("scripts/serve.sh", "kv-cache-too-small"): "--max-model-len",
        ("charts/stack/values.yaml", "kv-cache-too-small"): "maxModelLen",
        ("deploy/compose.yaml", "bad-value"): "--max-model-len=131072",
        ("proxy/litellm.yaml", "no-provider"): "lost",
    }.items():
        place = found[file, rule]
        assert lines[file][place.line - 1][place.column - 1 :].startswith(word), (file, rule, place)


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("# plan: gpu=h100 count=8\nvllm serve a/b", [("h100", 8)]),
        ("# plan: gpu=h100, count=8\n# plan: gpu=l4\n", [("h100", 8), ("l4", 1)]),
        ("// plan: gpu=h100\n", [("h100", 1)]),
        ("<!-- plan: gpu=h100 -->\n", [("h100", 1)]),
        ("vllm serve a/b", [("rtx4090", 1)]),
        ("apiVersion: v1\nkind: Pod\nspec: {nodeSelector: {cloud.google.com/gke-accelerator: nvidia-tesla-a100}}\n", [("a100-40gb", 1)]),
        ("apiVersion: v1\nkind: Pod\nspec: {nodeSelector: {nvidia.com/gpu.product: NVIDIA-L40S-SHARED}}\n", [("NVIDIA-L40S", 1)]),
        ('apiVersion: v1\nkind: Pod\nmetadata: {annotations: {serve-plan/gpu: h200, serve-plan/count: "8"}}\n', [("h200", 8)]),
        ("apiVersion: v1\nkind: Pod\n", [("rtx4090", 1)]),
    ],
)
def test_which_machine_a_text_is_for(text, gpus):
    assert [(row.row.gpu, row.row.count) for row in targets_of(text, None, ASKED)] == gpus


@pytest.mark.parametrize("comment", ["gpu", "gpu=", "gpus=h100", "gpu=h10000", "gpu=h100 count=0", "gpu=h100 host=moon"])
def test_a_machine_that_is_said_wrongly_is_told(comment, tmp_path):
    (tmp_path / "a.sh").write_text(f"# plan: {comment}\nvllm serve Qwen/Qwen3-8B\n")
    judged = judge_files([tmp_path / "a.sh"])
    assert [finding.rule for finding in judged.findings] == [WRONG_MACHINE]
    assert judged.verdict is Verdict.DOES_NOT_START


def test_a_file_can_be_left_out():
    assert judge_text(f"# plan: ignore\n{SCRIPT}") == []


def test_without_a_machine_nothing_is_guessed():
    (server,) = judge_text("vllm serve Qwen/Qwen3-8B")
    assert (server.verdict, [finding.rule for finding in server.findings]) == (Verdict.UNKNOWN, [NO_MACHINE])
    assert [server.verdict for server in judge_text("vllm serve Qwen/Qwen3-8B --max-model-len 8192", None, ASKED)] == [Verdict.STARTS]


def test_a_container_says_how_many_gpus_it_has():
    text = COMPOSE + "    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 2, capabilities: [gpu]}]}}}\n"
    assert [server.machine for server in judge_text(text, None, ASKED)] == ["1x GeForce RTX 4090", "2x GeForce RTX 4090"]
    said = target({"gpu": "rtx4090", "count": 4}, "")
    assert [server.machine for server in judge_text(text, None, said)] == ["4x GeForce RTX 4090"] * 2


MANIFEST = """apiVersion: apps/v1
kind: Deployment
metadata: {name: qwen}
spec:
  template:
    spec:
      nodeSelector: {nvidia.com/gpu.product: NVIDIA-L40S}
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.19.0
        args: [Qwen/Qwen3-32B, --max-model-len, "40960", --tensor-parallel-size, "2"]
        resources: {limits: {nvidia.com/gpu: 2}}
"""


@pytest.mark.parametrize(
    ("asked", "machine"),
    [
        ((), "2x NVIDIA L40S"),
        (("--gpu", "a100-80gb"), "2x A100 SXM4 80GB"),
        (("--gpu", "l40s", "--count", "1"), "1x NVIDIA L40S"),
        (("--count", "4", "--host", "desktop"), "4x NVIDIA L40S"),
    ],
)
def test_one_file_is_judged_on_the_machine_that_a_folder_of_it_is(asked, machine, tmp_path):
    """Alone it is shown with its whole ledger, and it is the same question: its node's GPU, as many as the container is given."""
    (tmp_path / "k8s.yaml").write_text(MANIFEST)
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "config.toml").write_text('gpu = "rtx4090"\n')  # of whoever asks, not of the node
    done = run_plan("check", "k8s.yaml", *asked, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path))
    assert f"Qwen/Qwen3-32B on {machine} with vLLM 0.19" in done.stdout.replace("\n", " "), done


def test_one_text_is_the_same_in_python():
    assert (answer := planner.check(MANIFEST)).plan.verdict is Verdict.STARTS
    assert answer.plan.group.count == 2
    assert planner.check(MANIFEST, gpu="l40s").plan.group.count == 2
    assert planner.check(MANIFEST, gpu="l40s", count=1).plan.verdict is Verdict.DOES_NOT_START
    assert planner.check(MANIFEST, count=1).plan.verdict is Verdict.DOES_NOT_START  # what is said beside the text's machine counts
    assert planner.check(MANIFEST, free_gib=20.0).plan.verdict is Verdict.DOES_NOT_START
    with pytest.raises(PlannerError, match="vram"):
        planner.check(MANIFEST, vram="24GiB")
    with pytest.raises(PlannerError, match="given 5,000 GPUs; at most 1,024"):
        planner.check(MANIFEST.replace("gpu: 2", "gpu: 5000"), gpu="l40s")
    with pytest.raises(PlannerError, match="this is for 2 machines: t4, h100"):
        planner.check("# plan: gpu=t4\n# plan: gpu=h100\nvllm serve Qwen/Qwen3-8B\n")


def test_files_that_belong_together_are_for_one_machine(tmp_path):
    (tmp_path / "Modelfile").write_text("# plan: gpu=rtx4090\nFROM qwen3:8b\n")
    (tmp_path / "ollama.env").write_text("# plan: gpu=rtx4090\nOLLAMA_CONTEXT_LENGTH=8192\n")
    (tmp_path / "b.sh").write_text("# plan: gpu=l4\nvllm serve Qwen/Qwen3-4B --max-model-len 8192\n")
    (tmp_path / "c.sh").write_text("# plan: gpu=t4\nvllm serve Qwen/Qwen3-0.6B --max-model-len 8192\n")
    assert "on 1x GeForce RTX 4090 with" in run_plan("check", "Modelfile", "ollama.env", cwd=tmp_path).stdout
    assert "on 1x Tesla T4 with" in run_plan("check", "b.sh", "c.sh", "--server", "2", cwd=tmp_path).stdout


def test_this_machine_has_as_many_as_it_has(monkeypatch, capsys):
    """Not as many as a container asks for: one card found is one card."""
    monkeypatch.setattr(detect, "this_machine", lambda: SimpleNamespace(gpu=find_gpu("rtx4090"), count=1, note="one"))
    text = "docker run --gpus 2 vllm/vllm-openai:v0.33.0 --model Qwen/Qwen3-8B -tp 2 --max-model-len 8192"
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", text, "--gpu", "auto"])
    assert (ended.value.code, "2 GPUs are asked for, there is 1" in capsys.readouterr().out.replace("\n", " ")) == (1, True)
    assert planner.check(text, gpu="auto").plan.verdict is Verdict.DOES_NOT_START


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (VALUES, ["--model", "Qwen/Qwen3-8B", "--tensor-parallel-size", "1", "--max-model-len", "40960", "--enforce-eager"]),
        ("a:\n  image: vllm/vllm-openai:v0.29.0\n  command: [vllm, serve, a/b]\n  args: [--port, 1]\n", ["a/b", "--port", "1"]),
        ("image: {repository: vllm/vllm-openai, tag: 0.29}\nextraArgs: [--model=a/b]\n", ["--model=a/b"]),
        (
            "modelSpec:\n- {modelURL: a/b, repository: lmcache/vllm-openai, tag: x, vllmConfig: {enablePrefixCaching: true, v1: 1}}\n",
            ["--model", "a/b", "--enable-prefix-caching"],
        ),
        ("image:\n  repository: ghcr.io/ggml-org/llama.cpp\n  tag: server-cuda\nargs: [-m, a.gguf]\n", ["-m", "a.gguf"]),
    ],
)
def test_servers_of_helm_values(text, words):
    (command,) = find_commands(text)
    assert (list(command.words), command.contained) == (words, True)


@pytest.mark.parametrize("text", ["image: redis:7\nargs: [x]\n", "image: [broken\n", "a: 1\n", "model: vllm\nimage: 3\n"])
def test_values_without_servers_have_none(text):
    try:
        assert find_commands(text) == []
    except PlannerError as error:
        assert "not YAML" in str(error)


@pytest.mark.parametrize("word", list(FailOn))
def test_fail_on_is_in_the_order_of_verdicts(word):
    fails = [word.fails(verdict) for verdict in Verdict]
    assert sum(fails) == list(FailOn).index(word) + 1 if word is not FailOn.NEVER else not any(fails)
    assert fails == sorted(fails, reverse=True)


def test_sarif_is_what_its_schema_says(judged):
    log = json.loads(sarif(judged))
    jsonschema.Draft4Validator(json.loads((DATA / "sarif-2.1.0.schema.json").read_text())).validate(log)
    (run,) = log["runs"]
    levels = {(result["ruleId"], result["level"]) for result in run["results"]}
    assert ("kv-cache-too-small", "error") in levels
    assert all(run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    prints = [result["partialFingerprints"]["serverAndRule/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


def test_an_alert_stays_the_same_where_lines_move(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.sh").write_text(SCRIPT)
    before = json.loads(sarif(judge_files(files_of([tmp_path / "a.sh"]))))
    (tmp_path / "a.sh").write_text(SCRIPT.replace("MODEL=", "# one\n# two\nMODEL="))
    after = json.loads(sarif(judge_files(files_of([tmp_path / "a.sh"]))))
    first, second = ([result["partialFingerprints"] for result in log["runs"][0]["results"]] for log in (before, after))
    assert first == second
    assert before != after


def test_a_strangers_text_stays_text_in_every_report(tmp_path):
    name = "a|b\n::error::x<img src=x>`@all.sh"
    (tmp_path / name).write_text("# plan: gpu=h100\nvllm serve 'Qwen/Qwen3-8B' --no-such=`<b>|x\n::set-output`\n")
    judged = judge_files([tmp_path / name])
    (row,) = [line for line in markdown(judged).splitlines() if "no-such" in line or "not read" in line]
    assert "<img" not in row.replace("\\<img", "")
    assert not re.search(r"(?<!\\)[<`@]", row)
    assert all(line.startswith("::") and "::error::x" not in line[2:] for line in workflow_commands(judged).splitlines())


def test_the_severity_is_that_of_the_verdict(judged):
    refused = [finding for server in judged.servers if server.verdict is Verdict.DOES_NOT_START for finding in server.findings]
    assert {finding.severity for finding in refused} == {Severity.ERROR}
    (open_,) = judge_text(
        'vllm serve Qwen/Qwen3-8B --max-model-len 8192 --kv-transfer-config \'{"kv_connector":"HF3FSConnector","kv_role":"kv_both"}\'', None, ASKED
    )
    assert [(finding.rule, finding.severity) for finding in open_.findings] == [("not-covered", Severity.NOTE)]


def test_a_documents_lines_are_those_of_the_file():
    large = [server for server in judge_text(MANIFESTS) if "235B" in server.model]
    assert {server.place.line for server in large} == {29}
    assert {finding.place.line for server in large for finding in server.findings} <= {29, 31}


def test_needs_machine_only_where_no_file_says_one():
    assert needs_machine(judge_files([])) is False


def test_the_command_line_over_a_folder(repository, tmp_path):
    done = run_plan("check", ".", "--json", cwd=repository)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"], answer["files_read"]) == (1, "does_not_start", 9)
    jsonschema.Draft202012Validator(json_schema("check")).validate(answer)
    assert run_plan("check", ".", "--fail-on", "never", "--format", "github", cwd=repository).returncode == 0
    refused = run_plan("check", "deploy/compose.yaml", "scripts/serve.sh", cwd=repository)
    assert (refused.returncode, refused.stdout.splitlines()[-1].partition(":")[0]) == (1, "3 servers in 2 files")
    (tmp_path / "a.sh").write_text("vllm serve Qwen/Qwen3-8B\n")
    nowhere = run_plan("check", ".", cwd=tmp_path)
    assert (nowhere.returncode, "for which GPU" in nowhere.stderr) == (2, True)
    words = run_plan("check", "vllm serve Qwen/Qwen3-8B", "--gpu", "h100", "--format", "sarif", cwd=tmp_path)
    assert (words.returncode, "is about files" in words.stderr) == (2, True)


def test_only_what_changed_since_a_commit_is_read(tmp_path):
    folder = checkout(tmp_path, {"a.sh": SCRIPT, "b/c.sh": SCRIPT, "d.sh": SCRIPT, "e.txt": "x\n"})
    (folder / "b/c.sh").write_text(SCRIPT + "\n")
    (folder / "new.sh").write_text(SCRIPT)
    (folder / "d.sh").unlink()
    (folder / "e.txt").write_text("y\n")
    assert [path.name for path in files_of([folder], "HEAD")] == ["c.sh", "new.sh"]
    assert [path.name for path in files_of([folder / "b"], "HEAD")] == ["c.sh"]
    (folder / ".plan.yaml").write_text("machines: []\n")  # the files may be for another machine now
    assert [path.name for path in files_of([folder], "HEAD")] == ["a.sh", "c.sh", "new.sh"]
    for wrong in ("gone", "--output=x"):
        with pytest.raises(PlannerError, match="--since"):
            files_of([folder], wrong)


def test_reports_are_written_beside_what_is_printed(repository, tmp_path):
    written = {style: tmp_path / style for style in ("sarif", "markdown", "json")}
    done = run_plan("check", ".", *(word for style, file in written.items() for word in ("--report", f"{style}={file}")), cwd=repository)
    assert (done.returncode, done.stdout.splitlines()[-1].partition(":")[0]) == (1, "9 servers in 9 files")
    assert json.loads(written["json"].read_text())["verdict"] == "does_not_start"
    assert json.loads(written["sarif"].read_text())["version"] == "2.1.0"
    assert "| scripts/serve.sh:8 |" in written["markdown"].read_text()
    assert "FORMAT=FILE" in run_plan("check", ".", "--report", "pdf=x", cwd=repository).stderr


README = """# Qwen

```bash
vllm serve Qwen/Qwen3-32B   # an example of something: nobody says for what
```

1. On an L4:

   ~~~{.sh}
   # plan: gpu=l4
   vllm serve Qwen/Qwen3-8B \\
     --max-model-len 40960
   ~~~

````console title=session
# plan: gpu=h100
(venv) $ vllm serve Qwen/Qwen3-32B \\
>   --max-model-len 40960
INFO vllm serve a/b --max-model-len 1
```
$ echo done
````

```python
# plan: gpu=l4
run("vllm serve Qwen/Qwen3-8B --max-model-len 40960")
```

```yaml
# plan: gpu=l4
services:
  llm:
    image: vllm/vllm-openai:v0.21.0
    command: [--model, Qwen/Qwen3-8B,
      --max-model-len, "40960"]
```
"""


def test_of_markdown_the_blocks_are_read_for_which_a_machine_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(README)
    judged = judge_files(files_of([Path()]), ASKED)
    lines = README.splitlines()
    flags = [number for number, line in enumerate(lines, 1) if "--max-model-len" in line and "40960" in line and "run(" not in line]
    found = [(result["region"]["startLine"], result["region"]["startColumn"]) for result in places(judged)]
    assert found == [(line, lines[line - 1].index("--max-model-len") + 1) for line in flags]
    assert [server.place.line for server in judged.servers] == [11, 17, next(n for n, line in enumerate(lines, 1) if "image:" in line)]
    assert not judged.unread


def places(judged):
    """Where the results of a SARIF log are."""
    (run,) = json.loads(sarif(judged))["runs"]
    return [result["locations"][0]["physicalLocation"] for result in run["results"]]


def test_of_markdown_a_pattern_of_the_settings_names_a_machine_too(tmp_path):
    (tmp_path / ".plan.yaml").write_text("machines: [{files: 'docs/*.md', gpu: l4}]\n")
    for name in ("docs/serve.md", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("```sh\nvllm serve Qwen/Qwen3-8B --max-model-len 40960\n")
    (server,) = judge_files(files_of([tmp_path]), ASKED).servers
    assert (server.file, server.place.line, server.verdict) == (str(tmp_path / "docs/serve.md"), 2, Verdict.DOES_NOT_START)


def test_of_markdown_a_block_that_cannot_be_read_hides_no_other(tmp_path):
    (tmp_path / "a.md").write_text(f"```sh\n# plan: gpu=h10000\n{SCRIPT}```\n\n```sh\n# plan: gpu=l4\nvllm serve Qwen/Qwen3-8B\n```\n")
    judged = judge_files([tmp_path / "a.md"])
    assert [(finding.rule, finding.place.line) for finding in judged.unread] == [(WRONG_MACHINE, 2)]
    assert [server.engine for server in judged.servers] == ["vllm"]


def test_the_command_line_reads_markdown_as_files(tmp_path):
    (tmp_path / "a.md").write_text(README)
    done = run_plan("check", "a.md", "--json", cwd=tmp_path)
    assert (done.returncode, len(json.loads(done.stdout)["servers"])) == (1, 3)


def test_a_server_without_a_model_is_named_that_of_another_file_of_its_folder(tmp_path):
    """What `plan --output` writes for Ollama: one file starts the server, another makes the model."""
    (tmp_path / "setup.sh").write_text("ollama serve &\nollama pull qwen3:8b\n")
    (tmp_path / "stack.sh").write_text("export OLLAMA_CONTEXT_LENGTH=8192\nexport OLLAMA_NUM_PARALLEL=2\nollama serve\n")
    for first in (["setup.sh", "stack.sh"], ["stack.sh", "setup.sh"]):
        judged = judge_files([tmp_path / name for name in first], ASKED)
        assert [(server.model, server.verdict) for server in judged.servers] == 2 * [("qwen3:8b", Verdict.STARTS)]
        assert sorted((Path(server.file).name, server.place.line) for server in judged.servers) == [("setup.sh", 2), ("stack.sh", 3)]
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "setup.sh").write_text("ollama pull qwen3:8b\n")
    alone = judge_files([tmp_path / "stack.sh", tmp_path / "far" / "setup.sh"], ASKED)
    assert [server.verdict for server in alone.servers] == [Verdict.UNKNOWN, Verdict.STARTS]

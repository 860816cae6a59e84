"""The documents are tested by running them; the code stays clean."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT, json_lines, run_plan

from benchmarks import examples
from planner.catalogue import load
from planner.engines.vllm.causes import CAUSES
from planner.facts.verdict import Grade, Verdict
from planner.questions.choose import CONTEXTS
from planner.report.schemas import json_schema

README = (ROOT / "README.md").read_text()
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in examples.PAGES}
GENERATED = ("docs/guide.md", "docs/accuracy.md", "docs/aiconfigurator.md", "docs/scoreboard.md")  # by benchmarks that tests hold current
SHOWN = {found["command"]: (page, found["shown"]) for page, text in PAGES.items() for found in examples.BLOCK.finditer(text)}
LINES = sorted(
    {
        line
        for page, text in PAGES.items()
        if page not in GENERATED
        for block in re.findall(r"(?ms)^```sh\n(.+?)^```$", text)
        for line in block.splitlines()
        if line.strip()
    }
)
# What no test can run, and what runs it instead.
ELSEWHERE = {
    "python3 -m venv .venv && ": ".ci/run",
    ".venv/bin/": ".ci/run",
    "cd my-stack": "",
    "./setup.sh": "tests/emit/test_deploy.py",
    "./stack.sh ": "tests/emit/test_stack_script.py",
    "./try.sh": "tests/emit/test_proxy.py",
    "export LITELLM_MASTER_KEY=": "tests/emit/test_proxy.py",
    "source my-stack/agent.env": "tests/emit/test_proxy.py",
    "docker compose up": "tests/emit/test_deploy.py",
    "kubectl ": "tests/emit/test_deploy.py",
    "systemctl --user ": "tests/emit/test_deploy.py",
    "plan bench ": "tests/machine/test_bench.py",
    "plan verify ": "tests/engines/vllm/test_verify.py",
    "curl http://127.0.0.1": "tests/emit/test_proxy.py",
    "nvidia-smi ": "tests/machine/test_detect.py",
    "plan --gpu auto ": "tests/machine/test_detect.py",
}
RUN = [line for line in LINES if not line.startswith(tuple(ELSEWHERE))]


@pytest.mark.parametrize("line", [pytest.param(line, marks=[] if line in README else pytest.mark.slow) for line in RUN])
def test_every_command_of_the_documents_runs(line, tmp_path):
    environment = examples.prepare(tmp_path)
    makes = re.search(r"plan emit (\S+)", line)
    if makes:  # of what another line writes
        maker = min((each for each in RUN if f"--output {makes[1]}" in each and each != line), key=len)
        assert subprocess.run(["bash", "-c", maker], cwd=tmp_path, env=environment, capture_output=True, check=False).returncode == 0
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == (1 if "# exit 1" in line else 0), done.stdout + done.stderr


def test_what_cannot_run_here_is_run_elsewhere():
    assert all(any(line.startswith(start) for line in LINES) for start in ELSEWHERE)
    assert all((ROOT / where).exists() for where in ELSEWHERE.values())


@pytest.mark.parametrize("command", SHOWN)
def test_every_answer_shown_is_todays(command):
    _, shown = SHOWN[command]
    assert shown == examples.cut(examples.printed(command), shown), "run `python -m benchmarks.examples`"


@pytest.mark.parametrize("page", sorted(page for page, text in PAGES.items() if "```python" in text and page not in GENERATED))
def test_every_python_example_runs(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"(?ms)^```python\n(.+?)^```$", PAGES[page]):
        exec(compile(code, page, "exec"), {})  # noqa: S102 - the page's own words


def test_the_prices_of_the_documents_are_read(tmp_path):
    (text,) = re.findall(r"(?ms)^```yaml\n(currency:.+?)^```$", PAGES["docs/choosing.md"])
    (tmp_path / "prices.yaml").write_text(text)
    done = run_plan("--model", "qwen3-8b", "--context", "8k", "--prices", "prices.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_stack_file_of_the_documents_is_planned(tmp_path):
    (text,) = re.findall(r"(?ms)^```yaml\n(# stack.yaml.+?)^```$", PAGES["docs/running-it.md"])
    (tmp_path / "stack.yaml").write_text(text)
    done = run_plan("-f", "stack.yaml", "--dry-run", "--format", "json", cwd=tmp_path)
    assert [service["name"] for service in json.loads(done.stdout)["services"]] == ["texts", "chat"]


def test_the_files_that_are_described_are_written(tmp_path):
    page = PAGES["docs/running-it.md"]
    described = set(re.findall(r"(?m)^\| `([\w.]+)` \|", page)) | {"custom_callbacks.py"}
    written = set()
    for asked in (("--model", "qwen3-8b"), ("--model", "ministral-3-14b-awq", "--context", "32k")):
        run_plan("--gpu", "rtx4090", *asked, "--output", "x", "--force", cwd=tmp_path)
        written |= {path.name for path in (tmp_path / "x").iterdir()}
    assert described <= written


def test_the_pictures_of_the_documents_are_there():
    for page, text in PAGES.items():
        for picture in re.findall(r"!\[[^]]{20,}\]\((\S+\.png)\)", text):
            assert (ROOT / page).parent.joinpath(picture).read_bytes().startswith(b"\x89PNG"), "run `python -m benchmarks.screenshots`"
    assert "](docs/pictures/page.png)" in README


def test_links_between_documents_lead_somewhere():
    for page, text in PAGES.items():
        for target, anchor in re.findall(r"\]\(([\w./-]+\.md)(?:#([\w-]+))?\)", text):
            found = (ROOT / page).parent / target
            assert found.exists(), f"{page}: {target}"
            headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in found.read_text().splitlines() if line.startswith("#")}
            assert not anchor or anchor in headings, f"{page}: {target}#{anchor}"


def test_the_site_has_every_page():
    nav = (ROOT / "mkdocs.yml").read_text()
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r": ([\w/-]+\.md)$", nav, re.MULTILINE)) == pages


def test_ci_runs_the_two_commands_of_the_readme():
    found = [
        subprocess.run([sys.executable, ROOT / ".ci" / "readme_blocks.py", which], capture_output=True, text=True, check=True).stdout
        for which in ("main", "tests")
    ]
    assert found[0].startswith("python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/plan ")
    assert found[1] == "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest -n 2\n"
    script = (ROOT / ".ci" / "run").read_text()
    assert all(f"readme_blocks.py {which})" in script for which in ("main", "tests"))


@pytest.mark.parametrize("what", [path.name.removesuffix(".schema.json") for path in sorted((ROOT / "schemas").glob("*.json"))])
def test_the_schemas_are_current(what):
    assert json.loads((ROOT / "schemas" / f"{what}.schema.json").read_text()) == json_schema(what), "run `python -m planner.cli.schema`"


def test_every_key_of_the_json_is_documented():
    page = (ROOT / "docs" / "json.md").read_text()
    for schema in map(json_schema, ("plan", "check", "explain")):
        for section in (schema, *schema["$defs"].values()):
            for key in section.get("properties", ()):  # an enum has none
                assert f"`{key}`" in page, key


def test_counts_in_the_texts_are_true():
    gpus, models = len(list(load.gpu_rows())), len(list(load.model_rows()))
    assert f"`plan list gpus`: {gpus} of them" in README
    assert f"`plan list models`: {models} of them" in README
    answers = json_lines("vllm_0.33_oracle.jsonl")
    counted = f"{len(answers):,} plans: {len({row['model'] for row in answers})} configurations"
    assert counted in (ROOT / "tests" / "oracle" / "README.md").read_text()


def test_numbers_in_the_texts_are_those_of_the_accuracy_page():
    page = PAGES["docs/accuracy.md"]
    (published,) = re.findall(r"(?m)^(\d+) published figures", page)
    assert f"fitted to {int(published):,} published figures" in README
    (single,) = re.findall(r"A step of one user alone: ([\d.]+) %", page)
    rows = re.findall(r"(?m)^\| (time per output token|output tokens a second|time to first token) \| \d+ \| ([\d.]+) %", page)
    medians = {name: float(value) for name, value in reversed(rows)}  # the first of each name is that of all classes
    said = {
        "a step of one user": float(single),
        "time per output token": medians["time per output token"],
        "throughput": medians["output tokens a second"],
        "time to first token": medians["time to first token"],
    }
    assert all(f"{name} {round(value)} %" in README.replace("\n", " ") for name, value in said.items()), said


def test_defaults_in_the_texts_are_those_of_the_code():
    choosing = PAGES["docs/choosing.md"]
    rows = {name: int(context.replace(",", "")) for name, context in re.findall(r"(?m)^\| `(\w+)` \| [^|]+ \| ([\d,]+) \|", choosing)}
    assert rows == CONTEXTS
    grades = set(re.findall(r"(?m)^\| (measured here|measured class|new model|new GPU|extrapolated) \|", PAGES["docs/reading-an-answer.md"]))
    assert grades == set(Grade)
    codes = {
        verdict.replace(" ", "_"): int(code) for verdict, code in re.findall(r"(?m)^\| \*([a-z ]+)\* \| .+ \| (\d) \|$", PAGES["docs/reading-an-answer.md"])
    }
    assert codes == {verdict: verdict.exit_code for verdict in Verdict}


def test_what_is_said_to_be_installed_can_be():
    """The name is not on the package index: messages name packages (tests/test_extras.py), documents install from the clone."""
    sources = "\n".join(path.read_text() for path in (ROOT / "planner").rglob("*.py"))
    assert "serve-plan[" not in "".join((sources, *PAGES.values()))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"'\.\[(\w+)\]'", README)) - {"test"} == {"web", "bench", "mcp", "parquet", "ray"} <= set(project["optional-dependencies"])
    dependencies = [re.match(r"[\w-]+", each)[0] for each in project["dependencies"]]
    assert len(dependencies) == len(set(dependencies))


def test_explain_knows_every_message_of_the_troubleshooting():
    """What the page quotes of a start that failed is a cause that `plan explain` understands."""
    (section,) = re.findall(r"(?ms)^## vLLM does not start\n(.+?)^## ", PAGES["docs/troubleshooting.md"])
    quoted = [message for bold in re.findall(r"(?m)^\*\*(.+?)\*\*", section) for message in re.findall(r"`([^`]+)`", bold)]
    assert len(quoted) >= 10
    for message in quoted:
        assert message == "ninja" or any(re.search(pattern, message.replace("…", "12")) for _, pattern in CAUSES), message

"""`--gpus FILE` and `--models FILE`: a person's own rows are known wherever a name is asked for, also in further processes, and win over ours."""

import json
import pickle

import pytest
from conftest import DATA, run_plan

from planner.catalogue.load import Catalogue, current, find_gpu, find_model, gpu_rows, using
from planner.catalogue.own import own_catalogue, replaced
from planner.errors import PlannerError

CARD = """\
- name: my-card
  title: My Card 20GB
  vendor: nvidia
  aliases: [mine]
  memory: gddr
  memory_mib: 20480
  cuda_total_gib: 19.5
  compute_capability: '8.9'
  bandwidth_gb_per_s: 700
  dense_tflops: {bf16: 100.0}
  pcie: {generation: 4, lanes: 16}
"""
SMALLER = CARD.replace("my-card", "rtx4090").replace("[mine]", "[]")
MODEL = """\
- name: my-model
  title: My Model
  family: mine
  kind: chat
  parameters: 8190735360
  released: '2026-01'
  variants:
  - {name: bf16, repo: me/my-model, default: true}
  config:
"""


@pytest.fixture
def gpus(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(CARD)
    return path


@pytest.fixture
def models(tmp_path):
    path = tmp_path / "models.yaml"
    config = json.loads((DATA / "configs" / "Qwen--Qwen3-8B.json").read_text())
    path.write_text(MODEL + "".join(f"    {key}: {json.dumps(value)}\n" for key, value in config.items()))
    return path


def test_own_rows_are_known_by_all_their_names_beside_ours(gpus, models):
    with using(own_catalogue(gpus, models)):
        assert find_gpu("mine").name == find_gpu("NVIDIA My Card 20GB").name == "my-card"
        assert find_model("me/my-model").name == find_model("My Model".replace(" ", "_")).name == "my-model"
        assert find_gpu("4090").name == "rtx4090"
        assert [row.name for row in gpu_rows()][-1] == "my-card"
        assert find_model("my-model").spec().layer_count == 36
        with pytest.raises(PlannerError) as caught:
            find_gpu("my-cart")
        assert caught.value.hint == "did you mean my-card?"
    assert current() == Catalogue()
    with pytest.raises(PlannerError):
        find_gpu("mine")


def test_a_row_of_our_name_stands_in_the_place_of_ours_with_all_its_names(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SMALLER)
    catalogue = own_catalogue(path, None)
    assert replaced(catalogue) == ["rtx4090"]
    with using(catalogue):
        assert find_gpu("rtx4090").memory_bytes == 20480 * 1024**2
        assert [row.name for row in gpu_rows()].count("rtx4090") == 1
        with pytest.raises(PlannerError):
            find_gpu("4090")  # an alias of the row whose place was taken


def test_equal_rows_are_equal_catalogues_in_any_process(gpus, models):
    first, second = own_catalogue(gpus, models), own_catalogue(gpus, models)
    assert (first, hash(first)) == (second, hash(second))
    assert first != own_catalogue(gpus, None)
    assert Catalogue().digest == ""


def test_a_plan_uses_them_and_its_commands_name_their_files(gpus, models, tmp_path):
    done = run_plan(
        "--gpus", "mine.yaml", "--gpu", "mine", "--models", "models.yaml", "--model", "my-model", "--json", "--dry-run", "--users", "64", cwd=tmp_path
    )
    found = json.loads(done.stdout)
    assert (found["hardware"]["gpu"], found["model"]["id"]) == ("my-card", "me/my-model")
    assert (found["question"]["own_gpus"], found["question"]["own_models"]) == ("mine.yaml", "models.yaml")
    assert found["alternatives"]
    assert all("--gpus mine.yaml --models models.yaml" in each["command"] for each in found["alternatives"])


COMMANDS = [
    ("--gpu", "mine", "--for", "chat", "--top", "2"),
    ("--model", "qwen3-8b", "--top", "0"),
    ("check", "--gpu", "mine", "vllm serve Qwen/Qwen3-0.6B"),
    ("capacity", "--gpu", "mine", "--model", "qwen3-0.6b"),
    ("compare", "--gpu", "mine", "--model", "qwen3-0.6b"),
    ("list", "gpus", "mycard"),
    ("explain", "--gpu", "mine", "--model", "qwen3-8b", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_every_command_that_names_a_gpu_takes_them(words, gpus, tmp_path):
    done = run_plan(*words, "--gpus", str(gpus), cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert "y Card" in done.stdout or "my-card" in done.stdout, done.stdout


def test_front_and_list_take_models(models, tmp_path):
    assert "my-model" in run_plan("list", "models", "--models", str(models), cwd=tmp_path).stdout
    done = run_plan("front", "--model", "my-model", "--models", str(models), "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["model"]) == (0, "my-model")


def test_a_sweep_takes_files_among_its_names_and_hands_them_to_its_workers(gpus, models, tmp_path):
    names = ["qwen3-0.6b", "qwen3-1.7b", "qwen3-4b"]
    for jobs in ("1", "2"):
        words = ("--gpus", f"rtx4090,{gpus}", "--models", f"{','.join(names)},{models}", "--counts", "1", "--contexts", "8k", "--jobs", jobs)
        done = run_plan("sweep", "--output", f"{jobs}.json", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "1.json").read_text() == (tmp_path / "2.json").read_text()
    rows = json.loads((tmp_path / "2.json").read_text())
    rows = rows["rows"] if isinstance(rows, dict) else rows
    assert {row["gpu"] for row in rows} == {"rtx4090", "my-card"}
    assert {row["model"] for row in rows} == {*names, "my-model"}


def test_whose_place_is_taken_is_said(tmp_path):
    (tmp_path / "mine.yaml").write_text(SMALLER)
    words = ("--gpus", "mine.yaml", "--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run")
    assert "plan: rtx4090 of mine.yaml in place of the catalogue's" in run_plan(*words, cwd=tmp_path).stderr
    assert run_plan(*words, "--quiet", cwd=tmp_path).stderr == ""


def test_config_toml_may_name_them(gpus, models, tmp_path):
    config = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert run_plan("config", "set", "gpus", "mine.yaml", cwd=tmp_path, **config).returncode == 0
    assert run_plan("config", "set", "models", "models.yaml", cwd=tmp_path, **config).returncode == 0
    assert run_plan("config", "set", "gpu", "mine", cwd=tmp_path, **config).returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = json.loads(run_plan("--model", "my-model", "--json", "--dry-run", cwd=elsewhere, **config).stdout)
    assert found["hardware"]["gpu"] == "my-card"
    assert "own_gpus" not in found["question"]  # the same command without the file does the same here
    done = run_plan("sweep", "--models", "my-model", "--gpus", "my-card", "--counts", "1", "--contexts", "8k", "--output", "x.csv", cwd=elsewhere, **config)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--gpus", "nothing.yaml", "--gpu", "x", "--model", "qwen3-8b"), "nothing.yaml: cannot be read"),
        (("--gpus", "bad.yaml", "--gpu", "x", "--model", "qwen3-8b"), "bad.yaml:5: memory_mib"),
        (("check", "--gpus", "bad.yaml", "--gpu", "x", "vllm serve x"), "bad.yaml:5: memory_mib"),
        (("sweep", "--gpus", "bad.yaml", "--output", "x.csv"), "bad.yaml:5: memory_mib"),
        (("sweep", "--gpus", "bad.yaml,worse.yaml", "--output", "x.csv"), "one file of own rows is read"),
        (("--models", "config.yaml", "--gpu", "rtx4090", "--model", "my-model"), "config.yaml: my-model"),
    ],
)
def test_a_fault_is_one_line_with_its_place(words, says, tmp_path):
    (tmp_path / "bad.yaml").write_text(CARD.replace("20480", "lots").replace("  aliases: [mine]\n", ""))
    (tmp_path / "config.yaml").write_text(MODEL + "    architectures: [NothingKnown]\n")
    done = run_plan(*words, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert says in done.stderr


def test_the_page_knows_them_in_each_of_its_processes(gpus, models):
    from starlette.testclient import TestClient

    from planner.web.app import app

    with using(own_catalogue(gpus, models)), TestClient(app(), base_url="http://127.0.0.1") as client:
        answer = client.get("/plan.json", params={"gpu": "mine", "model": "my-model"})
        assert answer.json()["hardware"]["gpu"] == "my-card"
        assert "my-card" in client.get("/", params={"gpu": "mine", "model": "my-model"}).text


def test_a_catalogue_travels_to_another_process(gpus, models):
    catalogue = own_catalogue(gpus, models)
    arrived = pickle.loads(pickle.dumps(catalogue))  # noqa: S301 - our own
    assert arrived == catalogue
    with using(arrived):
        assert find_model("my-model").spec() == catalogue.own_models["my-model"].spec(catalogue.own_models["my-model"].variants[0])

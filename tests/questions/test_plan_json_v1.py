"""Files of version 1 of the contract (release 0.1 wrote these) still load, and what is written from them is what they say."""

import json
from dataclasses import asdict, replace

import pytest
from conftest import ROOT, run_plan

from planner.emit import FORMATS, emit, emit_formats
from planner.errors import PlannerError
from planner.questions.asked import row_of
from planner.questions.plan import answer_for
from planner.questions.plan_file import read_deployment

FILES = sorted((ROOT / "tests" / "data" / "plan_json_v1").glob("*.json"))


def written(deployment):
    """Every file of every format that holds it."""
    files = emit(deployment)
    for name in FORMATS:
        try:
            files |= emit_formats(deployment, (name,))
        except PlannerError:
            continue
    return files


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads_as_it_was_written(path):
    data = json.loads(path.read_text())
    assert data["schema"] == 1
    read = json.loads(json.dumps(asdict(read_deployment(path))))
    for key, value in data["deployment"].items():
        if key != "services":
            assert read[key] == value
    for service, was in zip(read["services"], data["deployment"]["services"], strict=True):
        assert {key: service[key] for key in was} == was


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_files_are_those_of_today_s_answer_to_its_question(path):
    """As long as the answer is the one of then; a better default since is no fault of the file."""
    data = json.loads(path.read_text())
    machine = {key: value for key, value in data["question"].items() if key != "services"}
    rows = [row_of("version 1", machine, service) for service in data["question"]["services"]]
    rows[0].services.extend(row.services[0] for row in rows[1:])
    today, old = answer_for(rows[0]).deployment, read_deployment(path)
    if [(service.argv, service.env, service.notes) for service in today.services] == [(service.argv, service.env, service.notes) for service in old.services]:
        said = tuple(replace(service, slowest_answer_s=0) for service in today.services)  # which version 1 did not keep
        assert written(old) == written(replace(today, services=said))
    else:
        assert written(old).keys() == written(today).keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_emit_takes_it(path, tmp_path):
    done = run_plan("emit", str(path), "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    deployment = read_deployment(path)
    assert {name: (tmp_path / "out" / name).read_text() for name in emit(deployment)} == emit(deployment)

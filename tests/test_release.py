"""A release in a throw-away clone: one version, a closed change log, wheel and source distribution built once, a tag; or nothing at all."""

import datetime
import json
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from conftest import ROOT

from tests.judges import library
from tools import release

DAY = datetime.date(2031, 5, 6)
WHO = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "somebody"), ("EMAIL", "somebody@example.org"))}


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """This checkout as it is now, committed somewhere else."""
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository: an unpacked source distribution")
    folder = tmp_path / "clone"
    git(ROOT, "clone", "--quiet", str(ROOT), str(folder))
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if name in ("pyproject.toml", "CHANGELOG.md") or name.startswith("tools/"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "as it is")
    return folder


@pytest.mark.slow
def test_a_release(clone):
    library("build")
    entries = release.release(clone, "77.1.0", tries=False, day=DAY)
    assert "def " not in entries
    assert 'VERSION = "77.1.0"' in (clone / "planner" / "version.py").read_text()
    assert {json.loads(path.read_text())["plan_version"] for path in (clone / "outputs").glob("*/plan.json")} == {"77.1.0"}
    changes = (clone / "CHANGELOG.md").read_text()
    assert re.search(r"## Unreleased\n\n## 77\.1\.0 \(2031-05-06\)\n\n- ", changes)
    assert entries in changes
    assert git(clone, "describe") == "v77.1.0"
    assert git(clone, "status", "--porcelain") == ""
    assert {path.suffix for path in (clone / "dist").iterdir()} == {".whl", ".gz"}
    (wheel,) = (clone / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert b"\nVersion: 77.1.0\n" in archive.read("serve_plan-77.1.0.dist-info/METADATA")
    with pytest.raises(release.ReleaseError, match="nothing under"):
        release.release(clone, "77.2.0", tries=False, day=DAY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "spoil", "reason"),
    [
        ("0.2", None, "no version like"),
        ("0.0.9", None, "does not follow"),
        ("77.0.0", ("new.txt", "x"), "has changes"),
        ("77.0.0", ("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 0.1.0\n\n- The first.\n"), "nothing under"),
        ("77.0.0", ("planner/version.py", ""), "says no version"),
    ],
)
def test_what_stands_in_the_way_leaves_everything_as_it_was(version, spoil, reason, clone):
    if spoil:
        (clone / spoil[0]).write_text(spoil[1])
        if spoil[0] != "new.txt":
            git(clone, "commit", "--quiet", "--all", "--message", "spoiled")
    before = git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain")
    with pytest.raises(release.ReleaseError, match=reason):
        release.release(clone, version, tries=False, day=DAY)
    assert (git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain"), git(clone, "tag")) == (*before, "")


@pytest.mark.slow
def test_what_was_built_is_looked_at(clone):
    library("build")
    wheel, source = release.build(clone, clone / "dist")
    release.look_at(wheel, source, release.current(clone))
    with pytest.raises(release.ReleaseError, match="Version is"):
        release.look_at(wheel, source, "78.0.0")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tests/test_x.py", "")
    with pytest.raises(release.ReleaseError, match="carries tests"):
        release.look_at(wheel, source, release.current(clone))


@pytest.mark.slow
def test_a_dry_run_touches_nothing(clone):
    library("build")
    before = git(clone, "rev-parse", "HEAD")
    done = subprocess.run([sys.executable, "-m", "tools.release", "77.0.0", "--dry-run", "--no-trial"], cwd=clone, capture_output=True, text=True, check=False)
    assert (done.returncode, "could be released" in done.stdout) == (0, True), done.stderr
    assert (git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain"), git(clone, "tag"), (clone / "dist").exists()) == (before, "", "", False)


def test_versions_sort_as_releases_do():
    versions = ["0.1.0", "0.2.0a1", "0.2.0rc1", "0.2.0rc2", "0.2.0", "0.10.0", "1.0.0"]
    assert sorted(versions, key=release.order) == versions


def test_hooks_are_programs_of_the_constraints():
    """Nothing is fetched from elsewhere, and a hook is of the version that CI uses."""
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    programs = {hook["entry"].split()[1] for hook in repository["hooks"]}
    packages = {"check-yaml": "pre_commit_hooks", "end-of-file-fixer": "pre_commit_hooks", "ruff": "ruff"}
    assert all(packages[program] in constraints for program in programs - {"python"})


def test_the_constraints_hold_every_named_dependency():
    """Each dependency and each tool of `make` has its one version, and that is one which pyproject.toml allows."""
    named = {re.split(r"[=@ ]", line)[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for extra in ("test", "judges", "lint", "mutation", "docs", "dev") for each in extras[extra])]
    missing = {re.match(r"[\w-]+", each)[0].lower().replace("_", "-") for each in wanted} - named - {"serve-plan"}
    assert not missing, "run `make constraints`"

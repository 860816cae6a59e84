"""A release, whole: `python -m tools.release 0.2.0` in a clean checkout; `--dry-run` does it in a throw-away clone.

The version stands once, in planner/version.py (`plan --version`, the JSON and pyproject.toml read it there). CHANGELOG's "Unreleased" becomes the version
with its date. Wheel and source distribution are built once, from the commit; what was built is looked at and that wheel is tried on each Python that is
here (`nox -s wheel`); only then comes the tag. Nothing is pushed or uploaded: the last lines say how.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from email.message import Message
from email.parser import Parser
from pathlib import Path

VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
HOME = Path("planner") / "version.py"
IN_HOME = re.compile(r'(?m)^VERSION = "(.+)"$')
SAID = re.compile(r'"plan_version": "[^"]+"')
UNRELEASED = "## Unreleased\n"
# What a wheel without these would still build and start, and answer wrongly or not at all.
CARRIES = (
    "planner/py.typed",
    "planner/web/templates/page.html",
    "planner/web/static/style.css",
    "planner/catalogue/data/models.json",
    "planner/catalogue/data/gpus.json",
    "planner/catalogue/data/prices.json",
    "planner/catalogue/data/sizes.json",
)


class ReleaseError(Exception):
    """What stands in the way of a release, in one line."""


def run(root: Path, *command: str) -> str:
    """What a command prints. Raises ReleaseError with its last words where it fails."""
    done = subprocess.run(command, cwd=root, text=True, capture_output=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ReleaseError(f"{' '.join(command)} failed:\n{last}")
    return done.stdout.strip()


def order(version: str) -> tuple[int, int, int, tuple[str, int]]:
    """Sorts versions: a release after its candidates."""
    numbers, kind, candidate = re.split(r"(a|b|rc|$)", version, maxsplit=1)
    major, minor, patch = map(int, numbers.split("."))
    return major, minor, patch, (kind or "release", int(candidate or 0))


def check_that_it_may(root: Path, version: str) -> None:
    """Raise ReleaseError where this checkout is not one to release from, or the version is none that can follow."""
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"{version} is no version like 0.2.0 or 0.2.0rc1")
    if changed := run(root, "git", "status", "--porcelain"):
        raise ReleaseError(f"the checkout has changes:\n{changed}")
    if run(root, "git", "tag", "--list", f"v{version}"):
        raise ReleaseError(f"there is a tag v{version} already")
    now = current(root)
    if order(version) <= order(now):
        raise ReleaseError(f"{version} does not follow {now}")


def current(root: Path) -> str:
    """The version that its one home says."""
    text = (root / HOME).read_text("utf-8")
    if not (match := IN_HOME.search(text)):
        raise ReleaseError(f"{HOME} says no version")
    return match[1]


def set_version(root: Path, version: str) -> None:
    """Write the version into its one home, and into the answers that are kept beside the code: they say who made them."""
    path = root / HOME
    path.write_text(IN_HOME.sub(f'VERSION = "{version}"', path.read_text("utf-8"), count=1), "utf-8")
    for answer in (root / "outputs").glob("*/plan.json"):
        answer.write_text(SAID.sub(f'"plan_version": "{version}"', answer.read_text("utf-8"), count=1), "utf-8")


def close_changelog(root: Path, version: str, day: datetime.date) -> str:
    """Give what is unreleased its version and day, leave an empty "Unreleased" above it, and return the entries."""
    path = root / "CHANGELOG.md"
    before, heading, after = path.read_text("utf-8").partition(UNRELEASED)
    entries = re.split(r"(?m)^## ", after, maxsplit=1)[0].strip()
    if not heading or not entries:
        raise ReleaseError('CHANGELOG.md has nothing under "Unreleased"')
    path.write_text(f"{before}{heading}\n## {version} ({day.isoformat()})\n{after}", "utf-8")
    return entries


def build(root: Path, folder: Path) -> tuple[Path, Path]:
    """Wheel and source distribution into an empty folder: the wheel from the source distribution, so that this one is known to be whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    run(root, sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder))
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def look_at(wheel: Path, source: Path, version: str) -> None:
    """Raise ReleaseError where an index would refuse what was built, or a user would miss something in it."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        headers = [archive.read(metadata).decode()]
    with tarfile.open(source) as archive:
        member = archive.extractfile(f"{source.name.removesuffix('.tar.gz')}/PKG-INFO")
        headers.append(member.read().decode() if member else "")
    for said in (Parser().parsestr(text) for text in headers):
        _look_at_metadata(said, version)
    if missing := [name for name in CARRIES if name not in names]:
        raise ReleaseError(f"{wheel.name} lacks {', '.join(missing)}")
    if strays := sorted({name.split("/")[0] for name in names if not name.startswith(("planner/", "serve_plan-"))}):
        raise ReleaseError(f"{wheel.name} carries {', '.join(strays)}")


def _look_at_metadata(said: Message, version: str) -> None:
    wanted = {"Name": "serve-plan", "Version": version, "Description-Content-Type": "text/markdown"}
    if wrong := [f"{key} is {said[key]}, not {value}" for key, value in wanted.items() if said[key] != value]:
        raise ReleaseError("; ".join(wrong))
    if not str(said.get_payload()).strip() or not said["Requires-Python"] or not said["License-Expression"]:
        raise ReleaseError("the metadata lack a description, a licence or a lowest Python")


def release(root: Path, version: str, *, tries: bool, day: datetime.date) -> str:
    """Make the release in this checkout and return its entries of the change log. Whatever goes wrong leaves the checkout as it was."""
    check_that_it_may(root, version)
    head = run(root, "git", "rev-parse", "HEAD")
    try:
        set_version(root, version)
        entries = close_changelog(root, version, day)
        run(root, "git", "commit", "--quiet", "--all", "--message", f"Release {version}")
        wheel, source = build(root, root / "dist")
        look_at(wheel, source, version)
        if tries:
            print(f"trying {wheel.name}", flush=True)
            run(root, sys.executable, "-m", "nox", "-s", "wheel", "--", str(wheel))
        run(root, "git", "tag", "--annotate", f"v{version}", "--message", f"{version}\n\n{entries}")
    except BaseException:
        run(root, "git", "reset", "--quiet", "--hard", head)
        raise
    return entries


def main(words: Sequence[str] | None = None) -> int:
    """The command line: 0 where the release is made, 1 with a reason where it is not."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description="Version, change log, wheel and source distribution, their trial, tag.")
    parser.add_argument("version", help="like 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="do all of it in a throw-away clone of the last commit")
    parser.add_argument("--no-trial", action="store_true", help="do not try the wheel in fresh environments (needs the package index)")
    options = parser.parse_args(words)
    here = Path(__file__).parent.parent
    day = datetime.datetime.now(tz=datetime.UTC).date()
    try:
        if not options.dry_run:
            entries = release(here, options.version, tries=not options.no_trial, day=day)
            print(f"{entries}\n\n{options.version} is tagged; dist/ has what to upload:\n  git push --follow-tags\n  python -m twine upload dist/*")
            return 0
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "clone"
            run(here, "git", "clone", "--quiet", str(here), str(clone))
            entries = release(clone, options.version, tries=not options.no_trial, day=day)
            print(f"{entries}\n\n{options.version} could be released: {', '.join(sorted(path.name for path in (clone / 'dist').iterdir()))}")
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

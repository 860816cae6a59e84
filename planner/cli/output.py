"""Writing files: all or none, nothing that is there already, and never over what somebody else wrote or edited.

What lies in a folder is ours where .plan-manifest.json holds its digest, and that of a plan.json beside it: the manifest alone is no proof, it may
be a stranger's. Whoever forges both gave us the folder, and loses only what he put there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from errno import EISDIR
from pathlib import Path

from planner.errors import PlannerError, WorldError
from planner.facts.document import JsonObject, json_object
from planner.facts.record import dataclass
from planner.questions.question import Question, differences
from planner.writing import locked, made

MANIFEST, PLAN = ".plan-manifest.json", "plan.json"
MOST_BYTES = 4 * 1024 * 1024  # of a plan.json or a manifest that is read


@dataclass(frozen=True, slots=True)
class There:
    """What a folder holds: digests by name as earlier runs left them, and the question of its plan.json (None where it holds none)."""

    folder: Path
    digests: Mapping[str, str]
    plan: JsonObject | None

    @classmethod
    def read(cls, folder: Path) -> There:
        """Read both; what is no manifest or plan counts as none."""
        digests = {name: digest for name, digest in _json(folder / MANIFEST).items() if Path(name).name == name and isinstance(digest, str)}
        return cls(folder, digests, _json(folder / PLAN) or None)

    @property
    def question(self) -> object:
        """What the plan there was asked."""
        return self.plan.get("question") if self.plan else None

    def is_ours(self, name: str) -> bool:
        """Whether a file is as an earlier run left it."""
        return "deployment" in (self.plan or ()) and all(self._is_as_left(file) for file in (PLAN, name))

    def is_edited(self, name: str) -> bool:
        """Whether a file was written by an earlier run and changed since."""
        return name in self.digests and not self._is_as_left(name)

    def _is_as_left(self, name: str) -> bool:
        path = self.folder / name
        if path.is_symlink() or not path.is_file() or name not in self.digests:
            return False
        return _digest(path.read_bytes()) == self.digests[name]


def question_in(plan: Path) -> Question | None:
    """The question that a plan.json (or the one of a folder) answers; None where it does not say."""
    return json_object(_json(plan / PLAN if plan.is_dir() else plan).get("question")) or None


def write_files(
    folder: Path, files: Mapping[str, str | bytes], *, force: bool, question: Question | None = None, may_replace: bool = True, manifest: bool = True
) -> list[str]:
    """Write those files that are not there as they are; the names of these.

    `question` is what they answer, where no plan.json among them says it. With `may_replace` false only new files are written. Raises PlannerError where a file is not ours to replace, WorldError where the disk refuses.
    """
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    if any(Path(name).name != name for name in contents):
        raise PlannerError(f"{folder}: a file's name would lead out of the folder")
    try:
        if not _changed(folder, contents):
            return []  # on a disk that cannot be written to as well
        with _alone_in(folder):
            changed = _changed(folder, contents)
            there = There.read(folder) if manifest else There(folder, {}, None)
            asked = json.loads(contents[PLAN]).get("question") if PLAN in contents else question
            _refuse(there, changed, asked, force=force, may_replace=may_replace)
            stale: Iterable[str] = ()
            if manifest and changed:
                if PLAN in changed and force and there.question != asked:
                    stale = [name for name in there.digests if name not in contents and there.is_ours(name)]
                kept = {name: digest for name, digest in there.digests.items() if (folder / name).exists() and name not in stale}
                kept |= {name: _digest(content) for name, content in contents.items()}
                changed[MANIFEST] = (json.dumps(kept, indent=1) + "\n").encode()
            _replace(folder, changed)
            for name in stale:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        hint = "--output DIR writes elsewhere, --dry-run nowhere" if manifest else "name another place"
        raise WorldError(f"cannot write to {folder}: {error.strerror or error}", hint) from None
    return [name for name in changed if name != MANIFEST]


def write_anew(path: Path, text: str) -> None:
    """Put a text in a file's place, whole or not at all; a device or a pipe that somebody reads takes it too. Raises WorldError where the disk refuses."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with os.fdopen(os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0)), "wb") as stream:  # a pipe without a reader is an error
                os.set_blocking(stream.fileno(), True)
                stream.write(text.encode())
            return
        if path.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        with _alone_in(path.parent):
            _replace(path.parent, {path.name: text.encode()})
    except (OSError, ValueError) as error:  # a name that holds a zero byte
        raise WorldError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None


def can_write(folder: Path, files: Mapping[str, str | bytes], *, force: bool, may_replace: bool) -> bool:
    """Whether `write_files` would write a plan's files there, or they lie there already; nothing is touched."""
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    try:
        changed = _changed(folder, contents)
        if not changed:
            return True
        _refuse(There.read(folder), changed, json.loads(contents[PLAN]).get("question"), force=force, may_replace=may_replace)
        nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        return nearest.is_dir() and os.access(nearest, os.W_OK)
    except (OSError, PlannerError):
        return False


def _json(path: Path) -> JsonObject:
    """The object that a file holds; nothing where it holds none, is none (a device) or is too large."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return {}
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return json_object(data)


def _digest(content: bytes) -> str:
    import hashlib  # loads OpenSSL, which an answer that writes no file does without

    return hashlib.sha256(content).hexdigest()


def _changed(folder: Path, contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those files that are not there as they are to be."""
    return {name: content for name, content in contents.items() if not _holds(folder / name, content)}


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _refuse(there: There, changed: Mapping[str, bytes], question: Question | None, *, force: bool, may_replace: bool) -> None:
    """Raise PlannerError where what lies there must stay: what was edited, what another question's is, what is none of ours."""
    there_already = [name for name in changed if os.path.lexists(there.folder / name)]
    if folders := [name for name in there_already if (there.folder / name).is_dir()]:
        raise PlannerError(f"{there.folder}: {folders[0]} is a folder", "name another place")
    if force or not there_already:
        return
    reasons = []
    if question is not None and there.question is not None and there.question != question:
        theirs, mine = differences(there.question, question)
        reasons.append(f"written for {theirs}; this question has {mine}")
    edited = [name for name in there_already if there.is_edited(name)]
    if edited:
        reasons.append(f"{', '.join(edited)} was edited since it was written")
    if foreign := [name for name in there_already if name not in edited and not there.is_ours(name)] if not reasons else ():
        why = "" if PLAN in changed else ": another question's, or it was edited"
        reasons.append(f"{', '.join(foreign)} is there already, and is not what this gives{why}")
    if not reasons and PLAN in there_already and there.question is None:
        reasons.append("written by an earlier version of plan, for a question that it did not keep")
    if not reasons and not may_replace:
        reasons.append("what is asked is not met, and a plan is there")
    if reasons:
        raise PlannerError(f"{there.folder}: {'; '.join(reasons)}; nothing was changed", "--force replaces it; another folder or name keeps it")


def _replace(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Put all files in place, or leave everything as it was: each is written beside its place, then all are moved."""
    mark = os.urandom(4).hex()
    fresh = {name: folder / f".{mark}.{place}.new" for place, name in enumerate(contents)}
    old = {name: folder / f".{mark}.{place}.old" for place, name in enumerate(contents) if os.path.lexists(folder / name)}
    done: list[str] = []
    try:
        for name, content in contents.items():
            _write_new(fresh[name], content, mode=0o777 if name.endswith(".sh") else 0o666)
        for name, kept in old.items():
            _keep(folder / name, kept)
        for name in contents:
            fresh[name].replace(folder / name)  # a link is replaced, not followed
            done.append(name)
    except BaseException:
        for name in done:
            with suppress(OSError):
                old.pop(name).replace(folder / name) if name in old else (folder / name).unlink()
        raise
    finally:
        for path in (*fresh.values(), *old.values()):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _keep(path: Path, kept: Path) -> None:
    """Keep a file under a second name until all is in place."""
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError:  # a file system without links
        from shutil import copy2

        copy2(path, kept, follow_symlinks=False)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make a folder and be the only one who writes there: who looks while another's files are moved in sees half of them."""
    with made(folder), ExitStack() as stack:
        with suppress(OSError):  # a folder that may be written to, but not listed
            stack.enter_context(locked(folder))
        yield


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet; a link in its place is not followed."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode), "wb") as stream:
        stream.write(content)

"""What a Kubernetes API server is answered about an object before it is stored (admission.k8s.io/v1): the servers in it, judged on the GPUs it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.errors import PlannerError
from planner.facts.finding import FailOn, Finding, JudgedServer, Severity
from planner.facts.verdict import Verdict
from planner.questions.files.judge import judge_text
from planner.questions.files.machines import Target
from planner.reader import only_texts
from planner.text import redact, shown

API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"
MOST_LETTERS, MOST_WARNINGS = (
    250,
    16,
)  # an API server cuts a warning at 256 bytes and all at 4,096 (staging/src/k8s.io/apiserver/pkg/endpoints/filters/warning.go)
FORBIDDEN = 403


def reviewed(review: object, deny: FailOn, asked: Target | None = None) -> dict[str, object]:
    """The review with its response: warnings for a server that may not start, a refusal where its verdict is one that `deny` names.

    `asked` is the machine of objects that select none. Raises PlannerError for what is no review. An object that cannot be read is let pass.
    """
    uid, judged = _uid(review), list(_judged(review, asked))
    worst = min((server.verdict for server in judged), default=Verdict.STARTS)
    findings = [finding for server in judged for finding in server.findings if finding.severity is not Severity.NOTE]
    response: dict[str, object] = {"uid": uid, "allowed": not deny.fails(worst)}
    if findings:
        response["warnings"] = [_line(finding)[:MOST_LETTERS] for finding in findings[:MOST_WARNINGS]]
    if deny.fails(worst):
        response["status"] = {"code": FORBIDDEN, "message": "; ".join(_line(finding) for finding in findings[:MOST_WARNINGS]) or worst.words}
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _uid(review: object) -> str:
    request = review.get("request") if isinstance(review, dict) else None
    uid = request.get("uid") if isinstance(request, dict) else None
    if not isinstance(uid, str) or not isinstance(review, dict) or review.get("apiVersion") != API_VERSION or review.get("kind") != KIND:
        raise PlannerError(f"that is no {KIND} of {API_VERSION}", "an API server asks with apiVersion, kind and request.uid")
    return uid


def _judged(review: object, asked: Target | None) -> Iterator[JudgedServer]:
    import yaml

    request = review["request"] if isinstance(review, dict) else {}
    seen = request.get("object")
    if not isinstance(seen, Mapping) or request.get("operation") not in ("CREATE", "UPDATE"):
        return
    try:
        with only_texts():
            yield from judge_text(yaml.safe_dump(dict(seen), sort_keys=False), None, asked)
    except PlannerError:
        return  # a webhook that cannot read an object has nothing to say of it


def _line(finding: Finding) -> str:
    """A finding in one line, with what would do."""
    text = f"plan: {finding.message}{finding.fix and f'; try {finding.fix}'}"
    return redact(shown(text, len(text)))

"""Texts of strangers: what may go into a script, a configuration file or a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NOT_IN_A_LINE = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")  # controls, marks that turn the direction of writing, ends of lines, no characters


def is_line(text: str) -> bool:
    """Whether a text is one line that shows all it holds."""
    if text.isprintable():
        return True
    import unicodedata

    return not any(unicodedata.category(character) in _NOT_IN_A_LINE for character in text)


def shown(text: str, most: int = 60) -> str:
    """The beginning of a text, in one line that is safe for a terminal: what does not print stands there as it is escaped in JSON."""
    text = text[:most]
    return text if text.isprintable() else "".join(letter if is_line(letter) else _escaped(letter) for letter in text)


def visible(text: str) -> str:
    """Lines of text, safe for a terminal as in `shown`."""
    return text if text.isprintable() else "\n".join(shown(line, len(line)) for line in text.split("\n"))


def _escaped(letter: str) -> str:
    return f"\\u{ord(letter):04x}"


def slug(name: str) -> str:
    """A name safe in paths, YAML and shell: lower case letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model"


# Keys and passwords in commands, scripts and logs are never repeated: one place that blanks them. Its patterns are compiled once they are needed.
BLANK = "***"
_NAME = r"(?i:[\w.-]*(?:api[-_]?keys?|tokens?|secrets?|passwords?|passwd|access[-_]?keys?|private[-_]?keys?|credentials?|_key|-key))"
_FLAGS = ("--api-key", "--hf-token")  # also as prefixes of at least these letters, which argparse takes for them
_SHORTEST = {"--api-key": len("--api-k"), "--hf-token": len("--hf-t")}
_KNOWN = r"\b(?:hf_(?=[a-z]{0,60}[A-Z\d])|sk-|ghp_|gho_|github_pat_|glpat-|xox[abpr]-|AKIA|nvapi-|r8_)[\w-]{6,}"
_ASSIGNED = r"(?<![\w-])((?:[A-Za-z_]\w*_)?(?i:key|token|secret|password|passwd|credentials?|apikey))=(\"[^\"]*\"?|'[^']*'?|[^\s;&|]+)"
_JSON = rf"([\"']{_NAME}[\"']\s*:\s*[\"'])(?:[^\"'\\]|\\.)*"
_BEARER = r"(?i)\b(bearer\s+)[\w.~+/=-]{6,}"
_FLAG_TEXT = r"(--(?:api[-_]k(?:ey?)?|hf[-_]t(?:o(?:k(?:en?)?)?)?|[\w-]*(?:password|secret|api[-_]key)))(=|\s+)(\"[^\"]*\"?|'[^']*'?|[^\s-][^\s;&|]*)"


_OF_A_URL = r"(://)[^\s/@:]{0,100}:[^\s/@]{1,200}@"


def redact_known(text: str) -> str:
    """Text without what looks like a key or a token, and without the passwords of addresses: what may be done to any answer."""
    if "_" not in text and "-" not in text and "://" not in text and "KIA" not in text:
        return text
    return re.sub(_OF_A_URL, rf"\1{BLANK}@", re.sub(_KNOWN, BLANK, text))


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a key, a token or a password."""
    return re.search(r"(?i)(?:key|token|secret|password|passwd|credentials?)\Z", name) is not None


def redact(text: str) -> str:
    """Text without the keys, tokens and passwords that it names or that look like one."""
    text = re.sub(_ASSIGNED, rf"\1={BLANK}", text)
    text = re.sub(_FLAG_TEXT, rf"\1\2{BLANK}", text)
    text = re.sub(_JSON, rf"\1{BLANK}", text)
    return redact_known(re.sub(_BEARER, rf"\1{BLANK}", text))


def redact_words(words: Sequence[str]) -> list[str]:
    """The words of a command without its keys, tokens and passwords."""
    kept: list[str] = []
    hiding = False
    for word in words:
        if word.startswith("-") and len(word) > 1:
            name, equals, _ = word.partition("=")
            hiding = _is_secret(name)
            kept.append(f"{name}={BLANK}" if hiding and equals else redact(word))
            hiding = hiding and not equals
        else:
            kept.append(BLANK if hiding else redact(word))
    return kept


def _is_secret(flag: str) -> bool:
    """Whether the values of a flag are secret: every one that follows it."""
    flag = flag.replace("_", "-")
    if flag in ("-hft", "--apikey", "--token", "--hftoken"):
        return True
    if any(known.startswith(flag) and len(flag) >= _SHORTEST[known] for known in _FLAGS):
        return True
    return re.search(r"(?i)-(?:api-key|secret|secret-key|password|passwd|access-key|auth-token|access-token|api-token)$", flag) is not None

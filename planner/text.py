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
_KNOWN = (
    r"\b(?:hf_(?=[a-z]{0,60}[A-Z\d])|sk-|ghp_|gho_|github_pat_|glpat-|xox[abpr]-|AKIA|nvapi-|r8_)[\w-]{6,}"
    r"|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"  # a token of JSON (RFC 7519)
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:(?!-----)[\s\S]){0,20000}"
)
# a variable, or a setting in a message, whose value is a key: all that ends so
_HIDDEN = r"(?:key|token|secret|password|passwd|passphrase|credentials?|dsn|connection_?string|(?:(?<![A-Za-z])|(?<=DB)|(?<=PG))(?:pass|pwd|auth))"
_ASSIGNED = rf"(?<![\w-])((?!(?:OLD)?PWD=)[A-Za-z_]?\w*(?i:{_HIDDEN}))=(\"[^\"]*\"?|'[^']*'?|[^\s;&|]+)"
_JSON = rf"([\"']{_NAME}[\"']\s*:\s*[\"'])(?:[^\"'\\]|\\.)*"
_BEARER = r"(?i)\b(bearer\s+)[\w.~+/=-]{6,}"
_HEADER = r"(?i)\b(authorization|(?:set-)?cookie|[\w-]{0,60}api[-_]?key|[\w-]{1,60}[-_](?:token|secret|password|(?:access|auth|master|private|secret)[-_]key))(\s{0,5}:\s{0,5})(?!bearer)(?:basic\s+)?[^\s'\",;]{3,}"
_SPOKEN = r"(?i)\b(token|password|secret|api[ _-]?key)(\s+(?:is\s+|was\s+)?['\"]?)(?=[\w-]*\d)(?=[\w-]*[a-z])[\w-]{12,}"
_FLAG_TEXT = r"(--(?:api[-_]k(?:ey?)?|hf[-_]t(?:o(?:k(?:en?)?)?)?|token|[\w-]{0,60}(?:password|secret|api[-_]key|auth[-_]token|access[-_]token)))(=|\s+)(\"[^\"]*\"?|'[^']*'?|[^\s-][^\s;&|]*)"


_OF_A_URL = r"(://)(?!git@)[^\s/@'\"]{1,300}@"
_OF_A_QUERY = r"(?i)([?&][\w-]*(?:key|token|secret|password|signature|sig|credential)=)[^\s&'\"#]+"


def redact_known(text: str) -> str:
    """Text without what looks like a key or a token, and without those in addresses: what may be done to any answer."""
    if "_" not in text and "-" not in text and "://" not in text and "KIA" not in text and "eyJ" not in text:
        return text
    return re.sub(_OF_A_QUERY, rf"\1{BLANK}", re.sub(_OF_A_URL, rf"\1{BLANK}@", re.sub(_KNOWN, BLANK, text)))


def told(text: str) -> str:
    """Text as it may go out, to a terminal or into a file: in lines that are safe to show, without what looks like a key."""
    return visible(redact_known(text))


def is_secret_name(name: str) -> bool:
    """Whether a variable or a setting of this name holds a key, a token or a password."""
    return re.search(rf"(?i){_HIDDEN}\Z", name) is not None and name not in ("PWD", "OLDPWD")


def redact(text: str) -> str:
    """Text without the keys, tokens and passwords that it names or that look like one."""
    text = re.sub(_ASSIGNED, rf"\1={BLANK}", text)
    text = re.sub(_FLAG_TEXT, rf"\1\2{BLANK}", text)
    text = re.sub(_JSON, rf"\1{BLANK}", text)
    text = re.sub(_HEADER, rf"\1\2{BLANK}", re.sub(_BEARER, rf"\1{BLANK}", text))
    return redact_known(re.sub(_SPOKEN, rf"\1\2{BLANK}", text))


def redact_values(values: object, name: str = "") -> object:
    """Settings by name, however deep, without their keys, tokens and passwords."""
    if isinstance(values, dict):
        return {key: redact_values(value, str(key)) for key, value in values.items()}
    if is_secret_name(name) and values not in (None, "", [], False, True):
        return BLANK
    if isinstance(values, list | tuple):
        return [redact_values(value) for value in values]
    return redact(values) if isinstance(values, str) else values


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


def behind_keys(words: Sequence[str]) -> set[str]:
    """Words that may be keys as they stand behind a flag of keys, further ones than it takes among them."""
    found: set[str] = set()
    hiding = False
    for word in words:
        if word.startswith("-") and len(word) > 1:
            hiding = _is_secret(word.partition("=")[0])
        elif hiding:
            found.add(word)
    return found


def _is_secret(flag: str) -> bool:
    """Whether the values of a flag are secret: every one that follows it."""
    flag = flag.replace("_", "-")
    if flag in ("-hft", "--apikey", "--token", "--hftoken"):
        return True
    if any(known.startswith(flag) and len(flag) >= _SHORTEST[known] for known in _FLAGS):
        return True
    return re.search(r"(?i)-(?:api-key|secret|secret-key|password|passwd|access-key|auth-token|access-token|api-token)$", flag) is not None

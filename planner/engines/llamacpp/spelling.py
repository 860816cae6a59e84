"""How publishers of GGUF files spell the names of models and quantizations: google_gemma-3-27b-it-qat, gemma4-12b, q4km, UD_Q4_K_XL."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MIX = re.compile(r"(?:(UD)[-_]?)?(I?Q\d)_?(?:(K|[01](?=_|$))_?)?(?:(XXS|XS|NL|XL|S|M|L))?")
_UNSLOTHS = re.compile(r"Q[4568]_K_XL")  # nobody else's, with or without UD-; Q3_K_XL may be bartowski's, Q2_K_XL one of their own of 2025
_SHORT = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q8": "Q8_0", "Q8_K": "Q8_0"}  # llama-quantize's own other names, and people's
_MAKERS = re.compile(r"\A(?:[A-Za-z0-9.]+-?[A-Za-z0-9.]*_(?=[A-Za-z])|meta-(?=llama))", re.IGNORECASE)  # bartowski's files: the owner, an underline, the name
_ENDINGS = re.compile(r"[-_.](?:it|instruct|chat|qat|text|gguf|imat|imatrix|i1|ud)\Z", re.IGNORECASE)


def spelled(mix: str) -> str:
    """A quantization as llama.cpp writes it, Unsloth's with UD-: of q4km Q4_K_M, of ud-q4kxl UD-Q4_K_XL, of iq3xxs IQ3_XXS; another as it is, in capitals."""
    name = mix.upper().replace(".", "_")
    match = _MIX.fullmatch(name)
    if match is None:
        return name
    parts = "_".join(part for part in match.groups()[1:] if part)
    parts = _SHORT.get(parts, parts)
    return f"UD-{parts}" if match[1] or _UNSLOTHS.fullmatch(parts) else parts


def is_qat(name: str) -> bool:
    """Whether a name says that the model was trained for four bits, as Google's: its file of "q4" is Q4_0."""
    return bool(re.search(r"(?:\A|[-_.])qat(?:\Z|[-_.])", name, re.IGNORECASE))


def spellings(name: str) -> tuple[str, ...]:
    """A model's name as a file has it, then as the catalogue, the Hub or Ollama's library may: without the maker, without endings, with a hyphen after the family."""
    bare = [form for base in (name, _MAKERS.sub("", name, count=1)) for form in _endless(base)]
    return tuple(dict.fromkeys(form for base in bare for form in (base, _hyphened(base), _tag(base)) if form))


def _hyphened(name: str) -> str:
    """gemma4-12b -> gemma-4-12b."""
    return re.sub(r"\A([A-Za-z]+)(\d)", r"\1-\2", name)


def _tag(name: str) -> str:
    """llama3.1-8b -> llama3.1:8b."""
    return re.sub(r"-(\d+(?:\.\d+)?[bm])\Z", r":\1", name, flags=re.IGNORECASE).lower()


def _endless(name: str) -> Iterator[str]:
    """A name, and without each of its endings."""
    yield name
    while (shorter := _ENDINGS.sub("", name)) != name:
        yield (name := shorter)


def library_names(tag: str) -> Iterator[tuple[str, float]]:
    """What a tag of Ollama's library may be called elsewhere, each with the billions of weights that it says; 0 where it says none.

    phi4-reasoning:14b-plus -> phi-4-reasoning-plus, lfm2.5-thinking:1.2b -> lfm2.5-1.2b-thinking, kimi-k2:1t -> kimi-k2.
    """
    family, _, rest = tag.lower().partition(":")
    match = _SIZE.match(rest)
    size, more = (match[0], rest[match.end() :].lstrip("-")) if match else ("", rest)
    billions = float(match[1]) * _BILLIONS[match[2]] if match else 0.0
    kin, _, kind = family.rpartition("-")
    names = [(family, more), (family, size, more), (family, more, size), (kin, size, kind, more)]
    for parts in names:
        if all(parts[:1]) and (name := "-".join(part for part in parts if part)):
            yield from ((form, billions) for form in dict.fromkeys((name, _hyphened(name))))


_SIZE = re.compile(r"(\d+(?:\.\d+)?)([mbt])(?=-|\Z)")
_BILLIONS = {"m": 0.001, "b": 1.0, "t": 1000.0}

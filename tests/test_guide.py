"""docs/guide.md holds a counterpart of every block of the guide, and is what `plan` emits today."""

import re

import pytest
from conftest import ROOT

from benchmarks import from_the_guide, guide

GUIDE = ROOT.parent / "shared" / "seed" / "local-llm-setup-guide.md"


def blocks() -> list[tuple[str, str]]:
    """(heading, first line that is no comment) of every block that has a language."""
    found, heading, language, lines = [], "", None, []
    for line in GUIDE.read_text().splitlines():
        if line.startswith("```"):
            if language is None:
                language, lines = line[3:].strip(), []
            else:
                code = [each for each in lines if each.strip() and not each.lstrip().startswith("#")]
                if language:
                    found.append((heading, code[0].strip()))
                language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


@pytest.mark.skipif(not GUIDE.exists(), reason="../shared is not here")
def test_every_block_of_the_guide_has_its_counterpart():
    assert [(block.heading, block.first.strip()) for block in from_the_guide.BLOCKS] == blocks()


@pytest.mark.slow
def test_the_page_is_what_plan_emits():
    assert guide.PAGE.read_text() == guide.page(), "run `python -m benchmarks.guide`"


def test_no_sentence_of_the_guide_is_copied():
    if not GUIDE.exists():
        pytest.skip("../shared is not here")
    sentences = {sentence.strip() for sentence in re.split(r"(?<=[.!?])\s+|\n", GUIDE.read_text()) if len(sentence.split()) >= 9}
    page = guide.PAGE.read_text()
    assert [sentence for sentence in sentences if sentence in page] == []

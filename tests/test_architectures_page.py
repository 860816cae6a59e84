"""docs/architectures.md says which names of vLLM's registry are known, and is current."""

from benchmarks.architectures import PAGE, counts, frozen, page


def test_the_page_is_current():
    assert PAGE.read_text() == page(frozen()), "python -m benchmarks.architectures"


def test_most_of_the_registry_is_known():
    known, count = counts(frozen())
    assert count >= 400
    assert known >= 350

"""A minute of fuzzing, the same every time; `make fuzz` looks for what nobody has seen yet."""

import pytest
from fuzz import READERS, fuzz, seeds


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_no_bent_input_breaks_a_reader(reader):
    assert seeds(reader)
    broken = next(fuzz(reader, 4.0), None)
    assert broken is None, f"{broken.why}\n{broken.data[:2000]!r}"

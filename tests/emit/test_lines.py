"""YAML that is written without PyYAML is PyYAML's, for any document."""

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from planner.emit.lines import yaml_text

TEXTS = (
    st.text()
    | st.from_regex(r"[A-Za-z0-9/_.:@-]{0,12}", fullmatch=True)
    | st.sampled_from(["yes", "No", "null", "~", "1e9", "0x1", "22:30", "a: b", "a:", ".inf"])
)
VALUES = TEXTS | st.integers() | st.floats() | st.booleans() | st.none()
NODES = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12)


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


@given(st.dictionaries(TEXTS, NODES, max_size=4))
@example({"a": {"b": [{"c": 1, "d": [[2, 3], [{"e": 0.7}]]}], "f": "http://127.0.0.1:8000/v1"}})
@example({"a": {}, "b": [[], {}]})
@example({"a" * 130: "b"})
@example({"a": "line\n"})
def test_it_is_what_pyyaml_writes(document):
    assert yaml_text(document) == yaml.dump(document, Dumper=Dumper, sort_keys=False, width=1000)

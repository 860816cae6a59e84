"""The lean dataclass beside the standard library's: whatever one does, the other does."""

import copy
import dataclasses
import pickle
import pprint
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.facts import record
from planner.facts.hardware import GpuSpec
from planner.facts.record import dataclass


def with_text_types(decorator):
    """A class whose annotations are texts, one of them special: `from __future__ import annotations`, which the program has everywhere."""
    body = {"__annotations__": {"size": "int", "limit": "ClassVar[int]", "name": "str"}, "limit": 3, "name": "n", "__module__": "planner.facts.deployment"}
    plain = {"__annotations__": {"size": "int", "name": "str | None"}, "name": None}
    return [decorator(frozen=True, slots=True)(type("Texts", (), dict(names))) for names in (body, plain)]


def shapes(decorator):
    """One class of each kind that the program has, made by a decorator."""

    @decorator(frozen=True, slots=True, kw_only=True)
    class Named:
        name: str
        size: int = 3
        more: dict[str, int] = dataclasses.field(default_factory=dict)
        own: object = dataclasses.field(default=None, repr=False, compare=False)

        @property
        def twice(self) -> int:
            return 2 * self.size

    @decorator(frozen=True, slots=True)
    class Placed:
        left: int
        right: str = "r"

    @decorator(slots=True)
    class Open:
        value: int = 0

    @decorator(frozen=True, kw_only=True, eq=False)
    class Row:
        name: str

        def __post_init__(self):
            if not self.name:
                raise ValueError("no name")

    return Named, Placed, Open, Row


OURS, THEIRS = shapes(dataclass), shapes(dataclasses.dataclass)
OWN_INIT = shapes(dataclass)  # classes that have an `__init__` of their own already, as those that made many objects
for class_ in OWN_INIT:
    record._own_init(class_._shape)
Named, Placed, Open, Row = OURS
Held = dataclass(frozen=True, slots=True)(type("Held", (), {"__annotations__": {"value": "int"}, "__module__": __name__}))


def outcome(act):
    """What comes of something: the printed value, or the kind of error."""
    try:
        return repr(act()).replace("shapes.<locals>.", "")
    except Exception as error:  # compared with the other's
        return type(error).__name__


@pytest.mark.parametrize("changes", [{}, {"size": 4}, {"name": "b", "more": {"x": 1}}, {"own": 3}, {"none": 1}], ids=str)
def test_another_object_of_an_object(changes):
    for ours, theirs in zip((OURS[0], OWN_INIT[0]), (THEIRS[0], THEIRS[0]), strict=True):
        assert outcome(lambda ours=ours: record.replace(ours(name="a", own=2), **changes)) == outcome(
            lambda theirs=theirs: dataclasses.replace(theirs(name="a", own=2), **changes)
        )
    assert record.replace(OURS[0](name="a", own=2)).own == 2


def test_another_object_is_looked_at_by_its_class():
    with pytest.raises(ValueError, match="no name"):
        record.replace(OURS[3](name="a"), name="")
    assert record.replace(OURS[1](1), right="b") == OURS[1](1, "b")


@pytest.mark.parametrize("kind", range(4), ids=["named", "placed", "open", "row"])
@pytest.mark.parametrize(
    "act",
    [
        lambda kind: kind(),
        lambda kind: kind("a"),
        lambda kind: kind(name="a"),
        lambda kind: kind(name=""),
        lambda kind: kind(name="a", size=4, more={"x": 1}, own=2),
        lambda kind: kind(1, right="x"),
        lambda kind: kind(1, left=2),
        lambda kind: kind(nothing=1),
        lambda kind: kind(name="a", nothing=1),
        lambda kind: kind(value=7),
        lambda kind: [(field.name, field.type, field.kw_only) for field in dataclasses.fields(kind)],
        lambda kind: kind.__annotations__,
        lambda kind: dataclasses.asdict(kind(name="a")),
        lambda kind: dataclasses.replace(kind(name="a"), name="b"),
        lambda kind: dataclasses.replace(kind(1), right="b"),
        lambda kind: setattr(kind(name="a"), "name", "b"),
        lambda kind: setattr(kind(value=1), "value", 2),
        lambda kind: setattr(kind(value=1), "other", 2),
        lambda kind: delattr(kind(1), "left"),
        lambda kind: kind(name="a") == kind(name="a", own=3),
        lambda kind: kind(name="a") == kind(name="b"),
        lambda kind: kind(1) == (1, "r"),
        lambda kind: hash(kind(1)) == hash(kind(1)),
        lambda kind: hash(kind(value=1)),
        lambda kind: hasattr(kind, "__dict__") and hasattr(kind(1), "__dict__"),
        lambda kind: kind.__match_args__,
        lambda kind: kind(name="a").twice,
    ],
)
def test_whatever_one_does_the_other_does(kind, act):
    assert outcome(lambda: act(OURS[kind])) == outcome(lambda: act(OWN_INIT[kind])) == outcome(lambda: act(THEIRS[kind]))


def test_a_class_that_makes_many_objects_gets_an_init_of_its_own():
    Placed, Open = shapes(dataclass)[1:3]
    assert [Placed(number) for number in range(2 * record._PLAIN)] == [Placed(number) for number in range(2 * record._PLAIN)]
    assert Placed.__init__ is not Open.__init__


def test_classes_above_give_their_fields_first_and_are_told_in_the_same_way():
    def below(decorator, above):
        @decorator(frozen=True, slots=True, kw_only=True)
        class Below(above):
            more: int = 2
            size: int = 7

        return Below

    ours, theirs = (below(decorator, kinds[0])(name="a") for decorator, kinds in ((dataclass, OURS), (dataclasses.dataclass, THEIRS)))
    assert outcome(lambda: ours) == outcome(lambda: theirs)
    assert list(dataclasses.asdict(ours)) == list(dataclasses.asdict(theirs)) == ["name", "size", "more", "own"]
    assert type(ours).__slots__ == type(theirs).__slots__
    assert ours == copy.copy(ours) != Named(name="a", size=7)
    assert pprint.pformat(Placed(1)) == "shapes.<locals>.Placed(left=1, right='r')"


def test_annotations_that_are_texts_stay_so():
    for ours, theirs in zip(with_text_types(dataclass), with_text_types(dataclasses.dataclass), strict=True):
        assert [(field.name, field.type) for field in dataclasses.fields(ours)] == [(field.name, field.type) for field in dataclasses.fields(theirs)]
        assert ours.__annotations__ == theirs.__annotations__
        assert repr(ours(size=1)) == repr(theirs(size=1))


@given(st.integers(), st.text())
def test_objects_are_equal_and_hashed_by_their_fields(left, right):
    assert Placed(left, right) == Placed(left=left, right=right)
    assert hash(Placed(left, right)) == hash(Placed(left, right))
    assert Placed(left, right) != Placed(left + 1, right)


def test_frozen_objects_are_copied_and_sent_to_other_processes():
    sys.modules[__name__].Held = Held
    assert pickle.loads(pickle.dumps(Held(4))) == Held(4)  # noqa: S301 - our own
    assert copy.deepcopy(Held(4)) == copy.copy(Held(4)) == Held(4)


def test_the_programs_own_types_are_made_so():
    assert GpuSpec.__hash__ is Placed.__hash__
    assert dataclasses.is_dataclass(GpuSpec)

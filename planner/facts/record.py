"""`dataclass` as the standard library's, made in a fiftieth of the time: the command line defines over a hundred before it answers.

The standard library compiles five or six methods for each class, makes a class with slots twice and looks into each annotation's text three times
(0.7 ms). Here the class is made once; comparing, hashing, printing, refusing to be set and `__init__` are functions that all classes share, and what
they read of a class is worked out when they first need it: most classes make no object in one run. A class that makes many gets an `__init__` of its own.
To a type checker this is `dataclasses.dataclass`; `fields`, `replace`, `asdict` and patterns work as with it (tests/facts/test_record.py: side by side).
`replace` is the standard library's too, in half the time: a search makes thousands of settings of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass, replace
else:
    import dataclasses
    from functools import cache, cached_property
    from operator import attrgetter

    _PLAIN = 200  # objects that a class makes before an `__init__` of its own is compiled for it: about where that is paid back

    def dataclass(cls=None, /, *, frozen=False, slots=False, kw_only=False, eq=True):
        """A dataclass whose methods are shared; of the standard one's options those that are used here."""

        def make(plain):
            held = vars(plain)
            own = {name: (kind, held.get(name, dataclasses.MISSING), kw_only) for name, kind in plain.__annotations__.items()}
            shape = _Shape([vars(base)["_shape"] for base in plain.__mro__[:0:-1] if "_shape" in vars(base)], own, (frozen, slots, kw_only, eq))
            shape.made = (_with_slots if slots else _with_dictionary)(plain, shape, _methods(frozen, eq))
            return shape.made

        return make if cls is None else make(cls)

    @cache
    def _methods(frozen, eq):
        """The shared methods that a class gets where it has none of its own."""
        methods = {"__repr__": _repr, "__replace__": replace}
        if eq:
            methods |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
        if frozen:
            methods |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete, "__getstate__": _state, "__setstate__": _restore}
        return methods

    def _with_slots(plain, shape, methods):
        """The class once more, with a slot for each field that none above it has."""
        body = {**methods, **vars(plain), **shape.attributes, "__qualname__": plain.__qualname__}
        for name in ("__dict__", "__weakref__", *shape.own_fields):
            body.pop(name, None)
        above = {name for base in shape.above for name in base.own_fields} if shape.above else ()
        body["__slots__"] = tuple([name for name in shape.own_fields if name not in above])
        return type(plain)(plain.__name__, plain.__bases__, body)

    def _with_dictionary(plain, shape, methods):
        """The class itself, with the defaults of its fields as attributes."""
        for name, (_, value, _) in shape.own_fields.items():
            if isinstance(value, dataclasses.Field):
                if value.default is dataclasses.MISSING:
                    delattr(plain, name)
                else:
                    setattr(plain, name, value.default)
        for name, value in {**{name: method for name, method in methods.items() if name not in vars(plain)}, **shape.attributes}.items():
            setattr(plain, name, value)
        return plain

    class _Shape:
        """The fields of one class: name, annotation, default and whether it is named only; and what the shared methods read of them, once it is asked."""

        def __init__(self, above, own, options):
            self.above, self.own, self.options, self.made, self.left = above, own, options, None, _PLAIN
            self.own_fields = {name: field for name, field in own.items() if "ClassVar" not in str(field[0])}
            self.placed = () if options[2] and not above else tuple(name for name, (_, _, named) in self.all_fields().items() if not named)
            self.attributes = {
                "_shape": self,
                "__dataclass_fields__": _FIELDS,
                "__dataclass_params__": _PARAMS,
                "__match_args__": self.placed,
                "__init__": _init,
            }

        def all_fields(self):
            """Those of the classes above first, as the standard library orders them."""
            fields = {}
            for base in self.above:
                fields |= base.own_fields
            return fields | self.own_fields

        @cached_property
        def fields(self):
            """What `dataclasses.fields` reads."""
            inherited = {name: field for base in self.above for name, field in base.fields.items()}
            return inherited | {name: self._field(name, *told) for name, told in self.own.items()}

        def _field(self, name, kind, value, named):
            field = value if isinstance(value, dataclasses.Field) else dataclasses.field(default=value)
            field.name, field.type, field.kw_only = name, kind, named
            field._field_type = dataclasses._FIELD if name in self.own_fields else dataclasses._FIELD_CLASSVAR
            return field

        @cached_property
        def setters(self):
            """What sets each field, also of a frozen object: its slot, else its dictionary."""
            return [(name, _setter(self.made, name)) for name in self.all_fields()]

        @cached_property
        def named_setters(self):
            """The same by name."""
            return dict(self.setters)

        @cached_property
        def values(self):
            """What reads all fields of an object as a tuple."""
            return _values([name for name, _ in self.setters])

        @cached_property
        def defaults(self):
            """Fields that need not be given: their default, or nothing where it is made for each object."""
            told = {name: value.default if isinstance(value, dataclasses.Field) else value for name, (_, value, _) in self.all_fields().items()}
            return {name: value for name, value in told.items() if value is not dataclasses.MISSING or name in self.factories}

        @cached_property
        def factories(self):
            """What makes a default for each object."""
            told = {name: value.default_factory for name, (_, value, _) in self.all_fields().items() if isinstance(value, dataclasses.Field)}
            return {name: make for name, make in told.items() if make is not dataclasses.MISSING}

        @cached_property
        def checks(self):
            """Whether a new object is looked at once more by its class."""
            return hasattr(self.made, "__post_init__")

        @cached_property
        def compared(self):
            """What reads the fields by which two objects are equal, as a tuple."""
            return _values([name for name, (_, value, _) in self.all_fields().items() if not isinstance(value, dataclasses.Field) or value.compare])

    class _Fields:
        def __get__(self, held, owner):
            return owner._shape.fields

    class _Params:
        def __get__(self, held, owner):
            frozen, slots, kw_only, eq = owner._shape.options
            alike = dataclasses.dataclass(repr=False, eq=eq, frozen=frozen, slots=slots, kw_only=kw_only)(type("Alike", (), {}))
            return alike.__dataclass_params__

    _FIELDS, _PARAMS = _Fields(), _Params()

    def _values(names):
        """What reads these fields of an object as a tuple."""
        if len(names) == 1:
            read = attrgetter(names[0])
            return lambda held: (read(held),)
        return attrgetter(*names) if names else lambda held: ()

    def _setter(made, name):
        slot = getattr(made, name, None)
        if type(slot) is type(_Slotted.slot):
            return slot.__set__
        return lambda held, value: object.__setattr__(held, name, value)

    class _Slotted:
        __slots__ = ("slot",)

    def _init(self, *args, **values):
        """`__init__` of every class until it has one of its own, which also says what is wrong with the arguments."""
        shape = self._shape
        shape.left -= 1
        if args:
            given = {**shape.defaults, **dict(zip(shape.placed, args, strict=False)), **values}
        else:
            given = values if len(values) == len(shape.setters) else {**shape.defaults, **values}
        twice = args and (len(args) > len(shape.placed) or (values and not values.keys().isdisjoint(shape.placed[: len(args)])))
        if shape.left <= 0 or twice or len(given) != len(shape.setters):
            _own_init(shape)(self, *args, **values)
            return
        for name, make in shape.factories.items():
            if given[name] is dataclasses.MISSING:
                given[name] = make()
        try:
            for name, put in shape.setters:
                put(self, given[name])
        except KeyError:  # as many as there are fields, and one that is none of them
            _own_init(shape)(self, *args, **values)
            return
        if shape.checks:
            self.__post_init__()

    def replace(held, /, **changes):
        """Another object with other values of some fields, which its class looks at as at every new one."""
        shape = held._shape
        made = object.__new__(held.__class__)
        for (_, put), value in zip(shape.setters, shape.values(held), strict=True):
            put(made, value)
        for name, value in changes.items():
            if name not in shape.named_setters:
                raise TypeError(f"{held.__class__.__name__} has no field {name!r}")
            shape.named_setters[name](made, value)
        if shape.checks:
            made.__post_init__()
        return made

    def _own_init(shape):
        """Give a class an `__init__` as the standard library writes it: fields in their order, factories called, `__post_init__` last."""
        known, parts, named, body = {"_missing": dataclasses.MISSING}, [], [], []
        for place, (name, put) in enumerate(shape.setters):
            known[f"_set{place}"], default, value = put, "", name
            if name in shape.factories:
                known[f"_make{place}"], default = shape.factories[name], "=_missing"
                value = f"_make{place}() if {name} is _missing else {name}"
            elif name in shape.defaults:
                known[f"_default{place}"], default = shape.defaults[name], f"=_default{place}"
            (parts if name in shape.placed else named).append(name + default)
            body.append(f"    _set{place}(self, {value})")
        if shape.checks:
            body.append("    self.__post_init__()")
        words = ", ".join(["self", *parts, *(["*", *named] if named else [])])
        exec("\n".join([f"def __init__({words}):", *(body or ["    pass"])]), known)  # noqa: S102 - the fields of our own classes
        shape.made.__init__ = known["__init__"]
        return shape.made.__init__

    def _repr(self):
        inner = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
        return f"{type(self).__qualname__}({inner})"

    def _eq(self, other):
        compared = self._shape.compared
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def _hash(self):
        return hash(self._shape.compared(self))

    def _refuse_set(self, name, value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _state(self):
        return {name: getattr(self, name) for name in self._shape.all_fields()}

    def _restore(self, state):
        for name, value in state.items():
            object.__setattr__(self, name, value)


Thing = TypeVar("Thing")


class Same(Generic[Thing]):
    """A thing as the key of a cache: the very same one, which costs less to tell than an equal one. A cache that holds the key holds the thing."""

    __slots__ = ("thing",)

    def __init__(self, thing: Thing) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.thing is other.thing

    def __hash__(self) -> int:
        return id(self.thing)


__all__ = ["Same", "dataclass", "replace"]

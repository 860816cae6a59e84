"""`dataclass` as the standard library's, made in a tenth of the time: the command line defines over a hundred before it answers.

The standard library compiles five or six methods for each class when it is defined (0.7 ms; 0.1 ms so). Here comparing, hashing, printing and
refusing to be set are shared functions over the fields, and `__init__` is compiled when a class first makes an object; most never do in one run.
To a type checker this is `dataclasses.dataclass`; `fields`, `replace`, `asdict` and patterns work as with it (tests/facts/test_record.py: side by side).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from operator import attrgetter

    _PLAIN = 24  # objects of a class that are made without compiling: most classes make fewer in one run
    _POST = "__post_init__"
    _SPECIAL = ("ClassVar", "InitVar", "KW_ONLY")  # annotations that make no field, or none like the others

    def dataclass(cls=None, /, *, frozen=False, slots=False, kw_only=False, eq=True):
        """A dataclass whose methods are made when they are needed; of the standard one's options those that are used here."""

        def make(plain):
            own = frozenset(vars(plain))
            types = _plain_types(plain)
            if types:
                plain.__annotations__ = dict.fromkeys(types, object)  # the standard library looks into each text three times, for what is special
            made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(plain)
            if types:
                made.__annotations__ = types
            for field in dataclasses.fields(made):
                field.type = types.get(field.name, field.type)
            made.__init__ = _lazy_init(made)
            _keep(made, own, __repr__=_repr)
            if eq:
                made._compared = staticmethod(_values([field.name for field in dataclasses.fields(made) if field.compare]))
                _keep(made, own, __eq__=_eq, __hash__=_hash if frozen else None)
            if frozen:
                _keep(made, own, __setattr__=_refuse_set, __delattr__=_refuse_delete, __getstate__=_state, __setstate__=_restore)
            return made

        return make if cls is None else make(cls)

    def _plain_types(plain):
        """The annotations of a class all of whose fields are like the others; nothing of another."""
        types = vars(plain).get("__annotations__", {})
        text = " ".join(map(str, types.values()))
        return {} if any(special in text for special in _SPECIAL) else types

    def _keep(made, own, **methods):
        """Give a class the methods that it does not define itself."""
        for name, method in methods.items():
            if name not in own:
                setattr(made, name, method)

    def _values(names):
        """What reads these fields of an object as a tuple."""
        if len(names) == 1:
            read = attrgetter(names[0])
            return lambda held: (read(held),)
        return attrgetter(*names) if names else lambda held: ()

    def _lazy_init(made):
        """An `__init__` that is compiled once a class makes more objects than compiling costs."""
        left = _PLAIN
        plan = None

        def __init__(self, *args, **values):  # noqa: N807 - stands in for the one that is compiled
            nonlocal left, plan
            left -= 1
            if args or not left:
                made.__init__ = _compiled_init(made)
                made.__init__(self, *args, **values)
                return
            if plan is None:
                plan = [(field.name, _setter(made, field.name), field.default, field.default_factory) for field in dataclasses.fields(made)]
            for name, put, default, factory in plan:
                value = values.pop(name, default)
                if value is not dataclasses.MISSING:
                    put(self, value)
                elif factory is not dataclasses.MISSING:
                    put(self, factory())
                else:
                    _compiled_init(made)(self, **values)  # says what is missing
            if values:
                _compiled_init(made)(self, **values)  # says what is too much
            if hasattr(made, _POST):
                self.__post_init__()

        return __init__

    def _compiled_init(made):
        """`__init__` as the standard library writes it: fields in their order, factories called, `__post_init__` last."""
        known, parts, named, body = {"_missing": dataclasses.MISSING}, [], [], []
        for place, field in enumerate(dataclasses.fields(made)):
            known[f"_set{place}"] = _setter(made, field.name)
            default, value = "", field.name
            if field.default is not dataclasses.MISSING:
                known[f"_default{place}"], default = field.default, f"=_default{place}"
            elif field.default_factory is not dataclasses.MISSING:
                known[f"_make{place}"], default = field.default_factory, "=_missing"
                value = f"_make{place}() if {field.name} is _missing else {field.name}"
            (named if field.kw_only else parts).append(field.name + default)
            body.append(f"    _set{place}(self, {value})")
        if hasattr(made, _POST):
            body.append("    self.__post_init__()")
        words = ", ".join(["self", *parts, *(["*", *named] if named else [])])
        lines = [f"def __init__({words}):", *(body or ["    pass"])]
        exec("\n".join(lines), known)  # noqa: S102 - the fields of our own classes
        return known["__init__"]

    def _setter(made, name):
        """What sets a field, also of a frozen object: its slot, else its dictionary."""
        slot = vars(made).get(name)
        if hasattr(slot, "__set__"):
            return slot.__set__
        return lambda held, value: object.__setattr__(held, name, value)

    def _repr(self):
        inner = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
        return f"{type(self).__qualname__}({inner})"

    def _eq(self, other):
        return self._compared(self) == self._compared(other) if other.__class__ is self.__class__ else NotImplemented

    def _hash(self):
        return hash(self._compared(self))

    def _refuse_set(self, name, value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _state(self):
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _restore(self, state):
        for name, value in state.items():
            object.__setattr__(self, name, value)


__all__ = ["dataclass"]

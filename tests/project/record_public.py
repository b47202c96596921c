"""Record what is public: ``python tests/project/record_public.py`` writes public.txt beside it, a line for each name.

A function and a method stand there with their arguments and defaults, a class with its own, a property by its name.
What a class inherits from another of this package stands with that one.
"""

import inspect
import pathlib
import types

from tinygrad_ce.docs.pages import things

LIST = pathlib.Path(__file__).with_name("public.txt")


def public():
    """The lines of the list."""
    found = []
    for name, (value, others) in things().items():
        name = name.removeprefix("tinygrad_ce.")
        also = "".join(f" = {other.removeprefix('tinygrad_ce.')}" for other in others)
        found.append(f"{name}{_arguments(value)}{also}")
        if inspect.isclass(value):
            found += [
                f"{name}.{member}{_arguments(raw)}" for member, raw in vars(value).items() if _counts(member, raw)
            ]
    return sorted(found)


def _counts(member, raw):
    kinds = types.FunctionType | property | classmethod | staticmethod
    return member[0] != "_" and isinstance(raw, kinds) and _made_here(raw)


def _made_here(raw):
    """Whether a method is ours: scikit-learn adds some of its own to an estimator."""
    function = raw.fget if isinstance(raw, property) else inspect.unwrap(getattr(raw, "__func__", raw))
    return function.__module__.startswith("tinygrad_ce")


def _arguments(value):
    """A signature without types."""
    if isinstance(value, property) or (inspect.isclass(value) and issubclass(value, BaseException)):
        return ""
    signature = inspect.signature(getattr(value, "__func__", value))
    bare = [p.replace(annotation=p.empty, default=_Shown.of(p)) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


class _Shown:
    """A default as it is written: functions by their names, objects of ours by their classes, all else as its repr."""

    def __init__(self, value):
        ours = type(value) if type(value).__module__.startswith("tinygrad_ce") else value
        self.text = getattr(ours, "__qualname__", None) or repr(value)

    def __repr__(self):
        return self.text

    @classmethod
    def of(cls, parameter):
        return parameter.default if parameter.default is parameter.empty else cls(parameter.default)


if __name__ == "__main__":
    LIST.write_text("\n".join(public()) + "\n", "utf-8")

"""Old names of arguments, attributes and functions that go on working for one version, with a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that a name has changed.

    Args:
        old, new: as the caller writes them.
        stacklevel: frames from here to the caller's line.
    """
    warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=stacklevel)


def renamed(**names: str) -> Callable[[Class], Class]:
    """A class decorator that keeps old names of attributes and of arguments of `__init__`.

    Args:
        **names: the new name by the old one.

    Example:
        >>> from dataclasses import dataclass
        >>> @renamed(copies="images_per_prompt")
        ... @dataclass
        ... class Options:
        ...     images_per_prompt: int = 4
        >>> Options(copies=2).copies  # two warnings
        2
    """

    def decorate(kind: Class) -> Class:
        init = kind.__init__  # type: ignore[misc]

        @functools.wraps(init)
        def __init__(self: Any, *args: Any, **options: Any) -> None:
            for old in names.keys() & options.keys():
                warn_renamed(f"{kind.__name__}({old}=...)", f"{names[old]}=")
                options[names[old]] = options.pop(old)  # over the new one, which dataclasses.replace gives
            init(self, *args, **options)

        kind.__init__ = __init__  # type: ignore[misc]
        for old, new in names.items():
            setattr(kind, old, old_attribute(kind.__name__, old, new))
        return kind

    return decorate


def old_attribute(kind: str, old: str, new: str, depth: int = 3) -> Any:
    """A property that reads and sets another attribute, with a warning.

    Args:
        kind: the class, for the warning.
        old, new: names of the attribute.
        depth: frames from the warning to the line that sets it.
    """

    def read(self: Any) -> Any:
        warn_renamed(f"{kind}.{old}", f"{kind}.{new}")
        return getattr(self, new)

    def write(self: Any, value: Any) -> None:
        warn_renamed(f"{kind}.{old}", f"{kind}.{new}", depth)
        setattr(self, new, value)

    return property(read, write, doc=f"The old name of `{new}`.")


def take_old_names(kind: type, **names: str) -> None:
    """For `__init_subclass__`: what a class defines by an old name is defined by the new one, too.

    Args:
        kind: the class.
        **names: the new name by the old one.
    """
    for old in names.keys() & vars(kind).keys():
        warn_renamed(f"{kind.__name__}.{old}", f"{kind.__name__}.{names[old]}", 5)  # past ABCMeta's own frame
        setattr(kind, names[old], vars(kind)[old])

"""The user's function: found by name, described, and stamped.

A task is `module:function`; the module is looked for from the current directory, then as usual. The function takes one
parameter and returns anything JSON can hold. It may take a second argument, a `Context`. Marked with `@whole_chunk` it takes a
sequence of parameters (and a sequence of contexts) and returns as many values. A `setup()` in the same module runs once
per child process, before the first parameter.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from worker.errors import TaskError

Function = TypeVar("Function", bound=Callable[..., Any])


def whole_chunk(function: Function) -> Function:
    """Mark `function` as one that takes all parameters of a chunk at once (for NumPy); its attribute `whole_chunk` is set."""
    function.whole_chunk = True  # type: ignore[attr-defined]  # an attribute, so that a task module need not import us
    return function


@dataclass(frozen=True, slots=True)
class Context:
    """What a function may want to know about the parameter it is given.

    Attributes:
        index: the parameter's index, 0..N-1.
        attempt: the number of this try, from 1.
        run_seed: the run's seed.
    """

    index: int
    attempt: int
    run_seed: int

    @property
    def seed(self) -> int:
        """64 bits from the run's seed and the index: the same for any chunk size, worker or attempt."""
        digest = hashlib.blake2b(f"{self.run_seed}:{self.index}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")


@dataclass(frozen=True, slots=True)
class Task:
    """A function that was found, and how it wants to be called."""

    name: str
    function: Callable[..., Any]
    whole_chunk: bool
    takes_context: bool
    setup: Callable[[], Any] | None


def load(name: str) -> Task:
    """Import the task `name`.

    Raises:
        TaskError: it is not `module:function`, the module does not import, or there is no such function in it.
    """
    module_name, function_name = split(name)
    find_from_current_directory()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise TaskError(
            f"TASK={name}: module {module_name} does not import from {os.getcwd()} ({type(error).__name__}: {error}); "
            "correct the name, or start the program in the folder that holds the module"
        ) from error
    function = getattr(module, function_name, None)
    if function is None:
        raise TaskError(f"TASK={name}: module {module_name} has no {function_name}; name a function that it defines")
    if not callable(function):
        raise TaskError(f"TASK={name}: {function_name} is a {type(function).__name__}, not a function; name a function")
    setup = getattr(module, "setup", None)
    return Task(
        name=name,
        function=function,
        whole_chunk=bool(getattr(function, "whole_chunk", False)),
        takes_context=_positional_arguments(function) >= 2,
        setup=setup if callable(setup) else None,
    )


def split(name: str) -> tuple[str, str]:
    """`module:function` as its two parts."""
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise TaskError(f"TASK={name!r} is not of the form module:function; write for example examples.lyapunov:exponent")
    return module, function


def find_from_current_directory() -> None:
    """Let modules be found from the current directory, which an installed console script does not do by itself."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def source_hash(name: str) -> str:
    """SHA-256 of the file of the task's module, found without running it.

    What that module imports is not included: `TASK_VERSION` is there for what the hash cannot see.

    Raises:
        TaskError: there is no such module.
    """
    module_name, _ = split(name)
    find_from_current_directory()
    try:
        spec = importlib.util.find_spec(module_name)
    except Exception as error:  # a parent package that does not import
        raise TaskError(f"TASK={name}: module {module_name} cannot be found ({type(error).__name__}: {error})") from error
    if spec is None:
        raise TaskError(
            f"TASK={name}: there is no module {module_name} in {os.getcwd()} or on the Python path; "
            "correct the name, or start the program in the folder that holds the module"
        )
    if not spec.origin or not os.path.exists(spec.origin):
        return ""  # built in, frozen or a namespace: the version label is all there is
    with open(spec.origin, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def stamp(name: str, seed: int, version: str) -> str:
    """What computes, in 16 hexadecimal digits: the task's name and source, the run's seed, the user's version label."""
    parts = "\0".join([name, source_hash(name), str(seed), version])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _positional_arguments(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return 1
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 1  # *args says nothing about a context
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [parameter for parameter in parameters if parameter.kind in kinds and parameter.default is parameter.empty]
    return len(required) + any(parameter.name == "context" and parameter not in required for parameter in parameters)

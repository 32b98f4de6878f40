"""unlearning-bench: which way of making a language model forget is best, measured.

A plugin needs nothing but this module. Names are imported on first use, so that `bench --help` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.architecture import Architecture as Architecture
    from benchmark.losses import cross_entropy as cross_entropy
    from benchmark.method import Kept as Kept
    from benchmark.method import Request as Request
    from benchmark.method import UnlearningMethod as UnlearningMethod
    from benchmark.method import Unsupported as Unsupported
    from benchmark.model import LanguageModel as LanguageModel
    from benchmark.passages import Passages as Passages
    from benchmark.registry import register as register
    from benchmark.task import Task as Task
    from benchmark.training import descend as descend

_HOME = {
    "Architecture": "architecture",
    "Kept": "method",
    "LanguageModel": "model",
    "Passages": "passages",
    "Request": "method",
    "Task": "task",
    "UnlearningMethod": "method",
    "Unsupported": "method",
    "cross_entropy": "losses",
    "descend": "training",
    "register": "registry",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    return getattr(import_module(f"benchmark.{_HOME[name]}"), name)

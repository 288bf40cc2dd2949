"""The classes that a use case offers in one of its modules, such as `PREDICTORS` in `predictor.py`.

Code always comes from what is installed: only modules of `usecases` are looked at.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from registry.errors import BadData
from registry.usecase import NAME, known_usecases

#: Where the docs tell how to write such classes.
_PAGES = {"PREDICTORS": "own-predictor.md", "STAGES": "stages.md"}


def offered(usecase: str, module: str, attribute: str, base: Any) -> tuple[Any, ...]:
    """The classes that `usecases/<usecase>/<module>.py` lists; none where it is absent.

    Raises:
        BadData: the module does not define `attribute`, or lists what is no class derived from
            `base` with a name.
    """
    if not NAME.fullmatch(usecase) or usecase not in known_usecases():
        return ()
    path = f"usecases.{usecase}.{module}"
    if importlib.util.find_spec(path) is None:
        return ()
    classes = getattr(importlib.import_module(path), attribute, None)
    if not isinstance(classes, tuple) or not all(_is(base, each) for each in classes):
        raise BadData(
            f"usecases/{usecase}/{module}.py is incomplete",
            f"it must define {attribute} = (YourClass,), of classes derived from {base.__name__}",
            f"See docs/how-to/{_PAGES[attribute]}.",
        )
    return classes


def _is(base: Any, kind: object) -> bool:
    return (
        isinstance(kind, type)
        and issubclass(kind, base)
        and isinstance(getattr(kind, "name", None), str)
    )

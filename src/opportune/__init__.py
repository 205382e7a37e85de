"""Opportune: behaviour in, ranked, capped, explained message decisions out.

In a notebook: `opportune.open(home)`. In your own tests: `with opportune.sandbox() as o`. Both are imported when first
asked for, so that `import opportune` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opportune.facade import Home, open
    from opportune.sandboxes import Message, Sandbox, sandbox

__version__ = "0.1.0"
#: public name -> module that defines it
_NAMES = {
    "Home": "opportune.facade",
    "Message": "opportune.sandboxes",
    "Sandbox": "opportune.sandboxes",
    "open": "opportune.facade",
    "sandbox": "opportune.sandboxes",
}
__all__ = ["Home", "Message", "Sandbox", "__version__", "open", "sandbox"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'opportune' has no attribute {name!r}")
    found = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

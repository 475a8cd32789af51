"""The ops, one file per family; importing this package fills the registry.

A new family is a new file here: nothing lists them by hand.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

for _module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

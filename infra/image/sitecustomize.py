"""Import the modules of a cold start from one file instead of 500. Python imports this module when it starts.

`bundle.py` writes that file during the build of the image. Finding, opening and reading the bytecode of each module in
a file of its own would take 8 % of a cold start. Modules that are not in the bundle are imported as usual, and
everything else about a module is as usual, too: `__file__`, its resources, and the source lines of tracebacks.

This module itself imports only what every Python process has already loaded.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

BUNDLE = "/opt/python/imports.bundle"


class Bundle:
    """A finder of modules for `sys.meta_path`: the open bundle and its index."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_RDONLY)
        position = int.from_bytes(os.pread(self.file, 8, 0), "little")
        # By module: source file, bytecode file, and the position and size of the bytecode in the bundle.
        self.index: dict[str, tuple[str, str, int, int]] = self._load(position, os.fstat(self.file).st_size - position)

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the specification of a module without looking for its files, or None if it is not in the bundle."""
        if name not in self.index:
            return None
        source, bytecode, _, _ = self.index[name]
        folder, _, file = source.rpartition("/")
        spec = ModuleSpec(name, BundledLoader(name, source, self), origin=source)
        spec.has_location, spec.cached = True, bytecode
        if file == "__init__.py":
            spec.submodule_search_locations = [folder]
        return spec

    def read_code(self, name: str) -> CodeType:
        """Return the code of a module."""
        _, _, position, size = self.index[name]
        code: CodeType = self._load(position, size)
        return code

    def _load(self, position: int, size: int) -> Any:
        # The file is part of the image, as the bytecode files are that Python itself would load.
        return marshal.loads(os.pread(self.file, size, position))  # noqa: S302


class BundledLoader(SourceFileLoader):
    """Load a module's code from the bundle, and all else from its own files."""

    def __init__(self, name: str, path: str, bundle: Bundle) -> None:
        super().__init__(name, path)
        self.bundle = bundle

    def get_code(self, fullname: str) -> CodeType:
        return self.bundle.read_code(fullname)


if os.access(BUNDLE, os.R_OK):  # false while the image is built, before `bundle.py` has run
    sys.meta_path.insert(0, Bundle(BUNDLE))

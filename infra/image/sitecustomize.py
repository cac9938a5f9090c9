"""Import the modules of a cold start from one file, the bundle, instead of 500 files.

Python imports this module when it starts, before any other module of the packages. `bundle.py` writes the bundle while
the image is built. Finding, opening and reading a bytecode file per module would take 8 % of a cold start. Compiling
regular expressions and the methods that `dataclasses` generates would take another 10 %.

The bundle contains the bytecode that Python would otherwise load, so the modules behave as usual. They have their usual
`__file__`, resources, and source lines in tracebacks. Python imports modules that are not in the bundle as usual.

In Lambda, the serving function starts without OpenSSL, which would take 3 % of the time and read 7 MB from a cold disk.
`hashlib` and `hmac` use Python's own implementations, which have all guaranteed algorithms but not `scrypt` and
`pbkdf2_hmac`. asyncio has no TLS. A later `import ssl`, for example to reach S3, works as usual.

This module imports only modules that Python has already loaded when it starts.
"""

from __future__ import annotations

import _sre  # type: ignore[import-not-found]  # part of Python, without types
import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType
    from typing import Any

BUNDLE = "/opt/python/imports.bundle"
IN_LAMBDA = "AWS_LAMBDA_RUNTIME_API" in os.environ
# They import `ssl` for TLS connections of asyncio, which the function does not have, and work without it.
ASYNCIO_TLS = ("asyncio.base_events", "asyncio.selector_events", "asyncio.sslproto")


class Bundle:
    """A finder of modules for `sys.meta_path`, with the open bundle and its index."""

    original_compile: Callable[[Any, int], Any]  # `re._compiler.compile`, set when that module is imported

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_RDONLY)
        position = int.from_bytes(os.pread(self.file, 8, 0), "little")
        # The index. By module: source file, bytecode file, and the position and size of the bytecode in the bundle.
        self.modules: dict[str, tuple[str, str, int, int]]
        # By source text of generated methods: position and size of the bytecode.
        self.methods: dict[str, tuple[int, int]]
        # By regular expression and flags: position and size of its compiled form.
        self.patterns: dict[tuple[str | bytes, int], tuple[int, int]]
        self.modules, self.methods, self.patterns = self._load(position, os.fstat(self.file).st_size - position)

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the specification of a module without looking for its files, or None if it is not in the bundle."""
        if name not in self.modules:
            return None
        source, bytecode, _, _ = self.modules[name]
        folder, _, file = source.rpartition("/")
        spec = ModuleSpec(name, BundledLoader(name, source, self), origin=source)
        spec.has_location, spec.cached = True, bytecode
        if file == "__init__.py":
            spec.submodule_search_locations = [folder]
        return spec

    def read_code(self, name: str) -> CodeType:
        """Return the code of a module."""
        _, _, position, size = self.modules[name]
        code: CodeType = self._load(position, size)
        return code

    def define_methods(self, text: str, namespace: dict[str, Any], methods: dict[str, Any]) -> None:
        """Define the methods that `dataclasses` has generated. Compile the text only if the bundle does not have it."""
        place = self.methods.get(text)
        code = self._load(*place) if place else compile(text, "<string>", "exec", dont_inherit=True)
        exec(code, namespace, methods)  # noqa: S102  # what `dataclasses` would do

    def compile_pattern(self, pattern: Any, flags: int = 0) -> Any:
        """Return the compiled regular expression. Compile it only if the bundle does not have its compiled form."""
        place = self.patterns.get((pattern, int(flags))) if isinstance(pattern, (str, bytes)) else None
        if place is None:
            return self.original_compile(pattern, flags)
        return _sre.compile(pattern, *self._load(*place))

    def _load(self, position: int, size: int) -> Any:
        # As safe as the bytecode files that Python loads in the same way: both are part of the read-only image.
        return marshal.loads(os.pread(self.file, size, position))  # noqa: S302


class BundledLoader(SourceFileLoader):
    """Loads the code of a module from the bundle, and its source and resources from its own files."""

    def __init__(self, name: str, path: str, bundle: Bundle) -> None:
        super().__init__(name, path)
        self.bundle = bundle

    def get_code(self, fullname: str) -> CodeType:
        return self.bundle.read_code(fullname)

    def exec_module(self, module: ModuleType) -> None:
        hides_ssl = IN_LAMBDA and module.__name__ in ASYNCIO_TLS and "ssl" not in sys.modules
        if hides_ssl:
            sys.modules["ssl"] = None  # type: ignore[assignment]  # `import ssl` raises ImportError
        try:
            super().exec_module(module)
        finally:
            if hides_ssl:
                sys.modules.pop("ssl", None)
        if module.__name__ == "dataclasses":
            vars(module)["exec"] = self.bundle.define_methods  # instead of the builtin
        if module.__name__ == "re._compiler":
            self.bundle.original_compile = vars(module)["compile"]
            vars(module)["compile"] = self.bundle.compile_pattern


if os.access(BUNDLE, os.R_OK):  # false in the build of the image until `bundle.py` has run
    sys.meta_path.insert(0, Bundle(BUNDLE))
    if IN_LAMBDA:
        sys.modules["_hashlib"] = None  # type: ignore[assignment]  # hashlib's functions from OpenSSL

"""Write the bundle: one file with the bytecode of everything that a cold start imports.

`Dockerfile.lambda` runs `python3 bundle.py FILE < EVENT` in a stage with the files of the finished image. The program
classifies the photo of the event, writes to FILE what this has imported and compiled (modules, generated methods of
`dataclasses`, regular expressions), and prints the bytecode files that the bundle replaces.

Equal packages give an equal bundle. It has no modules of `lambda_app`, so that a change of our code rarely changes this
layer of the image.
"""

import dataclasses
import json
import marshal
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import cache_from_source
from pathlib import Path
from re import _compiler as re_compiler  # type: ignore[attr-defined]  # part of the standard library
from types import ModuleType, SimpleNamespace
from typing import Any

ENTRY_POINT = "awslambdaric.bootstrap"
HEADER_BYTES = 16  # the size of a bytecode file's header (PEP 552)
Pattern = tuple[str | bytes, int]  # a regular expression and its flags
EXCLUDED_PACKAGES = ("lambda_app", "sitecustomize", "__main__")


def main() -> None:
    """Classify the photo of the event on standard input, and write the bundle. Exit with 1 if that fails."""
    event = json.load(sys.stdin)
    methods, patterns = record_methods(), record_patterns()
    output, sys.stdout = sys.stdout, sys.stderr  # the function logs to standard output
    import_module(ENTRY_POINT)
    response = import_module("lambda_app.handler").handler(event, None)
    if response["statusCode"] != 200:
        sys.exit(f"bundle.py: the function answered {response}; expected statusCode 200")
    modules = {name: module for name, module in sys.modules.items() if is_bundled(name, module)}
    Path(sys.argv[1]).write_bytes(render_bundle(modules, methods, patterns))
    for module in modules.values():
        print(cache_from_source(str(module.__file__)), file=output)


def record_methods() -> dict[str, None]:
    """Start to record the methods that `dataclasses` generates. Return the record: their source texts are the keys."""
    texts: dict[str, None] = {}

    def record(text: str, namespace: dict[str, Any], methods: dict[str, Any]) -> None:
        if not is_excluded(namespace["__name__"]):
            texts[text] = None
        exec(text, namespace, methods)  # noqa: S102  # what `dataclasses` would do

    dataclasses.exec = record  # type: ignore[attr-defined]  # a global of a module takes precedence over a builtin
    return texts


def record_patterns() -> dict[Pattern, None]:
    """Start to record the regular expressions that `re` compiles. Return the record: the patterns are the keys."""
    patterns: dict[Pattern, None] = {}

    def record(pattern: Any, flags: int = 0) -> Any:
        if isinstance(pattern, str | bytes):
            patterns[pattern, int(flags)] = None
        return compile_pattern(pattern, flags)

    compile_pattern, vars(re_compiler)["compile"] = re_compiler.compile, record
    return patterns


def precompile(pattern: str | bytes, flags: int) -> tuple[Any, ...]:
    """Return the compiled form of a regular expression: the arguments of `_sre.compile` that follow the pattern.

    `_sre` is the engine of `re`, written in C. During the call, a stand-in returns its own arguments.
    """
    names = vars(re_compiler)
    engine = names["_sre"]
    names["_sre"] = SimpleNamespace(**vars(engine) | {"compile": lambda _, *arguments: arguments})
    try:
        all_flags, code, *groups = re_compiler.compile(pattern, flags)
    finally:
        names["_sre"] = engine
    return int(all_flags), [int(item) for item in code], *groups


def render_bundle(modules: Mapping[str, ModuleType], methods: Iterable[str], patterns: Iterable[Pattern]) -> bytes:
    """Return eight bytes with the position of the index, the entries, and the index (`Bundle` in sitecustomize.py)."""
    bundle = bytearray(8)

    def add(code: bytes) -> tuple[int, int]:
        bundle.extend(code)
        return len(bundle) - len(code), len(code)

    files = {name: (str(module.__file__), cache_from_source(str(module.__file__))) for name, module in modules.items()}
    index = (
        {name: (*file, *add(Path(file[1]).read_bytes()[HEADER_BYTES:])) for name, file in files.items()},
        {text: add(marshal.dumps(compile(text, "<string>", "exec", dont_inherit=True))) for text in methods},
        {pattern: add(marshal.dumps(precompile(*pattern), 2)) for pattern in list(patterns)},
    )
    bundle[:8] = len(bundle).to_bytes(8, "little")
    # The bytes of later versions than 2 depend on the number of references to an object, so builds would differ.
    return bytes(bundle) + marshal.dumps(index, 2)


def is_bundled(name: str, module: ModuleType) -> bool:
    """Return whether the module was imported from a source file, under its own name, and is not excluded."""
    spec = getattr(module, "__spec__", None)
    if spec is None or spec.name != name or is_excluded(name):
        return False
    return spec.origin is not None and spec.origin.endswith(".py")


def is_excluded(name: str) -> bool:
    return name.partition(".")[0] in EXCLUDED_PACKAGES


if __name__ == "__main__":
    main()

"""Write the bundle that `sitecustomize.py` imports from: `python3 bundle.py FILE < EVENT`, when the image is built.

The bundle has the modules that a start and a first prediction import, in the order of their imports, the methods that
`dataclasses` generates in them, and the regular expressions that are compiled meanwhile. The modules of `lambda_app`
are left out, so that a change of our code changes this layer of the image only if it changes a regular expression or a
route. Equal files give an equal bundle. The program prints the bytecode files that the bundle replaces.
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
HEADER_BYTES = 16  # of a bytecode file (PEP 552)
Pattern = tuple[str | bytes, int]  # a regular expression and its flags
NOT_BUNDLED = ("lambda_app", "sitecustomize", "__main__")


def main() -> None:
    """Classify the photo of the event on standard input, and write the bundle. Exit with 1 if that fails."""
    event = json.load(sys.stdin)
    texts, patterns = record_methods(), record_patterns()
    output, sys.stdout = sys.stdout, sys.stderr  # the function logs
    import_module(ENTRY_POINT)
    response = import_module("lambda_app.handler").handler(event, None)
    if response["statusCode"] != 200:
        sys.exit(f"bundle.py: the function answered {response}; expected statusCode 200")
    modules = {name: module for name, module in sys.modules.items() if is_bundled(name, module)}
    Path(sys.argv[1]).write_bytes(render_bundle(modules, texts, patterns))
    for module in modules.values():
        print(cache_from_source(str(module.__file__)), file=output)


def record_methods() -> dict[str, None]:
    """Return a dictionary, with the texts as keys, that gets all methods which `dataclasses` generates from now on."""
    texts: dict[str, None] = {}

    def record(text: str, namespace: dict[str, Any], methods: dict[str, Any]) -> None:
        if not is_ours(namespace["__name__"]):
            texts[text] = None
        exec(text, namespace, methods)  # noqa: S102  # what `dataclasses` would do

    dataclasses.exec = record  # type: ignore[attr-defined]  # its module finds this name before the builtin
    return texts


def record_patterns() -> dict[Pattern, None]:
    """Return a dictionary, with the patterns as keys, that gets all regular expressions compiled from now on."""
    patterns: dict[Pattern, None] = {}

    def record(pattern: Any, flags: int = 0) -> Any:
        if isinstance(pattern, str | bytes):
            patterns[pattern, int(flags)] = None
        return compile_pattern(pattern, flags)

    compile_pattern, vars(re_compiler)["compile"] = re_compiler.compile, record
    return patterns


def compile_form(pattern: str | bytes, flags: int) -> tuple[Any, ...]:
    """Return what `re` passes to its engine, after the pattern: flags, code and groups."""
    names = vars(re_compiler)
    engine = names["_sre"]
    names["_sre"] = SimpleNamespace(**vars(engine) | {"compile": lambda _, *form: form})
    try:
        all_flags, code, *groups = re_compiler.compile(pattern, flags)
    finally:
        names["_sre"] = engine
    return int(all_flags), [int(item) for item in code], *groups


def render_bundle(modules: Mapping[str, ModuleType], texts: Iterable[str], patterns: Iterable[Pattern]) -> bytes:
    """Return eight bytes with the position of the index, the code of modules, texts and patterns, and the index."""
    bundle = bytearray(8)

    def add(code: bytes) -> tuple[int, int]:
        bundle.extend(code)
        return len(bundle) - len(code), len(code)

    files = {name: (str(module.__file__), cache_from_source(str(module.__file__))) for name, module in modules.items()}
    index = (
        {name: (*file, *add(Path(file[1]).read_bytes()[HEADER_BYTES:])) for name, file in files.items()},
        {text: add(marshal.dumps(compile(text, "<string>", "exec", dont_inherit=True))) for text in texts},
        {pattern: add(marshal.dumps(compile_form(*pattern), 2)) for pattern in list(patterns)},
    )
    bundle[:8] = len(bundle).to_bytes(8, "little")
    return bytes(bundle) + marshal.dumps(index, 2)  # version 2: later ones depend on how often an object is referenced


def is_bundled(name: str, module: ModuleType) -> bool:
    """Return whether the module was imported from a source file, under its own name, and is not ours."""
    spec = getattr(module, "__spec__", None)
    if spec is None or spec.name != name or is_ours(name):
        return False
    return spec.origin is not None and spec.origin.endswith(".py")


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in NOT_BUNDLED


if __name__ == "__main__":
    main()

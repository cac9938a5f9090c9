"""Write the bundle that `sitecustomize.py` imports from: `python3 bundle.py FILE < EVENT`, when the image is built.

The bundle has the modules that a start and a first prediction import, in the order of their imports. The modules of
`lambda_app` are left out, so that a change of our code does not change this layer of the image. Equal files give an
equal bundle.
"""

import json
import marshal
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType

ENTRY_POINT = "awslambdaric.bootstrap"
HEADER_BYTES = 16  # of a bytecode file (PEP 552)
NOT_BUNDLED = ("lambda_app", "sitecustomize", "__main__")


def main() -> None:
    """Classify the photo of the event on standard input, and write the bundle. Exit with 1 if that fails."""
    event = json.load(sys.stdin)
    import_module(ENTRY_POINT)
    response = import_module("lambda_app.handler").handler(event, None)
    if response["statusCode"] != 200:
        sys.exit(f"bundle.py: the function answered {response}; expected statusCode 200")
    Path(sys.argv[1]).write_bytes(render_bundle(dict(sys.modules)))


def render_bundle(modules: Mapping[str, ModuleType]) -> bytes:
    """Return eight bytes with the position of the index, the bytecode of the modules, and the index."""
    index = {}
    bundle = bytearray(8)
    for name, module in modules.items():
        if is_bundled(name, module):
            source = str(module.__file__)
            bytecode = Path(cache_from_source(source)).read_bytes()[HEADER_BYTES:]
            index[name] = (source, cache_from_source(source), len(bundle), len(bytecode))
            bundle += bytecode
    bundle[:8] = len(bundle).to_bytes(8, "little")
    return bytes(bundle) + marshal.dumps(index, 2)  # version 2: later ones depend on how often an object is referenced


def is_bundled(name: str, module: ModuleType) -> bool:
    """Return whether the module was imported from a source file, under its own name, and is not ours."""
    spec = getattr(module, "__spec__", None)
    if spec is None or spec.name != name or name.partition(".")[0] in NOT_BUNDLED:
        return False
    return spec.origin is not None and spec.origin.endswith(".py")


if __name__ == "__main__":
    main()

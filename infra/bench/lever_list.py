"""The levers: what was tried to make the function start or answer faster, as changes to what it is now."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Edit = tuple[str, str, str]  # a file of lambda_app, what is in it, what shall be there instead


@dataclass(frozen=True)
class Lever:
    name: str  # of the change
    kept: bool = False  # the function pulls this lever, and the change takes it away
    edits: tuple[Edit, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()  # of Python


ONE_HEAP = "glibc.malloc.arena_max=1"
GIVE_BACK = "glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=4194304"
OPTIONS = "options = ort.SessionOptions()\n"
LOADED = "classifier = Classifier.load(settings.model_path)\n"
POOL = "self.threads = ThreadPoolExecutor(os.cpu_count() or 1)"
IN_POOL = "await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)"
DRAFT = "        image.draft(None, (min_side, min_side))\n"


def _option(line: str) -> tuple[Edit, ...]:
    """One more line among ONNX Runtime's options."""
    return (("classifier.py", OPTIONS, f"{OPTIONS}    {line}\n"),)


LEVERS: tuple[Lever, ...] = (
    # Kept.
    Lever("no bytecode", kept=True, env={"PYTHONPYCACHEPREFIX": "/nonexistent"}),
    Lever(
        "garbage is collected while importing",
        kept=True,
        edits=(
            ("handler.py", "gc.disable()\n", ""),
            ("handler.py", "gc.freeze()  # nor do later collections look at it\ngc.enable()\n", ""),
        ),
    ),
    Lever(
        "the model is loaded after FastAPI",
        kept=True,
        edits=(
            ("handler.py", LOADED, ""),
            ("handler.py", "app = create_app(classifier", f"{LOADED}app = create_app(classifier"),
        ),
    ),
    Lever(
        "prometheus_client is imported at the start",
        kept=True,
        edits=(("telemetry/prometheus.py", "import time\n", "import time\nimport prometheus_client.core\n"),),
    ),
    Lever(
        "AnyIO's threads",
        kept=True,
        edits=(
            ("inference.py", "import asyncio\n", "from anyio import to_thread\n"),
            ("inference.py", POOL, ""),
            ("inference.py", IN_POOL, "await to_thread.run_sync(function, *arguments)"),
        ),
    ),
    Lever("malloc with a heap a thread", kept=True, env={"GLIBC_TUNABLES": ""}),
    Lever("ONNX Runtime's arena", kept=True, edits=(("classifier.py", "arena: bool = False", "arena: bool = True"),)),
    Lever(
        "ONNX Runtime's own choice of threads, spinning",
        kept=True,
        edits=(
            ("classifier.py", "    options.intra_op_num_threads = 1\n", ""),
            ("classifier.py", '    options.add_session_config_entry("session.intra_op.allow_spinning", "0")\n', ""),
        ),
    ),
    Lever("JPEGs are decoded whole", kept=True, edits=(("decoding/jpeg.py", DRAFT, "        pass\n"),)),
    Lever("bicubic at once, no box before", kept=True, edits=(("preprocess.py", ", reducing_gap=2.0", ""),)),
    # Rejected.
    Lever("-X frozen_modules=on", flags=("-X", "frozen_modules=on")),
    Lever("-S", flags=("-S",)),
    Lever(
        "the model is loaded on a thread while FastAPI is imported",
        edits=(
            (
                "handler.py",
                LOADED,
                (
                    "from concurrent.futures import ThreadPoolExecutor\n"
                    "loading = ThreadPoolExecutor(1).submit(Classifier.load, settings.model_path)\n"
                ),
            ),
            ("handler.py", "create_app(classifier", "create_app(loading.result()"),
        ),
    ),
    Lever(
        "a first prediction while starting",
        edits=(
            (
                "handler.py",
                LOADED,
                (
                    f"{LOADED}import numpy as np\nside = classifier.metadata.image_size\n"
                    "classifier.predict(np.zeros((3, side, side), np.uint8))\n"
                ),
            ),
        ),
    ),
    Lever(
        "the graph as it is in the file, not optimised",
        edits=_option("options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL"),
    ),
    Lever(
        "weights not packed before",
        edits=_option('options.add_session_config_entry("session.disable_prepacking", "1")'),
    ),
    Lever(
        "JPEGs are decoded at twice the size",
        edits=(("decoding/jpeg.py", DRAFT, DRAFT.replace("min_side", "2 * min_side")),),
    ),
    Lever("malloc in huge pages", env={"GLIBC_TUNABLES": f"{ONE_HEAP}:glibc.malloc.hugetlb=1"}),
    Lever("malloc gives memory back above 1 MB", env={"GLIBC_TUNABLES": f"{ONE_HEAP}:{GIVE_BACK}"}),
    Lever("pydantic's plugins are not looked for", env={"PYDANTIC_DISABLE_PLUGINS": "1"}),
    Lever(
        "/predict runs in the event loop, without a thread",
        edits=(("inference.py", IN_POOL, "function(*arguments)"),),
    ),
)

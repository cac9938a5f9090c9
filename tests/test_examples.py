"""Run the examples of the API guide in Lambda's own runtime."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.chromium import TIMEOUT_MS, started_chromium
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.rie
GUIDE = (ROOT / "lambda_app/README.md").read_text()
SECTION = GUIDE[GUIDE.index("## Client examples") : GUIDE.index("## Through CloudFront")]
HASHED = GUIDE[GUIDE.index("## Through CloudFront") : GUIDE.index("## Requests")]
BLOCKS, HASHED_BLOCKS = (dict(re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)) for text in (SECTION, HASHED))
ADDRESS, EDGE_ADDRESS = "http://127.0.0.1:8000", "http://127.0.0.1:8001"


@pytest.fixture
def url(function):
    return function.url


@pytest.fixture
def typed(url, edge, tmp_path):
    """Return a function that runs a command as if typed into a terminal and returns its output."""
    (tmp_path / "config.json").write_text('{"disable_update_warnings": true}')  # HTTPie would ask its maker
    path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HTTPIE_CONFIG_DIR": str(tmp_path), "NO_PROXY": "127.0.0.1"}

    def typed(*command):
        master, terminal = os.openpty()  # HTTPie would take another input for a body
        try:
            done = subprocess.run(
                [part.replace(ADDRESS, url).replace(EDGE_ADDRESS, edge) for part in command],
                cwd=ROOT,
                env=environment,
                stdin=terminal,
                capture_output=True,
                text=True,
                check=True,
                timeout=DEADLINE_S,
            )
        finally:
            os.close(master)
            os.close(terminal)
        return done.stdout

    return typed


@pytest.mark.parametrize("command", [*BLOCKS["sh"].splitlines(), *HASHED_BLOCKS["sh"].splitlines()])
def test_shell_example_succeeds(typed, command):
    """curl and HTTPie send a photo as a form, as bytes and as JSON, two photos, and feedback."""
    answer = json.loads(typed("bash", "-c", command))
    if "/predict/batch" in command:
        assert [False, True] == [one["unknown"] for one in answer]
    else:
        assert "cat" == answer["label" if "/feedback" in command else "predicted_class"]


@pytest.mark.parametrize("blocks", [BLOCKS, HASHED_BLOCKS], ids=["direct", "edge"])
def test_python_example_succeeds(typed, blocks):
    """The example prints the class of both photos, and that the second one is unknown."""
    assert re.fullmatch(r"\[\('cat', False\), \('(cat|dog)', True\)\]\n", typed(sys.executable, "-c", blocks["python"]))


@pytest.mark.browser
def test_javascript_example_succeeds(url):
    """The example classifies the chosen file in Chromium and sends feedback."""
    with started_chromium() as browser:
        page, statuses, kinds = browser.new_page(), [], []
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(f"{url}/health")  # any page of the same origin
        page.on("response", lambda response: statuses.append((response.url, response.status)))
        page.set_content('<input type="file">')
        page.set_input_files("input", ROOT / "data/samples/cat.jpg")
        script = BLOCKS["js"].replace(ADDRESS, url)
        page.on("request", lambda asked: kinds.append(asked.headers.get("content-type", "").split(";")[0]))
        answer = page.evaluate(f"async () => {{ {script}; return answer; }}")
    assert "cat" == answer["predicted_class"]
    assert [(f"{url}/predict", 200), (f"{url}/feedback", 200)] == statuses
    assert ["multipart/form-data", "application/json"] == kinds


@pytest.mark.browser
def test_javascript_example_sends_hash(edge):
    """The example for CloudFront classifies the chosen file in Chromium: the edge accepts its hash."""
    with started_chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(f"{edge}/docs")  # its policy allows requests
        page.evaluate("document.body.innerHTML = '<input type=file>'")
        page.set_input_files("input", ROOT / "data/samples/cat.jpg")
        script = HASHED_BLOCKS["js"].replace(EDGE_ADDRESS, edge)
        answer = page.evaluate(f"async () => {{ {script}; return answer; }}")
    assert "cat" == answer["predicted_class"]


def test_every_example_is_run():
    """The section has no example in a language that is not tested above."""
    assert {"sh", "python", "js"} == set(BLOCKS) == set(HASHED_BLOCKS)
    assert [3, 3] == [text.count("```") // 2 for text in (SECTION, HASHED)]

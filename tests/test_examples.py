"""README's examples do what it says: each is taken from there and run against the function in Lambda's own runtime."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.browser.conftest import TIMEOUT_MS, started_chromium
from tests.conftest import ROOT

pytest_plugins = ["tests.emulator"]
pytestmark = pytest.mark.rie
README = (ROOT / "README.md").read_text()
SECTION = README[README.index("## Ask it") : README.index("<!-- answer -->")]
BLOCKS = dict(re.findall(r"```(\w+)\n(.*?)```", SECTION, re.DOTALL))
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def url(function):
    return function.url


@pytest.fixture
def typed(url, tmp_path):
    """Runs a command as if it was typed into a terminal; its output, read as JSON."""
    (tmp_path / "config.json").write_text('{"disable_update_warnings": true}')  # HTTPie would ask its maker
    path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HTTPIE_CONFIG_DIR": str(tmp_path), "NO_PROXY": "127.0.0.1"}

    def typed(*command):
        master, terminal = os.openpty()  # HTTPie would take another input for a body
        try:
            done = subprocess.run(
                [part.replace(ADDRESS, url) for part in command],
                cwd=ROOT,
                env=environment,
                stdin=terminal,
                capture_output=True,
                text=True,
                check=True,
                timeout=600,
            )
        finally:
            os.close(master)
            os.close(terminal)
        return done.stdout

    return typed


@pytest.mark.parametrize("command", BLOCKS["sh"].splitlines())
def test_the_shells_examples_work(typed, command):
    """curl and HTTPie: a photo by form and raw, two at a time, and feedback."""
    answer = json.loads(typed("bash", "-c", command))
    if "/predict/batch" in command:
        assert [False, True] == [one["unknown"] for one in answer]
    else:
        assert "cat" == answer["label" if "/feedback" in command else "predicted_class"]


def test_pythons_example_works(typed):
    """It prints a class of both photos, and that nobody knows what the second one shows."""
    assert re.fullmatch(r"\[\('cat', False\), \('(cat|dog)', True\)\]\n", typed(sys.executable, "-c", BLOCKS["python"]))


@pytest.mark.browser
def test_javascripts_example_works(url):
    """In Chromium, in a page with a file chosen; its feedback is taken."""
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


def test_every_example_is_run():
    """A block in another language would be none of the above."""
    assert {"sh", "python", "js"} == set(BLOCKS)
    assert 3 == SECTION.count("```") // 2

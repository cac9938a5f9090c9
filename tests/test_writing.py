"""Check that docstrings, comments, messages and documents are in plain technical English."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

# Documents and Python files to check, as glob patterns relative to the repository.
CHECKED = (
    "*.md",
    *(
        f"{package}/**/*.{suffix}"
        for package in ("lambda_app", "training", "export", "infra")
        for suffix in ("md", "py")
    ),
    "lambda_app/web/*.html",
    "tests/**/*.py",
)

# Each pattern with its replacement. Patterns match whole words in any case.
REPLACEMENTS = {
    "amid": "during",
    "anew": "again",
    "anybody|anyone's": "anyone, or name the role",
    "by the million": "in bulk",
    "goes on": "resumes, continues",
    "hardly": "rarely",
    "imitat(e|es|ed|ing|ion)": "emulate",
    "is there to stay": "is long-lived",
    "likewise": "also",
    "mend(s|ed|ing)?": "fix, repair",
    "nobody('s)?": "no one, or name the role",
    "rights": "permissions",
    "rehears(al|als|e|es|ed)": "replay, local deployment",
    "rung": "level",
    "said": "stated, logged",
    "somebody": "a client, a user",
    "surely": "significantly",
    "told": "specified, configured",
    "who(m)?ever": "name the role",
    # British spellings
    r"(colour|behaviour|neighbour|favour)\w*": "color, behavior, neighbor, favor",
    r"(recogni|normali|seriali|optimi|initiali|organi|summari)s(e|es|ed|ing|ation)": "-ize",
    r"(labell|modell|travell)(ed|ing)": "labeled, modeled, traveled",
}
PATTERNS = {re.compile(rf"\b({words})\b", re.IGNORECASE): instead for words, instead in REPLACEMENTS.items()}
# A fragment such as "Of one photo.", instead of a sentence with a subject and a verb.
FRAGMENT = re.compile(r"\AOf (a|all|an|each|its|one|the|this|what)\b")


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of each comment and string of a Python file, or of each line of another file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def problems(text: str) -> Iterator[str]:
    """Yield what is wrong with a text."""
    for pattern, instead in PATTERNS.items():
        for match in pattern.finditer(text):
            yield f"{match[0]!r}: write {instead}"
    if match := FRAGMENT.match(text):
        yield f"{match[0]!r}: write a complete sentence"


@pytest.mark.parametrize("pattern", CHECKED)
def test_text_avoids_ruled_out_words(pattern):
    """No comment, docstring, message or document contains a word of the list."""
    paths = sorted(set(ROOT.glob(pattern)) - {Path(__file__)})  # this file lists the words
    assert paths, f"{pattern} matches no file"
    assert [] == [
        f"{path.relative_to(ROOT)}:{line}: {problem}"
        for path in paths
        for line, text in prose(path)
        for problem in problems(text)
    ]

"""What holds for every module: short, typed as text says, nothing pickled, nothing of one machine."""

from __future__ import annotations

import ast
import re
import statistics

from tests.repository import tree

LINES = 300
#: Bytes; a larger file belongs into a store or is made by a script.
SIZE = 400_000
UNPICKLED = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def test_no_product_file_is_long():
    long = {
        tree.name_of(path): text.count("\n")
        for path, text in tree.product().items()
        if text.count("\n") > LINES
    }
    assert not long


def test_functions_are_short(record_testsuite_property):
    lengths = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for text in tree.product().values()
        for node in tree.functions(text)
    ]
    median = statistics.median(lengths)
    tenth = statistics.quantiles(lengths, n=10)[-1]
    print(f"\n{len(lengths)} functions: median {median:g} lines, 90th percentile {tenth:g}")
    record_testsuite_property("function_lines_median", median)
    assert median <= 12


def test_no_file_is_large():
    large = {
        tree.name_of(path): path.stat().st_size
        for path in tree.files()
        if path.stat().st_size > SIZE
    }
    assert not large


def test_every_module_postpones_annotations():
    missing = [
        tree.name_of(path)
        for path, text in tree.product().items()
        if "def " in text and "from __future__ import annotations" not in text
    ]
    assert not missing


def _imports(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_nothing_is_pickled():
    guilty = {
        tree.name_of(path): found
        for path, text in tree.product().items()
        if (found := _imports(text) & UNPICKLED) or "allow_pickle=True" in text
    }
    assert not guilty


def _matches(pattern: str, skip: tuple[str, ...] = ()) -> list[str]:
    expression = re.compile(pattern)
    return [
        f"{tree.name_of(path)}:{text[: match.start()].count(chr(10)) + 1}: {match.group()}"
        for path, text in tree.texts().items()
        if not tree.name_of(path).startswith(skip)
        for match in expression.finditer(text)
    ]


# The patterns are put together from parts, so that this file does not match itself.
def test_no_path_of_one_machine():
    homes = "|".join(("root", "work", "home" + r"/[a-z]\w*", "Users" + r"/\w+"))
    assert not _matches(rf"(?<![\w.$}}~*)])/({homes})/\w")


def test_no_host_of_a_package_registry():
    hosts = (
        "pypi" + r"\.org",
        "pythonhosted" + r"\.org",
        "npmjs" + r"\.org",
        "proxy.golang" + r"\.org",
    )
    options = ("--index" + "-url", "--extra-index" + "-url", "--find" + "-links")
    assert not _matches("|".join((*hosts, *(rf"^{option} " for option in options))))


def test_no_secret():
    shapes = (
        "AKIA" + r"[0-9A-Z]{16}",
        "-----BEGIN [A-Z ]*PRIVATE" + " KEY",
        "gh[pousr]_" + r"\w{30,}",
        "glpat" + r"-[\w-]{18,}",
        r"\bhv[sb]" + r"\.\w{24,}",
    )
    assert not _matches("|".join(shapes))


def test_nothing_is_left_to_do():
    words = "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3))
    found = _matches(
        rf"\b({words})\b", skip=("pyproject.toml", "tests/servers", "requirements.lock")
    )
    assert not found


def test_the_folder_of_job_specifications_is_no_package():
    # A package `nomad` here would hide the library of that name.
    for folder in ("nomad", "tests/nomad"):
        assert not (tree.ROOT / folder / "__init__.py").exists()


def test_every_folder_of_tests_is_a_package():
    # tests/serving without its parents would be imported as `serving`.
    folders = {path.parent for path in tree.files() if path.suffix == ".py"}
    tests = {folder for folder in folders if folder.is_relative_to(tree.ROOT / "tests")}
    parents = {parent for folder in tests for parent in (folder, *folder.parents)}
    inside = {folder for folder in parents if folder.is_relative_to(tree.ROOT / "tests")}
    assert not [tree.name_of(path) for path in inside if not (path / "__init__.py").is_file()]

"""Runs the code cells of a notebook, as a kernel would, without one.

`python -m tests.penstock.notebook PAGE.ipynb` runs it on the store of the environment and writes
what the cells show back into it.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any


def execute(path: Path) -> list[str]:
    """Run every code cell in one namespace; what the last expression of each shows, or ""."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in _read(path)["cells"] if cell["cell_type"] == "code"]
    return [_run("".join(cell["source"]), f"cell {n}", names) for n, cell in enumerate(cells, 1)]


def write(path: Path, shown: list[str]) -> None:
    """Put what the cells show into the notebook."""
    notebook = _read(path)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, text) in enumerate(zip(cells, shown, strict=True), 1):
        data = {"text/plain": text.splitlines(keepends=True)}
        result = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
        cell |= {"execution_count": number, "outputs": [result | {"data": data}] if text else []}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _run(source: str, name: str, names: dict[str, Any]) -> str:
    """Execute the statements of a cell and evaluate its last one, if it is an expression."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    if not isinstance(last, ast.Expr):
        return ""
    value = eval(compile(ast.Expression(last.value), name, "eval"), names)
    return "" if value is None else repr(value)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    import pandas as pd

    pd.set_option("display.width", 110)
    pd.set_option("display.max_columns", 8)
    write(Path(sys.argv[1]), execute(Path(sys.argv[1])))

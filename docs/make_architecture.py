"""Writes the generated part of the page of layers and packages: ``python docs/make_architecture.py``."""

from __future__ import annotations

import ast
import io
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- packages:begin -->", "<!-- packages:end -->"
SOURCES = {"rnri_core": ROOT / "core" / "src" / "rnri_core", "rnri": ROOT / "src" / "rnri"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLANK = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def docstring_lines(tree: ast.AST) -> set[int]:
    """Numbers of the lines of docstrings, those below attributes and constants included.

    >>> sorted(docstring_lines(ast.parse('one = 1\\n"an attribute"')))
    [2]
    """
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def code_lines(source: str, tree: ast.AST) -> set[int]:
    """Numbers of the lines with code: without docstrings, comments and blank lines.

    >>> text = 'def f():\\n    "what it does"\\n\\n    # why\\n    return 1  # one\\n'
    >>> sorted(code_lines(text, ast.parse(text)))
    [1, 5]
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _BLANK:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - docstring_lines(tree)


def public_names(tree: ast.Module) -> set[str]:
    """Classes, functions and constants that a module defines at its top, without a leading underscore."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Functions and methods by qualified name; those inside a function are part of it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, Function):
            yield f"{prefix}{node.name}", node


def measure(files: list[Path]) -> tuple[int, int, int, str]:
    """Files, lines of code, public names, and the longest function of them with its lines of code."""
    lines = names = 0
    longest = (0, "")
    for path in files:
        source = path.read_text()
        tree = ast.parse(source)
        code = code_lines(source, tree)
        lines += len(code)
        names += len(public_names(tree))
        for name, node in functions(tree):
            size = len(code.intersection(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
            longest = max(longest, (size, f"`{path.stem}.{name}`"))
    return len(files), lines, names, f"{longest[1]}, {longest[0]}" if longest[0] else ""


def packages() -> list[tuple[str, list[Path]]]:
    """Each distribution's top modules, then each of its packages with all files in it."""
    found = []
    for name, folder in SOURCES.items():
        found.append((f"{name} (top)", sorted(folder.glob("*.py"))))
        inner = sorted(path for path in folder.iterdir() if (path / "__init__.py").exists())
        found += [(f"{name}.{path.name}", sorted(path.rglob("*.py"))) for path in inner]
    return found


def layers() -> Iterator[tuple[str, list[str]]]:
    """Name and layers, the upper ones first, of each contract of layers in pyproject.toml."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return ((each["name"], each["layers"]) for each in contracts if each["type"] == "layers")


def generated() -> str:
    """The part of the page between its marks."""
    lines = ["| package | files | lines of code | public names | longest function, lines |", "|---|---|---|---|---|"]
    for name, files in packages():
        count, code, names, longest = measure(files)
        lines.append(f"| `{name}` | {count} | {code} | {names} | {longest} |")
    for name, rooms in layers():
        lines += ["", f"{name[0].upper()}{name[1:]}:", "", "```text", *rooms, "```"]
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with its generated part made anew."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{generated()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))

"""Finds the imports of every file of the package, without running the files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "inworld_sync"

# The __init__.py of the package belongs to no unit. Its __main__.py belongs to the command line.
UNIT_OF_FILE = {"__init__": "", "__main__": "cli"}


@dataclass(frozen=True)
class Import:
    """
    One module that a file imports.

    Attributes:
        path: The file, relative to the package.
        line: The line in the file.
        unit: The unit of the file, which is the first folder or file below the package. The unit
            of __init__.py is "".
        module: The full name of the module. An import ``from folder import name`` has the module
            ``folder``, but ``from inworld_sync import name`` has ``inworld_sync.name``.
        runs_at_import: Whether the import is neither in a function nor under TYPE_CHECKING.
        for_types: Whether the import is under TYPE_CHECKING.
        relative: Whether the import has leading dots.
    """

    path: str
    line: int
    unit: str
    module: str
    runs_at_import: bool
    for_types: bool
    relative: bool

    @property
    def target(self) -> str | None:
        """The imported unit of this package, or None for a module of another package."""
        package, _, rest = self.module.partition(".")
        return rest.partition(".")[0] if package == PACKAGE else None

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def imports_of(package: Path) -> list[Import]:
    """Return all imports of the files in the package folder."""
    return [
        found
        for path in sorted(package.rglob("*.py*"))
        if path.suffix in {".py", ".pyi"}
        for found in _Reader(package, path).read()
    ]


def circles(package: Path) -> list[list[str]]:
    """
    Find files that import each other, directly or through other files.

    Imports under TYPE_CHECKING count too.

    Returns:
        Each circle as a sorted list of modules, without the name of the package.
    """
    modules = {_module_of(path.relative_to(package)): path for path in package.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        imported = _Reader(package, path, names_too=True).targets()
        # If a target is not a module, the __init__.py of a folder defines the name.
        targets = {each if each in modules else each.rpartition(".")[0] for each in imported}
        graph[name] = targets & modules.keys() - {name}
    return [sorted(circle) for circle in _strongly_connected(graph) if len(circle) > 1]


def _module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _strongly_connected(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """Yield each set of nodes in which every node can be reached from every other node."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        stack = [start]
        while stack:
            for target in graph[stack.pop()] - seen:
                seen.add(target)
                stack.append(target)
        reach[start] = seen
    done: set[str] = set()
    for start in sorted(graph):
        if start not in done and start in reach[start]:
            circle = {other for other in reach[start] if start in reach[other]}
            done |= circle
            yield circle


class _Reader:
    def __init__(self, package: Path, path: Path, *, names_too: bool = False) -> None:
        self._names_too = names_too
        self._package = package
        self._path = path.relative_to(package)
        self._text = path.read_text(encoding="utf-8")
        first = self._path.parts[0]
        self._unit = first if len(self._path.parts) > 1 else self._path.stem
        self._unit = UNIT_OF_FILE.get(self._unit, self._unit)

    def read(self) -> Iterator[Import]:
        yield from self._walk(ast.parse(self._text), in_function=False, for_types=False)

    def targets(self) -> Iterator[str]:
        """Yield the modules of this package that the file imports, without the package's name."""
        for found in self.read():
            package, _, rest = found.module.partition(".")
            if package == PACKAGE:
                yield rest

    def _walk(self, node: ast.AST, *, in_function: bool, for_types: bool) -> Iterator[Import]:
        for module, relative in self._modules(node):
            yield Import(
                path=self._path.as_posix(),
                line=getattr(node, "lineno", 0),
                unit=self._unit,
                module=module,
                runs_at_import=not in_function and not for_types,
                for_types=for_types,
                relative=relative,
            )
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        guarded = node.body if isinstance(node, ast.If) and _is_type_checking(node.test) else []
        for child in ast.iter_child_nodes(node):
            yield from self._walk(
                child,
                in_function=in_function or function,
                for_types=for_types or child in guarded,
            )

    def _modules(self, node: ast.AST) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            yield from ((name.name, False) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = self._base(node)
            if base == PACKAGE or (self._names_too and self._is_folder(base)):
                yield from ((f"{base}.{name.name}", bool(node.level)) for name in node.names)
            else:
                yield base, bool(node.level)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value, argument.value.startswith(".")

    def _is_folder(self, module: str) -> bool:
        """
        Return whether a module is a folder.

        An import from a folder may name a file of the folder.
        """
        package, _, rest = module.partition(".")
        return package == PACKAGE and self._package.joinpath(*rest.split(".")).is_dir()

    def _base(self, node: ast.ImportFrom) -> str:
        """Return the module after ``from``. Leading dots are resolved."""
        if not node.level:
            return node.module or ""
        parts = [PACKAGE, *self._path.parts[:-1]]
        parts = parts[: len(parts) - node.level + 1]
        return ".".join([*parts, *filter(None, [node.module])])


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]

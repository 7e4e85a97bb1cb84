"""Who may import whom: folders do not know each other, imports form a fan, never a ring.

The tables are the rules; a new module belongs to the folder it lies in.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = "interpretable_sgd"

ROOMS = {
    # Folder of the library: the folders it may import beside itself.
    "optimizer": "layers",
    "layers": "",
    # Bounds are right-hand sides of the optimizer's guarantees, and public beside the rates.
    "convergence": "optimizer",
    "analysis": "layers",
    "report": "analysis layers convergence",
    # Where the optimizer and the analysis meet: a head that is trained, and read.
    "fitting": "optimizer analysis",
    "__main__": "",
}
REQUIRED = {"torch", "numpy"}
OPTIONAL = {
    # Imported at the top of these folders' modules alone; elsewhere inside functions, or not at all.
    "numba": {"layers", "analysis"},
    "triton": {"layers"},
    "matplotlib": {"report"},
    "PIL": {"report"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "rich": {"report"},
    "pandas": set(),
    "safetensors": set(),
    "torchvision": {"report"},
    "timm": set(),
    "sklearn": set(),
    "scipy": set(),
    "PEPit": set(),
    "glm_saga": set(),
    "rdata": set(),
}
BESIDE = ("theory", "experiments", "tests")
FORBIDDEN = {
    # A judge shares no code with the judged; what reads results does not make them.
    "theory.reference": {LIBRARY},
    "theory": {"experiments"},
    "experiments": {"theory"},
    "experiments.datasets": {"experiments.training", "experiments.figures"},
    "experiments.training": {"experiments.figures", "experiments.tables", "experiments.paper"},
    "experiments.evaluation": {"experiments.figures", "experiments.tables", "experiments.training"},
    "experiments.run": {"experiments.figures", "experiments.tables", "experiments.paper"},
    "experiments.figures": {LIBRARY, "experiments.training", "experiments.run"},
    "experiments.tables": {LIBRARY, "experiments.training", "experiments.run"},
}


class Import(NamedTuple):
    """One imported module or name."""

    target: str
    name: str | None
    line: int
    inside_function: bool


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules(package: str) -> dict[str, Path]:
    return {module_of(path): path for path in sorted((ROOT / package).rglob("*.py"))}


@cache
def exists(module: str) -> bool:
    return module in modules(module.partition(".")[0])


def is_package(module: str) -> bool:
    return exists(module) and modules(module.partition(".")[0])[module].name == "__init__.py"


@cache
def imports(path: Path) -> tuple[Import, ...]:
    return tuple(found(ast.parse(path.read_text()), path))


def found(tree: ast.AST, path: Path, inside_function: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno, inside_function)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, path)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                if exists(submodule):
                    yield Import(submodule, None, node.lineno, inside_function)
                else:
                    yield Import(base, alias.name, node.lineno, inside_function)
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from found(node, path, inside_function or function)


def absolute(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parent.parts
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def room_of(module: str) -> str:
    room = module.removeprefix(LIBRARY + ".").partition(".")[0]
    assert room in ROOMS, f"{module} is in no folder of ROOMS"
    return room


def public_names(package: str) -> set[str]:
    tree = ast.parse(modules(package.partition(".")[0])[package].read_text())
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return set(ast.literal_eval(node.value))
    return set()


def every(*packages: str) -> list[str]:
    return [module for package in packages for module in modules(package)]


INSIDE = [module for module in every(LIBRARY) if module != LIBRARY]


def path_of(module: str) -> Path:
    return modules(module.partition(".")[0])[module]


def where(module: str, found: Import) -> str:
    return f"{path_of(module).relative_to(ROOT)}:{found.line} imports {found.target}"


@pytest.mark.parametrize("module", INSIDE)
def test_a_room_imports_only_the_rooms_below(module: str) -> None:
    room = room_of(module)
    allowed = {room, *ROOMS[room].split()}
    for found in imports(path_of(module)):
        if within(found.target, LIBRARY) and found.target != LIBRARY:
            other = room_of(found.target)
            assert other in allowed, f"{where(module, found)}: {room} may not know {other}"


@pytest.mark.parametrize("module", every(LIBRARY))
def test_the_library_imports_torch_and_what_is_optional_where_it_may(module: str) -> None:
    for found in imports(path_of(module)):
        top = found.target.partition(".")[0]
        if top == LIBRARY or top in sys.stdlib_module_names or top in REQUIRED:
            continue
        assert top in OPTIONAL, f"{where(module, found)}, which the library does not depend on"
        room = "public" if module == LIBRARY else room_of(module)
        lazy = found.inside_function or room in OPTIONAL[top]
        assert lazy, f"{where(module, found)} at its top: {top} is optional"


@pytest.mark.parametrize("module", every(LIBRARY, *BESIDE))
def test_no_module_imports_the_package_it_is_in(module: str) -> None:
    """Rings come from there; the parent's other modules are imported by their own names."""
    for found in imports(path_of(module)):
        own = module != found.target and within(module, found.target) and is_package(found.target)
        assert not own, f"{where(module, found)}, its own package"


@pytest.mark.parametrize("module", every(LIBRARY, "theory", "experiments"))
def test_imports_inside_functions_are_of_optional_dependencies(module: str) -> None:
    for found in imports(path_of(module)):
        if found.inside_function:
            top = found.target.partition(".")[0]
            assert top in OPTIONAL, f"{where(module, found)} inside a function"


@pytest.mark.parametrize("package", [LIBRARY, "theory", "experiments"])
def test_no_rings(package: str) -> None:
    graph = {
        module: {
            found.target
            for found in imports(path)
            if within(found.target, package) and found.target != module
        }
        for module, path in modules(package).items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"ring of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", every("theory", "experiments"))
def test_outside_the_library_only_public_names_are_used(module: str) -> None:
    for found in imports(path_of(module)):
        if not within(found.target, LIBRARY):
            continue
        assert is_package(found.target), f"{where(module, found)}, which is not a public package"
        if found.name is not None:
            public = public_names(found.target)
            assert found.name in public, f"{where(module, found)}.{found.name}, which is not public"


@pytest.mark.parametrize("module", every("theory", "experiments"))
def test_rooms_beside_the_library_do_not_know_each_other(module: str) -> None:
    banned = {
        target for room, targets in FORBIDDEN.items() if within(module, room) for target in targets
    }
    for found in imports(path_of(module)):
        known = [target for target in banned if within(found.target, target)]
        assert not known, f"{where(module, found)}: not for this room"


def test_rules_see_what_they_forbid(tmp_path: Path) -> None:
    """The walk finds imports wherever they hide, and resolves relative ones."""
    source = tmp_path / "sample.py"
    source.write_text(
        "import a.b\n"
        "if True:\n    from c import d\n"
        "class E:\n    import f\n    def g(self):\n        import h\n"
    )
    seen = [(i.target, i.name, i.inside_function) for i in imports(source)]
    assert seen == [
        ("a.b", None, False),
        ("c", "d", False),
        ("f", None, False),
        ("h", None, True),
    ]
    relative = ast.parse("from .top_k import rank").body[0]
    assert isinstance(relative, ast.ImportFrom)
    dynamic = ROOT / LIBRARY / "layers" / "dynamic.py"
    assert absolute(relative, dynamic) == f"{LIBRARY}.layers.top_k"
    assert Import(f"{LIBRARY}.layers.top_k", "rank", 0, False) in [
        i._replace(line=0) for i in imports(dynamic)
    ]


def test_every_room_may_import_only_rooms_that_are() -> None:
    for room, below in ROOMS.items():
        assert set(below.split()) <= set(ROOMS), room
    TopologicalSorter({room: set(below.split()) for room, below in ROOMS.items()}).prepare()

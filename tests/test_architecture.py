"""Imports point one way, and nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignx.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "alignx"

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "manifest": {"errors"},
    "settings": {"errors"},
    "locking": {"errors"},
    "cache": {"manifest"},
    "drafts": {"errors", "locking", "manifest"},
    "pages": {"errors", "manifest"},
    "records": {"cache", "errors", "manifest", "settings"},
    "prompts": {"cache", "errors", "locking", "manifest", "settings", "intervals", "pages", "records"},
    "models": {"errors", "manifest", "settings", "records", "prompts"},
    "intervals": set(),
    "chat": {"errors", "locking", "manifest", "settings"},
    "annotation": {"errors", "manifest", "settings", "intervals", "pages", "records", "prompts", "models", "chat"},
    "training": {"cache", "errors", "locking", "manifest", "settings", "records", "prompts", "models"},
    "generation": {"errors", "drafts", "manifest", "settings", "records", "prompts", "models", "chat"},
    "evaluation": {"cache", "errors", "drafts", "manifest", "settings", "intervals", "pages", "records", "prompts"}
    | {"models"},
    "judging": {"errors", "drafts", "manifest", "settings", "intervals", "pages", "records", "prompts", "chat"}
    | {"generation", "evaluation"},
    "cli": {"errors", "manifest", "settings", "records", "prompts", "models", "chat", "annotation"}
    | {"training", "generation", "evaluation", "judging"},
    "__main__": {"cli"},
    "__init__": set(),
}
"""Room → the rooms whose code it may use, at the top of a file or anywhere in it."""

HEAVY = {"accelerate", "datasets", "deepspeed", "matplotlib", "openai", "pandas", "peft", "scipy", "torch"} | {
    "tokenizers",
    "transformers",
    "trl",
    "pyarrow",
    "huggingface_hub",
}
IMPORTED_LATE = {
    "alignx.generation.decoding",
    "alignx.models.logps",
    "alignx.models.prefix_attention",
    "alignx.models.prefix_packing",
    "alignx.models.pretraining",
    "alignx.models.scoring",
    "alignx.models.shared_prefix",
    "alignx.training.footprint",
    "alignx.training.preemption",
    "alignx.training.prompt_once",
    "alignx.training.trainer",
}
"""Modules about tensors, which import torch at their top and are themselves imported only where they are used."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.AST, *, only_top: bool) -> Iterator[str]:
    """Dotted names that a module imports; ``only_top``: when it is itself imported."""
    if isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.dump(tree.test) and only_top:
        return
    if only_top and isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        assert tree.level == 0, "relative imports hide where a name comes from"
        yield from (f"{tree.module}.{alias.name}" for alias in tree.names)
    for child in ast.iter_child_nodes(tree):
        yield from imports(child, only_top=only_top)


def imports_of(path: Path, *, only_top: bool = False) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8")), only_top=only_top))


def module_of(imported: str) -> str | None:
    """The module of this package that an imported name is, or is found in."""
    while imported:
        if imported in MODULES:
            return imported
        imported = imported.rpartition(".")[0]
    return None


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_the_reader_of_imports_sees_every_kind() -> None:
    source = (
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    import g\nclass H:\n    import i\n"
    )
    assert set(imports(ast.parse(source), only_top=False)) == {"a.b", "c.d", "e", "g", "i"}
    assert set(imports(ast.parse(source), only_top=True)) == {"a.b", "c.d", "i"}


def test_every_room_is_known() -> None:
    assert {room_of(module) for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    for module, path in MODULES.items():
        if room_of(module) != room:
            continue
        used = {found for name in imports_of(path) if (found := module_of(name)) is not None}
        wrong = {name for name in used if room_of(name) not in {room, *MAY_IMPORT[room], "__init__"}}
        assert not wrong, f"{module} imports {wrong}"


def test_no_module_imports_itself_through_others() -> None:
    edges = {
        module: {found for name in imports_of(path, only_top=True) if (found := module_of(name))} - {module}
        for module, path in MODULES.items()
    }
    edges = {module: {name for name in used if name != "alignx"} for module, used in edges.items()}
    while leaves := {module for module, used in edges.items() if not used & edges.keys()}:
        edges = {module: used for module, used in edges.items() if module not in leaves}
    assert not edges, f"modules in a circle, or importing one: {sorted(edges)}"


def test_only_modules_about_tensors_import_anything_heavy_at_the_top() -> None:
    heavy = {
        module
        for module, path in MODULES.items()
        if {name.split(".")[0] for name in imports_of(path, only_top=True)} & HEAVY
    }
    assert heavy == IMPORTED_LATE


def test_modules_about_tensors_are_imported_late() -> None:
    early = {
        module: used
        for module, path in MODULES.items()
        if module not in IMPORTED_LATE
        and (used := {module_of(name) for name in imports_of(path, only_top=True)} & IMPORTED_LATE)
    }
    assert early == {}


def test_trl_is_known_to_training_alone() -> None:
    knowing = {module for module, path in MODULES.items() if "trl" in {n.split(".")[0] for n in imports_of(path)}}
    assert knowing
    assert {room_of(module) for module in knowing} == {"training"}


def test_commands_for_the_shell_use_only_the_command_line_and_the_name_of_a_method() -> None:
    scripts = sorted((ROOT / "eval").glob("*.py"))
    assert scripts
    for script in scripts:
        used = {name for name in imports_of(script) if name.startswith("alignx")}
        verbs = {f"alignx.cli.{name}" for name in ("score", "accuracy", "generate", "win_rate")}
        assert used <= {*verbs, "alignx.prompts.Method"}, script.name


def loaded_after(code: str) -> set[str]:
    """Names of the top-level packages that a fresh interpreter has loaded after running ``code``."""
    program = f"{code}\nimport sys\nprint('\\n' + ' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_no_library_at_all() -> None:
    found = loaded_after("from alignx.cli import main; main(['--help'])")
    assert "alignx" in found
    assert not found & (HEAVY | {"numpy", "pydantic", "yaml"})


def test_all_settings_and_everything_that_runs_a_command_load_nothing_heavy() -> None:
    code = "\n".join(
        f"from {where.replace(':', ' import ')}" for c in COMMANDS.values() for where in (c.settings, c.run)
    )
    found = loaded_after(f"import alignx.cli\n{code}")
    assert {"alignx", "pydantic"} <= found
    assert not found & HEAVY

"""The tree is the architecture: which part may import which, read from the source and not from a running program."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("deploy", "jobs", "models", "online_learning", "schemas")

# What each part may import of the others, itself aside: the arrows point one way.
ALLOWED = {
    "deploy": {"jobs", "models", "online_learning", "schemas"},
    "jobs": {"models", "online_learning", "schemas"},
    "models": {"schemas"},
    "online_learning": {"schemas", "models"},
    "schemas": set(),
}

# Libraries that belong to some folders only.
ONLY_IN = {
    "pyflink": ("jobs/",),
    "confluent_kafka": ("jobs/stream/", "deploy/", "schemas/registry.py"),
    "redis": ("jobs/stream/", "deploy/"),
    "httpx2": ("jobs/stream/", "models/services/"),
    "torch": ("models/training/", "online_learning/learners/network.py"),
    "lightgbm": ("models/training/",),
    "rapidocr_onnxruntime": ("models/services/reading/",),
    "xgboost": ("models/training/",),
    "onnx": ("models/training/",),
    "transformers": ("models/training/text/",),
    "starlette": ("models/services/base/protocol/",),
    "uvicorn": ("models/services/base/protocol/", "models/services/base/process.py"),
    "prometheus_client": ("models/services/base/metrics.py",),
    "magika": ("models/services/base/evidence/content_kind.py",),
}

# Layers of the services: each part, and what of the services it must not know.
SERVICE_LAYERS = {
    "models/services/base/model.py": ("models.services.base.dataplane", "models.services.base.protocol"),
    "models/services/base/dataplane/": ("models.services.base.protocol", "models.services.base.process"),
    "models/services/base/evidence/": ("models.services.base.protocol", "models.services.base.process"),
    "models/services/base/protocol/": ("models.services.base.process", "models.services.catalogue"),
    "models/services/base/": ("models.services.text", "models.services.vision", "models.services.multimodal"),
}

# Folders whose functions depend on their arguments alone, and what would break that.
PURE = ("models/features/", "models/scoring/", "models/backtest/", "models/evidence/", "online_learning/learners/")
IMPURE = {"random", "secrets", "socket", "subprocess", "uuid", "redis", "confluent_kafka", "pyflink", "requests"}
IMPURE_CALLS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "os.getenv", "date.today"}


def modules() -> list[Path]:
    return sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: name the package"
            yield node.lineno, node.module or ""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    return {named(path): ast.parse(path.read_text(), named(path)) for path in modules()}


def test_imports_between_parts_point_one_way(trees: dict[str, ast.AST]) -> None:
    wrong = []
    for name, tree in trees.items():
        part = name.split("/")[0]
        for line, module in imports(tree):
            target = module.split(".")[0]
            if target in PARTS and target != part and target not in ALLOWED[part]:
                wrong.append(f"{name}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_libraries_stay_in_the_folders_that_own_them(trees: dict[str, ast.AST]) -> None:
    wrong = []
    for name, tree in trees.items():
        for line, module in imports(tree):
            places = ONLY_IN.get(module.split(".")[0])
            if places and not name.startswith(places):
                wrong.append(f"{name}:{line} imports {module}, which belongs in {', '.join(places)}")
    assert not wrong, "\n".join(wrong)


def test_the_core_knows_no_clock_no_chance_no_network_and_no_environment(trees: dict[str, ast.AST]) -> None:
    wrong = []
    for name, tree in trees.items():
        if not name.startswith(PURE):
            continue
        wrong += [f"{name}:{line} imports {m}" for line, m in imports(tree) if m.split(".")[0] in IMPURE]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                called = ast.unparse(node)
                if called == "os.environ" or any(called.endswith(call) for call in IMPURE_CALLS):
                    wrong.append(f"{name}:{node.lineno} uses {called}")
    assert not wrong, "\n".join(wrong)


def test_layers_of_the_services_know_nothing_above_them_and_no_model(trees: dict[str, ast.AST]) -> None:
    wrong = [
        f"{name}:{line} imports {module}"
        for layer, forbidden in SERVICE_LAYERS.items()
        for name, tree in trees.items()
        if name.startswith(layer)
        for line, module in imports(tree)
        if module.startswith(forbidden)
    ]
    assert not wrong, "\n".join(wrong)


def test_services_run_without_the_training_packages(trees: dict[str, ast.AST]) -> None:
    wrong = [
        f"{name}:{line} imports {module}"
        for name, tree in trees.items()
        if name.startswith("models/services/")
        for line, module in imports(tree)
        if module.startswith("models.training")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_code_imports_the_tests(trees: dict[str, ast.AST]) -> None:
    wrong = [
        f"{name}:{line}" for name, tree in trees.items() for line, m in imports(tree) if m.split(".")[0] == "tests"
    ]
    assert not wrong, "\n".join(wrong)

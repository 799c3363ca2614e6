"""Plug-ins of a scenario: Python files and modules that register strategies, mechanisms, policies or engines by name.

Loading one runs its code, in every process that reads the scenario. A file is run once per process, and again when its
content has changed.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from peerwatt.errors import Fault, ScenarioError
from peerwatt.registry import Registry

__all__ = ["load_plugin", "plugin_digest", "resolved_plugin"]

_log = logging.getLogger("peerwatt")
_loaded: dict[Path, str] = {}
"""Digest of each file as it was run."""


def load_plugin(source: str, base: Path) -> None:
    """Run a plug-in's code, unless this process has.

    Args:
        source: path of a Python file, or name of a module that can be imported.
        base: directory that a relative path starts at.

    Raises:
        ScenarioError: there is no such file or module, or its code raised.
    """
    before = Registry.registrations
    if _is_file(source):
        path = (base / source).resolve()
        digest = _file_digest(path, source)
        if _loaded.get(path) == digest:
            return
        _run(path, source, digest)
        _loaded[path] = digest
    elif source in sys.modules:
        return
    else:
        _import(source)
    if Registry.registrations == before:
        _log.warning("plugins: %s has registered nothing: has it a decorator such as @peerwatt.strategy?", source)


def plugin_digest(source: str, base: Path) -> str:
    """Hash of a plug-in's code as it was run; of a package that of its `__init__`, without a file the name.

    Raises:
        ScenarioError: the file cannot be read.
    """
    if _is_file(source):
        path = (base / source).resolve()
        return _loaded.get(path) or _file_digest(path, source)
    try:
        spec = find_spec(source)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.has_location or spec.origin is None:
        return source
    return _file_digest(Path(spec.origin), source)


def resolved_plugin(source: str, base: Path) -> str:
    """The same plug-in, with a path that does not depend on where it is read."""
    return str((base / source).resolve()) if _is_file(source) else source


def _is_file(source: str) -> bool:
    return source.endswith(".py") or "/" in source or "\\" in source


def _file_digest(path: Path, source: str) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        fault = Fault(source, f"there is no file {path}", "paths start at the folder of the scenario file")
        raise ScenarioError(fault) from None
    except OSError as error:
        raise ScenarioError(Fault(source, f"cannot be read: {error.strerror or error}", "name a Python file")) from None


def _run(path: Path, source: str, digest: str) -> None:
    name = f"peerwatt_plugin_{digest[:16]}_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ScenarioError(Fault(source, "is no Python file", "its name ends in .py"))
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ScenarioError(Fault(source, _raised(error, path), "mend it, or take it out of plugins")) from error


def _import(source: str) -> None:
    try:
        import_module(source)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{source}.".startswith(f"{error.name}."):
            raise ScenarioError(Fault(source, _raised(error), "install what it needs")) from error
        remedy = "install it, or name a file with its .py"
        raise ScenarioError(Fault(source, "there is no module of this name", remedy)) from None
    except Exception as error:
        raise ScenarioError(Fault(source, _raised(error), "mend it, or take it out of plugins")) from error


def _raised(error: Exception, path: Path | None = None) -> str:
    """What a plug-in's code raised, and at which of its lines."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if path is None or frame.filename == str(path)] or frames
    return f"{own[-1].filename}, line {own[-1].lineno}: {type(error).__name__}: {error}"

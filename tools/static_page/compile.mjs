// Compiles every .py of some folders to the bytecode of Pyodide's Python, in its place: node compile.mjs PYODIDE FOLDER…
import { pathToFileURL } from "node:url";
const [pyodide, ...folders] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`));
const python = await loadPyodide({ indexURL: pyodide });
for (const [number, folder] of folders.entries()) python.mountNodeFS(`/tree${number}`, folder);
await python.runPythonAsync(`
import py_compile
from pathlib import Path
for number in range(${folders.length}):
    tree = Path(f"/tree{number}")
    for path in sorted(tree.rglob("*.py")):
        if path.relative_to(tree).as_posix().startswith(("anyio/__init__.py", "planner/emit/templates/")):
            continue  # read as texts: anyio imports late what its own names, the others are written for users
        kept = path.with_suffix(".pyc")
        py_compile.compile(path, cfile=kept, dfile=str(path.relative_to(tree)), doraise=True, optimize=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        path.unlink()
`);

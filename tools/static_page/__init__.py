"""The page without a server: the same program in the browser's own Python (Pyodide), as one folder of files for any host of static files.

`python -m tools.static_page OUT` (or `make page`) builds it. The parts come from npm and PyPI, pinned and checked by hash (`parts.py`, `parts.txt`); nothing is
fetched from elsewhere, neither here nor by the page. `site/` is what the browser gets beside them, `inside/` what stands there in place of a server.
"""

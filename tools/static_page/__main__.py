"""`python -m tools.static_page OUT`: the page as one folder for any host of static files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.static_page.build import build
from tools.static_page.parts import PartsError

PARTS = Path.home() / ".cache" / "serve-plan" / "static-page-1"  # where `python -m tests.judges` puts them too


def main() -> int:
    """Build, and say how large it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.static_page", description="the page without a server, as one folder")
    parser.add_argument("out", type=Path, help="an empty or new folder, or an earlier page")
    parser.add_argument("--parts", type=Path, default=PARTS, help="where npm's and PyPI's parts are kept")
    asked = parser.parse_args()
    try:
        size = build(asked.out, asked.parts)
    except (PartsError, OSError) as error:
        print(f"static page: {error}", file=sys.stderr)
        return 1
    print(f"{asked.out}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The README's two commands, as they stand: `python3 .ci/readme_blocks.py main|tests` prints the first or second block under "Two commands"."""

import re
import sys
from pathlib import Path


def blocks(readme: str) -> list[str]:
    """The text of every ```sh block of the section "Two commands"."""
    section = re.search(r"^## Two commands\n(.+?)^## ", readme, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^```sh\n(.+?)^```$", section[1], re.MULTILINE | re.DOTALL) if section else []
    if len(found) != 2:
        sys.exit(f'README.md: {len(found)} blocks under "Two commands", not two')
    return found


if __name__ == "__main__":
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    sys.stdout.write(dict(zip(("main", "tests"), blocks(readme), strict=True))[sys.argv[1]])

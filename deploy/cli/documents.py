"""Write the generated table of settings into a document, between its two markers."""

import sys
from pathlib import Path

from jobs.settings import settings_table

BEGIN = "<!-- settings: made by `make docs` -->"
END = "<!-- end of settings -->"


def with_current_table(text: str) -> str:
    """Replace what stands between the markers by the current table."""
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"the document needs the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Rewrite each named file."""
    for name in arguments:
        path = Path(name)
        path.write_text(with_current_table(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

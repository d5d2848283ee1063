"""Write docs/features.md from the catalogue: `python -m models.features [FILE]`."""

from __future__ import annotations

import sys
from pathlib import Path

from models.features.document import feature_document


def main(argv: list[str] | None = None) -> int:
    """Write the page; the default place is docs/features.md under the working directory."""
    arguments = sys.argv[1:] if argv is None else argv
    path = Path(arguments[0]) if arguments else Path("docs/features.md")
    path.write_text(feature_document(), encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m models.training.documents sheet.png`: a contact sheet of drawn documents, for a person to look at."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from models.training.documents.sample import SPLITS, Sample, draw_sample

CELL = 520


def contact_sheet(samples: list[Sample], columns: int) -> Image.Image:
    """Place documents side by side, at full size, edited regions framed in red."""
    rows = -(-len(samples) // columns)
    sheet = Image.new("RGB", (columns * CELL, rows * (CELL + 14)), (90, 90, 90))
    draw = ImageDraw.Draw(sheet)
    for index, sample in enumerate(samples):
        x, y = index % columns * CELL, index // columns * (CELL + 14)
        draw.text((x + 2, y + 1), f"{sample.layout.kind}/{sample.layout.name}: {sample.forgery}", fill=(255, 255, 255))
        sheet.paste(Image.open(io.BytesIO(sample.jpeg)), (x, y + 14))
        for left, top, right, bottom in sample.boxes:
            draw.rectangle((x + left - 2, y + 14 + top - 2, x + right + 1, y + 14 + bottom + 1), outline=(255, 0, 0))
    return sheet


def main(argv: list[str] | None = None) -> int:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description="Draw documents and write a contact sheet.")
    parser.add_argument("output", type=Path, help="PNG to write")
    parser.add_argument("--split", choices=sorted(SPLITS), default="train")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=4)
    given = parser.parse_args(argv)
    samples = [draw_sample(given.first_seed + i, given.split) for i in range(given.count)]
    contact_sheet(samples, given.columns).save(given.output)
    print(f"wrote {given.count} documents to {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

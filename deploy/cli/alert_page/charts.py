"""The small drawings of the page, as SVG: a score on its scale and from revision to revision, a share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deploy.cli.alert_page.markup import Node, el

WIDTH = 400


def score_bar(score: float, before: float, outcome: str, thresholds: Mapping[str, float]) -> Node:
    """Draw a score from 0 to 1, a ring where it was before, and the thresholds of the model."""
    marks = []
    for name, value in thresholds.items():
        x = WIDTH * _inside(value)
        marks.append(el("line", x1=x, x2=x, y1=2, y2=26, class_="tick"))
        anchor = "end" if x > WIDTH * 0.8 else "start"
        marks.append(el("text", name, x=x, y=40, text_anchor=anchor))
    now, was = WIDTH * _inside(score), WIDTH * _inside(before)
    ring = el("circle", cx=was, cy=14, r=6, class_="before") if score != before else None
    return el(
        "svg",
        el("rect", x=0, y=8, width=WIDTH, height=12, rx=6, class_="rail"),
        el("rect", x=0, y=8, width=max(now, 3), height=12, rx=6, class_=f"fill-{outcome}"),
        marks,
        ring,
        viewBox=f"-8 0 {WIDTH + 16} 44",
        role="img",
        aria_label=f"score {score:.3f} of 1",
    )


def part_bar(share: float) -> Node:
    """Draw a share of 1 as a bar."""
    return el(
        "svg",
        el("rect", x=0, y=0, width=100, height=8, rx=4, class_="rail"),
        el("rect", x=0, y=0, width=round(100 * _inside(share), 1), height=8, rx=4, class_="part"),
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def score_path(scores: Sequence[float]) -> Node:
    """Draw scores as a line over the revisions."""
    height, step = 70, WIDTH / max(1, len(scores) - 1)
    points = [(round(i * step, 1), round(8 + (height - 16) * (1 - _inside(s)), 1)) for i, s in enumerate(scores)]
    dots = [el("circle", cx=x, cy=y, r=4.5, class_="dot") for x, y in points]
    words = [
        el(
            "text",
            f"{score:.3f}",
            x=x,
            y=y - 9 if y > 20 else y + 18,
            text_anchor="start" if i == 0 else "end" if i == len(scores) - 1 else "middle",
        )
        for i, (score, (x, y)) in enumerate(zip(scores, points, strict=True))
    ]
    return el(
        "svg",
        el("line", x1=0, x2=WIDTH, y1=height - 8, y2=height - 8, class_="tick"),
        el("polyline", points=" ".join(f"{x},{y}" for x, y in points), class_="path"),
        dots,
        words,
        viewBox=f"-8 -8 {WIDTH + 16} {height + 10}",
        role="img",
        aria_label="score by revision: " + ", ".join(f"{score:.3f}" for score in scores),
        class_="chart",
    )


def _inside(value: float) -> float:
    return min(1.0, max(0.0, value if value == value else 0.0))

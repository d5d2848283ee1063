"""Recall over time as an SVG, one panel a contestant; written by hand, so that the bench needs no plotting package."""

from __future__ import annotations

from typing import Any

WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM = 820, 210, 50, 20, 34, 36
COLOURS = {"learning": "#2563eb", "frozen": "#9aa5b1"}


def draw(result: dict[str, Any]) -> str:
    """Return the SVG of a result of the bench."""
    runs = result["runs"]
    last = max(hour for run in runs.values() for hour in run["by_six_hours"]["learning"]["hours"])
    panels = [_panel(name, run, last, number * PANEL) for number, (name, run) in enumerate(runs.items())]
    height = PANEL * len(runs) + 24
    note = (
        f"recall on {result['pattern']} in six hours each, {result['alert_share']:.0%} of the transactions alerted; "
        f"hours since it began"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{WIDTH}" height="{height}" fill="white"/>\n'
        + "\n".join(panels)
        + f'\n<text x="{LEFT}" y="{height - 8}" fill="#4b5563">{note}</text></svg>\n'
    )


def _panel(name: str, run: dict[str, Any], last: float, top: float) -> str:
    right, floor = WIDTH - RIGHT, top + PANEL - BOTTOM
    height = floor - top - TOP

    def at(hour: float, recall: float) -> tuple[float, float]:
        return LEFT + (right - LEFT) * hour / last, floor - height * recall

    parts = [f'<text x="{LEFT}" y="{top + 14}" font-size="13" font-weight="bold">{name}</text>']
    for recall in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = at(0, recall)
        parts.append(f'<line x1="{x}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{recall:g}</text>')
    for hour in range(0, int(last) + 1, 24):
        x, y = at(hour, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 14:.1f}" text-anchor="middle">{hour}</text>')
    marks = [(run["first_label_hours"], "first label", "4 3"), (run["detected_hours"], "drift found", "1 3")]
    marks.append((run["first_label_hours"] + 24, "24 h later", "4 3"))
    for hour, text, dashes in marks:
        if hour is not None and hour <= last:
            x, y = at(hour, 1.0)
            parts.append(
                f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{floor}" stroke="#6b7280" stroke-dasharray="{dashes}"/>'
            )
            parts.append(f'<text x="{x + 3:.1f}" y="{y - 3:.1f}" fill="#4b5563">{text}</text>')
    for number, (who, colour) in enumerate(COLOURS.items()):
        if who not in run["by_six_hours"]:
            continue
        found = run["by_six_hours"][who]
        points = [at(hour - 3, recall) for hour, recall in zip(found["hours"], found["recall"], strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{right - 130 + 70 * number}" y="{top + 14}" fill="{colour}">{who}</text>')
    return "\n".join(parts)

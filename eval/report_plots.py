"""The figures of a report as files of their own, for those who look at a run and not at its page.

Pure, but for the style sheet of reports, which is read beside this module. The drawings and the style are the page's; a
file has its own ground, and follows the theme of whoever shows it.
"""

from __future__ import annotations

import re
from typing import Any

from eval.report_curves import cost_quality
from eval.report_figures import gap_closed, reliability
from eval.report_style import read_style

__all__ = ["render_plots"]

_OWN_STYLE = ".chart { font-family: system-ui, sans-serif; } .ground { fill: var(--page); }"
_FIRST = re.compile(r'<svg class="chart [^"]*"(.*?)viewBox="0 0 (\S+) (\S+)">(.*?</svg>)', re.DOTALL)


def render_plots(document: dict[str, Any]) -> dict[str, str]:
    """Return SVG files by name: cost against quality, the gap closed, and reliability by tier; none without figures."""
    comparison = document["comparison"]
    if comparison is None:
        return {}
    drawn = {"cost-quality": cost_quality(comparison), "gap-closed": gap_closed(comparison)}
    for index, tier in enumerate(comparison["calibration"]):
        drawn[f"reliability-{index + 1}-{tier['tier']}"] = reliability(tier, index)
    files = {name: _alone(text) for name, text in drawn.items()}
    return {f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.svg": text for name, text in files.items() if text}


def _alone(figure: str) -> str:
    """Return the first drawing of a figure, which is its wide one, as a file; "" where there is none."""
    found = _FIRST.search(figure)
    if found is None:
        return ""
    about, width, height, content = found.groups()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart"{about}viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}"><style>{read_style()}\n{_OWN_STYLE}</style>'
        f'<rect class="ground" width="{width}" height="{height}"/>{content}\n'
    )

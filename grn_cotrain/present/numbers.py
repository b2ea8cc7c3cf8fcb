"""The one spelling of numbers: ``0.414``, ``-0.050``, ``+0.013``, ``12,345``, ``2.1 %`` and ``-`` where there is none.

HTML pages show the same text with a typographic minus and dash (:func:`grn_cotrain.present.html.typographic`).
"""

from __future__ import annotations

import math

__all__ = ["MISSING", "bounds", "count", "is_known", "measured", "number", "percent"]

MISSING = "-"
"""Text in place of a missing number."""


def is_known(value: float | None) -> bool:
    """Whether there is a number to show: not None, not NaN, not infinite."""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Write a number with a fixed count of decimals; ``sign`` writes the plus of a difference too."""
    if value is None or not math.isfinite(value):
        return MISSING
    value = round(float(value), digits) + 0.0  # no -0.000
    return f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """Write a whole number with a comma between thousands."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share between 0 and 1 as a percentage."""
    return MISSING if value is None or not math.isfinite(value) else f"{number(100 * value, digits)} %"


def bounds(low: float | None, high: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Write the two ends of an interval in brackets; nothing where one of them is missing."""
    if not (is_known(low) and is_known(high)):
        return ""
    return f"[{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"


def measured(
    value: float | None, low: float | None = None, high: float | None = None, digits: int = 3, *, sign: bool = False
) -> str:
    """Write a value with its interval behind it, where there is one."""
    shown = number(value, digits, sign=sign)
    interval = bounds(low, high, digits, sign=sign) if shown != MISSING else ""
    return f"{shown} {interval}".rstrip()

"""Colours that mean the same in every chart, told apart by the colour-blind, and by lightness in grey print."""

from collections.abc import Mapping

ELEMENTS: Mapping[str, str] = {
    "production": "#0b4f8a",
    "setup": "#7fb8e6",
    "delay": "#d55e00",
    "idle": "#f5d657",
    "planned": "#9a9a9a",
    "unknown": "#ffffff",
    "break": "#d9d9d9",
    "unscheduled": "#efefef",
}
LOSSES: Mapping[str, str] = {
    "loss_planned": ELEMENTS["planned"],
    "loss_unknown": ELEMENTS["unknown"],
    "loss_idle": ELEMENTS["idle"],
    "loss_breakdown": ELEMENTS["delay"],
    "loss_setup": ELEMENTS["setup"],
    "loss_micro_stop": "#f2a25c",
    "loss_speed": "#8c6bb1",
    "loss_startup": "#c7b6dc",
    "loss_quality": "#5b2a86",
    "fully_productive_time": ELEMENTS["production"],
}
STEPS = ("#fbe9d9", "#f2b98a", "#a9c4de", "#5d92c4", "#0b4f8a")
"""From little to much; the ends differ most."""
LINE, BESIDE, MARKED, EDGE, INK = "#0b4f8a", "#8a8a8a", "#d55e00", "#555555", "#1a1a1a"

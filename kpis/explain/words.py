"""What an explanation says in words: flags, needs and rules, each once."""

FLAGS = {
    "reset": "a counter or meter dropped and it was no rollover: it was counted on from 0; see the events",
    "gap_increment": "pieces or energy that were counted while no data came are in the quantity; see the events",
    "refused_step": "a counter rose faster than max_rate, or fell without a reason: it was left out; see the events",
    "unmapped_state": "the machine reported a state that the state map does not name: that time is unknown",
    "assumed": "nothing counts rejects, so every piece was taken for good",
    "assets_left_out": "production assets of this group lack what this KPI needs; they are not in the figure",
    "unknown_time": "part of the planned time is unknown and left out; low and high say how much it matters",
    "above_one": "more than 100%: the ideal cycle is too long, or a counter counts too much; it is not capped",
    "below_zero": "less than 0: a machine beats its ideal cycle, or its counters contradict each other",
    "inferred": "an asset has no state point: production and stops are inferred from the pace of its counter",
    "media_left_out": "the factor set has no coefficient for a medium of the plant; it is not in the sum",
    "bottleneck=": "the figure is that of this asset, whose ideal cycle in the register is the greatest",
    "r2=": "the share of the energy's variance that the line over the hours explains; 1 is all of it",
}
"""Each flag of results in a sentence; one that carries a value ends in `=`."""

NEEDS = {
    "state": "a point of role state, or a total (else good) point and an ideal cycle to infer it from",
    "counts": "a point of role total, or both good and reject",
    "reject": "a point of role reject, or both total and good",
    "rework": "a point of role rework",
    "ideal_cycle": "an ideal_cycle in assets.csv or products.csv, or a point of that role",
    "apc": "a point of role apc",
    "energy": "a meter (role energy.<medium>) or a power point (role power.<medium>)",
}

RULES = {
    1: "of several samples at one instant the one received last counts",
    3: "a good sample holds until the next one, at most for max_hold; all other time is unknown",
    5: "planned operation time is the shifts without their breaks",
    6: "each instant is in exactly one time element; a state that the map does not name is unknown",
    7: "the raw state is looked up in the state map as text",
    8: "an increment is the difference of two good samples, shared out over the time between them",
    10: "a drop is a rollover where modulus makes it plausible, else a reset; what exceeds max_rate is refused",
    11: "an increment across a gap is kept and spread over the gap",
    12: "events stand at the sample that closes the step",
    13: "a count that is missing is derived from the other ones",
    14: "pieces that fell into unknown time are kept apart",
    15: "ratios are over known time; low and high take the unknown time as lost and as productive",
    16: "plain quantities keep every increment, those across a gap included",
    17: "a group's figure is computed from the sums of its assets",
    18: "a zero denominator gives no value; a ratio above 1 is kept",
    19: "demand is energy over whole intervals of the plant's clock",
    20: "mode and order may change the element that the state gave",
    21: "a stop is judged by its whole length, and counted where its first planned instant lies",
    22: "without a state point the elements are inferred from the counter's pace",
    23: "rejects soon after a setup are start-up rejects",
    24: "process control counts while its point is known",
    25: "the machine's own word decides about resets of its counters",
    26: "a swap of a counter is counted by its last and first readings",
}
"""The rules of docs/kpi-rules.md by number, in a few words."""


def flag_sentence(flag: str) -> str:
    """Return what a flag says."""
    name, equals, _ = flag.partition("=")
    return FLAGS[name + equals]


def need_sentence(need: str) -> str:
    """Return what an asset must have to meet a need."""
    kind, dot, medium = need.partition(".")
    if dot:
        return f"a meter (role {need}) or a power point (role power.{medium})"
    return NEEDS[kind]

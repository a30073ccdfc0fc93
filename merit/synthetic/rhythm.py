"""When the atria and the ventricles beat: sinus rhythm and its disorders as lists of timed events.

Times are seconds from the begin of the recording, those of ventricular events at R. Atrial events carry the name of an
atrial complex (P sinus, E ectopic, R retrograde), ventricular ones that of a ventricular complex (N conducted,
V ventricular, A aberrant, J junctional).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LEAD_IN_S = 2.0
"""The rhythm starts before the recording, so that its first seconds are like the rest."""
BASES = ("sinus", "wandering", "atrial", "reentry", "junctional", "fibrillation", "flutter", "paced", "dissociated")
"""What a rhythm is before premature beats, escapes and paroxysms."""


@dataclass(slots=True)
class Plan:
    """What the rhythm findings ask for. Defaults are a healthy sinus rhythm."""

    base: str = "sinus"
    """One of BASES."""
    rate_bpm: float = 70.0
    breathing: float = 0.03
    """Relative swing of RR with breathing."""
    scatter: float = 0.012
    """Relative random change of RR from beat to beat (its whole spread, in atrial fibrillation)."""
    early: list[tuple[str, str]] = field(default_factory=list)
    """Premature beats: (V ventricular, S supraventricular or A supraventricular and aberrant, pattern), the pattern
    being few, bigeminy or trigeminy."""
    block: str = ""
    """wenckebach, mobitz or two-to-one."""
    escape: str = ""
    """Complex of the beat that ends a pause: J or V."""
    conduction: tuple[int, ...] = (2,)
    """Flutter waves for each ventricular beat, one drawn at each beat."""
    flutter_hz: float = 5.0
    paroxysm: bool = False
    """The tachycardia begins or ends within the recording."""


@dataclass(slots=True)
class Events:
    """Timed atrial and ventricular events, (seconds, name of the complex)."""

    atrial: list[tuple[float, str]]
    ventricular: list[tuple[float, str]]

    def sorted(self) -> Events:
        """The same in order of time."""
        return Events(sorted(self.atrial), sorted(self.ventricular))


def sinus_times(plan: Plan, until_s: float, breath_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Times of the sinus node from the lead-in to `until_s`."""
    mean = 60.0 / plan.rate_bpm
    n = int((until_s + LEAD_IN_S) / mean * 1.6) + 8
    drift = np.convolve(rng.standard_normal(n + 4), [0.6, 0.5, 0.4, 0.3, 0.2], "valid")
    phase = 2 * np.pi * (breath_hz * mean * np.arange(n) + rng.random())
    rr = mean * (1 + plan.breathing * np.sin(phase) + plan.scatter * drift)
    times = -LEAD_IN_S + rng.random() * mean + np.cumsum(np.maximum(rr, 0.25))
    return times[times < until_s]


def make_rhythm(plan: Plan, duration_s: float, pr_s: float, breath_hz: float, rng: np.random.Generator) -> Events:
    """Events of a recording of `duration_s` under a plan; `pr_s` is from P's centre to R."""
    until = duration_s + 1.0
    events = base_rhythm(plan, until, pr_s, breath_hz, rng)
    if plan.paroxysm:
        events = _paroxysm(events, until, pr_s, rng)
    for kind, pattern in plan.early:
        events = _premature(events, kind, pattern, pr_s, until, rng)
    if plan.escape:
        events = _escape(events, plan.escape, pr_s, duration_s, rng)
    return events.sorted()


def base_rhythm(plan: Plan, until: float, pr_s: float, breath_hz: float, rng: np.random.Generator) -> Events:
    """The undisturbed rhythm of `plan.base` from the lead-in to `until` seconds, with the sinus node's AV block."""
    if plan.base not in BASES:
        raise ValueError(f"base: expected one of {', '.join(BASES)}; got {plan.base!r}")
    if plan.base == "fibrillation":
        mean = 60.0 / plan.rate_bpm
        n = int((until + LEAD_IN_S) / mean * 1.8) + 10
        rr = np.maximum(mean * np.exp(rng.normal(-(plan.scatter**2) / 2, plan.scatter, n)), 0.29)
        times = -LEAD_IN_S + rng.random() * mean + np.cumsum(rr)
        return Events([], [(t, "N") for t in times[times < until]])
    if plan.base == "flutter":
        n = int((until + LEAD_IN_S) * plan.flutter_hz / min(plan.conduction)) + 2
        steps = np.cumsum(rng.choice(plan.conduction, n))
        times = -LEAD_IN_S + (steps + 0.45) / plan.flutter_hz + rng.normal(0, 0.006, n)
        return Events([], [(t, "N") for t in times[times < until]])
    if plan.base == "dissociated":
        atria = Plan(rate_bpm=rng.uniform(70, 105), breathing=0.02)
        p = sinus_times(atria, until, breath_hz, rng)
        r = sinus_times(plan, until, breath_hz, rng)
        return Events([(t, "P") for t in p], [(t, plan.escape or "J") for t in r])
    if plan.base == "paced":
        plan.scatter, plan.breathing = 0.001, 0.0
    times = sinus_times(plan, until, breath_hz, rng)
    if plan.base == "paced":
        tracked = rng.random() < 0.5
        return Events([(t - rng.normal(0.17, 0.002), "P") for t in times] if tracked else [], [(t, "V") for t in times])
    if plan.base == "reentry":
        back = rng.uniform(0.05, 0.13)
        return Events([(t + back, "R") for t in times], [(t, "N") for t in times])
    if plan.base == "junctional":
        back = rng.choice([-0.08, 0.0, 0.09])
        return Events([(t + back, "R") for t in times] if back else [], [(t, "J") for t in times])
    if plan.base == "atrial":
        return Events([(t, "E") for t in times], [(t + 0.9 * pr_s, "N") for t in times])
    if plan.base == "wandering":
        p = np.sort(times + rng.normal(0, 0.09 * 60 / plan.rate_bpm, len(times)))
        names = rng.choice(["P", "E", "E", "R"], len(p))
        pr = pr_s * rng.uniform(0.7, 1.15, len(p))
        return Events(list(zip(p, names)), [(t + d, "N") for t, d in zip(p, pr)])
    atrial = [(t, "P") for t in times]
    if not plan.block:
        pr = pr_s + rng.normal(0, 0.003, len(times))
        return Events(atrial, [(t + d, "N") for t, d in zip(times, pr)])
    period = {"two-to-one": 2}.get(plan.block, int(rng.integers(3, 6)))
    place = (np.arange(len(times)) + rng.integers(period)) % period
    delay = pr_s + (0.085 * np.sqrt(place) if plan.block == "wenckebach" else 0.0 * place)
    return Events(atrial, [(t + d, "N") for t, d, k in zip(times, delay, place) if k < period - 1])


def _premature(events: Events, kind: str, pattern: str, pr_s: float, until: float, rng: np.random.Generator) -> Events:
    """Replace regular beats by early ones: a ventricular one pauses until the next sinus beat, an atrial one resets."""
    events = events.sorted()
    r = [t for t, _ in events.ventricular]
    chosen: list[int] = []
    if pattern == "few":
        inside = [i for i in range(1, len(r) - 1) if 0.4 < r[i] < until - 1.3]
        count = min(int(rng.choice([1, 1, 2, 2, 3])), max(1, len(inside) // 3))
        for i in rng.permutation(inside) if inside else ():
            if all(abs(i - k) > 1 for k in chosen):
                chosen.append(int(i))
        chosen = sorted(chosen[:count])
    else:
        step = {"bigeminy": 2, "trigeminy": 3}[pattern]
        chosen = [i for i in range(1, len(r) - 1) if i % step == 0]
    early_by = rng.uniform(0.30, 0.42)
    complex_name = {"V": "V", "A": "A", "S": "N"}[kind]
    atrial, ventricular, moved = list(events.atrial), list(events.ventricular), 0.0
    shift = np.zeros(len(r))
    for i in chosen:
        rr = r[i] - r[i - 1]
        ahead = rr * np.clip(early_by + rng.normal(0, 0.02), 0.15, 0.5)
        ventricular[i] = (r[i] - ahead, complex_name)
        own = [k for k, (t, _) in enumerate(atrial) if r[i] - pr_s - 0.08 < t < r[i]]
        for k in own:
            atrial[k] = (atrial[k][0] - ahead, "E") if kind != "V" else (atrial[k][0], "")
        if kind != "V":
            moved += 0.75 * ahead
            shift[i + 1 :] = -moved
    ventricular = [(t + d, name) for (t, name), d in zip(ventricular, shift)]
    delay = np.interp([t for t, _ in atrial], r, shift) if atrial and r else []
    atrial = [(t + (d if name != "E" or kind == "V" else 0.0), name) for (t, name), d in zip(atrial, delay) if name]
    events = Events(atrial, ventricular).sorted()
    # what resetting left empty at the end is filled by repeating the last interval
    while moved > 0 and len(events.ventricular) > 2 and events.ventricular[-1][0] < until - 0.3:
        (before, _), (last, name) = events.ventricular[-2:]
        rr = max(last - before, 0.4)
        events.ventricular.append((last + rr, "N" if name in "VA" else name))
        if events.atrial:
            events.atrial.append((events.atrial[-1][0] + rr, "P"))
    return events


def _paroxysm(events: Events, until: float, pr_s: float, rng: np.random.Generator) -> Events:
    """Keep the tachycardia on one side of a moment inside the recording, sinus rhythm on the other."""
    change, starts = rng.uniform(0.3, 0.7) * until, rng.random() < 0.5
    calm = base_rhythm(Plan(rate_bpm=rng.uniform(65, 90)), until, pr_s, 0.25, rng)
    fast_side = (lambda t: t > change) if starts else (lambda t: t < change - 0.4)
    calm_side = (lambda t: t < change - 0.4) if starts else (lambda t: t > change + 0.5)
    return Events(
        [e for e in events.atrial if fast_side(e[0])] + [e for e in calm.atrial if calm_side(e[0])],
        [e for e in events.ventricular if fast_side(e[0])] + [e for e in calm.ventricular if calm_side(e[0] - pr_s)],
    )


def _escape(events: Events, name: str, pr_s: float, duration_s: float, rng: np.random.Generator) -> Events:
    """A pause of the sinus node in the recording, ended by one or two beats of another centre."""
    events = events.sorted()
    start = rng.uniform(0.15, 0.55) * duration_s
    pause, beats = rng.uniform(1.25, 1.7), int(rng.integers(1, 4))
    begin = max((t for t, _ in events.ventricular if t < start), default=start)
    times = [begin + pause * (1 + 0.9 * k) for k in range(beats)]
    resume = times[-1] + 0.9

    def clear(t: float) -> bool:
        return t <= begin + 0.01 or t >= resume

    return Events(
        [e for e in events.atrial if clear(e[0] + pr_s)],
        [e for e in events.ventricular if clear(e[0])] + [(t, name) for t in times],
    )

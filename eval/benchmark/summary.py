"""The aims of the projections, and all that was measured, as text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """A ratio worth having: how many times `ours` must go into `theirs`; some are only for comparison."""

    title: str
    theirs: tuple[str, ...]
    ours: str
    at_least: float | None = None
    aim: float | None = None

    def ratio(self, seconds: dict[str, float]) -> float | None:
        """The measured ratio, or None where a case did not run."""
        if not all(name in seconds for name in (*self.theirs, self.ours)):
            return None
        return sum(seconds[name] for name in self.theirs) / seconds[self.ours]


AIMS = (
    Aim("march vs plain torch", ("torch march",), "march", 25, 50),
    Aim("march + fields' gradient vs plain torch", ("torch march fields",), "march fields", 12, 25),
    Aim("march vs plain torch in pieces", ("torch march in pieces",), "march"),
    Aim("march + fields' gradient vs plain torch in pieces", ("torch march in pieces fields",), "march fields"),
    Aim("march + camera's gradient vs flashdrr", ("flashdrr trilinear camera",), "march camera", 8, 20),
    Aim("siddon (AP) vs ITK SiddonJacobs", ("itk siddon-jacobs ap",), "siddon ap", 1.5, 2),
    Aim("siddon (oblique) vs RTK Joseph", ("rtk joseph",), "siddon", 1.5, 2.5),
    Aim("siddon + volume's gradient vs RTK Joseph + adjoint", ("rtk joseph", "rtk adjoint"), "siddon volume", 1.5, 3),
    Aim("siddon vs project_labels of 100 labels", ("siddon",), "labels", 1 / 2, 1 / 1.3),
    Aim("siddon vs project_materials of 6", ("siddon",), "materials", 1 / 1.5, 1 / 1.3),
    Aim("siddon vs project_materials of 6 in 20 groups", ("siddon",), "materials of groups"),
)


def ratios(seconds: dict[str, float]) -> list[dict]:
    """Every aim with its measured ratio, None where a case did not run."""
    return [{"title": aim.title, "ratio": aim.ratio(seconds), "at_least": aim.at_least, "aim": aim.aim} for aim in AIMS]


def table(result: dict) -> str:
    """The results of a run as plain text, a line each."""
    sections = {
        "Seconds (median, least)": _seconds(result["seconds"]),
        "Ratios": [_ratio(row) for row in result["ratios"]],
        "A radiograph of physics, seconds of each station": _numbers(_radiographs(result, "seconds"), "{:9.3f}"),
        "Its ratios": _numbers(_radiographs(result, "ratios"), "{:9.2f}"),
        "Roofline of this machine": _roofline(result.get("roofline")),
        "Largest error, as a fraction of the largest number": _numbers(result.get("agreement", {}), "{:9.1e}"),
        "Root mean square difference of pictures from ours": _numbers(result.get("pictures", {}), "{:9.4f}"),
        "Times faster with more threads (median, least)": _scaling(result.get("scaling", {})),
        "Memory of a call, MB": _numbers(result.get("extra_mb", {}), "{:9.1f}"),
        "Not here": [f"  {name}: {reason}" for name, reason in result.get("missing", {}).items()],
    }
    return "\n".join(line for title, lines in sections.items() if lines for line in (title, *lines))


def _seconds(seconds: dict[str, dict]) -> list[str]:
    return [f"  {name:32} {times['median']:9.4f} {times['least']:9.4f}" for name, times in seconds.items()]


def _scaling(scaling: dict[str, dict]) -> list[str]:
    return [f"  {name:32} {times['median']:9.2f} {times['least']:9.2f}" for name, times in scaling.items()]


def _radiographs(result: dict, what: str) -> dict[str, float]:
    return result.get("radiographs", {}).get(what, {})


def _ratio(row: dict) -> str:
    measured = "not measured" if row["ratio"] is None else f"{row['ratio']:.2f}"
    wanted = "" if row["aim"] is None else f"   at least {row['at_least']:.3g}, aim {row['aim']:.3g}"
    return f"  {row['title']:52} {measured:>12}{wanted}"


def _roofline(roofline: dict | None) -> list[str]:
    if not roofline:
        return []
    lines = [f"  {name:32} {rate / 1e9:9.2f} G/s" for name, rate in roofline["rates"].items()]
    for name, row in roofline["projections"].items():
        parts = ", ".join(f"{kind} {row[kind]:.4f} s" for kind in ("cache", "arithmetic", "memory"))
        lines.append(f"  {name:32} {row['reached']:9.0%} of the limit by {row['binding']} ({parts})")
    return lines


def _numbers(numbers: dict[str, float], shape: str) -> list[str]:
    return [f"  {name:32} {shape.format(number)}" for name, number in numbers.items()]

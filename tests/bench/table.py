#!/usr/bin/env python3
"""Makes a Markdown table of samples.

    table.py FILE          FILE has a line for each fact, its words separated by tabs:
        row ROW UNIT WHAT AGAINST        a row of the table, in this order; UNIT is s, MB, …
        sample ROW ours|theirs NUMBER    a measurement
        note ROW TEXT                    a remark behind the row's name
        skip ROW WHY                     why there is nothing
    table.py --self-test
"""

import statistics
import sys


def number(value):
    """Three digits that count, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(samples, unit):
    """`median unit (least–most)`; one sample has no range, and short times are shown in milliseconds."""
    if not samples:
        return ""
    if unit == "s" and statistics.median(samples) < 1:
        samples, unit = [value * 1000 for value in samples], "ms"
    median = f"{number(statistics.median(samples))} {unit}".strip()
    if len(samples) == 1:
        return median
    return f"{median} ({number(min(samples))}–{number(max(samples))})"


def ratio(ours, theirs):
    if not ours or not theirs or statistics.median(theirs) == 0:
        return ""
    return f"{statistics.median(ours) / statistics.median(theirs):.2f} ×"


def read(lines):
    rows = {}
    for line in lines:
        kind, name, *rest = line.rstrip("\n").split("\t")
        if kind == "row":
            unit, what, against = rest
            rows[name] = {"unit": unit, "what": what, "against": against, "skip": ""}
            rows[name] |= {"ours": [], "theirs": [], "notes": []}
        elif kind == "sample":
            rows[name][rest[0]].append(float(rest[1]))
        elif kind == "note":
            rows[name]["notes"].append(rest[0])
        elif kind == "skip":
            rows[name]["skip"] = rest[0]
        else:
            raise ValueError(f"unknown fact: {line!r}")
    return rows


def cells(row):
    what = "; ".join([row["what"], *row["notes"]])
    if row["skip"] and not row["ours"]:
        return [what, f"not measured: {row['skip']}", row["against"], "", ""]
    theirs = spread(row["theirs"], row["unit"])
    against = ": ".join(part for part in (row["against"], theirs) if part)
    return [what, spread(row["ours"], row["unit"]), against, ratio(row["ours"], row["theirs"]), str(len(row["ours"]))]


def render(rows):
    lines = [["what", "`machine`", "against", "ratio", "n"], ["---"] * 5, *(cells(row) for row in rows.values())]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def self_test():
    facts = ["row\ta\ts\tup\tLima", "row\tb\ts\tlist\t", "row\tc\tMB\tmemory\tLima"]
    facts += [f"sample\ta\tours\t{value}" for value in (3, 1, 2)]
    facts += [f"sample\ta\ttheirs\t{value}" for value in (10, 4, 8, 6)]
    facts += ["sample\tb\tours\t0.0123", "note\tb\ta|b", "skip\tc\tno Lima"]
    expected = [
        "| what | `machine` | against | ratio | n |",
        "| --- | --- | --- | --- | --- |",
        "| up | 2.00 s (1.00–3.00) | Lima: 7.00 s (4.00–10.0) | 0.29 × | 3 |",
        "| list; a\\|b | 12.3 ms |  |  | 1 |",
        "| memory | not measured: no Lima | Lima |  |  |",
    ]
    assert render(read(facts)).splitlines() == expected, render(read(facts))
    assert [number(value) for value in (0.0449, 1.005, 12.34, 123.4, 1234.5)] == ["0.04", "1.00", "12.3", "123", "1234"]
    assert ratio([1.0], [0.0]) == "" and ratio([], [1.0]) == ""
    for bad in ("other\ta\tb", "sample\tunknown\tours\t1"):
        try:
            read([bad])
        except (ValueError, KeyError):
            continue
        raise AssertionError(f"accepted: {bad!r}")


if sys.argv[1:] == ["--self-test"]:
    self_test()
elif len(sys.argv) == 2:
    with open(sys.argv[1], encoding="utf-8") as facts:
        print(render(read(facts)))
else:
    raise SystemExit(__doc__)

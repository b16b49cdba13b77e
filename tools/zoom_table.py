#!/usr/bin/env python3
"""Tables of what views are worth, from reports of `synthfm evaluate`: the constants of the zoom, measured again.

    python3 tools/zoom_table.py whole=REPORT auto=REPORT [NAME=REPORT ..]        # reads results.csv of each
    python3 tools/zoom_table.py --run target/release/synthfm --data ../shared/data/real-dev/Dataset* \\
        --views whole auto auto,margin_one_click=0.8 [--model MODEL] [--prompts 1,0 3,2 box] [--work FOLDER]

The second form evaluates first, one report for each --views, with a shared cache of embeddings. Of every report, for each
prompt setting: mean Dice by size of the structure, the side of the square of its area where the image's longer side is 256
pixels, of MR and of the others; by modality, as a mean over its structures; milliseconds per answer; the correlation of the
estimated IoU with the true one; and of iterative settings how single corrections changed Dice. Needs Python alone.
"""

import argparse
import csv
import math
import statistics
import subprocess
import sys
from pathlib import Path

SIZES = [(0, 12), (12, 24), (24, 48), (48, 96), (96, math.inf)]
FRAME_PX = 256


def rows_of(report: Path) -> list[dict]:
    with open(report / "results.csv" if report.is_dir() else report, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "ok"]
    for row in rows:
        row["side"] = math.sqrt(float(row["area_px"])) * FRAME_PX / max(int(row["image_height"]), int(row["image_width"]))
        row["setting"] = " ".join(filter(None, [row["prompt"], row["negatives"]]))
        row["key"] = tuple(row[k] for k in ("dataset", "case", "structure", "component", "slice", "setting"))
    return rows


def mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def percent(rows: list[dict], base: dict | None) -> str:
    """Mean Dice, and what it differs from the first report on the same targets."""
    if not rows:
        return "-"
    text = f"{100 * mean([float(row['dice']) for row in rows]):.1f}"
    if base is None:
        return text
    gains = [float(row["dice"]) - float(base[row["key"]]["dice"]) for row in rows if row["key"] in base]
    return f"{text} ({100 * mean(gains):+.1f})"


def correlation(rows: list[dict]) -> str:
    pairs = [(float(row["estimated_iou"]), float(row["iou"])) for row in rows if row["estimated_iou"]]
    if len(pairs) < 3 or any(len(set(side)) < 2 for side in zip(*pairs)):
        return "-"
    return f"{statistics.correlation(*zip(*pairs)):.2f}"


def print_table(header: list[str], lines: list[list[str]]) -> None:
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print()


def by_size(setting: str, reports: dict[str, list[dict]]) -> None:
    groups = [(name, test) for name, test in [("MR", lambda r: r["modality"] == "MR"), ("other", lambda r: r["modality"] != "MR")]]
    names = [f"{group} {low}–{high}" if high < math.inf else f"{group} {low}–" for group, _ in groups for low, high in SIZES]
    base, lines = None, []
    counts = None
    for name, rows in reports.items():
        rows = [row for row in rows if row["setting"] == setting]
        cells = [[r for r in rows if test(r) and low <= r["side"] < high] for _, test in groups for low, high in SIZES]
        counts = counts or [len(cell) for cell in cells]
        lines.append([name, *(percent(cell, base) for cell in cells)])
        base = base or {row["key"]: row for row in rows}
    print(f"## {setting}: Dice (%) by side of the structure (px of {FRAME_PX})\n")
    print_table(["views", *(f"{n} (n={c})" for n, c in zip(names, counts))], lines)


def by_modality(setting: str, reports: dict[str, list[dict]]) -> None:
    rows = [row for rows in reports.values() for row in rows]
    modalities = sorted({row["modality"] for row in rows})
    base, lines = None, []
    for name, rows in reports.items():
        rows = [row for row in rows if row["setting"] == setting]
        times = [float(row["time_ms"]) for row in rows]
        crops = [row for row in rows if row["crop"]]
        lines.append(
            [name, *(percent([r for r in rows if r["modality"] == m], base) for m in modalities), percent(rows, base)]
            + [f"{statistics.median(times):.0f}", f"{statistics.quantiles(times, n=20)[-1]:.0f}"]
            + [f"{100 * len(crops) / len(rows):.0f}", correlation(rows), correlation(crops)]
        )
        base = base or {row["key"]: row for row in rows}
    print(f"## {setting}: Dice (%) by modality\n")
    header = ["views", *modalities, "all", "ms, median", "ms, 95th", "crops, %", "r of the estimate", "r in crops"]
    print_table(header, lines)


def smoothness(setting: str, reports: dict[str, list[dict]]) -> None:
    """90th percentile of the contour's length over the truth's where Dice is above 0.8."""
    modalities = sorted({row["modality"] for rows in reports.values() for row in rows})
    lines = []
    for name, rows in reports.items():
        line = [name]
        for modality in modalities:
            found = [r for r in rows if (r["setting"], r["modality"]) == (setting, modality) and float(r["dice"]) > 0.8]
            ratios = [float(row["contour_ratio"]) for row in found]
            line.append(f"{statistics.quantiles(ratios, n=10)[-1]:.2f}" if len(ratios) > 1 else "-")
        lines.append(line)
    print(f"## {setting}: length of the contour over the truth's, 90th percentile where Dice > 0.8\n")
    print_table(["views", *modalities], lines)


def corrections(setting: str, reports: dict[str, list[dict]]) -> None:
    """How Dice changed from click to click, and clicks that the mask does not honour."""
    lines = []
    for name, rows in reports.items():
        rows = [row for row in rows if row["setting"] == setting]
        changes, missed, given = [], 0, 0
        for row in rows:
            dice = [float(v) for v in row["dice_by_click"].split()]
            clicks = len(row["clicks"].split())
            # Clicks that were not given, because nothing was wrong, repeat the last score.
            changes += [after - before for before, after in zip(dice[: clicks - 1], dice[1:clicks])]
            missed += int(row["missed_clicks"])
            given += clicks
        share = lambda test: f"{100 * mean([float(test(c)) for c in changes]):.1f}"  # noqa: E731
        ends = mean([float(row["dice_by_click"].split()[-1]) for row in rows])
        lines.append(
            [name, str(len(changes)), share(lambda c: c > 0), share(lambda c: c < -0.02), share(lambda c: c < -0.05)]
            + [f"{100 * mean(changes):+.2f}", f"{missed} of {given}", f"{100 * ends:.1f}"]
        )
    print(f"## {setting}: single corrections\n")
    header = ["views", "corrections", "helped, %", "lost > 2, %", "lost > 5, %", "mean change", "clicks missed at the end"]
    print_table([*header, "Dice at the end, %"], lines)


def evaluated(args: argparse.Namespace) -> dict[str, Path]:
    reports = {}
    for number, views in enumerate(args.views):
        out = args.work / f"{number}-{views.replace(',', '_').replace('=', '-')}"
        command = [args.run, "evaluate", "-q", "--data", *args.data, "--prompts", *args.prompts, "--negatives", "ring"]
        command += ["--views", views, "--cache", args.work / "cache", "--out", out]
        command += ["--model", args.model] if args.model else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        reports[views] = out
    return reports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="*", metavar="NAME=REPORT")
    parser.add_argument("--run", metavar="SYNTHFM", type=Path, help="evaluate first, with this binary")
    parser.add_argument("--data", nargs="+", type=Path, default=[])
    parser.add_argument("--views", nargs="+", default=["whole", "auto"])
    parser.add_argument("--prompts", nargs="+", default=["1,0", "3,2", "box"])
    parser.add_argument("--model")
    parser.add_argument("--work", type=Path, default=Path("zoom"), help="folder for reports and embeddings [zoom]")
    args = parser.parse_args()
    named = evaluated(args) if args.run else {}
    for text in args.reports:
        name, _, path = text.rpartition("=")
        named[name or path] = Path(path)
    if not named:
        sys.exit(__doc__)
    reports = {name: rows_of(path) for name, path in named.items()}
    for setting in dict.fromkeys(row["setting"] for rows in reports.values() for row in rows):
        if setting.startswith("iterative"):
            corrections(setting, reports)
            continue
        by_size(setting, reports)
        by_modality(setting, reports)
        smoothness(setting, reports)


if __name__ == "__main__":
    main()

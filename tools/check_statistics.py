"""Recomputes the comparisons of a report from its results.csv with SciPy and statsmodels.

    python tools/check_statistics.py REPORT

For every comparison in summary.json: pairs of targets with the same prompt, targets of a patient averaged, p by
`scipy.stats.wilcoxon` with its defaults, Holm's correction by statsmodels over each level. Prints the largest
differences; exit code 1 if one exceeds 1e-6. Pairs without any difference have p = 1 here (SciPy: 1 or NaN).
Needs numpy, scipy and statsmodels.
"""
import csv
import json
import pathlib
import sys
from collections import defaultdict

from scipy.stats import wilcoxon
from statsmodels.stats.multitest import multipletests

TARGET = ("dataset", "case", "structure", "label", "component", "slice")


def main():
    report = pathlib.Path(sys.argv[1])
    rows = defaultdict(dict)
    for row in csv.DictReader(open(report / "results.csv")):
        if row["status"] == "ok":
            prompt = " ".join(part for part in (row["prompt"], row["negatives"]) if part)
            place = tuple(row[name] for name in TARGET) + (prompt,)
            rows[row["model"]][place] = row
    levels = defaultdict(list)
    for comparison in json.loads((report / "summary.json").read_text())["comparisons"]:
        own, other = rows[comparison["model"]], rows[comparison["reference"]]
        patients = defaultdict(list)
        for place, row in own.items():
            if (
                place in other
                and place[-1] == comparison["prompt"]
                and row["modality"] == comparison["modality"]
                and comparison.get("dataset", row["dataset"]) == row["dataset"]
                and comparison.get("structure", row["structure"]) == row["structure"]
            ):
                pair = float(row["dice"]), float(other[place]["dice"])
                patients[row["dataset"], row["patient"]].append(pair)
        mean = lambda pairs, which: sum(pair[which] for pair in pairs) / len(pairs)
        differences = [mean(pairs, 0) - mean(pairs, 1) for pairs in patients.values()]
        p = float(wilcoxon(differences).pvalue) if any(differences) else 1.0
        assert comparison["n"] == len(differences), comparison
        levels[comparison["level"]].append((comparison, p))
    worst = {"p": 0.0, "p_holm": 0.0}
    for found in levels.values():
        adjusted = multipletests([p for _, p in found], method="holm")[1]
        for (comparison, p), holm in zip(found, adjusted):
            worst["p"] = max(worst["p"], abs(comparison["p"] - p))
            worst["p_holm"] = max(worst["p_holm"], abs(comparison["p_holm"] - float(holm)))
    print(f"{sum(map(len, levels.values()))} comparisons; largest differences: {worst}")
    if max(worst.values()) > 1e-6:
        sys.exit("failed: the report and this script disagree")


if __name__ == "__main__":
    main()

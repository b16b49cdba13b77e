"""Records what SciPy says of paired samples (Wilcoxon's signed-rank test, percentile bootstrap), statsmodels of Holm's
correction.

Run by hand: python tools/make_statistics_fixtures.py > crates/synthfm-eval/src/report/fixtures/statistics.json
Needs numpy, scipy and statsmodels. Samples: continuous and rounded (ties, zeros), few and many; `p` is `wilcoxon(a, b)` with its
defaults, `p_asymptotic` and `z` those of `method="asymptotic"`. `bootstrap` is the 95 % interval of the mean difference
by `method="percentile"` over 20000 resamples. `rank_biserial` is (R+ - R-) / (R+ + R-), `dz` the mean difference over
its standard deviation (n - 1), both computed here from their definitions with SciPy's ranks.
"""
import json

import numpy as np
import scipy
from scipy import stats
from statsmodels.stats.multitest import multipletests


def sample(name, n, shift, decimals, seed):
    rng = np.random.default_rng(seed)
    a = rng.beta(5, 2, size=n)
    b = np.clip(a + shift + rng.normal(0, 0.08, size=n), 0, 1)
    return name, np.round(a, decimals), np.round(b, decimals)


def record(name, a, b):
    d = a - b
    auto = stats.wilcoxon(a, b)
    asymptotic = stats.wilcoxon(a, b, method="asymptotic")
    nonzero = d[d != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    plus, minus = ranks[nonzero > 0].sum(), ranks[nonzero < 0].sum()
    interval = stats.bootstrap(
        (d,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    return {
        "name": name,
        "a": a.tolist(),
        "b": b.tolist(),
        "statistic": float(auto.statistic),
        "p": float(auto.pvalue),
        "z": float(asymptotic.zstatistic),
        "p_asymptotic": float(asymptotic.pvalue),
        "rank_biserial": float((plus - minus) / (plus + minus)),
        "dz": float(d.mean() / d.std(ddof=1)),
        "mean": float(d.mean()),
        "bootstrap": [float(interval.low), float(interval.high)],
    }


SAMPLES = [
    sample("few, no ties", 9, 0.03, 12, 1),
    sample("few, ties and zeros", 12, 0.02, 1, 2),
    sample("13 with ties", 13, 0.1, 2, 3),
    sample("14 with ties", 14, 0.06, 1, 4),
    sample("50, no ties", 50, 0.03, 12, 5),
    sample("51, no ties", 51, 0.02, 12, 6),
    sample("40, ties and zeros", 40, 0.03, 2, 7),
    sample("300, ties and zeros", 300, 0.01, 2, 8),
    sample("far apart", 60, 0.3, 12, 9),
    sample("two", 2, 0.3, 12, 10),
]
P = [0.01, 0.04, 0.03, 0.005, 0.6, 0.04]
print(
    json.dumps(
        {
            "scipy": scipy.__version__,
            "samples": [record(*s) for s in SAMPLES],
            "holm": {"p": P, "adjusted": multipletests(P, method="holm")[1].tolist()},
        },
        indent=1,
    )
)

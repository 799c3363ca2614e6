"""Statistics of sweeps on models whose answer is known: coverage, false discoveries, effect sizes, stopping.

What docs/monte-carlo.md says of coverage is measured here; tolerances are three and a half standard errors of a share.
"""

import numpy as np
import pytest
from scipy import stats
from scipy.special import gamma

from peerwatt.experiments.comparison import Comparison, Outcome
from peerwatt.experiments.paired import half_width, paired
from peerwatt.experiments.sweep.analysis import Analysis
from peerwatt.experiments.sweep.effects import main_effects
from peerwatt.experiments.sweep.experiment import Stop
from peerwatt.experiments.sweep.run import _narrow

FIGURE = "social_welfare_eur"
MODELS = {
    "normal": (lambda rng, size: rng.standard_normal(size), 0.0),
    "exponential": (lambda rng, size: rng.standard_exponential(size), 1.0),
}
MEASURED = {
    ("normal", 5): 0.95,
    ("normal", 20): 0.95,
    ("exponential", 5): 0.88,
    ("exponential", 20): 0.92,
    ("exponential", 50): 0.935,
}
"""Coverage of the mean's 95 % interval, by model and replicas."""
STOPPED = {
    ("normal", 5): 0.922,
    ("normal", 20): 0.946,
    ("exponential", 5): 0.837,
    ("exponential", 20): 0.918,
}
"""The same at the end of a sweep that stops at a half-width of 0.5 standard deviations, by model and first look."""


def agrees(hits, n, share):
    return abs(hits / n - share) < 3.5 * np.sqrt(share * (1.0 - share) / n) + 0.0025  # of the documented digits


def comparison(values):
    """Runs of variants with one or more figures: (n_figures, n_variants, n_replicas)."""
    names = tuple(f"v{k}" for k in range(values.shape[1]))
    outcomes = (
        Outcome(name, replica, {f"f{i}": float(v) for i, v in enumerate(values[:, k, replica])})
        for k, name in enumerate(names)
        for replica in range(values.shape[2])
    )
    return Comparison(names, values.shape[2], {}, (), tuple(outcomes))


@pytest.mark.parametrize(("model", "replicas"), MEASURED)
def test_the_mean_is_covered_as_often_as_documented(model, replicas):
    draw, mean = MODELS[model]
    sample = draw(np.random.default_rng(11), (2500, replicas))
    covered = sum(abs(row.mean() - mean) <= half_width(row) for row in sample)
    assert agrees(covered, len(sample), MEASURED[model, replicas])


@pytest.mark.parametrize("replicas", [3, 12])
def test_differences_of_skewed_figures_are_covered_at_least_as_often_as_they_say(replicas):
    rng, n = np.random.default_rng(5), 600
    covered = 0
    for shared, own in zip(rng.lognormal(0, 1, (n, 1, replicas)), rng.lognormal(0, 1, (n, 2, replicas)), strict=True):
        found = paired(comparison((shared + own + [[0.0], [0.4]])[None]), "f0")["v1"]
        covered += abs(found.difference - 0.4) <= found.half_width
    assert covered / n > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / n)


@pytest.mark.parametrize(("model", "first"), STOPPED)
def test_stopping_at_a_narrow_interval_covers_as_often_as_documented(model, first):
    draw, mean = MODELS[model]
    rng, n, at_most = np.random.default_rng(23), 2000, 200
    covered = 0
    for _ in range(n):
        sample, looked = draw(rng, at_most), first
        while (half := half_width(sample[:looked])) > 0.5 and looked < at_most:
            looked = min(looked + first, at_most)
        covered += abs(sample[:looked].mean() - mean) <= half
    assert agrees(covered, n, STOPPED[model, first])


@pytest.mark.parametrize("of", ["mean", "difference"])
def test_the_stopping_rule_looks_at_the_widest_interval(of):
    rng = np.random.default_rng(2)
    for _ in range(20):
        values = rng.normal(size=(1, 3, 8)) * np.array([1.0, 2.0, 3.0])[:, None]
        looked = values[0] if of == "mean" else values[0, 1:] - values[0, 0]
        intervals = (stats.ttest_1samp(row, 0.0).confidence_interval(0.95) for row in looked)
        widest = max((each.high - each.low) / 2.0 for each in intervals)
        for share in (0.999, 1.001):
            stop = Stop(kpi="f0", half_width=share * widest, of=of, at_most=9)
            assert _narrow(comparison(values), stop) == (share > 1.0)


def test_p_values_are_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(3)
    found = [paired(comparison(rng.exponential(size=(1, 2, 15))), "f0")["v1"].p_value for _ in range(400)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def adjusted_by_hand(p):
    """Benjamini and Yekutieli, step by step: p(i) m (1 + 1/2 + ... + 1/m) / i, never more than that of a larger p."""
    m = len(p)
    harmonic = sum(1.0 / i for i in range(1, m + 1))
    order = np.argsort(p)
    found, least = np.empty(m), 1.0
    for rank in range(m, 0, -1):
        least = min(least, p[order[rank - 1]] * m * harmonic / rank)
        found[order[rank - 1]] = least
    return found


def test_adjusted_p_values_are_those_of_a_table_by_hand():
    values = np.zeros((2, 3, 4))  # two figures, a reference and two variants, four replicas
    values[0, 1], values[0, 2] = [1.0, 2.0, 3.0, 2.0], [1.0, -1.0, 2.0, 1.0]
    values[1, 1], values[1, 2] = [5.0, 5.0, 6.0, 6.0], [0.1, 0.3, -0.2, -0.2]
    rows = [row for row in Analysis.of(comparison(values), ("f0", "f1")).rows if np.isfinite(row.found.difference)]
    # t = mean / (s / 2): 4.8990, 1.1921, 19.0526, 0; two-sided p of 3 degrees of freedom, from a table of t
    p = np.array([0.016277, 0.318932, 0.000316, 1.0])
    assert [row.found.p_value for row in rows] == pytest.approx(p, abs=1e-6)
    # m = 4, 1 + 1/2 + 1/3 + 1/4 = 25/12: those of ranks 1 to 4 are times 25/3, 25/6, 25/9, 25/12, and at most 1
    assert [row.p_adjusted for row in rows] == pytest.approx([0.06782, 0.88592, 0.00263, 1.0], abs=1e-5)


def test_adjusted_p_values_are_over_all_figures_and_variants_together():
    values = np.random.default_rng(8).normal(0.3, 1.0, size=(3, 5, 9))
    rows = [row for row in Analysis.of(comparison(values), ("f0", "f1", "f2")).rows if row.variant != "v0"]
    p = np.array([row.found.p_value for row in rows])
    assert p == pytest.approx([stats.ttest_rel(v, f[0]).pvalue for f in values for v in f[1:]])
    assert [row.p_adjusted for row in rows] == pytest.approx(adjusted_by_hand(p))
    assert [row.p_adjusted for row in rows] == pytest.approx(stats.false_discovery_control(p, method="by"))
    assert Analysis.of(comparison(values), ("f0",)).rows[1].p_adjusted < rows[0].p_adjusted


@pytest.mark.slow
@pytest.mark.parametrize("spread", ["equal", "one is wider"])
@pytest.mark.parametrize("n_levels", [5, 8])
@pytest.mark.parametrize("replicas", [5, 20])
def test_effects_of_noise_are_as_rare_as_they_say(n_levels, replicas, spread):
    rng, n = np.random.default_rng(31), 1500
    wide = np.ones((n_levels, 1))
    wide[0] = 1.0 if spread == "equal" else 3.0
    levels = {"a": [f"l{k}" for k in range(n_levels)]}
    found = 0
    for _ in range(n):
        shared = 2.0 * rng.standard_normal(replicas)
        (effect,) = main_effects(wide * rng.standard_normal((n_levels, replicas)) + shared, levels).effects
        found += effect.size > effect.half_width
    assert found / n < 0.06 + 0.01  # 6 %, and what 1500 cases leave open
    if spread == "equal":
        assert found / n > 0.05 - 0.018


@pytest.mark.slow
def test_the_interval_of_an_effect_holds_the_true_difference_of_the_levels_that_it_names():
    rng, n, truth = np.random.default_rng(37), 1500, np.array([0.0, 0.1, 0.3, 0.3, 0.6])
    levels, held = {"a": [f"{k}" for k in range(5)], "b": ["x"] * 5}, 0
    for _ in range(n):
        (effect,) = main_effects(truth[:, None] + rng.standard_normal((5, 10)), levels).effects
        difference = truth[int(effect.high)] - truth[int(effect.low)]
        held += abs(effect.size - difference) <= effect.half_width
    assert held / n > 0.94


def test_false_discoveries_are_as_rare_as_they_say_with_a_reference_that_all_share():
    rng, n, names = np.random.default_rng(17), 80, ("f0", "f1")
    any_of_none, share_of_some, power = 0, [], []
    for _ in range(n):
        values = rng.normal(size=(2, 7, 10)) + rng.normal(size=(2, 1, 10))
        any_of_none += any(row.p_adjusted < 0.05 for row in Analysis.of(comparison(values), names).rows)
        values[:, 1:3] += 3.0
        found = [
            row.variant in ("v1", "v2") for row in Analysis.of(comparison(values), names).rows if row.p_adjusted < 0.05
        ]
        share_of_some.append(found.count(False) / max(1, len(found)))
        power.append(found.count(True) / 4)
    assert any_of_none / n < 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / n)
    assert np.mean(share_of_some) < 0.05 + 3.5 * np.std(share_of_some) / np.sqrt(n)
    assert np.mean(power) > 0.8


@pytest.mark.parametrize("replicas", [5, 20])
def test_the_effect_size_is_that_of_the_model_but_for_its_known_bias(replicas):
    rng, n, true = np.random.default_rng(29), 600, 0.8
    found = []
    for _ in range(n):
        reference = rng.normal(0.0, 5.0, replicas)
        pair = np.stack([reference, reference + rng.normal(true * 2.0, 2.0, replicas)])
        found.append(paired(comparison(pair[None]), "f0")["v1"].effect)
    m = replicas - 1
    bias = np.sqrt(m / 2.0) * gamma((m - 1) / 2.0) / gamma(m / 2.0)  # Hedges (1981), eq. (6)
    assert abs(np.mean(found) - true * bias) < 3.5 * np.std(found) / np.sqrt(n)


def test_the_rounding_of_a_solver_is_no_difference():
    rng = np.random.default_rng(31)
    reference = rng.normal(100.0, 5.0, 12)
    same = reference * (1.0 - 1e-9 - 1e-10 * rng.random(12))
    assert stats.ttest_rel(same, reference).pvalue < 1e-6
    row = Analysis.of(comparison(np.stack([reference, same])[None]), ("f0",)).rows[1]
    assert (row.found.difference, row.p_adjusted) == (0.0, 1.0)
    assert np.isnan(row.found.effect)

"""The sentences under the comparison, in the data's own names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from popavg.bridge_logit import BridgeLogit
from popavg.design import Design, family_of
from popavg.frames import Missing
from popavg.links import LINKS, get_link
from popavg.mixing import BRIDGE, NORMAL
from popavg.posterior_tools.words import (
    Reading,
    concordance_words,
    concordant_share,
    crossed_words,
    focus_term,
    link_words,
    missing_words,
    mixing_words,
    readings,
)

SMALL, ROUNDING = (
    {"largest": 0.0123, "root mean square": 0.004},
    {
        "largest": 1e-15,
        "root mean square": 1e-16,
    },
)


def design_of(formula: str, frame: pd.DataFrame, link: str = "logit") -> Design:
    return Design.build(formula, frame, family=family_of(formula, get_link(link)))


def estimates_of(design: Design, *z: float) -> pd.DataFrame:
    """Conditional estimates with the given z values."""
    return pd.DataFrame(
        {"term": design.matrices.terms, "model": "conditional", "estimate": z, "std_error": 1.0}
    )


def sentences(design: Design, term: str, link: str = "logit", values: tuple = (0.5, 0.1, 0.9)):  # noqa: ANN201
    row = pd.Series(dict(zip(("estimate", "lower", "upper"), values, strict=True)))
    return readings(Reading(term, row, 0.5 * row, 0.89), design, get_link(link))


# --- which term is explained ---


def test_the_clearest_covariate_is_explained(frame: pd.DataFrame) -> None:
    design = design_of("y ~ arm + x + (1 | g)", frame)
    assert focus_term(design, estimates_of(design, 9, -3, 2)) == "arm[placebo]"
    assert focus_term(design, estimates_of(design, 9, 1, -2)) == "x"


def test_interactions_and_transformations_come_last(frame: pd.DataFrame) -> None:
    design = design_of("y ~ arm * x + np.exp(visit) + (1 | g)".replace("np.", ""), frame)
    z = {"arm[placebo]": 0.1, "x": 0.2}
    others = [z.get(term, 9.0) for term in design.matrices.terms]
    assert focus_term(design, estimates_of(design, *others)) == "x"
    only = design_of("y ~ arm:x + exp(visit) + (1 | g)", frame)
    chosen = focus_term(only, estimates_of(only, *range(len(only.matrices.terms))))
    assert chosen == "exp(visit)"
    assert "one more unit of the term 'exp(visit)'" in sentences(only, "exp(visit)")[0]


def test_without_covariates_nothing_is_explained(frame: pd.DataFrame) -> None:
    design = design_of("y ~ 1 + (1 | g)", frame)
    assert focus_term(design, estimates_of(design, 3.0)) is None


def test_levels_without_a_reference_are_not_changes(frame: pd.DataFrame) -> None:
    design = design_of("y ~ 0 + arm + x + (1 | g)", frame)
    assert design.matrices.terms == ("arm[active]", "arm[placebo]", "x")
    assert focus_term(design, estimates_of(design, 9, 9, 1)) == "x"


# --- student and teacher ---


def test_both_sentences_use_the_names_of_the_data(frame: pd.DataFrame) -> None:
    data = frame.assign(outcome=np.where(frame["y"] == 1, "severe", "mild"))
    design = design_of("outcome['severe'] ~ arm + x + (1 | g)", data)
    student, teacher = sentences(design, "arm[placebo]")
    for sentence in (student, teacher):
        assert "'arm' = 'placebo' instead of 'active'" in sentence
        assert "the odds of outcome = 'severe'" in sentence
        assert "89 % credible interval" in sentence
    assert "the student asks about one 'g'" in student
    assert "for one and the same 'g', " in student
    assert "multiplies" in student
    assert "by 1.649 (89 % credible interval 1.105 to 2.460)" in student
    assert "the teacher asks about the class" in teacher
    assert "over the whole population of 'g'" in teacher
    assert "by 1.284 (89 % credible interval 1.051 to 1.568)" in teacher
    assert teacher.endswith("what changes in the population's share?")


@pytest.mark.parametrize(
    ("link", "what", "how"),
    [
        ("logit", "multiplies the odds of y", "by 1.649"),
        ("probit", "moves the probit of the probability of y", "by +0.500"),
        ("cloglog", "multiplies the cumulative hazard -log(1 - p) of y", "by 1.649"),
        ("log", "multiplies the expected count", "by 1.649"),
        ("identity", "moves the expected value", "by +0.500"),
    ],
)
def test_each_link_has_its_own_words(frame: pd.DataFrame, link: str, what: str, how: str) -> None:
    response = {"log": "count", "identity": "value"}.get(link, "y")
    design = design_of(f"{response} ~ x + (1 | g)", frame, link)
    student, teacher = sentences(design, "x", link)
    assert f"one more unit of 'x' {what} {how}" in student
    assert f"one more unit of 'x' {what}" in teacher
    expected = "mean" if link in ("log", "identity") else "share"
    assert teacher.endswith(f"what changes in the population's {expected}?")


def test_small_effects_keep_their_digits(frame: pd.DataFrame) -> None:
    design = design_of("y ~ x + (1 | g)", frame)
    student, _ = sentences(design, "x", values=(0.0002, 0.0001, 0.0003))
    assert "by 1.000200 (89 % credible interval 1.000100 to 1.000300)" in student


def test_interactions_other_terms_and_random_slopes_are_told(frame: pd.DataFrame) -> None:
    design = design_of("y ~ arm * x + visit + I(visit * visit) + (1 + x | g) + (1 | r)", frame)
    aside = "(where the covariates it interacts with are zero or at their reference)"
    for term in ("arm[placebo]", "x"):
        assert all(aside in sentence for sentence in sentences(design, term))
    assert "'visit' is in other terms too" in sentences(design, "visit")[0]
    assert aside not in sentences(design, "visit")[0]
    slope = "of average slope (each 'g' has its own)"
    assert slope in sentences(design, "x")[0]
    assert slope not in sentences(design, "x")[1]
    assert slope not in sentences(design, "arm[placebo]")[0]


def test_levels_with_brackets_and_colons(frame: pd.DataFrame) -> None:
    data = frame.assign(dose=np.where(frame["arm"] == "active", "a: 5 [mg]", "b: 9 [mg]"))
    design = design_of("y ~ dose + (1 | g)", data)
    term = design.matrices.terms[1]
    assert focus_term(design, estimates_of(design, 1.0, 1.0)) == term
    student, _ = sentences(design, term)
    assert "'dose' = 'b: 9 [mg]' instead of 'a: 5 [mg]' multiplies" in student


def test_booleans_and_unicode(frame: pd.DataFrame) -> None:
    data = frame.assign(größe=frame["value"], aktiv=frame["x"] > 0)
    design = design_of("y ~ größe + aktiv + (1 | g)", data)
    assert "one more unit of 'größe'" in sentences(design, "größe")[0]
    aktiv = next(term for term in design.matrices.terms if term.startswith("aktiv"))
    assert "'aktiv' = 'True' instead of 'False'" in sentences(design, aktiv)[0]


# --- the link ---


@pytest.mark.parametrize("link", ["logit", "cloglog"])
def test_models_that_cannot_both_be_true(link: str) -> None:
    text = link_words(get_link(link), SMALL)
    assert "can't both be exactly true" in text
    assert f"not of the {link} form" in text
    assert "by at most 0.012 in probability (misfit), root mean square 0.004" in text
    saturated = link_words(get_link(link), ROUNDING)
    assert "that makes no difference" in saturated


def test_models_that_can() -> None:
    probit, log, identity = (get_link(name) for name in ("probit", "log", "identity"))
    assert "both models can be exactly true at once" in link_words(probit, ROUNDING)
    assert "Here that holds." in link_words(probit, ROUNDING)
    assert "Here they can't (random slopes or an offset)" in link_words(probit, SMALL)
    assert "moves only the intercept (by v/2)" in link_words(log, ROUNDING)
    assert "random slopes move more: by at most 0.012 (misfit)" in link_words(log, SMALL)
    assert "coincide" in link_words(identity, ROUNDING)
    assert len({link_words(link, SMALL) for link in LINKS.values()}) == len(LINKS)


# --- missing rows, concordant clusters ---


def test_bridge_distributed_intercepts() -> None:
    assert "both models are exactly true at once: β̃ = φβ" in link_words(BridgeLogit(), ROUNDING)
    assert link_words(BridgeLogit(), ROUNDING).endswith("Here that holds.")
    assert "an offset is attenuated too: by at most 0.012" in link_words(BridgeLogit(), SMALL)
    sd = np.array([np.pi, np.pi])  # phi = 1/2
    assert mixing_words(BRIDGE, sd) == " (bridge distribution, φ = 0.500)"
    assert mixing_words(NORMAL, sd) == ""


def test_missing_rows_are_told() -> None:
    text = missing_words(Missing("drop", 7, {"x": 5, "y": 2}, {"g": 1}), [3, 5])
    assert "7 rows dropped for missing values ('x' 5, 'y' 2); 1 whole cluster of 'g' van" in text
    assert "Clusters have 3 to 5 rows." in text
    assert "the GEE assumes that they are missing completely at random" in text
    assert "the GLMM assumes that they are missing at random" in text
    complete = missing_words(Missing(), [4, 4])
    assert "no rows dropped" in complete
    assert "Clusters have" not in complete


def clustered(outcomes: list[list[int]]) -> Design:
    rows = [(g, y) for g, cluster in enumerate(outcomes) for y in cluster]
    data = pd.DataFrame(rows, columns=["g", "y"]).assign(x=np.arange(len(rows)) % 3)
    return design_of("y ~ x + (1 | g)", data)


@pytest.mark.parametrize(
    ("concordant", "start"),
    [
        (0, "In no cluster of 'g' all outcomes are equal"),
        (4, "In 4 of 10 clusters of 'g' (40 %) all outcomes are equal"),
        (8, "In 8 of 10 clusters of 'g' (80 %)"),
        (9, "Warning: in 9 of 10 clusters of 'g' (90 %)"),
    ],
)
def test_concordance_warns_above_eighty_percent(concordant: int, start: str) -> None:
    design = clustered([[i % 2] * 3 for i in range(concordant)] + [[0, 1, 1]] * (10 - concordant))
    text = concordance_words(design, 0)
    assert text is not None
    assert text.startswith(start)
    assert ("lean on the prior" in text) == (concordant > 8)


def test_concordance_of_trials_and_none_of_counts(frame: pd.DataFrame) -> None:
    data = frame.assign(successes=np.where(frame["g"] == "c0", 0, frame["successes"]))
    data["successes"] = data["successes"].where(data["g"] != "c1", data["trials"])
    design = design_of("p(successes, trials) ~ x + (1 | g)", data)
    share = sum(
        group["successes"].sum() in (0, group["trials"].sum()) for _, group in data.groupby("g")
    )
    assert concordant_share(design, 0) == pytest.approx(share / 12)
    assert share >= 2
    counts = design_of("count ~ x + (1 | g)", frame, "log")
    assert concordance_words(counts, 0) is None


# --- several grouping factors ---


def test_a_conditional_number_names_every_factor_it_conditions_on(frame: pd.DataFrame) -> None:
    design = design_of("y ~ x + (1 | g) + (1 | r)", frame)
    student, teacher = sentences(design, "x")
    assert "for one and the same 'g' and the same 'r'" in student
    assert "what changes within the same 'g' and the same 'r'?" in student
    assert "over the whole population of 'g' and 'r'" in teacher


def test_a_gee_of_crossed_factors_leaves_one_out(frame: pd.DataFrame) -> None:
    crossed = design_of("y ~ x + (1 | g) + (1 | r)", frame)
    assert "the same 'r' are alike is left out" in str(crossed_words(crossed, "g"))
    nested = design_of("y ~ x + (1 | h/g)", frame)
    assert crossed_words(nested, "h") is None
    assert "'h'" in str(crossed_words(nested, "h:g"))
    assert crossed_words(crossed, "visit") is None

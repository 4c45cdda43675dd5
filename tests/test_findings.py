"""Findings read as sentences."""

from __future__ import annotations

from typing import get_args

import numpy as np

from popavg.posterior_tools.findings import VERDICTS, Finding, Verdict, lacking


def test_verdicts_go_from_good_to_bad() -> None:
    assert set(VERDICTS) == set(get_args(Verdict.__value__))
    assert (VERDICTS[0], VERDICTS[-1]) == ("fine", "problem")


def test_a_sentence_has_all_of_it() -> None:
    finding = Finding("before", "clusters of 'g'", 8, "8", "problem", "Few.", "Take care.")
    assert finding.sentence == "clusters of 'g', 8: Few. Take care."


def test_what_could_not_be_computed_says_why() -> None:
    finding = lacking("after", "the profile", "two factors came.", "Fit one.")
    assert finding.sentence == "the profile: Not computed: two factors came. Fit one."
    assert np.isnan(finding.value)

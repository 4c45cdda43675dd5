"""Draws in, draws out: integrals, coefficients, predictions, comparisons and plots.

Nothing here needs PyMC, PyTensor, nutpie or statsmodels.
"""

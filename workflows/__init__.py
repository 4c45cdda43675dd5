"""The jobs people run: fit, save, compare, draw, report, and the command line."""

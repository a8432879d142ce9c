"""How good predictions are: counts, evaluation, calibration, statistics over seeds."""

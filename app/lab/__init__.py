"""Off-line work on a table of cases: references, backtests, simulations."""

"""How fast the stages are, as ratios taken in one run (`measure`), and whether a machine can run them (`readiness`)."""

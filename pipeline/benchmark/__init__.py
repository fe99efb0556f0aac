"""What the engine costs: the same training as a plain script, by the engine, and by kfp.local as it comes.

This file imports nothing, so that the plain script starts with no more than a script of one's own would.
"""

PARAMETERS = "parameters.json"  # values of the pipeline's parameters, in the plain script's folder
METRICS = "metrics.json"  # its figures, in the same folder
TEST_SIZE = 0.2  # share of the rows, as the pipeline holds back

"""The literal grid of question two: what was scanned on validation images, and what is confirmed on test images."""
from experiments.research.methods import DENSE, DYNAMIC, OURS, RECIPE
SCAN=()
CONFIRMED = (DENSE, RECIPE, OURS, DYNAMIC)

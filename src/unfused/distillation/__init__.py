"""UnFuSeD (arXiv 2303.05668): pseudo-labels, self-distillation and the student."""

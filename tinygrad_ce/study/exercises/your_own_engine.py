"""16 · Your own engine has milestones in the place of exercises: see ``study/engine/checks.py``."""

"""The evaluation of a model: its figures, what it leans on, where it fails, and all of it as one page."""

"""Whether a new model takes the place of the one in use, and the folder in which a model is handed on."""

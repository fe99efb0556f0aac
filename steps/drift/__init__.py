"""How far new rows lie from those that a model was trained on, by column, measured and drawn."""

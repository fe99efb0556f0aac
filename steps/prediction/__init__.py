"""Predict the rows of any table by a trained model: take the model, check the table against it, stream it through."""

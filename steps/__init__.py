"""The steps of the pipelines, one a file, and the ordinary modules that they share."""

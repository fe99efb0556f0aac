"""Small pipelines, one a feature of KFP or a combination, each with what is right; see cases."""

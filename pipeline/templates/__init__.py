"""What new-step and new-pipeline write, as steps and pipelines that work as they stand.

pipeline.scaffolding puts the names that were asked for in the place of new_step and new_pipeline.
"""

"""Joins tasks that run one after the other on the same machine size into one: each start of a machine takes minutes.

- chains: which tasks of a spec can be joined without making any other wait
- joining: the spec with them joined; how many starts that saves
- plans: what a fused task carries: its steps, with their sources and where their inputs come from
- running: runs the steps, where the task runs
- records: the steps of a fused task that has ended as tasks of the run, as if they had run by themselves
"""

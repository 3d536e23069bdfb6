"""ALFWorld's household tasks.

`env` is `AlfWorld-v0`; its games come from `sources`: files (`games`) or the `generator`, which furnishes `rooms` and asks the
`planner`. An `engine` plays them: `native_engine` by `rules`, `logic`, `grammar` and `problem`, or `textworld_engine`.
`python -m envs.alfworld` writes (`export`), plays (`play`), counts and checks (`inspection`) games.
"""

"""Stage 1's training: events in, models fitted, tuned on a temporal validation split, blended, candidates out.

`events` holds what happened as arrays, `matrices` weighs it, `factors`, `neighbours`, `walks` and `trends` are the models,
`blending` weighs models against each other, `tuning` chooses hyper-parameters. Values only: no store (agents/tools), no job.
The evaluation (tests/benchmarks/evaluate) runs this very code.
"""

"""The recommender's evaluation: data sets, splits, peers, metrics, one report. The command is `make evaluate DATA=name`."""

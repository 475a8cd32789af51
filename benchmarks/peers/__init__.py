"""The functions of `benchmarks.postprocess`, by us and by everything else that is installed."""

"""Passes over the graph IR, one idea per file; `pipeline.py` lists them in order."""

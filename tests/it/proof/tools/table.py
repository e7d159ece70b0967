"""Reads a CSV file with pandas as everybody does, and writes it again."""

import sys

import pandas

pandas.read_csv(sys.argv[1]).to_csv(sys.argv[2], index=False)

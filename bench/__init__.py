"""The benchmarks: `make bench`; docs/benchmarks.md tells what they measure and what was seen."""

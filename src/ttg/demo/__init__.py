"""The demonstration: run, break on purpose, watch it recover, check every parameter, report."""

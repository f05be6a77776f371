"""Search: trials that are DVC experiments, asked for by Optuna and run by Dask."""

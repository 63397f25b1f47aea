"""Kedro datasets: how the catalog loads and saves what the library makes."""

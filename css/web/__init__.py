"""HTTP: `/livez` and `/readyz`."""

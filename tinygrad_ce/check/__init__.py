"""Rules against finite differences: numeric derivatives, the comparison, and the report with the likely cause."""

"""Notebooks run with parameters, and JupyterLab opened on them."""

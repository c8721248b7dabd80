"""Random programs of steep, and what NumPy makes of them: drawn by ``builder`` from the operations in ``table``."""

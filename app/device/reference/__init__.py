"""Small reference devices: phantoms, recipes, and how their bundles are built."""

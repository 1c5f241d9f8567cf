"""Small clusters, one in each folder; ``python -m examples --list`` names them."""

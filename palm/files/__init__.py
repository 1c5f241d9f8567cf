"""Files that belong to one user alone."""

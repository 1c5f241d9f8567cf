"""Files and folders that belong to one user alone."""

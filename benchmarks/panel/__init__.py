"""What a panel in a notebook costs, and how late it is."""

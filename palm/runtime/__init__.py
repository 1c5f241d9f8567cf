"""What a component needs to live: its files, its log, its loop."""

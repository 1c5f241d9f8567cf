"""Processes of components: started, watched, started again, ended."""

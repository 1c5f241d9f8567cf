"""The contract between the registry and all who talk to it: its values, and a client."""

"""What a registry takes in, gives out, and finds again."""

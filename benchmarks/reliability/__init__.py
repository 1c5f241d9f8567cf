"""What the promises of palm are worth, and what they cost; see docs/reliability.md."""

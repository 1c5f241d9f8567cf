"""How many processes a node takes at most."""

STATEMENTS = ("ALTER TABLE nodes ADD COLUMN places INTEGER DEFAULT 0 NOT NULL",)

"""What features are worth, how they move, and which of them say the same."""

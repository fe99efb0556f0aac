"""The search for a model: what is tried, how it grows in its time, what is chosen, and the leaderboard of all that."""

"""Written answers: reads them, shows them to a person, and keeps the points."""

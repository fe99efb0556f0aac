"""The server of a model: what it takes and answers, how it starts in a container, and the wheels that it brings."""

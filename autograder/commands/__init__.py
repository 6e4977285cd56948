"""The commands of `vaelab`: each module holds the commands of one kind of user."""

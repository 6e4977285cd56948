# Nothing here: the name is the attack.

# Empty, because the student name is the attack.

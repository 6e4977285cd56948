"""Scripts for the people who maintain the course: setup, embedded data, pictures, gallery."""

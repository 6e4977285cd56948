"""What judge and worker exchange: frames, values, and a submission as a check sees it."""

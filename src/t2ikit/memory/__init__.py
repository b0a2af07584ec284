"""What a training would take, predicted: GPU memory, and a dry run of all of it."""

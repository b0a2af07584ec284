"""What flows from the data to the losses, and the interfaces that plugins fill in."""

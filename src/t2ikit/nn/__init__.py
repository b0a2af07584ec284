"""What models are made of: noise schedules, predictions."""

"""Averages of weights of any length, chosen after training."""

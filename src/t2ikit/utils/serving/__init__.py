"""What pages that are served on this machine have in common: which hosts they answer to, and ports."""

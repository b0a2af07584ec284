"""The page of `t2ikit demo`: type a prompt, watch its images form, compare two models."""

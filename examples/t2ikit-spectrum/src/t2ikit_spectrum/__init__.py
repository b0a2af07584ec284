"""The distance between spectra of sampled and real images, for t2ikit."""

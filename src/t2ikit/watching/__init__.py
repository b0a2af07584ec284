"""`t2ikit watch`: a local page that follows runs, made from their folders alone."""

"""Tasks as data: how the clips of a corpus and its labels come to be."""

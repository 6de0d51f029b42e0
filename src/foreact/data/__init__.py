"""Episodes to chunks: readers, writer, split, statistics, frame cache, training samples."""

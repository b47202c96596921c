"""Arrays in, arrays out: softmax and cross-entropy over rows, linear ones in blocks, and the threads they share."""

"""What is drawn and told of a run: figures, pages, TensorBoard."""

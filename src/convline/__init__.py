"""What the pipeline's stages share, a module per idea."""

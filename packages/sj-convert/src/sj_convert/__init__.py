"""ANN-to-SNN conversion by torch.fx, and exchange through NIR."""

__version__ = "0.1.0"

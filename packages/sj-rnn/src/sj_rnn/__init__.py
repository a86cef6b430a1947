"""Spiking LSTM, GRU and vanilla RNN for PyTorch."""

__version__ = "0.1.0"

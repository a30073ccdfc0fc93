"""An encoder in twenty lines: how much power each lead has in eight bands of frequency. Nothing is learnt."""

import numpy as np

import merit


@merit.register("band-power")
class BandPower:
    """Log power of the 12 leads in bands from 0.5 to 40 Hz, 96 numbers a recording."""

    input_spec = merit.InputSpec(fs_hz=100, duration_s=10, leads=("as given",), scaling="none")
    edges_hz = np.geomspace(0.5, 40, 9)

    def __init__(self, device: str) -> None:
        self.device = device  # "cpu" or "cuda": where to put a network, if there is one

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        power = np.abs(np.fft.rfft(signal_mv, axis=2)) ** 2  # [B, 12, F]
        band = np.searchsorted(self.edges_hz, np.fft.rfftfreq(signal_mv.shape[2], 1 / fs_hz))
        bands = [power[:, :, band == k].mean(2) for k in range(1, len(self.edges_hz))]
        return np.log(np.concatenate(bands, 1) + 1e-6).astype(np.float32)

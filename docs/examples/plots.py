"""One page of plots: a raster, a voltage, a map of rates, and every surrogate with its gradient.

python docs/examples/plots.py            writes plots.png
python docs/examples/plots.py page.png
"""

import inspect
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch

from sj_core import encoding, neuron, plot, surrogate


def main(path: str = "plots.png") -> None:
    torch.manual_seed(0)
    figure = plt.figure(figsize=(15, 17), layout="constrained")
    axes = figure.subplot_mosaic(
        [["raster", "voltage", "rates"]]
        + [[f"s{row}{column}" for column in "abc"] for row in range(6)],
        height_ratios=[1.5] + [1] * 6,
    )

    # A patch of light, encoded as spikes: brighter in the middle.
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    image = torch.exp(-3 * (x**2 + y**2))
    spikes = encoding.PoissonEncoder(step_mode="m")(image.expand(60, 1, 16, 16))
    plot.spike_raster(spikes[:, 0, 8], axes["raster"], title="Poisson spikes of the middle row")
    plot.firing_rate_heatmap(spikes[:, 0], axes["rates"], title="Firing rate of 16 x 16 neurons")

    node = neuron.LIFNode(tau=4.0, step_mode="m", store_v_seq=True)
    current = torch.cat([torch.full((15, 1), 0.8), torch.full((45, 1), 1.4)])
    fired = node(current)
    assert node.v_seq is not None
    plot.membrane(
        node.v_seq[:, 0], 1.0, fired[:, 0], ax=axes["voltage"], title="LIF, input 0.8, then 1.4"
    )

    classes = [
        value
        for value in vars(surrogate).values()
        if inspect.isclass(value) and value is not surrogate.SurrogateFunctionBase
    ]
    places = [axes[f"s{row}{column}"] for row in range(6) for column in "abc"]
    for ax, cls in zip(places, sorted(classes, key=lambda cls: cls.__name__), strict=False):
        plot.surrogate(cls(), ax)
        ax.set_xlabel("")
    places[0].legend(frameon=False, fontsize="small")
    for ax in places[len(classes) :]:
        ax.remove()
    figure.savefig(path, dpi=70)
    plt.close(figure)
    print(f"wrote {path}")


if __name__ == "__main__":
    main(*sys.argv[1:2])

"""Data of `sj-train fit`: by name, from an .npz file, or from a folder of images."""

from sj_train.fit.data.arrays import ArrayDataset as ArrayDataset, DataSplits as DataSplits
from sj_train.fit.data.module import FitData as FitData, crowded as crowded, load_data as load_data
from sj_train.fit.data.sampler import EpochSampler as EpochSampler

import base64
import io
import re

import numpy as np
import pandas as pd
import torch
from PIL import Image

from unfused.datasets.k_mix import CentroidsDataset, KMixBankDataset
from unfused.datasets.previews import NOT_MADE
from unfused.training.k_mix_bank import KMixBank
from unfused.views.k_mix_centroids import centroid_table
from unfused.views.view import View


def bank(n=30):
    rng = np.random.default_rng(0)
    crops = torch.from_numpy(rng.normal(-6, 3, (n, 1, 16, 24)).astype(np.float16)).float()
    spans = torch.tensor([[float(i % 4), 24.0] for i in range(n)])
    ids = np.array([f"clip{i}" for i in range(n)])
    return KMixBank(View(crops, spans), ids, -np.arange(n), rng.integers(0, 3, n))


def picture(preview):
    data = re.search("src='data:image/png;base64,([^']+)'", preview)[1]
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_centroids_are_a_table_shown_as_a_picture(tmp_path):
    dataset = CentroidsDataset(filepath=str(tmp_path / "c.parquet"))
    assert dataset.preview() == NOT_MADE
    table = centroid_table(torch.randn(5, 16), torch.arange(5)).assign(fold=1)
    dataset.save(table)
    pd.testing.assert_frame_equal(dataset.load(), table)
    assert picture(dataset.preview()).size[0] > 300


def test_a_bank_comes_back_as_it_was(tmp_path):
    dataset = KMixBankDataset(filepath=str(tmp_path / "bank"))
    assert not dataset.exists()
    assert dataset.preview() == NOT_MADE
    dataset.save(bank())
    loaded, saved = dataset.load(), bank()
    assert torch.equal(loaded.view.log_mel, saved.view.log_mel)  # float16 holds the store's values
    assert torch.equal(loaded.view.spans, saved.view.spans)
    for name in ("clip_ids", "starts", "clusters"):
        assert getattr(loaded, name).tolist() == getattr(saved, name).tolist()
    assert picture(dataset.preview()).size[0] > 300

import base64
import io
import re

import numpy as np
import pandas as pd
import soundfile
import torch
from PIL import Image
from unfused.datasets.k_mix import CentroidsDataset, KMixBankDataset, KMixExamplesDataset

from unfused.datasets.previews import NOT_MADE
from unfused.reporting.crop_sounds import Sound
from unfused.reporting.k_mix_examples import STEPS, Example, KMixExamples, Pair
from unfused.training.k_mix_bank import KMixBank
from unfused.views.k_mix_centroids import centroid_table
from unfused.views.view import View


def bank(n=30):
    rng = np.random.default_rng(0)
    crops = torch.from_numpy(rng.normal(-6, 3, (n, 1, 16, 24)).astype(np.float16)).float()
    spans = torch.tensor([[float(i % 4), 24.0] for i in range(n)])
    ids = np.array([f"clip{i}" for i in range(n)])
    return KMixBank(View(crops, spans), ids, -np.arange(n), rng.integers(0, 3, n))


def examples(n=2):
    rng = np.random.default_rng(0)
    pair = Pair("a", 1, "b", 2, 30.5, 12.25, 0.3)
    found = [
        Example(
            pair,
            {step: rng.normal(size=(16, 24)).astype(np.float32) for step in STEPS},
            {
                step: Sound(rng.uniform(-0.9, 0.9, 3680).astype(np.float32), step == "crop")
                for step in STEPS
            },
        )
        for _ in range(n)
    ]
    return KMixExamples(tuple(found), 16000, 0.01)


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


def test_examples_come_back_and_can_be_played(tmp_path):
    dataset = KMixExamplesDataset(filepath=str(tmp_path / "examples"))
    assert dataset.preview() == NOT_MADE
    dataset.save(examples(3))
    dataset.save(examples(2))  # fewer than before
    loaded, saved = dataset.load(), examples(2)
    assert (loaded.sample_rate, loaded.hop_seconds) == (16000, 0.01)
    assert len(loaded.examples) == 2
    for one, two in zip(loaded.examples, saved.examples, strict=True):
        assert one.pair == two.pair
        for step in STEPS:
            np.testing.assert_array_equal(one.log_mels[step], two.log_mels[step])
            np.testing.assert_allclose(
                one.sounds[step].samples, two.sounds[step].samples, atol=1e-4
            )
            assert one.sounds[step].original == two.sounds[step].original
    html = dataset.preview()
    players = re.findall(r"src='data:audio/flac;base64,([^']+)'", html)
    assert len(players) == 8
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(players[0])))
    assert (len(samples), rate) == (3680, 16000)
    assert html.count("≈ ") == 6 + 1  # what is made from log-mels, and the note
    assert "approximation" in html
    assert "src='data:image/png;base64," in html
    assert "\n\n" not in html  # Kedro-Viz reads Markdown: an empty line would end the HTML

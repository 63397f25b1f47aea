"""Classifiers on the Hugging Face hub, with the extra ``hub``."""

from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelHubMixin, snapshot_download

from .classifier import Classifier, load_classifier
from .export import export_classifier


class HubClassifier(ModelHubMixin):
    """A fitted classifier with ``save_pretrained``, ``push_to_hub`` and ``from_pretrained``.

    >>> HubClassifier(model).push_to_hub("somebody/birds")  # doctest: +SKIP
    >>> HubClassifier.from_pretrained("somebody/birds").classifier  # doctest: +SKIP
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def _save_pretrained(self, save_directory: Path) -> None:
        export_classifier(self.classifier, save_directory)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, trust_code: bool = False, **options: Any) -> Self:
        folder = Path(model_id)
        if not folder.is_dir():
            known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
            chosen = {name: value for name, value in options.items() if name in known}
            folder = Path(snapshot_download(model_id, **chosen))
        return cls(load_classifier(folder, trust_code=trust_code))

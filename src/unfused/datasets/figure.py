"""A figure as a PNG file that can be read back, for reports and Kedro-Viz."""

from __future__ import annotations

from kedro_datasets.matplotlib import MatplotlibDataset

from .previews import described, picture_html
from .whole_file import WholeFile


class FigureDataset(WholeFile, MatplotlibDataset):
    """Saves a :class:`matplotlib.figure.Figure`, loads the PNG's bytes."""

    @described
    def preview(self) -> str:
        """Return the picture."""
        return picture_html(self.load())

    def load(self) -> bytes:
        """Return the PNG file."""
        with self._fs.open(str(self._get_load_path()), "rb") as file:
            return bytes(file.read())

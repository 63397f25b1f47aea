"""How log-mels are made: names, defaults and rules; importing it imports nothing heavy."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from ..core.errors import UserError, check_fields

_Count = Annotated[int, "at least 1"]


@dataclass(frozen=True)
class FrontEndSettings:
    """Settings of the log-mel spectrogram; the defaults are those shared by the LAPE papers.

    Attributes:
        sample_rate: Samples per second; audio of another rate is resampled.
        n_fft: Length of window and transform in samples; even.
        hop: Samples from one frame to the next; less than half of ``n_fft``.
        n_mels: Number of mel bands F; encoders have to be made for as many.
        f_min: Lower edge of the lowest band in Hz.
        f_max: Upper edge of the highest band in Hz.
        eps: Added to the power before the logarithm, so that silence is finite.
        mel_scale: Slaney's scale (librosa's) or HTK's.
        norm: ``slaney`` (filters of area 1) or ``none`` (of height 1).

    Raises:
        UserError: A value is out of its range.
    """

    sample_rate: _Count = 16000
    n_fft: _Count = 1024
    hop: _Count = 160
    n_mels: _Count = 64
    f_min: float = 60.0
    f_max: float = 7800.0
    eps: Annotated[float, "positive"] = 1.1920929e-7
    mel_scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["slaney", "none"] = "slaney"

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop", "n_mels"):
            if type(value := getattr(self, name)) is not int:
                raise UserError(f"{name}={value!r} must be an integer")
        check_fields(self)
        if self.n_fft % 2 or self.hop >= self.n_fft // 2:
            raise UserError(
                f"n_fft={self.n_fft} must be even and more than twice hop={self.hop}: "
                "raise n_fft or lower hop"
            )
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise UserError(
                f"f_min={self.f_min}, f_max={self.f_max} must obey 0 <= f_min < f_max <= "
                f"sample_rate / 2 = {self.sample_rate / 2}"
            )

    def settings(self) -> dict[str, Any]:
        """Return the fields as JSON values; the class called with them makes the same again."""
        return asdict(self)

# ruff: noqa: F401  # what other rooms take from here
"""Typed parameters: what ``conf/*/parameters`` may say, validated before any node runs.

:data:`GROUPS` is the one list of them, which checks, documentation and tests read.
"""

from ..training.settings import TrainingSettings
from .audio import Audio, Demo, Extraction, FrontEndParams, Task
from .evaluation import Evaluation, FineTuning
from .methods import (
    Distillation,
    KMixParams,
    MethodParams,
    MethodViews,
    PseudoLabels,
    Unfused,
    Views,
)
from .model import check_keys, names_in
from .run import Classify, EncoderParams, Export, LabelNext, Pretraining, Report, Run, TrainedModel
from .study import ENTRIES, GROUPS, SHORT, Study, check_together, check_values

# ruff: noqa: F401  # what other rooms take from here
"""Typed parameters: what ``conf/*/parameters`` may say, validated before any node runs.

:data:`GROUPS` is the one list of them, which checks, documentation and tests read.
"""

from ..training.settings import TrainingSettings
from .audio import Audio, Demo, Extraction, FrontEndParams, Task, TaskCard
from .evaluation import Evaluation, FineTuning, LabelEfficiency
from .methods import (
    Distillation,
    KMixParams,
    KMixViews,
    MethodParams,
    MethodViews,
    PseudoLabels,
    Unfused,
    Views,
)
from .model import Model, Training, check_keys, names_in
from .run import (
    Classify,
    EncoderParams,
    Export,
    LabelNext,
    Pretraining,
    Report,
    Run,
    Select,
    TrainedModel,
)
from .study import ENTRIES, GROUPS, SINGLE, Study, check_names, check_together, check_values

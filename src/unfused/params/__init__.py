"""Typed parameters: what ``conf/*/parameters`` may say, validated before any node runs.

:data:`GROUPS` is the one list of them, which checks, documentation and tests read.
"""

from ..training.settings import TrainingSettings
from .audio import Audio, Demo, Extraction, FrontEndParams, Task, TaskCard
from .evaluation import Evaluation, FineTuning, LabelEfficiency
from .inference import Classify, Export, TrainedModel
from .methods import Distillation, MethodParams, PseudoLabels, Unfused
from .model import Model, Training, check_keys, names_in, unknown_name
from .run import EncoderParams, Pretraining, Report, Run
from .together import check_together
from .views import KMixParams, KMixViews, MethodViews, Views

GROUPS: dict[str, type[Model]] = {
    "run": Run,
    "pretraining": Pretraining,
    "front_end": FrontEndParams,
    "extraction": Extraction,
    "demo": Demo,
    "encoder": EncoderParams,
    "tasks": Task,
    "pools": Audio,
    "methods": MethodParams,
    "k_mix": KMixParams,
    "unfused": Unfused,
    "evaluation": Evaluation,
    "report": Report,
    "model": TrainedModel,
    "classify": Classify,
    "export": Export,
}
ENTRIES = ("tasks", "pools", "methods")
"""Those of which there are several, each under a name of its own."""

__all__ = [
    "ENTRIES",
    "GROUPS",
    "Audio",
    "Classify",
    "Demo",
    "Distillation",
    "EncoderParams",
    "Evaluation",
    "Export",
    "Extraction",
    "FineTuning",
    "FrontEndParams",
    "KMixParams",
    "KMixViews",
    "LabelEfficiency",
    "MethodParams",
    "MethodViews",
    "Model",
    "Pretraining",
    "PseudoLabels",
    "Report",
    "Run",
    "Task",
    "TaskCard",
    "TrainedModel",
    "Training",
    "TrainingSettings",
    "Unfused",
    "Views",
    "check_keys",
    "check_together",
    "names_in",
    "unknown_name",
]

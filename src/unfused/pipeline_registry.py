"""The project's pipelines. Which tasks and methods they have is configuration."""

from kedro.pipeline import Pipeline

from . import config
from .params import Study


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by its name."""
    from .pipelines import data_engineering, inference, pretraining, reporting

    study = Study.of(config.parameters())
    data = data_engineering.create_pipeline(study)
    methods = {name: data + pretraining.create_pipeline(name, study) for name in study.methods}
    modelling, report = models_of(study), reporting.create_pipeline(study)
    benchmark = study.as_benchmark(config.parameters())
    return {
        "data_engineering": data + reporting.create_data_report(study),
        **methods,
        "modelling": modelling,
        "reporting": report,
        "unfused": modelling + report,
        "lape": models_of(benchmark) + reporting.create_pipeline(benchmark),
        "compare_runs": reporting.create_comparison(),
        "model": inference.create_model(study.model_task),
        "classify": inference.create_classify(),
        "label_next": inference.create_label_next(),
        "export": inference.create_export(),
        "__default__": modelling + report,
    }


def models_of(study: Study) -> Pipeline:
    """Return the pipeline from audio to a study's encoders, their scores and the model."""
    from .pipelines import data_engineering, evaluation, inference, pretraining, unfused

    made = data_engineering.create_pipeline(study)
    for method in study.compared:
        made += pretraining.create_pipeline(method, study)
    for task in study.tasks:
        made += unfused.create_pipeline(task, study.teacher_dataset)
        made += evaluation.create_pipeline(task, study)
    return made + inference.create_model(study.model_task)

"""How to read each figure, for the report and the notebooks."""

from __future__ import annotations

from collections.abc import Mapping

CAPTIONS: Mapping[str, str] = {
    "lape_scores": (
        "Each bar is the mean score on test clips, with its 95 % interval: Student's t over seeds "
        "from three seeds on, else a bootstrap over test clips. Grey: baselines without "
        "pre-training; orange: teacher; light grey: controls, students of pseudo-labels that know "
        "less; blue: UnFuSeD. Dotted: always answering the most frequent class. Overlapping "
        "intervals do not settle a comparison; the paired differences above do."
    ),
    "tsne_pseudo_labels": (
        "Every point is a clip of the task's training part, placed by t-SNE of the teacher's "
        "embedding; both panels show the same points. Left: the cluster that became its "
        "pseudo-label, in the colour of the class it shares most clips with. Right: its true "
        "label, which the clustering never saw. The more alike the panels, the more the "
        "pseudo-labels say about the classes. Distances between far islands and their sizes mean "
        "nothing; NMI is measured on all clips that have a label, not on the picture."
    ),
    "learning_curves": (
        "One line per seed and fold. Loss parts should fall and level off; the embedding's "
        "standard deviation, effective rank and cluster perplexity fall towards zero (perplexity: "
        "one) if the representation collapses."
    ),
    "augmentation_views": (
        "Rows are training clips, columns the steps of the augmentation; colour is the normalised "
        "log-mel, on one scale per row. What differs between view A and view B of a row is what "
        "the encoder learns to ignore: if that is what tells your classes apart (pitch, say), "
        "narrow the ranges of the random resize crop."
    ),
    "average_ranks": (
        "Every encoder at its own cut, ranked by its score on each task; the mean of the ranks, 1 "
        "being best, with the mean score in brackets. Encoders inside the shaded range cannot be "
        "told from the best by ranks (Nemenyi's test at 5 %); few tasks make it wide."
    ),
    "label_efficiency_curves": (
        "Mean score on the same test clips against the number of labels learnt from (all classes "
        "and folds together); no validation label is used. Bands: Student's t over seeds from "
        "three seeds on, else the lowest and highest choice of labelled clips. Dashed: trained "
        "end to end; grey: baselines."
    ),
    "kmix_pairs": (
        "How k-mix, the mixing of SLICER's views, chooses partners: a crop, a partner drawn from "
        "the past crops whose clusters lie furthest from the crop's, the two mixed in the share "
        "above, and the view that a method would get. Distances are between centroids, in nats; "
        "plain mixup would draw partners at the bank's median on average. A black partner is near "
        "silence: where a corpus has silent crops, they lie furthest from everything loud and "
        "change little. The methods of this run may mix in another way; the parameter "
        "views.mixing of a method says which."
    ),
    "confusion_matrix": (
        "Rows are true classes, columns predictions on test clips; colour is the share of the "
        "true class, numbers are clips (summed over seeds). A perfect one fills the diagonal."
    ),
}

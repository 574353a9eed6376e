"""
Classify and explain GunPoint
=============================

A dataset that comes with aeon is learnt in about a minute on two cores, and one answer is explained.
The cells are those of sphinx-gallery, which editors such as VS Code run one by one.
"""

# %%
# The series
# ----------
# Arrays of shape (cases, channels, timepoints): whether an actor draws a gun or only points.
import matplotlib.pyplot as plt
import numpy as np
from aeon.datasets import load_gunpoint
from sklearn.metrics import ConfusionMatrixDisplay

from vlmtsc import VLMClassifier
from vlmtsc.reporting.explanations import draw_explanations

X_train, y_train = load_gunpoint(split="train")
X_test, y_test = load_gunpoint(split="test")
X_test, y_test = X_test[:40], y_test[:40]

# %%
# Fine-tuning
# -----------
# The first call downloads and assembles the default model (117 MB). A short recipe: fewer steps of both stages.
classifier = VLMClassifier(scenario="plot", recipe={"align_steps": 400, "epochs": 4})
classifier.fit(X_train, y_train)
print(f"accuracy {100 * classifier.score(X_test, y_test):.1f}%")

# %%
# The confusion matrix
# --------------------
ConfusionMatrixDisplay.from_predictions(y_test, classifier.predict(X_test))
plt.show()

# %%
# Why did it say that?
# --------------------
# Parts of the series are replaced, drawn again and classified again. Red: without this part the answer is less likely.
shown = [int(np.flatnonzero(y_test == label)[0]) for label in classifier.classes_]
explanations = classifier.explain(X_test[shown])
titles = [f"class {y_test[case]}" for case in shown]
figure = draw_explanations(list(X_test[shown]), [each.by_timepoint() for each in explanations], titles)
figure

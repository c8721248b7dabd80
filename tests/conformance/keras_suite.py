"""Keras' own numeric tests on steep: ``STEEP_KERAS_TESTS=FOLDER python tests/conformance/keras_suite.py``.

FOLDER is a checkout of https://github.com/keras-team/keras. Its tests of losses, optimizers, schedules and metrics run
as they are, with the values that are written in them; beneath them ``keras`` is keras_shim.py, keras_losses.py and
keras_optimizers.py, which give steep's functions the names and the order of arguments of Keras. It needs absl-py.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from keras_shim import OWN, install
from suite import LeftOutError, Record, checkout

VARIABLE = "STEEP_KERAS_TESTS"
FOLDERS = ("losses", "optimizers", "optimizers/schedules", "metrics")

FILES_LEFT_OUT = {
    "loss_test.py": OWN,
    "metric_test.py": OWN,
    "optimizer_sparse_test.py": "sparse gradients",
    "multi_optimizer_test.py": "not in steep: MultiOptimizer",
    "loss_scale_optimizer_test.py": "not in steep: LossScaleOptimizer",
    "muon_test.py": "not in steep: Muon",
}
ONE_CLASS = "Keras warns of a single class"
STEPS = "the area by a few thresholds: steep rounds scores down to equal steps, Keras compares them with the thresholds"
PRGAIN = "not in steep: AUC(curve='PRGAIN')"
EXCLUDED = {
    "adamw_test.py::AdamWTest::test_correctness_with_golden": "epsilon of 2: steep adds it to √v after the correction, "
    "as algorithm 1 of Adam's paper, Keras before",
    "adamw_test.py::AdamWTest::test_weight_decay_is_none": "a weight decay of None is a TypeError",
    "lion_test.py::LionTest::test_invalid_beta_1": "beta_1 = 0, descent along signs, is allowed",
    "losses_test.py::CategoricalCrossentropyTest::test_warning_for_invalid_shape": ONE_CLASS,
    "losses_test.py::CategoricalFocalCrossentropyTest::test_warning_for_invalid_shape": ONE_CLASS,
    "nadam_test.py::NadamTest::test_build_with_empty_var_list": OWN,
    "sgd_test.py::SGDTest::test_invalid_momentum": "momentum above 1 is allowed, as in PyTorch",
    "accuracy_metrics_test.py::SparseCategoricalAccuracyTest::test_reshape_matches": "labels of another shape",
    "confusion_metrics_test.py::AUCTest::test_extra_dims": "steep's AUC takes (N,) and (N, C)",
    "confusion_metrics_test.py::AUCTest::test_prgain_interpolation": PRGAIN,
    "confusion_metrics_test.py::AUCTest::test_weighted_prgain_interpolation": PRGAIN,
    **{
        f"confusion_metrics_test.py::AUCTest::test_{name}": STEPS
        for name in (
            "unweighted",
            "unweighted_from_logits",
            "weighted_roc_interpolation",
            "weighted_pr_interpolation",
            "weighted_pr_interpolation_negative_weights",
        )
    },
    "learning_rate_schedule_test.py::PiecewiseConstantDecayTest::test_boundary_values": "steep's rate changes at the "
    "boundary, as PyTorch's, Keras' one step later",
    "learning_rate_schedule_test.py::PiecewiseConstantDecayTest::test_piecewise_values": "steps are not negative",
    **{
        f"optimizer_test.py::OptimizerTest::test_{name}": OWN
        for name in (
            "callable_learning_rate",
            "empty_gradients",
            "iterations_counter",
            "optimizer_auto_naming",
            "overwrite_with_gradient",
            "set_weights",
            "setting_lr_to_callable_untracks_lr_var",
        )
    },
}


def reason_of(error: BaseException) -> str | None:
    """Why a test that raises this is left out."""
    return str(error) if isinstance(error, LeftOutError) else None


def main(only: str = "") -> int:
    folder = checkout(VARIABLE, "keras/src")
    install(folder)
    record = Record(EXCLUDED, reason_of)
    tests = sorted(path for part in FOLDERS for path in (folder / "keras/src" / part).glob("*_test.py"))
    with tempfile.TemporaryDirectory() as copies:  # apart from the package, whose place the shim takes
        files = [Path(shutil.copy(path, copies)) for path in tests if path.name not in FILES_LEFT_OUT]
        record.run(files, only)
    code = record.report()
    for name, reason in FILES_LEFT_OUT.items():
        print(f"    excluded {name}: {reason}")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))

// Detecting NaN and infinities, and running operations again for checkpoints: what of steep.autograd reaches into
// recording.
#pragma once
#include <pybind11/pybind11.h>

#include <atomic>

namespace steep {

/// Whether steep.autograd.detect_anomaly is on.
extern std::atomic<bool> watching;

/// Shows detect_anomaly a result that is about to be recorded, and returns what it says of the operation's origin; null
/// if it raises. A new reference.
PyObject* watch_result(PyObject* out, PyObject* vjp, PyObject* inputs);

/// detect_anomaly's function that runs a vjp and looks at its gradients; null while it is off. Borrowed.
PyObject* vjp_watcher();

}  // namespace steep
